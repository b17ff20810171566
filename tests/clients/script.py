"""The script of calls that every client runs against both L1s: ONE list, as data. `./run python -m tests.clients.script` prints it.

A step is a dict; `do` says what it is, `name` names what is recorded of it (a step without one is only carried out):

- call: `method` and `params` as they go over the wire. A client that has no way to say it leaves it out.
- airdrop: `to`, `lamports`; the client waits until it is confirmed, in its own way.
- send, simulate: a transaction of `instructions`, `payer` (a key's name), `signers` (the others'), `version` ("legacy" or 0),
  `tables`; `blockhash` other than the latest; `corrupt` flips a bit of the first signature; `options` of the method; `confirm`
  waits through a signature subscription. `wire` makes such a transaction and keeps it: `$NAME` base64, `$NAME58` base58;
  `message` keeps its message alone.
- subscribe: `kind`, `params`; then the steps of `then` run, and the first `count` notifications are recorded;
  `refused` when the L1 has to refuse it.
- lookup_table: keeps the address (`$table`) and the data (`$tableData`) of a table's creation under a recent slot.

`save`: {name: path} keeps a part of what a step gave, as `$name` for later steps. `varies`: its numbers and addresses are no constants.
`unordered`: the order of its lists is none. Keys come from names and the client's own name, so that all clients can share one L1.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from solders.keypair import Keypair

from tests.clients import instructions as ix
from tests.clients.instructions import SYSTEM, TOKEN, TOKEN_2022

SOL = 1_000_000_000
CONFIRMED = {"commitment": "confirmed"}
PROCESSED = {"commitment": "processed"}
KEYS = (
    "payer",
    "friend",
    "nobody",
    "poor",
    "mint",
    "mint22",
    "holder",
    "delegate",
    "watched",
    "nonce",
    "wallet",
    "stranger",
)
FAR_SLOT = 900_000_000
BAD_PUBKEY = "not-base58-0OIl"
SHORT_PUBKEY = "abc"
LONG_PUBKEY = "1" * 45
NO_SIGNATURE = "1" * 64
NO_BLOCKHASH = "4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM"

Step = dict[str, Any]


@dataclass(frozen=True)
class Script:
    client: str
    keypairs: dict[str, Keypair]
    steps: list[Step]

    def address(self, name: str) -> str:
        return str(self.keypairs[name].pubkey())

    def to_json(self) -> dict[str, Any]:
        keys = {name: bytes(pair).hex() for name, pair in self.keypairs.items()}
        return {"client": self.client, "keypairs": keys, "steps": self.steps}


def keypair(client: str, name: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(f"pouw conformance/{client}/{name}".encode()).digest())


def make(client: str) -> Script:
    """The script for one client; `client` also seeds its keys."""
    pairs = {name: keypair(client, name) for name in KEYS}
    at = {name: str(pair.pubkey()) for name, pair in pairs.items()}
    steps = [
        *node_calls(),
        *account_calls(at),
        *money(at),
        *refused_transactions(at),
        *transaction_calls(at),
        *lookup_table(at),
        *tokens(at),
        *token_calls(at),
        *subscriptions(at),
        *ledger_calls(),
        *bad_requests(at),
    ]
    names = [step["name"] for step in flat(steps) if step.get("name")]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    return Script(client, pairs, steps)


def flat(steps: list[Step]) -> list[Step]:
    return [one for step in steps for one in (step, *flat(step.get("then", [])))]


def call(what: str, method: str, *params: Any, **more: Any) -> Step:
    return {"do": "call", "name": f"{method}: {what}", "method": method, "params": list(params), **more}


def send(name: str, *instructions: ix.Instruction, **more: Any) -> Step:
    step = {"do": "send", "name": name, "payer": "payer", "signers": [], "version": "legacy", "confirm": True}
    return {**step, "instructions": list(instructions), "options": CONFIRMED_PREFLIGHT, **more}


CONFIRMED_PREFLIGHT = {"preflightCommitment": "confirmed"}


def simulate(name: str, *instructions: ix.Instruction, **more: Any) -> Step:
    return send(f"simulateTransaction: {name}", *instructions, **{"options": CONFIRMED, **more, "do": "simulate"})


def node_calls() -> list[Step]:
    far = {"minContextSlot": FAR_SLOT}
    return [
        call("", "getHealth"),
        call("", "getVersion"),
        call("", "getGenesisHash"),
        call("", "getIdentity"),
        call("default", "getSlot", varies=True),
        call("confirmed", "getSlot", CONFIRMED, varies=True, save={"slot": ""}),
        call("processed", "getSlot", PROCESSED, varies=True),
        call("context slot not reached", "getSlot", CONFIRMED | far),
        call("unknown commitment", "getSlot", {"commitment": "maximal"}, varies=True),
        call("", "getBlockHeight", CONFIRMED, varies=True),
        call("", "getSlotLeader", CONFIRMED),
        call("two", "getSlotLeaders", "$slot", 2),
        call("too many", "getSlotLeaders", "$slot", 5_001),
        call("far ahead", "getSlotLeaders", FAR_SLOT, 2),
        call("", "getEpochInfo", CONFIRMED),
        call("", "getEpochSchedule"),
        call("of this epoch", "getLeaderSchedule", None, {"identity": SYSTEM}),
        call("of an epoch that is not there", "getLeaderSchedule", FAR_SLOT * 400),
        call("of a bad identity", "getLeaderSchedule", None, {"identity": BAD_PUBKEY}),
        call("confirmed", "getLatestBlockhash", CONFIRMED, save={"blockhash": "value.blockhash"}),
        call("default", "getLatestBlockhash"),
        call("context slot not reached", "getLatestBlockhash", CONFIRMED | far),
        call("a valid one", "isBlockhashValid", "$blockhash", CONFIRMED),
        call("an unknown one", "isBlockhashValid", NO_BLOCKHASH, CONFIRMED),
        call("a bad one", "isBlockhashValid", BAD_PUBKEY, CONFIRMED),
        call("", "getFirstAvailableBlock", varies=True),
        call("", "minimumLedgerSlot", varies=True),
        call("", "getTransactionCount", CONFIRMED, varies=True),
        call("of nothing", "getMinimumBalanceForRentExemption", 0),
        call("of a token account", "getMinimumBalanceForRentExemption", 165),
        call("of too much", "getMinimumBalanceForRentExemption", 100_000_000),
        call("of a negative length", "getMinimumBalanceForRentExemption", -1),
        call("", "getInflationGovernor", CONFIRMED),
        call("", "getInflationRate"),
        call("of an account that never staked", "getInflationReward", [SYSTEM], CONFIRMED),
        call("of a bad address", "getInflationReward", [BAD_PUBKEY]),
        call("of an epoch to come", "getInflationReward", [SYSTEM], {"epoch": 1_000}),
        call("", "getVoteAccounts", CONFIRMED, varies=True),
        call("of no voter", "getVoteAccounts", {"votePubkey": SYSTEM, "commitment": "confirmed"}),
        call("", "getClusterNodes", varies=True),
        call("", "getSupply", CONFIRMED, varies=True),
        call("without the list", "getSupply", {"excludeNonCirculatingAccountsList": True}, varies=True),
        call("", "getLargestAccounts", CONFIRMED, varies=True),
        call("circulating", "getLargestAccounts", {"filter": "circulating"}, varies=True),
        call("bad filter", "getLargestAccounts", {"filter": "rich"}),
        call("", "getRecentPerformanceSamples", 2, varies=True),
        call("too many", "getRecentPerformanceSamples", 721),
        call("", "getHighestSnapshotSlot", varies=True),
        call("", "getMaxRetransmitSlot", varies=True),
        call("", "getMaxShredInsertSlot", varies=True),
        call("", "getBlockProduction", CONFIRMED, varies=True),
        call("", "getStakeMinimumDelegation", CONFIRMED),
    ]


def account_calls(at: dict[str, str]) -> list[Step]:
    steps = [
        call("of nobody", "getBalance", at["nobody"], CONFIRMED),
        call("bad key", "getBalance", BAD_PUBKEY),
        call("short key", "getBalance", SHORT_PUBKEY),
        call("long key", "getBalance", LONG_PUBKEY),
        call("context slot not reached", "getBalance", at["nobody"], {"minContextSlot": FAR_SLOT}),
        call("of nobody", "getAccountInfo", at["nobody"], CONFIRMED | {"encoding": "base64"}),
        call("bad key", "getAccountInfo", BAD_PUBKEY, {"encoding": "base64"}),
        call("unknown encoding", "getAccountInfo", at["nobody"], {"encoding": "base32"}),
        call("base58 of much data", "getAccountInfo", ix.SLOT_HASHES, CONFIRMED | {"encoding": "base58"}),
        call(
            "slice",
            "getAccountInfo",
            ix.RENT,
            CONFIRMED | {"encoding": "base64", "dataSlice": {"offset": 0, "length": 8}},
        ),
        call(
            "slice beyond the end",
            "getAccountInfo",
            ix.RENT,
            CONFIRMED | {"encoding": "base64", "dataSlice": {"offset": 99, "length": 8}},
        ),
        call("several", "getMultipleAccounts", [SYSTEM, at["nobody"], ix.RENT], CONFIRMED | {"encoding": "base64"}),
        call("none", "getMultipleAccounts", [], CONFIRMED),
        call("too many", "getMultipleAccounts", [SYSTEM] * 101, CONFIRMED),
        call("one bad", "getMultipleAccounts", [SYSTEM, BAD_PUBKEY], CONFIRMED),
        call("parsed", "getMultipleAccounts", [ix.RENT, at["nobody"]], CONFIRMED | {"encoding": "jsonParsed"}),
        call("of no program", "getProgramAccounts", at["nobody"], CONFIRMED | {"encoding": "base64"}),
        call("bad key", "getProgramAccounts", BAD_PUBKEY),
        call(
            "with context", "getProgramAccounts", at["nobody"], CONFIRMED | {"encoding": "base64", "withContext": True}
        ),
        call("five filters", "getProgramAccounts", TOKEN, {"filters": [{"dataSize": 1}] * 5}),
        call("bad memcmp", "getProgramAccounts", TOKEN, {"filters": [{"memcmp": {"offset": 0, "bytes": "0OIl"}}]}),
        call("long memcmp", "getProgramAccounts", TOKEN, {"filters": [{"memcmp": {"offset": 0, "bytes": "1" * 129}}]}),
    ]
    known = {"the system program": SYSTEM, "the token program": TOKEN, "rent": ix.RENT, "clock": ix.CLOCK}
    known |= {"epoch schedule": ix.EPOCH_SCHEDULE, "memo": ix.MEMO, "token-2022": TOKEN_2022}
    known |= {"the associated token program": ix.ASSOCIATED_TOKEN, "the lookup table program": ix.LOOKUP_TABLE}
    known |= {
        "the upgradeable loader": ix.UPGRADEABLE_LOADER,
        "compute budget": ix.COMPUTE_BUDGET,
        "ed25519": ix.ED25519,
    }
    known |= {"the vote program": ix.VOTE, "the stake program": ix.STAKE}
    for what, address in known.items():
        varies = address == ix.CLOCK
        few = {"encoding": "base64", "dataSlice": {"offset": 0, "length": 0 if varies else 4}}
        steps.append(call(f"{what}, its first bytes", "getAccountInfo", address, CONFIRMED | few, varies=varies))
        steps.append(
            call(f"{what}, parsed", "getAccountInfo", address, CONFIRMED | {"encoding": "jsonParsed"}, varies=varies)
        )
    return steps


def money(at: dict[str, str]) -> list[Step]:
    pay = ix.transfer(at["payer"], at["friend"], SOL)
    return [
        {"do": "airdrop", "name": "airdrop", "to": at["payer"], "lamports": 20 * SOL, "save": {"airdrop": ""}},
        {
            "do": "airdrop",
            "name": "airdrop to the poor",
            "to": at["poor"],
            "lamports": 1_000_000,
            "save": {"airdropPoor": ""},
        },
        call("bad key", "requestAirdrop", BAD_PUBKEY, SOL),
        call("a negative sum", "requestAirdrop", at["payer"], -1),
        call("a fraction", "requestAirdrop", at["stranger"], 0.5),
        call("after the airdrop", "getBalance", at["payer"], CONFIRMED),
        call("of a wallet", "getAccountInfo", at["payer"], CONFIRMED | {"encoding": "base64"}),
        call("of a wallet, parsed", "getAccountInfo", at["payer"], CONFIRMED | {"encoding": "jsonParsed"}),
        call("of a wallet, base58", "getAccountInfo", at["payer"], CONFIRMED | {"encoding": "base58"}),
        call("of a wallet, binary", "getAccountInfo", at["payer"], CONFIRMED | {"encoding": "binary"}),
        call("of a wallet, no encoding", "getAccountInfo", at["payer"], CONFIRMED),
        send("a transfer", pay, save={"transfer": ""}),
        call("of who was paid", "getBalance", at["friend"], CONFIRMED),
        call("of who paid", "getBalance", at["payer"], CONFIRMED),
        send(
            "a v0 transfer with a price",
            ix.compute_unit_limit(1_000),
            ix.compute_unit_price(2_000_000),
            pay,
            version=0,
            save={"priced": ""},
        ),
        send("a memo", ix.memo("good day", at["payer"]), save={"memo": ""}),
        send("two signers", ix.transfer(at["friend"], at["payer"], 5_000), signers=["friend"], save={"pair": ""}),
    ]


def refused_transactions(at: dict[str, str]) -> list[Step]:
    pay = ix.transfer(at["payer"], at["friend"], 1_000)
    too_much = ix.transfer(at["payer"], at["friend"], 500 * SOL)
    no_confirm = {"confirm": False}
    no_program = ix.instruction(at["nobody"], [(at["payer"], "ws")], "00")
    return [
        send("refused: insufficient funds", too_much, **no_confirm),
        send("refused: insufficient funds, v0", too_much, version=0, **no_confirm),
        send(
            "refused: a payer that does not exist",
            ix.transfer(at["nobody"], at["friend"], 1),
            payer="nobody",
            **no_confirm,
        ),
        send(
            "refused: a payer that cannot pay the fee and stay",
            ix.transfer(at["poor"], at["friend"], 999_000),
            payer="poor",
            **no_confirm,
        ),
        send("refused: unknown blockhash", pay, blockhash=NO_BLOCKHASH, **no_confirm),
        send("refused: bad signature", pay, corrupt=True, **no_confirm),
        send("refused: no such program", no_program, **no_confirm),
        send("refused: data as a program", ix.instruction(at["friend"], [], "00"), **no_confirm),
        send("refused: instruction data", ix.instruction(SYSTEM, [(at["payer"], "ws")], "ff"), **no_confirm),
        send(
            "refused: a custom error",
            ix.create_account(at["payer"], at["friend"], 1, 0, SYSTEM),
            signers=["friend"],
            **no_confirm,
        ),
        send("refused: a memo not in UTF-8", ix.instruction(ix.MEMO, [], "ff"), **no_confirm),
        send("refused: too few compute units", ix.compute_unit_limit(100), pay, **no_confirm),
        send(
            "refused: two compute unit limits",
            ix.compute_unit_limit(1_000),
            ix.compute_unit_limit(2_000),
            pay,
            **no_confirm,
        ),
        send("refused: too little for rent", ix.transfer(at["payer"], at["stranger"], 1_000), **no_confirm),
        send(
            "refused: too large an account",
            ix.create_account(at["payer"], at["stranger"], SOL, 11_000_000, SYSTEM),
            signers=["stranger"],
            **no_confirm,
        ),
        send(
            "refused: a lookup table that is none",
            pay,
            version=0,
            tables=[{"address": at["nobody"], "addresses": [at["friend"]]}],
            **no_confirm,
        ),
        send("failed but landed", too_much, options={"skipPreflight": True}, save={"failed": ""}),
        {**send("", pay, ix.memo("once")), "do": "wire", "name": None, "save": {"once": ""}},
        call("in base64", "sendTransaction", "$once", CONFIRMED_PREFLIGHT | {"encoding": "base64"}, confirm=True),
        call("again", "sendTransaction", "$once", CONFIRMED_PREFLIGHT | {"encoding": "base64"}),
        call("again, without preflight", "sendTransaction", "$once", {"encoding": "base64", "skipPreflight": True}),
        {**send("", pay, ix.memo("costs")), "do": "message", "name": None, "save": {"message": ""}},
        call("a message", "getFeeForMessage", "$message", CONFIRMED),
        call("no message", "getFeeForMessage", "AAAA", CONFIRMED),
        call("no base64", "getFeeForMessage", "?", CONFIRMED),
        {**send("", pay, blockhash=NO_BLOCKHASH), "do": "message", "name": None, "save": {"staleMessage": ""}},
        call("of an unknown blockhash", "getFeeForMessage", "$staleMessage", CONFIRMED),
        {**send("", pay, ix.memo("twice")), "do": "wire", "name": None, "save": {"twice": ""}},
        call("in base58", "sendTransaction", "$twice58", CONFIRMED_PREFLIGHT, confirm=True),
        call("no base58", "sendTransaction", "0OIl"),
        call("no base64", "sendTransaction", "?", {"encoding": "base64"}),
        call("an empty one", "sendTransaction", "", {"encoding": "base64"}),
        call("no transaction", "sendTransaction", "AAAA", {"encoding": "base64"}),
        call("too large", "sendTransaction", "A" * 1_648, {"encoding": "base64"}),
        call("unknown encoding", "sendTransaction", "$once", {"encoding": "json"}),
        call("unknown encoding's name", "sendTransaction", "$once", {"encoding": "hex"}),
        call(
            "context slot not reached", "sendTransaction", "$once", {"encoding": "base64", "minContextSlot": FAR_SLOT}
        ),
    ]


def transaction_calls(at: dict[str, str]) -> list[Step]:
    pay = ix.transfer(at["payer"], at["friend"], 1_000)
    too_much = ix.transfer(at["payer"], at["friend"], 500 * SOL)
    v0 = CONFIRMED | {"maxSupportedTransactionVersion": 0}
    steps = [
        simulate("a transfer", pay),
        simulate("a v0 transfer", pay, version=0),
        simulate("a transfer that fails", too_much),
        simulate("with sigVerify", pay, options=CONFIRMED | {"sigVerify": True}),
        simulate("bad signature with sigVerify", pay, corrupt=True, options=CONFIRMED | {"sigVerify": True}),
        simulate("bad signature without", pay, corrupt=True),
        simulate("unknown blockhash", pay, blockhash=NO_BLOCKHASH),
        simulate(
            "unknown blockhash replaced",
            pay,
            blockhash=NO_BLOCKHASH,
            options=CONFIRMED | {"replaceRecentBlockhash": True},
        ),
        simulate(
            "sigVerify and replaced", pay, options=CONFIRMED | {"replaceRecentBlockhash": True, "sigVerify": True}
        ),
        simulate(
            "with accounts",
            pay,
            options=CONFIRMED | {"accounts": {"encoding": "base64", "addresses": [at["friend"], at["nobody"]]}},
        ),
        simulate(
            "with accounts, base58",
            pay,
            options=CONFIRMED | {"accounts": {"encoding": "base58", "addresses": [at["friend"]]}},
        ),
        simulate(
            "with too many accounts",
            pay,
            options=CONFIRMED | {"accounts": {"encoding": "base64", "addresses": [at["friend"]] * 4}},
        ),
        simulate("with inner instructions", pay, options=CONFIRMED | {"innerInstructions": True}),
        simulate("a memo", ix.memo("hello")),
        call("no transaction", "simulateTransaction", "AAAA", {"encoding": "base64"}),
        call(
            "known and unknown",
            "getSignatureStatuses",
            ["$transfer", NO_SIGNATURE, "$failed"],
            save={"transferSlot": "value.0.slot"},
        ),
        call("with history", "getSignatureStatuses", ["$transfer"], {"searchTransactionHistory": True}),
        call("too many", "getSignatureStatuses", [NO_SIGNATURE] * 257),
        call("bad", "getSignatureStatuses", [SHORT_PUBKEY]),
        call("of the payer", "getSignaturesForAddress", at["payer"], CONFIRMED),
        call("two of them", "getSignaturesForAddress", at["payer"], CONFIRMED | {"limit": 2}),
        call("before", "getSignaturesForAddress", at["payer"], CONFIRMED | {"before": "$priced"}),
        call("until", "getSignaturesForAddress", at["payer"], CONFIRMED | {"until": "$transfer"}),
        call("before an unknown one", "getSignaturesForAddress", at["payer"], CONFIRMED | {"before": NO_SIGNATURE}),
        call("limit 0", "getSignaturesForAddress", at["payer"], CONFIRMED | {"limit": 0}),
        call("limit 1001", "getSignaturesForAddress", at["payer"], CONFIRMED | {"limit": 1001}),
        call("processed", "getSignaturesForAddress", at["payer"], PROCESSED),
        call("of nobody", "getSignaturesForAddress", at["nobody"], CONFIRMED),
        call("bad key", "getSignaturesForAddress", BAD_PUBKEY),
        call("an unknown one", "getTransaction", NO_SIGNATURE, CONFIRMED),
        call("bad", "getTransaction", SHORT_PUBKEY, CONFIRMED),
        call("processed", "getTransaction", "$transfer", PROCESSED),
        call("unknown encoding", "getTransaction", "$transfer", CONFIRMED | {"encoding": "xml"}),
        call("v0 to one who knows legacy only", "getTransaction", "$priced", CONFIRMED | {"encoding": "json"}),
    ]
    for name in ("transfer", "priced", "memo", "pair", "failed", "airdrop"):
        faucet = {"varies": True} if name == "airdrop" else {}  # which pays all clients
        steps.append(call(f"{name}, json", "getTransaction", f"${name}", v0 | {"encoding": "json"}, **faucet))
        steps.append(call(f"{name}, parsed", "getTransaction", f"${name}", v0 | {"encoding": "jsonParsed"}, **faucet))
    steps.append(call("base64", "getTransaction", "$transfer", v0 | {"encoding": "base64"}))
    steps.append(call("base58", "getTransaction", "$transfer", v0 | {"encoding": "base58"}))
    return steps


def ledger_calls() -> list[Step]:
    v0 = CONFIRMED | {"maxSupportedTransactionVersion": 0}
    steps = [
        call("full", "getBlock", "$transferSlot", v0 | {"encoding": "json", "rewards": False}, pick="$transfer"),
        call(
            "parsed", "getBlock", "$transferSlot", v0 | {"encoding": "jsonParsed", "rewards": False}, pick="$transfer"
        ),
        call("base64", "getBlock", "$transferSlot", v0 | {"encoding": "base64", "rewards": False}, pick="$transfer"),
        call(
            "accounts",
            "getBlock",
            "$transferSlot",
            v0 | {"transactionDetails": "accounts", "rewards": False},
            pick="$transfer",
        ),
        call(
            "signatures",
            "getBlock",
            "$transferSlot",
            v0 | {"transactionDetails": "signatures", "rewards": False},
            pick="$transfer",
        ),
        call("none", "getBlock", "$transferSlot", v0 | {"transactionDetails": "none"}, varies=True),
        call("ahead", "getBlock", FAR_SLOT, v0),
        call("processed", "getBlock", "$transferSlot", PROCESSED),
        call("bad details", "getBlock", "$transferSlot", CONFIRMED | {"transactionDetails": "some"}),
        call("one", "getBlocks", "$transferSlot", "$transferSlot", CONFIRMED, varies=True),
        call("backwards", "getBlocks", 9, 1, CONFIRMED),
        call("too many", "getBlocks", 0, 500_001, CONFIRMED, varies=True),
        call("ahead", "getBlocks", FAR_SLOT, FAR_SLOT + 1, CONFIRMED),
        call("two", "getBlocksWithLimit", 1, 2, CONFIRMED, varies=True),
        call("too many", "getBlocksWithLimit", 1, 500_001, CONFIRMED),
        call("of the transfer", "getBlockTime", "$transferSlot", varies=True),
        call("ahead", "getBlockTime", FAR_SLOT),
        call("of the transfer", "getBlockCommitment", "$transferSlot", varies=True),
        call("ahead", "getBlockCommitment", FAR_SLOT, varies=True),
        call("", "getRecentPrioritizationFees", varies=True),
        call("of an account", "getRecentPrioritizationFees", [TOKEN], varies=True),
        call("too many", "getRecentPrioritizationFees", [TOKEN] * 129),
        call("bad key", "getRecentPrioritizationFees", [BAD_PUBKEY]),
    ]
    return steps


def lookup_table(at: dict[str, str]) -> list[Step]:
    pay = ix.transfer(at["payer"], at["friend"], 1_000)
    table = {"address": "$table", "addresses": [at["friend"], at["nobody"]]}
    return [
        {"do": "lookup_table", "authority": "payer"},
        send(
            "a lookup table",
            ix.create_lookup_table(at["payer"]),
            ix.extend_lookup_table(at["payer"], table["addresses"]),
        ),
        call("a lookup table", "getAccountInfo", "$table", CONFIRMED | {"encoding": "base64"}),
        call("a lookup table, parsed", "getAccountInfo", "$table", CONFIRMED | {"encoding": "jsonParsed"}),
        {"do": "wait_slots", "count": 2},
        send("a transfer through the table", pay, version=0, tables=[table], save={"throughTable": ""}),
        call(
            "through the table, json",
            "getTransaction",
            "$throughTable",
            CONFIRMED | {"encoding": "json", "maxSupportedTransactionVersion": 0},
        ),
        call(
            "through the table, parsed",
            "getTransaction",
            "$throughTable",
            CONFIRMED | {"encoding": "jsonParsed", "maxSupportedTransactionVersion": 0},
        ),
        simulate("through the table", pay, version=0, tables=[table]),
    ]


def tokens(at: dict[str, str]) -> list[Step]:
    mine, theirs = (ix.associated_token_account(at[who], at["mint"]) for who in ("payer", "holder"))
    mine22 = ix.associated_token_account(at["payer"], at["mint22"], TOKEN_2022)
    v0 = CONFIRMED | {"maxSupportedTransactionVersion": 0, "encoding": "jsonParsed"}
    new_mint = ix.create_account(at["payer"], at["mint"], ix.MINT_RENT_LAMPORTS, ix.MINT_BYTES, TOKEN)
    new_mint22 = ix.create_account(at["payer"], at["mint22"], ix.MINT_RENT_LAMPORTS, ix.MINT_BYTES, TOKEN_2022)
    return [
        send(
            "a mint",
            new_mint,
            ix.initialize_mint(at["mint"], 6, at["payer"], at["friend"]),
            signers=["mint"],
            save={"mintMade": ""},
        ),
        send(
            "two token accounts",
            ix.create_associated(at["payer"], at["payer"], at["mint"]),
            ix.create_associated(at["payer"], at["holder"], at["mint"]),
            save={"accountsMade": ""},
        ),
        send("minted", ix.mint_to(at["mint"], mine, at["payer"], 1_500_000), save={"minted": ""}),
        send("a token transfer", ix.token_transfer(mine, theirs, at["payer"], 250_000), save={"tokenTransfer": ""}),
        send(
            "a checked token transfer",
            ix.token_transfer_checked(mine, at["mint"], theirs, at["payer"], 1, 6),
            ix.token_approve(mine, at["delegate"], at["payer"], 77),
            save={"checked": ""},
        ),
        send(
            "refused: more tokens than there are", ix.token_transfer(mine, theirs, at["payer"], 10**12), confirm=False
        ),
        send(
            "token-2022",
            new_mint22,
            ix.initialize_mint(at["mint22"], 2, at["payer"], None, TOKEN_2022),
            ix.create_associated(at["payer"], at["payer"], at["mint22"], TOKEN_2022),
            ix.mint_to(at["mint22"], mine22, at["payer"], 5, TOKEN_2022),
            signers=["mint22"],
            save={"token22": ""},
        ),
        call("a mint", "getTransaction", "$mintMade", v0),
        call("token accounts made", "getTransaction", "$accountsMade", v0),
        call("token accounts made, json", "getTransaction", "$accountsMade", v0 | {"encoding": "json"}),
        call("minted", "getTransaction", "$minted", v0),
        call("a token transfer", "getTransaction", "$tokenTransfer", v0),
        call("a checked token transfer", "getTransaction", "$checked", v0),
        call("token-2022", "getTransaction", "$token22", v0),
        simulate(
            "a token transfer",
            ix.token_transfer(mine, theirs, at["payer"], 5),
            options=CONFIRMED | {"innerInstructions": True},
        ),
    ]


def token_calls(at: dict[str, str]) -> list[Step]:
    mine, theirs = (ix.associated_token_account(at[who], at["mint"]) for who in ("payer", "holder"))
    base64, parsed = CONFIRMED | {"encoding": "base64"}, CONFIRMED | {"encoding": "jsonParsed"}
    by_mint = {"filters": [{"dataSize": 165}, {"memcmp": {"offset": 0, "bytes": at["mint"]}}]}
    of_mint, of_program = {"mint": at["mint"]}, {"programId": TOKEN}
    return [
        call("the mint", "getAccountInfo", at["mint"], base64),
        call("the mint, parsed", "getAccountInfo", at["mint"], parsed),
        call("a token account, parsed", "getAccountInfo", mine, parsed),
        call("a token-2022 mint, parsed", "getAccountInfo", at["mint22"], parsed),
        call("of the mint", "getProgramAccounts", TOKEN, base64 | by_mint, unordered=True),
        call("of the mint, parsed", "getProgramAccounts", TOKEN, parsed | by_mint, unordered=True),
        call("", "getTokenAccountBalance", mine, CONFIRMED),
        call("of no token account", "getTokenAccountBalance", at["payer"], CONFIRMED),
        call("of nobody", "getTokenAccountBalance", at["nobody"], CONFIRMED),
        call("of a mint", "getTokenAccountBalance", at["mint"], CONFIRMED),
        call("", "getTokenSupply", at["mint"], CONFIRMED),
        call("of no mint", "getTokenSupply", at["payer"], CONFIRMED),
        call("", "getTokenLargestAccounts", at["mint"], CONFIRMED),
        call("of no mint", "getTokenLargestAccounts", at["payer"], CONFIRMED),
        call("by mint", "getTokenAccountsByOwner", at["payer"], of_mint, base64),
        call("by mint, parsed", "getTokenAccountsByOwner", at["payer"], of_mint, parsed),
        call("by program, parsed", "getTokenAccountsByOwner", at["holder"], of_program, parsed),
        call("by token-2022, parsed", "getTokenAccountsByOwner", at["payer"], {"programId": TOKEN_2022}, parsed),
        call("by a program that is none", "getTokenAccountsByOwner", at["payer"], {"programId": SYSTEM}, base64),
        call("by a mint that is none", "getTokenAccountsByOwner", at["payer"], {"mint": at["nobody"]}, base64),
        call("by nothing", "getTokenAccountsByOwner", at["payer"], {}, base64),
        call("of nobody", "getTokenAccountsByOwner", at["nobody"], of_program, parsed),
        call("by mint, parsed", "getTokenAccountsByDelegate", at["delegate"], of_mint, parsed),
        call("by program", "getTokenAccountsByDelegate", at["delegate"], of_program, base64),
        call("their balance", "getTokenAccountBalance", theirs, CONFIRMED),
    ]


def subscriptions(at: dict[str, str]) -> list[Step]:
    def subscribe(name: str, kind: str, params: list[Any], then: list[Step], count: int = 1, **more: Any) -> Step:
        step = {"do": "subscribe", "name": f"{kind}Subscribe: {name}", "kind": kind, "params": params, "then": then}
        return {**step, "count": count, **more}

    def pay(lamports: int) -> Step:
        """Differs in its lamports, so that no transfer is another one's copy."""
        step = send("", ix.transfer(at["payer"], at["watched"], lamports))
        return {name: value for name, value in step.items() if name != "name"}

    mine = ix.associated_token_account(at["payer"], at["mint"])
    theirs = ix.associated_token_account(at["holder"], at["mint"])
    token_pay = send("", ix.token_transfer(mine, theirs, at["payer"], 3))
    token_pay.pop("name")
    note = send("", ix.memo("told", at["payer"]), ix.transfer(at["payer"], at["watched"], 900_005))
    note.pop("name")
    by_mint = {"filters": [{"dataSize": 165}, {"memcmp": {"offset": 0, "bytes": at["mint"]}}]}
    blocks = CONFIRMED | {"encoding": "json", "maxSupportedTransactionVersion": 0, "showRewards": False}
    return [
        subscribe("a wallet", "account", [at["watched"], CONFIRMED | {"encoding": "base64"}], [pay(900_001)]),
        subscribe("a token account, parsed", "account", [mine, CONFIRMED | {"encoding": "jsonParsed"}], [token_pay]),
        subscribe(
            "token accounts of a mint",
            "program",
            [TOKEN, CONFIRMED | {"encoding": "base64"} | by_mint],
            [{**token_pay, "instructions": [ix.token_transfer(mine, theirs, at["payer"], 4)]}],
            count=2,
            unordered=True,
        ),
        subscribe("of the payer", "logs", [{"mentions": [at["payer"]]}, CONFIRMED], [note]),
        subscribe("", "slot", [], [], varies=True),
        subscribe("", "root", [], [], varies=True),
        subscribe("of the payer", "block", [{"mentionsAccountOrProgram": at["watched"]}, blocks], [pay(900_006)]),
        subscribe("landed", "signature", ["$transfer", CONFIRMED], []),
        subscribe("failed", "signature", ["$failed", CONFIRMED], []),
        subscribe("bad key", "account", [BAD_PUBKEY, CONFIRMED], [], refused=True),
        subscribe("bad signature", "signature", [SHORT_PUBKEY, CONFIRMED], [], refused=True),
        subscribe("two mentions", "logs", [{"mentions": [at["payer"], at["friend"]]}, CONFIRMED], [], refused=True),
        subscribe("no filter", "logs", ["some"], [], refused=True),
    ]


def bad_requests(at: dict[str, str]) -> list[Step]:
    return [
        call("", "getNothing"),
        call("no parameter", "getBalance"),
        call("a number", "getBalance", 5),
        call("too many parameters", "getBalance", at["payer"], CONFIRMED, 3),
        call("a list as configuration", "getBalance", at["payer"], [CONFIRMED]),
        call("parameters", "getHealth", 1),
        call("text for a slot", "getBlock", "seven"),
        call("no parameter", "sendTransaction"),
        call("text for signatures", "getSignatureStatuses", "abc"),
        call("unknown field", "getBalance", at["nobody"], CONFIRMED | {"colour": "red"}),
    ]


if __name__ == "__main__":
    print(json.dumps(make("example").to_json(), indent=1))
