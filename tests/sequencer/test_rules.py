"""The pure rules: lifecycles, decisions, certificates, assignment, and when an epoch closes."""

from __future__ import annotations

from itertools import product

import pytest
from msgspec.structs import replace

from sequencer import assignment, attestation, verification
from sequencer.attestation import Readiness
from sequencer.epoch import is_due
from sequencer.epoch_loop import refund_due
from sequencer.lifecycle import (
    CHECKPOINT_TRANSITIONS,
    TASK_TRANSITIONS,
    CheckpointEvent,
    CheckpointStatus,
    IllegalTransition,
    Status,
    TaskEvent,
    next_checkpoint_status,
    next_status,
)
from sequencer.rows import Lease, Rejection, TaskRow, VerdictRow
from sequencer.task_queue import TaskQueue
from sequencer.verification import Decision
from settlement.ledger import MIN_WORKER_STAKE, Account
from settlement.records import Verdict
from settlement.validator_set import SetEntry, ValidatorSet
from tests.sequencer.chain_kit import ENTRIES, validator_set

THREE = validator_set(1)
ACCEPT, REJECT, ABSTAIN = Verdict.ACCEPT, Verdict.REJECT, Verdict.ABSTAIN


@pytest.mark.parametrize(("status", "event"), list(product(Status, TaskEvent)))
def test_a_task_takes_the_transitions_of_the_table_and_no_other(status: Status, event: TaskEvent) -> None:
    if (status, event) in TASK_TRANSITIONS:
        assert next_status(status, event) is TASK_TRANSITIONS[status, event]
    else:
        with pytest.raises(IllegalTransition, match=status.value):
            next_status(status, event)


@pytest.mark.parametrize(("status", "event"), list(product(CheckpointStatus, CheckpointEvent)))
def test_a_checkpoint_takes_the_transitions_of_the_table_and_no_other(
    status: CheckpointStatus, event: CheckpointEvent
) -> None:
    if (status, event) in CHECKPOINT_TRANSITIONS:
        assert next_checkpoint_status(status, event) is CHECKPOINT_TRANSITIONS[status, event]
    else:
        with pytest.raises(IllegalTransition, match=status.value):
            next_checkpoint_status(status, event)


def test_what_is_paid_cannot_be_paid_refunded_or_leased_again() -> None:
    for event in (TaskEvent.ACCEPT, TaskEvent.REFUND, TaskEvent.LEASE, TaskEvent.REVEAL, TaskEvent.REJECT):
        with pytest.raises(IllegalTransition):
            next_status(Status.PAID, event)


def test_a_final_checkpoint_stays_final() -> None:
    assert not [pair for pair in CHECKPOINT_TRANSITIONS if pair[0] is CheckpointStatus.FINALIZED]


# -- verdicts


def verdict(index: int, judged: Verdict, checked: tuple[int, ...] = (3,), disputed: int | None = None) -> VerdictRow:
    return VerdictRow(
        authority=ENTRIES[index].authority,
        set_index=index,
        verdict=judged,
        reason=0,
        replayed=len(checked),
        intervals=4,
        accuracy_ppm=0,
        checked=list(checked),
        disputed=disputed,
        record=b"",
        authorisation=b"",
        sample_signature=b"",
        expiry_slot=1_000,
        given_slot=5,
    )


def decide(*verdicts: VerdictRow, slots: int = 100, among: ValidatorSet = THREE) -> Decision:
    usable = verification.valid(verdicts, among, 0)
    return verification.decide(verification.tally(usable), among, slots_since_acceptance=slots, grace_slots=10)


def test_two_of_three_accept() -> None:
    assert decide(verdict(0, ACCEPT)) is Decision.WAIT
    assert decide(verdict(0, ACCEPT), verdict(1, ACCEPT)) is Decision.ACCEPT


def test_an_acceptance_waits_for_the_others_during_the_grace_only() -> None:
    two = verdict(0, ACCEPT), verdict(1, ACCEPT)
    assert decide(*two, slots=9) is Decision.WAIT
    assert decide(*two, slots=10) is Decision.ACCEPT
    assert decide(*two, verdict(2, ABSTAIN), slots=0) is Decision.ACCEPT


def test_two_of_three_reject_at_once() -> None:
    assert decide(verdict(0, REJECT), verdict(1, REJECT), slots=0) is Decision.REJECT
    assert decide(verdict(0, REJECT), verdict(1, ABSTAIN), verdict(2, ACCEPT)) is Decision.WAIT


def test_abstentions_count_in_the_denominator() -> None:
    assert decide(verdict(0, ACCEPT), verdict(1, ABSTAIN), verdict(2, ABSTAIN)) is Decision.WAIT


def test_an_acceptance_counts_only_when_it_has_replayed_what_is_disputed() -> None:
    caught = verdict(2, REJECT, (1, 3), disputed=1)
    assert decide(verdict(0, ACCEPT), verdict(1, ACCEPT), caught) is Decision.WAIT
    assert decide(verdict(0, ACCEPT, (1, 3)), verdict(1, ACCEPT), caught) is Decision.WAIT
    assert decide(verdict(0, ACCEPT, (1, 3)), verdict(1, ACCEPT, (1, 3)), caught) is Decision.ACCEPT


def test_an_uncovered_acceptance_is_asked_for_again() -> None:
    disputed = verification.disputed_intervals([verdict(2, REJECT, (1,), disputed=1)])
    assert not verification.covers(verdict(0, ACCEPT), disputed)
    assert verification.covers(verdict(0, ACCEPT, (1, 3)), disputed)
    assert verification.covers(verdict(0, REJECT), disputed)


