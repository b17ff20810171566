"""Values of IDL types to bytes and back.

One wire format serves all of them: borsh (little-endian, no padding, u32 length prefixes, u8 enum tags). Accounts that the
program reads in place (`bytemuck`) have the same bytes, since Anchor refuses to compile a `repr(C)` account or event that has padding.

Python values: int, bool, str, `Pubkey` for pubkey, `bytes` for `bytes` and for arrays and vectors of u8, list for other ones,
None for an empty option, dict for a struct with named fields, tuple for one without, and for an enum the variant's name, or
`(name, fields)` when the variant has fields. Decoding is strict: a bool must be 0 or 1, and lengths must fit what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solders.pubkey import Pubkey

from settlement.errors import IdlError

INTEGER_BYTES = {f"{sign}{bits}": bits // 8 for sign in "ui" for bits in (8, 16, 32, 64, 128, 256)}

Json = Any  # an IDL type as it stands in the JSON: a string, or an object with one key
Types = Mapping[str, Json]  # the IDL's types by name


class Reader:
    """A cursor over bytes; reading past the end is an IdlError that names the field."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    @property
    def remaining(self) -> bytes:
        return self.data[self.position :]

    def take(self, count: int, path: str) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise IdlError(f"{path}: needs {count} bytes, {len(self.data) - self.position} are left")
        taken, self.position = self.data[self.position : end], end
        return taken


def encode(kind: Json, value: Any, types: Types, path: str) -> bytes:
    """Bytes of `value` as the IDL type `kind`; `path` names it in errors."""
    if isinstance(kind, str):
        return _encode_primitive(kind, value, path)
    (name, argument), *_ = kind.items()
    if name == "option":
        return b"\0" if value is None else b"\1" + encode(argument, value, types, path)
    if name in ("array", "vec"):
        inner, length = argument if name == "array" else (argument, None)
        return _encode_sequence(inner, length, value, types, path)
    if name == "defined":
        return _encode_defined(_definition(argument, types, path), value, types, path)
    raise IdlError(f"{path}: IDL type {kind!r} is not supported")


def decode(kind: Json, reader: Reader, types: Types, path: str) -> Any:
    """The value of IDL type `kind` at the reader's position."""
    if isinstance(kind, str):
        return _decode_primitive(kind, reader, path)
    (name, argument), *_ = kind.items()
    if name == "option":
        return decode(argument, reader, types, path) if _decode_primitive("bool", reader, path) else None
    if name in ("array", "vec"):
        inner, length = argument if name == "array" else (argument, None)
        count = _fixed_length(length, path) if length is not None else _decode_primitive("u32", reader, path)
        if inner == "u8":
            return reader.take(count, path)
        return [decode(inner, reader, types, f"{path}[{i}]") for i in range(count)]
    if name == "defined":
        return _decode_defined(_definition(argument, types, path), reader, types, path)
    raise IdlError(f"{path}: IDL type {kind!r} is not supported")


def fixed_size(kind: Json, types: Types) -> int:
    """Bytes of a type that has only one size; IdlError for one that has not."""
    if isinstance(kind, str) and (size := {**INTEGER_BYTES, "bool": 1, "pubkey": 32}.get(kind)):
        return size
    if isinstance(kind, dict) and "array" in kind:
        inner, length = kind["array"]
        return fixed_size(inner, types) * _fixed_length(length, str(kind))
    if isinstance(kind, dict) and "defined" in kind:
        definition = _definition(kind["defined"], types, str(kind))
        if definition["kind"] == "struct":
            fields = definition.get("fields") or []
            return sum(fixed_size(f["type"] if _named(fields) else f, types) for f in fields)
    raise IdlError(f"IDL type {kind!r} has no fixed size")


def _encode_primitive(kind: str, value: Any, path: str) -> bytes:
    if kind in INTEGER_BYTES:
        if isinstance(value, bool) or not isinstance(value, int):
            raise IdlError(f"{path}: expected {kind}, got {type(value).__name__}")
        try:
            return value.to_bytes(INTEGER_BYTES[kind], "little", signed=kind[0] == "i")
        except OverflowError:
            raise IdlError(f"{path}: {value} does not fit {kind}") from None
    if kind == "bool" and isinstance(value, bool):
        return bytes([value])
    if kind == "pubkey" and isinstance(value, Pubkey):
        return bytes(value)
    if kind == "string" and isinstance(value, str):
        text = value.encode()
        return len(text).to_bytes(4, "little") + text
    if kind == "bytes" and isinstance(value, bytes):
        return len(value).to_bytes(4, "little") + value
    raise IdlError(f"{path}: expected {kind}, got {type(value).__name__}")


