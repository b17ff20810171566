"""What the inbox forces on the ledger: tasks and withdrawals that nobody can refuse, and that can take from nobody else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from settlement.ledger import (
    Account,
    Context,
    LedgerRejection,
    Rejection,
    State,
    Task,
    TaskStatus,
    Totals,
    apply,
    transition,
)
from settlement.records import Kind, Mode, Record, Verdict
from settlement.tags import U64_MAX
from tests.settlement import kit

FIRST = kit.context()
LATE = kit.context(2, 101)
TASK_ID = kit.inbox_task_id("client", 2)


def run(state: State, *records: Record, context: Context = FIRST) -> State:
    for record in records:
        state = apply(state, record, context)
    return state


def funded() -> State:
    """client and worker with 10,000,000 each, the worker's stake locked."""
    deposits = [kit.deposit("client", 10_000_000, 0), kit.deposit("worker", 10_000_000, 1)]
    return run(State.empty(), *deposits, kit.registration("worker"))


def pending() -> State:
    return run(funded(), kit.inbox_task("client", 50_000, 2))


def revealed() -> State:
    return run(pending(), kit.result("worker", 1, TASK_ID))


def judged() -> State:
    return run(revealed(), kit.vote(0, TASK_ID), kit.vote(1, TASK_ID))


def account(state: State, name: str) -> Account:
    found = state.account(kit.node(name))
    assert found is not None
    return found


def task(state: State, task_id: bytes = TASK_ID) -> Task:
    found = state.task(task_id)
    assert found is not None
    return found


def refused(code: Rejection, state: State, record: Record, context: Context = FIRST) -> None:
    with pytest.raises(LedgerRejection) as rejection:
        apply(state, record, context)
    assert rejection.value.code is code, rejection.value


@pytest.mark.parametrize(
    "make",
    [
        lambda index: kit.inbox_task("client", 50_000, index),
        lambda index: kit.forced_withdrawal("client", 50_000, index, 1),
    ],
)
def test_an_inbox_record_takes_the_next_entry_for_its_own_key(make: Callable[[int], Record]) -> None:
    refused(Rejection.WRONG_INBOX_INDEX, funded(), make(1))
    refused(Rejection.WRONG_INBOX_INDEX, funded(), make(3))
    refused(Rejection.WRONG_NODE, funded(), replace(make(2), node=kit.node("worker")))
    nothing = replace(make(2), payload=replace(make(2).payload, lamports=0))
    refused(Rejection.ZERO_AMOUNT, funded(), nothing)
    assert run(funded(), make(2)).totals.inbox_cursor == 3


def test_a_forced_task_locks_what_came_with_it() -> None:
    state = pending()
    client = account(state, "client")
    assert (client.balance, client.locked_fees, client.nonce) == (10_000_000, 50_000, 0)
    assert task(state) == Task(kit.node("client"), Kind.TRAINING, Mode.REPLAY, TaskStatus.PENDING, 50_000, 100)
    assert state.totals == Totals(19_000_000, 1_050_000, 0, 3)


def test_a_forced_task_opens_its_clients_account() -> None:
    state = run(State.empty(), kit.inbox_task("stranger", 7, 0))
    assert account(state, "stranger") == Account(kit.public_key("stranger"), locked_fees=7)


def test_a_forced_task_is_worked_on_and_paid_like_any_other() -> None:
    state = run(judged(), kit.payment("worker", TASK_ID, 50_000))
    assert account(state, "worker").payable == 50_000 and account(state, "client").locked_fees == 0


def test_a_forced_task_is_refunded_like_any_other() -> None:
    state = run(pending(), kit.refund("client", TASK_ID, 50_000), context=LATE)
    assert account(state, "client").balance == 10_050_000


@pytest.mark.parametrize(
    "record",
    [
        *(kit.inbox_task("client", 50_000, 2, kind=kind) for kind in Kind if kind is not Kind.TRAINING),
        *(kit.inbox_task("client", 50_000, 2, mode=mode) for mode in (Mode.REDUNDANT, Mode.ZK)),
        kit.inbox_task("client", 50_000, 2, deadline=0),
    ],
)
def test_what_cannot_be_a_task_is_credited_and_stops_nothing(record: Record) -> None:
    state = run(funded(), record)
    assert state.task(record.task) is None
    assert account(state, "client").balance == 10_050_000 and state.totals.inbox_cursor == 3


def test_the_deadline_of_a_forced_task_is_after_the_base_slot() -> None:
    at, after = kit.inbox_task("client", 5, 2, deadline=101), kit.inbox_task("client", 5, 2, deadline=102)
    assert run(funded(), at, context=LATE).task(TASK_ID) is None
    assert run(funded(), after, context=LATE).task(TASK_ID) is not None


def test_a_task_that_is_there_is_not_made_again() -> None:
    before = revealed()
    # No entry has an index twice, so the cursor is turned back.
    turned_back = before.with_totals(replace(before.totals, inbox_cursor=2))
    state = run(turned_back, kit.inbox_task("client", 50_000, 2))
    assert task(state) == task(before) and account(state, "client").balance == 10_050_000


