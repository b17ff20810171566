"""Challenges a posted checkpoint that the follower found false, or whose batch is not to be had: files the proof, or opens demands and follows
them to their end, and has the signers of what was rejected slashed. All by itself, paid by the validator's keypair.

Bonds are what a challenge can lose: whoever answers a demand gets its bond. So each demand is made once, and those on one checkpoint together
cost no more than the configuration allows; what was demanded is remembered on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import structlog
import trio
from solders.keypair import Keypair

from settlement import batch_source, challenge_filing, durable, shown_answers, slashing
from settlement.accounts import Checkpoint, CheckpointStatus, Config
from settlement.challenge_case import Held
from settlement.challenging import Demands, Proof, find
from settlement.client import L1Client
from settlement.dispute_accounts import DemandKind
from settlement.errors import L1Error, ProgramError
from settlement.sequencer_client import SequencerClient, SequencerError
from settlement.signing import Domain
from validator.follower import Follower, Unfollowed
from validator.store import StoreError

MAX_PAUSE_SECONDS = 30.0
EPOCHS_A_CALL = 100
Place = tuple[DemandKind, int]


class Asked:
    """What was demanded, by epoch: kept in a file, so that no demand is paid for twice."""

    def __init__(self, path: Path) -> None:
        """StoreError when the file is not what was written."""
        self._path = path
        try:
            found = json.loads(path.read_text()) if path.exists() else {}
            self._places = {
                int(epoch): [(DemandKind(kind), int(index)) for kind, index in places]
                for epoch, places in found.items()
            }
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path} is damaged ({error}): without it demands may be paid for twice; move it away to go on"
            ) from error

    def of(self, epoch: int) -> list[Place]:
        return self._places.get(epoch, [])

    @property
    def epochs(self) -> list[int]:
        return sorted(self._places)

    def add(self, epoch: int, places: Iterable[Place]) -> None:
        """Durable when it returns; to be called before a bond is paid."""
        self._places[epoch] = list(dict.fromkeys([*self.of(epoch), *places]))
        self._write()

    def forget(self, epoch: int) -> None:
        del self._places[epoch]
        self._write()

    def _write(self) -> None:
        text = json.dumps({epoch: [[int(kind), index] for kind, index in one] for epoch, one in self._places.items()})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(self._path.with_suffix(".new"), self._path, text.encode())


class Challenger:
    def __init__(
        self,
        l1: L1Client,
        sequencer: SequencerClient,
        domain: Domain,
        keypair: Keypair,
        follower: Follower,
        asked: Asked,
        most_bond_lamports: int,
        withheld_seconds: float,
    ) -> None:
        self._l1, self._sequencer, self._domain, self._keypair = l1, sequencer, domain, keypair
        self._follower, self._asked, self._most_bond_lamports = follower, asked, most_bond_lamports
        self._withheld_seconds, self._missing = withheld_seconds, (bytes(32), 0.0)
        self._said = ""
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(room="validator")

    async def forever(self, poll_seconds: float) -> None:
        pause = poll_seconds
        while True:
            try:
                await self.once()
                pause = poll_seconds
            except (L1Error, SequencerError, OSError) as error:
                self._say("challenge waits", error=str(error))
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
            await trio.sleep(pause)

    async def once(self) -> None:
        """Looks once at all there is to do, and does it."""
        config = await self._l1.fetch_config()
        await self._follow_demands(config)
        if config.pending_slashes:
            await self._slash(config)
        false = self._follower.unfollowed
        if false is not None:
            await self._challenge(false, config)

    async def _challenge(self, false: Unfollowed, config: Config) -> None:
        checkpoint = await self._l1.fetch_checkpoint(false.account.epoch)
        if checkpoint is None or checkpoint.hash != false.account.hash:
            return
        if not challenge_filing.is_live(config, checkpoint):
            return
        epoch, before = checkpoint.epoch, self._asked.of(checkpoint.epoch)
        if any([await challenge_filing.fetch_demand(self._l1, epoch, place) for place in before]):
            return  # what they show, or that they show nothing, decides
        if false.data is None and not await self._is_withheld(checkpoint):
            return
        held = await self._held(false, checkpoint)
        finding = await trio.to_thread.run_sync(find, held)
        if isinstance(finding, Demands) and held.trace is None:
            trace = await batch_source.fetch_trace(self._sequencer, checkpoint)
            finding = await trio.to_thread.run_sync(find, replace(held, trace=trace))
        if isinstance(finding, Proof):
            await self._file(checkpoint, finding)
        elif isinstance(finding, Demands):
            await self._demand(checkpoint, finding, config)
        else:
            reason = false.reason if finding is None else finding.reason
            self._say("a false checkpoint that nothing proves", epoch=checkpoint.epoch, reason=reason)

    async def _is_withheld(self, checkpoint: Checkpoint) -> bool:
        """Whether its batch was not to be had for half of the window, in which alone demands open, nor for some time here."""
        now = trio.current_time()
        if self._missing[0] != checkpoint.hash:
            self._missing = checkpoint.hash, now
        if now - self._missing[1] < self._withheld_seconds:
            return False
        return await self._l1.get_slot() >= (checkpoint.posted_slot + checkpoint.challenge_until_slot) // 2

    async def _held(self, false: Unfollowed, checkpoint: Checkpoint) -> Held:
        """What is known: the bytes, if the sequencer gave them, and what was shown on L1 when it was demanded."""
        shown = await shown_answers.all_shown(self._l1, checkpoint)
        return Held(
            checkpoint,
            false.parent.parent(self._domain),
            false.context,
            await challenge_filing.entries_of(self._l1, checkpoint),
            data=false.data,
            records=shown.records,
            trace=shown.trace,
            chunks=shown.chunks,
        )

    async def _file(self, checkpoint: Checkpoint, proof: Proof) -> None:
        try:
            filed = await challenge_filing.file(self._l1, self._keypair, checkpoint, proof)
        except ProgramError as error:
            self._say("a proof was refused", epoch=checkpoint.epoch, proof=proof.name, error=str(error))
            return
        self._log.warning(
            "a false checkpoint was proved",
            epoch=checkpoint.epoch,
            proof=proof.name,
            reason=proof.reason,
            status=filed.status.name.lower(),
            signature=filed.signature,
        )

    async def _demand(self, checkpoint: Checkpoint, demands: Demands, config: Config) -> None:
        epoch, before = checkpoint.epoch, self._asked.of(checkpoint.epoch)
        left = self._most_bond_lamports // config.parameters.demand_bond_lamports - len(before)
        new = [index for index in demands.indexes if (demands.kind, index) not in before][: max(left, 0)]
        if not new:
            self._say("no bond is left for this checkpoint", epoch=epoch, reason=demands.reason)
            return
        if await self._l1.get_slot() > checkpoint.challenge_until_slot:
            self._say("too late to demand", epoch=epoch, reason=demands.reason)
            return
        await trio.to_thread.run_sync(self._asked.add, epoch, [(demands.kind, index) for index in new])
        asking = Demands(demands.kind, tuple(new), demands.reason)
        opened = await challenge_filing.demand(self._l1, self._keypair, checkpoint, asking, len(new))
        self._log.warning(
            "demanded", epoch=epoch, kind=demands.kind.name.lower(), opened=len(opened), reason=demands.reason
        )

    async def _follow_demands(self, config: Config) -> None:
        for epoch in self._asked.epochs:
            waiting = await challenge_filing.follow(self._l1, self._keypair, epoch, self._asked.of(epoch))
            checkpoint = await self._l1.fetch_checkpoint(epoch)
            is_over = checkpoint is None or not challenge_filing.is_live(config, checkpoint)
            if is_over and not waiting:
                await trio.to_thread.run_sync(self._asked.forget, epoch)
                self._log.info("demands are over", epoch=epoch, status=checkpoint and checkpoint.status.name.lower())

    async def _slash(self, config: Config) -> None:
        """The signers that are still to be slashed, of whatever rejected checkpoint, the newest first. Config forgets void ranges behind the
        final epoch, but such a checkpoint's account cannot be closed before, and no stake is withdrawn meanwhile."""
        last, left = config.highest_epoch, config.pending_slashes
        while last > 0 and left > 0:
            epochs = range(last, max(last - EPOCHS_A_CALL, 0), -1)
            for epoch, checkpoint in zip(epochs, await self._l1.fetch_checkpoints(epochs), strict=True):
                if checkpoint is None or checkpoint.status is not CheckpointStatus.REJECTED:
                    continue
                if checkpoint.slashed_bitmap != checkpoint.bitmap:
                    indexes = await slashing.slash_rejected(self._l1, self._keypair, epoch)
                    left -= len(indexes)
                    self._log.warning("signers of a rejected checkpoint were slashed", epoch=epoch, indexes=indexes)
            last -= len(epochs)

    def _say(self, event: str, **fields: object) -> None:
        """Once, until something else is to be said."""
        text = f"{event} {fields}"
        if text != self._said:
            self._said = text
            self._log.warning(event, **fields)
