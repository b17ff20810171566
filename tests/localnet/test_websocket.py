"""Subscriptions over a real WebSocket connection."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from .conftest import SOL, Localnet, pay

MEMO_ID = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")


class Socket:
    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self._ids = itertools.count()

    async def next(self) -> dict[str, Any]:
        with trio.fail_after(60):
            return json.loads(await self.connection.get_message())

    async def call(self, method: str, *params: Any) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        await self.connection.send_message(json.dumps(request))
        return await self.next()

    async def subscribe(self, method: str, *params: Any) -> int:
        return (await self.call(method, *params))["result"]

    async def silent(self) -> bool:
        """Nothing is on its way: the answer to a call comes next."""
        return "result" in await self.call("getVersion")


@pytest.fixture
async def socket(localnet: Localnet) -> AsyncIterator[Socket]:
    async with open_websocket_url(localnet.endpoints.websocket_url) as connection:
        yield Socket(connection)


async def send(localnet: Localnet, transaction: Any, **options: Any) -> str:
    settings = {"encoding": "base64", "preflightCommitment": "processed"} | options
    return await localnet.result("sendTransaction", base64.b64encode(bytes(transaction)).decode(), settings)


async def test_signature_is_told_once_at_its_level(localnet: Localnet, socket: Socket) -> None:
    payer = await localnet.funded()
    transaction = await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL))
    signature = str(transaction.signatures[0])
    ids = {
        level: await socket.subscribe("signatureSubscribe", signature, {"commitment": level})
        for level in ("processed", "confirmed", "finalized")
    }
    await send(localnet, transaction)
    slot = await localnet.result("getSlot", {"commitment": "processed"})
    for level, advance in (("processed", 0), ("confirmed", 1), ("finalized", 31)):
        localnet.clock.advance(advance)
        assert await socket.next() == {
            "jsonrpc": "2.0",
            "method": "signatureNotification",
            "params": {"result": {"context": {"slot": slot}, "value": {"err": None}}, "subscription": ids[level]},
        }
        assert await socket.silent()
    gone = await socket.call("signatureUnsubscribe", ids["finalized"])
    assert gone["error"] == {"code": -32602, "message": "Invalid subscription id."}
    # One that has landed already is told right after the subscription's id.
    late = await socket.subscribe("signatureSubscribe", signature)
    assert (await socket.next())["params"]["subscription"] == late


async def test_a_failed_transaction_is_told_with_its_error(localnet: Localnet, socket: Socket) -> None:
    payer = await localnet.funded(SOL)
    transaction = await localnet.sign(payer, pay(payer, Keypair().pubkey(), 5 * SOL))
    await socket.subscribe("signatureSubscribe", str(transaction.signatures[0]), {"commitment": "processed"})
    await send(localnet, transaction, skipPreflight=True)
    told = await socket.next()
    assert told["params"]["result"]["value"] == {"err": {"InstructionError": [0, {"Custom": 1}]}}


async def test_account_at_processed_and_at_finalized(localnet: Localnet, socket: Socket) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    encoding = {"encoding": "base64"}
    now = await socket.subscribe("accountSubscribe", str(to), encoding | {"commitment": "processed"})
    final = await socket.subscribe("accountSubscribe", str(to), encoding)
    for lamports in (SOL, 2 * SOL):
        await send(localnet, await localnet.sign(payer, pay(payer, to, lamports)))
        told = (await socket.next())["params"]
        assert told["subscription"] == now
    assert told["result"]["value"]["lamports"] == 3 * SOL
    localnet.clock.advance(31)
    assert await socket.silent()
    localnet.clock.advance(1)
    told = (await socket.next())["params"]
    assert (told["subscription"], told["result"]["value"]["lamports"]) == (final, 3 * SOL)
    assert (await socket.call("accountUnsubscribe", now))["result"] is True
    await send(localnet, await localnet.sign(payer, pay(payer, to, SOL)))
    assert await socket.silent()


async def test_logs_of_one_address_and_of_all(localnet: Localnet, socket: Socket) -> None:
    payer = await localnet.funded()
    level = {"commitment": "processed"}
    of_memo = await socket.subscribe("logsSubscribe", {"mentions": [str(MEMO_ID)]}, level)
    await send(localnet, await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL)))
    assert await socket.silent()
    memo = Instruction(MEMO_ID, b"hear this", [AccountMeta(payer.pubkey(), True, False)])
    signature = await send(localnet, await localnet.sign(payer, memo))
    told = (await socket.next())["params"]
    assert told["subscription"] == of_memo
    value = told["result"]["value"]
    assert value["signature"] == signature and value["err"] is None
    assert any("hear this" in line for line in value["logs"])
    for wrong in ("some", {"mentions": []}):
        assert (await socket.call("logsSubscribe", wrong))["error"]["code"] == -32602


async def test_program_accounts_that_pass_the_filter(localnet: Localnet, socket: Socket) -> None:
    owner = Keypair().pubkey()
    payer = await localnet.funded()
    config = {"encoding": "base64", "commitment": "confirmed", "filters": [{"dataSize": 16}]}
    await socket.subscribe("programSubscribe", str(owner), config)
    for size in (8, 16):
        made = Keypair()
        parameters = CreateAccountParams(
            from_pubkey=payer.pubkey(), to_pubkey=made.pubkey(), lamports=SOL // 10, space=size, owner=owner
        )
        await send(localnet, await localnet.sign(payer, create_account(parameters), also=(made,)))
    localnet.clock.advance()
    value = (await socket.next())["params"]["result"]["value"]
    assert value["pubkey"] == str(made.pubkey()) and value["account"]["space"] == 16
    assert await socket.silent()


async def test_slots_and_roots(localnet: Localnet, socket: Socket) -> None:
    await socket.subscribe("slotSubscribe")
    localnet.clock.advance()
    assert (await socket.next())["params"]["result"] == {"parent": 1, "root": 0, "slot": 2}
    assert (await socket.call("slotUnsubscribe", 0))["result"] is True
    await socket.subscribe("rootSubscribe")
    localnet.clock.advance(32)
    assert [(await socket.next())["params"]["result"] for _ in range(2)] == [1, 2]


async def test_a_connection_that_ends_leaves_no_subscription(localnet: Localnet) -> None:
    async with open_websocket_url(localnet.endpoints.websocket_url) as connection:
        await Socket(connection).subscribe("slotSubscribe")
    localnet.clock.advance(3)
    assert await localnet.result("getSlot", {"commitment": "processed"}) == 4


async def test_a_client_that_never_reads_is_cut_off_with_a_reason(
    localnet: Localnet, socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localnet.outbox.MAX_QUEUED_MESSAGES", 8)
    async with open_websocket_url(localnet.endpoints.websocket_url) as connection:
        await Socket(connection).subscribe("slotSubscribe")
        # All in one go: the loop has no chance to send any of them.
        localnet.clock.advance(20)
        with pytest.raises(ConnectionClosed) as closed, trio.fail_after(60):
            while True:
                await connection.get_message()
    assert closed.value.reason.code == 1008 and "more than 8 notifications unread" in closed.value.reason.reason
    # The others notice nothing.
    assert "result" in await socket.call("getVersion")


async def test_wrong_calls(socket: Socket) -> None:
    assert (await socket.call("getBalance", "x"))["error"]["code"] == -32601
    error = (await socket.call("accountSubscribe", "x"))["error"]
    assert error == {"code": -32602, "message": "Invalid Request: Invalid pubkey provided"}
    await socket.connection.send_message(b"\x00\x01")
    assert (await socket.next())["error"]["code"] == -32700