def _decode_primitive(kind: str, reader: Reader, path: str) -> Any:
    if kind in INTEGER_BYTES:
        return int.from_bytes(reader.take(INTEGER_BYTES[kind], path), "little", signed=kind[0] == "i")
    if kind == "bool":
        flag = reader.take(1, path)[0]
        if flag > 1:
            raise IdlError(f"{path}: a bool is 0 or 1, got {flag}")
        return flag == 1
    if kind == "pubkey":
        return Pubkey(reader.take(32, path))
    if kind in ("string", "bytes"):
        raw = reader.take(int.from_bytes(reader.take(4, path), "little"), path)
        if kind == "bytes":
            return raw
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise IdlError(f"{path}: the string is not UTF-8") from None
    raise IdlError(f"{path}: IDL type {kind!r} is not supported")


def _fixed_length(length: Any, path: str) -> int:
    if not isinstance(length, int):
        raise IdlError(f"{path}: generic array lengths are not supported")
    return length


def _encode_sequence(inner: Json, length: Any, value: Any, types: Types, path: str) -> bytes:
    if inner == "u8" and not isinstance(value, bytes):
        raise IdlError(f"{path}: expected bytes, got {type(value).__name__}")
    if not isinstance(value, (bytes, list, tuple)):
        raise IdlError(f"{path}: expected a list, got {type(value).__name__}")
    if length is not None and len(value) != _fixed_length(length, path):
        raise IdlError(f"{path}: expected {length} items, got {len(value)}")
    prefix = b"" if length is not None else len(value).to_bytes(4, "little")
    if inner == "u8":
        return prefix + bytes(value)
    return prefix + b"".join(encode(inner, item, types, f"{path}[{i}]") for i, item in enumerate(value))


def _definition(reference: Json, types: Types, path: str) -> Json:
    if reference.get("generics"):
        raise IdlError(f"{path}: generic type {reference['name']} is not supported")
    if reference["name"] not in types:
        raise IdlError(f"{path}: the IDL does not define type {reference['name']}")
    return types[reference["name"]]["type"]


def _encode_defined(definition: Json, value: Any, types: Types, path: str) -> bytes:
    if definition["kind"] == "type":
        return encode(definition["alias"], value, types, path)
    if definition["kind"] == "struct":
        return encode_fields(definition.get("fields") or [], value, types, path)
    name, fields = value if isinstance(value, tuple) else (value, None)
    for tag, variant in enumerate(definition["variants"]):
        if variant["name"] == name:
            declared = variant.get("fields")
            return bytes([tag]) + (encode_fields(declared, fields, types, f"{path}.{name}") if declared else b"")
    raise IdlError(f"{path}: {name!r} is not one of {', '.join(v['name'] for v in definition['variants'])}")


def _decode_defined(definition: Json, reader: Reader, types: Types, path: str) -> Any:
    if definition["kind"] == "type":
        return decode(definition["alias"], reader, types, path)
    if definition["kind"] == "struct":
        return decode_fields(definition.get("fields") or [], reader, types, path)
    tag = reader.take(1, path)[0]
    if tag >= len(definition["variants"]):
        raise IdlError(f"{path}: enum tag {tag}, but there are {len(definition['variants'])} variants")
    variant = definition["variants"][tag]
    fields = variant.get("fields")
    if not fields:
        return variant["name"]
    return variant["name"], decode_fields(fields, reader, types, f"{path}.{variant['name']}")


def _named(fields: list[Json]) -> bool:
    return bool(fields) and isinstance(fields[0], dict) and "name" in fields[0] and "type" in fields[0]


def encode_fields(fields: list[Json], value: Any, types: Types, path: str) -> bytes:
    """Named fields take a mapping with exactly those names, unnamed ones a tuple."""
    if fields and not _named(fields):
        if not isinstance(value, (tuple, list)) or len(value) != len(fields):
            raise IdlError(f"{path}: expected {len(fields)} unnamed fields")
        return b"".join(encode(kind, value[i], types, f"{path}.{i}") for i, kind in enumerate(fields))
    if not isinstance(value, Mapping):
        raise IdlError(f"{path}: expected a mapping, got {type(value).__name__}")
    wanted, given = {field["name"] for field in fields}, set(value)
    if wanted != given:
        problems = [f"missing {name}" for name in sorted(wanted - given)] + [
            f"unknown {n}" for n in sorted(given - wanted)
        ]
        raise IdlError(f"{path}: {', '.join(problems)}")
    return b"".join(encode(field["type"], value[field["name"]], types, f"{path}.{field['name']}") for field in fields)


def decode_fields(fields: list[Json], reader: Reader, types: Types, path: str) -> Any:
    if fields and not _named(fields):
        return tuple(decode(kind, reader, types, f"{path}.{i}") for i, kind in enumerate(fields))
    return {field["name"]: decode(field["type"], reader, types, f"{path}.{field['name']}") for field in fields}