def test_a_quorum_is_of_stake_not_of_heads() -> None:
    heavy = ValidatorSet(2, (SetEntry(ENTRIES[0].authority, ENTRIES[0].bls_uncompressed, 9_000_000), *ENTRIES[1:3]))
    assert decide(verdict(1, ACCEPT), verdict(2, ACCEPT), among=heavy) is Decision.WAIT
    assert decide(verdict(0, ACCEPT), among=heavy) is Decision.ACCEPT


def test_a_verdict_of_another_index_or_an_expired_one_does_not_count() -> None:
    moved = ValidatorSet(2, (ENTRIES[1], ENTRIES[0], ENTRIES[2]))
    assert verification.valid([verdict(0, ACCEPT), verdict(1, ACCEPT)], moved, 0) == []
    assert verification.valid([verdict(0, ACCEPT)], THREE, 1_001) == []
    assert len(verification.valid([verdict(0, ACCEPT)], THREE, 1_000)) == 1


# -- attestations


def test_the_certificate_waits_a_little_for_the_rest() -> None:
    two, three = {0: b"", 2: b""}, {0: b"", 1: b"", 2: b""}

    def ready(signatures: dict[int, bytes], seconds: float) -> Readiness:
        return attestation.readiness(signatures, THREE, seconds_since_quorum=seconds, grace_seconds=1.5)

    assert ready({0: b""}, 100) is Readiness.COLLECT
    assert ready(two, 0) is Readiness.WAIT_FOR_THE_REST
    assert ready(two, 1.5) is Readiness.READY
    assert ready(three, 0) is Readiness.READY
    assert attestation.bitmap_of(two) == 0b101


# -- leases and the queue

WORKER, CLIENT = b"w" * 32, b"c" * 32


def task(order: int = 0, **fields: object) -> TaskRow:
    row = TaskRow(
        task_id=bytes([order]) * 32,
        order=order,
        client=CLIENT,
        nonce=0,
        spec_hash=bytes(32),
        fee_lamports=1,
        deadline_slot=1_000,
        kind=1,
        mode=2,
        needs_gpu=False,
    )
    return replace(row, **fields)


def may(row: TaskRow, worker: bytes = WORKER, slot: int = 10, gpu: bool = False) -> bool:
    return assignment.may_work(row, worker, slot=slot, margin_slots=50, gpu=gpu)


def test_who_may_work() -> None:
    assert may(task())
    assert not may(task(), worker=CLIENT)
    assert not may(task(status=Status.REVEALED))
    assert may(task(), slot=950)
    assert not may(task(), slot=951)
    assert not may(task(needs_gpu=True))
    assert may(task(needs_gpu=True), gpu=True)


def test_a_worker_never_gets_a_task_back_on_which_it_was_rejected() -> None:
    row = task(rejections=[Rejection(worker=WORKER, reason=1, commitment=bytes(32))])
    assert not may(row)
    assert may(row, worker=b"o" * 32)


def test_the_oldest_task_first() -> None:
    chosen = assignment.choose([task(0, client=WORKER), task(1), task(2)], WORKER, slot=10, margin_slots=50, gpu=False)
    assert chosen is not None
    assert chosen.order == 1


def test_a_lease_holds_up_to_its_expiry_slot_for_its_worker_only() -> None:
    row = task(status=Status.LEASED, lease=Lease(lease_id=7, worker=WORKER, expiry_slot=20))
    assert assignment.holds(row, WORKER, 7, 20)
    assert not assignment.holds(row, WORKER, 7, 21)
    assert not assignment.holds(row, WORKER, 6, 20)
    assert not assignment.holds(row, b"o" * 32, 7, 20)
    assert not assignment.holds(task(), WORKER, 7, 20)


def test_stake_and_device() -> None:
    assert not assignment.is_staked(None)
    assert not assignment.is_staked(Account(WORKER, locked_stake=MIN_WORKER_STAKE - 1))
    assert assignment.is_staked(Account(WORKER, locked_stake=MIN_WORKER_STAKE))
    held = Account(WORKER, locked_stake=2 * MIN_WORKER_STAKE, pledged_stake=2 * MIN_WORKER_STAKE)
    assert not assignment.is_staked(held), "what stands behind held results is behind nothing else"
    assert assignment.has_gpu({"device": "NVIDIA H200"})
    assert not assignment.has_gpu({"device": "cpu"})
    assert not assignment.has_gpu({})


def test_a_task_gets_its_old_place_in_the_queue_back() -> None:
    queue = TaskQueue()
    for order in (2, 0, 1, 1):
        queue.add(order, bytes([order]))
    assert list(queue) == [b"\0", b"\1", b"\2"]
    queue.discard(0, b"\0")
    queue.discard(5, b"\5")
    assert list(queue) == [b"\1", b"\2"]
    queue.add(0, b"\0")
    assert next(iter(queue)) == b"\0"


# -- epochs and refunds


def due(records: int, seconds: float, must_advance: bool = False) -> bool:
    return is_due(records, seconds, epoch_seconds=4, max_records=10, must_advance=must_advance)


def test_an_epoch_closes_by_time_or_count_and_never_empty_without_need() -> None:
    assert not due(0, 1_000)
    assert due(0, 0, must_advance=True)
    assert not due(9, 3.9)
    assert due(1, 4)
    assert due(10, 0)


def test_a_refund_is_due_after_the_deadline_and_a_revealed_result_gets_a_grace() -> None:
    assert not refund_due(task(), 1_000, 300)
    assert refund_due(task(), 1_001, 300)
    assert not refund_due(task(status=Status.REVEALED), 1_300, 300)
    assert refund_due(task(status=Status.REVEALED), 1_301, 300)
