"""Every error that a client can get, with agave's codes and words (solana-rpc-client-api `custom_error.rs`)."""

from __future__ import annotations

from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
BLOCK_CLEANED_UP = -32001
SEND_TRANSACTION_PREFLIGHT_FAILURE = -32002
BLOCK_NOT_AVAILABLE = -32004
NO_SNAPSHOT = -32008
UNSUPPORTED_TRANSACTION_VERSION = -32015
MIN_CONTEXT_SLOT_NOT_REACHED = -32016
FILTER_TRANSACTION_NOT_FOUND = -32020


class RpcError(Exception):
    """A JSON-RPC error object; `data` is left out of the answer when it is None."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


def parse_error() -> RpcError:
    return RpcError(PARSE_ERROR, "Parse error")


def invalid_request(message: str = "Invalid request") -> RpcError:
    return RpcError(INVALID_REQUEST, message)


def method_not_found() -> RpcError:
    return RpcError(METHOD_NOT_FOUND, "Method not found")


def invalid_params(message: str) -> RpcError:
    return RpcError(INVALID_PARAMS, message)


def internal_error() -> RpcError:
    return RpcError(INTERNAL_ERROR, "Internal error")


def block_cleaned_up(slot: int, first_available_block: int) -> RpcError:
    return RpcError(
        BLOCK_CLEANED_UP,
        f"Block {slot} cleaned up, does not exist on node. First available block: {first_available_block}",
    )


def block_not_available(slot: int) -> RpcError:
    return RpcError(BLOCK_NOT_AVAILABLE, f"Block not available for slot {slot}")


def no_snapshot() -> RpcError:
    return RpcError(NO_SNAPSHOT, "No snapshot")


def preflight_failure(reason: str, result: dict[str, Any]) -> RpcError:
    return RpcError(SEND_TRANSACTION_PREFLIGHT_FAILURE, f"Transaction simulation failed: {reason}", result)


def min_context_slot_not_reached(context_slot: int) -> RpcError:
    return RpcError(
        MIN_CONTEXT_SLOT_NOT_REACHED, "Minimum context slot has not been reached", {"contextSlot": context_slot}
    )


def unsupported_transaction_version(version: int) -> RpcError:
    return RpcError(
        UNSUPPORTED_TRANSACTION_VERSION,
        f"Transaction version ({version}) is not supported by the requesting client. Please try the request again with "
        f'the following configuration parameter: "maxSupportedTransactionVersion": {version}',
    )


def filter_transaction_not_found(signature: str) -> RpcError:
    return RpcError(FILTER_TRANSACTION_NOT_FOUND, f"Transaction {signature} not found")
