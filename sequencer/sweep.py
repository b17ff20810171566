"""Removes blobs that nothing needs: found by walking over all rows, so that a crash or a forgotten count can neither leave nor lose any.

Needed are: the data of every epoch; of a task that is not settled in a final epoch its dataset, and of each of its results the trace, the
model and all states; of a task that was paid the trace and the model of its result, for good. A blob that was not needed, nor asked for,
for `blob_keep_seconds` of this process's time is removed. The walk goes in pages and lets others run in between; what they come to need
meanwhile they have asked for.
"""

from __future__ import annotations

import msgspec
import structlog
import trio

from sequencer import database as db
from sequencer import metrics
from sequencer.blobs import BlobRefused
from sequencer.lifecycle import Status
from sequencer.node import Node
from sequencer.rows import ResultRow, TaskRow
from settlement import work
from settlement.spec import MAX_INTERVALS

log = structlog.get_logger(__name__)

PAGE_ROWS = 128
MAX_TRACE_BYTES = (MAX_INTERVALS + 1) * work.WORK_ENTRY_BYTES


class Sweep:
    """One node's sweeping: remembers since when (monotonic seconds) each blob was found not to be needed."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    async def run(self, node: Node) -> int:
        """One walk; returns how many blobs were removed. StoreUnwritable when the disk refuses."""
        asked_before = node.blobs.take_asked()
        needed = await _needed(node)
        names = {*node.blobs.names(), *(digest.hex() for digest in node.uploads)}
        asked, now = asked_before | node.blobs.take_asked(), node.now()
        idle = {name for name in names if bytes.fromhex(name) not in needed and name not in asked}
        self._since = {name: self._since.get(name, now) for name in idle}
        old = [name for name, since in self._since.items() if now - since >= node.config.blob_keep_seconds]
        if old:
            with node.database.transaction() as tx:
                node.uploads.end(tx, [bytes.fromhex(name) for name in old])
            for name in old:
                node.blobs.remove(name)
                del self._since[name]
            metrics.BLOBS_REMOVED.inc(len(old))
            log.info("blobs removed that nothing needs", count=len(old))
        return len(old)


async def _needed(node: Node) -> set[bytes]:
    needed: set[bytes] = set()
    after = b""
    while page := node.database.page(db.EPOCHS, after, PAGE_ROWS):
        needed.update(row.data_sha256 for _, row in page)
        after = page[-1][0]
        await trio.lowlevel.checkpoint()
    after = b""
    while tasks := node.database.page(db.TASKS, after, PAGE_ROWS):
        for task_id, task in tasks:
            needed |= _needed_for(node, task_id, task)
        after = tasks[-1][0]
        await trio.lowlevel.checkpoint()
    return needed


def _needed_for(node: Node, task_id: bytes, task: TaskRow) -> set[bytes]:
    results = [row for _, row in node.database.scan(db.RESULTS, task_id)]
    if node.tasks.is_settled(task, node.chain.position.finalized.epoch):
        kept = [r for r in results if task.status is Status.PAID and r.commitment == task.commitment]
        return {digest for row in kept for digest in (row.entries_sha256, row.model_sha256)}
    needed = {digest for row in results for digest in (row.entries_sha256, row.model_sha256, *_states(node, row))}
    spec = node.database.get(db.SPECS, task.spec_hash)
    if spec is not None:
        needed.add(bytes.fromhex(msgspec.json.decode(spec.spec_json)["dataset_info"]["sha256"]))
    return needed


def _states(node: Node, result: ResultRow) -> list[bytes]:
    try:
        entries = work.decode_entries(node.blobs.read(result.entries_sha256, MAX_TRACE_BYTES))
    except (FileNotFoundError, BlobRefused) as error:
        log.warning("the trace of a result cannot be read", task=result.task_id.hex(), error=str(error))
        return []
    return [entry.state_hash for entry in entries]
