"""Answers demands that the sequencer leaves open, so that a sequencer that falls silent does not get honest signers slashed.

The first third of the time belongs to the sequencer. In the second the validators step in one after another, each demand in another order,
so that they do not all pay for the same answer; in the last third all of them try. Whoever answers gets the demand's bond.
"""

from __future__ import annotations

import structlog
import trio
from solders.keypair import Keypair

from settlement import fees, pda
from settlement.accounts import Checkpoint, CheckpointStatus
from settlement.answering import CannotAnswer, answer, close_leftovers
from settlement.client import SLOT_SECONDS, L1Client
from settlement.dispute_accounts import Demand, DemandKind
from settlement.errors import L1Error
from validator.batches import Batches

LOOKS = 100
"""How often L1 is asked in the time that an answer may take."""
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0
AT_ONCE = 4
CACHED_SETS = 8
FIRST_PRICE_MICRO_LAMPORTS, MAX_PRICE_MICRO_LAMPORTS = 1_000, 1_000_000
"""For a compute unit, of which an answer's transaction names 100,000: at most 100,000 lamports each, of a bond of 10,000,000."""

Member = tuple[int | None, int]
"""This validator's index in a set, None where it is not in it, and the set's size."""


def due_slot(demand: Demand, member: Member) -> int:
    """From which slot on this validator answers the demand."""
    index, size = member
    third = (demand.answer_until_slot - demand.opened_slot) // 3
    if index is None:
        return demand.opened_slot + 2 * third
    rank = (index + demand.epoch + demand.kind + demand.index) % size
    return demand.opened_slot + third + third * rank // size


class Answerer:
    """`keypair`: the authority, which pays and gets the bonds."""

    def __init__(self, l1: L1Client, keypair: Keypair, batches: Batches) -> None:
        self._l1, self._keypair, self._batches = l1, keypair, batches
        self._members: dict[int, Member] = {}
        self._failures: dict[tuple[int, int, int], int] = {}
        self._swept = False
        self._said = ""
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(
            room="validator", authority=str(keypair.pubkey())
        )

    async def forever(self) -> None:
        pause = MIN_PAUSE_SECONDS
        while True:
            try:
                pause, self._said = await self.once(), ""
            except L1Error as error:
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
                if str(error) != self._said:
                    self._log.warning("demands cannot be looked for", error=str(error))
                self._said = str(error)
            await trio.sleep(pause)

    async def once(self) -> float:
        """Answers what is due now; returns the seconds to wait before looking again. L1Error when L1 does not answer."""
        config = await self._l1.check_cluster(commitment="confirmed")
        epochs = [e for e in range(config.finalized.epoch + 1, config.posted.epoch + 1) if not config.is_dead(e)]
        found = [one for one in await self._l1.fetch_checkpoints(epochs, "confirmed") if one is not None]
        asked = [one for one in found if one.status is CheckpointStatus.POSTED and one.open_demands]
        if asked and not self._swept:
            await close_leftovers(self._l1, self._keypair, config.posted.epoch)
            self._swept = True
        due = [pair for checkpoint in asked for pair in await self._due(checkpoint)]
        limiter = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for checkpoint, demand in sorted(due, key=lambda pair: pair[1].answer_until_slot):
                nursery.start_soon(self._answer, limiter, checkpoint, demand)
        seconds = config.parameters.answer_slots * SLOT_SECONDS / LOOKS
        return min(max(seconds, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS)

    async def _price(self, failures: int) -> int:
        """What a compute unit of the next try may cost: what others pay, and after a failure ever more. Little time is left for a second."""
        usual = fees.usual_price(await self._l1.recent_priority_fees([pda.config(self._l1.program_id)]))
        return fees.price(usual, failures, start=FIRST_PRICE_MICRO_LAMPORTS, cap=MAX_PRICE_MICRO_LAMPORTS)

    async def _due(self, checkpoint: Checkpoint) -> list[tuple[Checkpoint, Demand]]:
        slot, member = await self._l1.get_slot("confirmed"), await self._member(checkpoint.set_version)
        demands = await self._l1.fetch_demands(checkpoint.epoch, "confirmed")
        return [
            (checkpoint, demand) for demand in demands if due_slot(demand, member) <= slot <= demand.answer_until_slot
        ]

    async def _member(self, version: int) -> Member:
        if version not in self._members:
            account = await self._l1.fetch_validator_set(version, "confirmed")
            if account is None:
                return None, 0
            index = account.validator_set.index_of(bytes(self._keypair.pubkey()))
            kept = list(self._members.items())[1 - CACHED_SETS :]
            self._members = {**dict(kept), version: (index, len(account.validator_set))}
        return self._members[version]

    async def _answer(self, limiter: trio.CapacityLimiter, checkpoint: Checkpoint, demand: Demand) -> None:
        what = f"{DemandKind(demand.kind).name.lower()} {demand.index} of epoch {demand.epoch}"
        async with limiter:
            kept = self._batches.of(checkpoint.hash)  # at most a megabyte
            if kept is None:
                self._log.warning("a demand is open, and its batch was never here", demand=what)
                return
            place = demand.epoch, demand.kind, demand.index
            failures = self._failures.pop(place, 0)
            try:
                price = await self._price(failures)
                done = await answer(self._l1, self._keypair, checkpoint, demand, kept.data, kept.trace, price)
            except (CannotAnswer, L1Error) as error:
                self._failures[place] = failures + 1
                self._swept = False  # a buffer may be left
                self._log.warning("answer did not land", demand=what, error=str(error))
                return
            if done is not None:
                self._log.info("demand answered", demand=what, slot=done.slot)
