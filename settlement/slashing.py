"""Reporting on L1: two messages of one attempt, the signers of a rejected checkpoint; and paying an epoch's rewards.

Every function looks at L1 first and does what is missing, so that each can be run again after a crash at any point; a refusal that means
"somebody was faster" is answered by looking again. Anybody may do all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import bls, pda, slash_accounts, slash_instructions
from settlement.accounts import Checkpoint, CheckpointStatus, SetAccount
from settlement.client import L1Client
from settlement.errors import AccountMissing, ProgramError
from settlement.messages import CheckpointMessage
from settlement.signing import Domain
from settlement.slash_accounts import Offence
from settlement.tags import from_hex

# Hash to G2, decompression, one sum of keys and two pairings; a reward of 256 members writes each of their slots.
VERIFY_COMPUTE_UNITS = 400_000
REWARD_COMPUTE_UNITS = 600_000


class EvidenceError(ValueError):
    """What was given shows no offence; the message says why."""


@dataclass(frozen=True)
class Evidence:
    """A signed checkpoint message: `bitmap` of the members of set `set_version`, and the sum of their signatures (96 bytes). With one bit
    it is a vote."""

    message: CheckpointMessage
    set_version: int
    bitmap: int
    signature: bytes

    def to_json(self) -> dict[str, Any]:
        signers = [index for index in range(256) if self.bitmap >> index & 1]
        return {
            "setVersion": self.set_version,
            "message": self.message.to_json(),
            "signers": signers,
            "signature": self.signature.hex(),
        }

    @classmethod
    def from_json(cls, given: Any) -> Evidence:
        """EvidenceError names a missing or malformed key."""
        if not isinstance(given, Mapping):
            raise EvidenceError("expected an object with setVersion, message, signers and signature")
        missing = [key for key in ("setVersion", "message", "signers", "signature") if key not in given]
        if missing:
            raise EvidenceError(f"the evidence has no {', '.join(missing)}")
        signers, version = given["signers"], given["setVersion"]
        if not isinstance(given["message"], Mapping):
            raise EvidenceError("message must be an object")
        if not isinstance(version, int) or isinstance(version, bool) or not 0 < version < 1 << 64:
            raise EvidenceError(f"setVersion must be the number of a validator set, got {version!r}")
        if not isinstance(signers, list) or not signers or any(type(one) is not int for one in signers):
            raise EvidenceError("signers must be a list of at least one index in the validator set")
        if len(set(signers)) != len(signers) or not all(0 <= one < 256 for one in signers):
            raise EvidenceError("signers must be different numbers from 0 to 255")
        try:
            signature = from_hex("signature", given["signature"], bls.SIGNATURE_BYTES)
            message = CheckpointMessage.from_json(given["message"])
        except ValueError as error:
            raise EvidenceError(str(error)) from None
        return cls(message, version, sum(1 << one for one in signers), signature)


@dataclass(frozen=True)
class _Source:
    """Evidence as it stands on L1: a Receipt or a Checkpoint."""

    address: Pubkey
    held: SetAccount
    bitmap: int
    epoch: int
    attempt: int
    hash: bytes


async def report_equivocation(
    client: L1Client, reporter: Keypair, first: Evidence, second: Evidence | None = None
) -> list[Offence]:
    """Slashes everybody who signed both, and returns their offences. Without `second`, the checkpoint that was posted for the epoch is
    the other message. The receipts are closed at the end, their rent goes back.

    EvidenceError when nobody signed two messages of one attempt, or a signature is wrong.
    """
    domain = await client.domain()
    epoch, attempt = first.message.epoch, first.message.attempt
    a = await _checked(client, reporter, domain, first)
    b = await (_checkpoint_of(client, epoch) if second is None else _checked(client, reporter, domain, second))
    if (epoch, attempt) != (b.epoch, b.attempt):
        raise EvidenceError(
            f"epoch {epoch} attempt {attempt} and epoch {b.epoch} attempt {b.attempt} are different attempts, which may be "
            "signed differently"
        )
    if a.hash == b.hash:
        raise EvidenceError("both are the same message, which may be signed any number of times")
    pairs = _both(a, b)
    if not pairs:
        raise EvidenceError("no validator signed both messages")
    receipts = [(a, first)] if second is None else [(a, first), (b, second)]
    for source, evidence in receipts:
        await _record(client, reporter, domain, source, evidence)
    for indexes in pairs:
        await _slash(client, reporter, epoch, (a, b), indexes)
    offences = []
    for index, _ in pairs:
        validator = _validator(client, a.held, index)
        await raise_equivocation(client, reporter, validator, epoch)
        offences.append(await fetch_offence(client, validator, epoch))
    for source, _ in receipts:
        await _close(client, reporter, source)
    return offences


async def fetch_offence(client: L1Client, validator: Pubkey, epoch: int) -> Offence:
    """AccountMissing when the validator was not slashed for equivocating in that epoch."""
    address = pda.offence(client.program_id, validator, epoch)
    account = await client.get_account(address)
    if account is None or account.owner != client.program_id:
        raise AccountMissing(str(address), f"offence of {validator} in epoch {epoch}")
    return slash_accounts.decode_offence(address, account.data)


async def raise_equivocation(client: L1Client, reporter: Keypair, validator: Pubkey, epoch: int) -> None:
    """Cuts what lacks since more stake was found equivocating; nothing when nothing lacks."""
    built = slash_instructions.raise_equivocation(client.program_id, reporter.pubkey(), validator, epoch)
    await _unless(client, built, reporter, ("NothingToRaise",))


async def slash_rejected(client: L1Client, reporter: Keypair, epoch: int) -> list[int]:
    """Slashes every signer of a rejected checkpoint that is not slashed yet; returns their indexes in the set that certified it.

    EvidenceError when the checkpoint was not rejected."""
    checkpoint = await _checkpoint(client, epoch)
    if checkpoint.status is not CheckpointStatus.REJECTED:
        raise EvidenceError(f"epoch {epoch} is {checkpoint.status.name.lower()}, not rejected")
    held = await _set(client, checkpoint.set_version)
    waiting = _bits(checkpoint.bitmap) & ~_bits(checkpoint.slashed_bitmap)
    indexes = [index for index in range(held.count) if waiting >> index & 1]
    for index in indexes:
        built = slash_instructions.slash_rejected(
            client.program_id,
            reporter.pubkey(),
            _validator(client, held, index),
            epoch,
            checkpoint.set_version,
            index,
        )
        await _unless(client, built, reporter, ("SignerSlashed",))
    return indexes


async def pay_rewards(client: L1Client, payer: Keypair, epoch: int) -> list[int]:
    """Rewards a finalized epoch, and before it those that it builds on and that are not rewarded yet; returns which were, in order.

    EvidenceError when the epoch is not final."""
    waiting: list[Checkpoint] = []
    at = epoch
    while at > 0:
        checkpoint = await client.fetch_checkpoint(at)
        if checkpoint is None and waiting:
            break  # closed, so it was rewarded
        if checkpoint is None:
            raise AccountMissing(str(pda.checkpoint(client.program_id, at)), f"checkpoint of epoch {at}")
        if checkpoint.status is not CheckpointStatus.FINALIZED:
            raise EvidenceError(f"epoch {at} is {checkpoint.status.name.lower()}, not finalized")
        if checkpoint.rewarded:
            break
        waiting.append(checkpoint)
        at = checkpoint.parent_epoch
    for checkpoint in reversed(waiting):
        built = reward_of(client.program_id, payer.pubkey(), checkpoint)
        await _unless(client, built, payer, ("RewardedAlready",), REWARD_COMPUTE_UNITS)
    return [checkpoint.epoch for checkpoint in reversed(waiting)]


def reward_of(program_id: Pubkey, payer: Pubkey, checkpoint: Checkpoint) -> Instruction:
    return slash_instructions.reward_checkpoint(
        program_id, payer, checkpoint.epoch, checkpoint.parent_epoch, checkpoint.set_version, checkpoint.poster
    )


# -- steps -----------------------------------------------------------------------------------------------------------------------------


def _both(a: _Source, b: _Source) -> list[tuple[int, int]]:
    """Who signed both, as (index in a's set, index in b's), by BLS key."""
    places = {entry.bls_uncompressed: index for index, entry in enumerate(b.held.validator_set.entries)}
    found = []
    for index, entry in enumerate(a.held.validator_set.entries):
        other = places.get(entry.bls_uncompressed)
        if a.bitmap >> index & 1 and other is not None and b.bitmap >> other & 1:
            found.append((index, other))
    return found


async def _checked(client: L1Client, owner: Keypair, domain: Domain, evidence: Evidence) -> _Source:
    """What the evidence will be on L1. EvidenceError when L1 would not believe it: nothing is paid for that."""
    held, message = await _set(client, evidence.set_version), evidence.message
    if message.set_hash != held.set_hash:
        raise EvidenceError(f"the message names another validator set than version {evidence.set_version}")
    if evidence.bitmap >> held.count:
        raise EvidenceError(f"validator set {evidence.set_version} has {held.count} members, a signer is beyond them")
    digest, entries = message.hash(domain), held.validator_set.entries
    keys = [entry.bls_public_key for index, entry in enumerate(entries) if evidence.bitmap >> index & 1]
    try:
        is_signed = bls.fast_aggregate_verify(keys, digest, evidence.signature)
    except bls.BlsError as error:
        raise EvidenceError(str(error)) from None
    if not is_signed:
        raise EvidenceError(f"the signature is not these signers' over {digest.hex()}")
    address = pda.receipt(client.program_id, owner.pubkey(), digest)
    return _Source(address, held, evidence.bitmap, message.epoch, message.attempt, digest)


async def _checkpoint_of(client: L1Client, epoch: int) -> _Source:
    posted = await client.fetch_checkpoint(epoch)
    if posted is None:
        raise EvidenceError(f"epoch {epoch} was not posted: a second message is needed")
    address, held = pda.checkpoint(client.program_id, epoch), await _set(client, posted.set_version)
    return _Source(address, held, _bits(posted.bitmap), posted.epoch, posted.attempt, posted.hash)


async def _record(client: L1Client, owner: Keypair, domain: Domain, source: _Source, evidence: Evidence) -> None:
    """Makes the owner's receipt hold the evidence; one with other signers is made anew."""
    account = await client.get_account(source.address)
    if account is not None and account.owner == client.program_id:
        held = slash_accounts.decode_receipt(source.address, account.data)
        if _bits(held.bitmap) == source.bitmap:
            return
        await _close(client, owner, source)
    built = slash_instructions.record_receipt(
        client.program_id,
        owner.pubkey(),
        domain.genesis,
        evidence.set_version,
        evidence.message,
        evidence.bitmap,
        evidence.signature,
    )
    await _unless(client, built, owner, ("ReceiptExists",), VERIFY_COMPUTE_UNITS)


