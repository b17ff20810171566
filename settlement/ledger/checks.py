"""What the ledger's rules are made of: the accounts and tasks that they need, what they check, and the one way in which lamports move."""

from __future__ import annotations

from dataclasses import replace

from settlement.ledger.context import Context
from settlement.ledger.leaves import Account, Step, Task, TaskStatus, next_status
from settlement.ledger.rejection import LedgerRejection, Rejection
from settlement.ledger.state import State
from settlement.records import EconomicEvent, Record
from settlement.tags import U64_MAX


def move(
    state: State,
    account: Account,
    *,
    balance: int = 0,
    locked_fees: int = 0,
    locked_stake: int = 0,
    payable: int = 0,
    nonce: int = 0,
    pledged_stake: int = 0,
) -> State:
    """Adds to one account's amounts and the same to the totals: the only place where lamports change."""
    state = state.with_account(
        replace(
            account,
            balance=u64("balance", account.balance + balance),
            locked_fees=u64("locked fees", account.locked_fees + locked_fees),
            locked_stake=u64("locked stake", account.locked_stake + locked_stake),
            payable=u64("payable", account.payable + payable),
            nonce=u64("nonce", account.nonce + nonce),
            pledged_stake=u64("pledged stake", account.pledged_stake + pledged_stake),
        )
    )
    locked = locked_fees + locked_stake
    if not (balance or locked or payable):
        return state
    totals = state.totals
    return state.with_totals(
        replace(
            totals,
            balance=u64("total balance", totals.balance + balance),
            locked=u64("total locked", totals.locked + locked),
            payable=u64("total payable", totals.payable + payable),
        )
    )


def author(state: State, record: Record, nonce: int) -> Account:
    """The account of the record's author, once its nonce is the record's."""
    account = account_at(state, record.node)
    if nonce != account.nonce:
        raise rejected(
            Rejection.WRONG_NONCE,
            f"the record's nonce is {nonce}, the account's {account.nonce}",
            expected=account.nonce,
        )
    return account


def account_at(state: State, node: bytes) -> Account:
    account = state.account(node)
    if account is None:
        raise rejected(Rejection.UNKNOWN_ACCOUNT, f"node {node.hex()} has no account; a deposit makes one")
    return account


def task_of(state: State, record: Record) -> Task:
    task = state.task(record.task)
    if task is None:
        raise rejected(Rejection.UNKNOWN_TASK, f"there is no task {record.task.hex()}")
    return task


def task_in(state: State, record: Record, step: Step) -> tuple[Task, TaskStatus]:
    """The record's task, and its status after `step`."""
    task = task_of(state, record)
    return task, next_status(task.status, step)


def need_balance(account: Account, lamports: int) -> None:
    if account.balance < lamports:
        raise rejected(
            Rejection.INSUFFICIENT_BALANCE,
            f"the balance is {account.balance} lamports, {lamports} are needed",
            balance_lamports=account.balance,
        )


def need_quorum(task: Task, bitmap: int, context: Context) -> None:
    if task.verdict_epoch != context.epoch:
        raise rejected(
            Rejection.STALE_VERDICTS, f"the verdicts are of epoch {task.verdict_epoch}, this is {context.epoch}"
        )
    validators = context.validator_set
    if not validators.is_quorum(bitmap):
        signed = validators.stake_of(bitmap)
        raise rejected(
            Rejection.NO_QUORUM,
            f"{signed} of {validators.total_stake} lamports of stake agree, two thirds are needed",
            signed_stake_lamports=signed,
            total_stake_lamports=validators.total_stake,
        )


def need_node(record: Record, node: bytes, role: str) -> None:
    if record.node != node:
        raise rejected(Rejection.WRONG_NODE, f"the task's {role} is node {node.hex()}")


def need_amount(event: EconomicEvent, lamports: int, what: str) -> None:
    if event.lamports != lamports:
        raise rejected(Rejection.WRONG_AMOUNT, f"the {what} is {lamports} lamports", expected=lamports)


def u64(name: str, value: int) -> int:
    if not 0 <= value <= U64_MAX:
        raise rejected(Rejection.OVERFLOW, f"{name} would be {value}")
    return value


def rejected(code: Rejection, message: str, **data: int) -> LedgerRejection:
    return LedgerRejection(code, message, **data)
