"""Every kind of subscription in agave's shape, their order, and the bounds that one client cannot go beyond."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import trio
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import VersionedTransaction
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket_url

from localnet.bank import Bank
from localnet.config import LocalnetConfig
from localnet.node import Node
from localnet.outbox import Outbox, Total
from localnet.subscription_methods import methods
from localnet.subscriptions import MAX_SUBSCRIPTIONS_PER_CONNECTION, Connection, Hub

from .conftest import ANY_PORT, SOL, Localnet, pay
from .test_websocket import MEMO_ID, Socket, send

METHOD_NOT_FOUND = {"code": -32601, "message": "Method not found"}


@pytest.fixture
def config() -> LocalnetConfig:
    return replace(ANY_PORT, block_subscription=True)


@pytest.fixture
async def socket(localnet: Localnet) -> AsyncIterator[Socket]:
    async with open_websocket_url(localnet.endpoints.websocket_url) as connection:
        yield Socket(connection)


async def results(socket: Socket, count: int) -> list[Any]:
    return [(await socket.next())["params"]["result"] for _ in range(count)]


async def test_slots_updates_follow_each_slot_from_frozen_to_root(localnet: Localnet, socket: Socket) -> None:
    payer = await localnet.funded()
    await socket.subscribe("slotsUpdatesSubscribe")
    await send(localnet, await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL)))
    await send(localnet, await localnet.sign(payer, pay(payer, Keypair().pubkey(), 99 * SOL)), skipPreflight=True)
    slot = await localnet.result("getSlot", {"commitment": "processed"})
    localnet.clock.advance()
    told = await results(socket, 5)
    assert len({one.pop("timestamp") for one in told}) == 1
    stats = {
        "maxTransactionsPerEntry": 1,
        "numFailedTransactions": 1,
        "numSuccessfulTransactions": 1,
        "numTransactionEntries": 2,
    }
    assert told == [
        {"type": "frozen", "slot": slot, "stats": stats},
        {"type": "completed", "slot": slot},
        {"type": "createdBank", "slot": slot + 1, "parent": slot},
        {"type": "optimisticConfirmation", "slot": slot},
        {"type": "root", "slot": slot - 31},
    ]


async def test_a_signature_is_told_as_received_and_then_at_its_level(localnet: Localnet, socket: Socket) -> None:
    payer = await localnet.funded()
    transaction = await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL))
    settings = {"commitment": "confirmed", "enableReceivedNotification": True}
    number = await socket.subscribe("signatureSubscribe", str(transaction.signatures[0]), settings)
    await send(localnet, transaction)
    slot = await localnet.result("getSlot", {"commitment": "processed"})
    assert (await socket.next())["params"] == {
        "result": {"context": {"slot": slot}, "value": "receivedSignature"},
        "subscription": number,
    }
    assert await socket.silent()
    localnet.clock.advance()
    assert (await socket.next())["params"]["result"] == {"context": {"slot": slot}, "value": {"err": None}}
    assert (await socket.call("signatureUnsubscribe", number))["error"]["code"] == -32602


async def test_blocks_as_getBlock_has_them(localnet: Localnet, socket: Socket) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    of_all = await socket.subscribe("blockSubscribe", "all", {"commitment": "confirmed", "encoding": "json"})
    only_signatures = {"commitment": "confirmed", "transactionDetails": "signatures", "showRewards": True}
    of_one = await socket.subscribe("blockSubscribe", {"mentionsAccountOrProgram": str(to)}, only_signatures)
    signature = await send(localnet, await localnet.sign(payer, pay(payer, to, SOL)))
    await send(localnet, await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL)))
    slot = await localnet.result("getSlot", {"commitment": "processed"})
    localnet.clock.advance()
    messages = [(await socket.next())["params"] for _ in range(2)]
    told = {message["subscription"]: message["result"] for message in messages}
    getblock = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0, "rewards": False}
    block = await localnet.result("getBlock", slot, getblock)
    for transaction in block["transactions"]:
        del transaction["version"]  # the subscription names no version that it supports
    assert told[of_all] == {"context": {"slot": slot}, "value": {"slot": slot, "block": block, "err": None}}
    value = told[of_one]["value"]
    assert (value["block"]["signatures"], value["block"]["rewards"]) == ([signature], [])
    # A slot without one that mentions it is left out; `all` tells empty blocks too.
    localnet.clock.advance()
    assert (await socket.next())["params"]["subscription"] == of_all
    assert await socket.silent()
    assert (await socket.call("blockUnsubscribe", of_all))["result"] is True


async def test_a_block_with_an_unsupported_version_is_an_error_in_its_place(localnet: Localnet, socket: Socket) -> None:
    payer = await localnet.funded()
    await socket.subscribe("blockSubscribe", "all", {"commitment": "confirmed"})
    message = MessageV0.try_compile(
        payer.pubkey(), [pay(payer, Keypair().pubkey(), SOL)], [], await localnet.blockhash()
    )
    await send(localnet, VersionedTransaction(message, [payer]))
    localnet.clock.advance()
    value = (await socket.next())["params"]["result"]["value"]
    assert (value["block"], value["err"]) == (None, {"UnsupportedTransactionVersion": 0})


async def test_wrong_block_subscriptions(socket: Socket) -> None:
    for params, says in (
        ([], "`params` should have at least 1 argument(s)"),
        (["some"], "unknown variant `some`, expected `all` or `mentionsAccountOrProgram`"),
        ([{"mentionsAccountOrProgram": "x"}], "Invalid mentions_account_or_program provided"),
        (["all", {"commitment": "processed"}], "commitment below `confirmed`"),
    ):
        error = (await socket.call("blockSubscribe", *params))["error"]
        assert error["code"] == -32602 and says in error["message"]


async def test_vote_answers_as_agave_without_its_flag(socket: Socket) -> None:
    assert (await socket.call("voteSubscribe"))["error"] == METHOD_NOT_FOUND
    assert (await socket.call("voteUnsubscribe", 0))["error"] == METHOD_NOT_FOUND


class TestWithoutTheFlag:
    @pytest.fixture
    def config(self) -> LocalnetConfig:
        return ANY_PORT

    async def test_block_is_no_method(self, socket: Socket) -> None:
        assert (await socket.call("blockSubscribe", "all"))["error"] == METHOD_NOT_FOUND
        assert (await socket.call("blockUnsubscribe", 1))["error"] == METHOD_NOT_FOUND


async def test_notifications_keep_the_order_of_transactions_and_of_subscribing(
    localnet: Localnet, socket: Socket
) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    level = {"commitment": "confirmed", "encoding": "base64"}
    logs = await socket.subscribe("logsSubscribe", "allWithVotes", level)
    account = await socket.subscribe("accountSubscribe", str(to), level)
    program = await socket.subscribe("programSubscribe", str(Pubkey.default()), level)
    slots = await socket.subscribe("slotSubscribe")
    sent = [await send(localnet, await localnet.sign(payer, pay(payer, to, SOL + n))) for n in range(3)]
    localnet.clock.advance()
    messages = [(await socket.next())["params"] for _ in range(7)]
    assert [m["subscription"] for m in messages] == [slots, logs, logs, logs, account, program, program]
    assert [m["result"]["value"]["signature"] for m in messages[1:4]] == sent
    assert messages[4]["result"]["value"]["lamports"] == 3 * SOL + 3
    assert {m["result"]["value"]["pubkey"] for m in messages[5:]} == {str(payer.pubkey()), str(to)}


async def test_data_too_long_for_base58_is_said_in_its_place(localnet: Localnet, socket: Socket) -> None:
    payer, made = await localnet.funded(), Keypair()
    key = str(made.pubkey())
    plain = await socket.subscribe("accountSubscribe", key, {"commitment": "processed"})
    labelled = await socket.subscribe("accountSubscribe", key, {"commitment": "processed", "encoding": "base58"})
    wanted = CreateAccountParams(
        from_pubkey=payer.pubkey(), to_pubkey=made.pubkey(), lamports=SOL, space=200, owner=Keypair().pubkey()
    )
    signature = await send(localnet, await localnet.sign(payer, create_account(wanted), also=(made,)))
    assert (await localnet.result("getSignatureStatuses", [signature]))["value"][0]["err"] is None
    told = {m["subscription"]: m["result"]["value"] for m in [(await socket.next())["params"] for _ in range(2)]}
    says = "error: data too large for bs58 encoding"
    assert told[plain]["data"] == says and told[labelled]["data"] == [says, "base58"]
    assert told[plain]["space"] == 200


async def test_an_account_as_jsonParsed(localnet: Localnet, socket: Socket) -> None:
    """A slot's account is shown as of that slot, parsed by whichever program owns it; a plain one comes as base64."""
    payer, to = await localnet.funded(), Keypair().pubkey()
    await socket.subscribe("accountSubscribe", str(to), {"commitment": "processed", "encoding": "jsonParsed"})
    await send(localnet, await localnet.sign(payer, pay(payer, to, SOL)))
    [told] = await results(socket, 1)
    shown = await localnet.result("getAccountInfo", str(to), {"commitment": "processed", "encoding": "jsonParsed"})
    assert told["value"] == shown["value"]


