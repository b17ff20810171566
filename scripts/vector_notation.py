"""How tests/vectors/*.json write things: bytes are hex strings, 64-bit integers decimal strings (JSON numbers lose their low bits),
narrower ones numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from enum import IntEnum
from typing import Any

from settlement import records, validator_set
from settlement.records import Record
from tests.settlement import kit

NARROW = frozenset({"attempt", "kind", "mode", "op", "time", "set_index", "verdict", "reason", "replayed", "intervals"})
NARROW |= {"kind_mode", "accuracy_ppm", "validators", "workers", "active_tasks", "event", "status"}
DOMAIN = {"genesis": kit.DOMAIN.genesis.hex(), "program": kit.DOMAIN.program.hex()}


def plain(name: str, value: object) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if name.endswith("bitmap"):
        return validator_set.bitmap_to_bytes(value).hex()  # type: ignore[arg-type]
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and name not in NARROW:
        return str(value)
    return value


def members(item: Any) -> dict[str, Any]:
    """A dataclass's fields in this file's notation."""
    return {member.name: plain(member.name, getattr(item, member.name)) for member in fields(item)}


def record_vector(record: Record) -> dict[str, Any]:
    head = {name: plain(name, getattr(record, name)) for name in ("op", "time", "node", "task")}
    return {"name": record.op.name, **head, "payload": members(record.payload), "record": records.encode(record).hex()}


def one_set(validators: validator_set.ValidatorSet, bitmaps: Iterable[int]) -> dict[str, Any]:
    return {
        "version": str(validators.version),
        "entries": [{**members(entry), "encoded": entry.encode().hex()} for entry in validators.entries],
        "total_stake": str(validators.total_stake),
        "hash": validators.hash(kit.DOMAIN).hex(),
        "quorums": [
            {
                "bitmap": plain("bitmap", bitmap),
                "stake": str(validators.stake_of(bitmap)),
                "is_quorum": validators.is_quorum(bitmap),
            }
            for bitmap in bitmaps
        ],
    }
