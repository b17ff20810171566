"""What a poster gets back from L1: the bond of a checkpoint that builds on a rejected one, by voiding it, and the rent of one that nothing
needs any more, by closing it. Anybody may do both; the sequencer does it because the lamports are mostly its own.

What was seen on L1 is in memory only: after a restart, or when a fork undid something that was done, the next start looks again.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field

import structlog
import trio

from sequencer import database as db
from sequencer import metrics
from sequencer.l1_port import L1Port
from sequencer.lifecycle import CheckpointStatus as Stage
from sequencer.node import Node
from sequencer.rows import EpochRow, SentRow
from settlement.accounts import Checkpoint, CheckpointStatus, Config
from settlement.errors import TransactionError

log = structlog.get_logger(__name__)

PAGE_ROWS = 128
PAUSE_SLOTS = 32
"""After a look that found nothing to do, or one of L1's refusals."""
FALLEN = (Stage.REJECTED, Stage.VOIDED)


@dataclass
class Returns:
    """`fallen`: rejected and voided epochs whose accounts are still on L1; `oldest`: no account of a final epoch before it is."""

    fallen: set[int] = field(default_factory=set)
    oldest: int | None = None
    known_rejection: int = 0
    known_final: int = 0
    next_slot: int = 0

    async def step(self, node: Node, port: L1Port) -> bool:
        """One step; whether there was one to take. L1Error when L1 does not answer."""
        config = node.view.config
        if not node.config.settle_checkpoints or config is None or node.slot < self.next_slot:
            return False
        await self._find(node, port)
        for epoch in sorted(self.fallen):
            if await self._settle_fallen(node, port, config, epoch):
                return True
        if node.config.close_checkpoints and await self._close_oldest(node, port, config):
            return True
        self.next_slot = node.slot + PAUSE_SLOTS
        return False

    async def _find(self, node: Node, port: L1Port) -> None:
        meta = node.chain.meta_cell.value
        if self.oldest is None:
            after = b""
            while page := node.database.page(db.EPOCHS, after, PAGE_ROWS):
                self.fallen |= {row.epoch for _, row in page if row.status in FALLEN}
                after = page[-1][0]
                await trio.lowlevel.checkpoint()
            self.oldest = await self._first_kept(node, port)
        elif meta.rejected_epoch != self.known_rejection:
            # What fell since was not final at the last look.
            numbers = range(self.known_final + 1, meta.used_up_epoch + 1)
            self.fallen |= {one for one in numbers if (row := _row(node, one)) is not None and row.status in FALLEN}
        self.known_rejection, self.known_final = meta.rejected_epoch, meta.finalized_epoch

    async def _first_kept(self, node: Node, port: L1Port) -> int:
        """Accounts are closed in order: where those that are left begin."""
        low, high = 1, node.chain.position.finalized.epoch + 1
        while low < high:
            middle = (low + high) // 2
            kept = middle
            while kept < high and (row := _row(node, kept)) is not None and row.status is not Stage.FINALIZED:
                kept += 1
            if kept < high and await port.checkpoint(kept, "confirmed") is None:
                low = kept + 1
            else:
                high = middle
        return low

    async def _settle_fallen(self, node: Node, port: L1Port, config: Config, epoch: int) -> bool:
        row, found = _row(node, epoch), await port.checkpoint(epoch, "confirmed")
        if row is None or found is None or found.hash != row.hash:
            self.fallen.discard(epoch)
            return False
        if found.status is CheckpointStatus.POSTED and config.is_dead(epoch):
            return await self._do(node, port, port.sign_void(found), "checkpoint voided", epoch)
        is_spent = found.status is CheckpointStatus.VOIDED or found.slashed_bitmap == found.bitmap
        if found.status is CheckpointStatus.POSTED or not is_spent or not _is_old(node, config, found):
            return False
        return await self._do(node, port, port.sign_close(found), "checkpoint closed", epoch)

    async def _close_oldest(self, node: Node, port: L1Port, config: Config) -> bool:
        assert self.oldest is not None
        while self.oldest < config.finalized.epoch:
            row = _row(node, self.oldest)
            if row is not None and row.status is Stage.FINALIZED:
                if row.posted_slot is not None and not _is_past_unbonding(node, config, row.posted_slot):
                    return False
                found = await port.checkpoint(self.oldest, "confirmed")
                if found is not None:
                    if not found.rewarded or not _is_old(node, config, found):
                        return False
                    return await self._do(node, port, port.sign_close(found), "checkpoint closed", self.oldest)
            self.oldest += 1
            await trio.lowlevel.checkpoint()
        return False

    async def _do(self, node: Node, port: L1Port, signing: Awaitable[SentRow], what: str, epoch: int) -> bool:
        try:
            await port.confirm(await signing, False)
        except TransactionError as error:
            # Somebody was faster, or a slash is to be applied first.
            self.next_slot = node.slot + PAUSE_SLOTS
            metrics.FAILURES.labels("returns").inc()
            log.warning("bond or rent did not come back", epoch=epoch, error=str(error))
            return False
        log.info(what, epoch=epoch)
        return True


def _row(node: Node, epoch: int) -> EpochRow | None:
    return node.database.get(db.EPOCHS, db.u64be(epoch))


def _is_past_unbonding(node: Node, config: Config, posted_slot: int) -> bool:
    return node.slot > posted_slot + config.parameters.unbonding_slots


def _is_old(node: Node, config: Config, found: Checkpoint) -> bool:
    """Whether nothing needs the account any more, as the program judges it."""
    is_past = _is_past_unbonding(node, config, found.posted_slot)
    return is_past and found.epoch < config.finalized.epoch and found.open_demands == 0
