"""Every rule of the ledger's transition, every rejection, and the lifecycle's table."""

from dataclasses import replace
from itertools import product

import pytest

from settlement import messages
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
from settlement.ledger.leaves import TRANSITIONS, Step, next_status
from settlement.ledger.rejection import InvariantError
from settlement.records import GradientShare, Kind, Mode, NetworkState, Op, Record, Verdict
from tests.settlement import kit

FIRST = kit.context()
TASK_ID = kit.task_id("client", 0)


def run(state: State, *records: Record, context: Context = FIRST) -> State:
    for record in records:
        state = apply(state, record, context)
    return state


def funded() -> State:
    """client and worker with 10,000,000 each, the worker's stake locked."""
    return run(
        State.empty(),
        kit.deposit("client", 10_000_000, 0),
        kit.deposit("worker", 10_000_000, 1),
        kit.registration("worker"),
    )


def pending() -> State:
    return run(funded(), kit.submission("client"))


def revealed() -> State:
    return run(pending(), kit.result("worker", 1, TASK_ID))


def voted(*verdicts: Verdict) -> State:
    return run(revealed(), *(kit.vote(index, TASK_ID, verdict) for index, verdict in enumerate(verdicts)))


def accepted() -> State:
    return voted(Verdict.ACCEPT, Verdict.ACCEPT)


def refuted() -> State:
    return voted(Verdict.REJECT, Verdict.REJECT)


def account(state: State, name: str) -> Account:
    found = state.account(kit.node(name))
    assert found is not None
    return found


def task(state: State) -> Task:
    found = state.task(TASK_ID)
    assert found is not None
    return found


def refused(code: Rejection, state: State, record: Record, context: Context = FIRST) -> LedgerRejection:
    leaves = list(state.leaves())
    with pytest.raises(LedgerRejection) as rejection:
        apply(state, record, context)
    assert rejection.value.code is code, rejection.value
    assert list(state.leaves()) == leaves
    return rejection.value


def test_a_deposit_opens_an_account_and_credits_it() -> None:
    state = run(State.empty(), kit.deposit("client", 5, 0), kit.deposit("client", 6, 1))
    assert account(state, "client") == Account(kit.public_key("client"), balance=11)
    assert state.totals == Totals(balance=11, inbox_cursor=2)


def test_deposits_come_in_the_order_of_the_inbox() -> None:
    assert refused(Rejection.WRONG_INBOX_INDEX, State.empty(), kit.deposit("a", 5, 1)).data == {"expected": 0}
    refused(Rejection.WRONG_INBOX_INDEX, run(State.empty(), kit.deposit("a", 5, 0)), kit.deposit("a", 5, 0))


def test_a_deposit_is_of_something_and_for_its_public_key() -> None:
    refused(Rejection.ZERO_AMOUNT, State.empty(), kit.deposit("a", 0, 0))
    refused(Rejection.WRONG_NODE, State.empty(), replace(kit.deposit("a", 5, 0), node=kit.node("b")))


def test_a_submission_locks_its_fee() -> None:
    state = pending()
    client = account(state, "client")
    assert (client.balance, client.locked_fees, client.nonce) == (9_999_000, 1000, 1)
    assert task(state) == Task(kit.node("client"), Kind.TRAINING, Mode.REPLAY, TaskStatus.PENDING, 1000, 100)


def test_a_submission_is_refused() -> None:
    state = funded()
    refused(Rejection.UNKNOWN_ACCOUNT, state, kit.submission("stranger"))
    assert refused(Rejection.WRONG_NONCE, state, kit.submission("client", nonce=1)).data == {"expected": 0}
    refused(Rejection.ZERO_AMOUNT, state, kit.submission("client", fee=0))
    refused(Rejection.DEADLINE_PASSED, state, kit.submission("client", deadline=0))
    refused(Rejection.DEADLINE_PASSED, state, kit.submission("client", deadline=50), kit.context(2, 50))
    refused(Rejection.WRONG_TASK_ID, state, replace(kit.submission("client"), task=kit.filler("other")))
    short = refused(Rejection.INSUFFICIENT_BALANCE, state, kit.submission("client", fee=10_000_001))
    assert short.data == {"balance_lamports": 10_000_000}
    for kind in (Kind.INFERENCE, Kind.ZK_PROOF, Kind.SIMULATION):
        refused(Rejection.UNSUPPORTED_KIND, state, kit.submission("client", kind=kind))
    for mode in (Mode.REDUNDANT, Mode.ZK):
        refused(Rejection.UNSUPPORTED_MODE, state, kit.submission("client", mode=mode))