async def _close(client: L1Client, owner: Keypair, source: _Source) -> None:
    await _unless(client, slash_instructions.close_receipt(client.program_id, owner.pubkey(), source.hash), owner, ())


async def _slash(
    client: L1Client, reporter: Keypair, epoch: int, sources: tuple[_Source, _Source], indexes: tuple[int, int]
) -> None:
    a, b = sources
    built = slash_instructions.slash_equivocation(
        client.program_id,
        reporter.pubkey(),
        _validator(client, a.held, indexes[0]),
        epoch,
        (a.address, b.address),
        (a.held.set_version, b.held.set_version),
        indexes,
    )
    await _unless(client, built, reporter, ("OffencePunished",))


def _bits(bitmap: bytes) -> int:
    return int.from_bytes(bitmap, "little")


def _validator(client: L1Client, held: SetAccount, index: int) -> Pubkey:
    return pda.validator(client.program_id, held.validator_set.entries[index].bls_public_key)


async def _set(client: L1Client, version: int) -> SetAccount:
    held = await client.fetch_validator_set(version)
    if held is None or not held.sealed:
        raise AccountMissing(str(pda.validator_set(client.program_id, version)), f"sealed validator set {version}")
    return held


async def _checkpoint(client: L1Client, epoch: int) -> Checkpoint:
    checkpoint = await client.fetch_checkpoint(epoch)
    if checkpoint is None:
        raise AccountMissing(str(pda.checkpoint(client.program_id, epoch)), f"checkpoint of epoch {epoch}")
    return checkpoint


async def _unless(
    client: L1Client, built: Instruction, payer: Keypair, done: Sequence[str], compute_units: int | None = None
) -> None:
    """Sends it; a refusal named in `done` means that somebody was faster."""
    try:
        await client.send_and_confirm([built], payer, compute_unit_limit=compute_units)
    except ProgramError as error:
        if error.name not in done:
            raise
