"""The ledger's transition: apply(state, record, context) gives the next state or a LedgerRejection (docs/protocol.md, section 8).

Pure: no clock, no I/O; time is the parent's cut slot, in the context. Every rule validates first, then changes, and apply() then checks that
no lamport appeared or vanished. Signatures and the order of records within a batch are not judged here but in
settlement/ledger/authorisation.py and batch.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from settlement import messages
from settlement.ledger.leaves import Account, Step, Task, TaskStatus, next_status
from settlement.ledger.rejection import InvariantError, LedgerRejection, Rejection
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
)
from settlement.signing import Domain, node_id
from settlement.tags import U64_MAX, fixed
from settlement.validator_set import SetEntry, ValidatorSet

MIN_WORKER_STAKE: Final = 1_000_000
"""Lamports a worker must have locked to reveal a result."""
SUPPORTED_KINDS: Final = frozenset({Kind.TRAINING})
SUPPORTED_MODES: Final = frozenset({Mode.REPLAY})


@dataclass(frozen=True, slots=True)
class Context:
    """What a transition depends on besides state and record. base_slot is the parent's cut_slot, 0 in epoch 1: every attempt of an epoch has
    the same. treasury is the public key (32 bytes) whose L2 account receives slashed stake."""

    domain: Domain
    epoch: int
    base_slot: int
    validator_set: ValidatorSet
    treasury: bytes

    def __post_init__(self) -> None:
        fixed("treasury", self.treasury, 32)


def apply(state: State, record: Record, context: Context) -> State:
    """The state after `record`. LedgerRejection when it cannot follow this state, which is left as it was."""
    after = unchecked(state, record, context)
    payload = record.payload
    entered = payload.lamports if isinstance(payload, EconomicEvent) and payload.event is Event.DEPOSIT else 0
    _check_invariant(state, after, entered)
    return after


def unchecked(state: State, record: Record, context: Context) -> State:
    """apply() without the check that no lamport appeared: it reads no leaf that the rule does not need, so part of a state is enough."""
    payload = record.payload
    if isinstance(payload, EconomicEvent):
        rule: _Rule | None = _EVENT_RULES[payload.event]
    else:
        rule = _RULES.get(record.op)
    if rule is None:
        raise _rejected(Rejection.OP_NOT_ACCEPTED, f"the ledger takes no {record.op.name} so far")
    return rule(state, record, payload, context)


def validator_at(context: Context, record: Record, set_index: int) -> SetEntry:
    """The set's entry at `set_index`, once the record's node is known to be that validator's authority."""
    entries = context.validator_set.entries
    if set_index >= len(entries):
        raise _rejected(Rejection.NOT_A_VALIDATOR, f"set index {set_index} in a set of {len(entries)}")
    entry = entries[set_index]
    if node_id(entry.authority) != record.node:
        raise _rejected(Rejection.NOT_A_VALIDATOR, f"node {record.node.hex()} is not validator {set_index}'s authority")
    return entry


