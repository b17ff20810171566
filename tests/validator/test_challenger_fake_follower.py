"""The validator's challenger against the real program: it needs nobody's help, and a quorum that answers its demands only shows what it did.
The follower is a fake that holds what a real one would have found; L1 is one without delay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair

from settlement import dispute_instructions as build
from settlement import evidence, pda
from settlement.accounts import LOCALNET_PROFILE, Checkpoint, CheckpointStatus
from settlement.client import L1Client
from settlement.dispute_accounts import DemandKind
from settlement.ledger import State
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError
from tests.program.dispute_kit import Batch, fill, honest, post, post_liar, reject_liar, up
from tests.program.instant_l1 import InstantL1
from tests.program.kit import SOL, Chain
from tests.program.test_challenge_table import records_of_another, unsigned
from tests.program.test_dispute_proofs import malformed, thief_at_the_end, thief_in_the_middle
from validator.chain import Link
from validator.challenger import Asked, Challenger
from validator.follower import Unfollowed

BOND = LOCALNET_PROFILE.demand_bond_lamports
CHALLENGER = Keypair.from_seed(b"c" * 32)


@dataclass
class FakeFollower:
    unfollowed: Unfollowed | None


@dataclass
class FakeSequencer:
    """Shows no trace, or this one."""

    trace: list[bytes] | None = None

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        assert method == "getTrace"
        if self.trace is None:
            raise RpcError(Code.NOT_FOUND, "no trace", {})
        return {"stateRoots": [root.hex() for root in self.trace]}


class Scene:
    """A posted checkpoint that tells `told`, and a validator that has its bytes (or not) before it."""

    def __init__(self, folder: Path, lie: Callable[[Batch], Batch], has_data: bool = True, bonds: int = 20) -> None:
        self.chain: Chain = up()
        self.chain.svm.airdrop(CHALLENGER.pubkey(), SOL)
        self.told = lie(honest(self.chain))
        self.checkpoint: Checkpoint = post(self.chain, self.told)
        data = self.told.data if has_data else None
        genesis = Link(None, State.empty())
        self.follower = FakeFollower(Unfollowed(self.checkpoint, genesis, self.told.context, data, "false"))
        self.sequencer, self.bonds, self.path = FakeSequencer(), bonds, folder / "asked.json"
        self.node = InstantL1(self.chain)
        self.restart()

    def restart(self) -> None:
        client = L1Client(self.node, self.chain.program_id)
        self.challenger = Challenger(
            client,
            self.sequencer,  # type: ignore[arg-type]
            self.chain.domain,
            CHALLENGER,
            self.follower,  # type: ignore[arg-type]
            Asked(self.path),
            self.bonds * BOND,
            withheld_seconds=0,
        )

    async def once(self) -> CheckpointStatus:
        await self.challenger.once()
        return self.chain.checkpoint(1).status

    @property
    def open(self) -> list[tuple[DemandKind, int]]:
        found = []
        for place in self.challenger._asked.of(1):
            held = self.chain.svm.get_account(pda.demand(self.chain.program_id, 1, *place))
            if held is not None and held.lamports:
                found.append(place)
        return found

    async def answer(self) -> None:
        """The liars show all that was demanded, as L1 wants it; through the node, so that its history has it."""
        for number, (kind, index) in enumerate(self.open, len(self.node.landed)):
            leaves = {1: self.told.chunks, 2: list(self.told.encoded), 3: list(self.told.trace)}[kind]
            payer, program = self.chain.payer, self.chain.program_id
            client = L1Client(self.node, program)
            if index >= len(leaves):
                count = evidence.count(leaves)
                made = [
                    build.answer_absent(
                        program, payer.pubkey(), self.checkpoint, (kind, index), CHALLENGER.pubkey(), count
                    )
                ]
            else:
                shown = evidence.leaf_answer(leaves, index)
                if kind is DemandKind.RECORD:
                    shown = evidence.record_answer(self.told.data, len(leaves), index)
                address = await self._filled(client, shown, number)
                made = [
                    build.answer_demand(
                        program, payer.pubkey(), self.checkpoint, (kind, index), CHALLENGER.pubkey(), address
                    )
                ]
            await client.send_and_confirm(made, payer, compute_unit_limit=1_400_000)

    async def _filled(self, client: L1Client, data: bytes, buffer_id: int) -> Any:
        """By the chain's own node, so that the history of the buffer is there to read."""
        waiting: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.chain, "send", lambda *batch: waiting.append(batch))
            address = fill(self.chain, data, buffer_id)
        for batch in waiting:
            await client.send_and_confirm(list(batch), self.chain.payer)
        return address

    async def to_the_end(self) -> int:
        """Until it is rejected; how many rounds of answers that took."""
        for rounds in range(12):
            if await self.once() is CheckpointStatus.REJECTED:
                return rounds
            await self.answer()
        raise AssertionError("not rejected")

    async def clean_up(self) -> None:
        """What remains after a rejection: bonds, slashes."""
        self.follower.unfollowed = None
        await self.once()
        await self.once()
        assert self.open == [] and self.challenger._asked.epochs == []
        assert self.chain.config.pending_slashes == 0
        assert self.chain.checkpoint(1).slashed_bitmap == self.chain.checkpoint(1).bitmap
        assert self.chain.checkpoint(1).open_demands == 0


