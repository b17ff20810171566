"""Why the ledger refuses a record, or a validator a batch. One enum for code, RPC (error REJECTED_BY_LEDGER, data.code) and vectors.

    Exception
    ├── LedgerRejection     a record that cannot follow this state; the state stays as it was
    ├── BatchError          a proposal that a validator must not sign; .record is the offending record's index, if it is one
    └── InvariantError      the rules themselves are wrong: money appeared or vanished. Never caught.

Numbers are stable: a new reason gets a new one, none is used again.
"""

from __future__ import annotations

from enum import IntEnum


class Rejection(IntEnum):
    MALFORMED_RECORD = 1
    OP_NOT_ACCEPTED = 2
    UNKNOWN_ACCOUNT = 3
    WRONG_NONCE = 4
    INSUFFICIENT_BALANCE = 5
    ZERO_AMOUNT = 6
    OVERFLOW = 7
    WRONG_NODE = 8
    WRONG_PUBLIC_KEY = 9
    WRONG_AMOUNT = 10
    UNSUPPORTED_KIND = 11
    UNSUPPORTED_MODE = 12
    WRONG_TASK_ID = 13
    TASK_EXISTS = 14
    UNKNOWN_TASK = 15
    WRONG_STATUS = 16
    DEADLINE_PASSED = 17
    DEADLINE_NOT_PASSED = 18
    STAKE_TOO_LOW = 19
    WORKER_IS_CLIENT = 20
    WRONG_RESULT_HASH = 21
    NOT_A_VALIDATOR = 22
    DUPLICATE_VOTE = 23
    STALE_VERDICTS = 24
    NO_QUORUM = 25
    WRONG_INBOX_INDEX = 26
    INBOX_NOT_FIRST = 27
    TOO_MANY_RECORDS = 28
    BAD_AUTHORISATION = 29
    AUTHORISATION_EXPIRED = 30
    BAD_SAMPLE_SIGNATURE = 31
    WRONG_MODE = 32
    NOT_RELEASED = 33
    RELEASE_SCHEDULED = 34
    HOLD_TOO_YOUNG = 35


class LedgerRejection(Exception):
    """A record that is refused: the code, a message for people, and the numbers that would have been right (for example expected=7)."""

    def __init__(self, code: Rejection, message: str, **data: int) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.data = data


class BatchError(Exception):
    """A batch, or the message over it, that is not what the rules lead to."""

    def __init__(self, message: str, record: int | None = None, code: Rejection | None = None) -> None:
        super().__init__(message if record is None else f"record {record}: {message}")
        self.record = record
        self.code = code


class InvariantError(Exception):
    """balance + locked + payable changed by something other than a deposit, or payable fell."""
