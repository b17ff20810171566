"""Tasks that clients forced through L1's inbox: this node cannot refuse them, and knows nothing of them but the spec's hash.

Whoever has the spec uploads its RFC 8785 form and the dataset as blobs; the spec's hash is that blob's name. Then the task stands in the
queue like any other. If nobody does, it expires and its fee goes back.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import structlog
from msgspec.structs import replace

from sequencer import database as db
from sequencer import metrics
from sequencer.blobs import BlobRefused
from sequencer.node import Node
from sequencer.rows import DepositRow, ForcedRow, GroupKind, OrderRow, SpecRow, TaskRow
from settlement import records
from settlement import spec as specs
from settlement.ledger import TaskStatus
from settlement.records import EconomicEvent, Event, Kind, Mode, Op, Record
from settlement.signing import EMPTY, node_id

log = structlog.get_logger(__name__)

MAX_SPEC_BYTES = 64 * 1024


def note(tx: db.Transaction, entries: Iterable[DepositRow]) -> None:
    """Remembers the tasks among these inbox entries."""
    for entry in entries:
        record = records.decode(entry.record)
        event = record.payload
        if isinstance(event, EconomicEvent) and event.event is Event.INBOX_TASK:
            row = ForcedRow(
                task_id=record.task,
                client=event.public_key,
                inbox_index=event.inbox_index,
                spec_hash=event.spec_hash,
                fee_lamports=event.lamports,
                deadline_slot=event.number,
                kind=event.kind,
                mode=event.mode,
            )
            tx.put(db.FORCED, record.task, row)


def tick(node: Node) -> None:
    """Takes up the tasks whose spec is there now, refunds those whose deadline has passed, forgets those that are settled."""
    for _, row in list(node.database.scan(db.FORCED)):
        task = node.state.task(row.task_id)
        if _is_over(node, row):
            with node.database.transaction() as tx:
                tx.delete(db.FORCED, row.task_id)
        elif task is None or task.status is not TaskStatus.PENDING or node.tasks.committed(row.task_id) is not None:
            continue
        elif row.deadline_slot < node.chain.open.base_slot:
            _refund(node, row)
        elif not row.refused:
            _take_up(node, row)


def waits_for_time(node: Node) -> bool:
    """Whether a forced task that nobody described could be refunded if only the ledger's time went on."""
    base_slot = node.chain.open.base_slot
    return any(
        base_slot <= row.deadline_slot < node.slot
        and (task := node.state.task(row.task_id)) is not None
        and task.status is TaskStatus.PENDING
        for _, row in node.database.scan(db.FORCED)
    )


def _is_over(node: Node, row: ForcedRow) -> bool:
    final = node.chain.position.finalized.state
    if final.totals.inbox_cursor <= row.inbox_index:
        return False
    task = final.task(row.task_id)
    return task is None or task.status in (TaskStatus.PAID, TaskStatus.REFUNDED)


def _refund(node: Node, row: ForcedRow) -> None:
    if not node.chain.open.room_for(1):
        return
    payload = EconomicEvent(Event.REFUND, lamports=row.fee_lamports)
    record = node.stamped(Record(Op.ECONOMIC_EVENT, 0, node_id(row.client), row.task_id, payload))
    with node.database.transaction() as tx:
        node.append(tx, GroupKind.REFUND, row.task_id, [(records.encode(record), EMPTY.encode())])
        tx.after(metrics.TASKS_REFUNDED.inc)


def _take_up(node: Node, row: ForcedRow) -> None:
    if not node.blobs.has(row.spec_hash):
        return
    try:
        value = msgspec.json.decode(node.blobs.read(row.spec_hash, MAX_SPEC_BYTES))
        spec = specs.parse(value)
        if (Kind[spec.kind.upper()], Mode[spec.mode.upper()]) != (row.kind, row.mode):
            raise specs.SpecError("kind", f"{spec.kind} by {spec.mode} is not what the inbox entry says")
    except FileNotFoundError:
        return
    except (BlobRefused, msgspec.MsgspecError, specs.SpecError) as error:
        log.warning("the spec of a forced task is unusable", task=row.task_id.hex(), error=str(error))
        with node.database.transaction() as tx:
            tx.put(db.FORCED, row.task_id, replace(row, refused=True))
        return
    dataset = bytes.fromhex(spec.dataset_info.sha256)
    if not node.blobs.has(dataset):
        return
    with node.database.transaction() as tx:
        node.uploads.end(tx, [row.spec_hash, dataset])
        meta = node.chain.meta(tx)
        node.chain.set_meta(tx, replace(meta, next_order=meta.next_order + 1))
        tx.put(db.SPECS, row.spec_hash, SpecRow(spec_json=msgspec.json.encode(value)))
        task = TaskRow(
            task_id=row.task_id,
            order=meta.next_order,
            client=row.client,
            nonce=row.inbox_index,
            spec_hash=row.spec_hash,
            fee_lamports=row.fee_lamports,
            deadline_slot=row.deadline_slot,
            kind=row.kind,
            mode=row.mode,
            needs_gpu=spec.performance_requirements.gpu,
        )
        node.tasks.put(tx, task)
        tx.put(db.ORDERS, db.u64be(task.order), OrderRow(task_id=row.task_id))
        tx.delete(db.FORCED, row.task_id)
        tx.after(metrics.TASKS_SUBMITTED.inc)
    log.info("forced task taken up", task=row.task_id.hex(), inbox_index=row.inbox_index)