async def test_a_proof_is_filed_and_all_signers_are_slashed(tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path, malformed)
    assert await scene.once() is CheckpointStatus.REJECTED
    await scene.clean_up()


async def test_a_trace_that_the_sequencer_shows_needs_no_demand(tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path, thief_in_the_middle)
    scene.sequencer.trace = list(scene.told.trace)
    assert await scene.once() is CheckpointStatus.REJECTED
    await scene.clean_up()


@pytest.mark.parametrize("lie", [thief_in_the_middle, thief_at_the_end], ids=lambda lie: lie.__name__)
async def test_liars_who_answer_show_what_they_did(lie: Any, tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path, lie)
    assert await scene.to_the_end() <= 2
    await scene.clean_up()


async def test_bytes_that_are_shown_piece_by_piece_are_judged(tmp_path: Path, autojump_clock: Any) -> None:
    """The batch was withheld; its signers show the chunks, and one of its records is none."""
    scene = Scene(tmp_path, malformed, has_data=False)
    assert await scene.once() is CheckpointStatus.POSTED and scene.open == [], "it may come still"
    scene.chain.advance(LOCALNET_PROFILE.challenge_window_slots // 2)
    assert 2 <= await scene.to_the_end() <= 3
    await scene.clean_up()


@pytest.mark.parametrize("lie", [records_of_another, unsigned], ids=lambda lie: lie.__name__)
async def test_what_nobody_answers_is_rejected_in_time(lie: Any, tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path, lie)
    for _ in range(2):
        assert await scene.once() is CheckpointStatus.POSTED
        scene.restart()
    asked = scene.challenger._asked.of(1)
    assert asked and sorted(scene.open) == sorted(asked)
    scene.chain.advance(LOCALNET_PROFILE.answer_slots + 1)
    assert await scene.once() is CheckpointStatus.REJECTED
    await scene.clean_up()


async def test_no_more_is_staked_on_a_checkpoint_than_allowed(tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path, thief_in_the_middle, bonds=2)
    before = scene.chain.lamports(CHALLENGER.pubkey())
    for _ in range(3):
        await scene.once()
        await scene.answer()
        scene.restart()
    assert len(scene.challenger._asked.of(1)) == 2
    assert before - scene.chain.lamports(CHALLENGER.pubkey()) < 2 * BOND + 100_000


async def test_a_checkpoint_that_somebody_else_brought_down(tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path, thief_in_the_middle)
    await scene.once()
    assert scene.open
    scene.path, first = tmp_path / "rival.json", scene.challenger
    scene.restart()
    scene.sequencer.trace = list(scene.told.trace)
    assert await scene.once() is CheckpointStatus.REJECTED
    scene.challenger = first
    await scene.clean_up()


async def test_signers_are_slashed_after_l1_has_forgotten_the_void_range(tmp_path: Path, autojump_clock: Any) -> None:
    """Else no stake could ever be withdrawn again, when nobody was there in time."""
    scene = Scene(tmp_path, lambda told: told)
    reject_liar(scene.chain, liar := post_liar(scene.chain))
    scene.chain.advance(LOCALNET_PROFILE.challenge_window_slots + 1)
    scene.chain.finalize(1)
    head = scene.chain.config.posted
    scene.chain.settle(payable_total=head.payable_total, inbox_cursor=head.inbox_cursor)
    assert not scene.chain.config.is_void(liar.epoch) and scene.chain.config.pending_slashes == 4
    scene.follower.unfollowed = None
    await scene.once()
    assert scene.chain.config.pending_slashes == 0
    assert scene.chain.checkpoint(liar.epoch).slashed_bitmap == liar.bitmap