def test_a_forced_task_has_the_id_of_its_entry() -> None:
    for wrong in (kit.inbox_task_id("client", 3), kit.task_id("client", 0), kit.NO_TASK):
        refused(Rejection.WRONG_TASK_ID, funded(), replace(kit.inbox_task("client", 50_000, 2), task=wrong))
    unsupported = kit.inbox_task("client", 50_000, 2, mode=Mode.ZK)
    refused(Rejection.WRONG_TASK_ID, funded(), replace(unsupported, task=kit.NO_TASK))


@pytest.mark.parametrize(
    ("asked", "payable"), [(0, 0), (1, 1), (10_009_999, 10_009_999), (10_010_000, 10_010_000), (U64_MAX, 10_010_000)]
)
def test_a_forced_withdrawal_pays_what_was_asked_or_what_there_is(asked: int, payable: int) -> None:
    state = run(funded(), kit.forced_withdrawal("client", 10_000, 2, asked))
    client = account(state, "client")
    assert (client.balance, client.payable, client.nonce) == (10_010_000 - payable, payable, 0)
    assert state.totals.payable == payable and state.totals.inbox_cursor == 3


def test_a_forced_withdrawal_leaves_stake_and_fees_locked() -> None:
    state = run(pending(), kit.forced_withdrawal("worker", 10_000, 3, U64_MAX))
    assert account(state, "worker") == Account(
        kit.public_key("worker"), locked_stake=1_000_000, nonce=1, payable=9_010_000
    )
    state = run(state, kit.forced_withdrawal("client", 10_000, 4, U64_MAX, TASK_ID))
    assert account(state, "client").locked_fees == 50_000 and task(state).status is TaskStatus.PENDING


@pytest.mark.parametrize("make", [pending, revealed, judged])
def test_an_overdue_task_is_refunded_first(make: Callable[[], State]) -> None:
    forced = kit.forced_withdrawal("client", 10_000, 3, U64_MAX, TASK_ID)
    at_its_deadline = run(make(), forced, context=kit.context(2, 100))
    assert account(at_its_deadline, "client").payable == 10_010_000
    assert task(at_its_deadline) == task(make())
    state = run(make(), forced, context=LATE)
    assert account(state, "client") == Account(kit.public_key("client"), payable=10_060_000)
    assert task(state) == replace(task(make()), status=TaskStatus.REFUNDED)
    # Once only.
    again = run(state, kit.forced_withdrawal("client", 10_000, 4, U64_MAX, TASK_ID), context=LATE)
    assert account(again, "client").payable == 10_070_000


def test_a_paid_task_is_not_refunded() -> None:
    paid = run(judged(), kit.payment("worker", TASK_ID, 50_000))
    state = run(paid, kit.forced_withdrawal("client", 10_000, 3, U64_MAX, TASK_ID), context=LATE)
    assert task(state) == task(paid) and account(state, "client").payable == 10_010_000


def test_nobody_is_refunded_anothers_task() -> None:
    state = run(pending(), kit.forced_withdrawal("worker", 10_000, 3, U64_MAX, TASK_ID), context=LATE)
    assert task(state).status is TaskStatus.PENDING
    assert account(state, "worker").payable == 9_010_000 and account(state, "client").locked_fees == 50_000


def test_a_task_that_never_was_stops_nothing() -> None:
    state = run(funded(), kit.forced_withdrawal("client", 10_000, 2, 5, kit.filler("no task")), context=LATE)
    assert account(state, "client").payable == 5


def test_a_forced_withdrawal_of_a_stranger_pays_what_it_brought() -> None:
    state = run(State.empty(), kit.forced_withdrawal("stranger", 10_000, 0, U64_MAX))
    assert account(state, "stranger") == Account(kit.public_key("stranger"), payable=10_000)


def test_a_second_key_of_one_node_id_takes_nothing_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    state = run(State.empty(), kit.deposit("first", 500, 0))
    # No such pair of keys is known, so the hash is bent to make one.
    monkeypatch.setattr(transition, "node_id", lambda key: kit.node("first"))
    thief = replace(kit.forced_withdrawal("second", 6, 1, U64_MAX), node=kit.node("first"))
    state = run(state, thief)
    assert state.account(kit.node("first")) == Account(kit.public_key("first"), balance=506)
    forced = replace(kit.inbox_task("second", 7, 2), node=kit.node("first"))
    state = run(state, forced)
    assert state.account(kit.node("first")) == Account(kit.public_key("first"), balance=506, locked_fees=7)


def test_sums_that_do_not_fit_are_refused() -> None:
    state = run(State.empty(), kit.deposit("a", U64_MAX, 0))
    refused(Rejection.OVERFLOW, state, kit.inbox_task("b", 1, 1))
    refused(Rejection.OVERFLOW, state, kit.forced_withdrawal("b", 1, 1, 1))


def test_verdicts_count_for_a_forced_task() -> None:
    state = run(revealed(), kit.vote(0, TASK_ID, Verdict.REJECT), kit.vote(1, TASK_ID, Verdict.REJECT))
    state = run(state, kit.slash("worker", TASK_ID))
    assert task(state).status is TaskStatus.PENDING
