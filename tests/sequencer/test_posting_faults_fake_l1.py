"""What can happen to a post between its signature and its finality, each with its protection and, in a twin, without. The L1 is a fake that
drops, forks, lags and lies (tests/fake_l1.py) around the real program; node, poster and client are the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.transaction import VersionedTransaction

from sequencer import epoch_loop, finality, poster
from sequencer.l1_port import ClientPort
from sequencer.lifecycle import CheckpointStatus
from settlement import fees, transactions
from settlement.accounts import LOCALNET_PROFILE
from settlement.accounts import CheckpointStatus as OnL1
from settlement.client import L1Client
from settlement.errors import L1Disagreement, TransactionExpired
from tests import fake_l1
from tests.fake_l1 import FINALIZED_DEPTH, PAYER, SECOND_PAYER, World, price_of
from tests.posting_kit import Sequencer, client_of, while_slots_pass

WINDOW = LOCALNET_PROFILE.challenge_window_slots
EXPIRY_SLOTS = LOCALNET_PROFILE.max_expiry_slots


@pytest.fixture
def world() -> World:
    return World.new()


@contextmanager
def closing(*sequencers: Sequencer) -> Iterator[None]:
    try:
        yield
    finally:
        for one in sequencers:
            one.close()


async def one_node(world: World, folder: Path) -> tuple[Sequencer, fake_l1.Node]:
    (node,) = fake_l1.nodes(world, 1)
    return await Sequencer.open(world, [node], folder), node


# -- a blockhash that expires before the transaction landed


async def crowded_out(sequencer: Sequencer) -> Any:
    """A certified epoch whose post waits in the pool, until its blockhash is too old on the newest block, though not on a final one."""
    world = sequencer.world
    row = await sequencer.certified()
    world.minimum_price = 1
    sent = await sequencer.port.sign_post(row, 0)
    with sequencer.node.database.transaction() as tx:
        sequencer.node.chain.note_sent(tx, sent)
    world.submit(sent.raw)
    world.advance(sent.last_valid_block_height + 1 - world.height)
    return sent


@pytest.fixture
def long_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts of the test's program end before a blockhash does; here the blockhash is what counts."""

    async def never(*rest: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(poster, "_end_when_expired", never)


async def test_a_blockhash_that_may_still_be_valid_on_the_final_chain_is_followed(
    autojump_clock: Any, world: World, tmp_path: Path, long_attempts: None
) -> None:
    sequencer, _ = await one_node(world, tmp_path)
    with closing(sequencer):
        sent = await crowded_out(sequencer)
        with trio.move_on_after(60) as waited:
            await sequencer.port.confirm(sent, True)
        assert waited.cancelled_caught
        world.advance(FINALIZED_DEPTH)
        with pytest.raises(TransactionExpired):
            await sequencer.port.confirm(sent, True)


async def test_twin_a_blockhash_judged_on_the_newest_block_leads_to_two_transactions(
    autojump_clock: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_attempts: None
) -> None:
    real = transactions.block_height
    monkeypatch.setattr(transactions, "block_height", lambda rpc, commitment: real(rpc, "processed"))
    sequencer, _ = await one_node(world, tmp_path)
    with closing(sequencer):
        sent = await crowded_out(sequencer)
        with pytest.raises(TransactionExpired):
            await sequencer.port.confirm(sent, True)
        world.minimum_price = 0
        again = await sequencer.port.sign_post(sequencer.current, 5)  # type: ignore[arg-type]
        # L1 takes the newest block back, and a node that still had the old transaction sends it again.
        world.submit(sent.raw)
        world.submit(again.raw)
        world.fork(1)
        assert {sent.signature, again.signature} <= world.statuses.keys(), "both are in the chain, two fees are paid"


async def test_a_post_that_is_dropped_is_signed_anew_only_after_its_last_valid_height_is_final(
    autojump_clock: Any, world: World, tmp_path: Path, long_attempts: None
) -> None:
    sequencer, node = await one_node(world, tmp_path)
    with closing(sequencer):
        await sequencer.certified()
        node.drops = True
        signed: list[tuple[int, int]] = []
        sign = sequencer.port.sign_post

        async def noting(row: Any, price_micro_lamports: int) -> Any:
            sent = await sign(row, price_micro_lamports)
            signed.append((node._getBlockHeight({"commitment": "finalized"}), sent.last_valid_block_height))
            return sent

        sequencer.port.sign_post = noting  # type: ignore[method-assign]
        for _ in range(2):
            await while_slots_pass(world, 400, sequencer.step)
        (_, last_valid), (height, _), *_ = signed
        assert height > last_valid


# -- a post that is called expired and did land


def says_expired(method: str, params: Sequence[Any], answer: Any) -> Any:
    if method == "getSignatureStatuses":
        return {**answer, "value": [None]}
    return 10**9 if method == "getBlockHeight" else answer


async def test_a_post_that_is_called_expired_and_did_land_is_found(
    autojump_clock: Any, world: World, tmp_path: Path
) -> None:
    sequencer, node = await one_node(world, tmp_path)
    with closing(sequencer):
        row = await sequencer.certified()
        sent = await sequencer.port.sign_post(row, 0)
        with sequencer.node.database.transaction() as tx:
            sequencer.node.chain.note_sent(tx, sent)
        world.submit(sent.raw)
        world.advance(FINALIZED_DEPTH + 5)
        node.lie = says_expired
        assert await while_slots_pass(world, 60, sequencer.step)
        assert len(sequencer.node.chain.position.posted[0].row.sent) == 1


async def test_twin_without_looking_for_the_account_it_is_sent_again(
    autojump_clock: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(port: Any, epoch: int) -> None:
        return None

    sequencer, node = await one_node(world, tmp_path)
    with closing(sequencer):
        row = await sequencer.certified()
        sent = await sequencer.port.sign_post(row, 0)
        with sequencer.node.database.transaction() as tx:
            sequencer.node.chain.note_sent(tx, sent)
        world.submit(sent.raw)
        world.advance(5)
        node.lie = says_expired
        monkeypatch.setattr(poster, "_look", blind)
        await while_slots_pass(world, 60, sequencer.step)
        assert sequencer.current is not None and len(sequencer.current.sent) == 2


# -- two sequencers post the same epoch


async def two_sequencers(world: World, folder: Path) -> tuple[Sequencer, Sequencer]:
    """Both have cut and certified the same epoch of the same deposit."""
    made = []
    for name, payer in (("one", PAYER), ("two", SECOND_PAYER)):
        place = folder / name
        place.mkdir()
        made.append(await Sequencer.open(world, fake_l1.nodes(world, 1), place, payer))
    world.deposit()
    world.advance(fake_l1.CONFIRMED_DEPTH)
    for one in made:
        one.node.unix_time = lambda: 7.0
        assert await one.cut()
        one.attest()
        assert await one.step()
    assert made[0].current is not None and made[1].current is not None
    assert made[0].current.hash == made[1].current.hash
    return made[0], made[1]


async def test_of_two_sequencers_one_posts_and_the_other_finds_the_epoch_posted(
    autojump_clock: Any, world: World, tmp_path: Path
) -> None:
    one, two = await two_sequencers(world, tmp_path)
    with closing(one, two):

        async def both() -> bool:
            async with trio.open_nursery() as nursery:
                for sequencer in (one, two):
                    nursery.start_soon(sequencer.step)
            return True

        assert await while_slots_pass(world, 60, both)
        for sequencer in (one, two):
            if sequencer.current is not None:
                assert await while_slots_pass(world, 60, sequencer.step)
        posts = [s.node.chain.position.posted[0].row for s in (one, two)]
        assert posts[0].hash == posts[1].hash
        outcomes = [
            world.statuses[row.sent[0].signature].err for row in posts if row.sent[0].signature in world.statuses
        ]
        assert outcomes.count(None) == 1, "one checkpoint, and all that it pays, once"
        assert world.config("processed").highest_epoch == 1


async def test_twin_an_l1_that_pays_for_every_post_pays_twice(
    autojump_clock: Any, world: World, tmp_path: Path
) -> None:
    """What the program would be without the epoch's account: both transactions are executed on a chain that lost the first's effect."""
    one, two = await two_sequencers(world, tmp_path)
    with closing(one, two):
        executed = []
        for sequencer in (one, two):
            row = sequencer.current
            assert row is not None
            sent = await sequencer.port.sign_post(row, 0)
            world.submit(sent.raw)
            world.advance()
            executed.append(world.statuses[sent.signature].err)
            before = world.blocks[-2].accounts
            for address in world.blocks[-1].accounts.keys() - before.keys():
                world.svm.set_account(address, fake_l1.ABSENT)
            for address, account in before.items():
                world.svm.set_account(address, account)
        assert executed == [None, None]


# -- a fork that takes a confirmed post back


async def test_a_confirmed_post_that_a_fork_drops_is_posted_again_and_only_then_final(
    autojump_clock: Any, world: World, tmp_path: Path
) -> None:
    sequencer, _ = await one_node(world, tmp_path)
    with closing(sequencer):
        world.deposit()
        world.advance(FINALIZED_DEPTH)
        assert await sequencer.cut()
        sequencer.attest()
        assert await sequencer.step()
        assert await while_slots_pass(world, 40, sequencer.step)
        row = sequencer.node.chain.position.posted[0].row
        assert row.posted_slot is not None
        world.fork(world.depth_of(row.posted_slot))
        world.advance(fake_l1.CONFIRMED_DEPTH)
        for _ in range(2):
            await sequencer.poll()
        assert sequencer.current is not None and sequencer.current.status is CheckpointStatus.POSTING
        assert await while_slots_pass(world, 40, sequencer.step)
        again = world.checkpoint(1, "processed")
        assert again is not None and again.hash == row.hash
        world.advance(WINDOW + 2)
        await sequencer.poll()
        assert await while_slots_pass(world, 10, sequencer.finality_step)
        await sequencer.poll()
        assert not await sequencer.finality_step()
        assert sequencer.node.chain.position.finalized.epoch == 0, "final at confirmed is not final"
        world.advance(FINALIZED_DEPTH)
        await sequencer.poll()
        assert await sequencer.finality_step()
        assert sequencer.node.chain.position.finalized.epoch == 1


async def test_twin_who_believes_confirmed_has_paid_what_l1_forgets(
    autojump_clock: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequencer, _ = await one_node(world, tmp_path)
    real = ClientPort.checkpoint
    monkeypatch.setattr(ClientPort, "checkpoint", lambda port, epoch, _: real(port, epoch, "confirmed"))
    with closing(sequencer):
        row = await sequencer.posted()
        world.advance(WINDOW + 4)
        await sequencer.poll()
        assert await while_slots_pass(world, 10, sequencer.finality_step)
        await sequencer.poll()
        view = sequencer.node.view
        sequencer.node.view = type(view)(view.slot, view.finalized_slot, view.config, view.config, view.read_at)
        assert await finality.step(sequencer.node, sequencer.port)
        assert sequencer.node.chain.position.finalized.epoch == 1, "its records are gone from the store"
        assert row.posted_slot is not None
        world.fork(world.depth_of(row.posted_slot))
        world.advance(fake_l1.CONFIRMED_DEPTH)
        found = world.checkpoint(1)
        assert found is None or found.status is not OnL1.FINALIZED
        assert sequencer.node.chain.position.in_flight == (), "and nothing is left to post again"


# -- fees


def test_a_price_doubles_up_to_its_cap() -> None:
    prices = [fees.price(10, unlanded, start=1_000, cap=20_000) for unlanded in range(9)]
    assert prices == [10, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000]
    assert fees.price(50_000, 0, start=1_000, cap=20_000) == 20_000
    assert fees.price(10, 10**6, start=1_000, cap=20_000) == 20_000
    assert fees.price(3_000, 1, start=1_000, cap=20_000) == 3_000
    assert [fees.usual_price(said) for said in ([], [7], [1, 2, 3, 4], [0] * 99 + [10**12])] == [0, 7, 4, 0]


async def prices_until_posted(sequencer: Sequencer, limit: int) -> list[int]:
    """The prices offered for one epoch, until a post lands or so many attempts are over."""
    world, offered = sequencer.world, []
    sign = sequencer.port.sign_post

    async def noting(row: Any, price_micro_lamports: int) -> Any:
        offered.append(price_micro_lamports)
        return await sign(row, price_micro_lamports)

    async def look() -> None:
        while True:
            await sequencer.poll()
            await trio.sleep(1)

    async def post_or_give_up() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            while sequencer.current is not None:
                await sequencer.step()
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()

    sequencer.port.sign_post = noting  # type: ignore[method-assign]
    world.deposit()
    world.advance(FINALIZED_DEPTH)
    for _ in range(limit):
        assert await sequencer.cut()
        sequencer.attest()
        assert await sequencer.step()
        await while_slots_pass(world, 400, post_or_give_up)
        if sequencer.node.chain.position.posted:
            break
    return offered


async def test_a_fee_spike_is_met_step_by_step_and_told(autojump_clock: Any, world: World, tmp_path: Path) -> None:
    sequencer, _ = await one_node(world, tmp_path)
    with closing(sequencer):
        world.minimum_price = 3_000
        alarms: list[str] = []
        real = sequencer.node.raise_alarm
        sequencer.node.raise_alarm = lambda name, text: (alarms.append(text), real(name, text))[1]  # type: ignore[func-returns-value]
        offered = await prices_until_posted(sequencer, 6)
        assert sequencer.node.chain.position.posted
        assert offered == [0, 1_000, 2_000, 4_000]
        assert any("posts in a row did not land" in text for text in alarms)
        assert sequencer.node.lag() is None, "it landed: the alarm is over"


async def test_a_restart_goes_on_at_the_price_that_it_had_come_to(
    autojump_clock: Any, world: World, tmp_path: Path
) -> None:
    """A process that keeps dying would offer the lowest price for ever."""
    sequencer, node = await one_node(world, tmp_path)
    world.minimum_price = 3_000
    assert await prices_until_posted(sequencer, 2) == [0, 1_000]
    sequencer.close()
    sequencer = await Sequencer.open(world, [node], tmp_path)
    with closing(sequencer):
        assert sequencer.node.posts_unlanded == 2
        assert await prices_until_posted(sequencer, 2) == [2_000, 4_000]
        assert sequencer.node.chain.position.posted
    sequencer = await Sequencer.open(world, [node], tmp_path)
    with closing(sequencer):
        assert sequencer.node.posts_unlanded == 0


async def test_twin_without_escalation_it_never_lands(
    autojump_clock: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fees, "price", lambda usual, unlanded, *, start, cap: usual)
    sequencer, _ = await one_node(world, tmp_path)
    with closing(sequencer):
        world.minimum_price = 3_000
        assert await prices_until_posted(sequencer, 6) == [0] * 6
        assert not sequencer.node.chain.position.posted
        assert "did not land" in (sequencer.node.lag() or "")


async def test_what_others_pay_is_where_it_starts_and_the_cap_where_it_ends(
    autojump_clock: Any, world: World, tmp_path: Path
) -> None:
    sequencer, _ = await one_node(world, tmp_path)
    with closing(sequencer):
        world.prices = [1_500] * 10
        world.minimum_price = 1_500
        assert await prices_until_posted(sequencer, 1) == [1_500]
        (sent,) = sequencer.node.chain.position.posted[0].row.sent
        assert price_of(VersionedTransaction.from_bytes(sent.raw)) == 1_500
        world.prices = [10**15]
        assert await prices_until_posted(sequencer, 1) == [sequencer.node.config.priority_fee_cap_micro_lamports]


# -- nodes that contradict each other


def hides_posts(method: str, params: Sequence[Any], answer: Any) -> Any:
    """All checkpoints are gone and everything is long past, says this node."""
    if method in ("getSlot", "getBlockHeight"):
        return answer + 500
    if method == "getMultipleAccounts":
        return {"context": {"slot": answer["context"]["slot"] + 500}, "value": [None] * len(answer["value"])}
    if method == "getAccountInfo" and len(answer["value"]["data"][0] if answer["value"] else "") < 800:
        return {**answer, "value": None}
    return answer


@pytest.mark.parametrize(("urls", "given_up"), [(3, False), (1, True)])
async def test_one_liar_of_three_cannot_make_it_give_up_a_live_attempt(
    autojump_clock: Any, world: World, tmp_path: Path, urls: int, given_up: bool
) -> None:
    """The twin asks the liar alone: it believes that the attempt is dead, though it may land at any moment."""
    nodes = fake_l1.nodes(world, urls)
    sequencer = await Sequencer.open(world, nodes, tmp_path)
    with closing(sequencer):
        row = await sequencer.certified()
        nodes[0].lie = hides_posts
        for node in nodes:
            node.drops = True
        await sequencer.poll()
        assert (sequencer.node.view.finalized_slot > row.expiry_slot) == given_up
        dead = await epoch_loop.can_no_longer_land(sequencer.node, sequencer.port, row.epoch, row.expiry_slot)
        assert dead == given_up
        if urls == 3:
            await sequencer.poll()
            troubles = sequencer.port.troubles
            assert "contradicts" in (troubles["http://node-0"] or "") and not troubles["http://node-1"]


async def test_two_that_disagree_stop_the_sequencer_with_an_alarm_until_they_agree(
    autojump_clock: Any, world: World, tmp_path: Path
) -> None:
    nodes = fake_l1.nodes(world, 2)
    sequencer = await Sequencer.open(world, nodes, tmp_path)
    with closing(sequencer):
        await sequencer.certified()
        view = sequencer.node.view
        nodes[1].lie = lambda method, params, answer: (
            {**answer, "value": {**answer["value"], "lamports": 1}}
            if method == "getAccountInfo" and answer["value"]
            else answer
        )
        with pytest.raises(L1Disagreement):
            await sequencer.poll()
        assert sequencer.node.view is view, "nothing is guessed"
        assert "contradict each other" in (sequencer.node.lag() or "")
        nodes[1].lie = None
        await sequencer.poll()
        assert sequencer.node.lag() is None


def test_a_client_of_one_url_and_of_three() -> None:
    world = World.new()
    assert isinstance(client_of(fake_l1.nodes(world, 1)).rpc, fake_l1.Node)
    assert L1Client(["http://a", "http://b", "http://c"]).url == "http://a, http://b, http://c"