def _deposit(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    cursor = state.totals.inbox_cursor
    if event.inbox_index != cursor:
        raise _rejected(
            Rejection.WRONG_INBOX_INDEX, f"inbox entry {event.inbox_index}, the next is {cursor}", expected=cursor
        )
    if event.lamports == 0:
        raise _rejected(Rejection.ZERO_AMOUNT, "a deposit must be of at least one lamport")
    if record.node != node_id(event.public_key):
        raise _rejected(Rejection.WRONG_NODE, "the node id is not that of the beneficiary's public key")
    # A second key with the same node id credits the first one's account: refusing it would let whoever found such a pair stop the inbox.
    account = state.account(record.node) or Account(event.public_key)
    state = _move(state, account, balance=event.lamports)
    return state.with_totals(replace(state.totals, inbox_cursor=cursor + 1))


def _submit(state: State, record: Record, submission: TaskSubmission, context: Context) -> State:
    account = _author(state, record, submission.nonce)
    if submission.fee_lamports == 0:
        raise _rejected(Rejection.ZERO_AMOUNT, "the fee must be at least one lamport")
    if submission.deadline_slot <= context.base_slot:
        raise _rejected(
            Rejection.DEADLINE_PASSED,
            f"deadline slot {submission.deadline_slot} is not after {context.base_slot}",
            base_slot=context.base_slot,
        )
    if submission.kind not in SUPPORTED_KINDS:
        raise _rejected(Rejection.UNSUPPORTED_KIND, f"kind {submission.kind.name.lower()} is not supported so far")
    if submission.mode not in SUPPORTED_MODES:
        raise _rejected(Rejection.UNSUPPORTED_MODE, f"mode {submission.mode.name.lower()} is not supported so far")
    task_id = messages.task_id(context.domain, account.public_key, submission.nonce, submission.spec_hash)
    if record.task != task_id:
        raise _rejected(Rejection.WRONG_TASK_ID, f"the task id must be {task_id.hex()}")
    if state.task(task_id) is not None:
        raise _rejected(Rejection.TASK_EXISTS, f"task {task_id.hex()} is there already")
    _need_balance(account, submission.fee_lamports)
    fee = submission.fee_lamports
    task = Task(
        record.node, submission.kind, submission.mode, next_status(None, Step.SUBMIT), fee, submission.deadline_slot
    )
    return _move(state, account, balance=-fee, locked_fees=fee, nonce=1).with_task(task_id, task)


def _register(state: State, record: Record, registration: WorkerRegistration, context: Context) -> State:
    account = _author(state, record, registration.nonce)
    if registration.public_key != account.public_key:
        raise _rejected(Rejection.WRONG_PUBLIC_KEY, f"the account's public key is {account.public_key.hex()}")
    stake = registration.stake_lamports
    if stake == 0:
        raise _rejected(Rejection.ZERO_AMOUNT, "the stake must be at least one lamport")
    _need_balance(account, stake)
    return _move(state, account, balance=-stake, locked_stake=stake, nonce=1)


def _reveal(state: State, record: Record, result: TaskResult, context: Context) -> State:
    task, status = _task(state, record, Step.REVEAL)
    if task.deadline_slot < context.base_slot:
        raise _rejected(
            Rejection.DEADLINE_PASSED, f"the task's deadline was slot {task.deadline_slot}", base_slot=context.base_slot
        )
    account = _author(state, record, result.nonce)
    if account.locked_stake < MIN_WORKER_STAKE:
        raise _rejected(
            Rejection.STAKE_TOO_LOW,
            f"the worker has locked {account.locked_stake} lamports, it needs {MIN_WORKER_STAKE}",
            locked_stake_lamports=account.locked_stake,
            minimum_lamports=MIN_WORKER_STAKE,
        )
    if record.node == task.client:
        raise _rejected(Rejection.WORKER_IS_CLIENT, "a client may not work on its own task")
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
    return _move(state, account, nonce=1).with_task(record.task, task)


def _prove_sample(state: State, record: Record, proof: VerificationProof, context: Context) -> State:
    _task(state, record, Step.PROVE_SAMPLE)
    validator_at(context, record, proof.set_index)
    return state


def _vote(state: State, record: Record, vote: ConsensusVote, context: Context) -> State:
    task, status = _task(state, record, Step.VOTE)
    if vote.result_hash != task.result_hash:
        raise _rejected(Rejection.WRONG_RESULT_HASH, f"the revealed result is {task.result_hash.hex()}")
    validator_at(context, record, vote.set_index)
    bit = 1 << vote.set_index
    fresh = task.verdict_epoch != context.epoch
    accept = 0 if fresh else task.accept_bitmap
    reject = 0 if fresh else task.reject_bitmap
    if (accept | reject) & bit:
        raise _rejected(Rejection.DUPLICATE_VOTE, f"validator {vote.set_index} has voted on this result in this epoch")
    if vote.verdict is Verdict.ACCEPT:
        accept |= bit
    elif vote.verdict is Verdict.REJECT:
        reject |= bit
    return state.with_task(
        record.task,
        replace(task, status=status, verdict_epoch=context.epoch, accept_bitmap=accept, reject_bitmap=reject),
    )


def _pay(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    task, status = _task(state, record, Step.PAY)
    _need_quorum(task, task.accept_bitmap, context)
    _need_node(record, task.worker, "worker")
    _need_amount(event, task.fee_lamports, "fee")
    state = _move(state, _account(state, task.client), locked_fees=-task.fee_lamports)
    state = _move(state, _account(state, task.worker), payable=task.fee_lamports)
    return state.with_task(record.task, replace(task, status=status))


def _slash(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    task, status = _task(state, record, Step.SLASH)
    _need_quorum(task, task.reject_bitmap, context)
    _need_node(record, task.worker, "worker")
    worker = _account(state, task.worker)
    slashed = worker.locked_stake
    _need_amount(event, slashed, "worker's locked stake")
    state = _move(state, worker, locked_stake=-slashed)
    treasury = state.account(node_id(context.treasury)) or Account(context.treasury)
    state = _move(state, treasury, payable=slashed)
    fresh = Task(task.client, task.kind, task.mode, status, task.fee_lamports, task.deadline_slot)
    return state.with_task(record.task, fresh)


def _refund(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    task, status = _task(state, record, Step.REFUND)
    if task.deadline_slot >= context.base_slot:
        raise _rejected(
            Rejection.DEADLINE_NOT_PASSED,
            f"the task's deadline is slot {task.deadline_slot}",
            base_slot=context.base_slot,
        )
    _need_node(record, task.client, "client")
    _need_amount(event, task.fee_lamports, "fee")
    fee = task.fee_lamports
    state = _move(state, _account(state, task.client), locked_fees=-fee, balance=fee)
    return state.with_task(record.task, replace(task, status=status))


def _withdraw(state: State, record: Record, event: EconomicEvent, context: Context) -> State:
    account = _author(state, record, event.nonce)
    if event.lamports == 0:
        raise _rejected(Rejection.ZERO_AMOUNT, "a withdrawal must be of at least one lamport")
    _need_balance(account, event.lamports)
    return _move(state, account, balance=-event.lamports, payable=event.lamports, nonce=1)


_Rule = Callable[[State, Record, Any, Context], State]
_RULES: Final[dict[Op, _Rule]] = {
    Op.TASK_SUBMISSION: _submit,
    Op.WORKER_REGISTRATION: _register,
    Op.TASK_RESULT: _reveal,
    Op.VERIFICATION_PROOF: _prove_sample,
    Op.CONSENSUS_VOTE: _vote,
}
_EVENT_RULES: Final[dict[Event, _Rule]] = {
    Event.DEPOSIT: _deposit,
    Event.PAYMENT: _pay,
    Event.SLASH: _slash,
    Event.REFUND: _refund,
    Event.WITHDRAWAL: _withdraw,
}


def _move(
    state: State,
    account: Account,
    *,
    balance: int = 0,
    locked_fees: int = 0,
    locked_stake: int = 0,
    payable: int = 0,
    nonce: int = 0,
) -> State:
    """Adds to one account's amounts and the same to the totals: the only place where lamports change."""
    state = state.with_account(
        replace(
            account,
            balance=_u64("balance", account.balance + balance),
            locked_fees=_u64("locked fees", account.locked_fees + locked_fees),
            locked_stake=_u64("locked stake", account.locked_stake + locked_stake),
            payable=_u64("payable", account.payable + payable),
            nonce=_u64("nonce", account.nonce + nonce),
        )
    )
    locked = locked_fees + locked_stake
    if not (balance or locked or payable):
        return state
    totals = state.totals
    return state.with_totals(
        replace(
            totals,
            balance=_u64("total balance", totals.balance + balance),
            locked=_u64("total locked", totals.locked + locked),
            payable=_u64("total payable", totals.payable + payable),
        )
    )


def _check_invariant(before: State, after: State, entered: int) -> None:
    old, new = before.totals, after.totals
    if new.lamports != old.lamports + entered or new.payable < old.payable:
        raise InvariantError(f"from {old} to {new} with {entered} lamports entering")


def _author(state: State, record: Record, nonce: int) -> Account:
    """The account of the record's author, once its nonce is the record's."""
    account = _account(state, record.node)
    if nonce != account.nonce:
        raise _rejected(
            Rejection.WRONG_NONCE,
            f"the record's nonce is {nonce}, the account's {account.nonce}",
            expected=account.nonce,
        )
    return account


def _account(state: State, node: bytes) -> Account:
    account = state.account(node)
    if account is None:
        raise _rejected(Rejection.UNKNOWN_ACCOUNT, f"node {node.hex()} has no account; a deposit makes one")
    return account


def _task(state: State, record: Record, step: Step) -> tuple[Task, TaskStatus]:
    """The record's task, and its status after `step`."""
    task = state.task(record.task)
    if task is None:
        raise _rejected(Rejection.UNKNOWN_TASK, f"there is no task {record.task.hex()}")
    return task, next_status(task.status, step)


def _need_balance(account: Account, lamports: int) -> None:
    if account.balance < lamports:
        raise _rejected(
            Rejection.INSUFFICIENT_BALANCE,
            f"the balance is {account.balance} lamports, {lamports} are needed",
            balance_lamports=account.balance,
        )


def _need_quorum(task: Task, bitmap: int, context: Context) -> None:
    if task.verdict_epoch != context.epoch:
        raise _rejected(
            Rejection.STALE_VERDICTS, f"the verdicts are of epoch {task.verdict_epoch}, this is {context.epoch}"
        )
    validators = context.validator_set
    if not validators.is_quorum(bitmap):
        signed = validators.stake_of(bitmap)
        raise _rejected(
            Rejection.NO_QUORUM,
            f"{signed} of {validators.total_stake} lamports of stake agree, two thirds are needed",
            signed_stake_lamports=signed,
            total_stake_lamports=validators.total_stake,
        )


def _need_node(record: Record, node: bytes, role: str) -> None:
    if record.node != node:
        raise _rejected(Rejection.WRONG_NODE, f"the task's {role} is node {node.hex()}")


def _need_amount(event: EconomicEvent, lamports: int, what: str) -> None:
    if event.lamports != lamports:
        raise _rejected(Rejection.WRONG_AMOUNT, f"the {what} is {lamports} lamports", expected=lamports)


def _u64(name: str, value: int) -> int:
    if not 0 <= value <= U64_MAX:
        raise _rejected(Rejection.OVERFLOW, f"{name} would be {value}")
    return value


def _rejected(code: Rejection, message: str, **data: int) -> LedgerRejection:
    return LedgerRejection(code, message, **data)
