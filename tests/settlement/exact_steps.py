"""Steps of results of mode exact: held, scheduled, released, struck. Part of tests/vectors/transition.json like those of steps.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from settlement.ledger import RESULT_HOLD_SLOTS, Context, Rejection, State
from settlement.records import Mode, Record
from settlement.records import Verdict as Vote
from settlement.tags import U64_MAX
from tests.settlement import kit
from tests.settlement.steps import FIRST, LATE, OTHER_ID, TASK_ID, Step, run, step, with_account

SECOND = kit.context(2, 50)
RELEASE_SLOT = SECOND.base_slot + RESULT_HOLD_SLOTS
RELEASED = kit.context(3, RELEASE_SLOT)
STRIKE = kit.strike("challenger", 10_000, 2, TASK_ID)


def funded(stake: int = 4_000_000) -> State:
    """client and worker with 10,000,000 each; the worker's stake is enough for two exact results beside its other work."""
    state = run(State.empty(), kit.deposit("client", 10_000_000, 0), kit.deposit("worker", 10_000_000, 1))
    return run(state, kit.registration("worker", stake=stake))


def pending() -> State:
    return run(funded(), kit.submission("client", mode=Mode.EXACT))


def revealed() -> State:
    return run(pending(), kit.result("worker", 1, TASK_ID))


def voted(verdict: Vote = Vote.ACCEPT) -> State:
    return run(revealed(), kit.vote(0, TASK_ID, verdict), kit.vote(1, TASK_ID, verdict))


def held() -> State:
    return run(voted(), kit.hold("worker", TASK_ID))


def scheduled() -> State:
    return run(held(), kit.schedule("worker", TASK_ID), context=SECOND)


def paid() -> State:
    return run(scheduled(), kit.payment("worker", TASK_ID), context=RELEASED)


def struck() -> State:
    return run(held(), STRIKE)


def two_held() -> State:
    """Both results of the worker are held, for 1,000 lamports each."""
    state = run(held(), kit.submission("client", 1, mode=Mode.EXACT), kit.result("worker", 2, OTHER_ID))
    return run(state, kit.vote(0, OTHER_ID), kit.vote(1, OTHER_ID), kit.hold("worker", OTHER_ID))


def taken() -> Iterator[Step]:
    """Every rule of exact results once taken, with its corners."""
    forced = kit.inbox_task("client", 50_000, 2, mode=Mode.EXACT)
    yield step("a forced task of mode exact", funded(), forced)
    yield step("a forced exact task is refunded", run(funded(), forced), refund_forced(), context=LATE)
    yield step("an exact submission", funded(), kit.submission("client", mode=Mode.EXACT))
    yield step("an exact result takes a part of the stake", pending(), kit.result("worker", 1, TASK_ID))
    yield step("votes on an exact result", revealed(), kit.vote(0, TASK_ID), kit.vote(1, TASK_ID, Vote.REJECT))
    yield step("a hold", voted(), kit.hold("worker", TASK_ID))
    yield step("a release slot", held(), kit.schedule("worker", TASK_ID), context=SECOND)
    yield step(
        "a held result is paid in its release slot", scheduled(), kit.payment("worker", TASK_ID), context=RELEASED
    )
    rejected = kit.slash("worker", TASK_ID, 4_000_000)
    yield step("a slash of an exact result takes free stake and its own", voted(Vote.REJECT), rejected)
    both = run(held(), kit.submission("client", 1, mode=Mode.EXACT), kit.result("worker", 2, OTHER_ID))
    both = run(both, kit.vote(0, OTHER_ID, Vote.REJECT), kit.vote(1, OTHER_ID, Vote.REJECT))
    yield step("a slash leaves what is behind a held result", both, kit.slash("worker", OTHER_ID, 3_000_000))
    replay = run(held(), kit.submission("client", 1), kit.result("worker", 2, OTHER_ID))
    replay = run(replay, kit.vote(0, OTHER_ID, Vote.REJECT), kit.vote(1, OTHER_ID, Vote.REJECT))
    yield step("a replay result's slash leaves it too", replay, kit.slash("worker", OTHER_ID, 3_000_000))
    yield step(
        "an exact result that nobody judged is refunded", revealed(), kit.refund("client", TASK_ID), context=LATE
    )
    overdue = kit.forced_withdrawal("client", 10, 2, U64_MAX, TASK_ID)
    for name, state in (("pending", pending()), ("revealed", revealed()), ("held", held()), ("struck", struck())):
        index = state.totals.inbox_cursor
        made = replace(overdue, payload=replace(overdue.payload, inbox_index=index))
        yield step(f"a forced withdrawal that names a {name} exact task", state, made, context=LATE)
    yield from strikes()