def test_a_submission_cannot_be_replayed() -> None:
    refused(Rejection.WRONG_NONCE, pending(), kit.submission("client"))
    # Even with the nonce turned back the task is there already.
    turned_back = pending().with_account(replace(account(pending(), "client"), nonce=0))
    refused(Rejection.TASK_EXISTS, turned_back, kit.submission("client"))


def test_a_deadline_may_be_the_next_slot() -> None:
    assert run(funded(), kit.submission("client", deadline=51), context=kit.context(2, 50)).task(TASK_ID)


def test_a_registration_locks_stake() -> None:
    state = run(funded(), kit.registration("worker", nonce=1, stake=9_000_000))
    worker = account(state, "worker")
    assert (worker.balance, worker.locked_stake, worker.nonce) == (0, 10_000_000, 2)
    assert state.totals == Totals(10_000_000, 10_000_000, 0, 2)


def test_a_registration_is_refused() -> None:
    state = run(State.empty(), kit.deposit("worker", 5, 0))
    refused(Rejection.UNKNOWN_ACCOUNT, State.empty(), kit.registration("worker"))
    refused(Rejection.WRONG_NONCE, state, kit.registration("worker", nonce=1))
    refused(Rejection.ZERO_AMOUNT, state, kit.registration("worker", stake=0))
    refused(Rejection.INSUFFICIENT_BALANCE, state, kit.registration("worker", stake=6))
    other = replace(kit.registration("worker").payload, public_key=kit.public_key("other"))
    refused(Rejection.WRONG_PUBLIC_KEY, state, replace(kit.registration("worker"), payload=other))


def test_a_result_binds_worker_lease_and_salt() -> None:
    found = task(revealed())
    commitment = messages.commitment(kit.DOMAIN, TASK_ID, 1, kit.public_key("worker"), kit.SALT, kit.RESULT_HASH)
    assert (found.status, found.worker, found.commitment) == (TaskStatus.REVEALED, kit.node("worker"), commitment)
    assert (found.result_hash, found.verdict_epoch) == (kit.RESULT_HASH, 0)
    assert account(revealed(), "worker").nonce == 2


def test_a_result_is_refused() -> None:
    state = pending()
    refused(Rejection.UNKNOWN_TASK, state, kit.result("worker", 1, kit.filler("no task")))
    refused(Rejection.WRONG_NONCE, state, kit.result("worker", 0, TASK_ID))
    refused(Rejection.UNKNOWN_ACCOUNT, state, kit.result("stranger", 0, TASK_ID))
    refused(Rejection.WRONG_STATUS, revealed(), kit.result("worker", 2, TASK_ID))
    refused(Rejection.DEADLINE_PASSED, state, kit.result("worker", 1, TASK_ID), kit.context(2, 101))
    assert run(state, kit.result("worker", 1, TASK_ID), context=kit.context(2, 100)).task(TASK_ID)


def test_a_worker_needs_stake_to_reveal() -> None:
    state = run(State.empty(), kit.deposit("client", 5000, 0), kit.deposit("worker", 2_000_000, 1))
    state = run(state, kit.submission("client"), kit.registration("worker", stake=999_999))
    poor = refused(Rejection.STAKE_TOO_LOW, state, kit.result("worker", 1, TASK_ID))
    assert poor.data == {"locked_stake_lamports": 999_999, "minimum_lamports": 1_000_000}
    assert run(state, kit.registration("worker", 1, stake=1), kit.result("worker", 2, TASK_ID))


