"""What a BLS key has attested, and what it therefore may attest. Pure; the file that holds it is slashing_protection.py's.

Within an epoch a key only moves forward, attempt by attempt. Epochs that are not final on L1 stay open, since a fork of L1 may take one back
after its successor was attested, and it then needs its next attempt (docs/decisions.md). Up to the floor, the last epoch known to be final,
everything is refused and nothing is kept.

    ProtectionError
    ├── SlashableAttestation   signing would contradict what was signed, or might
    ├── OtherIdentity          the votes are of another chain or key
    ├── BadInterchange         an interchange object is malformed
    └── of the file, in slashing_protection.py: ProtectionLocked, ProtectionUnwritable, ProtectionDamaged
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from settlement.signing import Domain
from settlement.tags import fixed

INTERCHANGE_VERSION = 2


class ProtectionError(Exception):
    """Root of what a slashing protection refuses."""


class SlashableAttestation(ProtectionError):
    """Signing this would contradict, or might contradict, what was signed before."""


class OtherIdentity(ProtectionError):
    """The votes belong to another chain or key."""


class BadInterchange(ProtectionError):
    """An interchange object is not what its version says."""


@dataclass(frozen=True)
class Attested:
    """One vote. `digest` is None where an import knew only that there was one."""

    epoch: int
    attempt: int
    digest: bytes | None
    expiry_slot: int


@dataclass(frozen=True)
class Identity:
    """Whose votes these are: one key on one chain."""

    genesis: bytes
    program: bytes
    public_key: bytes

    @classmethod
    def of(cls, domain: Domain, public_key: bytes) -> Identity:
        return cls(domain.genesis, domain.program, fixed("BLS public key", bytes(public_key), 48))

    def must_be(self, ours: Identity, where: object) -> None:
        """OtherIdentity, naming what differs."""
        for name in ("genesis", "program", "public_key"):
            theirs, own = getattr(self, name), getattr(ours, name)
            if theirs != own:
                raise OtherIdentity(f"{where}: {name} is {theirs.hex()}, this validator's is {own.hex()}")


@dataclass(frozen=True)
class Votes:
    """All votes above the floor, by (epoch, attempt) in that order, and the floor: the epoch up to which nothing is signed any more."""

    floor: int = 0
    given: tuple[Attested, ...] = ()

    def last(self) -> Attested | None:
        """The newest vote."""
        return self.given[-1] if self.given else None

    def last_of(self, epoch: int) -> Attested | None:
        """The vote for the highest attempt of an epoch; None when there is none, or the epoch is not above the floor."""
        return next((vote for vote in reversed(self.given) if vote.epoch == epoch), None)

    def with_vote(self, vote: Attested, final_epoch: int) -> Votes:
        """These and this one, and the floor risen to the last epoch that is final on L1. SlashableAttestation when the epoch is not above it,
        a higher attempt of it was attested, or this one with another digest."""
        floor = max(self.floor, final_epoch)
        if vote.epoch <= floor:
            raise SlashableAttestation(
                f"epoch {vote.epoch} is not above epoch {floor}, up to which nothing is signed any more"
            )
        name = f"epoch {vote.epoch} attempt {vote.attempt}"
        last = self.last_of(vote.epoch)
        if last is not None and vote.attempt < last.attempt:
            raise SlashableAttestation(f"{name} is older than attempt {last.attempt}, already attested")
        if last is not None and vote.attempt == last.attempt:
            if vote.digest is None or vote.digest != last.digest:
                known = "something unknown" if last.digest is None else last.digest.hex()
                asked = "something unknown" if vote.digest is None else vote.digest.hex()
                raise SlashableAttestation(f"{name}: attested {known}, asked to attest {asked}")
            return self
        return Votes(self.floor, tuple(sorted((*self.given, vote), key=_place))).above(floor)

    def above(self, floor: int) -> Votes:
        """With the floor at least there; what was kept of epochs up to it is forgotten."""
        floor = max(self.floor, floor)
        return Votes(floor, tuple(vote for vote in self.given if vote.epoch > floor))

    def merged(self, other: Votes) -> Votes:
        """What both say. Of two digests for one (epoch, attempt) neither can be signed again."""
        found = {_place(vote): vote for vote in self.given}
        for vote in other.given:
            before = found.get(_place(vote), vote)
            digest = vote.digest if vote.digest == before.digest else None
            found[_place(vote)] = Attested(vote.epoch, vote.attempt, digest, max(vote.expiry_slot, before.expiry_slot))
        return Votes(self.floor, tuple(found[place] for place in sorted(found))).above(other.floor)

    def seal(self, identity: Identity) -> bytes:
        """Binds all of it: 32 bytes."""
        votes = [(vote.epoch, vote.attempt, vote.digest, vote.expiry_slot) for vote in self.given]
        return sha256(
            repr((identity.genesis, identity.program, identity.public_key, self.floor, votes)).encode()
        ).digest()


def _place(vote: Attested) -> tuple[int, int]:
    return vote.epoch, vote.attempt


# -- the interchange object, after EIP-3076 --------------------------------------------------------------------------


def to_interchange(identity: Identity, votes: Votes) -> dict[str, Any]:
    """For another machine: complete in the sense of EIP-3076."""
    return {
        "metadata": {
            "interchange_format_version": INTERCHANGE_VERSION,
            "genesis": identity.genesis.hex(),
            "program": identity.program.hex(),
        },
        "data": [
            {
                "public_key": identity.public_key.hex(),
                "floor_epoch": votes.floor,
                "signed_attestations": [
                    {
                        "epoch": vote.epoch,
                        "attempt": vote.attempt,
                        "digest": vote.digest and vote.digest.hex(),
                        "expiry_slot": vote.expiry_slot,
                    }
                    for vote in votes.given
                ],
            }
        ],
    }


def from_interchange(interchange: Mapping[str, Any], identity: Identity) -> Votes:
    """This key's votes and floor in an interchange object.

    Version 1 names no floor and may hold the newest vote alone, so the epochs before that vote are closed with it. OtherIdentity when it is
    of another chain or holds nothing of this key, BadInterchange when it is malformed.
    """
    try:
        metadata = interchange["metadata"]
        version = metadata["interchange_format_version"]
        if version not in (1, INTERCHANGE_VERSION):
            raise BadInterchange(f"interchange version {version}, must be 1 or {INTERCHANGE_VERSION}")
        ours = [part for part in interchange["data"] if part["public_key"] == identity.public_key.hex()]
        genesis, program = bytes.fromhex(metadata["genesis"]), bytes.fromhex(metadata["program"])
        Identity(genesis, program, identity.public_key).must_be(identity, "the interchange")
        if not ours:
            raise OtherIdentity(f"the interchange holds nothing of key {identity.public_key.hex()}")
        given = [_vote(raw) for part in ours for raw in part["signed_attestations"]]
        newest = max((vote.epoch for vote in given), default=1)
        floor = newest - 1 if version == 1 else max(_natural(part, "floor_epoch") for part in ours)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInterchange(f"the interchange is malformed: {error!r}") from error
    votes = Votes(floor)
    for vote in given:
        votes = votes.merged(Votes(0, (vote,)))
    return votes


def _vote(raw: Mapping[str, Any]) -> Attested:
    epoch, attempt, expiry_slot = (_natural(raw, name) for name in ("epoch", "attempt", "expiry_slot"))
    digest = None if raw["digest"] is None else fixed("digest", bytes.fromhex(raw["digest"]), 32)
    return Attested(epoch, attempt, digest, expiry_slot)


def _natural(raw: Mapping[str, Any], name: str) -> int:
    value = raw[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} must be an integer from 0 to 2^63 - 1, got {str(value)[:24]}")
    return value