def strikes() -> Iterator[Step]:
    for name, state, context in (
        ("held", held(), FIRST),
        ("scheduled", scheduled(), SECOND),
        ("revealed", voted(), FIRST),
        ("released and unpaid", scheduled(), RELEASED),
    ):
        yield step(f"a strike at a {name} result", state, STRIKE, context=context)
    for share in (0, 1, 9_999, 10_000, 10_001, U64_MAX):
        yield step(f"a strike with a share of {share}", held(), kit.strike("challenger", 5, 2, TASK_ID, share))
    for name in ("client", "worker"):
        yield step(f"a strike by the {name}", held(), kit.strike(name, 5, 2, TASK_ID))
    for name in ("client", "worker", "challenger"):
        own = replace(FIRST, treasury=kit.public_key(name))
        yield step(f"a strike for a treasury that is the {name}", held(), STRIKE, context=own)
    other = replace(STRIKE.payload, spec_hash=kit.filler("other result"))
    replay = run(funded(), kit.submission("client"), kit.result("worker", 1, TASK_ID))
    for name, state, record in (
        ("no task", funded(), STRIKE),
        ("a pending task", pending(), STRIKE),
        ("another result", held(), replace(STRIKE, payload=other)),
        ("a revealed replay result", replay, STRIKE),
        ("a paid result", paid(), STRIKE),
        ("a refunded task", run(revealed(), kit.refund("client", TASK_ID), context=LATE), STRIKE),
    ):
        yield step(f"a strike at {name} is credited", state, record)
    yield step("two strikes at one result", held(), STRIKE, kit.strike("client", 5, 3, TASK_ID))
    both = (STRIKE, kit.strike("challenger", 10_000, 3, OTHER_ID))
    yield step("strikes at both results of one worker", two_held(), *both)


def crowd(context: Context = FIRST) -> Step:
    """Eight strikes at results of eight workers for eight clients by eight challengers: the step that opens the most leaves."""
    state, entries = State.empty(), iter(range(100))
    for index in range(8):
        client, worker = f"client {index}", f"worker {index}"
        task_id, stake = kit.task_id(client, 0), 2_000_000
        made = (
            kit.deposit(client, 5_000, next(entries)),
            kit.deposit(worker, 5_000_000, next(entries)),
            kit.registration(worker, stake=stake),
            kit.submission(client, mode=Mode.EXACT),
            kit.result(worker, 1, task_id),
            *(kit.vote(index, task_id) for index in range(3)),
            kit.hold(worker, task_id),
        )
        state = run(state, *made, context=context)
    struck = [kit.strike(f"challenger {i}", 7, next(entries), kit.task_id(f"client {i}", 0)) for i in range(8)]
    return step("eight strikes of eight workers", state, *struck, context=context)


def refund_forced() -> Record:
    return kit.refund("client", kit.inbox_task_id("client", 2), 50_000)