def test_a_client_may_not_work_on_its_own_task() -> None:
    state = run(pending(), kit.registration("client", nonce=1))
    refused(Rejection.WORKER_IS_CLIENT, state, kit.result("client", 2, TASK_ID))


def test_a_sample_proof_changes_nothing() -> None:
    state = revealed()
    assert run(state, kit.sample_proof(2, TASK_ID)).root == state.root
    refused(Rejection.WRONG_STATUS, pending(), kit.sample_proof(0, TASK_ID))
    refused(Rejection.UNKNOWN_TASK, state, kit.sample_proof(0, kit.filler("no task")))
    refused(Rejection.NOT_A_VALIDATOR, state, kit.sample_proof(3, TASK_ID))
    refused(Rejection.NOT_A_VALIDATOR, state, replace(kit.sample_proof(0, TASK_ID), node=kit.node("authority 1")))


def test_votes_stand_in_the_bitmaps() -> None:
    found = task(voted(Verdict.ACCEPT, Verdict.ABSTAIN, Verdict.REJECT))
    assert (found.accept_bitmap, found.reject_bitmap, found.verdict_epoch) == (0b001, 0b100, 1)


def test_a_vote_is_refused() -> None:
    state = accepted()
    refused(Rejection.DUPLICATE_VOTE, state, kit.vote(0, TASK_ID))
    refused(Rejection.DUPLICATE_VOTE, state, kit.vote(1, TASK_ID, Verdict.REJECT))
    refused(Rejection.WRONG_RESULT_HASH, state, kit.vote(2, TASK_ID, result_hash=kit.filler("other result")))
    refused(Rejection.NOT_A_VALIDATOR, state, kit.vote(3, TASK_ID))
    refused(Rejection.NOT_A_VALIDATOR, state, replace(kit.vote(2, TASK_ID), node=kit.node("worker")))
    refused(Rejection.WRONG_STATUS, pending(), kit.vote(0, TASK_ID))
    refused(Rejection.UNKNOWN_TASK, state, kit.vote(0, kit.filler("no task")))


def test_verdicts_of_another_epoch_count_no_more() -> None:
    state = accepted()
    refused(Rejection.STALE_VERDICTS, state, kit.payment("worker", TASK_ID), kit.context(2, 50))
    state = run(state, kit.vote(0, TASK_ID), context=kit.context(2, 50))
    assert (task(state).accept_bitmap, task(state).verdict_epoch) == (0b001, 2)
    refused(Rejection.NO_QUORUM, state, kit.payment("worker", TASK_ID), kit.context(2, 50))
    # An abstention, too, begins the new epoch's count.
    fresh = run(accepted(), kit.vote(0, TASK_ID, Verdict.ABSTAIN), context=kit.context(2, 50))
    assert (task(fresh).accept_bitmap, task(fresh).verdict_epoch) == (0, 2)


def test_a_payment_moves_the_fee_to_the_worker() -> None:
    state = run(accepted(), kit.payment("worker", TASK_ID))
    assert task(state).status is TaskStatus.PAID
    assert account(state, "client").locked_fees == 0 and account(state, "worker").payable == 1000
    assert state.totals.payable == 1000
    for again in (kit.payment("worker", TASK_ID), kit.refund("client", TASK_ID), kit.result("worker", 2, TASK_ID)):
        refused(Rejection.WRONG_STATUS, state, again, kit.context(1, 1000))


def test_a_payment_is_refused() -> None:
    refused(Rejection.NO_QUORUM, voted(Verdict.ACCEPT), kit.payment("worker", TASK_ID))
    refused(Rejection.NO_QUORUM, voted(Verdict.ACCEPT, Verdict.ABSTAIN), kit.payment("worker", TASK_ID))
    refused(Rejection.NO_QUORUM, refuted(), kit.payment("worker", TASK_ID))
    refused(Rejection.STALE_VERDICTS, revealed(), kit.payment("worker", TASK_ID))
    refused(Rejection.WRONG_STATUS, pending(), kit.payment("worker", TASK_ID))
    refused(Rejection.WRONG_NODE, accepted(), kit.payment("client", TASK_ID))
    assert refused(Rejection.WRONG_AMOUNT, accepted(), kit.payment("worker", TASK_ID, 1001)).data == {"expected": 1000}


