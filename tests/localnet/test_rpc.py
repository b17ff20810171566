"""The JSON-RPC envelope and the methods about the ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from localnet.config import LocalnetConfig
from localnet.server_http import MAX_BODY_BYTES

from .conftest import SOL, Localnet, pay

PROCESSED = {"commitment": "processed"}


async def post(localnet: Localnet, body: bytes, content_type: str = "application/json") -> tuple[int, str]:
    response = await localnet.http.post("/", content=body, headers={"content-type": content_type})
    return response.status_code, response.text


async def test_envelope_errors(localnet: Localnet) -> None:
    parse_error = {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": None}
    call = b'{"jsonrpc":"2.0","id":%s,"method":"getHealth"}'
    for body in (
        b"{",
        b"1",
        b"\xff",
        *(call % strange_id for strange_id in (b"[1]", b"-1", b"1.5", b"true", str(2**64).encode())),
        b"[1," + call % b"1" + b"]",
    ):
        status, text = await post(localnet, body)
        assert (status, json.loads(text)) == (200, parse_error)
    for body in (
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"1.0","id":1,"method":"getSlot"}',
        b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":"x"}',
        b'{"jsonrpc":"2.0","id":1,"method":"getSlot","parameters":[]}',
    ):
        refused = {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid request"}, "id": 1}
        assert json.loads((await post(localnet, body))[1]) == refused
    # The answer has no version either.
    unversioned = {"error": {"code": -32600, "message": "Unsupported JSON-RPC protocol version"}, "id": 1}
    assert json.loads((await post(localnet, b'{"id":1,"method":"getSlot"}'))[1]) == unversioned
    largest = json.loads((await post(localnet, call % str(2**64 - 1).encode()))[1])
    assert largest == {"jsonrpc": "2.0", "result": "ok", "id": 2**64 - 1}
    assert await post(localnet, b'{"jsonrpc":"2.0","method":"getSlot"}') == (200, "")


async def test_unknown_methods_and_wrong_parameters(localnet: Localnet) -> None:
    assert await localnet.error("getNonsense") == {"code": -32601, "message": "Method not found"}
    assert await localnet.error("slotSubscribe") == {"code": -32601, "message": "Method not found"}
    address = str(Keypair().pubkey())
    for params, message in (
        ([], "`params` should have at least 1 argument(s)"),
        (["x"], "Invalid param: WrongSize"),
        (["0" * 44], "Invalid param: Invalid"),
        ([1], "Invalid params: Expected `str`, got `int`."),
        ([address, {}, 3], "Invalid parameters: Expected from 1 to 2 parameters."),
        ([address, {"minContextSlot": -1}], "Invalid params: Expected `int` >= 0 - at `$.minContextSlot`."),
        (
            [address, {"minContextSlot": 2**70}],
            "Invalid params: Expected `int` <= 18446744073709551615 - at `$.minContextSlot`.",
        ),
        ([address, {"commitment": "certain"}], "Invalid params: Invalid enum value 'certain' - at `$.commitment`."),
        ([address, "processed"], "Invalid params: Expected `object | null`, got `str`."),
    ):
        error = await localnet.error("getBalance", *params)
        assert error["code"] == -32602
        assert message is None or error["message"] == message
    for method, params in (
        ("isBlockhashValid", ["xx"]),
        ("getTransaction", ["xx"]),
        ("getSignatureStatuses", [["xx"]]),
        ("getFeeForMessage", ["AAAA"]),
        ("getFeeForMessage", ["????"]),
        ("requestAirdrop", [address, -1]),
        ("requestAirdrop", [address, 1, {"recentBlockhash": "xx"}]),
        ("getSignaturesForAddress", [address, {"limit": 0}]),
        ("getProgramAccounts", [address, {"encoding": "base64+gzip"}]),
    ):
        assert (await localnet.error(method, *params))["code"] == -32602
    _, text = await post(localnet, b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":{"a":1}}')
    assert json.loads(text)["error"]["message"] == "`params` should be an array"


async def test_deep_nesting_is_refused(localnet: Localnet) -> None:
    for depth, code in ((100, -32602), (800, -32602), (20_000, -32700)):
        nested = b"[" * depth + b"]" * depth
        body = b'{"jsonrpc":"2.0","id":1,"method":"getBalance","params":[' + nested + b"]}"
        assert json.loads((await post(localnet, body))[1])["error"]["code"] == code
        ignored = b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[{"nobody asked":' + nested + b"}]}"
        answer = json.loads((await post(localnet, ignored))[1])
        assert ("result" in answer) == (code == -32602)


async def test_batches_have_a_cap(localnet: Localnet) -> None:
    def batch(length: int) -> bytes:
        return json.dumps([{"jsonrpc": "2.0", "id": i, "method": "getHealth"} for i in range(length)]).encode()

    replies = json.loads((await post(localnet, batch(100)))[1])
    assert [reply["id"] for reply in replies] == list(range(100))
    assert all(reply["result"] == "ok" for reply in replies)
    error = json.loads((await post(localnet, batch(101)))[1])["error"]
    assert error == {"code": -32600, "message": "Too many requests in the batch; max 100"}


async def test_http_status_codes(localnet: Localnet) -> None:
    assert (await post(localnet, b"x" * (MAX_BODY_BYTES + 1)))[0] == 413
    assert (await post(localnet, b"{}", "text/plain"))[0] == 415
    assert (await localnet.http.get("/")).status_code == 405
    assert (await localnet.http.get("/health")).text == "ok"
    assert (await localnet.http.get("/elsewhere")).status_code == 405
    elsewhere = await localnet.http.post("/else/where", json={"jsonrpc": "2.0", "id": 1, "method": "getHealth"})
    assert elsewhere.json()["result"] == "ok"
    preflight = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    assert (await localnet.http.options("/", headers=preflight)).headers["access-control-allow-origin"] == "*"


async def test_a_body_that_does_not_come_ends_in_408(localnet: Localnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localnet.server_http.BODY_DEADLINE_SECONDS", 0.05)
    stream = await trio.open_tcp_stream("127.0.0.1", localnet.endpoints.rpc_port)
    async with stream:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        await stream.send_all(head)
        with trio.fail_after(60):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 408")


async def test_identity_and_slots(localnet: Localnet) -> None:
    assert await localnet.result("getHealth") == "ok"
    assert (await localnet.result("getVersion"))["solana-core"] == "4.1.2"
    assert await localnet.result("getGenesisHash") == str(localnet.endpoints.genesis_hash)
    assert set(await localnet.result("getIdentity")) == {"identity"}
    localnet.clock.advance(49)
    slots = [
        await localnet.result("getSlot", {"commitment": level}) for level in ("processed", "confirmed", "finalized")
    ]
    assert slots == [50, 49, 18]
    assert await localnet.result("getSlot") == 18
    epoch = await localnet.result("getEpochInfo", PROCESSED)
    assert epoch == {
        "absoluteSlot": 50,
        "blockHeight": 50,
        "epoch": 0,
        "slotIndex": 50,
        "slotsInEpoch": 432_000,
        "transactionCount": 0,
    }
    assert (await localnet.error("getSlot", {"minContextSlot": 2**64 - 1}))["code"] == -32016
    error = await localnet.error("getSlot", {"minContextSlot": 19})
    assert error["code"] == -32016 and error["data"] == {"contextSlot": 18}
    assert (await localnet.client.get_block_height()).value == 18
    assert (await localnet.client.get_epoch_info()).value.absolute_slot == 18
    assert await localnet.result("getMinimumBalanceForRentExemption", 100) == 1_586_880


async def test_blocks_form_a_chain(localnet: Localnet) -> None:
    payer = await localnet.funded()
    transaction = await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL))
    signature = str((await localnet.client.send_raw_transaction(bytes(transaction), opts())).value)
    slot = await localnet.result("getSlot", PROCESSED)
    assert (await localnet.error("getBlock", slot, {"commitment": "confirmed"}))["code"] == -32004
    localnet.clock.advance(40)
    block: dict[str, Any] = await localnet.result("getBlock", slot)
    parent: dict[str, Any] = await localnet.result("getBlock", slot - 1)
    assert block["previousBlockhash"] == parent["blockhash"] and block["parentSlot"] == slot - 1
    assert block["blockHeight"] == slot
    assert [t["transaction"]["signatures"][0] for t in block["transactions"]] == [signature]
    only = await localnet.result("getBlock", slot, {"transactionDetails": "signatures", "rewards": False})
    assert only["signatures"] == [signature] and "transactions" not in only and "rewards" not in only
    assert await localnet.result("getBlocks", slot, slot + 3) == [slot, slot + 1, slot + 2, slot + 3]
    finalized = await localnet.result("getSlot")
    assert (await localnet.result("getBlocks", slot))[-1] == finalized
    assert (await localnet.error("getBlockTime", finalized + 1000))["code"] == -32004
    assert await localnet.result("getTransactionCount") == 2
    assert await localnet.result("getFirstAvailableBlock") == await localnet.result("minimumLedgerSlot") == 0
    fees = await localnet.result("getRecentPrioritizationFees", [str(payer.pubkey())])
    assert {"prioritizationFee": 0, "slot": slot} in fees


def opts() -> Any:
    from solana.rpc.commitment import Processed
    from solana.rpc.models import TxOpts

    return TxOpts(preflight_commitment=Processed)


class TestSmallLag:
    @pytest.fixture
    def config(self) -> LocalnetConfig:
        return LocalnetConfig(rpc_port=0, finalized_lag_slots=4)

    async def test_the_finalized_lag_is_a_parameter(self, localnet: Localnet) -> None:
        localnet.clock.advance(9)
        assert await localnet.result("getSlot") == 6
        assert await localnet.result("getSlot", {"commitment": "confirmed"}) == 9


async def test_concurrent_clients_do_not_disturb_each_other(localnet: Localnet) -> None:
    """Equal sums at the end, whatever the interleaving: every call is one step for the bank."""
    payers = [await localnet.funded(2 * SOL) for _ in range(4)]
    sink = Keypair().pubkey()

    async def spend(payer: Keypair) -> None:
        for lamports in range(1, 11):
            transaction = await localnet.sign(payer, pay(payer, sink, SOL // 100 + lamports))
            await localnet.client.send_raw_transaction(bytes(transaction), opts())
            localnet.clock.advance()

    async with trio.open_nursery() as nursery:
        for payer in payers:
            nursery.start_soon(spend, payer)
    assert await localnet.balance(sink, "processed") == 4 * (10 * (SOL // 100) + 55)
    left = [await localnet.balance(payer.pubkey(), "processed") for payer in payers]
    assert left == [2 * SOL - 10 * (SOL // 100) - 55 - 10 * 5000] * 4
