"""Watches what other validators sign: collects signatures from sequencers (getAttestations) and certificates on L1, and has whoever signed two
messages of one attempt slashed, with nobody's help.

A sequencer that lies may show different askers different signatures, so several can be watched. What it shows is verified before it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
import trio
from solders.keypair import Keypair

from settlement import certificate, pda, slash_accounts, slashing
from settlement.accounts import Checkpoint, Config, SetAccount
from settlement.client import L1Client
from settlement.errors import L1Error
from settlement.messages import CheckpointMessage
from settlement.sequencer_client import SequencerClient, SequencerError
from settlement.signing import Domain
from settlement.slashing import EvidenceError
from settlement.tags import from_hex
from settlement.validator_set import ValidatorSet, bytes_to_bitmap
from validator.sightings import Report, Sightings, SightingsUnwritable, Vote

MAX_EPOCHS = 32
"""Epochs looked at in one turn, the newest: more than these are open only while L1 makes nothing final."""
MAX_PROPOSALS = 16
KEPT_UNBONDINGS = 3
"""Signatures are kept for so many times unbonding_slots after their cut: stake that leaves at all has left by then."""
MAX_PAUSE_SECONDS = 30.0


class Watchtower:
    def __init__(
        self, l1: L1Client, doors: Sequence[SequencerClient], domain: Domain, keypair: Keypair, sightings: Sightings
    ) -> None:
        self._l1, self._doors, self._domain, self._keypair = l1, doors, domain, keypair
        self._sightings = sightings
        self._sets: dict[int, SetAccount] = {}
        self._said: dict[str, str] = {}
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(room="validator")

    async def forever(self, poll_seconds: float) -> None:
        pause = poll_seconds
        while True:
            try:
                await self.once()
                pause = poll_seconds
            except (L1Error, SightingsUnwritable) as error:
                self._say("watchtower waits", str(error))
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
            await trio.sleep(pause)

    async def once(self) -> None:
        """Looks once at everything, and reports what it finds."""
        config = await self._l1.fetch_config()
        epochs = range(config.finalized.epoch + 1, config.highest_epoch + 2)[-MAX_EPOCHS:]
        for door in self._doors:
            await self._collect(door, epochs)
        for first, second in self._sightings.twice():
            await self._report(first, second)
        for checkpoint in await self._l1.fetch_checkpoints(epochs):
            if checkpoint is not None:
                await self._compare(checkpoint)
        await self._raise()
        await self._forget(config)

    async def _collect(self, door: SequencerClient, epochs: Sequence[int]) -> None:
        """Keeps every signature that one sequencer shows and that is new here."""
        for epoch in epochs:
            try:
                said = await door.call("getAttestations", {"epoch": epoch})
                proposals = said["proposals"][:MAX_PROPOSALS]
            except (SequencerError, KeyError, TypeError) as error:
                self._say(f"{door.url} shows no signatures", str(error))
                return
            for proposal in proposals:
                try:
                    votes = await self._votes(epoch, proposal)
                except (ValueError, KeyError, TypeError) as error:
                    self._say(f"{door.url} shows a proposal that is none", str(error))
                    continue
                if votes:
                    await trio.to_thread.run_sync(self._sightings.add, votes)

    async def _votes(self, epoch: int, proposal: Mapping[str, Any]) -> list[Vote]:
        """The new signatures on a proposal that are right. ValueError when the proposal is not one of that epoch for a set of L1."""
        message = CheckpointMessage.from_json(proposal["message"])
        digest, version = message.hash(self._domain), int(proposal["setVersion"])
        held = await self._set(version)
        if message.epoch != epoch or held is None or message.set_hash != held.set_hash:
            raise ValueError(f"it is not of epoch {epoch} and validator set {version}")
        members: ValidatorSet = held.validator_set
        votes = []
        for one in proposal["attestations"][: len(members)]:
            index, signature = int(one["setIndex"]), from_hex("signature", one["signature"], 96)
            if not 0 <= index < len(members):
                continue
            key = bytes(members.entries[index].bls_public_key)
            if not self._sightings.wants(epoch, message.attempt, key, digest):
                continue
            is_right = await trio.to_thread.run_sync(certificate.verify_attestation, digest, index, signature, members)
            if is_right:
                votes.append(Vote(message, key, version, index, signature))
        return votes

    async def _compare(self, checkpoint: Checkpoint) -> None:
        """What was posted is evidence as well: who is in its certificate, and was seen to sign another message of the same attempt."""
        held = await self._set(checkpoint.set_version)
        if held is None:
            return
        signers = bytes_to_bitmap(checkpoint.bitmap)
        keys = {
            bytes(held.validator_set.entries[index].bls_public_key) for index in held.validator_set.indices(signers)
        }
        for vote in self._sightings.of(checkpoint.epoch, checkpoint.attempt):
            is_other = vote.message.hash(self._domain) != checkpoint.hash
            if (
                is_other
                and vote.public_key in keys
                and not self._sightings.is_reported(checkpoint.epoch, vote.public_key)
            ):
                await self._report(vote, None)

    async def _report(self, first: Vote, second: Vote | None) -> None:
        """`second` None: the checkpoint that was posted for the epoch."""
        epoch, attempt, key = first.message.epoch, first.message.attempt, first.public_key
        try:
            evidence = None if second is None else second.evidence
            offences = await slashing.report_equivocation(self._l1, self._keypair, first.evidence, evidence)
        except EvidenceError as error:
            self._log.error("evidence that L1 does not take", epoch=epoch, attempt=attempt, error=str(error))
        else:
            self._log.warning(
                "a validator signed two messages of one attempt and was slashed",
                epoch=epoch,
                attempt=attempt,
                public_key=key.hex(),
                cut_lamports=[offence.cut_lamports for offence in offences],
            )
        self._sightings.reported(Report(epoch, key, await self._found(epoch)))

    async def _raise(self) -> None:
        """Who was found first loses as much as who was found last."""
        for report in self._sightings.reports:
            found = await self._found(report.epoch)
            if found > report.validators:
                validator = pda.validator(self._l1.program_id, report.public_key)
                await slashing.raise_equivocation(self._l1, self._keypair, validator, report.epoch)
                self._sightings.reported(Report(report.epoch, report.public_key, found))

    async def _found(self, epoch: int) -> int:
        """How many validators L1 has found equivocating in an epoch."""
        address = pda.tally(self._l1.program_id, epoch)
        held = await self._l1.get_account(address)
        if held is None or held.owner != self._l1.program_id:
            return 0
        return slash_accounts.decode_tally(address, held.data).validators

    async def _set(self, version: int) -> SetAccount | None:
        """A sealed set as L1 has it; None when there is none."""
        if version not in self._sets:
            held = await self._l1.fetch_validator_set(version) if version > 0 else None
            if held is None or not held.sealed:
                return None
            self._sets = {version: held, **dict(list(self._sets.items())[:7])}
        return self._sets[version]

    async def _forget(self, config: Config) -> None:
        before = config.finalized.slot - KEPT_UNBONDINGS * config.parameters.unbonding_slots
        if before > 0:
            await trio.to_thread.run_sync(self._sightings.forget, before)

    def _say(self, what: str, why: str) -> None:
        """Once, until it is something else."""
        if self._said.get(what) != why:
            self._said[what] = why
            self._log.warning(what, reason=why)
