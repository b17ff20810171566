"""Accounts of the program for tests that look at some of their fields: the others are zero, so that a new field breaks nobody's test."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar, get_origin, get_type_hints

from solders.pubkey import Pubkey

T = TypeVar("T")
_ZEROS: dict[Any, Any] = {int: 0, bool: False, bytes: bytes(32), Pubkey: Pubkey.default()}


def blank(kind: type[T], /, **given: Any) -> T:
    """`kind` with these fields. ValueError for a field that must be given: there is no zero of its type."""
    types = get_type_hints(kind)
    values = dict(given)
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in values:
            wanted = types[field.name]
            if wanted not in _ZEROS and get_origin(wanted) is not tuple:
                raise ValueError(f"{kind.__name__}.{field.name} must be given")
            values[field.name] = _ZEROS.get(wanted, ())
    return kind(**values)
