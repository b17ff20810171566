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
from sequencer.lifecycle import Status
from sequencer.node import Node
from sequencer.rows import DepositRow, ForcedRow, GroupKind, OrderRow, SpecRow, TaskRow
from settlement import messages, records
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
    _forget_lost(node)


def waits_for_time(node: Node) -> bool:
    """Whether a forced task that nobody described could be refunded if only the ledger's time went on."""
    base_slot = node.chain.open.base_slot
    return any(
        base_slot <= row.deadline_slot < node.slot
        and (task := node.state.task(row.task_id)) is not None
        and task.status is TaskStatus.PENDING
        for _, row in node.database.scan(db.FORCED)
    )


def _forget_lost(node: Node) -> None:
    """Tasks that were taken up, and then lost with their entry to a fork of L1, once another entry is final in that place."""
    final_cursor = node.chain.position.finalized.state.totals.inbox_cursor
    for task_id in list(node.tasks.active):
        row = node.tasks.committed(task_id)
        if row is None or row.status is not Status.PENDING or node.state.task(task_id) is not None:
            continue
        forced_id = messages.inbox_task_id(node.domain, row.client, row.nonce, row.spec_hash)
        if row.nonce < final_cursor and task_id == forced_id:
            with node.database.transaction() as tx:
                node.tasks.drop(tx, row)
            log.warning("forced task lost: L1 took its entry back", task=task_id.hex(), inbox_index=row.nonce)


def _is_over(node: Node, row: ForcedRow) -> bool:
    final = node.chain.position.finalized.state
    if final.totals.inbox_cursor <= row.inbox_index:
        return False
    task = final.task(row.task_id)
    return task is None or task.status in (TaskStatus.PAID, TaskStatus.REFUNDED, TaskStatus.STRUCK)


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
        value, spec = _read_spec(node, row)
    except FileNotFoundError:
        return
    except BlobRefused as error:
        if not node.blobs.has(row.spec_hash):
            log.warning("the spec of a forced task is damaged", task=row.task_id.hex(), error=str(error))
            return  # whoever has it may upload it again
        _note_refused(node, row, error)
        return
    except (msgspec.MsgspecError, UnicodeDecodeError, specs.SpecError) as error:
        _note_refused(node, row, error)
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


def _read_spec(node: Node, row: ForcedRow) -> tuple[object, specs.TaskSpec]:
    """The spec's JSON, and what it says. SpecError unless it is what the entry names, in the form in which validators hash it."""
    value = msgspec.json.decode(node.blobs.read(row.spec_hash, MAX_SPEC_BYTES))
    spec = specs.parse(value)
    if specs.spec_hash(value) != row.spec_hash:
        raise specs.SpecError("", "is not in its RFC 8785 form: validators would find another task")
    if (Kind[spec.kind.upper()], Mode[spec.mode.upper()]) != (row.kind, row.mode):
        raise specs.SpecError("kind", f"{spec.kind} by {spec.mode} is not what the inbox entry says")
    return value, spec


def _note_refused(node: Node, row: ForcedRow, error: Exception) -> None:
    log.warning("the spec of a forced task is unusable", task=row.task_id.hex(), error=str(error))
    with node.database.transaction() as tx:
        tx.put(db.FORCED, row.task_id, replace(row, refused=True))
