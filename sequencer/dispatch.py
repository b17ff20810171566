"""From a JSON-RPC body to its answer: the table of all methods, and what every call has in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import structlog
import trio

from sequencer import jsonrpc, methods_client, methods_validator, methods_watch, methods_worker, metrics, openrpc
from sequencer import params as p
from sequencer.errors import RpcError
from sequencer.methods import Method, decode
from sequencer.node import Node
from sequencer.store import StoreCorruption, StoreUnwritable
from settlement.rpc_codes import Code

log = structlog.get_logger(__name__)

METHODS: dict[str, Method] = {
    **methods_client.METHODS,
    **methods_worker.METHODS,
    **methods_validator.METHODS,
    **methods_watch.METHODS,
}


async def answer(node: Node, body: bytes, charge: Callable[[int], None]) -> bytes | None:
    """The answer to a body, None when nothing but notifications came.

    `charge` is told how many calls a batch makes beyond the first, and raises RATE_LIMITED when the caller may not make them. Between the
    calls of a batch others get their turn.
    """
    try:
        value = jsonrpc.parse(body)
        if not isinstance(value, list):
            made = _one(node, value)
            return None if made is None else msgspec.json.encode(made)
        limit = node.config.batch_limit_calls
        if not 1 <= len(value) <= limit:
            raise RpcError(Code.INVALID_REQUEST, f"a batch has 1 to {limit} calls, this one has {len(value)}")
        charge(len(value) - 1)
    except RpcError as error:
        return msgspec.json.encode(jsonrpc.failure(None, error))
    answers, size = [], 0
    for one in value:
        full = size > node.config.answer_limit_bytes
        if (made := _too_much(node, one) if full else _one(node, one)) is not None:
            answers.append(msgspec.Raw(msgspec.json.encode(made)))
            size += len(answers[-1])
        await trio.lowlevel.checkpoint()
    return msgspec.json.encode(answers) if answers else None


def _too_much(node: Node, value: Any) -> dict[str, Any] | None:
    """In place of a call that was not made because the answers before it fill the batch's answer."""
    if isinstance(value, dict) and "id" not in value:
        return None
    message = (
        f"not done: the answers so far have more than {node.config.answer_limit_bytes} bytes; send fewer calls at once"
    )
    return jsonrpc.failure(jsonrpc.identifier_of(value), RpcError(Code.INVALID_REQUEST, message))


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


@cache
def document() -> dict[str, Any]:
    """The OpenRPC document of these methods."""
    return openrpc.document(METHODS)


def call(node: Node, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """{"context", "value"} of one call, or an RpcError; whatever else goes wrong becomes INTERNAL_ERROR and is logged with its cause.

    rpc.discover alone answers without the envelope: its answer is OpenRPC's.
    """
    if name == openrpc.DISCOVER:
        decode(p.Nothing, params)
        metrics.RPC_CALLS.labels(name, "ok").inc()
        return document()
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
    except StoreCorruption as error:
        metrics.RPC_CALLS.labels(name, Code.INTERNAL_ERROR.name).inc()
        node.raise_alarm("store", str(error))
        log.error("the store is damaged", method=name, error=str(error))
        raise RpcError(Code.INTERNAL_ERROR, "the node's store is damaged; its log says where") from error
    except Exception as error:
        metrics.RPC_CALLS.labels(name, Code.INTERNAL_ERROR.name).inc()
        log.exception("call failed", method=name)
        raise RpcError(Code.INTERNAL_ERROR, "the node failed on this call; its log says why") from error
    metrics.RPC_CALLS.labels(name, "ok").inc()
    return {"context": {"slot": node.slot, "epoch": node.chain.open.epoch}, "value": value}
