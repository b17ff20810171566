"""The OpenRPC 1.3 document of the node's JSON-RPC, made of what the node itself dispatches on and checks with: nothing in it is written twice.

Served by rpc.discover and at GET /openrpc.json. Schemas are JSON Schema draft 7, as OpenRPC wants them. Source: open-rpc/spec, version 1.3.2.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from sequencer import results as r
from sequencer.methods import Method, Read, Recorded, Signed
from settlement.rpc_codes import WHEN, Code
from settlement.spec import TaskSpec

OPENRPC_VERSION = "1.3.2"
DISCOVER = "rpc.discover"
META_SCHEMA = "https://raw.githubusercontent.com/open-rpc/meta-schema/master/schema.json"
_REFERENCE = "#/components/schemas/{name}"

EVERY_CALL = (
    Code.PARSE_ERROR,
    Code.INVALID_REQUEST,
    Code.METHOD_NOT_FOUND,
    Code.INVALID_PARAMS,
    Code.INTERNAL_ERROR,
    Code.RATE_LIMITED,
)
EVERY_SIGNED_CALL = (Code.NODE_UNHEALTHY, Code.BAD_SIGNATURE, Code.AUTH_EXPIRED, Code.NONCE_USED, Code.READ_ONLY)
EVERY_RECORD = (
    Code.NODE_UNHEALTHY,
    Code.BAD_SIGNATURE,
    Code.AUTH_EXPIRED,
    Code.WRONG_NONCE,
    Code.UNKNOWN_ACCOUNT,
    Code.INSUFFICIENT_BALANCE,
    Code.REJECTED_BY_LEDGER,
    Code.READ_ONLY,
)
_OF_KIND: dict[type, tuple[str, tuple[Code, ...]]] = {
    Read: ("read", ()),
    Signed: ("signed", EVERY_SIGNED_CALL),
    Recorded: ("record", EVERY_RECORD),
}


def refusals(method: Method) -> tuple[Code, ...]:
    """Every code that a call of this method can be refused with."""
    return tuple(dict.fromkeys((*EVERY_CALL, *_OF_KIND[type(method)][1], *method.refusals)))


def document(methods: Mapping[str, Method]) -> dict[str, Any]:
    """The whole document, as JSON."""
    types = [TaskSpec, r.Context, *(method.params for method in methods.values())]
    shapes = [method.result for method in methods.values()]
    schemas, components = msgspec.json.schema_components([*types, *shapes], ref_template=_REFERENCE)
    shown = dict(zip(methods, schemas[len(types) :], strict=True))
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": "pouw sequencer",
            "version": version("pouw"),
            "description": "JSON-RPC 2.0 by POST to /. How calls are signed, and what the limits are: docs/rpc.md.",
            "license": {"name": "Apache-2.0"},
        },
        "methods": [
            *(_method(name, method, _draft7(components), _draft7(shown[name])) for name, method in methods.items()),
            {
                "name": DISCOVER,
                "summary": "This document.",
                "paramStructure": "by-name",
                "params": [],
                "result": {"name": "document", "schema": {"$ref": META_SCHEMA}},
                "errors": [_reference(code) for code in EVERY_CALL],
            },
        ],
        "components": {
            "schemas": _draft7(components),
            "errors": {code.name: {"code": int(code), "message": WHEN[code]} for code in Code},
        },
    }


def _method(name: str, method: Method, components: dict[str, Any], value: Any) -> dict[str, Any]:
    of_params = components[method.params.__name__]
    required = of_params.get("required", [])
    described: dict[str, Any] = {
        "name": name,
        "paramStructure": "by-name",
        "params": [
            {"name": key, "required": key in required, "schema": schema}
            for key, schema in of_params["properties"].items()
        ],
        "result": {"name": "answer", "schema": _envelope(value)},
        "errors": [_reference(code) for code in refusals(method)],
        "x-kind": _OF_KIND[type(method)][0],
    }
    if text := inspect.getdoc(method.handler):
        described["description"] = text
    return described


def _envelope(value: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"context": {"$ref": _REFERENCE.format(name=r.Context.__name__)}, "value": value},
        "required": ["context", "value"],
        "additionalProperties": False,
    }


def _reference(code: Code) -> dict[str, str]:
    return {"$ref": f"#/components/errors/{code.name}"}


def _draft7(schema: Any) -> Any:
    """The same schema in draft 7 and with patterns of ECMA 262: msgspec writes draft 2020-12 and Python's \\Z, which is ECMA's $."""
    if isinstance(schema, list):
        return [_draft7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _draft7(value) for key, value in schema.items()}
    if "$ref" in made:
        return {"$ref": made["$ref"]}
    if "prefixItems" in made:
        made["additionalItems"] = made.pop("items", True)
        made["items"] = made.pop("prefixItems")
    if isinstance(pattern := made.get("pattern"), str):
        made["pattern"] = pattern.replace(r"\Z", "$")
    return made
