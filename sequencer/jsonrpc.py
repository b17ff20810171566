"""JSON-RPC 2.0 over bytes: strict parsing, batches, error objects. Knows no method.

Refused as parse errors: duplicate keys, NaN and infinities, integers beyond 64 bits, lone surrogates, and nesting deeper than anything
that docs/rpc.md uses, found by a scan before the parser runs, so that no input can exhaust its stack.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from sequencer.errors import RpcError
from settlement.rpc_codes import Code

MAX_DEPTH = 32
MAX_KEY_COUNT = 256
# Every quote is matched with what follows it, closed or not, and nothing is tried twice: the scan is linear in what strangers send.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


class _Refused(ValueError):
    pass


def parse(body: bytes) -> Any:
    """The JSON in `body`. PARSE_ERROR says what is wrong with it."""
    _check_depth(body)
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_integer,
        )
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on lone surrogates, which have no UTF-8
    except (ValueError, RecursionError) as error:
        raise RpcError(Code.PARSE_ERROR, f"the body is no acceptable JSON: {error}") from None
    return value


def _check_depth(body: bytes) -> None:
    depth = 0
    for match in _STRUCTURE.finditer(body):
        mark = match.group()
        if mark in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise RpcError(Code.PARSE_ERROR, f"the JSON is nested deeper than {MAX_DEPTH} levels")
        elif mark in b"]}":
            depth -= 1
            if depth <= 0:
                return  # whatever follows the outermost value, the parser refuses it unread


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEY_COUNT:
        raise _Refused(f"an object has more than {MAX_KEY_COUNT} keys")
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"the key {_short(twice)} stands twice in one object")
    return made


def _constant(text: str) -> Any:
    raise _Refused(f"{text} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"{text[:24]} is beyond a double")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**64:
        raise _Refused(f"{text[:24]} is beyond 64 bits")
    return value


def _short(text: str) -> str:
    """At most 64 characters of it, as they would stand in a Python source: an answer must not be as long as what provoked it."""
    return repr(text[:64]) + ("…" if len(text) > 64 else "")


def request_of(value: Any) -> tuple[str, dict[str, Any], Any, bool]:
    """(method, params, id, is a notification) of one request object. INVALID_REQUEST or INVALID_PARAMS say what is wrong."""
    if not isinstance(value, dict):
        raise RpcError(Code.INVALID_REQUEST, f"a request is an object, got {type(value).__name__}")
    unknown = value.keys() - {"jsonrpc", "id", "method", "params"}
    if unknown:
        raise RpcError(Code.INVALID_REQUEST, f"a request has no key {_short(sorted(unknown)[0])}")
    if value.get("jsonrpc") != "2.0":
        raise RpcError(Code.INVALID_REQUEST, 'jsonrpc must be "2.0"')
    if not isinstance(value.get("method"), str):
        raise RpcError(Code.INVALID_REQUEST, "method must be a string")
    identifier = value.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, str | int | float | None):
        raise RpcError(Code.INVALID_REQUEST, "id must be a string, a number or null")
    params = value.get("params", {})
    if params == []:
        params = {}
    if not isinstance(params, dict):
        raise RpcError(Code.INVALID_PARAMS, "params must be one object: they go by name")
    return value["method"], params, identifier, "id" not in value


def identifier_of(value: Any) -> Any:
    """The id to answer a request with that may not even be one."""
    identifier = value.get("id") if isinstance(value, dict) else None
    return identifier if isinstance(identifier, str | int | float) and not isinstance(identifier, bool) else None


def success(identifier: Any, result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "result": result}


def failure(identifier: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "error": error.to_json()}
