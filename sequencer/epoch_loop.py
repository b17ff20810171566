"""The node's own time: leases that run out, results whose grace is over, refunds, and the cut of an epoch.

Slots decide about leases and deadlines, monotonic seconds about how long an epoch stays open.
"""

from __future__ import annotations

from functools import partial

import structlog
import trio

from sequencer import assignment, auth, batch, epoch, forced, metrics
from sequencer import database as db
from sequencer.l1_port import L1Port
from sequencer.lifecycle import Status, TaskEvent
from sequencer.node import Node
from sequencer.rows import TaskRow
from sequencer.verification import Decision
from settlement.ledger import TaskStatus
from settlement.messages import highest_attempt
from settlement.signing import node_id

log = structlog.get_logger(__name__)

NONCE_SWEEP_SLOTS = 64


def tick(node: Node) -> None:
    """All that is due at this slot, one event each."""
    expire_leases(node)
    for task_id in list(node.tasks.revealed):
        _decide(node, task_id)
    forced.tick(node)
    refund_overdue(node)
    node.lapses.forget_all_but(node.tasks.active)
    if node.slot >= node.nonces_swept_slot + NONCE_SWEEP_SLOTS:
        with node.database.transaction() as tx:
            auth.forget_expired_nonces(tx, node.slot)
        node.nonces_swept_slot = node.slot
    metrics.QUEUE_DEPTH.set(len(node.tasks.queue))
    metrics.LEASES.set(len(node.tasks.holders))
    metrics.REVEALED.set(len(node.tasks.revealed))


def _decide(node: Node, task_id: bytes) -> None:
    with node.database.transaction() as tx:
        if node.decide(tx, task_id) is not Decision.WAIT:
            log.info("decided after the grace", task=task_id.hex())


def expire_leases(node: Node) -> None:
    """Tasks whose worker fell silent, or was slashed and could not reveal any more, go back to the queue, each to its old place."""
    for worker, task_id in list(node.tasks.holders.items()):
        row = node.tasks.committed(task_id)
        if row is None or row.lease is None:
            continue
        staked = assignment.is_staked(node.chain.open.state.account(node_id(worker)))
        if assignment.expired(row.lease, node.slot) or not staked:
            with node.database.transaction() as tx:
                node.end_lease(tx, row)
            log.info("lease ended", task=task_id.hex(), lease=row.lease.lease_id, staked=staked)


def refund_due(row: TaskRow, base_slot: int, grace_slots: int) -> bool:
    """Whether the fee goes back at this ledger time. A result that was revealed in time gets a grace to be verified in."""
    grace = grace_slots if row.status is Status.REVEALED else 0
    return row.deadline_slot + grace < base_slot


def refund_overdue(node: Node) -> None:
    grace = node.config.refund_grace_slots
    for task_id in list(node.tasks.active):
        row = node.tasks.committed(task_id)
        batch_open = node.chain.open
        if row is None or not refund_due(row, batch_open.base_slot, grace) or not batch_open.room_for(1):
            continue
        entry = batch_open.state.task(task_id)
        if entry is not None and entry.status in (TaskStatus.PENDING, TaskStatus.REVEALED):
            with node.database.transaction() as tx:
                node.refund(tx, row)
        elif entry is not None and entry.status is TaskStatus.REFUNDED and row.status is not Status.REFUNDED:
            # A forced withdrawal of its client named it.
            with node.database.transaction() as tx:
                node.tasks.step(tx, row, TaskEvent.REFUND, lease=None, epoch=batch_open.epoch)


def must_advance(node: Node) -> bool:
    """Whether even an empty epoch is worth posting: the ledger's time stands still between epochs, and a refund waits for it."""
    grace, base_slot = node.config.refund_grace_slots, node.chain.open.base_slot
    rows = [row for task_id in node.tasks.active if (row := node.tasks.committed(task_id)) is not None]
    due = any(refund_due(row, node.slot, grace) and not refund_due(row, base_slot, grace) for row in rows)
    return due or forced.waits_for_time(node)


async def cut_if_due(node: Node, port: L1Port) -> bool:
    """Cuts the open batch when it is due and nothing stands against it; whether it did."""
    position, config = node.chain.position, node.view.config
    if position.current is not None or config is None or node.is_halted:
        return False
    opened = position.open
    seconds_open = 0.0 if node.open_since is None else node.now() - node.open_since
    due = epoch.is_due(
        opened.records,
        seconds_open,
        epoch_seconds=node.config.epoch_seconds,
        max_records=node.config.max_records,
        must_advance=must_advance(node),
    )
    head = opened.head
    on_l1 = config.posted.epoch == head.epoch and (head.epoch == 0 or config.posted.hash == head.checkpoint_hash)
    on_l1 = on_l1 and config.highest_epoch + 1 == opened.epoch
    pinned = config.pinned.hash == position.pinned.hash(node.domain)
    if not (due and on_l1 and pinned and node.slot > head.cut_slot):
        return False
    before = node.database.get(db.ATTEMPTS, db.u64be(opened.epoch))
    # One vote per (epoch, attempt): the next attempt only once the last one can no longer land.
    if before is not None and not await can_no_longer_land(node, port, opened.epoch, before.expiry_slot):
        return False
    cut_slot = node.slot
    attempt = epoch.next_attempt(before, head.cut_slot, cut_slot)
    if attempt > highest_attempt(head.cut_slot, cut_slot):
        return False
    cut = await trio.to_thread.run_sync(
        partial(
            batch.cut,
            opened,
            attempt=attempt,
            cut_slot=cut_slot,
            expiry_slot=cut_slot + config.parameters.max_expiry_slots,
        )
    )
    await trio.to_thread.run_sync(node.blobs.write, cut.data)
    if node.chain.position.open.head is not head or node.chain.position.current is not None:
        return False
    try:
        node.cut(cut)
    except ValueError as error:
        log.warning("the open batch changed while it was cut", epoch=cut.row.epoch, error=str(error))
        return False
    return True


async def can_no_longer_land(node: Node, port: L1Port, epoch_number: int, expiry_slot: int) -> bool:
    """Whether L1 at `finalized` is past the attempt's expiry and has no checkpoint of the epoch, and `confirmed` has none either.

    Slot and absence are of one answer: two reads might come from two nodes, the second of which lags.
    """
    if node.view.finalized_slot <= expiry_slot:
        return False
    slot, finalized = await port.checkpoint_as_of(epoch_number, "finalized")
    if slot <= expiry_slot or finalized is not None:
        return False
    return await port.checkpoint(epoch_number, "confirmed") is None
