"""The loop that answers demands: the real node, poster and program; only L1's nodes are a fake, so that slots are counted and nodes fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.hash import Hash
from solders.keypair import Keypair

from sequencer import answers, methods_validator, poster, traces
from sequencer.answers import Answers
from sequencer.errors import RpcError
from sequencer.l1_port import ClientPort
from sequencer.params import GetTrace
from sequencer.rows import EpochRow
from settlement import answering, buffers, evidence, idl, instructions
from settlement import dispute_instructions as build
from settlement.accounts import LOCALNET_PROFILE, Checkpoint
from settlement.buffers import Payer
from settlement.dispute_accounts import Demand, decode_demand
from settlement.errors import L1Unreachable
from settlement.ledger import batch
from settlement.transactions import Confirmed, sign
from tests import fake_l1
from tests.fake_l1 import CONFIRMED_DEPTH, PAYER, PROGRAM, SECOND_PAYER, World
from tests.posting_kit import Sequencer, client_of, while_slots_pass

SLOTS = 400
DEPOSITS = 20  # 5,280 bytes: six chunks, four trace entries
CHUNK, RECORD, TRACE = 1, 2, 3
FAR = 2**64 - 1
ALL_KINDS = [(CHUNK, 0), (CHUNK, 5), (RECORD, 0), (RECORD, 19), (TRACE, 0), (TRACE, 3), (CHUNK, 6), (RECORD, FAR)]


@pytest.fixture
async def sequencer(tmp_path: Path) -> AsyncIterator[Sequencer]:
    world = World.new()
    made = await Sequencer.open(world, fake_l1.nodes(world, 1), tmp_path)
    yield made
    made.close()


async def posted(sequencer: Sequencer) -> EpochRow:
    for _ in range(DEPOSITS - 1):
        sequencer.world.deposit()
    return await sequencer.posted()


def demand(sequencer: Sequencer, epoch: int, places: Sequence[tuple[int, int]]) -> None:
    """Opened in one block by somebody else, and confirmed."""
    world = sequencer.world
    blockhash = Hash.from_string(world.blocks[-1].blockhash)
    for kind, index in places:
        opened = build.open_demand(PROGRAM, SECOND_PAYER.pubkey(), epoch, kind, index)
        world.submit(sign([opened], SECOND_PAYER, (), blockhash, 0).raw)
    world.advance()
    world.advance(CONFIRMED_DEPTH)


def open_demands(sequencer: Sequencer) -> list[Demand]:
    found = sequencer.world.at("processed").accounts
    name = idl.committed().account_discriminator("Demand")
    return [decode_demand(key, bytes(one.data)) for key, one in found.items() if bytes(one.data).startswith(name)]


def none_open(sequencer: Sequencer, buffers: int | None = None) -> None:
    # Apart from the assertions: pytest would print the whole chain, which takes minutes.
    left, filled = open_demands(sequencer), buffers_on_l1(sequencer)
    assert left == [] and buffers in (None, filled)


def buffers_on_l1(sequencer: Sequencer) -> int:
    name = idl.committed().account_discriminator("ProofBuffer")
    return sum(bytes(one.data).startswith(name) for one in sequencer.world.at("processed").accounts.values())


async def step(sequencer: Sequencer, loop: Answers, port: ClientPort | None = None) -> bool | None:
    await sequencer.poll()
    return await while_slots_pass(sequencer.world, SLOTS, lambda: loop.step(sequencer.node, port or sequencer.port))


async def finalize(sequencer: Sequencer, epoch: int) -> None:
    world = sequencer.world
    found = world.checkpoint(epoch)
    assert found is not None
    world.advance(max(found.challenge_until_slot + 1 - world.slot("processed"), 0))
    world.do(instructions.finalize_checkpoint(PROGRAM, PAYER.pubkey(), epoch, found.poster))


async def test_everything_that_can_be_demanded_is_answered(autojump_clock: Any, sequencer: Sequencer) -> None:
    row, loop = await posted(sequencer), Answers()
    assert not await step(sequencer, loop)
    demand(sequencer, row.epoch, ALL_KINDS)
    count = len(open_demands(sequencer))
    assert count == len(ALL_KINDS)
    sequencer.world.advance(LOCALNET_PROFILE.answer_slots // answers.LOOKS)
    before = sequencer.world.svm.get_balance(PAYER.pubkey())
    assert await step(sequencer, loop)
    none_open(sequencer, buffers=0)
    gained = (sequencer.world.svm.get_balance(PAYER.pubkey()) or 0) - (before or 0)
    bonds = len(ALL_KINDS) * LOCALNET_PROFILE.demand_bond_lamports
    assert bonds - 40 * 10_000 < gained < bonds
    await finalize(sequencer, row.epoch)


async def test_a_restart_computes_the_trace_again(autojump_clock: Any, sequencer: Sequencer) -> None:
    first = await posted(sequencer)
    second = await posted(sequencer)
    kept = dict(sequencer.node.traces)
    assert set(kept) == {first.hash, second.hash}
    sequencer.restart()
    sequencer.node.traces.clear()
    for _ in kept:
        assert await Answers().step(sequencer.node, sequencer.port)
    assert sequencer.node.traces == kept
    sequencer.node.blobs.remove(first.data_sha256.hex())
    demand(sequencer, first.epoch, [(TRACE, 1), (RECORD, 2)])
    demand(sequencer, second.epoch, [(TRACE, 1)])
    assert await step(sequencer, Answers())
    none_open(sequencer)


async def test_a_trace_that_comes_out_otherwise_is_told_and_not_shown(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, asked = await sequencer.certified(), 0

    def wrong(*_: Any) -> tuple[bytes, ...]:
        nonlocal asked
        asked += 1
        return (bytes(32),)

    monkeypatch.setattr(traces, "_computed", wrong)
    sequencer.node.traces.clear()
    for _ in range(3):
        assert not await traces.step(sequencer.node)
    assert asked == 1 and "trace of epoch 1 cannot be computed again" in sequencer.node.alarms["trace"]
    with pytest.raises(RpcError, match="is to be computed again"):
        methods_validator.get_trace(sequencer.node, GetTrace(epoch=row.epoch))


class Hurried(ClientPort):
    """Somebody else answers the demand for an index that is not there just before this port does."""

    world: World

    async def answer(
        self, checkpoint: Checkpoint, demand: Demand, data: bytes, trace: Any, price_micro_lamports: int
    ) -> Confirmed | None:
        leaves = batch.chunks(data)
        place = (demand.kind, demand.index)
        if demand.index >= len(leaves):
            count = evidence.count(leaves)
            self.world.do(build.answer_absent(PROGRAM, PAYER.pubkey(), checkpoint, place, demand.demander, count))
        return await super().answer(checkpoint, demand, data, trace, price_micro_lamports)


async def test_a_buffer_for_what_somebody_else_answered_is_closed(autojump_clock: Any, sequencer: Sequencer) -> None:
    row = await posted(sequencer)
    demand(sequencer, row.epoch, [(CHUNK, 1)])
    data = sequencer.node.blobs.read(row.data_sha256, 10**6)
    client, (one,) = client_of(fake_l1.nodes(sequencer.world, 1)), open_demands(sequencer)
    checkpoint = sequencer.world.checkpoint(row.epoch)
    assert checkpoint is not None
    for keypair, wins in ((SECOND_PAYER, True), (PAYER, False)):
        done = await while_slots_pass(
            sequencer.world,
            SLOTS,
            lambda: answering.answer(client, keypair, checkpoint, one, data),  # noqa: B023
        )
        assert (done is not None) is wins
    none_open(sequencer, buffers=0)


async def test_somebody_faster_is_no_failure(autojump_clock: Any, sequencer: Sequencer) -> None:
    row, loop = await posted(sequencer), Answers()
    demand(sequencer, row.epoch, [(CHUNK, 6), (CHUNK, 1), (CHUNK, FAR)])
    port = Hurried(client_of(fake_l1.nodes(sequencer.world, 1)), PAYER)
    port.world = sequencer.world
    assert await step(sequencer, loop, port)
    for _ in range(3):
        sequencer.world.advance(LOCALNET_PROFILE.answer_slots // answers.LOOKS)
        await step(sequencer, loop, port)
    none_open(sequencer, buffers=0)
    assert loop.tried == {}


async def test_a_buffer_is_gone_on_with_or_closed_after_a_crash(autojump_clock: Any, sequencer: Sequencer) -> None:
    row = await posted(sequencer)
    demand(sequencer, row.epoch, [(CHUNK, 0), (CHUNK, 1)])
    data = sequencer.node.blobs.read(row.data_sha256, 10**6)
    payer = Payer(client_of(fake_l1.nodes(sequencer.world, 1)), PAYER)
    half, whole = sorted(open_demands(sequencer), key=lambda one: one.index)
    for one, length in ((half, 500), (whole, None)):
        shown = evidence.leaf_answer(batch.chunks(data), one.index)[:length]
        await while_slots_pass(sequencer.world, 40, lambda: buffers.fill(payer, answering.buffer_id(one), shown))  # noqa: B023
    gone = replace(half, index=7)
    await while_slots_pass(sequencer.world, 40, lambda: buffers.fill(payer, answering.buffer_id(gone), bytes(32)))
    await while_slots_pass(sequencer.world, 40, lambda: buffers.fill(payer, 77, bytes(64)))
    count = buffers_on_l1(sequencer)
    assert count == 4
    assert await step(sequencer, Answers())
    none_open(sequencer)
    (left,) = await payer.client.proof_buffers_of(PAYER.pubkey(), "processed")
    assert left == 77  # not an answer's: somebody's own


async def test_a_fork_takes_an_answer_back(autojump_clock: Any, sequencer: Sequencer) -> None:
    row, loop = await posted(sequencer), Answers()
    demand(sequencer, row.epoch, [(CHUNK, 0)])
    opened = sequencer.world.slot("processed")
    assert await step(sequencer, loop)
    sequencer.world.fork(sequencer.world.slot("processed") - opened)
    sequencer.world.advance(CONFIRMED_DEPTH + 1)
    count = len(open_demands(sequencer))
    assert count == 1
    assert await step(sequencer, loop)
    none_open(sequencer)


async def test_a_silent_l1_ends_the_round_and_no_more(autojump_clock: Any, sequencer: Sequencer) -> None:
    row, loop = await posted(sequencer), Answers()
    demand(sequencer, row.epoch, ALL_KINDS)
    nodes = fake_l1.nodes(sequencer.world, 1)
    nodes[0].lie = _silent_on("getLatestBlockhash")
    port = ClientPort(client_of(nodes), PAYER)
    with pytest.RaisesGroup(L1Unreachable):
        await step(sequencer, loop, port)
    nodes[0].lie = None
    assert await step(sequencer, loop, port)
    none_open(sequencer)


def _silent_on(silenced: str) -> fake_l1.Lie:
    def lie(method: str, params: Sequence[Any], answer: Any) -> Any:
        if method == silenced:
            raise L1Unreachable("http://node-0", method, 1, "silent")
        return answer

    return lie


async def test_whoever_does_not_answer_is_told_so(autojump_clock: Any, sequencer: Sequencer) -> None:
    """A node that drops transactions: the answers fail, an alarm is raised at half of the time, and ends with the answer."""
    row, loop = await posted(sequencer), Answers()
    demand(sequencer, row.epoch, [(CHUNK, 0)])
    (node,) = nodes = fake_l1.nodes(sequencer.world, 1)
    port = ClientPort(client_of(nodes), PAYER)
    node.drops = True
    (held,) = open_demands(sequencer)
    assert not await step(sequencer, loop, port)
    assert "demands" not in sequencer.node.alarms and loop.tried[row.epoch, CHUNK, 0].failures == 1
    half = (held.opened_slot + held.answer_until_slot) // 2 + 1
    sequencer.world.advance(half + CONFIRMED_DEPTH - sequencer.world.slot("processed"))
    node.drops = False
    assert await step(sequencer, loop, port)
    assert f"must be answered by slot {held.answer_until_slot}" in sequencer.node.alarms["demands"]
    assert not await step(sequencer, loop, port)
    assert "demands" not in sequencer.node.alarms


async def test_it_can_be_turned_off(autojump_clock: Any, sequencer: Sequencer) -> None:
    row = await posted(sequencer)
    demand(sequencer, row.epoch, [(CHUNK, 0)])
    config = sequencer.node.config
    sequencer.node.config = config.model_copy(update={"answer_demands": False})
    assert not await step(sequencer, Answers())
    count = len(open_demands(sequencer))
    assert count == 1


async def test_a_flood_is_answered_in_time_order_beside_posting(autojump_clock: Any, sequencer: Sequencer) -> None:
    """200 demands over several blocks; another epoch is posted while they are being answered."""
    sequencer.world.svm.airdrop(SECOND_PAYER.pubkey(), 100 * 10**9)
    row, loop = await posted(sequencer), Answers()
    places = [(kind, index) for index in range(80) for kind in (CHUNK, RECORD, TRACE)][:200]
    for start in range(0, 200, 50):
        demand(sequencer, row.epoch, places[start : start + 50])
    deadlines = {one.answer_until_slot for one in open_demands(sequencer)}
    assert len(deadlines) == 4
    await sequencer.certified()
    told: list[int] = []

    class Told(ClientPort):
        async def answer(self, checkpoint: Checkpoint, demand: Demand, *rest: Any) -> Confirmed | None:
            told.append(demand.answer_until_slot)
            return await super().answer(checkpoint, demand, *rest)

    port = Told(client_of(fake_l1.nodes(sequencer.world, 1)), PAYER)
    posted_after = 0

    async def both() -> bool:
        nonlocal posted_after
        async with trio.open_nursery() as nursery:

            async def post() -> None:
                nonlocal posted_after
                assert await poster.step(sequencer.node, sequencer.port)
                posted_after = len(told)

            nursery.start_soon(post)
            while await loop.step(sequencer.node, port):
                await sequencer.poll()
        return True

    await sequencer.poll()
    assert await while_slots_pass(sequencer.world, LOCALNET_PROFILE.answer_slots - 100, both)
    none_open(sequencer)
    assert len(told) == 200
    assert told == sorted(told), "what ends first is answered first"
    assert 0 < posted_after < 100, "the post landed while demands were open"
    assert sequencer.node.chain.position.posted[-1].row.epoch == row.epoch + 1


def test_what_fails_waits_ever_longer_and_holds_nobody_up() -> None:
    base = Demand(1, RECORD, 0, Keypair().pubkey(), 1, 100, 700)
    found = [answers.Due(None, None, replace(base, index=i, answer_until_slot=700 - i)) for i in range(3)]  # type: ignore[arg-type]
    tried = {found[2].place: answers.Tried()}
    assert [due.demand.index for due in answers.due_now(found, tried, 110)] == [2, 1, 0]
    pauses = []
    for _ in range(8):
        tried[found[2].place].failed(110)
        pauses.append(tried[found[2].place].until_slot - 110)
    assert pauses == [1, 2, 4, 8, 16, 32, 32, 32]
    assert [due.demand.index for due in answers.due_now(found, tried, 111)] == [1, 0]
    assert [due.demand.index for due in answers.due_now(found, tried, 142)] == [2, 1, 0]
    assert [due.demand.index for due in answers.due_now(found, {}, 699)] == [1, 0], "too late for the first"
    assert not answers.is_late(base, 400) and answers.is_late(base, 401)
