"""What is owed to validators on L1 after a post: signatures that came late are added while the challenge window is open, and finalized epochs
are rewarded in order. Anybody may do both; the sequencer does it so that nobody has to, and loses nothing but fees when it cannot.

What was seen on L1 is kept in memory only: after a restart L1 is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from sequencer import metrics
from sequencer.attestation import bitmap_of
from sequencer.l1_port import L1Port
from sequencer.lifecycle import CheckpointStatus as Stage
from sequencer.node import Node
from sequencer.proposals import attestations
from sequencer.rows import EpochRow
from settlement import bls
from settlement.accounts import Checkpoint, CheckpointStatus
from settlement.errors import TransactionError

log = structlog.get_logger(__name__)

LATE_SLOTS = 4
"""How long after the post others are waited for, so that most of them share one transaction."""


@dataclass
class Rewards:
    """`on_l1`: the bitmap that L1 was seen with, by posted epoch; `waiting`: finalized epochs to be rewarded, the oldest last."""

    on_l1: dict[int, int] = field(default_factory=dict)
    waiting: list[Checkpoint] = field(default_factory=list)
    rewarded_epoch: int = 0

    async def step(self, node: Node, port: L1Port) -> bool:
        """One step; whether there was one to take. L1Error when L1 does not answer."""
        if not node.config.pay_rewards:
            return False
        return await self._add_late(node, port) or await self._reward(node, port)

    async def _add_late(self, node: Node, port: L1Port) -> bool:
        void = node.void_epoch
        posted = [f.row for f in node.chain.position.posted if void is None or f.row.epoch < void]
        self.on_l1 = {row.epoch: self.on_l1[row.epoch] for row in posted if row.epoch in self.on_l1}
        for row in posted:
            if self._is_open(node, row) and await self._add(node, port, row):
                return True
        return False

    def _is_open(self, node: Node, row: EpochRow) -> bool:
        """There is somebody to add, others had the time to come too, and a transaction still has the time to land."""
        config = node.view.config
        if config is None or row.posted_slot is None or row.status is not Stage.POSTED:
            return False
        window = config.parameters.challenge_window_slots
        if not row.posted_slot + min(LATE_SLOTS, window // 2) <= node.slot < row.posted_slot + window:
            return False
        return bool(self._missing(node, row))

    def _missing(self, node: Node, row: EpochRow) -> dict[int, bytes]:
        held = self.on_l1.get(row.epoch, row.bitmap)
        found = attestations(node, node.database, row)
        return {index: signature for index, signature in found.items() if not held >> index & 1}

    async def _add(self, node: Node, port: L1Port, row: EpochRow) -> bool:
        found = await port.checkpoint(row.epoch, "confirmed")
        if found is None or found.hash != row.hash or found.status is not CheckpointStatus.POSTED:
            return False
        self.on_l1[row.epoch] = int.from_bytes(found.bitmap, "little")
        missing = self._missing(node, row)
        if not missing:
            return False
        bitmap = bitmap_of(missing)
        try:
            aggregate = bls.aggregate(list(missing.values()))
            await port.confirm(await port.sign_late(row, bitmap, aggregate), False)
        except TransactionError as error:
            metrics.FAILURES.labels("late signatures").inc()
            log.warning("late signatures did not land", epoch=row.epoch, error=str(error))
            return False
        self.on_l1[row.epoch] |= bitmap
        log.info("late signatures added", epoch=row.epoch, signers=len(missing))
        return True

    async def _reward(self, node: Node, port: L1Port) -> bool:
        config = node.view.config
        if config is None:
            return False
        if not self.waiting:
            await self._look(port, config.finalized.epoch)
        if not self.waiting:
            return False
        checkpoint = self.waiting[-1]
        try:
            await port.confirm(await port.sign_reward(checkpoint), False)
        except TransactionError as error:
            self.waiting.clear()  # somebody was faster, or L1 forked: look again
            metrics.FAILURES.labels("reward").inc()
            log.warning("reward did not land", epoch=checkpoint.epoch, error=str(error))
            return False
        self.waiting.pop()
        self.rewarded_epoch = checkpoint.epoch
        log.info("epoch rewarded", epoch=checkpoint.epoch)
        return True

    async def _look(self, port: L1Port, final_epoch: int) -> None:
        """From the last final epoch back to the last rewarded one; a closed account was rewarded before."""
        found, epoch = [], final_epoch
        while epoch > self.rewarded_epoch:
            checkpoint = await port.checkpoint(epoch, "confirmed")
            if checkpoint is None or checkpoint.rewarded or checkpoint.status is not CheckpointStatus.FINALIZED:
                break
            found.append(checkpoint)
            epoch = checkpoint.parent_epoch
        self.waiting = found
        if not found:
            self.rewarded_epoch = max(self.rewarded_epoch, final_epoch)
