"""The one exception that carries a code of docs/rpc.md to a caller.

Exception
├── RpcError          a call is refused; becomes a JSON-RPC error object
└── StoreError        (store.py) the disk failed; becomes READ_ONLY at the door
"""

from __future__ import annotations

from typing import Any

from settlement.rpc_codes import Code


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
