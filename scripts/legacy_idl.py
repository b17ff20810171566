"""Writes the program's IDL in the format that Anchor used before 0.30, for clients that know no other, such as anchorpy 0.21.

    python3 scripts/legacy_idl.py [settlement/artifacts/settlement.json] [-o FILE]

Needs nothing but Python. In that format a client computes discriminators from names (sha256 of "global:name", "account:Name", "event:Name"),
so an IDL whose own discriminators are others is refused, and so is a name that does not survive camelCase and back. What it has no word for is
left out: fixed addresses and seeds of accounts, which the caller gives, and docs.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).resolve().parent.parent / "settlement" / "artifacts" / "settlement.json"
Json = Any


class LegacyIdlError(ValueError):
    """The IDL says something that the old format cannot."""


def convert(idl: Json) -> Json:
    """`idl`: Anchor's IDL specification 0.1.0. Raises LegacyIdlError."""
    definitions = {item["name"]: item["type"] for item in idl["types"]}
    accounts = [item["name"] for item in idl["accounts"]]
    events = [item["name"] for item in idl["events"]]
    for item in idl["instructions"]:
        _check_discriminator(item, "global")
    for item in idl["accounts"]:
        _check_discriminator(item, "account")
    for item in idl["events"]:
        _check_discriminator(item, "event")
    return {
        "version": idl["metadata"]["version"],
        "name": idl["metadata"]["name"],
        "instructions": [_instruction(item) for item in idl["instructions"]],
        "accounts": [{"name": name, "type": _definition(definitions[name], name)} for name in accounts],
        "types": [
            {"name": name, "type": _definition(definition, name)}
            for name, definition in definitions.items()
            if name not in accounts and name not in events
        ],
        "events": [{"name": name, "fields": _event_fields(definitions[name], name)} for name in events],
        "errors": [{"code": e["code"], "name": e["name"], "msg": e.get("msg") or e["name"]} for e in idl["errors"]],
        "metadata": {"address": idl["address"]},
    }


def camel_case(name: str) -> str:
    """`name`, which is snake_case. Raises LegacyIdlError when clients would make another name of it again."""
    first, *others = name.split("_")
    camel = first + "".join(word[:1].upper() + word[1:] for word in others)
    if re.sub(r"(?<!^)([A-Z])", r"_\1", camel).lower() != name:
        raise LegacyIdlError(f"{name} does not survive camelCase: it comes back from {camel} as another name")
    return camel


def _check_discriminator(item: Json, namespace: str) -> None:
    expected = hashlib.sha256(f"{namespace}:{item['name']}".encode()).digest()[:8]
    if bytes(item["discriminator"]) != expected:
        raise LegacyIdlError(
            f"{item['name']} has the discriminator {bytes(item['discriminator']).hex()}; "
            f"clients of the old format compute {expected.hex()} from {namespace}:{item['name']}"
        )


def _instruction(item: Json) -> Json:
    return {
        "name": camel_case(item["name"]),
        "accounts": [_account(account) for account in item["accounts"]],
        "args": [_field(arg, item["name"]) for arg in item["args"]],
    }


def _account(item: Json) -> Json:
    if "accounts" in item:
        return {"name": camel_case(item["name"]), "accounts": [_account(inner) for inner in item["accounts"]]}
    account = {
        "name": camel_case(item["name"]),
        "isMut": item.get("writable", False),
        "isSigner": item.get("signer", False),
    }
    return {**account, "isOptional": True} if item.get("optional") else account


def _field(item: Json, path: str) -> Json:
    return {"name": camel_case(item["name"]), "type": _type(item["type"], f"{path}.{item['name']}")}


def _definition(definition: Json, name: str) -> Json:
    kind = definition["kind"]
    if kind == "type":
        return {"kind": "alias", "value": _type(definition["alias"], name)}
    if kind == "enum":
        return {"kind": "enum", "variants": [_variant(variant, name) for variant in definition["variants"]]}
    return {"kind": "struct", "fields": _named_fields(definition, name)}


def _variant(variant: Json, name: str) -> Json:
    fields, path = variant.get("fields"), f"{name}.{variant['name']}"
    if not fields:
        return {"name": variant["name"]}
    named = isinstance(fields[0], dict) and "name" in fields[0]
    return {"name": variant["name"], "fields": [_field(f, path) if named else _type(f, path) for f in fields]}


def _named_fields(definition: Json, name: str) -> list[Json]:
    fields = definition.get("fields") or []
    if any(not isinstance(field, dict) or "name" not in field for field in fields):
        raise LegacyIdlError(f"{name} is a struct whose fields have no names, which the old format lacks")
    return [_field(field, name) for field in fields]


def _event_fields(definition: Json, name: str) -> list[Json]:
    return [{**field, "index": False} for field in _named_fields(definition, name)]


def _type(kind: Json, path: str) -> Json:
    if isinstance(kind, str):
        if kind in ("u256", "i256"):
            raise LegacyIdlError(f"{path} is {kind}, which the old format lacks")
        return "publicKey" if kind == "pubkey" else kind
    if "defined" in kind:
        if kind["defined"].get("generics"):
            raise LegacyIdlError(f"{path} is of a generic type, which the old format lacks")
        return {"defined": kind["defined"]["name"]}
    if "array" in kind:
        inner, length = kind["array"]
        return {"array": [_type(inner, path), length]}
    ((container, inner),) = kind.items()
    if container not in ("vec", "option"):
        raise LegacyIdlError(f"{path} is {container}, which the old format lacks")
    return {container: _type(inner, path)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the settlement program's IDL in Anchor's format before 0.30.")
    parser.add_argument("idl", type=Path, nargs="?", default=COMMITTED)
    parser.add_argument("-o", "--output", type=Path, help="standard output if left out")
    arguments = parser.parse_args()
    try:
        text = json.dumps(convert(json.loads(arguments.idl.read_text())), indent=2) + "\n"
    except LegacyIdlError as error:
        sys.exit(f"legacy_idl.py: {error}")
    except OSError as error:
        sys.exit(f"legacy_idl.py: cannot read {arguments.idl}: {error.strerror}")
    except KeyError as error:
        sys.exit(f"legacy_idl.py: {arguments.idl} is no IDL of Anchor's specification 0.1.0: it lacks {error}")
    except ValueError as error:
        sys.exit(f"legacy_idl.py: {arguments.idl} is no JSON: {error}")
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
