"""Holds requests and answers against the OpenRPC document that the node serves."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft7Validator

from settlement.rpc_codes import Code


class Contract:
    """An OpenRPC document as something to check against."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.methods: dict[str, dict[str, Any]] = {method["name"]: method for method in document["methods"]}
        self._answers = {
            name: self.validator(method["result"]["schema"])
            for name, method in self.methods.items()
            if name != "rpc.discover"
        }

    def validator(self, schema: Any) -> Draft7Validator:
        """Of a schema whose references point into the document."""
        return Draft7Validator({"allOf": [schema], "components": self.document["components"]})

    def codes(self, method: str) -> set[int]:
        """What a call of the method may be refused with."""
        errors = self.document["components"]["errors"]
        described = self.methods.get(method, self.methods["rpc.discover"])["errors"]
        return {errors[error["$ref"].rpartition("/")[2]]["code"] for error in described}

    def check(self, method: str | None, answer: dict[str, Any]) -> None:
        """`answer` is a JSON-RPC answer to a call of `method`: its result fits the schema, its error is one that is documented.

        None where it cannot be said which method it answers."""
        assert answer["jsonrpc"] == "2.0"
        if "error" in answer:
            assert answer.keys() == {"jsonrpc", "id", "error"}
            error = answer["error"]
            assert isinstance(error["message"], str) and error["message"]
            assert error["data"]["name"]
            known = {int(code) for code in Code} if method is None else self.codes(method)
            assert error["code"] in known, (method, error)
        else:
            assert answer.keys() == {"jsonrpc", "id", "result"}
            if method in self._answers:
                flaws = [
                    f"{flaw.json_path}: {flaw.message}" for flaw in self._answers[method].iter_errors(answer["result"])
                ]
                assert not flaws, (method, flaws, answer["result"])
