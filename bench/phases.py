"""Where a post's compute units go, read from the log of a program built with the feature cu-log.

Such a program writes, where a phase begins, the phase's name and what remains of the transaction's compute units (`mark` in
programs/settlement/src/bls/syscall.rs). A phase costs the difference less the marks themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# Two syscalls of 100 units each, two registers loaded and two calls.
MARK_CU = 204

_NAME = re.compile(r"^Program log: (.+)$")
_REMAINING = re.compile(r"^Program consumption: (\d+) units remaining$")


class PhasesMissing(ValueError):
    """The log has not the marks that a certificate's verification writes; the message names the first that lacks."""


@dataclass(frozen=True)
class Mark:
    name: str
    remaining_cu: int


@dataclass(frozen=True)
class Split:
    """Compute units of the three large phases. What they leave of the total: the message, the accounts, decompressing the signature."""

    hash_to_g2_cu: int
    keys_cu: int
    pairing_cu: int


def marks(logs: Sequence[str]) -> list[Mark]:
    """All marks, in order."""
    found = []
    for line, following in pairwise(logs):
        name, remaining = _NAME.match(line), _REMAINING.match(following)
        if name and remaining:
            found.append(Mark(name[1], int(remaining[1])))
    return found


def split(logs: Sequence[str]) -> Split:
    """The split of one transaction that verified one certificate; PhasesMissing otherwise."""
    found = marks(logs)
    return Split(
        hash_to_g2_cu=_between(found, "hash_to_g2: ", "verify: pairing"),
        keys_cu=_between(found, "certificate: keys", "certificate: keys done"),
        pairing_cu=_between(found, "verify: pairing", "verify: done"),
    )


def _between(found: Sequence[Mark], start: str, end: str) -> int:
    """From the first mark whose name begins with `start` to the one named `end`."""
    first = next((index for index, mark in enumerate(found) if mark.name.startswith(start)), None)
    last = next((index for index, mark in enumerate(found) if mark.name == end), None)
    for name, index in ((start, first), (end, last)):
        if index is None:
            raise PhasesMissing(f"the log has no mark {name!r}; it has {[mark.name for mark in found]}")
    assert first is not None and last is not None
    return found[first].remaining_cu - found[last].remaining_cu - (last - first) * MARK_CU
