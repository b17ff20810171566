"""Lookup tables, durable nonces, and what a transaction leaves that could not be loaded.

Shapes and errors are literally those that solana-test-validator 4.1.2 answered.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import (
    set_compute_unit_limit,
    set_compute_unit_price,
    set_loaded_accounts_data_size_limit,
)
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import (
    AdvanceNonceAccountParams,
    CreateAccountParams,
    InitializeNonceAccountParams,
    advance_nonce_account,
    create_account,
    initialize_nonce_account,
)
from solders.transaction import VersionedTransaction

from localnet.bank import Bank
from localnet.transaction_keys import lookup_error

from .conftest import SOL, Localnet, pay

LOOKUP_TABLE_ID = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
MEMO_ID = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
SYSTEM_ID = Pubkey.default()
PROCESSED, CONFIRMED = {"commitment": "processed"}, {"commitment": "confirmed"}
SENT = {"encoding": "base64", "preflightCommitment": "processed"}
NONCE_LAMPORTS, NONCE_LENGTH = 1_447_680, 80


def wire(transaction: VersionedTransaction) -> str:
    return base64.b64encode(bytes(transaction)).decode()


async def send(localnet: Localnet, transaction: VersionedTransaction, **options: Any) -> str:
    return await localnet.result("sendTransaction", wire(transaction), SENT | options)


async def make_table(localnet: Localnet, payer: Keypair, addresses: list[Pubkey]) -> Pubkey:
    """By the address lookup table program's own instructions; usable from the next slot on."""
    slot = await localnet.result("getSlot", {"commitment": "finalized"})
    seeds = [bytes(payer.pubkey()), slot.to_bytes(8, "little")]
    table, bump = Pubkey.find_program_address(seeds, LOOKUP_TABLE_ID)
    accounts = [
        AccountMeta(table, False, True),
        AccountMeta(payer.pubkey(), True, False),
        AccountMeta(payer.pubkey(), True, True),
        AccountMeta(SYSTEM_ID, False, False),
    ]
    create = (0).to_bytes(4, "little") + seeds[1] + bytes([bump])
    extend = (2).to_bytes(4, "little") + len(addresses).to_bytes(8, "little") + b"".join(map(bytes, addresses))
    instructions = [Instruction(LOOKUP_TABLE_ID, data, accounts) for data in (create, extend)]
    await send(localnet, await localnet.sign(payer, *instructions))
    return table


