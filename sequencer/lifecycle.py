"""The life of a task and of a checkpoint: one table of transitions each. An unknown pair raises and leaves everything as it was.

The task's status is the sequencer's own view (a lease is no matter of the ledger); what is paid is decided by the ledger alone.
The form is that of h11's state table.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    PENDING = "pending"
    LEASED = "leased"
    COMMITTED = "committed"
    REVEALED = "revealed"
    PAID = "paid"
    REFUNDED = "refunded"


class TaskEvent(StrEnum):
    LEASE = "lease"
    RENEW = "renew"
    EXPIRE = "expire"
    COMMIT = "commit"
    REVEAL = "reveal"
    ACCEPT = "accept"
    REJECT = "reject"
    REFUND = "refund"
    # A batch was built anew and what the task's status rested on no longer applies (another pinned set, a fork of L1, a rejection).
    UNDECIDE = "undecide"
    UNREVEAL = "unreveal"


class CheckpointStatus(StrEnum):
    OPEN = "open"
    ATTESTING = "attesting"
    POSTING = "posting"
    POSTED = "posted"
    FINALIZED = "finalized"
    REJECTED = "rejected"
    VOIDED = "voided"


class CheckpointEvent(StrEnum):
    CUT = "cut"
    CERTIFY = "certify"
    POST = "post"
    FINALIZE = "finalize"
    FORK = "fork"  # a confirmed post is gone from L1
    GIVE_UP = "give_up"  # the attempt expired; its records go back into the open batch
    REJECT = "reject"  # L1 holds it for proved wrong; its records go back into the open batch
    VOID = "void"  # it builds on one that was rejected


class IllegalTransition(Exception):
    """The event cannot happen in this status."""

    def __init__(self, subject: str, status: StrEnum, event: StrEnum) -> None:
        super().__init__(f"{subject} is {status.value}: {event.value} is not possible")
        self.status = status
        self.event = event


_S, _E = Status, TaskEvent
TASK_TRANSITIONS: dict[tuple[Status, TaskEvent], Status] = {
    (_S.PENDING, _E.LEASE): _S.LEASED,
    (_S.PENDING, _E.REFUND): _S.REFUNDED,
    (_S.LEASED, _E.RENEW): _S.LEASED,
    (_S.LEASED, _E.EXPIRE): _S.PENDING,
    (_S.LEASED, _E.COMMIT): _S.COMMITTED,
    (_S.LEASED, _E.REFUND): _S.REFUNDED,
    (_S.COMMITTED, _E.RENEW): _S.COMMITTED,
    (_S.COMMITTED, _E.EXPIRE): _S.PENDING,
    (_S.COMMITTED, _E.REVEAL): _S.REVEALED,
    (_S.COMMITTED, _E.REFUND): _S.REFUNDED,
    (_S.REVEALED, _E.ACCEPT): _S.PAID,
    (_S.REVEALED, _E.REJECT): _S.PENDING,
    (_S.REVEALED, _E.REFUND): _S.REFUNDED,
    (_S.REVEALED, _E.UNREVEAL): _S.PENDING,
    # A slashed result's task may be leased again, or have got as far as a second result, before its slash is undone.
    **{(status, _E.UNDECIDE): _S.REVEALED for status in _S},
    (_S.PAID, _E.UNREVEAL): _S.PENDING,
    (_S.REFUNDED, _E.UNREVEAL): _S.PENDING,
}

_C, _X = CheckpointStatus, CheckpointEvent
CHECKPOINT_TRANSITIONS: dict[tuple[CheckpointStatus, CheckpointEvent], CheckpointStatus] = {
    (_C.OPEN, _X.CUT): _C.ATTESTING,
    (_C.ATTESTING, _X.CERTIFY): _C.POSTING,
    (_C.ATTESTING, _X.GIVE_UP): _C.OPEN,
    (_C.POSTING, _X.POST): _C.POSTED,
    (_C.POSTING, _X.GIVE_UP): _C.OPEN,
    (_C.POSTED, _X.FORK): _C.POSTING,
    (_C.POSTED, _X.GIVE_UP): _C.OPEN,
    (_C.POSTED, _X.FINALIZE): _C.FINALIZED,
    (_C.POSTED, _X.REJECT): _C.REJECTED,
    (_C.POSTED, _X.VOID): _C.VOIDED,
    # It landed, and the rejection was final before this node had seen the post.
    (_C.POSTING, _X.VOID): _C.VOIDED,
}


def next_status(status: Status, event: TaskEvent) -> Status:
    """The task's status after `event`. IllegalTransition when the table has no such pair."""
    try:
        return TASK_TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransition("the task", status, event) from None


def next_checkpoint_status(status: CheckpointStatus, event: CheckpointEvent) -> CheckpointStatus:
    """The checkpoint's status after `event`. IllegalTransition when the table has no such pair."""
    try:
        return CHECKPOINT_TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransition("the checkpoint", status, event) from None
