"""The three kinds of leaf in the state and the lifecycle of a task (docs/protocol.md, section 7). Values are little-endian, none is ever removed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum, auto
from typing import Final

from settlement.ledger.rejection import LedgerRejection, Rejection
from settlement.records import Kind, Mode
from settlement.signing import node_id
from settlement.tags import U64_MAX, H, fixed
from settlement.validator_set import bitmap_to_bytes, bytes_to_bitmap


class LeafKind(StrEnum):
    ACCOUNT = "account"
    TASK = "task"
    TOTALS = "totals"


class TaskStatus(IntEnum):
    PENDING = 1
    REVEALED = 2
    PAID = 3
    REFUNDED = 4
    HELD = 5
    STRUCK = 6


class Step(StrEnum):
    """What can happen to a task."""

    SUBMIT = auto()
    REVEAL = auto()
    PROVE_SAMPLE = auto()
    VOTE = auto()
    HOLD = auto()
    SCHEDULE = auto()
    PAY = auto()
    SLASH = auto()
    REFUND = auto()
    STRIKE = auto()


TRANSITIONS: Final[dict[tuple[TaskStatus | None, Step], TaskStatus]] = {
    (None, Step.SUBMIT): TaskStatus.PENDING,
    (TaskStatus.PENDING, Step.REVEAL): TaskStatus.REVEALED,
    (TaskStatus.PENDING, Step.REFUND): TaskStatus.REFUNDED,
    (TaskStatus.REVEALED, Step.PROVE_SAMPLE): TaskStatus.REVEALED,
    (TaskStatus.REVEALED, Step.VOTE): TaskStatus.REVEALED,
    (TaskStatus.REVEALED, Step.PAY): TaskStatus.PAID,
    (TaskStatus.REVEALED, Step.SLASH): TaskStatus.PENDING,
    (TaskStatus.REVEALED, Step.REFUND): TaskStatus.REFUNDED,
    (TaskStatus.REVEALED, Step.HOLD): TaskStatus.HELD,
    (TaskStatus.REVEALED, Step.STRIKE): TaskStatus.STRUCK,
    (TaskStatus.HELD, Step.SCHEDULE): TaskStatus.HELD,
    (TaskStatus.HELD, Step.PAY): TaskStatus.PAID,
    (TaskStatus.HELD, Step.STRIKE): TaskStatus.STRUCK,
}
"""The whole lifecycle; None is a task that is not there. PAID, REFUNDED and STRUCK are final. Only results of mode exact are held and struck;
a revealed one of them is not paid, a held one only from its release slot on."""

UNSCHEDULED: Final = U64_MAX
"""The release slot of a held result before it is known."""


def next_status(status: TaskStatus | None, step: Step) -> TaskStatus:
    """The status after `step`; a pair that is not in the table is rejected as WRONG_STATUS."""
    try:
        return TRANSITIONS[status, step]
    except KeyError:
        name = "absent" if status is None else status.name
        raise LedgerRejection(Rejection.WRONG_STATUS, f"a task that is {name} cannot take the step {step}") from None


_ACCOUNT = struct.Struct("<32s6Q")
_TASK = struct.Struct("<20sBBBQQ20s32s32sQ32s32s")
_TOTALS = struct.Struct("<4Q")


@dataclass(frozen=True, slots=True)
class Account:
    """An L2 account: amounts in lamports. payable is cumulative and only grows; on L1, claim pays payable − already claimed.

    pledged_stake is the part of locked_stake that stands behind this worker's exact results, each result's for itself.
    """

    public_key: bytes
    balance: int = 0
    locked_fees: int = 0
    locked_stake: int = 0
    pledged_stake: int = 0
    nonce: int = 0
    payable: int = 0

    @property
    def node(self) -> bytes:
        return node_id(self.public_key)

    @property
    def free_stake(self) -> int:
        """Locked stake that stands behind no exact result."""
        return max(0, self.locked_stake - self.pledged_stake)

    def encode(self) -> bytes:
        """80 bytes."""
        return _ACCOUNT.pack(
            self.public_key,
            self.balance,
            self.locked_fees,
            self.locked_stake,
            self.pledged_stake,
            self.nonce,
            self.payable,
        )

    @classmethod
    def decode(cls, value: bytes) -> Account:
        return cls(*_ACCOUNT.unpack(fixed("account", value, _ACCOUNT.size)))


@dataclass(frozen=True, slots=True)
class Task:
    """A task: node ids 20 bytes, hashes 32, fee in lamports, deadline in L1 slots. The bitmaps index the validator set of verdict_epoch.

    Once a result is HELD, the deadline has no more use: deadline_slot is then its release slot, UNSCHEDULED until that is known.
    """

    client: bytes
    kind: Kind
    mode: Mode
    status: TaskStatus
    fee_lamports: int
    deadline_slot: int
    worker: bytes = bytes(20)
    commitment: bytes = bytes(32)
    result_hash: bytes = bytes(32)
    verdict_epoch: int = 0
    accept_bitmap: int = 0
    reject_bitmap: int = 0

    def encode(self) -> bytes:
        """195 bytes."""
        return _TASK.pack(
            self.client,
            self.kind,
            self.mode,
            self.status,
            self.fee_lamports,
            self.deadline_slot,
            self.worker,
            self.commitment,
            self.result_hash,
            self.verdict_epoch,
            bitmap_to_bytes(self.accept_bitmap),
            bitmap_to_bytes(self.reject_bitmap),
        )

    @classmethod
    def decode(cls, value: bytes) -> Task:
        client, kind, mode, status, fee, deadline, worker, commitment, result, epoch, accept, reject = _TASK.unpack(
            fixed("task", value, _TASK.size)
        )
        return cls(
            client,
            Kind(kind),
            Mode(mode),
            TaskStatus(status),
            fee,
            deadline,
            worker,
            commitment,
            result,
            epoch,
            bytes_to_bitmap(accept),
            bytes_to_bitmap(reject),
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all accounts in lamports (locked: fees and stake), and the inbox cursor: entries 0 … cursor − 1 are taken."""

    balance: int = 0
    locked: int = 0
    payable: int = 0
    inbox_cursor: int = 0

    @property
    def lamports(self) -> int:
        """All that L2 holds; always the inbox's running sum at the cursor."""
        return self.balance + self.locked + self.payable

    def encode(self) -> bytes:
        """32 bytes."""
        return _TOTALS.pack(self.balance, self.locked, self.payable, self.inbox_cursor)

    @classmethod
    def decode(cls, value: bytes) -> Totals:
        return cls(*_TOTALS.unpack(fixed("totals", value, _TOTALS.size)))


Leaf = Account | Task | Totals

_VALUE_TAGS: Final = {LeafKind.ACCOUNT: "account", LeafKind.TASK: "task-leaf", LeafKind.TOTALS: "totals"}
_TYPES: Final[dict[LeafKind, type[Account] | type[Task] | type[Totals]]] = {
    LeafKind.ACCOUNT: Account,
    LeafKind.TASK: Task,
    LeafKind.TOTALS: Totals,
}
_KINDS: Final[dict[type, LeafKind]] = {kind: name for name, kind in _TYPES.items()}


def account_key(node: bytes) -> bytes:
    return H("account-key", fixed("node id", node, 20))


def task_key(task_id: bytes) -> bytes:
    return H("task-key", fixed("task id", task_id, 32))


TOTALS_KEY: Final = H("totals-key")


def kind_of(leaf: Leaf) -> LeafKind:
    return _KINDS[type(leaf)]


def decode_leaf(kind: LeafKind, value: bytes) -> Leaf:
    """ValueError when the value is no leaf of that kind."""
    return _TYPES[kind].decode(value)


def value_hash(kind: LeafKind, value: bytes) -> bytes:
    return H(_VALUE_TAGS[kind], value)