def test_a_quorum_is_of_stake_not_of_heads() -> None:
    context = kit.context(validators=kit.validator_set(3, 1, 1))
    votes = [kit.vote(1, TASK_ID), kit.vote(2, TASK_ID)]
    state = run(revealed(), *votes, context=context)
    short = refused(Rejection.NO_QUORUM, state, kit.payment("worker", TASK_ID), context)
    assert short.data == {"signed_stake_lamports": 2, "total_stake_lamports": 5}
    context = kit.context(validators=kit.validator_set(4, 1, 1))
    assert run(revealed(), kit.vote(0, TASK_ID), kit.payment("worker", TASK_ID), context=context)


def test_a_slash_takes_the_stake_and_frees_the_task() -> None:
    state = run(refuted(), kit.slash("worker", TASK_ID))
    assert account(state, "worker").locked_stake == 0
    treasury = state.account(kit.node_id(kit.TREASURY))
    assert treasury == Account(kit.TREASURY, payable=1_000_000)
    assert task(state) == Task(kit.node("client"), Kind.TRAINING, Mode.REPLAY, TaskStatus.PENDING, 1000, 100)
    refused(Rejection.WRONG_STATUS, state, kit.slash("worker", TASK_ID, 0))
    refused(Rejection.STAKE_TOO_LOW, state, kit.result("worker", 2, TASK_ID))


def test_a_slash_is_refused() -> None:
    refused(Rejection.NO_QUORUM, accepted(), kit.slash("worker", TASK_ID))
    refused(Rejection.STALE_VERDICTS, refuted(), kit.slash("worker", TASK_ID), kit.context(2, 50))
    refused(Rejection.WRONG_NODE, refuted(), kit.slash("client", TASK_ID))
    refused(Rejection.WRONG_AMOUNT, refuted(), kit.slash("worker", TASK_ID, 999_999))


def test_two_refuted_results_slash_one_stake_once() -> None:
    other = kit.task_id("client", 1)
    state = run(pending(), kit.submission("client", nonce=1))
    state = run(state, kit.result("worker", 1, TASK_ID), kit.result("worker", 2, other))
    for index, one in ((0, TASK_ID), (1, TASK_ID), (0, other), (1, other)):
        state = run(state, kit.vote(index, one, Verdict.REJECT))
    state = run(state, kit.slash("worker", TASK_ID))
    refused(Rejection.WRONG_AMOUNT, state, kit.slash("worker", other))
    state = run(state, kit.slash("worker", other, 0))
    assert state.totals.payable == 1_000_000


@pytest.mark.parametrize("make", [pending, revealed, accepted])
def test_a_refund_after_the_deadline(make: object) -> None:
    state: State = make()  # type: ignore[operator]
    late = kit.context(2, 101)
    refused(Rejection.DEADLINE_NOT_PASSED, state, kit.refund("client", TASK_ID), kit.context(2, 100))
    refused(Rejection.WRONG_NODE, state, kit.refund("worker", TASK_ID), late)
    refused(Rejection.WRONG_AMOUNT, state, kit.refund("client", TASK_ID, 999), late)
    state = run(state, kit.refund("client", TASK_ID), context=late)
    assert task(state).status is TaskStatus.REFUNDED
    assert (account(state, "client").balance, account(state, "client").locked_fees) == (10_000_000, 0)
    refused(Rejection.WRONG_STATUS, state, kit.refund("client", TASK_ID), late)


def test_a_withdrawal_makes_balance_payable() -> None:
    state = run(funded(), kit.withdrawal("client", 0, 4_000_000))
    client = account(state, "client")
    assert (client.balance, client.payable, client.nonce) == (6_000_000, 4_000_000, 1)
    refused(Rejection.WRONG_NONCE, state, kit.withdrawal("client", 0, 4_000_000))
    refused(Rejection.INSUFFICIENT_BALANCE, state, kit.withdrawal("client", 1, 6_000_001))
    refused(Rejection.ZERO_AMOUNT, state, kit.withdrawal("client", 1, 0))
    refused(Rejection.UNKNOWN_ACCOUNT, state, kit.withdrawal("stranger", 0, 1))


