"""Transactions over real HTTP: what lands, what is refused and in which words, what each commitment shows."""

from __future__ import annotations

import base64
from typing import Any

import numpy
import pytest
from solana.rpc.commitment import Confirmed, Finalized, Processed
from solana.rpc.core import RPCException
from solana.rpc.models import TxOpts
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import VersionedTransaction

from .conftest import SOL, Localnet, pay

MEMO_ID = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
BASE64 = {"encoding": "base64", "preflightCommitment": "processed"}


def wire(transaction: VersionedTransaction) -> str:
    return base64.b64encode(bytes(transaction)).decode()


async def send(localnet: Localnet, transaction: VersionedTransaction, **options: Any) -> str:
    return await localnet.result("sendTransaction", wire(transaction), BASE64 | options)


async def test_solana_py_transfers_and_sees_the_statuses_rise(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    transaction = await localnet.sign(payer, pay(payer, to, SOL))
    signature = (await localnet.client.send_transaction(transaction, TxOpts(preflight_commitment=Processed))).value
    assert signature == transaction.signatures[0]

    seen = []
    for advance in (0, 1, 30, 1):
        localnet.clock.advance(advance)
        status = (await localnet.client.get_signature_statuses([signature])).value[0]
        assert status is not None and status.err is None
        seen.append((str(status.confirmation_status).rsplit(".", 1)[-1], status.confirmations))
    assert seen == [("Processed", 0), ("Confirmed", 1), ("Confirmed", 31), ("Finalized", None)]

    assert (await localnet.client.get_balance(to, Finalized)).value == SOL
    found = (await localnet.client.get_transaction(signature, commitment=Confirmed)).value
    assert found is not None
    meta = found.transaction.meta
    assert meta is not None and meta.err is None and meta.fee == 5000
    assert meta.pre_balances[0] - meta.post_balances[0] == SOL + 5000
    # As a real validator states it for this very transaction: signature 720, two locks 600, data 3, units 150, page 8.
    assert meta.cost_units == 1481
    history = (await localnet.client.get_signatures_for_address(to)).value
    assert [entry.signature for entry in history] == [signature]


async def test_a_finalized_read_does_not_show_what_is_only_processed(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    await send(localnet, await localnet.sign(payer, pay(payer, to, SOL)))

    async def seen() -> list[int]:
        return [await localnet.balance(to, level) for level in ("processed", "confirmed", "finalized")]

    assert await seen() == [SOL, 0, 0]
    assert (await localnet.result("getAccountInfo", str(to)))["value"] is None
    localnet.clock.advance()
    await send(localnet, await localnet.sign(payer, pay(payer, to, 2 * SOL)))
    assert await seen() == [3 * SOL, SOL, 0]
    localnet.clock.advance(31)
    assert await seen() == [3 * SOL, 3 * SOL, SOL]
    localnet.clock.advance(1)
    assert await seen() == [3 * SOL, 3 * SOL, 3 * SOL]


async def test_an_account_that_was_emptied_is_still_there_at_finalized(localnet: Localnet) -> None:
    payer, other = await localnet.funded(), await localnet.funded(2 * SOL)
    transaction = await localnet.sign(payer, pay(other, payer.pubkey(), 2 * SOL), also=(other,))
    await send(localnet, transaction)
    address = str(other.pubkey())
    assert (await localnet.result("getAccountInfo", address, {"commitment": "processed"}))["value"] is None
    assert (await localnet.result("getAccountInfo", address))["value"]["lamports"] == 2 * SOL


async def test_a_blockhash_lives_150_blocks(localnet: Localnet) -> None:
    payer = await localnet.funded()
    found = (await localnet.result("getLatestBlockhash", {"commitment": "processed"}))["value"]
    old = await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL))
    last = await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL))
    height = await localnet.result("getBlockHeight", {"commitment": "processed"})
    assert found["lastValidBlockHeight"] == height - 1 + 150

    localnet.clock.advance(found["lastValidBlockHeight"] - height)
    processed = {"commitment": "processed"}
    assert (await localnet.result("isBlockhashValid", found["blockhash"], processed))["value"] is True
    await send(localnet, last)
    assert (await localnet.result("getSignatureStatuses", [str(last.signatures[0])]))["value"][0]["err"] is None

    localnet.clock.advance()
    assert (await localnet.result("isBlockhashValid", found["blockhash"], processed))["value"] is False
    error = await localnet.error("sendTransaction", wire(old), BASE64)
    assert (error["code"], error["message"]) == (-32002, "Transaction simulation failed: Blockhash not found")
    assert error["data"]["err"] == "BlockhashNotFound"
    # Without preflight the signature comes back and nothing lands, as on a cluster.
    assert await send(localnet, old, skipPreflight=True) == str(old.signatures[0])
    assert (await localnet.result("getSignatureStatuses", [str(old.signatures[0])]))["value"] == [None]


