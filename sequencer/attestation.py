"""From single attestations to a certificate. Pure; every signature that gets here was verified on its own before.

After the quorum is there the others get a short grace: whoever is in the bitmap is known to have been awake, and absent keys cost the
program compute units.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from settlement.validator_set import ValidatorSet


class Readiness(Enum):
    COLLECT = auto()
    WAIT_FOR_THE_REST = auto()
    READY = auto()


def bitmap_of(indices: Mapping[int, bytes]) -> int:
    """The bitmap of those who signed."""
    bitmap = 0
    for index in indices:
        bitmap |= 1 << index
    return bitmap


def readiness(
    signatures: Mapping[int, bytes], validator_set: ValidatorSet, *, seconds_since_quorum: float, grace_seconds: float
) -> Readiness:
    """Whether the certificate can be made: all have signed, or a quorum has and the grace is over."""
    if not validator_set.is_quorum(bitmap_of(signatures)):
        return Readiness.COLLECT
    if len(signatures) == len(validator_set) or seconds_since_quorum >= grace_seconds:
        return Readiness.READY
    return Readiness.WAIT_FOR_THE_REST