async def test_one_client_has_so_many_subscriptions(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localnet.subscriptions.MAX_SUBSCRIPTIONS_PER_CONNECTION", 2)
    first = await socket.subscribe("slotSubscribe")
    await socket.subscribe("rootSubscribe")
    error = (await socket.call("logsSubscribe", "all"))["error"]
    assert error["message"] == "Internal Error: Subscription refused. Node subscription limit reached"
    await socket.call("slotUnsubscribe", first)
    assert "result" in await socket.call("logsSubscribe", "all")
    assert MAX_SUBSCRIPTIONS_PER_CONNECTION == 1_000


async def test_so_many_connections_and_no_more(localnet: Localnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localnet.server_websocket.MAX_CONNECTIONS", 3)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(open_websocket_url(localnet.endpoints.websocket_url))
        with pytest.raises(HandshakeError):
            async with open_websocket_url(localnet.endpoints.websocket_url):
                pass
    async with open_websocket_url(localnet.endpoints.websocket_url) as connection:
        assert "result" in await Socket(connection).call("getVersion")


async def test_many_idle_connections_do_not_disturb_a_busy_one(localnet: Localnet, socket: Socket) -> None:
    """Each has a subscription that nothing concerns."""
    async with AsyncExitStack() as stack:
        for _ in range(100):
            idle = await stack.enter_async_context(open_websocket_url(localnet.endpoints.websocket_url))
            await Socket(idle).subscribe("accountSubscribe", str(Keypair().pubkey()))
        payer, to = await localnet.funded(), Keypair().pubkey()
        await socket.subscribe("accountSubscribe", str(to), {"commitment": "processed"})
        for n in range(20):
            await send(localnet, await localnet.sign(payer, pay(payer, to, SOL // 10 + n)))
        assert len(await results(socket, 20)) == 20


def hub_of_its_own() -> tuple[Bank, Hub, Keypair]:
    svm, payer = LiteSVM(), Keypair()
    svm.set_account(payer.pubkey(), Account(1_000 * SOL, b"", Pubkey.default()))
    bank = Bank(svm, blockhash_seed=bytes(32), unix_time=0)
    node = Node(bank, bank.latest_blockhash(0), Pubkey.default(), payer)
    return bank, Hub(node, lambda: 0.0, block_subscription=True), payer


def subscribe_to_all(connection: Connection, key: Pubkey, signature: str) -> list[tuple[str, int]]:
    text = str(key)
    return [
        (kind, methods.call(connection, f"{kind}Subscribe", params))
        for kind, params in (
            ("slot", []), ("slotsUpdates", []), ("root", []), ("logs", ["all"]), ("logs", [{"mentions": [text]}]),
            ("account", [text]), ("account", [text, {"commitment": "processed"}]), ("program", [text]),
            ("block", ["all"]), ("signature", [signature]),
            ("signature", [signature, {"enableReceivedNotification": True}]),
        )
    ]  # fmt: skip


def test_what_ends_leaves_nothing_behind() -> None:
    bank, hub, payer = hub_of_its_own()
    message = Message.new_with_blockhash(
        [pay(payer, Keypair().pubkey(), SOL)], payer.pubkey(), bank.latest_blockhash(0)
    )
    transaction = VersionedTransaction(message, [payer])
    told: list[Any] = []
    staying, leaving = (hub.connect(told.append, told.append) for _ in range(2))
    numbers = subscribe_to_all(staying, payer.pubkey(), str(transaction.signatures[0]))
    subscribe_to_all(leaving, payer.pubkey(), str(transaction.signatures[0]))
    hub.disconnect(leaving)
    bank.process(transaction)
    for slot in range(40):
        bank.advance(slot)
    assert {json.dumps(m["params"]["subscription"]) for m in told} <= {json.dumps(n) for _, n in numbers}
    for kind, number in numbers[:-2]:  # signatures have gone by themselves
        assert methods.call(staying, f"{kind}Unsubscribe", [number]) is True
    assert not staying.subscriptions and hub.is_idle()


def test_what_cannot_be_told_ends_its_client_and_nobody_else() -> None:
    bank, hub, _payer = hub_of_its_own()
    reasons: list[str] = []
    heard: list[Any] = []
    broken = hub.connect(lambda _: None, reasons.append)
    sound = hub.connect(heard.append, reasons.append)
    for connection in (broken, sound):
        methods.call(connection, "slotSubscribe", [])

    def bug(*_: Any) -> None:
        raise RuntimeError("a bug")

    broken.subscriptions[0].on_slot = bug
    bank.advance(1)
    assert reasons == ["internal error"] and len(heard) == 1 and bank.slot == 2


async def test_an_outbox_is_bounded_in_bytes_alone_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localnet.outbox.MAX_QUEUED_BYTES", 1_000)
    monkeypatch.setattr("localnet.outbox.MAX_TOTAL_BYTES", 1_500)
    total = Total()
    one, other, third = (Outbox(total) for _ in range(3))
    one.put(bytes(700))
    assert await one.get() == bytes(700) and total.bytes == 0
    one.put(bytes(1_001))
    assert one.cut_off_reason is not None and "1000 bytes unread" in one.cut_off_reason
    assert await one.get() is None and total.bytes == 0
    one.put(b"after")
    assert total.bytes == 0
    other.put(bytes(900))
    third.put(bytes(500))
    third.put(bytes(200))
    # Together too much: the one with most on the way goes, whoever sent last.
    assert other.cut_off_reason is not None and third.cut_off_reason is None and total.bytes == 700
    third.close()
    assert total.bytes == 0


async def test_a_client_that_calls_without_reading_waits_for_its_answers(
    localnet: Localnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls stay in its own socket; the node holds a bounded number of answers."""
    monkeypatch.setattr("localnet.outbox.MAX_QUEUED_MESSAGES", 100)
    async with open_websocket_url(localnet.endpoints.websocket_url, message_queue_size=1) as connection:
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getVersion"})
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    for _ in range(500):
                        await connection.send_message(request)

                nursery.start_soon(ask)
                for _ in range(500):
                    assert "result" in json.loads(await connection.get_message())


async def test_an_oversized_message_ends_the_connection(localnet: Localnet) -> None:
    async with open_websocket_url(localnet.endpoints.websocket_url) as connection:
        with pytest.raises(ConnectionClosed) as closed, trio.fail_after(60):
            await connection.send_message(" " * 60_000)
            await connection.get_message()
    assert closed.value.reason.code == 1009


async def test_a_memo_is_heard_by_its_mention(localnet: Localnet, socket: Socket) -> None:
    payer = await localnet.funded()
    await socket.subscribe("blockSubscribe", {"mentionsAccountOrProgram": str(MEMO_ID)}, {"commitment": "confirmed"})
    memo = Instruction(MEMO_ID, b"hear this", [AccountMeta(payer.pubkey(), True, False)])
    signature = await send(localnet, await localnet.sign(payer, memo))
    localnet.clock.advance()
    [told] = await results(socket, 1)
    [transaction] = told["value"]["block"]["transactions"]
    assert transaction["transaction"][1] == "base64" and "rewards" not in told["value"]["block"]
    wire = base64.b64decode(transaction["transaction"][0])
    assert str(VersionedTransaction.from_bytes(wire).signatures[0]) == signature