def test_sums_that_do_not_fit_are_refused() -> None:
    state = run(State.empty(), kit.deposit("a", 2**64 - 1, 0))
    refused(Rejection.OVERFLOW, state, kit.deposit("a", 1, 1))
    refused(Rejection.OVERFLOW, state, kit.deposit("b", 1, 1))


def test_gradient_shares_and_network_states_are_refused_so_far() -> None:
    share = Record(Op.GRADIENT_SHARE, 1, kit.node("worker"), TASK_ID, GradientShare(1, bytes(32), bytes(32)))
    network = Record(Op.NETWORK_STATE, 1, bytes(20), bytes(32), NetworkState(1, 1, 1, 1, 1, bytes(32)))
    for record in (share, network):
        refused(Rejection.OP_NOT_ACCEPTED, revealed(), record)


def test_a_rule_that_makes_lamports_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(state: State, record: Record, payload: object, context: Context) -> State:
        return state.with_totals(replace(state.totals, payable=state.totals.payable + 1))

    monkeypatch.setitem(transition._RULES, Op.VERIFICATION_PROOF, careless)
    with pytest.raises(InvariantError, match="0 lamports entering"):
        apply(revealed(), kit.sample_proof(0, TASK_ID), FIRST)


def test_the_lifecycle_is_one_table() -> None:
    for status, step in product((None, *TaskStatus), Step):
        if (status, step) in TRANSITIONS:
            assert next_status(status, step) is TRANSITIONS[status, step]
        else:
            with pytest.raises(LedgerRejection) as rejection:
                next_status(status, step)
            assert rejection.value.code is Rejection.WRONG_STATUS
    assert not any(status in (TaskStatus.PAID, TaskStatus.REFUNDED, TaskStatus.STRUCK) for status, _ in TRANSITIONS)


def test_rejection_codes_are_stable() -> None:
    text = """
        1 MALFORMED_RECORD, 2 OP_NOT_ACCEPTED, 3 UNKNOWN_ACCOUNT, 4 WRONG_NONCE, 5 INSUFFICIENT_BALANCE, 6 ZERO_AMOUNT,
        7 OVERFLOW, 8 WRONG_NODE, 9 WRONG_PUBLIC_KEY, 10 WRONG_AMOUNT, 11 UNSUPPORTED_KIND, 12 UNSUPPORTED_MODE,
        13 WRONG_TASK_ID, 14 TASK_EXISTS, 15 UNKNOWN_TASK, 16 WRONG_STATUS, 17 DEADLINE_PASSED, 18 DEADLINE_NOT_PASSED,
        19 STAKE_TOO_LOW, 20 WORKER_IS_CLIENT, 21 WRONG_RESULT_HASH, 22 NOT_A_VALIDATOR, 23 DUPLICATE_VOTE,
        24 STALE_VERDICTS, 25 NO_QUORUM, 26 WRONG_INBOX_INDEX, 27 INBOX_NOT_FIRST, 28 TOO_MANY_RECORDS,
        29 BAD_AUTHORISATION, 30 AUTHORISATION_EXPIRED, 31 BAD_SAMPLE_SIGNATURE,
        32 WRONG_MODE, 33 NOT_RELEASED, 34 RELEASE_SCHEDULED, 35 HOLD_TOO_YOUNG
    """
    assert [f"{code.value} {code.name}" for code in Rejection] == [item.strip() for item in text.split(",")]


def test_a_second_key_of_one_node_id_cannot_stop_the_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    state = run(State.empty(), kit.deposit("first", 5, 0))
    collision = kit.deposit("second", 6, 1)
    # No such pair of keys is known, so the hash is bent to make one.
    monkeypatch.setattr(transition, "node_id", lambda key: kit.node("first"))
    state = run(state, replace(collision, node=kit.node("first")))
    assert state.account(kit.node("first")) == Account(kit.public_key("first"), balance=11)
