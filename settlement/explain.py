"""What is wrong with decoded JSON that does not fit a msgspec type, in words for whoever wrote it: which key, what would be right, what was there.

msgspec finds the error and its path; the words come from the type itself, so that they cannot drift from what is checked. An Annotated type
with a description is described by that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import inspect

MAX_SHOWN = 48
_TOKEN = re.compile(r"\.(\w+)|\[(\d+)\]|\[\.\.\.\]")
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Flaw:
    """`path` of the key in question ("" for the whole), as in `optimizer.type` or `points[1].step`, and the problem with it."""

    path: str
    problem: str

    def under(self, root: str) -> str:
        """The sentence about it, with its path below `root`."""
        return f"{join(root, self.path)} {self.problem}"


def join(root: str, path: str) -> str:
    return f"{root}{'' if not path or path.startswith('[') else '.'}{path}"


def explain(error: msgspec.ValidationError, kind: Any, value: object) -> Flaw:
    """The flaw behind the error that msgspec.convert(value, kind) raised."""
    message, _, tail = str(error).rpartition(" - at `$")
    if not message:
        message, tail = str(error), ""
    path = tail.removesuffix("`").removeprefix(".")
    found, wanted = _walk(tail, inspect.type_info(kind), value)
    if match := _NAMED.match(message):
        key = match[2]
        known = {name: member.type for name, member in _members(wanted, found).items()}
        if match[1] == "missing required":
            right = describe(known.get(key) or _tags(wanted))
            return Flaw(join(path, key) if path else key, f"is missing; it must be {right}")
        close = get_close_matches(key, known, 1, 0.6)
        takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        hint = f"did you mean {close[0]}?" if close else takes
        return Flaw(path, f"has no key {show(key)}; {hint}")
    return Flaw(path, f"must be {describe(wanted)}, got {show(found)}")


def show(value: object) -> str:
    """A JSON value for a message: short ones as they are, long ones by their size."""
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        return f"{json.dumps(value[:MAX_SHOWN])}… ({len(value)} characters)"
    try:
        return json.dumps(value)[: 2 * MAX_SHOWN]
    except (TypeError, ValueError):
        return type(value).__name__


def describe(kind: inspect.Type) -> str:
    """What a value of this type is, to stand after "must be"."""
    if isinstance(kind, inspect.Metadata):
        given = (kind.extra_json_schema or {}).get("description")
        return str(given) if given else describe(kind.type)
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _number("an integer" if isinstance(kind, inspect.IntType) else "a number", kind)
    if isinstance(kind, inspect.LiteralType | inspect.UnionType):
        return _alternatives(_choices(kind))
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        most = f"at most {kind.max_length} items" if kind.max_length is not None else "any length"
        return f"a list of {most}, each {describe(kind.item_type)}"
    if isinstance(kind, inspect.TupleType):
        return f"the list [{', '.join(describe(item) for item in kind.item_types)}]"
    if isinstance(kind, inspect.StructType):
        keys = ([kind.tag_field] if kind.tag_field else []) + [member.encode_name for member in kind.fields]
        return f"an object with {', '.join(keys)}" if keys else "an empty object"
    return _PLAIN.get(type(kind), "something else")


_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.TupleType)
_PLAIN: dict[type, str] = {
    inspect.StrType: "a string",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.DictType: "an object",
    inspect.AnyType: "any value",
}


def _number(noun: str, kind: inspect.IntType | inspect.FloatType) -> str:
    low = f"at least {kind.ge}" if kind.ge is not None else f"above {kind.gt}" if kind.gt is not None else ""
    high = f"at most {kind.le}" if kind.le is not None else f"below {kind.lt}" if kind.lt is not None else ""
    if kind.ge is not None and kind.le is not None:
        return f"{noun} from {kind.ge} to {kind.le}"
    return " ".join(part for part in (noun, " and ".join(bound for bound in (low, high) if bound)) if part)


def _choices(kind: inspect.Type) -> list[str]:
    if isinstance(kind, inspect.LiteralType):
        return [json.dumps(value) for value in kind.values]
    if isinstance(kind, inspect.UnionType):
        return [choice for one in kind.types for choice in _choices(one)]
    return [describe(kind)]


def _alternatives(shown: Sequence[str]) -> str:
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _members(kind: inspect.Type, value: object) -> dict[str, inspect.Field]:
    """The fields of the struct that `value` was taken for, by their names in JSON; none when the type is no struct."""
    kind = kind.type if isinstance(kind, inspect.Metadata) else kind
    if isinstance(kind, inspect.UnionType):
        structs = [one for one in kind.types if isinstance(one, inspect.StructType)]
        tag = value.get(structs[0].tag_field or "") if structs and isinstance(value, dict) else None
        return next((_members(one, value) for one in structs if one.tag is None or one.tag == tag), {})
    return {member.encode_name: member for member in kind.fields} if isinstance(kind, inspect.StructType) else {}


def _walk(path: str, kind: inspect.Type, value: Any) -> tuple[object, inspect.Type]:
    """What stands at msgspec's path and of which type it should be; where the type does not say, the place is of any type."""
    for token in _TOKEN.finditer(path):
        name, index = token[1], token[2]
        kind = kind.type if isinstance(kind, inspect.Metadata) else kind
        if name is not None:
            tag = next((one for one in _structs(kind) if one.tag_field == name), None)
            member = _members(kind, value).get(name)
            kind = _tags(kind) if tag is not None else member.type if member else inspect.AnyType()
            value = value.get(name) if isinstance(value, dict) else None
            continue
        if isinstance(kind, inspect.UnionType):
            kind = next((one for one in kind.types if isinstance(one, _LISTS)), kind)
        if isinstance(kind, inspect.TupleType) and index:
            kind = kind.item_types[int(index)]
        elif isinstance(kind, inspect.ListType | inspect.VarTupleType):
            kind = kind.item_type
        else:
            kind = inspect.AnyType()
        inside = isinstance(value, list | tuple) and index is not None and int(index) < len(value)
        value = value[int(index)] if inside else None
    return value, kind.type if isinstance(kind, inspect.Metadata) and not kind.extra_json_schema else kind


def _structs(kind: inspect.Type) -> list[inspect.StructType]:
    return [
        one
        for one in (kind.types if isinstance(kind, inspect.UnionType) else (kind,))
        if isinstance(one, inspect.StructType)
    ]


def _tags(kind: inspect.Type) -> inspect.Type:
    """The type of the key that tells the structs of a union apart."""
    return inspect.LiteralType(tuple(one.tag for one in _structs(kind) if isinstance(one.tag, str)))