def rejections() -> Iterator[tuple[Rejection, Step]]:
    """Every code that the rules of exact results give, for every rule that gives it."""
    numbers = iter(range(1000))

    def refused(code: Rejection, state: State, *batch: Record, context: Context = FIRST) -> tuple[Rejection, Step]:
        return code, step(f"exact: {code.name.lower()} {next(numbers)}", state, *batch, context=context)

    pay, hold, schedule = kit.payment("worker", TASK_ID), kit.hold("worker", TASK_ID), kit.schedule("worker", TASK_ID)
    yield refused(Rejection.WRONG_MODE, voted(), pay)
    replay = run(funded(), kit.submission("client"), kit.result("worker", 1, TASK_ID))
    yield refused(Rejection.WRONG_MODE, run(replay, kit.vote(0, TASK_ID), kit.vote(1, TASK_ID)), hold)
    yield refused(Rejection.NO_QUORUM, revealed(), kit.vote(0, TASK_ID), hold)
    yield refused(Rejection.NO_QUORUM, voted(Vote.REJECT), hold)
    yield refused(Rejection.STALE_VERDICTS, voted(), hold, context=SECOND)
    yield refused(Rejection.WRONG_NODE, voted(), kit.hold("client", TASK_ID))
    yield refused(Rejection.WRONG_AMOUNT, voted(), kit.hold("worker", TASK_ID, 999))
    for state in (pending(), held(), paid(), struck()):
        yield refused(Rejection.WRONG_STATUS, state, hold)
    yield refused(Rejection.UNKNOWN_TASK, funded(), hold)
    yield refused(Rejection.UNKNOWN_TASK, funded(), schedule)
    for state in (pending(), voted(), paid(), struck()):
        yield refused(Rejection.WRONG_STATUS, state, schedule, context=SECOND)
    yield refused(Rejection.RELEASE_SCHEDULED, scheduled(), schedule, context=RELEASED)
    yield refused(Rejection.HOLD_TOO_YOUNG, held(), schedule)
    yield refused(Rejection.WRONG_NODE, held(), kit.schedule("client", TASK_ID), context=SECOND)
    last = kit.context(2, U64_MAX - RESULT_HOLD_SLOTS + 1)
    yield refused(Rejection.OVERFLOW, held(), schedule, context=last)
    yield refused(Rejection.NOT_RELEASED, held(), pay)
    yield refused(Rejection.NOT_RELEASED, held(), pay, context=RELEASED)
    yield refused(Rejection.NOT_RELEASED, scheduled(), pay, context=kit.context(3, RELEASE_SLOT - 1))
    yield refused(Rejection.WRONG_NODE, scheduled(), kit.payment("client", TASK_ID), context=RELEASED)
    yield refused(Rejection.WRONG_AMOUNT, scheduled(), kit.payment("worker", TASK_ID, 999), context=RELEASED)
    # What is held or struck has no other way out, whatever time it is and whatever the verdicts were.
    for state in (held(), scheduled(), struck()):
        for record in (
            kit.refund("client", TASK_ID),
            kit.slash("worker", TASK_ID),
            kit.vote(2, TASK_ID, Vote.REJECT),
            kit.sample_proof(2, TASK_ID),
            kit.result("worker", 2, TASK_ID),
        ):
            yield refused(Rejection.WRONG_STATUS, state, record, context=RELEASED)
    yield refused(Rejection.WRONG_STATUS, struck(), pay, context=RELEASED)
    yield refused(Rejection.WRONG_STATUS, paid(), pay, context=RELEASED)
    poor = run(funded(1_999_999), kit.submission("client", mode=Mode.EXACT))
    yield refused(Rejection.STAKE_TOO_LOW, poor, kit.result("worker", 1, TASK_ID))
    third = run(two_held(), kit.submission("client", 2, mode=Mode.EXACT))
    fourth = run(third, kit.result("worker", 3, kit.task_id("client", 2)), kit.submission("client", 3, mode=Mode.EXACT))
    yield refused(Rejection.STAKE_TOO_LOW, fourth, kit.result("worker", 4, kit.task_id("client", 3)))
    for lamports in (3_999_999, 4_000_001, 3_000_000):
        yield refused(Rejection.WRONG_AMOUNT, voted(Vote.REJECT), kit.slash("worker", TASK_ID, lamports))
    yield refused(Rejection.WRONG_INBOX_INDEX, held(), STRIKE, STRIKE)
    yield refused(Rejection.WRONG_NODE, held(), replace(STRIKE, node=kit.node("worker")))
    yield refused(Rejection.ZERO_AMOUNT, held(), kit.strike("challenger", 0, 2, TASK_ID))
    # States that no honest chain reaches: both languages must say the same of them.
    for pledged in (0, 999_999):
        yield refused(Rejection.OVERFLOW, with_account(held(), "worker", pledged_stake=pledged), STRIKE)
        yield refused(
            Rejection.OVERFLOW, with_account(scheduled(), "worker", pledged_stake=pledged), pay, context=RELEASED
        )
    full = with_account(pending(), "worker", locked_stake=U64_MAX, pledged_stake=U64_MAX - 2_000_000)
    yield refused(
        Rejection.OVERFLOW, with_account(full, "worker", nonce=U64_MAX), kit.result("worker", U64_MAX, TASK_ID)
    )
    over = with_account(pending(), "worker", locked_stake=1_000_000, pledged_stake=2_000_000)
    yield refused(Rejection.STAKE_TOO_LOW, over, kit.result("worker", 1, TASK_ID))
