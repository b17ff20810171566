"""jsonParsed against what solana-test-validator 4.1.2 showed for the same bytes (tests/localnet/vectors).

The instructions were sent to it in transactions that fail, one of every type and of every set of fields, and cut off or
senseless ones that it shows as they are; the accounts were there at its genesis.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from solana.rpc.commitment import Processed
from solders.account import Account
from solders.compute_budget import set_compute_unit_limit
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.rpc.responses import GetAccountInfoResp
from spl.token import instructions as spl
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.models import InitializeMintParams

from localnet import zstd
from localnet.parse_account import parse_account
from localnet.parse_instruction import parse_instruction

from .conftest import SOL, Localnet, pay
from .record_parsed import record
from .test_methods_tokens import make_mint, mint_to, send

VECTORS = json.loads((Path(__file__).parent / "vectors" / "agave_parsed.json").read_text())
UNIX_TIME = 1_795_243_000  # when the accounts were read; an amount may bear interest
CONFIRMED, PROCESSED = {"commitment": "confirmed"}, {"commitment": "processed"}
SYSTEM, MEMO, OLD_MEMO = (
    "11111111111111111111111111111111",
    "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr",
    "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo",
)


def test_instructions_are_parsed_as_agave_does() -> None:
    wrong = []
    for program, data, count, expected in VECTORS["instructions"]:
        found = parse_instruction(program, bytes.fromhex(data), VECTORS["keys"][:count])
        if (None if found is None else found["parsed"]) != expected:
            wrong.append((program, data, count, expected, found))
    assert not wrong, wrong[:3]
    types = {entry[3]["type"] for entry in VECTORS["instructions"] if isinstance(entry[3], dict)}
    assert len(types) > 110 and {"transferChecked", "createIdempotent", "advanceNonce", "towersync"} <= types


@pytest.mark.test_validator
def test_a_real_validator_still_shows_the_same() -> None:
    recorded = copy.deepcopy(VECTORS)
    record(recorded)
    assert recorded == VECTORS, "run ./run python -m tests.localnet.record_parsed and look at what changed"


def accounts() -> Iterator[tuple[Pubkey, Account, dict[str, Any] | None]]:
    for address, owner, data, length, expected in VECTORS["accounts"]:
        held = Account(10**10, bytes.fromhex(data).ljust(length, b"\0"), Pubkey.from_string(owner))
        yield Pubkey.from_string(address), held, expected


def test_accounts_are_parsed_as_agave_does() -> None:
    by_address = {address: account for address, account, _ in accounts()}
    wrong = []
    for address, account, expected in accounts():
        found = parse_account(address, account, by_address.get, UNIX_TIME)
        if found != expected:
            wrong.append((str(account.owner), bytes(account.data).hex()[:80], expected, found))
    assert not wrong, wrong[:3]
    assert sum(expected is not None for *_, expected in accounts()) > 80


def test_cut_off_data_never_breaks_the_parsers() -> None:
    for address, account, _ in accounts():
        data = bytes(account.data)
        for length in {0, 1, 3, 4, 8, 36, 44, 55, 81, 164, 166, len(data) // 2, max(0, len(data) - 1)}:
            cut = Account(1, data[:length], account.owner)
            found = parse_account(address, cut, lambda _: None, UNIX_TIME)
            assert found is None or json.dumps(found)
    for program, data, count, _ in VECTORS["instructions"]:
        for length in range(0, len(data) // 2, 5):
            found = parse_instruction(program, bytes.fromhex(data)[:length], VECTORS["keys"][:count])
            assert found is None or json.dumps(found)


async def test_a_transaction_with_inner_instructions(localnet: Localnet) -> None:
    """As the real one showed the same: compute budget partly decoded, memos as text, what a program called beneath."""
    payer = await localnet.funded()
    me = payer.pubkey()
    mint = await make_mint(localnet, payer, 6, TOKEN_PROGRAM_ID)
    account = spl.get_associated_token_address(me, mint)
    signature = await send(
        localnet,
        payer,
        set_compute_unit_limit(200_000),
        spl.create_associated_token_account(me, me, mint),
        mint_to(payer, mint, account, 7, TOKEN_PROGRAM_ID),
        Instruction(Pubkey.from_string(MEMO), "héllo".encode(), [AccountMeta(me, True, False)]),
        Instruction(Pubkey.from_string(OLD_MEMO), b"old", []),
    )
    localnet.clock.advance()
    config = CONFIRMED | {"encoding": "jsonParsed", "maxSupportedTransactionVersion": 0}
    found = await localnet.result("getTransaction", signature, config)
    key, token, text = str(account), str(TOKEN_PROGRAM_ID), str(me)
    assert found["transaction"]["message"]["instructions"] == [
        {
            "accounts": [],
            "data": "Fj2Eoy",
            "programId": "ComputeBudget111111111111111111111111111111",
            "stackHeight": 1,
        },
        {
            "parsed": {
                "info": {
                    "account": key,
                    "mint": str(mint),
                    "source": text,
                    "systemProgram": SYSTEM,
                    "tokenProgram": token,
                    "wallet": text,
                },
                "type": "create",
            },
            "program": "spl-associated-token-account",
            "programId": "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL",
            "stackHeight": 1,
        },
        {
            "parsed": {
                "info": {"account": key, "amount": "7", "mint": str(mint), "mintAuthority": text},
                "type": "mintTo",
            },
            "program": "spl-token",
            "programId": token,
            "stackHeight": 1,
        },
        {"parsed": "héllo", "program": "spl-memo", "programId": MEMO, "stackHeight": 1},
        {"parsed": "old", "program": "spl-memo", "programId": OLD_MEMO, "stackHeight": 1},
    ]

    def inner(program: str, program_id: str, kind: str, **info: Any) -> dict[str, Any]:
        parsed = {"info": info, "type": kind}
        return {"parsed": parsed, "program": program, "programId": program_id, "stackHeight": 2}

    (group,) = found["meta"]["innerInstructions"]
    assert group == {
        "index": 1,
        "instructions": [
            inner("spl-token", token, "getAccountDataSize", extensionTypes=["immutableOwner"], mint=str(mint)),
            inner(
                "system",
                SYSTEM,
                "createAccount",
                lamports=2_039_280,
                newAccount=key,
                owner=token,
                source=text,
                space=165,
            ),
            inner("spl-token", token, "initializeImmutableOwner", account=key),
            inner("spl-token", token, "initializeAccount3", account=key, mint=str(mint), owner=text),
        ],
    }
    assert found["meta"]["postTokenBalances"] == [
        {
            "accountIndex": found["meta"]["postTokenBalances"][0]["accountIndex"],
            "mint": str(mint),
            "owner": text,
            "programId": token,
            "uiTokenAmount": {"amount": "7", "decimals": 6, "uiAmount": 0.000007, "uiAmountString": "0.000007"},
        }
    ]
    (entry, *_) = await localnet.result("getSignaturesForAddress", text, CONFIRMED)
    assert entry["memo"] == "[6] héllo; [3] old"
    block = await localnet.result("getBlock", found["slot"], config)
    shown = next(t for t in block["transactions"] if t["transaction"]["signatures"] == [signature])
    assert shown["transaction"] == found["transaction"] and shown["meta"] == found["meta"]


async def test_simulation_shows_inner_instructions_and_the_accounts_after_it(localnet: Localnet) -> None:
    payer = await localnet.funded()
    me = payer.pubkey()
    mint = await make_mint(localnet, payer, 6, TOKEN_PROGRAM_ID)
    account = spl.get_associated_token_address(me, mint)
    transaction = await localnet.sign(payer, spl.create_associated_token_account(me, me, mint))
    wire = base64.b64encode(bytes(transaction)).decode()
    options = PROCESSED | {"encoding": "base64", "innerInstructions": True}
    for encoding in ("jsonParsed", "base64", "base64+zstd"):
        wanted = {"addresses": [str(account), str(me)], "encoding": encoding}
        found = (await localnet.result("simulateTransaction", wire, options | {"accounts": wanted}))["value"]
        types = [entry["parsed"]["type"] for entry in found["innerInstructions"][0]["instructions"]]
        assert types == ["getAccountDataSize", "createAccount", "initializeImmutableOwner", "initializeAccount3"]
        token, system = found["accounts"]
        assert token["lamports"] == 2_039_280 and system["lamports"] < 10 * SOL
        if encoding == "jsonParsed":
            assert token["data"]["parsed"]["info"]["tokenAmount"]["amount"] == "0"
            assert system["data"] == ["", "base64"]
        else:
            assert token["data"][1] == encoding
    assert found["postTokenBalances"][0]["uiTokenAmount"]["uiAmount"] == 0.0 and found["preTokenBalances"] == []
    plain = await localnet.result("simulateTransaction", wire, PROCESSED | {"encoding": "base64"})
    assert plain["value"]["innerInstructions"] is None


@pytest.mark.parametrize("length", [0, 1, 200, zstd.MAX_BLOCK_BYTES, zstd.MAX_BLOCK_BYTES + 1, 400_000])
def test_zstd_frames_are_read_by_a_real_decoder(length: int) -> None:
    """solders decodes the answer with the zstd library, as agave's own clients do."""
    noise = bytes((i * i * 7 + i // 3) % 256 for i in range(min(length, 1000)))
    for data in (bytes(length), noise.ljust(length, b"\xaa")):
        account = {
            "data": [base64.b64encode(zstd.frame(data)).decode(), "base64+zstd"],
            "executable": False,
            "lamports": 1,
            "owner": SYSTEM,
            "rentEpoch": 0,
            "space": length,
        }
        answer = {"jsonrpc": "2.0", "id": 1, "result": {"context": {"slot": 1}, "value": account}}
        parsed = GetAccountInfoResp.from_json(json.dumps(answer))
        assert isinstance(parsed, GetAccountInfoResp) and parsed.value is not None
        assert bytes(parsed.value.data) == data


async def test_base64_zstd_over_http(localnet: Localnet) -> None:
    payer = await localnet.funded()
    mint = await make_mint(localnet, payer, 6, TOKEN_PROGRAM_ID)
    plain = await localnet.client.get_account_info(mint, Processed, "base64")
    packed = await localnet.client.get_account_info(mint, Processed, "base64+zstd")
    assert plain.value is not None and packed.value == plain.value
    clock = "SysvarC1ock11111111111111111111111111111111"
    config = PROCESSED | {"encoding": "base64+zstd", "dataSlice": {"offset": 0, "length": 8}}
    sliced = (await localnet.result("getAccountInfo", clock, config))["value"]
    assert base64.b64decode(sliced["data"][0])[-8:] == (await localnet.result("getSlot", PROCESSED)).to_bytes(
        8, "little"
    )


async def test_sysvars_and_the_validators_own_accounts(localnet: Localnet) -> None:
    async def parsed(address: str) -> Any:
        config = PROCESSED | {"encoding": "jsonParsed"}
        return (await localnet.result("getAccountInfo", address, config))["value"]["data"]

    localnet.clock.advance(3)
    clock = await parsed("SysvarC1ock11111111111111111111111111111111")
    assert clock == {
        "parsed": {
            "info": {
                "epoch": 0,
                "epochStartTimestamp": 1_800_000_000,
                "leaderScheduleEpoch": 1,
                "slot": 4,
                "unixTimestamp": 1_800_000_001,
            },
            "type": "clock",
        },
        "program": "sysvar",
        "space": 40,
    }
    schedule = await parsed("SysvarEpochSchedu1e111111111111111111111111")
    assert schedule["parsed"] == {"info": await localnet.result("getEpochSchedule"), "type": "epochSchedule"}
    rent = await parsed("SysvarRent111111111111111111111111111111111")
    assert rent["parsed"] == {"info": {"lamportsPerByte": "6960"}, "type": "rent"}
    hashes = await parsed("SysvarS1otHashes111111111111111111111111111")
    assert [entry["slot"] for entry in hashes["parsed"]["info"]] == [3, 2, 1, 0]
    history = await parsed("SysvarS1otHistory11111111111111111111111111")
    assert len(history["parsed"]["info"]["bits"]) == 1024 * 1024

    identity = (await localnet.result("getIdentity"))["identity"]
    (validator,) = (await localnet.result("getVoteAccounts"))["current"]
    vote = (await parsed(validator["votePubkey"]))["parsed"]["info"]
    assert vote["nodePubkey"] == vote["authorizedWithdrawer"] == identity and vote["commission"] == 0
    assert vote["authorizedVoters"] == [{"epoch": 0, "authorizedVoter": identity}] and vote["votes"] == []
    stakes = await localnet.result(
        "getProgramAccounts",
        "Stake11111111111111111111111111111111111111",
        PROCESSED | {"encoding": "jsonParsed"},
    )
    delegations = [entry["account"]["data"]["parsed"]["info"]["stake"]["delegation"] for entry in stakes]
    assert [(d["voter"], d["stake"]) for d in delegations] == [
        (validator["votePubkey"], str(validator["activatedStake"]))
    ]
    native = await parsed("So11111111111111111111111111111111111111112")
    assert native["parsed"]["info"] == {
        "decimals": 9,
        "freezeAuthority": None,
        "isInitialized": True,
        "mintAuthority": None,
        "supply": "0",
    }
    token = await parsed(str(TOKEN_PROGRAM_ID))
    assert token["program"] == "bpf-upgradeable-loader" and token["parsed"]["type"] == "program"
    data = await parsed(token["parsed"]["info"]["programData"])
    assert data["parsed"]["type"] == "programData" and data["parsed"]["info"]["data"][1] == "base64"


async def test_a_failed_transaction_is_parsed_too(localnet: Localnet) -> None:
    payer = await localnet.funded()
    parameters = InitializeMintParams(
        decimals=6, program_id=TOKEN_PROGRAM_ID, mint=payer.pubkey(), mint_authority=payer.pubkey()
    )
    failing = await localnet.sign(payer, spl.initialize_mint(parameters), pay(payer, payer.pubkey(), 1))
    options = {"encoding": "base64", "skipPreflight": True}
    signature = await localnet.result("sendTransaction", base64.b64encode(bytes(failing)).decode(), options)
    localnet.clock.advance()
    found = await localnet.result("getTransaction", signature, CONFIRMED | {"encoding": "jsonParsed"})
    assert found["meta"]["err"] is not None
    first = found["transaction"]["message"]["instructions"][0]
    assert first["parsed"]["type"] == "initializeMint" and "freezeAuthority" not in first["parsed"]["info"]
