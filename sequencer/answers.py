"""Answers the demands on posted epochs, so that nobody with a demand's bond can have an honest checkpoint rejected. Anybody may answer; the
sequencer has the bytes at hand, gets the bonds, and loses its own and its signers' stake when nobody does.

What is open is asked of L1 each time: after a restart, a fork or somebody else's answer there is nothing to set right. The demand that ends
first is answered first, several at once; one that fails is tried again ever more slowly, and never holds up the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
import trio

from sequencer import metrics, traces
from sequencer.l1_port import L1Port
from sequencer.lifecycle import CheckpointStatus as Stage
from sequencer.node import Node
from sequencer.rows import EpochRow
from settlement import fees
from settlement.accounts import Checkpoint, CheckpointStatus
from settlement.answering import CannotAnswer
from settlement.dispute_accounts import Demand, DemandKind
from settlement.errors import L1Error, L1RpcError, TransactionError

log = structlog.get_logger(__name__)

LOOKS = 100
"""How often L1 is asked in the time that an answer may take."""
AT_ONCE = 8
"""Answers in flight: each has a buffer's rent out, at most 0.03 SOL, and shares L1's node with the posts."""
ROUND = 64
"""Answers before L1 is asked again for what is open."""
MAX_PAUSE_SLOTS = 32

Place = tuple[int, int, int]


@dataclass(frozen=True)
class Due:
    """A demand to be answered, and what it is about."""

    row: EpochRow
    checkpoint: Checkpoint
    demand: Demand

    @property
    def place(self) -> Place:
        return self.demand.epoch, self.demand.kind, self.demand.index


@dataclass
class Tried:
    """How often an answer failed, and the slot before which it is not tried again."""

    failures: int = 0
    until_slot: int = 0

    def failed(self, slot: int) -> None:
        self.until_slot = slot + min(1 << min(self.failures, 16), MAX_PAUSE_SLOTS)
        self.failures += 1


def is_late(demand: Demand, slot: int) -> bool:
    """More than half of the time to answer is over."""
    return 2 * slot > demand.opened_slot + demand.answer_until_slot


def due_now(found: Iterable[Due], tried: dict[Place, Tried], slot: int) -> list[Due]:
    """What to answer next: what ends first before all else, without what is over or failed just now. At most ROUND."""
    waiting = [
        due
        for due in found
        if slot <= due.demand.answer_until_slot and tried.get(due.place, Tried()).until_slot <= slot
    ]
    return sorted(waiting, key=lambda due: (due.demand.answer_until_slot, due.place))[:ROUND]


def described(demand: Demand) -> str:
    return f"{DemandKind(demand.kind).name.lower()} {demand.index} of epoch {demand.epoch}"


@dataclass
class Answers:
    """In memory only: when L1 was last asked, and which answers failed."""

    looked_slot: int | None = None
    tried: dict[Place, Tried] = field(default_factory=dict)
    swept: bool = False

    async def step(self, node: Node, port: L1Port) -> bool:
        """One round; whether something was answered. L1Error when L1 does not answer."""
        if await traces.step(node):
            return True
        config = node.view.config
        if not node.config.answer_demands or config is None or not self._is_time(node, config.parameters.answer_slots):
            return False
        if not self.swept:
            await self._sweep(port, config.posted.epoch)
        found = await self._look(node, port)
        self._watch(node, found)
        self._forget(found)
        round_ = due_now(found, self.tried, node.slot)
        answered = await self._answer_all(node, port, round_) if round_ else 0
        # Nothing left, or nothing that can be answered now: L1 is asked again after a while.
        self.looked_slot = None if answered else node.slot
        return answered > 0

    def _is_time(self, node: Node, answer_slots: int) -> bool:
        looked = self.looked_slot
        return looked is None or not looked <= node.slot < looked + max(answer_slots // LOOKS, 1)

    def _forget(self, found: list[Due]) -> None:
        """What failed and is open no more may have left a buffer: they are looked for again."""
        places = {due.place for due in found}
        if any(tried.failures for place, tried in self.tried.items() if place not in places):
            self.swept = False
        self.tried = {place: tried for place, tried in self.tried.items() if place in places}

    async def _sweep(self, port: L1Port, posted_epoch: int) -> None:
        try:
            closed = await port.close_leftovers(posted_epoch)
            if closed:
                log.info("buffers of earlier answers closed", buffers=closed)
        except (L1RpcError, TransactionError) as error:
            log.warning("buffers of earlier answers may be left", error=str(error))
        self.swept = True

    async def _look(self, node: Node, port: L1Port) -> list[Due]:
        void = node.void_epoch
        rows = [f.row for f in node.chain.position.posted if f.row.status is Stage.POSTED]
        rows = [row for row in rows if void is None or row.epoch < void]
        if not rows:
            return []
        found: list[Due] = []
        for row, checkpoint in zip(rows, await port.checkpoints([row.epoch for row in rows]), strict=True):
            if checkpoint is None or checkpoint.hash != row.hash or checkpoint.status is not CheckpointStatus.POSTED:
                continue
            if checkpoint.open_demands:
                try:
                    found += [Due(row, checkpoint, demand) for demand in await port.demands(row.epoch)]
                except L1RpcError as error:
                    many = f"{checkpoint.open_demands} demands are open on epoch {row.epoch}"
                    node.raise_alarm("demands", f"{many}, and L1's node does not list them: {error}")
                    raise
        return found

    def _watch(self, node: Node, found: list[Due]) -> None:
        metrics.OPEN_DEMANDS.set(len(found))
        late = sorted(
            (due.demand.answer_until_slot, described(due.demand)) for due in found if is_late(due.demand, node.slot)
        )
        if late:
            until_slot, what = late[0]
            node.raise_alarm(
                "demands",
                f"{len(late)} demands are open after half of their time; {what} must be answered by slot {until_slot}, or its "
                "checkpoint is rejected and its signers slashed",
            )
        else:
            node.clear_alarm("demands")

    async def _answer_all(self, node: Node, port: L1Port, round_: list[Due]) -> int:
        """In their order, AT_ONCE at a time; how many were answered, by us or by others. The first failure of L1 itself ends the round."""
        limiter = trio.Semaphore(AT_ONCE)
        gone, silent = 0, list[L1Error]()
        usual = fees.usual_price(await port.recent_prices())

        async def one(due: Due) -> None:
            nonlocal gone
            try:
                gone += await self._answer(node, port, due, usual)
            except L1Error as error:
                silent.append(error)
                nursery.cancel_scope.cancel()
            finally:
                limiter.release()

        async with trio.open_nursery() as nursery:
            for due in round_:
                await limiter.acquire()
                nursery.start_soon(one, due)
        if silent:
            raise silent[0]
        return gone

    async def _answer(self, node: Node, port: L1Port, due: Due, usual_price: int) -> bool:
        tried, config = self.tried.setdefault(due.place, Tried()), node.config
        price = fees.price(
            usual_price,
            tried.failures,
            start=config.priority_fee_micro_lamports,
            cap=config.priority_fee_cap_micro_lamports,
        )
        what, trace = described(due.demand), node.traces.get(due.row.hash)
        try:
            data = await traces.data_of(node, due.row)
            done = await port.answer(due.checkpoint, due.demand, data, trace, price)
        except (CannotAnswer, TransactionError) as error:
            tried.failed(node.slot)
            metrics.FAILURES.labels("answer").inc()
            log.warning("answer did not land", demand=what, error=str(error))
            return False
        if done is not None:
            metrics.DEMANDS_ANSWERED.inc()
            log.info("demand answered", demand=what, slot=done.slot)
        else:
            log.info("demand gone", demand=what)
        return True
