"""Values of IDL types in one notation that every client can print: what the Python client reads, and examples of every type there is.

A struct is an object, an integer a decimal string, bytes and arrays of u8 hex, a public key base58, an empty option null, an enum its
variant's name, or an object with that name as its only key when the variant has fields.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from solders.pubkey import Pubkey

from settlement.accounts import OCCUPIED
from settlement.borsh import Reader, decode, encode, fixed_size
from settlement.idl import Idl

Plain = Any
BYTES = "bytes"
# What stands behind these accounts' fields, which an IDL cannot say (docs/settlement.md). `length` bytes behind a ProofBuffer.
TAILS = {"Registry": "ValidatorSlot", "ValidatorSet": "SetEntry", "ProofBuffer": BYTES}


def plain(value: Any) -> Plain:
    """A value of settlement.borsh in the notation above."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Pubkey):
        return str(value)
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return {value[0]: plain(value[1])}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} is no value of an IDL type")


def account(idl: Idl, data: bytes) -> tuple[str, Plain]:
    """Type and value of an account of the program; what stands behind its fields comes as `tail`."""
    (name,) = (name for name in idl.account_names if data.startswith(idl.account_discriminator(name)))
    values, tail = idl.decode_account(name, data)
    value = plain(values)
    if name in TAILS:
        value["tail"] = _tail(idl, TAILS[name], values, tail)
    elif tail:
        raise ValueError(f"{len(tail)} bytes stand behind a {name}, which TAILS does not know")
    return name, value


def _tail(idl: Idl, item: str, values: Mapping[str, Any], tail: bytes) -> Plain:
    if item == BYTES:
        return tail[: values["length"]].hex()
    kind = {"defined": {"name": item}}
    size = fixed_size(kind, idl.types)
    items = [
        decode(kind, Reader(tail[start : start + size]), idl.types, item)
        for start in range(0, len(tail) - size + 1, size)
    ]
    # A registry's slots are used in any order, a set's entries from the first on.
    used = items[: values["count"]] if item == "SetEntry" else [one for one in items if one["flags"] & OCCUPIED]
    return [plain(one) for one in used]


def examples(idl: Idl) -> Plain:
    """Every account, event and instruction of the IDL with made-up values and their bytes, the same on every call."""
    made = random.Random(0)

    def defined(name: str, discriminator: bytes) -> Plain:
        kind = {"defined": {"name": name}}
        value = example(kind, idl, made)
        return {"value": plain(value), "data": (discriminator + encode(kind, value, idl.types, name)).hex()}

    return {
        "accounts": {name: defined(name, idl.account_discriminator(name)) for name in idl.account_names},
        "events": {item["name"]: defined(item["name"], bytes(item["discriminator"])) for item in idl.raw["events"]},
        "instructions": {name: list(_instruction_examples(idl, name, made)) for name in idl.instruction_names},
    }


def answers(given: Plain) -> Plain:
    """What a client should work out of examples(): values of accounts and events, data and account flags of instructions."""
    return {
        "accounts": {name: one["value"] for name, one in given["accounts"].items()},
        "events": {name: one["value"] for name, one in given["events"].items()},
        "instructions": {
            name: [{"data": one["data"], "metas": one["metas"]} for one in some]
            for name, some in given["instructions"].items()
        },
    }


def example(kind: Any, idl: Idl, made: random.Random) -> Any:
    """A random value of an IDL type."""
    if isinstance(kind, str):
        if kind == "bool":
            return made.random() < 0.5
        if kind == "pubkey":
            return Pubkey(made.randbytes(32))
        if kind == "string":
            return "".join(made.choice("aβ 1") for _ in range(made.randrange(8)))
        if kind == "bytes":
            return made.randbytes(made.randrange(9))
        bits = int(kind[1:])
        return made.getrandbits(bits) - (1 << bits - 1 if kind[0] == "i" else 0)
    if "option" in kind:
        return example(kind["option"], idl, made) if made.random() < 0.5 else None
    if "defined" in kind:
        return _defined_example(idl.types[kind["defined"]["name"]]["type"], idl, made)
    inner, length = kind["array"] if "array" in kind else (kind["vec"], made.randrange(4))
    return made.randbytes(length) if inner == "u8" else [example(inner, idl, made) for _ in range(length)]


def _defined_example(definition: Any, idl: Idl, made: random.Random) -> Any:
    if definition["kind"] == "type":
        return example(definition["alias"], idl, made)
    if definition["kind"] == "struct":
        return {field["name"]: example(field["type"], idl, made) for field in definition.get("fields") or []}
    variant = made.choice(definition["variants"])
    if not variant.get("fields"):
        return variant["name"]
    return variant["name"], {field["name"]: example(field["type"], idl, made) for field in variant["fields"]}


def _instruction_examples(idl: Idl, name: str, made: random.Random) -> Iterable[Plain]:
    """With every optional account, then with none."""
    spec = idl.instruction(name)
    args = {arg["name"]: example(arg["type"], idl, made) for arg in spec.args}
    addresses = {account.name: Pubkey(made.randbytes(32)) for account in spec.accounts if account.address is None}
    without = {account.name: addresses[account.name] for account in spec.accounts
               if account.address is None and not account.optional}  # fmt: skip
    for given in [addresses] if without == addresses else [addresses, without]:
        built = idl.build(idl.address, name, args, given)
        fixed = {account.name: account.address for account in spec.accounts if account.address is not None}
        yield {
            "args": plain(args),
            "accounts": {account.name: plain({**given, **fixed}.get(account.name)) for account in spec.accounts},
            "data": bytes(built.data).hex(),
            "metas": [[str(meta.pubkey), meta.is_signer, meta.is_writable] for meta in built.accounts],
        }
