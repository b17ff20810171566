"""The ledger's transition: apply(state, record, context) gives the next state or a LedgerRejection (docs/protocol.md, section 8).

Pure: no clock, no I/O; time is the parent's cut slot, in the context. Every rule validates first, then changes, and apply() then checks that
no lamport appeared or vanished. Signatures and the order of records within a batch are not judged here but in
settlement/ledger/authorisation.py and batch.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from settlement import messages
from settlement.ledger import checks, exact
from settlement.ledger.context import Context, validator_at
from settlement.ledger.leaves import TRANSITIONS, Account, Step, Task, TaskStatus, next_status
from settlement.ledger.rejection import InvariantError, Rejection
from settlement.ledger.state import State
from settlement.records import (
    ConsensusVote,
    EconomicEvent,
    Event,
    Kind,
    Mode,
    Op,
    Record,
    TaskResult,
    TaskSubmission,
    Verdict,
    VerificationProof,
    WorkerRegistration,
    inbox_event,
)
from settlement.signing import node_id

SUPPORTED_KINDS: Final = frozenset({Kind.TRAINING})
SUPPORTED_MODES: Final = frozenset({Mode.REPLAY, Mode.EXACT})


def apply(state: State, record: Record, context: Context) -> State:
    """The state after `record`. LedgerRejection when it cannot follow this state, which is left as it was."""
    after = unchecked(state, record, context)
    _check_invariant(state, after, entry.lamports if (entry := inbox_event(record)) else 0)
    return after


def unchecked(state: State, record: Record, context: Context) -> State:
    """apply() without the check that no lamport appeared: it reads no leaf that the rule does not need, so part of a state is enough."""
    payload = record.payload
    if isinstance(payload, EconomicEvent):
        rule: _Rule | None = _EVENT_RULES[payload.event]
    else:
        rule = _RULES.get(record.op)
    if rule is None:
        raise checks.rejected(Rejection.OP_NOT_ACCEPTED, f"the ledger takes no {record.op.name} so far")
    return rule(state, record, payload, context)


def _take_entry(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    """What every inbox record does first, and a DEPOSIT alone: the next entry's lamports are credited to the account of its public key."""
    cursor = state.totals.inbox_cursor
    if event.inbox_index != cursor:
        raise checks.rejected(
            Rejection.WRONG_INBOX_INDEX, f"inbox entry {event.inbox_index}, the next is {cursor}", expected=cursor
        )
    if event.lamports == 0:
        raise checks.rejected(Rejection.ZERO_AMOUNT, "an inbox entry is of at least one lamport")
    if record.node != node_id(event.public_key):
        raise checks.rejected(Rejection.WRONG_NODE, "the node id is not that of the entry's public key")
    # A second key with the same node id credits the first one's account: refusing it would let whoever found such a pair stop the inbox.
    account = state.account(record.node) or Account(event.public_key)
    state = checks.move(state, account, balance=event.lamports)
    return state.with_totals(replace(state.totals, inbox_cursor=checks.u64("inbox cursor", cursor + 1)))