async def test_preflight_at_finalized_does_not_know_a_newer_blockhash(localnet: Localnet) -> None:
    payer = await localnet.funded()
    transaction = await localnet.sign(payer, pay(payer, Keypair().pubkey(), SOL))
    error = await localnet.error("sendTransaction", wire(transaction), {"encoding": "base64"})
    assert error["data"]["err"] == "BlockhashNotFound"
    localnet.clock.advance(32)
    await localnet.result("sendTransaction", wire(transaction), {"encoding": "base64"})


async def test_preflight_runs_on_the_state_of_its_commitment(localnet: Localnet) -> None:
    payer, poor = await localnet.funded(), Keypair()
    await localnet.airdrop(poor.pubkey(), SOL)
    transaction = await localnet.sign(payer, pay(poor, payer.pubkey(), SOL), also=(poor,))
    localnet.clock.advance(1)
    at = {"encoding": "base64", "commitment": "finalized", "replaceRecentBlockhash": True}
    early = await localnet.result("simulateTransaction", wire(transaction), at)
    assert early["value"]["err"] == {"InstructionError": [0, {"Custom": 1}]}
    now = await localnet.result("simulateTransaction", wire(transaction), at | {"commitment": "confirmed"})
    assert now["value"]["err"] is None
    # What the simulation put back in place is the present state.
    assert await localnet.balance(poor.pubkey(), "processed") == SOL
    localnet.clock.advance(32)
    assert (await localnet.result("simulateTransaction", wire(transaction), at))["value"]["err"] is None


