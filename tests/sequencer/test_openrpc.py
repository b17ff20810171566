"""The OpenRPC document is whole and of the form that OpenRPC 1.3 and JSON Schema draft 7 prescribe."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft7Validator

from sequencer import dispatch, openrpc
from sequencer.dispatch import METHODS
from settlement.rpc_codes import WHEN, Code
from tests.sequencer.contract import Contract
from tests.sequencer.kit import SPEC

DOCUMENT = json.loads(json.dumps(dispatch.document()))
CONTRACT = Contract(DOCUMENT)

# The objects of OpenRPC 1.3 that the document has, each with its needed and its allowed keys.
OBJECTS = {
    "document": ({"openrpc", "info", "methods"}, {"servers", "components", "externalDocs"}),
    "info": ({"title", "version"}, {"description", "termsOfService", "contact", "license"}),
    "method": (
        {"name", "params", "result"},
        {"description", "summary", "tags", "paramStructure", "errors", "links", "examples", "deprecated", "servers"},
    ),
    "descriptor": ({"name", "schema"}, {"description", "summary", "required", "deprecated"}),
    "error": ({"code", "message"}, {"data"}),
}


def check(kind: str, given: dict[str, Any]) -> None:
    needed, allowed = OBJECTS[kind]
    assert needed <= given.keys(), (kind, given)
    assert {key for key in given if not key.startswith("x-")} <= needed | allowed, (kind, given)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in references(inner)]
    return [found for inner in value for found in references(inner)] if isinstance(value, list) else []


def test_its_objects_are_those_of_openrpc() -> None:
    check("document", DOCUMENT)
    check("info", DOCUMENT["info"])
    assert re.fullmatch(r"1\.3\.\d+", DOCUMENT["openrpc"])
    names = [method["name"] for method in DOCUMENT["methods"]]
    assert len(set(names)) == len(names)
    assert set(names) == {*METHODS, openrpc.DISCOVER}
    for method in DOCUMENT["methods"]:
        check("method", method)
        assert method["paramStructure"] == "by-name"
        for descriptor in (*method["params"], method["result"]):
            check("descriptor", descriptor)
    for error in DOCUMENT["components"]["errors"].values():
        check("error", error)


def test_every_reference_leads_somewhere_and_every_schema_is_one_of_draft_7() -> None:
    for reference in references(DOCUMENT):
        if reference != openrpc.META_SCHEMA:
            place: Any = DOCUMENT
            for part in reference.removeprefix("#/").split("/"):
                place = place[part]
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)
    assert r"\\Z" not in json.dumps(DOCUMENT)
    assert "prefixItems" not in json.dumps(DOCUMENT)


def test_every_code_has_its_occasion_and_is_given_by_some_method() -> None:
    assert WHEN.keys() == set(Code)
    assert set().union(*(CONTRACT.codes(name) for name in METHODS)) == {int(code) for code in Code}


def test_a_params_schema_takes_what_the_node_takes_and_refuses_what_it_refuses() -> None:
    validator = CONTRACT.validator({"$ref": "#/components/schemas/TaskSpec"})
    assert validator.is_valid(SPEC)
    for wrong in ({**SPEC, "metrics": ["accuracy"]}, {**SPEC, "seed": -1}, {**SPEC, "extra": 1}, {**SPEC, "kind": "x"}):
        assert not validator.is_valid(wrong)
    hexes = CONTRACT.validator({"$ref": "#/components/schemas/OfTask"})
    assert hexes.is_valid({"taskId": "ab" * 32})
    assert not hexes.is_valid({"taskId": "AB" * 32})


@pytest.mark.parametrize(
    "answer",
    [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "result": {"context": {"slot": 1, "epoch": 1}, "value": {"taskId": "x", "status": "pending"}},
        },
        {"jsonrpc": "2.0", "id": 1, "result": {"value": {"taskId": "ab" * 32, "status": "pending"}}},
        {
            "jsonrpc": "2.0",
            "id": 1,
            "error": {"code": -33012, "message": "m", "data": {"name": "LEASE_LOST"}},
            "result": 1,
        },
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -33010, "message": "m", "data": {"name": "LEASE_LOST"}}},
    ],
)
def test_an_answer_that_breaks_the_contract_is_noticed(answer: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        CONTRACT.check("submitTask", answer)
