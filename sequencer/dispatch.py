"""From a JSON-RPC body to its answer: the table of all methods, and what every call has in common."""

from __future__ import annotations

from typing import Any

import structlog

from sequencer import jsonrpc, methods_client, methods_validator, methods_worker, metrics
from sequencer.errors import RpcError
from sequencer.methods import Method
from sequencer.node import Node
from sequencer.store import StoreUnwritable
from settlement.rpc_codes import Code

log = structlog.get_logger(__name__)

METHODS: dict[str, Method] = {**methods_client.METHODS, **methods_worker.METHODS, **methods_validator.METHODS}


def answer(node: Node, body: bytes) -> Any:
    """The answer to a body: an object, a list for a batch, None when nothing but notifications came."""
    try:
        value = jsonrpc.parse(body)
    except RpcError as error:
        return jsonrpc.failure(None, error)
    if not isinstance(value, list):
        return _one(node, value)
    limit = node.config.batch_limit_calls
    if not 1 <= len(value) <= limit:
        return jsonrpc.failure(
            None, RpcError(Code.INVALID_REQUEST, f"a batch has 1 to {limit} calls, this one has {len(value)}")
        )
    answers = [made for one in value if (made := _one(node, one)) is not None]
    return answers or None


def _one(node: Node, value: Any) -> dict[str, Any] | None:
    try:
        name, params, identifier, is_notification = jsonrpc.request_of(value)
    except RpcError as error:
        return jsonrpc.failure(jsonrpc.identifier_of(value), error)
    try:
        result = call(node, name, params)
    except RpcError as error:
        return None if is_notification else jsonrpc.failure(identifier, error)
    return None if is_notification else jsonrpc.success(identifier, result)


def call(node: Node, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """{"context", "value"} of one call, or an RpcError; whatever else goes wrong becomes INTERNAL_ERROR and is logged with its cause."""
    method = METHODS.get(name)
    if method is None:
        metrics.RPC_CALLS.labels("unknown", Code.METHOD_NOT_FOUND.name).inc()
        raise RpcError(Code.METHOD_NOT_FOUND, f"there is no method {name[:64]!r}")
    try:
        value = method.call(node, name, params)
    except RpcError as error:
        metrics.RPC_CALLS.labels(name, error.code.name).inc()
        raise
    except StoreUnwritable as error:
        metrics.RPC_CALLS.labels(name, Code.READ_ONLY.name).inc()
        log.error("write refused", method=name, error=str(error))
        raise RpcError(Code.READ_ONLY, "the node cannot write at present; nothing of this call was done") from error
    except Exception as error:
        metrics.RPC_CALLS.labels(name, Code.INTERNAL_ERROR.name).inc()
        log.exception("call failed", method=name)
        raise RpcError(Code.INTERNAL_ERROR, "the node failed on this call; its log says why") from error
    metrics.RPC_CALLS.labels(name, "ok").inc()
    return {"context": {"slot": node.slot, "epoch": node.chain.open.epoch}, "value": value}
