"""No order of faults makes an honest validator slashable, and when the faults end the chain posts again.

A state machine over the real line (tests/posting_kit.py) on an L1 that forks, lags, drops and rejects, of whose three nodes one lies; a
sequencer that shows every validator another proposal; validators that die between writing a vote down and sending it, restart, and go on from
old backups after an import. Small by default; for hours: POUW_MACHINE_EXAMPLES=5000 POUW_MACHINE_STEPS=80 (CONTRIBUTING.md).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sequencer.rows import EpochRow
from settlement.accounts import CheckpointStatus
from settlement.errors import L1Error
from settlement.messages import CheckpointMessage, highest_attempt
from settlement.tags import U32_MAX
from tests.fake_l1 import CONFIRMED_DEPTH, DOMAIN, FINALIZED_DEPTH
from tests.posting_kit import HonestValidator, Line, while_slots_pass
from tests.rejecting import reject
from validator.slashing_protection import ProtectionLocked, SlashingProtection

MEMORY = Path("/dev/shm")
HIGHEST = 1_000_000
"""Stands for the highest attempt that time allows."""
BY_HAND = "POUW_MACHINE_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("POUW_MACHINE_EXAMPLES", "6"))
STEPS = int(os.environ.get("POUW_MACHINE_STEPS", "30"))
T = TypeVar("T")


def run(step: Callable[[], Awaitable[T]]) -> T:
    return trio.run(step, clock=trio.testing.MockClock(autojump_threshold=0))


# -- the lies of one node


def far_ahead(method: str, params: Sequence[Any], answer: Any) -> Any:
    """All slots are long past."""
    if method in ("getSlot", "getBlockHeight"):
        return answer + 500
    if isinstance(answer, dict) and "context" in answer:
        return {**answer, "context": {"slot": answer["context"]["slot"] + 500}}
    return answer


def nothing_there(method: str, params: Sequence[Any], answer: Any) -> Any:
    """No account, no transaction, and all slots long past."""
    answer = far_ahead(method, params, answer)
    if method in ("getAccountInfo", "getSignatureStatuses", "getMultipleAccounts"):
        value = answer["value"]
        return {**answer, "value": [None] * len(value) if isinstance(value, list) else None}
    return answer


LIES = {"far ahead": far_ahead, "nothing there": nothing_there, "honest": None}


class Faults(RuleBasedStateMachine):
    """`seen` are all messages that the sequencer ever proposed, for the liar to vary."""

    urls = 3
    last_error: L1Error | None = None

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.line = run(lambda: Line.open(Path(self.folder.name), self.urls))
        sequencer = self.line.sequencer  # the same records are rejected over and over here
        sequencer.node.config = sequencer.node.config.model_copy(update={"mended_to_epoch": 1_000_000})
        self.seen: list[EpochRow] = []
        self.exports: dict[int, dict[str, Any]] = {}
        self.backed_up: set[int] = set()
        self.certified: dict[int, dict[bytes, CheckpointMessage]] = {}

    # -- L1

    @rule(lamports=st.integers(20_000, 1_000_000))
    def deposit(self, lamports: int) -> None:
        self.line.world.deposit(lamports)

    @rule(blocks=st.sampled_from([1, 2, 5, 20, 40, 70, 110]))
    def time_passes(self, blocks: int) -> None:
        self.line.world.advance(blocks)

    @rule(depth=st.integers(1, FINALIZED_DEPTH - 1), bring_back=st.booleans())
    def fork(self, depth: int, bring_back: bool) -> None:
        self.line.world.fork(depth, bring_back=bring_back)

    @rule(taken_back=st.sampled_from([0, 0, 1, 5]))
    def an_epoch_is_rejected(self, taken_back: int) -> None:
        """By a demand that nobody answers; a fork may take that back."""
        self.a_whole_epoch(None, 1)
        world = self.line.world
        head = world.checkpoint(world.config("processed").posted.epoch, "processed")
        if head is None or head.status is not CheckpointStatus.POSTED or world.slot() >= head.challenge_until_slot:
            return
        event("a checkpoint is rejected")
        reject(world, head.epoch)
        if taken_back:
            world.fork(taken_back)

    @rule(
        index=st.integers(0, 2),
        behind=st.sampled_from([0, 0, 5, 30, 60]),
        silent=st.booleans(),
        drops=st.booleans(),
        lie=st.sampled_from(sorted(LIES)),
    )
    def one_node_is_faulty(self, index: int, behind: int, silent: bool, drops: bool, lie: str) -> None:
        for node in self.line.nodes:
            node.behind, node.silent, node.drops, node.lie = 0, False, False, None
        node = self.line.nodes[index % len(self.line.nodes)]
        node.behind, node.silent, node.drops, node.lie = behind, silent, drops, LIES[lie]

    # -- the sequencer

    def attempt(self, step: Callable[[], Awaitable[Any]]) -> None:
        """L1's nodes may contradict each other for a while: the loop tries again, and so does this machine."""

        async def guarded() -> None:
            try:
                await step()
            except L1Error as error:
                event(f"step ended with {type(error).__name__}")
                self.last_error = error

        run(guarded)
        if (row := self.line.sequencer.current) is not None and row not in self.seen:
            self.seen.append(row)

    @rule()
    def look_and_cut(self) -> None:
        self.attempt(self.line.sequencer.cut)

    @rule(slots=st.sampled_from([3, 20, 120]))
    def poster(self, slots: int) -> None:
        """Cut short anywhere, as by a kill."""
        sequencer = self.line.sequencer
        self.attempt(lambda: while_slots_pass(self.line.world, slots, sequencer.step))

    @rule(liar=st.sampled_from([None, 0, 1, HIGHEST]), expiry=st.integers(1, 63))
    def a_whole_epoch(self, liar: int | None, expiry: int) -> None:
        """What happens most of the time, in one rule, so that the machine gets somewhere; with a liar's second proposal for the same attempt,
        the next or the highest before anything is posted."""
        self.an_epoch_is_proposed()
        if self.line.sequencer.current is not None:
            self.all_attest()
        if liar is not None and self.seen:
            self.the_liar_shows(who=(0, 1, 2), back=0, later=liar, expiry=expiry, age=0)
        self.poster(20)
        self.poster(20)

    @rule()
    def finality(self) -> None:
        sequencer = self.line.sequencer
        self.attempt(sequencer.poll)
        self.attempt(lambda: while_slots_pass(self.line.world, 20, sequencer.finality_step))

    @rule()
    def sequencer_restarts(self) -> None:
        self.line.sequencer.restart()

    # -- the validators

    def turn(self, index: int, epoch: int, attempt: int, shown: CheckpointMessage | None) -> None:
        one = self.line.honest[index]

        async def guarded() -> None:
            try:
                refused = await one.round(epoch, attempt, shown)
                event(f"{'the liar' if shown else 'the sequencer'} was {'refused' if refused else 'signed for'}")
            except L1Error as error:
                event(f"turn ended with {type(error).__name__}")

        run(guarded)

    @precondition(lambda self: self.line.sequencer.current is not None)
    @rule(index=st.integers(0, 2))
    def attest(self, index: int) -> None:
        row = self.line.sequencer.current
        self.turn(index, row.epoch, row.attempt, None)

    @precondition(lambda self: self.line.sequencer.current is not None)
    @rule()
    def all_attest(self) -> None:
        row = self.line.sequencer.current
        for index in range(len(self.line.honest)):
            self.turn(index, row.epoch, row.attempt, None)

    @rule()
    def an_epoch_is_proposed(self) -> None:
        self.line.world.deposit()
        self.line.world.advance(CONFIRMED_DEPTH)
        self.look_and_cut()

    @precondition(lambda self: self.seen)
    @rule(
        who=st.sampled_from([(0,), (1,), (2,), (0, 1, 2), (0, 1, 2)]),
        back=st.sampled_from([0, 0, 0, 0, 1, 2, 5]),
        later=st.sampled_from([0, 0, 0, 1, 1, 2, -1, HIGHEST, U32_MAX]),
        expiry=st.integers(1, 63),
        age=st.sampled_from([0, 0, 1, 5, 30]),
    )
    def the_liar_shows(self, who: tuple[int, ...], back: int, later: int, expiry: int, age: int) -> None:
        """Records of some epoch, mostly the newest, in any attempt, cut at any slot: valid in all but what it means beside other votes."""
        row = self.seen[-1 - back % len(self.seen)]
        cut = max(self.line.world.slot("confirmed") - age, 1)
        attempt = min(max(row.attempt + later, 0), U32_MAX)
        if later == HIGHEST:
            attempt = max(highest_attempt(self.line.world.config().posted.cut_slot, cut), 0)
        shown = replace(row.message, attempt=attempt, cut_slot=cut, expiry_slot=cut + 1 + expiry)
        for index in who:
            self.turn(index, row.epoch, attempt, shown)

    @rule(index=st.integers(0, 2))
    def restarts(self, index: int) -> None:
        self.line.honest[index].restart()

    @rule(index=st.integers(0, 2))
    def will_die_before_sending(self, index: int) -> None:
        self.line.honest[index].door.dies = True

    @rule(index=st.integers(0, 2))
    def backup(self, index: int) -> None:
        self.line.honest[index].backup()
        self.backed_up.add(index)

    @precondition(lambda self: self.backed_up)
    @rule(data=st.data(), minimal=st.booleans())
    def goes_on_from_the_backup_after_an_import(self, data: st.DataObject, minimal: bool) -> None:
        one = self.line.honest[data.draw(st.sampled_from(sorted(self.backed_up)))]
        exported = one.protection.export()
        if minimal:
            exported["metadata"]["interchange_format_version"] = 1
            part = exported["data"][0]
            del part["floor_epoch"]
            part["signed_attestations"] = part["signed_attestations"][-1:]
        one.restore(exported)

    @rule(index=st.integers(0, 2))
    def a_second_process_on_the_same_key(self, index: int) -> None:
        one = self.line.honest[index]
        with pytest.raises(ProtectionLocked):
            SlashingProtection(one.path, DOMAIN, bytes(one.key.secret.public_key))

    # -- what must hold

    @invariant()
    def nobody_has_contradicted_himself(self) -> None:
        for one in self.honest:
            for (epoch, attempt), digests in one.door.released.items():
                assert len(digests) == 1, f"two signatures for epoch {epoch} attempt {attempt}: {digests}"

    @invariant()
    def no_attempt_is_more_than_time_allows(self) -> None:
        """Every later cut has a higher number to go on with."""
        for one in self.honest:
            for message in one.door.signatures.values():
                assert message.attempt < message.cut_slot <= self.line.world.slot()

    @invariant()
    def one_certificate_at_most_may_land(self) -> None:
        """Of all certificates of an epoch on one parent, with the fourth validator's help: when one comes to be, the older ones can no
        longer land on any chain that extends what is final."""
        if not hasattr(self, "line"):
            return
        world = self.line.world
        for digest, message in self.released().items():
            before = self.certified.setdefault(message.epoch, {})
            signers = sum(digest in one.door.signatures for one in self.honest) + 1
            if digest in before or 3 * signers < 2 * 4:
                continue
            for other in before.values():
                if other.parent_hash == message.parent_hash:
                    assert other.expiry_slot < world.slot("finalized"), f"both may land: {other}, {message}"
                    assert world.checkpoint(other.epoch, "finalized") is None
            before[digest] = message

    @property
    def honest(self) -> list[HonestValidator]:
        return self.line.honest if hasattr(self, "line") else []

    def released(self) -> dict[bytes, CheckpointMessage]:
        return {digest: message for one in self.honest for digest, message in one.door.signatures.items()}

    # -- the end

    def teardown(self) -> None:
        if not hasattr(self, "line"):
            return
        try:
            self.recovers()
        finally:
            self.line.close()
            self.folder.cleanup()

    def recovers(self) -> None:
        """Without faults, within the attempts that a liar may have used up."""
        for node in self.line.nodes:
            node.behind, node.silent, node.drops, node.lie = 0, False, False, None
        for one in self.honest:
            one.door.dies = False
        world, sequencer = self.line.world, self.line.sequencer
        world.advance(FINALIZED_DEPTH)
        start = world.config("processed").posted.epoch
        if any(one.protection.floor > start for one in self.honest):
            # The price of importing the newest vote alone: epochs below it stay closed, even those that L1 took back.
            event("closed by a minimal import")
            return
        for _ in range(16):
            world.deposit()
            world.advance(CONFIRMED_DEPTH + 1)
            self.attempt(sequencer.poll)
            self.attempt(sequencer.cut)
            if sequencer.current is not None:
                self.all_attest()
            for _ in range(4):
                self.attempt(lambda: while_slots_pass(world, 100, sequencer.step))
            if world.config("finalized").posted.epoch > start:
                event(f"posted again after {min(start, 3)}{'+' if start > 3 else ''} epochs")
                return
            world.advance(70)
        raise AssertionError(
            f"the chain stays at epoch {start}: {sequencer.node.lag()}, {sequencer.current}"
        ) from self.last_error


TestNobodyIsEverSlashable = Faults.TestCase
TestNobodyIsEverSlashable.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[one for one in Phase if BY_HAND or one not in (Phase.shrink, Phase.explain)],  # which take minutes
)
