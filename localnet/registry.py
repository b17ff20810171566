"""JSON-RPC 2.0 over a table of methods whose Python signatures say what their parameters are. No I/O.

A method is a plain function of the node and its parameters; it does not await, so nothing runs between its reads.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import msgspec

from localnet.errors import (
    INVALID_PARAMS,
    RpcError,
    internal_error,
    invalid_params,
    invalid_request,
    method_not_found,
    parse_error,
)
from localnet.params import MAX_U64, convert

MAX_BATCH = 100
_MEMBERS = frozenset(("jsonrpc", "id", "method", "params"))
_log = logging.getLogger("localnet.rpc")

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class _Method:
    call: Callable[..., Any]
    types: tuple[Any, ...]
    required: int


class Methods:
    """Methods by name; each takes the context that `call` is given and then its parameters by position."""

    def __init__(self, *tables: Methods) -> None:
        self._methods: dict[str, _Method] = {}
        for table in tables:
            self._methods.update(table._methods)

    def __contains__(self, name: str) -> bool:
        return name in self._methods

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def method(self, name: str) -> Callable[[F], F]:
        """Registers a function under its JSON-RPC name."""

        def register(function: F) -> F:
            hints = get_type_hints(function, include_extras=True)
            parameters = list(inspect.signature(function).parameters.values())[1:]
            required = sum(p.default is inspect.Parameter.empty for p in parameters)
            self._methods[name] = _Method(function, tuple(hints[p.name] for p in parameters), required)
            return function

        return register

    def call(self, context: Any, name: str, params: Any) -> Any:
        """Raises RpcError for an unknown method, for parameters that do not fit and for what the method refuses."""
        found = self._methods.get(name)
        if found is None:
            raise method_not_found()
        if params is None:
            params = []
        if not isinstance(params, list):
            raise invalid_params("`params` should be an array")
        if len(params) < found.required:
            raise invalid_params(f"`params` should have at least {found.required} argument(s)")
        if len(params) > len(found.types):
            raise _too_many(found, len(params))
        arguments = [
            convert(raw, wanted) if raw is not None or index < found.required else None
            for index, (raw, wanted) in enumerate(zip(params, found.types, strict=False))
        ]
        return found.call(context, *arguments)


def _too_many(found: _Method, got: int) -> RpcError:
    expected = f"Expected from {found.required} to {len(found.types)} parameters."
    if not found.types:
        expected = "No parameters were expected"
    return RpcError(INVALID_PARAMS, f"Invalid parameters: {expected}", f'"Got: {got}"')


def answer(methods: Methods, context: Any, body: bytes) -> bytes | None:
    """One request or a batch, as bytes; None when there is nothing to answer (notifications only)."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode(_failure(parse_error(), None))
    if not all(map(_may_be_a_call, request if isinstance(request, list) else [request])):
        return msgspec.json.encode(_failure(parse_error(), None))
    if not isinstance(request, list):
        reply = _answer_one(methods, context, request)
        return None if reply is None else msgspec.json.encode(reply)
    if len(request) > MAX_BATCH:
        return msgspec.json.encode(_failure(invalid_request(f"Too many requests in the batch; max {MAX_BATCH}"), None))
    replies = [reply for one in request if (reply := _answer_one(methods, context, one)) is not None]
    return msgspec.json.encode(replies) if replies else None


def _answer_one(methods: Methods, context: Any, request: dict[str, Any]) -> dict[str, Any] | None:
    if not _is_call(request):
        return _failure(invalid_request(), request.get("id"))
    if request.get("jsonrpc") is None:
        unversioned = _failure(invalid_request("Unsupported JSON-RPC protocol version"), request.get("id"))
        del unversioned["jsonrpc"]  # answered in the version that was asked in, which is none
        return unversioned if "id" in request else None
    try:
        result = methods.call(context, request["method"], request.get("params"))
    except RpcError as error:
        return _failure(error, request.get("id")) if "id" in request else None
    except Exception:  # noqa: BLE001 - one call's bug must not end the node
        # The client gets no internals; whoever runs the node finds them in its log.
        _log.exception("%s failed", request["method"])
        return _failure(internal_error(), request.get("id")) if "id" in request else None
    return {"jsonrpc": "2.0", "result": result, "id": request.get("id")} if "id" in request else None


def _may_be_a_call(request: Any) -> bool:
    """An object whose id, if it has one, can be repeated in an answer; agave takes anything else for no JSON-RPC."""
    return isinstance(request, dict) and _is_id(request.get("id"))


def _is_id(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return 0 <= value <= MAX_U64
    return value is None or isinstance(value, str)


def _is_call(request: dict[str, Any]) -> bool:
    """Whether it has the members of a call, of their types, and no others."""
    return (
        request.keys() <= _MEMBERS
        and isinstance(request.get("method"), str)
        and request.get("jsonrpc") in (None, "2.0")
        and isinstance(request.get("params"), list | dict | None)
    )


def _failure(error: RpcError, request_id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": error.to_json(), "id": request_id}