def _inbox_task(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    """Nothing that the client wrote into the entry may stop the inbox: of what makes no task only the lamports are credited."""
    state = _take_entry(state, record, event, context)
    task_id = messages.inbox_task_id(context.domain, event.public_key, event.inbox_index, event.spec_hash)
    if record.task != task_id:
        raise checks.rejected(Rejection.WRONG_TASK_ID, f"the task id must be {task_id.hex()}")
    supported = event.kind in SUPPORTED_KINDS and event.mode in SUPPORTED_MODES
    if not supported or event.number <= context.base_slot or state.task(task_id) is not None:
        return state
    task = Task(record.node, event.kind, event.mode, next_status(None, Step.SUBMIT), event.lamports, event.number)
    state = checks.move(
        state, checks.account_at(state, record.node), balance=-event.lamports, locked_fees=event.lamports
    )
    return state.with_task(task_id, task)


def _force_withdrawal(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    """Refunds the overdue task that the entry names, if it may, and makes payable what was asked for, or as much as there is."""
    state = _take_entry(state, record, event, context)
    # Another key with the same node id owns the account: it must not be emptied.
    if checks.account_at(state, record.node).public_key != event.public_key:
        return state
    task = state.task(record.task) if any(record.task) else None
    if task is not None and task.client == record.node and _is_overdue(task, context):
        state = _give_back(state, record.task, task)
    account = checks.account_at(state, record.node)
    lamports = min(event.number, account.balance)
    return checks.move(state, account, balance=-lamports, payable=lamports)


def _strike(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    return exact.strike(_take_entry(state, record, event, context), record, event, context)


def _is_overdue(task: Task, context: Context) -> bool:
    return task.deadline_slot < context.base_slot and (task.status, Step.REFUND) in TRANSITIONS


def _give_back(state: State, task_id: bytes, task: Task) -> State:
    fee = task.fee_lamports
    state = checks.move(state, checks.account_at(state, task.client), locked_fees=-fee, balance=fee)
    state = exact.free_pledge(state, task)
    return state.with_task(task_id, replace(task, status=next_status(task.status, Step.REFUND)))


def _submit(state: State, record: Record, submission: TaskSubmission, context: Context) -> State:
    account = checks.author(state, record, submission.nonce)
    if submission.fee_lamports == 0:
        raise checks.rejected(Rejection.ZERO_AMOUNT, "the fee must be at least one lamport")
    if submission.deadline_slot <= context.base_slot:
        raise checks.rejected(
            Rejection.DEADLINE_PASSED,
            f"deadline slot {submission.deadline_slot} is not after {context.base_slot}",
            base_slot=context.base_slot,
        )
    if submission.kind not in SUPPORTED_KINDS:
        raise checks.rejected(
            Rejection.UNSUPPORTED_KIND, f"kind {submission.kind.name.lower()} is not supported so far"
        )
    if submission.mode not in SUPPORTED_MODES:
        raise checks.rejected(
            Rejection.UNSUPPORTED_MODE, f"mode {submission.mode.name.lower()} is not supported so far"
        )
    task_id = messages.task_id(context.domain, account.public_key, submission.nonce, submission.spec_hash)
    if record.task != task_id:
        raise checks.rejected(Rejection.WRONG_TASK_ID, f"the task id must be {task_id.hex()}")
    if state.task(task_id) is not None:
        raise checks.rejected(Rejection.TASK_EXISTS, f"task {task_id.hex()} is there already")
    checks.need_balance(account, submission.fee_lamports)
    fee = submission.fee_lamports
    task = Task(
        record.node, submission.kind, submission.mode, next_status(None, Step.SUBMIT), fee, submission.deadline_slot
    )
    return checks.move(state, account, balance=-fee, locked_fees=fee, nonce=1).with_task(task_id, task)


def _register(state: State, record: Record, registration: WorkerRegistration, context: Context) -> State:
    account = checks.author(state, record, registration.nonce)
    if registration.public_key != account.public_key:
        raise checks.rejected(Rejection.WRONG_PUBLIC_KEY, f"the account's public key is {account.public_key.hex()}")
    stake = registration.stake_lamports
    if stake == 0:
        raise checks.rejected(Rejection.ZERO_AMOUNT, "the stake must be at least one lamport")
    checks.need_balance(account, stake)
    return checks.move(state, account, balance=-stake, locked_stake=stake, nonce=1)


def _reveal(state: State, record: Record, result: TaskResult, context: Context) -> State:
    task, status = checks.task_in(state, record, Step.REVEAL)
    if task.deadline_slot < context.base_slot:
        raise checks.rejected(
            Rejection.DEADLINE_PASSED, f"the task's deadline was slot {task.deadline_slot}", base_slot=context.base_slot
        )
    account = checks.author(state, record, result.nonce)
    needed = exact.needed_stake(task)
    if account.free_stake < needed:
        raise checks.rejected(
            Rejection.STAKE_TOO_LOW,
            f"of the worker's locked stake {account.free_stake} lamports are free, it needs {needed}",
            locked_stake_lamports=account.locked_stake,
            minimum_lamports=needed + account.pledged_stake,
        )
    if record.node == task.client:
        raise checks.rejected(Rejection.WORKER_IS_CLIENT, "a client may not work on its own task")
    commitment = messages.commitment(
        context.domain, record.task, result.lease_id, account.public_key, result.salt, result.result_hash
    )
    task = replace(
        task,
        status=status,
        worker=record.node,
        commitment=commitment,
        result_hash=result.result_hash,
        verdict_epoch=0,
        accept_bitmap=0,
        reject_bitmap=0,
    )
    return checks.move(state, account, nonce=1, pledged_stake=exact.pledge(task)).with_task(record.task, task)


def _prove_sample(state: State, record: Record, proof: VerificationProof, context: Context) -> State:
    checks.task_in(state, record, Step.PROVE_SAMPLE)
    validator_at(context, record, proof.set_index)
    return state


def _vote(state: State, record: Record, vote: ConsensusVote, context: Context) -> State:
    task, status = checks.task_in(state, record, Step.VOTE)
    if vote.result_hash != task.result_hash:
        raise checks.rejected(Rejection.WRONG_RESULT_HASH, f"the revealed result is {task.result_hash.hex()}")
    validator_at(context, record, vote.set_index)
    bit = 1 << vote.set_index
    fresh = task.verdict_epoch != context.epoch
    accept = 0 if fresh else task.accept_bitmap
    reject = 0 if fresh else task.reject_bitmap
    if (accept | reject) & bit:
        raise checks.rejected(
            Rejection.DUPLICATE_VOTE, f"validator {vote.set_index} has voted on this result in this epoch"
        )
    if vote.verdict is Verdict.ACCEPT:
        accept |= bit
    elif vote.verdict is Verdict.REJECT:
        reject |= bit
    return state.with_task(
        record.task,
        replace(task, status=status, verdict_epoch=context.epoch, accept_bitmap=accept, reject_bitmap=reject),
    )


def _pay(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    task = checks.task_of(state, record)
    if task.status is TaskStatus.REVEALED and task.mode is Mode.EXACT:
        raise checks.rejected(Rejection.WRONG_MODE, "a result of mode exact is held before it is paid")
    status = next_status(task.status, Step.PAY)
    if task.status is TaskStatus.HELD:
        exact.check_release(task, context)
    else:
        checks.need_quorum(task, task.accept_bitmap, context)
    checks.need_node(record, task.worker, "worker")
    checks.need_amount(event, task.fee_lamports, "fee")
    state = checks.move(state, checks.account_at(state, task.client), locked_fees=-task.fee_lamports)
    state = checks.move(state, checks.account_at(state, task.worker), payable=task.fee_lamports)
    state = exact.free_pledge(state, task)
    return state.with_task(record.task, replace(task, status=status))


def _slash(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    task, status = checks.task_in(state, record, Step.SLASH)
    checks.need_quorum(task, task.reject_bitmap, context)
    checks.need_node(record, task.worker, "worker")
    worker = checks.account_at(state, task.worker)
    pledge = exact.pledge(task)
    slashed = worker.free_stake + pledge
    checks.need_amount(event, slashed, "worker's stake that stands behind no other exact result")
    state = checks.move(state, worker, locked_stake=-slashed, pledged_stake=-pledge)
    treasury = state.account(node_id(context.treasury)) or Account(context.treasury)
    state = checks.move(state, treasury, payable=slashed)
    fresh = Task(task.client, task.kind, task.mode, status, task.fee_lamports, task.deadline_slot)
    return state.with_task(record.task, fresh)


def _refund(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    task, _ = checks.task_in(state, record, Step.REFUND)
    if task.deadline_slot >= context.base_slot:
        raise checks.rejected(
            Rejection.DEADLINE_NOT_PASSED,
            f"the task's deadline is slot {task.deadline_slot}",
            base_slot=context.base_slot,
        )
    checks.need_node(record, task.client, "client")
    checks.need_amount(event, task.fee_lamports, "fee")
    return _give_back(state, record.task, task)


def _withdraw(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    account = checks.author(state, record, event.number)
    if event.lamports == 0:
        raise checks.rejected(Rejection.ZERO_AMOUNT, "a withdrawal must be of at least one lamport")
    checks.need_balance(account, event.lamports)
    return checks.move(state, account, balance=-event.lamports, payable=event.lamports, nonce=1)


_Rule = Callable[[State, Record, Any, Context], State]
_RULES: Final[dict[Op, _Rule]] = {
    Op.TASK_SUBMISSION: _submit,
    Op.WORKER_REGISTRATION: _register,
    Op.TASK_RESULT: _reveal,
    Op.VERIFICATION_PROOF: _prove_sample,
    Op.CONSENSUS_VOTE: _vote,
}
_EVENT_RULES: Final[dict[Event, _Rule]] = {
    Event.DEPOSIT: _take_entry,
    Event.INBOX_TASK: _inbox_task,
    Event.FORCED_WITHDRAWAL: _force_withdrawal,
    Event.STRIKE: _strike,
    Event.HOLD: exact.hold,
    Event.SCHEDULE: exact.schedule,
    Event.PAYMENT: _pay,
    Event.SLASH: _slash,
    Event.REFUND: _refund,
    Event.WITHDRAWAL: _withdraw,
}


def _check_invariant(before: State, after: State, entered: int) -> None:
    old, new = before.totals, after.totals
    if new.lamports != old.lamports + entered or new.payable < old.payable:
        raise InvariantError(f"from {old} to {new} with {entered} lamports entering")
