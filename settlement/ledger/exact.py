"""Results of mode exact: what the ledger keeps back until nobody can prove them wrong on L1 any more (docs/protocol.md, section 8).

A result that the validators accept is HELD: its fee stays among the client's locked fees, and of the worker's locked stake a part stands
behind it since it was revealed, behind it and nothing else. From its release slot on it is paid like any other result; a STRIKE from the
inbox reverses it before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from settlement.ledger import checks
from settlement.ledger.context import Context
from settlement.ledger.leaves import TRANSITIONS, UNSCHEDULED, Account, Step, Task, TaskStatus, next_status
from settlement.ledger.rejection import Rejection
from settlement.ledger.state import State
from settlement.records import EconomicEvent, Mode, Record
from settlement.signing import node_id

MIN_WORKER_STAKE: Final = 1_000_000
"""Lamports of free stake that a worker must have locked to reveal a result, and that stand behind each exact one."""
RESULT_HOLD_SLOTS: Final = 432_000
"""How long pay and stake of an exact result are held, about two days: longer than a checkpoint takes to be posted, challenged and answered, and
a strike to be taken from the inbox, which the program demands of its parameters."""
ALL_BASIS_POINTS: Final = 10_000


def needed_stake(task: Task) -> int:
    """Lamports of free stake with which a worker may reveal a result of the task. An exact result takes its own part out of the free stake;
    what is behind the worker's other results must not be less for it, or it could be moved out of the reach of their verdicts."""
    return 2 * MIN_WORKER_STAKE if task.mode is Mode.EXACT else MIN_WORKER_STAKE


def pledge(task: Task) -> int:
    """Lamports that stand behind a revealed or held result of the task and behind nothing else."""
    return MIN_WORKER_STAKE if task.mode is Mode.EXACT else 0


def free_pledge(state: State, task: Task) -> State:
    """What stands behind the task's result, if anything, becomes free stake again."""
    if task.status not in (TaskStatus.REVEALED, TaskStatus.HELD) or not pledge(task):
        return state
    return checks.move(state, checks.account_at(state, task.worker), pledged_stake=-pledge(task))


def hold(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    """HOLD: the validators accept a result that can be proved wrong for some time yet."""
    task, status = checks.task_in(state, record, Step.HOLD)
    if task.mode is not Mode.EXACT:
        raise checks.rejected(Rejection.WRONG_MODE, "only a result of mode exact is held; others are paid at once")
    checks.need_quorum(task, task.accept_bitmap, context)
    checks.need_node(record, task.worker, "worker")
    checks.need_amount(event, task.fee_lamports, "fee")
    return state.with_task(record.task, replace(task, status=status, deadline_slot=UNSCHEDULED))


def schedule(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    """SCHEDULE: sets the release slot. The ledger knows no later slot of the epoch that holds a result than its parent's cut slot, which may be
    long past; so the hold is counted from the base slot of a later epoch."""
    task, status = checks.task_in(state, record, Step.SCHEDULE)
    if task.deadline_slot != UNSCHEDULED:
        raise checks.rejected(Rejection.RELEASE_SCHEDULED, f"the release slot is {task.deadline_slot} already")
    if task.verdict_epoch >= context.epoch:
        raise checks.rejected(
            Rejection.HOLD_TOO_YOUNG, f"the result is held since epoch {task.verdict_epoch}, this is {context.epoch}"
        )
    checks.need_node(record, task.worker, "worker")
    release_slot = checks.u64("release slot", context.base_slot + RESULT_HOLD_SLOTS)
    return state.with_task(record.task, replace(task, status=status, deadline_slot=release_slot))


def check_release(task: Task, context: Context) -> None:
    """NOT_RELEASED unless a held result may be paid now."""
    if context.base_slot < task.deadline_slot:
        raise checks.rejected(
            Rejection.NOT_RELEASED, f"the result is held until {task.deadline_slot}", base_slot=context.base_slot
        )


def strike(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    """What a STRIKE does once its entry is taken: nothing unless the task holds the very result that was proved wrong. Then the client has its
    fee back, and the stake behind the result goes to the challenger and, the rest, to the treasury."""
    task = state.task(record.task)
    if task is None or task.mode is not Mode.EXACT or (task.status, Step.STRIKE) not in TRANSITIONS:
        return state
    if task.result_hash != event.spec_hash:
        return state
    state = checks.move(
        state, checks.account_at(state, task.client), locked_fees=-task.fee_lamports, balance=task.fee_lamports
    )
    slashed = pledge(task)
    worker = checks.account_at(state, task.worker)
    state = checks.move(state, worker, locked_stake=-slashed, pledged_stake=-slashed)
    share = slashed * min(event.number, ALL_BASIS_POINTS) // ALL_BASIS_POINTS
    state = checks.move(state, checks.account_at(state, record.node), payable=share)
    treasury = state.account(node_id(context.treasury)) or Account(context.treasury)
    state = checks.move(state, treasury, payable=slashed - share)
    return state.with_task(record.task, replace(task, status=next_status(task.status, Step.STRIKE)))