async def test_version_0_through_a_lookup_table(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    me = payer.pubkey()
    table = await make_table(localnet, payer, [MEMO_ID, to])
    found = (await localnet.result("getAccountInfo", str(table), PROCESSED | {"encoding": "jsonParsed"}))["value"]
    slot = await localnet.result("getSlot", PROCESSED)
    assert found["data"] == {
        "parsed": {
            "info": {
                "addresses": [str(MEMO_ID), str(to)],
                "authority": str(me),
                "deactivationSlot": "18446744073709551615",
                "lastExtendedSlot": str(slot),
                "lastExtendedSlotStartIndex": 0,
            },
            "type": "lookupTable",
        },
        "program": "address-lookup-table",
        "space": 120,
    }

    async def through(*tables: AddressLookupTableAccount) -> VersionedTransaction:
        message = MessageV0.try_compile(me, [pay(payer, to, SOL)], list(tables), await localnet.blockhash())
        return VersionedTransaction(message, [payer])

    listed = AddressLookupTableAccount(table, [MEMO_ID, to])
    for used, words, loader_words in (
        # Addresses of this very slot are not usable yet.
        (listed, "Transaction address table lookup uses an invalid index", "Address lookup contains an invalid index"),
        (
            AddressLookupTableAccount(Keypair().pubkey(), [to]),
            "Transaction loads an address table account that doesn't exist",
            "Attempted to lookup addresses from a table that does not exist",
        ),
        (
            AddressLookupTableAccount(me, [to]),
            "Transaction loads an address table account with an invalid owner",
            "Attempted to lookup addresses from an account owned by the wrong program",
        ),
    ):
        refused = await through(used)
        for method, options in (
            ("sendTransaction", SENT),
            ("sendTransaction", SENT | {"skipPreflight": True}),
            ("simulateTransaction", {"encoding": "base64"} | PROCESSED),
        ):
            error = await localnet.error(method, wire(refused), options)
            assert error == {"code": -32602, "message": f"invalid transaction: {words}"}
        message = base64.b64encode(to_bytes_versioned(refused.message)).decode()
        error = await localnet.error("getFeeForMessage", message, PROCESSED)
        assert error == {"code": -32602, "message": f"invalid transaction message: {loader_words}"}

    localnet.clock.advance()
    transaction = await through(listed)
    simulated = (await localnet.result("simulateTransaction", wire(transaction), {"encoding": "base64"} | PROCESSED))[
        "value"
    ]
    assert simulated["loadedAddresses"] == {"readonly": [], "writable": [str(to)]} and simulated["err"] is None
    signature = await send(localnet, transaction)
    localnet.clock.advance()
    version = CONFIRMED | {"maxSupportedTransactionVersion": 0}
    plain = await localnet.result("getTransaction", signature, version)
    assert plain["version"] == 0
    assert plain["meta"]["loadedAddresses"] == {"readonly": [], "writable": [str(to)]}
    lookups = [{"accountKey": str(table), "readonlyIndexes": [], "writableIndexes": [1]}]
    assert plain["transaction"]["message"]["addressTableLookups"] == lookups
    assert plain["transaction"]["message"]["accountKeys"] == [str(me), str(SYSTEM_ID)]
    assert plain["meta"]["postBalances"] == [plain["meta"]["preBalances"][0] - SOL - 5000, 1, SOL]

    parsed = await localnet.result("getTransaction", signature, version | {"encoding": "jsonParsed"})
    assert "loadedAddresses" not in parsed["meta"]
    assert parsed["transaction"]["message"] == {
        "accountKeys": [
            {"pubkey": str(me), "signer": True, "source": "transaction", "writable": True},
            {"pubkey": str(SYSTEM_ID), "signer": False, "source": "transaction", "writable": False},
            {"pubkey": str(to), "signer": False, "source": "lookupTable", "writable": True},
        ],
        "addressTableLookups": lookups,
        "instructions": [
            {
                "parsed": {
                    "info": {"destination": str(to), "lamports": SOL, "source": str(me)},
                    "type": "transfer",
                },
                "program": "system",
                "programId": str(SYSTEM_ID),
                "stackHeight": 1,
            }
        ],
        "recentBlockhash": str(transaction.message.recent_blockhash),
    }
    # An address that a table gave is found by its signatures too.
    for address in (to, me):
        entries = await localnet.result("getSignaturesForAddress", str(address), CONFIRMED)
        assert entries[0]["signature"] == signature


@pytest.mark.parametrize(("slots_ago", "is_usable"), [(512, True), (513, False)])
def test_a_deactivated_table_serves_while_its_slot_is_among_the_slot_hashes(slots_ago: int, is_usable: bool) -> None:
    payer, to, table = Keypair(), Keypair().pubkey(), Keypair().pubkey()
    svm = LiteSVM()
    svm.airdrop(payer.pubkey(), SOL)
    bank = Bank(svm, blockhash_seed=b"", unix_time=0)
    for _ in range(slots_ago + 1):
        bank.advance(0)
    deactivated, extended = (slot.to_bytes(8, "little") for slot in (bank.slot - slots_ago, 1))
    data = ((1).to_bytes(4, "little") + deactivated + extended).ljust(56, b"\0") + bytes(to)
    svm.set_account(table, Account(SOL, data, LOOKUP_TABLE_ID))
    tables = [AddressLookupTableAccount(table, [to])]
    message = MessageV0.try_compile(
        payer.pubkey(), [pay(payer, to, SOL // 10)], tables, bank.latest_blockhash(bank.slot)
    )
    expected = None if is_usable else "AddressLookupTableNotFound"
    assert lookup_error(message, svm.get_account, bank.slot) == expected
    assert bank.process(VersionedTransaction(message, [payer])).error == expected


async def test_more_accounts_than_the_transaction_allows_cost_the_fee_alone(localnet: Localnet) -> None:
    """228 bytes: 64 for each account that is there, and the data of the two programs."""
    payer, to = await localnet.funded(), Keypair().pubkey()
    for limit, error, cost_units in (
        (227, "MaxLoadedAccountsDataSizeExceeded", 1_332),
        (228, None, 1_632),
    ):
        transfer = pay(payer, to, SOL // 10)
        transaction = await localnet.sign(payer, set_loaded_accounts_data_size_limit(limit), transfer)
        before = await localnet.balance(payer.pubkey(), "processed")
        options = {"encoding": "base64"} | PROCESSED
        simulated = (await localnet.result("simulateTransaction", wire(transaction), options))["value"]
        assert (simulated["err"], simulated["loadedAccountsDataSize"], simulated["fee"]) == (error, limit, 5000)
        signature = await send(localnet, transaction, skipPreflight=True)
        paid = 5000 if error else 5000 + SOL // 10
        assert await localnet.balance(payer.pubkey(), "processed") == before - paid
        localnet.clock.advance()
        meta = (await localnet.result("getTransaction", signature, CONFIRMED))["meta"]
        assert (meta["err"], meta["fee"], meta["costUnits"]) == (error, 5000, cost_units)
        assert (meta["logMessages"] is None) == (error is not None)
    missing = await localnet.sign(
        payer, set_loaded_accounts_data_size_limit(5), Instruction(Keypair().pubkey(), b"", [])
    )
    error = (await localnet.error("sendTransaction", wire(missing), SENT))["data"]["err"]
    assert error == "MaxLoadedAccountsDataSizeExceeded"  # before it is seen that there is no such program
    stranger = Keypair()
    message = Message.new_with_blockhash(
        [set_loaded_accounts_data_size_limit(5)], stranger.pubkey(), await localnet.blockhash()
    )
    poor = wire(VersionedTransaction(message, [stranger]))
    assert (await localnet.error("sendTransaction", poor, SENT))["data"]["err"] == "AccountNotFound"
    forged = wire(VersionedTransaction.populate(missing.message, [Signature.default()]))
    signature = await localnet.result("sendTransaction", forged, SENT | {"skipPreflight": True})
    assert (await localnet.result("getSignatureStatuses", [signature]))["value"] == [None]


async def test_whether_a_program_is_there_is_asked_of_the_slot_that_is_simulated(localnet: Localnet) -> None:
    payer, late = await localnet.funded(), Keypair().pubkey()
    blockhash = await localnet.blockhash("finalized")
    await localnet.airdrop(late)
    message = Message.new_with_blockhash([Instruction(late, b"", [])], payer.pubkey(), blockhash)
    transaction = wire(VersionedTransaction(message, [payer]))
    for level, error in (("finalized", "ProgramAccountNotFound"), ("processed", "InvalidProgramForExecution")):
        options = {"encoding": "base64", "commitment": level}
        assert (await localnet.result("simulateTransaction", transaction, options))["value"]["err"] == error


async def test_a_program_that_is_not_there_costs_the_fee_alone(localnet: Localnet) -> None:
    payer, missing, no_program = await localnet.funded(), Keypair().pubkey(), (await localnet.funded(SOL)).pubkey()
    for program, error, held in (
        (missing, "ProgramAccountNotFound", 0),
        (no_program, "InvalidProgramForExecution", SOL),
    ):
        transaction = await localnet.sign(payer, Instruction(program, b"", []))
        before = await localnet.balance(payer.pubkey(), "processed")
        simulated = (
            await localnet.result("simulateTransaction", wire(transaction), {"encoding": "base64"} | PROCESSED)
        )["value"]
        assert simulated == {
            "accounts": None,
            "err": error,
            "fee": 5000,
            "innerInstructions": None,
            "loadedAccountsDataSize": 64,
            "loadedAddresses": {"readonly": [], "writable": []},
            "logs": [],
            "postBalances": [before - 5000, held],
            "postTokenBalances": [],
            "preBalances": [before, held],
            "preTokenBalances": [],
            "replacementBlockhash": None,
            "returnData": None,
            "unitsConsumed": 0,
        }
        refused = await localnet.error("sendTransaction", wire(transaction), SENT)
        assert refused["data"]["err"] == error
        signature = await send(localnet, transaction, skipPreflight=True)
        assert await localnet.balance(payer.pubkey(), "processed") == before - 5000
        localnet.clock.advance()
        found = await localnet.result("getTransaction", signature, CONFIRMED)
        assert found["meta"] == {
            "computeUnitsConsumed": 0,
            "costUnits": 1028,
            "err": error,
            "fee": 5000,
            "innerInstructions": None,
            "loadedAddresses": {"readonly": [], "writable": []},
            "logMessages": None,
            "postBalances": [before - 5000, held],
            "postTokenBalances": [],
            "preBalances": [before, held],
            "preTokenBalances": [],
            "rewards": [],
            "status": {"Err": error},
        }
        parsed = await localnet.result("getTransaction", signature, CONFIRMED | {"encoding": "jsonParsed"})
        assert parsed["meta"]["innerInstructions"] is None and parsed["meta"]["logMessages"] is None


async def test_simulation_states_balances_even_of_what_would_not_run(localnet: Localnet) -> None:
    payer, poor, to = await localnet.funded(), Keypair(), Keypair().pubkey()
    old = VersionedTransaction(Message.new_with_blockhash([pay(payer, to, 1)], payer.pubkey(), Hash.default()), [payer])
    unfunded = await localnet.sign(poor, pay(poor, to, 1))
    for transaction, error, lamports in ((old, "BlockhashNotFound", 10 * SOL), (unfunded, "AccountNotFound", 0)):
        options = {"encoding": "base64"} | PROCESSED
        found = (await localnet.result("simulateTransaction", wire(transaction), options))["value"]
        assert found["err"] == error and found["fee"] is None and found["loadedAccountsDataSize"] == 0
        assert found["preBalances"] == found["postBalances"] == [lamports, 0, 1]
        assert found["preTokenBalances"] == found["postTokenBalances"] == []


class Nonce:
    """A nonce account of the payer's."""

    def __init__(self, localnet: Localnet, payer: Keypair) -> None:
        self.localnet, self.payer, self.account = localnet, payer, Keypair()

    async def create(self) -> None:
        me, address = self.payer.pubkey(), self.account.pubkey()
        create = create_account(
            CreateAccountParams(
                from_pubkey=me, to_pubkey=address, lamports=NONCE_LAMPORTS, space=NONCE_LENGTH, owner=SYSTEM_ID
            )
        )
        initialize = initialize_nonce_account(InitializeNonceAccountParams(nonce_pubkey=address, authority=me))
        await send(self.localnet, await self.localnet.sign(self.payer, create, initialize, also=(self.account,)))

    async def value(self) -> Hash:
        config = PROCESSED | {"encoding": "jsonParsed"}
        found = (await self.localnet.result("getAccountInfo", str(self.account.pubkey()), config))["value"]
        info = found["data"]["parsed"]["info"]
        assert found["data"] == {
            "parsed": {
                "info": {
                    "authority": str(self.payer.pubkey()),
                    "blockhash": info["blockhash"],
                    "feeCalculator": {"lamportsPerSignature": "5000"},
                },
                "type": "initialized",
            },
            "program": "nonce",
            "space": 80,
        }
        return Hash.from_string(info["blockhash"])

    async def sign(self, *instructions: Instruction, authority: Keypair | None = None) -> VersionedTransaction:
        """A transaction that names the nonce as its blockhash."""
        authority = authority or self.payer
        parameters = AdvanceNonceAccountParams(nonce_pubkey=self.account.pubkey(), authorized_pubkey=authority.pubkey())
        advance = advance_nonce_account(parameters)
        message = Message.new_with_blockhash([advance, *instructions], self.payer.pubkey(), await self.value())
        signers = [self.payer] if authority is self.payer else [self.payer, authority]
        return VersionedTransaction(message, signers)


async def test_a_durable_nonce_outlives_blockhashes_and_is_spent_once(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    nonce = Nonce(localnet, payer)
    await nonce.create()
    signed, rival = await nonce.sign(pay(payer, to, SOL)), await nonce.sign(pay(payer, to, 2 * SOL))
    localnet.clock.advance(400)
    valid = await localnet.result("isBlockhashValid", str(signed.message.recent_blockhash), PROCESSED)
    assert valid["value"] is False
    fee = await localnet.result("getFeeForMessage", base64.b64encode(bytes(signed.message)).decode(), PROCESSED)
    assert fee["value"] == 5000
    await send(localnet, signed)
    assert await localnet.balance(to, "processed") == SOL
    assert await nonce.value() != signed.message.recent_blockhash
    for spent, reason in ((signed, "BlockhashNotFound"), (rival, "BlockhashNotFound")):
        error = await localnet.error("sendTransaction", wire(spent), SENT)
        assert error["data"]["err"] == reason
        await send(localnet, spent, skipPreflight=True)
    assert await localnet.balance(to, "processed") == SOL


async def test_a_durable_nonce_advances_even_if_the_rest_fails(localnet: Localnet) -> None:
    payer, to = await localnet.funded(), Keypair().pubkey()
    nonce = Nonce(localnet, payer)
    await nonce.create()
    localnet.clock.advance(200)
    for instruction in (pay(payer, to, 100 * SOL), Instruction(Keypair().pubkey(), b"", [])):
        failing = await nonce.sign(instruction)
        signature = await send(localnet, failing, skipPreflight=True)
        status = (await localnet.result("getSignatureStatuses", [signature]))["value"][0]
        assert status is not None and status["err"] is not None
        assert await nonce.value() != failing.message.recent_blockhash
        await send(localnet, failing, skipPreflight=True)
        localnet.clock.advance(200)
    good = await nonce.sign(pay(payer, to, SOL))
    await send(localnet, good)
    assert await localnet.balance(to, "processed") == SOL
    # The three that landed paid a fee each, and the airdrop's ten are otherwise there.
    spent = 10 * SOL - await localnet.balance(payer.pubkey(), "processed")
    assert spent == SOL + NONCE_LAMPORTS + 2 * 5000 + 3 * 5000


async def test_only_the_nonces_authority_may_use_it(localnet: Localnet) -> None:
    payer, thief, to = await localnet.funded(), Keypair(), Keypair().pubkey()
    nonce = Nonce(localnet, payer)
    await nonce.create()
    localnet.clock.advance(200)
    stolen = await nonce.sign(pay(payer, to, SOL), authority=thief)
    error = await localnet.error("sendTransaction", wire(stolen), SENT)
    assert error["data"]["err"] == "BlockhashNotFound"
    plain = Message.new_with_blockhash([pay(payer, to, SOL)], payer.pubkey(), await nonce.value())
    error = await localnet.error("sendTransaction", wire(VersionedTransaction(plain, [payer])), SENT)
    assert error["data"]["err"] == "BlockhashNotFound"


async def test_a_senseless_compute_budget_is_refused_before_anything_else(localnet: Localnet) -> None:
    payer = await localnet.funded()
    budget = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
    limit = b"\x02" + (7).to_bytes(4, "little")
    for datas, words in (
        ([b""], "Error processing Instruction 0: invalid instruction data"),
        ([b"\x07" + bytes(8)], "Error processing Instruction 0: invalid instruction data"),
        ([limit, b"\x03" + bytes(7)], "Error processing Instruction 1: invalid instruction data"),
        ([limit, limit], "Transaction contains a duplicate instruction (1) that is not allowed"),
    ):
        transaction = await localnet.sign(payer, *(Instruction(budget, data, []) for data in datas))
        for method, options in (
            ("sendTransaction", SENT | {"skipPreflight": True}),
            ("simulateTransaction", {"encoding": "base64"} | PROCESSED),
        ):
            error = await localnet.error(method, wire(transaction), options)
            assert error == {"code": -32602, "message": f"invalid transaction: {words}"}


async def test_prioritization_fees_by_block_and_by_account(localnet: Localnet) -> None:
    payer, busy, calm = await localnet.funded(), Keypair().pubkey(), Keypair().pubkey()
    slot = await localnet.result("getSlot", PROCESSED)
    for to, price in ((busy, 50_000), (busy, 30_000), (calm, 10_000)):
        budget = [set_compute_unit_limit(1_000_000), set_compute_unit_price(price)]
        await send(localnet, await localnet.sign(payer, *budget, pay(payer, to, SOL)))
    localnet.clock.advance()

    async def fee(*addresses: Pubkey) -> int:
        found = await localnet.result("getRecentPrioritizationFees", [str(key) for key in addresses])
        (entry,) = (entry for entry in found if entry["slot"] == slot)
        return entry["prioritizationFee"]

    assert await fee() == await fee(calm) == await fee(Keypair().pubkey()) == 10_000
    assert await fee(busy) == await fee(calm, busy) == 30_000
    # A price that gives no whole lamport for the limit is paid as the next whole one: 2 lamports for 200,000 units.
    slot = await localnet.result("getSlot", PROCESSED)
    odd = [set_compute_unit_limit(200_000), set_compute_unit_price(7), pay(payer, calm, SOL)]
    await send(localnet, await localnet.sign(payer, *odd))
    localnet.clock.advance()
    assert await fee() == 10


async def test_the_names_of_former_commitments_mean_the_default(localnet: Localnet) -> None:
    localnet.clock.advance(49)
    for name in ("max", "recent", "root", "single", "singleGossip"):
        assert await localnet.result("getSlot", {"commitment": name}) == 18
    assert (await localnet.error("getSlot", {"commitment": "finalised"}))["code"] == -32602
