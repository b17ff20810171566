"""The error codes of docs/rpc.md, and the one exception that carries them to a caller.

Exception
├── RpcError          a call is refused; becomes a JSON-RPC error object
└── StoreError        (store.py) the disk failed; becomes READ_ONLY at the door
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Code(IntEnum):
    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    NODE_UNHEALTHY = -32005
    BAD_SIGNATURE = -33001
    AUTH_EXPIRED = -33002
    NONCE_USED = -33003
    WRONG_NONCE = -33004
    UNKNOWN_ACCOUNT = -33005
    INSUFFICIENT_BALANCE = -33006
    INVALID_SPEC = -33007
    UNSUPPORTED_MODE = -33008
    UNKNOWN_TASK = -33009
    LEASE_LOST = -33010
    WRONG_COMMITMENT = -33011
    BLOB_MISSING = -33012
    NOT_A_VALIDATOR = -33013
    ALREADY_DECIDED = -33014
    WRONG_PROPOSAL = -33015
    NOT_FOUND = -33016
    DEADLINE = -33017
    REJECTED_BY_LEDGER = -33018
    STAKE_TOO_LOW = -33019
    RATE_LIMITED = -33020
    READ_ONLY = -33021


class RpcError(Exception):
    """A refused call: a code, a message that says what was wrong and what would be right, and data for programs."""

    def __init__(self, code: Code, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_json(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": int(self.code), "message": self.message}
        data = {"name": self.code.name, **(self.data or {})}
        return {**error, "data": data}
