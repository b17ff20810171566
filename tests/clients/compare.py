"""Differences between two L1s' shapes, and the list of those that are explained: the tables in docs/localnet.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "localnet.md"
ABSENT = "(nothing)"

Shapes = dict[str, Any]  # by the step's name


@dataclass(frozen=True)
class Difference:
    client: str
    name: str
    path: str
    real: Any
    embedded: Any

    def __str__(self) -> str:
        return f"{self.client}  {self.name!r}  at {self.path}\n    real:     {self.real!r}\n    embedded: {self.embedded!r}"


@dataclass(frozen=True)
class Explained:
    """One row: patterns for a step's name and a path in its outcome, and why the two differ there."""

    name: str
    path: str
    why: str

    def covers(self, difference: Difference) -> bool:
        return fnmatchcase(difference.name, self.name) and fnmatchcase(difference.path, self.path)


def differences(client: str, real: Shapes, embedded: Shapes) -> list[Difference]:
    return [
        Difference(client, name, *found)
        for name in dict.fromkeys((*real, *embedded))
        for found in _between(real.get(name, ABSENT), embedded.get(name, ABSENT), "")
    ]


def _between(real: Any, embedded: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(real, dict) and isinstance(embedded, dict):
        for key in dict.fromkeys((*real, *embedded)):
            yield from _between(real.get(key, ABSENT), embedded.get(key, ABSENT), f"{path}.{key}")
    elif isinstance(real, list) and isinstance(embedded, list) and len(real) == len(embedded):
        for index, pair in enumerate(zip(real, embedded, strict=True)):
            yield from _between(*pair, f"{path}.{index}")
    elif real != embedded or type(real) is not type(embedded):
        yield path, real, embedded


def explained() -> list[Explained]:
    """The rows of docs/localnet.md whose first two cells are code: `name`, `path`."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    return [Explained(name, path, why) for name, path, why in rows]


def unexplained(found: Iterable[Difference], rows: Iterable[Explained]) -> list[Difference]:
    rows = list(rows)
    return [one for one in found if not any(row.covers(one) for row in rows)]


def needless(found: Iterable[Difference], rows: Iterable[Explained]) -> list[Explained]:
    found = list(found)
    return [row for row in rows if not any(row.covers(one) for one in found)]
