"""How the ledger's rejections read at the door: one table from its enum to the codes of docs/rpc.md."""

from __future__ import annotations

from typing import Any

from sequencer.errors import RpcError
from settlement.ledger import LedgerRejection, Rejection
from settlement.rpc_codes import Code

_CODES = {
    Rejection.UNKNOWN_ACCOUNT: Code.UNKNOWN_ACCOUNT,
    Rejection.WRONG_NONCE: Code.WRONG_NONCE,
    Rejection.INSUFFICIENT_BALANCE: Code.INSUFFICIENT_BALANCE,
    Rejection.UNSUPPORTED_KIND: Code.UNSUPPORTED_MODE,
    Rejection.UNSUPPORTED_MODE: Code.UNSUPPORTED_MODE,
    Rejection.UNKNOWN_TASK: Code.UNKNOWN_TASK,
    Rejection.DEADLINE_PASSED: Code.DEADLINE,
    Rejection.STAKE_TOO_LOW: Code.STAKE_TOO_LOW,
    Rejection.NOT_A_VALIDATOR: Code.NOT_A_VALIDATOR,
    Rejection.TOO_MANY_RECORDS: Code.RATE_LIMITED,
    Rejection.AUTHORISATION_EXPIRED: Code.AUTH_EXPIRED,
}


def to_rpc(rejection: LedgerRejection) -> RpcError:
    """The error object for a refused record: a code of its own where docs/rpc.md has one, REJECTED_BY_LEDGER otherwise."""
    data: dict[str, Any] = {_camel(key): value for key, value in rejection.data.items()}
    data["code"] = rejection.code.name
    return RpcError(_CODES.get(rejection.code, Code.REJECTED_BY_LEDGER), str(rejection), data)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
