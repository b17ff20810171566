"""Several L1 nodes asked as one, over nodes that lie, lag, hang or are gone. The twins ask the faulty node alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from settlement.agreement import LAG_SLOTS, agree, majority
from settlement.client import L1Client
from settlement.errors import L1Disagreement, L1RpcError, L1Unreachable, TransactionExpired
from settlement.pda import checkpoint as checkpoint_address
from settlement.quorum import PATIENCE_SECONDS, STRAGGLER_SECONDS, QuorumRpc
from settlement.rpc import RpcFailure
from tests import fake_l1
from tests.fake_l1 import BLOCKHASH_BLOCKS, FINALIZED_DEPTH, PAYER, PROGRAM, World, nodes


@dataclass
class Setting:
    world: World
    nodes: list[fake_l1.Node]
    rpc: QuorumRpc
    client: L1Client


@pytest.fixture
def three() -> Setting:
    return asked(3)


def asked(count: int) -> Setting:
    world = World.new()
    made = nodes(world, count)
    rpc = QuorumRpc(made)
    return Setting(world, made, rpc, L1Client(rpc, PROGRAM))


def far_ahead(method: str, params: Sequence[Any], answer: Any) -> Any:
    if method in ("getSlot", "getBlockHeight"):
        return answer + 1_000
    if not isinstance(answer, dict):
        return answer
    return {**answer, "context": {"slot": answer["context"]["slot"] + 1_000}}


def absent(method: str, params: Sequence[Any], answer: Any) -> Any:
    answer = far_ahead(method, params, answer)
    if method in ("getMultipleAccounts", "getSignatureStatuses"):
        return {**answer, "value": [None] * len(answer["value"])}
    return {**answer, "value": None} if method == "getAccountInfo" else answer


def test_a_majority_is_more_than_half() -> None:
    assert [majority(count) for count in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


def test_growing_numbers_are_what_a_majority_has_reached() -> None:
    for said, value in (((5, 7, 900), 7), ((0, 7, 8), 7), ((7, 7, 7), 7)):
        agreed = agree("getSlot", dict(enumerate(said)), 2)
        assert agreed is not None and agreed.value == value
    agreed = agree("getBlockHeight", {0: 7, 1: 8, 2: 8 + LAG_SLOTS + 1}, 2)
    assert agreed is not None and agreed.dissenters == {2}
    assert agree("getSlot", {0: 7}, 2) is None


def test_an_absence_is_dated_by_the_majority_too() -> None:
    """One node has it, one lags and does not yet, one lies: absent, but as of a slot that nobody is hurt by."""
    answers = {
        0: {"context": {"slot": 100}, "value": {"lamports": 1}},
        1: {"context": {"slot": 40}, "value": None},
        2: {"context": {"slot": 9_000}, "value": None},
    }
    agreed = agree("getAccountInfo", answers, 2)
    assert agreed is not None and agreed.value == {"context": {"slot": 40}, "value": None}


def test_a_status_is_what_a_majority_vouches_for() -> None:
    def said(level: str | None, slot: int = 5, err: Any = None) -> Any:
        status = None if level is None else {"slot": slot, "err": err, "confirmationStatus": level}
        return {"context": {"slot": 9}, "value": [status]}

    def merged(*answers: Any) -> Any:
        agreed = agree("getSignatureStatuses", dict(enumerate(answers)), 2)
        assert agreed is not None and not agreed.dissenters
        return agreed.value["value"][0]

    assert merged(said("finalized"), said(None), said(None)) is None
    assert merged(said("finalized"), said("processed"), said("confirmed"))["confirmationStatus"] == "confirmed"
    assert merged(said("confirmed"), said("confirmed", slot=6), said(None)) is None
    assert merged(said("confirmed", err="x"), said("confirmed"), said("confirmed"))["err"] is None


async def test_one_liar_of_three_is_outvoted_and_named(autojump_clock: Any, three: Setting) -> None:
    three.nodes[1].lie = far_ahead
    true_slot = three.world.slot("finalized")
    assert await three.client.get_slot("finalized") == true_slot
    assert three.rpc.troubles == dict.fromkeys(n.url for n in three.nodes), "a moment's difference is no lie"
    await trio.sleep(PATIENCE_SECONDS)
    await three.client.get_slot("finalized")
    assert "contradicts the other L1 nodes on getSlot" in str(three.rpc.troubles["http://node-1"])
    three.nodes[1].lie = None
    await three.client.get_slot("finalized")
    assert not any(three.rpc.troubles.values())
    # The twin: asked alone, it is believed.
    three.nodes[1].lie = far_ahead
    assert await L1Client(three.nodes[1], PROGRAM).get_slot("finalized") == true_slot + 1_000


async def test_a_checkpoint_that_one_node_hides_is_there(autojump_clock: Any, three: Setting) -> None:
    """The Config account stands in for a checkpoint: any account does."""
    three.nodes[0].lie = absent
    config = await three.client.fetch_config("finalized")
    assert config.pinned.version == 1
    slot, found = await three.client.checkpoint_as_of(1, "finalized")
    assert (slot, found) == (three.world.slot("finalized"), None)
    alone = L1Client(three.nodes[0], PROGRAM)
    assert (await alone.checkpoint_as_of(1, "finalized"))[0] == slot + 1_000
    assert checkpoint_address(PROGRAM, 1) not in three.world.at("finalized").accounts


async def test_a_node_that_lags_or_is_gone_is_not_needed(autojump_clock: Any, three: Setting) -> None:
    three.nodes[2].silent = True
    assert await three.client.get_slot("confirmed") == three.world.slot("confirmed")
    three.nodes[2].silent, three.nodes[2].behind = False, 20
    three.world.deposit()
    three.world.advance(5)
    assert (await three.client.fetch_config("confirmed")).inbox.count == 1
    three.nodes[0].silent = three.nodes[1].silent = True
    with pytest.raises(L1Unreachable, match="1 of 3 answered"):
        await three.client.get_slot("confirmed")


async def test_silence_is_named_after_a_while(autojump_clock: Any, three: Setting) -> None:
    three.nodes[2].silent = True
    await three.client.get_slot()
    await trio.sleep(PATIENCE_SECONDS)
    await three.client.get_slot()
    assert three.rpc.troubles["http://node-2"] == "does not answer"


async def test_a_node_that_hangs_costs_a_moment_once(
    autojump_clock: Any, three: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*arguments: Any) -> Any:
        await trio.sleep_forever()

    monkeypatch.setattr(three.nodes[1], "call", hang)
    start = trio.current_time()
    assert await three.client.get_slot() == three.world.slot("confirmed")
    assert trio.current_time() - start == pytest.approx(STRAGGLER_SECONDS, abs=0.1)
    for _ in range(5):
        await three.client.get_slot()
    assert trio.current_time() - start == pytest.approx(STRAGGLER_SECONDS, abs=0.1)


async def test_two_nodes_that_disagree_make_the_caller_wait(autojump_clock: Any) -> None:
    two = asked(2)
    two.nodes[0].lie = absent
    with pytest.raises(L1Disagreement, match="http://node-0, http://node-1 contradict each other on getAccountInfo"):
        await two.client.get_account(PAYER.pubkey())
    assert await two.client.get_slot("finalized") == two.world.slot("finalized"), "the lower of both is safe"
    two.nodes[0].lie = None
    assert await two.client.get_account(PAYER.pubkey()) is not None


async def test_nodes_that_agree_a_moment_later_are_no_disagreement(autojump_clock: Any) -> None:
    two = asked(2)
    two.world.deposit()
    two.nodes[1].behind = 5

    async def catches_up() -> None:
        await trio.sleep(1)
        two.nodes[1].behind = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(catches_up)
        assert (await two.client.fetch_config("processed")).inbox.count == 1


async def test_a_majoritys_refusal_is_the_answer(
    autojump_clock: Any, three: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(method: str, *rest: Any) -> Any:
        raise RpcFailure(method, -32601, "Method not found", None)

    monkeypatch.setattr(three.nodes[0], "call", refuse)
    assert await three.client.get_slot() > 0
    monkeypatch.setattr(three.nodes[1], "call", refuse)
    with pytest.raises(L1RpcError, match="Method not found"):
        await three.client.get_slot()


async def test_transactions_go_to_all_and_one_that_takes_them_is_enough(autojump_clock: Any, three: Setting) -> None:
    from settlement import instructions

    three.nodes[0].silent, three.nodes[1].drops = True, True
    deposit = instructions.deposit(PROGRAM, PAYER.pubkey(), 0, 1_000_000, PAYER.pubkey())
    signed = await three.client.sign([deposit], PAYER)

    async with trio.open_nursery() as nursery:

        async def blocks() -> None:
            for _ in range(20):
                await trio.sleep(0.4)
                three.world.advance()

        nursery.start_soon(blocks)
        confirmed = await three.client.confirm(signed)
        nursery.cancel_scope.cancel()
    assert confirmed.compute_units
    assert three.world.config("processed").inbox.count == 1


async def test_a_blockhash_of_a_liars_own_making_is_not_used(autojump_clock: Any, three: Setting) -> None:
    def invents(method: str, params: Sequence[Any], answer: Any) -> Any:
        if method == "getLatestBlockhash":
            value = {"blockhash": "11111111111111111111111111111112", "lastValidBlockHeight": 10**9}
            return {**answer, "value": value}
        return {**answer, "value": True} if method == "isBlockhashValid" else answer

    three.nodes[0].lie = invents
    signed = await three.client.sign([], PAYER)
    assert signed.last_valid_block_height <= three.world.height + BLOCKHASH_BLOCKS
    assert three.world.valid(str(signed.transaction.message.recent_blockhash))
    alone = await L1Client(three.nodes[0], PROGRAM).sign([], PAYER)
    assert alone.last_valid_block_height == 10**9


async def test_a_liar_cannot_make_a_transaction_look_expired(autojump_clock: Any, three: Setting) -> None:
    three.nodes[0].lie = absent
    signed = await three.client.sign([], PAYER)
    for node in three.nodes:
        node.drops = True
    with trio.move_on_after(60) as waited:
        await three.client.confirm(signed, possibly_sent=True)
    assert waited.cancelled_caught, "the height of two nodes says that it may still land"
    three.world.advance(BLOCKHASH_BLOCKS + FINALIZED_DEPTH)
    with pytest.raises(TransactionExpired):
        await three.client.confirm(signed, possibly_sent=True)


GARBAGE: list[Any] = [
    None,
    True,
    [],
    {},
    "x",
    -1.5,
    {"context": 1, "value": 2},
    {"context": {"slot": "1"}, "value": [{}]},
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_one_node_that_talks_nonsense_breaks_nothing(autojump_clock: Any, three: Setting, garbage: Any) -> None:
    three.nodes[1].lie = lambda method, params, answer: garbage
    assert await three.client.get_slot("finalized") == three.world.slot("finalized")
    assert (await three.client.fetch_config()).pinned.version == 1
    assert (await three.client.sign([], PAYER)).last_valid_block_height <= three.world.height + BLOCKHASH_BLOCKS
    statuses = await three.client.rpc.call("getSignatureStatuses", [["x"], {"searchTransactionHistory": False}])
    assert statuses["value"] == [None]


def test_a_quorum_needs_different_nodes() -> None:
    world = World.new()
    for made in ([], nodes(world, 1), [*nodes(world, 1), *nodes(world, 1)]):
        with pytest.raises(ValueError, match="at least two different nodes"):
            QuorumRpc(made)
