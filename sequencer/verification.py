"""When a result is decided. Pure: verdicts, stakes and slots in, a decision out.

A result is accepted when validators with a quorum of the pinned stake accept it, each having replayed every interval that a rejecting
verdict disputes, and rejected when a quorum rejects it. Abstentions count in the denominator only. Until everyone has spoken an
acceptance waits for a short grace, so that a validator whose sample caught a lie is heard before the money is promised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from sequencer.rows import VerdictRow
from settlement.records import Verdict
from settlement.validator_set import ValidatorSet


class Decision(Enum):
    WAIT = auto()
    ACCEPT = auto()
    REJECT = auto()


@dataclass(frozen=True)
class Tally:
    """The verdicts that count now, as bitmaps over the set, and the intervals in dispute."""

    accept: int
    reject: int
    given: int
    disputed: frozenset[int]


def valid(verdicts: Iterable[VerdictRow], validator_set: ValidatorSet, base_slot: int) -> list[VerdictRow]:
    """The verdicts that could stand in a batch of this set and base slot, in the order of their indices."""
    usable = [
        verdict
        for verdict in verdicts
        if validator_set.index_of(verdict.authority) == verdict.set_index and verdict.expiry_slot >= base_slot
    ]
    return sorted(usable, key=lambda verdict: verdict.set_index)


def disputed_intervals(verdicts: Iterable[VerdictRow]) -> frozenset[int]:
    return frozenset(v.disputed for v in verdicts if v.verdict == Verdict.REJECT and v.disputed is not None)


def covers(verdict: VerdictRow, disputed: frozenset[int]) -> bool:
    """Whether an accepting verdict has replayed all that is in dispute; any other verdict need not."""
    return verdict.verdict != Verdict.ACCEPT or disputed <= frozenset(verdict.checked)


def tally(verdicts: Iterable[VerdictRow]) -> Tally:
    """Counts valid verdicts. An acceptance that has not replayed a disputed interval is not yet given."""
    given_verdicts = list(verdicts)
    disputed = disputed_intervals(given_verdicts)
    accept = reject = given = 0
    for verdict in given_verdicts:
        if not covers(verdict, disputed):
            continue
        bit = 1 << verdict.set_index
        given |= bit
        if verdict.verdict == Verdict.ACCEPT:
            accept |= bit
        elif verdict.verdict == Verdict.REJECT:
            reject |= bit
    return Tally(accept, reject, given, disputed)


def decide(tally: Tally, validator_set: ValidatorSet, *, slots_since_acceptance: int, grace_slots: int) -> Decision:
    """The decision on a result; both quorums at once are impossible, since each needs two thirds of the stake."""
    if validator_set.is_quorum(tally.reject):
        return Decision.REJECT
    if not validator_set.is_quorum(tally.accept):
        return Decision.WAIT
    everyone = tally.given == (1 << len(validator_set)) - 1
    return Decision.ACCEPT if everyone or slots_since_acceptance >= grace_slots else Decision.WAIT
