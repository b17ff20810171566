"""Validators that answer demands which the sequencer leaves open: real followers, attesters and program; only L1's nodes are a fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from solders.hash import Hash
from solders.keypair import Keypair

from settlement import dispute_instructions as build
from settlement import idl
from settlement.accounts import LOCALNET_PROFILE
from settlement.dispute_accounts import Demand, decode_demand
from settlement.errors import L1Unreachable
from settlement.transactions import sign
from tests.fake_l1 import CONFIRMED_DEPTH, PROGRAM, SECOND_PAYER
from tests.posting_kit import HonestValidator, Line, client_of, while_slots_pass
from tests.program.kit import SOL
from validator.answers import Answerer, due_slot

THIRD = LOCALNET_PROFILE.answer_slots // 3
PLACES = [(1, 0), (1, 7), (2, 0), (3, 0), (3, 1), (3, 2**64 - 1)]


def demand_at(index: int, opened: int = 1_000) -> Demand:
    return Demand(7, 2, index, Keypair().pubkey(), 1, opened, opened + 600)


def test_the_first_third_is_the_sequencers_and_the_last_everybodys() -> None:
    for index in range(40):
        slots = [due_slot(demand_at(index), (member, 4)) for member in range(4)]
        assert sorted(slots) == [1_200, 1_250, 1_300, 1_350], "one after another in the second third"
    first = [min(range(4), key=lambda m: due_slot(demand_at(index), (m, 4))) for index in range(4)]
    assert sorted(first) == [0, 1, 2, 3], "each demand begins with another one"
    assert due_slot(demand_at(0), (None, 4)) == 1_400
    assert all(1_200 <= due_slot(demand_at(0), (member, 256)) < 1_400 for member in range(256))
    short = Demand(1, 1, 0, Keypair().pubkey(), 1, 10, 11)
    assert due_slot(short, (3, 4)) == 10, "no time to wait in"


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    made = await Line.open(tmp_path, urls=1)
    yield made
    made.close()


def open_demands(line: Line) -> list[Demand]:
    found = line.world.at("processed").accounts
    name = idl.committed().account_discriminator("Demand")
    return [decode_demand(key, bytes(one.data)) for key, one in found.items() if bytes(one.data).startswith(name)]


def none_open(line: Line) -> None:
    # Apart from the assertion: pytest would print the whole line, which takes minutes.
    left = open_demands(line)
    assert left == []


async def demanded(line: Line) -> list[Demand]:
    """An epoch that three validators signed, and everything demanded of it in one block."""
    row, world = await line.epoch(), line.world
    blockhash = Hash.from_string(world.blocks[-1].blockhash)
    for kind, index in PLACES:
        opened = build.open_demand(PROGRAM, SECOND_PAYER.pubkey(), row.epoch, kind, index)
        world.submit(sign([opened], SECOND_PAYER, (), blockhash, 0).raw)
    world.advance(1 + CONFIRMED_DEPTH)
    for validator in line.honest:
        world.svm.airdrop(validator.key.authority.pubkey(), SOL)
    found = open_demands(line)
    assert len(found) == len(PLACES)
    return found


def answerer(line: Line, validator: HonestValidator) -> Answerer:
    return Answerer(client_of(line.nodes), validator.key.authority, validator.batches)


async def turn(line: Line, validator: HonestValidator) -> None:
    await while_slots_pass(line.world, 30, answerer(line, validator).once)


def advance_to(line: Line, slot: int) -> None:
    line.world.advance(max(slot - line.world.slot("confirmed"), 0))


async def test_each_steps_in_at_its_time(autojump_clock: Any, line: Line) -> None:
    found = await demanded(line)
    opened = found[0].opened_slot
    for validator in line.honest:
        await turn(line, validator)
    left = len(open_demands(line))
    assert left == len(PLACES), "the first third is the sequencer's"
    advance_to(line, opened + THIRD)
    for validator in line.honest:
        await turn(line, validator)
        now, before = len(open_demands(line)), left
        assert now <= before
        left = now
    assert 0 < left < len(PLACES), "some begin with the validator that is not there"
    advance_to(line, opened + 2 * THIRD)
    await turn(line, line.honest[0])
    none_open(line)


async def test_one_alone_answers_all_from_its_disk(autojump_clock: Any, line: Line) -> None:
    """The sequencer is gone for good, and the validator was restarted: it follows and answers from what it kept."""
    found = await demanded(line)
    validator = line.honest[1]
    validator.restart()

    async def gone(*_: Any) -> Any:
        raise L1Unreachable("http://sequencer", "anything", 1, "gone")

    validator.door.call = validator.door.get_blob = gone  # type: ignore[method-assign,assignment]
    await validator.follower.follow()
    assert validator.follower.chain.head.epoch == found[0].epoch
    advance_to(line, found[0].opened_slot + 2 * THIRD)
    await turn(line, validator)
    none_open(line)


async def test_what_others_pay_is_paid(autojump_clock: Any, line: Line) -> None:
    """L1 takes nothing below a price. There is no time to find that out by transactions that expire."""
    (found, *_) = await demanded(line)
    advance_to(line, found.opened_slot + 2 * THIRD)
    line.world.minimum_price, line.world.prices = 1_500, [1_500] * 20
    await turn(line, line.honest[0])
    none_open(line)


async def test_whoever_never_had_the_batch_says_so(autojump_clock: Any, line: Line) -> None:
    found = await demanded(line)
    validator = line.honest[0]
    validator.batches.forget_until(found[0].epoch)
    advance_to(line, found[0].opened_slot + 2 * THIRD)
    await turn(line, validator)
    left = len(open_demands(line))
    assert left == len(PLACES)


async def test_nothing_is_signed_that_cannot_be_kept(
    autojump_clock: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.world.deposit()
    line.world.advance(CONFIRMED_DEPTH)
    row = await line.sequencer.cut()
    assert row is not None
    validator = line.honest[0]

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("settlement.durable.write", full)
    with pytest.raises(Exception, match="No space left"):
        await validator.round(row.epoch, row.attempt)
    assert validator.door.released == {}
    monkeypatch.undo()
    assert await validator.round(row.epoch, row.attempt) is None
    assert validator.batches.of(row.hash) is not None
