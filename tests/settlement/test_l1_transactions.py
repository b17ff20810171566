"""Transactions followed to confirmation on the embedded L1, over HTTP, and through a proxy that makes trouble."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx2
import pytest
import trio
from solana.exceptions import SolanaRpcException
from solders.hash import Hash
from solders.keypair import Keypair
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from starlette.responses import Response

from localnet.clock import ManualClock
from localnet.config import LocalnetConfig
from localnet.service import serve
from settlement.client import L1Client
from settlement.errors import (
    L1RpcError,
    L1Unreachable,
    ProgramError,
    TransactionExpired,
    TransactionFailed,
    TransactionTooLarge,
)
from settlement.pda import localnet_program_id
from settlement.rpc import retry_after_seconds
from settlement.transactions import sign
from tests.rpc_proxy import Proxy

SOL = 1_000_000_000


def pay(payer: Keypair, to: Keypair, lamports: int):
    return transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to.pubkey(), lamports=lamports))


@dataclass
class Chain:
    url: str
    client: L1Client
    payer: Keypair
    clock: ManualClock | None = None


@pytest.fixture
async def chain(nursery) -> AsyncIterator[Chain]:
    """An embedded L1 without programs, a slot every 40 ms."""
    payer = Keypair()
    config = LocalnetConfig(rpc_port=0, mint=payer.pubkey(), slot_ms=40)
    endpoints = await nursery.start(serve, config)
    async with L1Client(endpoints.rpc_url, localnet_program_id()) as client:
        yield Chain(endpoints.rpc_url, client, payer)
    nursery.cancel_scope.cancel()


async def test_a_transfer_is_confirmed_with_slot_units_and_logs(chain):
    to = Keypair()
    confirmed = await chain.client.send_and_confirm([pay(chain.payer, to, SOL)], chain.payer, compute_unit_limit=1_000)
    assert await chain.client.get_balance(to.pubkey()) == SOL
    assert confirmed.slot <= await chain.client.get_slot()
    assert confirmed.compute_units is not None
    assert 0 < confirmed.compute_units <= 1_000
    assert "Program 11111111111111111111111111111111 success" in confirmed.logs


async def test_finalized_waits_until_a_finalized_read_shows_it(chain):
    to = Keypair()
    await chain.client.send_and_confirm([pay(chain.payer, to, SOL)], chain.payer, commitment="finalized")
    assert await chain.client.get_balance(to.pubkey(), "finalized") == SOL


async def test_processed_is_refused(chain):
    with pytest.raises(ValueError, match="may still be rolled back"):
        await chain.client.send_and_confirm([pay(chain.payer, Keypair(), SOL)], chain.payer, commitment="processed")


async def test_what_fails_in_preflight_is_not_sent(chain):
    poor = Keypair()
    await chain.client.request_airdrop(poor.pubkey(), SOL)
    with pytest.raises(ProgramError) as caught:
        await chain.client.send_and_confirm([pay(poor, Keypair(), 2 * SOL)], poor)
    assert (caught.value.code, caught.value.landed, caught.value.instruction_index) == (1, False, 0)
    assert caught.value.name == "ResultWithNegativeLamports"
    assert any("insufficient lamports" in line for line in caught.value.logs)
    assert await chain.client.get_balance(poor.pubkey()) == SOL


async def test_what_fails_on_l1_says_that_it_landed(chain):
    poor = Keypair()
    await chain.client.request_airdrop(poor.pubkey(), SOL)
    signed = await chain.client.sign([pay(poor, Keypair(), 2 * SOL)], poor)
    with pytest.raises(ProgramError) as caught:
        await chain.client.confirm(signed, possibly_sent=True)
    assert caught.value.landed
    assert any("insufficient lamports" in line for line in caught.value.logs)
    assert await chain.client.get_balance(poor.pubkey()) == SOL - 5_000


async def test_a_payer_without_lamports_is_a_failure_without_a_program(chain):
    nobody = Keypair()
    with pytest.raises(TransactionFailed) as caught:
        await chain.client.send_and_confirm([pay(nobody, Keypair(), 1)], nobody)
    assert not isinstance(caught.value, ProgramError)
    assert caught.value.reason == (
        f"AccountNotFound: the fee payer {nobody.pubkey()} cannot pay the fee; it needs SOL (on a localnet: `pouw airdrop`)"
    )


async def test_following_the_same_bytes_again_pays_once(chain):
    to = Keypair()
    signed = await chain.client.sign([pay(chain.payer, to, SOL)], chain.payer)
    first = await chain.client.confirm(signed)
    assert await chain.client.confirm(signed, possibly_sent=True) == first
    assert await chain.client.confirm(signed) == first
    assert await chain.client.get_balance(to.pubkey()) == SOL


async def test_missing_signers_and_long_transactions_are_refused_before_sending(chain):
    other = Keypair()
    with pytest.raises(ValueError, match=str(other.pubkey())):
        await chain.client.sign([pay(other, chain.payer, 1)], chain.payer)
    with pytest.raises(TransactionTooLarge, match="L1 takes 1,232"):
        await chain.client.sign([pay(chain.payer, Keypair(), 1) for _ in range(40)], chain.payer)


async def test_wait_for_slot(chain):
    start = await chain.client.get_slot("processed")
    assert await chain.client.wait_for_slot(start + 3, "processed") >= start + 3


async def test_more_than_a_hundred_accounts_are_read_in_order(chain):
    keys = [Keypair().pubkey() for _ in range(230)]
    keys[150] = chain.payer.pubkey()
    slot, found = await chain.client.get_accounts(keys)
    assert [i for i, account in enumerate(found) if account is not None] == [150]
    assert slot <= await chain.client.get_slot()


async def test_an_unknown_method_is_an_rpc_error_with_its_code(chain):
    with pytest.raises(L1RpcError) as caught:
        await chain.client.rpc.call("getNothing")
    assert caught.value.code == -32601


async def test_a_dead_node_is_unreachable_after_bounded_retries(autojump_clock):
    async with L1Client("http://127.0.0.1:1", localnet_program_id()) as client:
        with pytest.raises(L1Unreachable) as caught:
            await client.get_slot()
    assert caught.value.attempts == 6
    assert trio.current_time() < 30


# -- expiry, with slots passed by hand


async def test_only_a_finalized_height_past_the_last_valid_one_is_expiry(nursery):
    clock, payer = ManualClock(), Keypair()
    endpoints = await nursery.start(_serve_manual, LocalnetConfig(rpc_port=0, mint=payer.pubkey()), clock)
    clock.advance(40)
    async with L1Client(endpoints.rpc_url, localnet_program_id()) as client:
        signed = await client.sign([pay(payer, Keypair(), SOL)], payer)
        # Never sent; the chain goes past its last valid height, but only as processed.
        while await client.get_block_height("processed") <= signed.last_valid_block_height:
            clock.advance(1)
        assert await client.get_block_height("finalized") <= signed.last_valid_block_height
        with trio.move_on_after(1) as waited:
            await client.confirm(signed)
        assert waited.cancelled_caught, "it must go on asking until the height is final"
        clock.advance(40)
        with pytest.raises(TransactionExpired) as caught:
            await client.confirm(signed)
        assert caught.value.signature == signed.signature
    nursery.cancel_scope.cancel()


async def test_what_landed_long_ago_is_found_and_not_called_expired(nursery):
    clock, payer, to = ManualClock(), Keypair(), Keypair()
    endpoints = await nursery.start(_serve_manual, LocalnetConfig(rpc_port=0, mint=payer.pubkey()), clock)
    clock.advance(40)
    async with L1Client(endpoints.rpc_url, localnet_program_id()) as client:
        signed = await client.sign([pay(payer, to, SOL)], payer)
        async with trio.open_nursery() as following:
            following.start_soon(client.confirm, signed)
            while await client.get_balance(to.pubkey(), "processed") == 0:
                await trio.sleep(0.01)
            clock.advance(5)
        clock.advance(400)
        confirmed = await client.confirm(signed, possibly_sent=True)
        assert confirmed.signature == signed.signature
    nursery.cancel_scope.cancel()


async def _serve_manual(config, clock, task_status=trio.TASK_STATUS_IGNORED):
    await serve(config, clock=clock, task_status=task_status)


# -- a proxy that makes trouble


@pytest.fixture
async def proxy(chain, nursery) -> AsyncIterator[tuple[Proxy, L1Client]]:
    proxy = Proxy(chain.url)
    await nursery.start(proxy.run)
    async with L1Client(proxy.url, localnet_program_id()) as client:
        yield proxy, client


async def test_rate_limits_are_waited_out(chain, proxy):
    trouble, client = proxy
    left = [3]

    def limited(method, body):
        left[0] -= 1
        return Response("slow down", 429, {"retry-after": "0"}) if left[0] >= 0 else None

    trouble.trouble = limited
    assert await client.get_slot() > 0
    assert len(trouble.calls) == 4


async def test_three_urls_are_asked_as_one_node(chain, nursery):
    """Two lead to the node itself, one through a proxy that lies about what is final."""
    proxy, to = Proxy(chain.url), Keypair()
    await nursery.start(proxy.run)

    def lies(method, body):
        if method not in ("getSlot", "getBlockHeight"):
            return None
        return Response(json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": 10**9}))

    proxy.trouble = lies
    urls = [chain.url, proxy.url, chain.url.replace("127.0.0.1", "localhost")]
    async with L1Client(urls, localnet_program_id()) as client:
        assert await client.get_slot("finalized") < 10**9
        confirmed = await client.send_and_confirm([pay(chain.payer, to, SOL)], chain.payer)
        assert await client.get_balance(to.pubkey()) == SOL
        assert confirmed.compute_units
        assert client.troubles.keys() == set(urls)


def limits(monkeypatch: pytest.MonkeyPatch, client: L1Client, header: str, times: int) -> list[float]:
    """The node answers 429 with that Retry-After so many times; when it was asked."""
    asked: list[float] = []

    async def answer(request: Any, kind: Any) -> Any:
        asked.append(trio.current_time())
        if len(asked) > times:
            return 7
        response = httpx2.Response(429, headers={"retry-after": header}, request=httpx2.Request("POST", "http://node"))
        cause = httpx2.HTTPStatusError("429", request=response.request, response=response)
        raise SolanaRpcException(cause, answer, None, request) from cause

    monkeypatch.setattr(client.rpc._client, "send_rpc_request", answer)  # type: ignore[attr-defined]
    return asked


async def test_retry_after_is_honoured_and_the_pauses_double(autojump_clock, monkeypatch):
    async with L1Client("http://127.0.0.1:1", localnet_program_id()) as client:
        asked = limits(monkeypatch, client, "7", 3)
        assert await client.get_slot() == 7
        assert all(later - earlier >= 7 for earlier, later in pairwise(asked))
        asked = limits(monkeypatch, client, "", 5)
        assert await client.get_slot() == 7
        pauses = [later - earlier for earlier, later in pairwise(asked)]
        assert all(second > first for first, second in pairwise(pauses))


async def test_twin_a_client_that_does_not_listen_hammers_the_node(autojump_clock, monkeypatch):
    monkeypatch.setattr("settlement.rpc.MAX_RETRY_AFTER_SECONDS", 0.0)
    async with L1Client("http://127.0.0.1:1", localnet_program_id()) as client:
        asked = limits(monkeypatch, client, "7", 3)
        assert await client.get_slot() == 7
        assert asked[-1] - asked[0] < 7


async def test_a_node_that_limits_sending_is_asked_again_only_when_it_said(autojump_clock, monkeypatch):
    """Between two sendings the status is still asked for."""
    async with L1Client("http://127.0.0.1:1", localnet_program_id()) as client:
        sent: list[float] = []

        async def call(method: str, params: Any = (), attempts: int = 6) -> Any:
            if method == "sendTransaction":
                sent.append(trio.current_time())
                if len(sent) < 4:
                    raise L1Unreachable("http://node", method, attempts, "HTTP status 429", 11.0)
                return "sent"
            if method == "getSignatureStatuses":
                landed = {"slot": 5, "err": None, "confirmationStatus": "confirmed"} if len(sent) > 3 else None
                return {"context": {"slot": 9}, "value": [landed]}
            return (
                {"slot": 5, "meta": {"computeUnitsConsumed": 1, "logMessages": []}} if method == "getTransaction" else 0
            )

        monkeypatch.setattr(client.rpc, "call", call)
        signed = sign([], Keypair(), [], Hash.default(), 100)
        assert (await client.confirm(signed)).slot == 5
        assert all(later - earlier >= 11 for earlier, later in pairwise(sent))


def test_retry_after_is_seconds_or_a_date():
    assert retry_after_seconds("7", 0.0) == 7
    assert retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", 50.0) == 10
    assert retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", 99.0) == 0
    assert retry_after_seconds("soon", 0.0) == retry_after_seconds("", 0.0) == retry_after_seconds("-3", 0.0) == 0


async def test_a_lost_answer_leads_to_the_same_bytes_and_one_payment(chain, proxy):
    trouble, client = proxy
    to, lost = Keypair(), [0]

    def spoil(method):
        if method == "sendTransaction" and not lost[0]:
            lost[0] = 1
            return True
        return False

    trouble.spoil = spoil
    await client.send_and_confirm([pay(chain.payer, to, SOL)], chain.payer)
    assert await client.get_balance(to.pubkey()) == SOL
    assert len({call["params"][0] for call in trouble.sent()}) == 1


async def test_a_transaction_that_the_node_drops_is_sent_again_with_the_same_bytes(chain, proxy):
    trouble, client = proxy
    to, dropped = Keypair(), [0]

    def drop(method, body):
        if method == "sendTransaction" and dropped[0] < 1:
            dropped[0] += 1
            raw = base64.b64decode(body["params"][0])
            signature = str(Signature.from_bytes(raw[1:65]))
            return Response(json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": signature}))
        return None

    trouble.trouble = drop
    await client.send_and_confirm([pay(chain.payer, to, SOL)], chain.payer)
    first, *again = trouble.sent()
    assert again
    assert all(call["params"][0] == first["params"][0] for call in again)
    assert first["params"][1]["skipPreflight"] is False
    assert all(call["params"][1]["skipPreflight"] for call in again)


async def test_error_objects_without_data_do_not_bring_the_process_down(proxy):
    trouble, client = proxy
    for code in (-32005, -32002, -32099):
        error = {"jsonrpc": "2.0", "id": "1", "error": {"code": code, "message": "no data here"}}
        trouble.trouble = lambda method, body, error=error: Response(json.dumps(error))
        with pytest.raises((L1RpcError, L1Unreachable), match="no data here"):
            await client.rpc.call("getSlot", attempts=2)


async def test_an_answer_that_is_no_json_rpc_is_named(proxy):
    trouble, client = proxy
    trouble.trouble = lambda method, body: Response("<html>hello</html>")
    with pytest.raises(L1RpcError, match="does not answer with JSON-RPC"):
        await client.get_slot()
    trouble.trouble = lambda method, body: Response("forbidden", 403)
    with pytest.raises(L1RpcError, match="HTTP status 403"):
        await client.get_slot()