async def test_a_signature_is_accepted_once(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    transaction = await localnet.sign(payer, pay(payer, to, SOL))
    await send(localnet, transaction)
    error = await localnet.error("sendTransaction", wire(transaction), BASE64)
    assert error["code"] == -32002
    assert error["message"] == "Transaction simulation failed: This transaction has already been processed"
    assert error["data"]["err"] == "AlreadyProcessed"
    await send(localnet, transaction, skipPreflight=True)
    assert await localnet.balance(to, "processed") == SOL


async def test_preflight_failure_has_agaves_shape(localnet: Localnet) -> None:
    payer = await localnet.funded(SOL)
    transaction = await localnet.sign(payer, pay(payer, Keypair().pubkey(), 5 * SOL))
    error = await localnet.error("sendTransaction", wire(transaction), BASE64)
    assert error["code"] == -32002
    assert error["message"] == (
        "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1"
    )
    assert error["data"]["err"] == {"InstructionError": [0, {"Custom": 1}]}
    assert error["data"]["unitsConsumed"] == 150
    assert any("insufficient lamports" in line for line in error["data"]["logs"])
    with pytest.raises(RPCException) as caught:
        await localnet.client.send_transaction(transaction, TxOpts(preflight_commitment=Processed))
    assert "custom program error: 0x1" in str(caught.value)


async def test_a_failed_transaction_lands_and_pays_its_fee(localnet: Localnet) -> None:
    payer = await localnet.funded(SOL)
    transaction = await localnet.sign(payer, pay(payer, Keypair().pubkey(), 5 * SOL))
    signature = await send(localnet, transaction, skipPreflight=True)
    assert await localnet.balance(payer.pubkey(), "processed") == SOL - 5000
    status = (await localnet.result("getSignatureStatuses", [signature]))["value"][0]
    error = {"InstructionError": [0, {"Custom": 1}]}
    assert (status["err"], status["status"]) == (error, {"Err": error})
    localnet.clock.advance()
    found = await localnet.result("getTransaction", signature, {"commitment": "confirmed"})
    assert found["meta"]["err"] == error and found["meta"]["fee"] == 5000


async def test_refused_before_it_runs(localnet: Localnet) -> None:
    payer, poor = await localnet.funded(), Keypair()
    good = await localnet.sign(payer, pay(payer, poor.pubkey(), SOL))
    unfunded = await localnet.sign(poor, pay(poor, payer.pubkey(), 1))
    forged = VersionedTransaction.populate(good.message, [Keypair().sign_message(b"something else")])
    for transaction, reason in ((unfunded, "AccountNotFound"), (forged, "SignatureFailure")):
        error = await localnet.error("sendTransaction", wire(transaction), BASE64)
        assert (error["code"], error["data"]["err"]) == (-32002, reason)
        await send(localnet, transaction, skipPreflight=True)
        statuses = await localnet.result("getSignatureStatuses", [str(transaction.signatures[0])])
        assert statuses["value"] == [None]
    assert await localnet.balance(payer.pubkey(), "processed") == 10 * SOL


async def test_bytes_that_are_no_transaction(localnet: Localnet) -> None:
    for text, options, says in (
        ("!!!!", {"encoding": "base64"}, "invalid base64 encoding"),
        ("0OIl", {}, "invalid base58 encoding"),
        ("AAAA", {"encoding": "base64"}, "failed to deserialize"),
        ("A" * 1700, {"encoding": "base64"}, "too large"),
        ("AAAA", {"encoding": "json"}, "unsupported encoding: json"),
    ):
        error = await localnet.error("sendTransaction", text, options)
        assert error["code"] == -32602 and says in error["message"]


async def test_airdrops_with_equal_parameters_are_two(localnet: Localnet) -> None:
    to = Keypair().pubkey()
    first, second = await localnet.airdrop(to, SOL), await localnet.airdrop(to, SOL)
    assert first != second
    assert await localnet.balance(to, "processed") == 2 * SOL
    error = await localnet.error("requestAirdrop", str(to), 10**18)
    assert error["code"] == -32603 and "faucet" in error["message"]


async def test_get_transaction_by_encoding_and_commitment(localnet: Localnet) -> None:
    payer = await localnet.funded()
    transaction = await localnet.sign(payer, Instruction(MEMO_ID, b"gm", [AccountMeta(payer.pubkey(), True, False)]))
    signature = await send(localnet, transaction)
    error = await localnet.error("getTransaction", signature, {"commitment": "processed"})
    assert error == {"code": -32602, "message": "Method does not support commitment below `confirmed`"}
    assert await localnet.result("getTransaction", signature, {"commitment": "confirmed"}) is None
    localnet.clock.advance()
    confirmed = {"commitment": "confirmed"}
    plain = await localnet.result("getTransaction", signature, confirmed)
    message = plain["transaction"]["message"]
    assert message["accountKeys"] == [str(payer.pubkey()), str(MEMO_ID)]
    assert message["instructions"] == [{"accounts": [0], "data": "8sW", "programIdIndex": 1, "stackHeight": 1}]
    assert "version" not in plain
    assert any("gm" in line for line in plain["meta"]["logMessages"])
    (listed,) = await localnet.result("getSignaturesForAddress", str(MEMO_ID), confirmed)
    assert listed["memo"] == "[2] gm"
    encoded = await localnet.result(
        "getTransaction", signature, confirmed | {"encoding": "base64", "maxSupportedTransactionVersion": 0}
    )
    assert encoded["transaction"] == [wire(transaction), "base64"] and encoded["version"] == "legacy"
    assert await localnet.result("getTransaction", signature) is None
    localnet.clock.advance(31)
    assert (await localnet.result("getTransaction", signature))["slot"] == plain["slot"]


async def test_version_0_without_a_lookup_table(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    message = MessageV0.try_compile(payer.pubkey(), [pay(payer, to, SOL)], [], await localnet.blockhash())
    signature = await send(localnet, VersionedTransaction(message, [payer]))
    localnet.clock.advance()
    confirmed = {"commitment": "confirmed"}
    error = await localnet.error("getTransaction", signature, confirmed)
    assert error["code"] == -32015 and '"maxSupportedTransactionVersion": 0' in error["message"]
    found = await localnet.result("getTransaction", signature, confirmed | {"maxSupportedTransactionVersion": 0})
    assert found["version"] == 0 and found["transaction"]["message"]["addressTableLookups"] == []


async def test_fee_for_message_is_the_fee_that_is_taken(localnet: Localnet) -> None:
    payer = await localnet.funded()
    to = Keypair().pubkey()
    for instructions in (
        [pay(payer, to, SOL)],
        [set_compute_unit_price(1_000_000), pay(payer, to, SOL)],
        [set_compute_unit_price(3), set_compute_unit_limit(70_001), pay(payer, to, SOL)],
        [set_compute_unit_price(7_777_777), Instruction(MEMO_ID, b"gm", []), pay(payer, to, SOL)],
    ):
        transaction = await localnet.sign(payer, *instructions)
        fee = (await localnet.client.get_fee_for_message(transaction.message, Processed)).value
        before = await localnet.balance(payer.pubkey(), "processed")
        await send(localnet, transaction)
        assert before - await localnet.balance(payer.pubkey(), "processed") - SOL == fee
    localnet.clock.advance(200)
    assert (await localnet.client.get_fee_for_message(transaction.message, Processed)).value is None


async def test_simulation_changes_nothing_and_shows_accounts(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    transaction = await localnet.sign(payer, pay(payer, to, SOL))
    unsigned = VersionedTransaction.populate(transaction.message, [Signature.default()])
    options = {"encoding": "base64", "commitment": "processed", "accounts": {"addresses": [str(to)]}}
    found = (await localnet.result("simulateTransaction", wire(unsigned), options))["value"]
    assert found["err"] is None and found["unitsConsumed"] == 150 and found["fee"] == 5000
    assert found["accounts"][0]["lamports"] == SOL
    assert found["postBalances"][:2] == [9 * SOL - 5000, SOL]
    assert found["loadedAccountsDataSize"] == 64 + 64 + 14  # payer, system program and its name; `to` is not there yet
    failing = await localnet.sign(payer, pay(payer, to, 50 * SOL))
    told = (await localnet.result("simulateTransaction", wire(failing), options))["value"]
    assert told["preBalances"][0] - told["postBalances"][0] == 5000 and told["accounts"] == [None]
    verified = await localnet.result("simulateTransaction", wire(unsigned), options | {"sigVerify": True})
    assert verified["value"]["err"] == "SignatureFailure"
    assert await localnet.balance(to, "processed") == 0


async def test_signatures_for_address_pages(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    sent = []
    for lamports in range(5):
        sent.append(await send(localnet, await localnet.sign(payer, pay(payer, to, SOL + lamports))))
        localnet.clock.advance()
    newest_first = sent[::-1]
    page = {"commitment": "confirmed", "limit": 2}
    first = await localnet.result("getSignaturesForAddress", str(to), page)
    assert [entry["signature"] for entry in first] == newest_first[:2]
    second = await localnet.result(
        "getSignaturesForAddress", str(to), page | {"before": newest_first[1], "until": newest_first[4], "limit": 9}
    )
    assert [entry["signature"] for entry in second] == newest_first[2:4]
    error = await localnet.error("getSignaturesForAddress", str(to), {"before": str(Signature.default())})
    assert error["code"] == -32020


async def test_token_balances_and_inner_instructions_are_in_the_meta(localnet: Localnet) -> None:
    from solders.token.associated import get_associated_token_address  # only this test needs tokens

    token = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
    associated = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
    system = Pubkey.default()
    payer, mint = await localnet.funded(), Keypair()
    me = payer.pubkey()
    holder = get_associated_token_address(me, mint.pubkey())
    instructions = [
        create_account(
            CreateAccountParams(from_pubkey=me, to_pubkey=mint.pubkey(), lamports=SOL // 10, space=82, owner=token)
        ),
        Instruction(token, bytes([20, 6]) + bytes(me) + b"\0", [AccountMeta(mint.pubkey(), False, True)]),
        Instruction(
            associated,
            b"",
            [AccountMeta(me, True, True), AccountMeta(holder, False, True), AccountMeta(me, False, False)]
            + [AccountMeta(key, False, False) for key in (mint.pubkey(), system, token)],
        ),
        Instruction(
            token,
            bytes([7]) + (1_500_000).to_bytes(8, "little"),
            [
                AccountMeta(mint.pubkey(), False, True),
                AccountMeta(holder, False, True),
                AccountMeta(me, True, False),
            ],
        ),
    ]
    unsigned = await localnet.sign(payer, pay(payer, me, 1))
    message = MessageV0.try_compile(me, instructions, [], unsigned.message.recent_blockhash)
    signature = await send(localnet, VersionedTransaction(message, [payer, mint]))
    localnet.clock.advance()
    options = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    meta = (await localnet.result("getTransaction", signature, options))["meta"]
    assert meta["err"] is None and meta["preTokenBalances"] == []
    # This program's compiled code uses MMX registers; the rest of this process must not be left with them (localnet/x87.py).
    assert numpy.longdouble(3) / numpy.longdouble(2) == numpy.longdouble("1.5")
    (balance,) = meta["postTokenBalances"]
    assert (balance["mint"], balance["owner"]) == (str(mint.pubkey()), str(me))
    assert balance["uiTokenAmount"] == {
        "amount": "1500000",
        "decimals": 6,
        "uiAmount": 1.5,
        "uiAmountString": "1.5",
    }
    (inner,) = meta["innerInstructions"]
    assert inner["index"] == 2 and {i["stackHeight"] for i in inner["instructions"]} == {2}
