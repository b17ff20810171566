"""Who may work on what, and until when. Pure: rows and slots in, a choice out.

A lease is counted in L1 slots, so that a clock that jumps cannot end or prolong one. A worker holds one lease at a time, and never gets a
task back on which its result was rejected.
"""

from __future__ import annotations

from collections.abc import Iterable

from sequencer.lifecycle import Status
from sequencer.rows import Lease, TaskRow
from settlement.ledger import MIN_WORKER_STAKE, Account


def is_staked(account: Account | None) -> bool:
    """Whether the ledger would take a result of this account now."""
    return account is not None and account.free_stake >= MIN_WORKER_STAKE


def has_gpu(environment: object) -> bool:
    """Whether a worker's environment names another device than the CPU."""
    device = environment.get("device", "cpu") if isinstance(environment, dict) else "cpu"
    return bool(device != "cpu")


def may_work(task: TaskRow, worker: bytes, *, slot: int, margin_slots: int, gpu: bool) -> bool:
    """Whether the task can be leased to this worker now: it is pending and has time left, and the worker is neither its client nor struck off it."""
    return (
        task.status is Status.PENDING
        and task.client != worker
        and task.deadline_slot >= slot + margin_slots
        and (gpu or not task.needs_gpu)
        and all(rejection.worker != worker for rejection in task.rejections)
    )


def choose(waiting: Iterable[TaskRow], worker: bytes, *, slot: int, margin_slots: int, gpu: bool) -> TaskRow | None:
    """The first task in the queue's order that this worker may have."""
    return next((t for t in waiting if may_work(t, worker, slot=slot, margin_slots=margin_slots, gpu=gpu)), None)


def holds(task: TaskRow, worker: bytes, lease_id: int, slot: int) -> bool:
    """Whether this lease on the task is the worker's and still runs; its expiry slot is the last in which it does."""
    lease = task.lease
    return lease is not None and (lease.worker, lease.lease_id) == (worker, lease_id) and slot <= lease.expiry_slot


def expired(lease: Lease, slot: int) -> bool:
    return slot > lease.expiry_slot
