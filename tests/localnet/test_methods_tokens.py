"""SPL tokens by solana-py's own instructions: mint, transfer, delegate, multisig; both programs; the token methods.

Errors are literally those that solana-test-validator 4.1.2 answered.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from struct import pack
from typing import Any

import pytest
from solana.rpc.commitment import Processed
from solana.rpc.models import TokenAccountOpts, TxOpts
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from spl.token import instructions as spl
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.models import (
    ApproveParams,
    InitializeMintParams,
    InitializeMultisigParams,
    MintToParams,
    TransferCheckedParams,
)

from localnet.parse_token import mint_amount_json
from localnet.token_state import Mint, ui_amount_json

from .conftest import SOL, Localnet

PROCESSED = {"commitment": "processed"}
PARSED = PROCESSED | {"encoding": "jsonParsed"}
MINT_LENGTH, MULTISIG_LENGTH = 82, 355


@dataclass
class Tokens:
    """One mint of six decimals: 1.25 of it with the payer, who lent 777 units to the delegate, and 0.25 with `other`."""

    payer: Keypair
    other: Pubkey
    delegate: Pubkey
    mint: Pubkey
    account: Pubkey
    other_account: Pubkey


async def send(localnet: Localnet, payer: Keypair, *instructions: Instruction, also: tuple[Keypair, ...] = ()) -> str:
    transaction = await localnet.sign(payer, *instructions, also=also)
    sent = await localnet.client.send_transaction(transaction, TxOpts(preflight_commitment=Processed))
    return str(sent.value)


def new_account(payer: Keypair, account: Keypair, length: int, owner: Pubkey) -> Instruction:
    return create_account(
        CreateAccountParams(
            from_pubkey=payer.pubkey(), to_pubkey=account.pubkey(), lamports=SOL // 100, space=length, owner=owner
        )
    )


async def make_mint(localnet: Localnet, payer: Keypair, decimals: int, program: Pubkey) -> Pubkey:
    mint, authority = Keypair(), payer.pubkey()
    parameters = InitializeMintParams(
        decimals=decimals, program_id=program, mint=mint.pubkey(), mint_authority=authority, freeze_authority=None
    )
    create = new_account(payer, mint, MINT_LENGTH, program)
    await send(localnet, payer, create, spl.initialize_mint(parameters), also=(mint,))
    return mint.pubkey()


def mint_to(payer: Keypair, mint: Pubkey, account: Pubkey, amount: int, program: Pubkey) -> Instruction:
    return spl.mint_to(
        MintToParams(program_id=program, mint=mint, dest=account, mint_authority=payer.pubkey(), amount=amount)
    )


@pytest.fixture
async def tokens(localnet: Localnet) -> Tokens:
    payer, other, delegate = await localnet.funded(), Keypair().pubkey(), Keypair().pubkey()
    me = payer.pubkey()
    mint = await make_mint(localnet, payer, 6, TOKEN_PROGRAM_ID)
    mine, theirs = (spl.get_associated_token_address(owner, mint) for owner in (me, other))
    transfer = TransferCheckedParams(
        program_id=TOKEN_PROGRAM_ID, source=mine, mint=mint, dest=theirs, owner=me, amount=250_000, decimals=6
    )
    approve = ApproveParams(program_id=TOKEN_PROGRAM_ID, source=mine, delegate=delegate, owner=me, amount=777)
    await send(
        localnet,
        payer,
        spl.create_associated_token_account(me, me, mint),
        spl.create_idempotent_associated_token_account(me, other, mint),
        mint_to(payer, mint, mine, 1_500_000, TOKEN_PROGRAM_ID),
        spl.transfer_checked(transfer),
        spl.approve(approve),
    )
    return Tokens(payer, other, delegate, mint, mine, theirs)


def amount(units: int, text: str, decimals: int = 6) -> dict[str, Any]:
    return {"amount": str(units), "decimals": decimals, "uiAmount": float(text), "uiAmountString": text}


async def test_balances_and_supply(localnet: Localnet, tokens: Tokens) -> None:
    mint, account = str(tokens.mint), str(tokens.account)

    async def value(method: str, *params: Any) -> Any:
        found = await localnet.result(method, *params, PROCESSED)
        assert set(found) == {"context", "value"}
        return found["value"]

    assert await value("getTokenAccountBalance", account) == amount(1_250_000, "1.25")
    assert await value("getTokenSupply", mint) == amount(1_500_000, "1.5")
    assert await value("getTokenLargestAccounts", mint) == [
        {"address": account} | amount(1_250_000, "1.25"),
        {"address": str(tokens.other_account)} | amount(250_000, "0.25"),
    ]
    balance = await localnet.client.get_token_account_balance(tokens.account, Processed)
    assert (balance.value.amount, balance.value.ui_amount) == ("1250000", 1.25)
    assert (await localnet.error("getTokenSupply", mint))["message"] == "Invalid param: could not find account"

    nobody, payer = str(Keypair().pubkey()), str(tokens.payer.pubkey())
    for method, address, message in (
        ("getTokenAccountBalance", mint, "not a Token account"),
        ("getTokenAccountBalance", payer, "not a Token account"),
        ("getTokenAccountBalance", nobody, "could not find account"),
        ("getTokenSupply", account, "mint could not be unpacked"),
        ("getTokenSupply", payer, "not a Token mint"),
        ("getTokenSupply", nobody, "could not find account"),
        ("getTokenLargestAccounts", account, "Token mint could not be unpacked"),
        ("getTokenLargestAccounts", payer, "Token mint could not be unpacked"),
        ("getTokenLargestAccounts", nobody, "could not find mint"),
        ("getTokenSupply", "xx", "WrongSize"),
    ):
        error = await localnet.error(method, address, PROCESSED)
        assert error == {"code": -32602, "message": f"Invalid param: {message}"}


async def test_accounts_by_owner_and_by_delegate(localnet: Localnet, tokens: Tokens) -> None:
    owner, mint, program = str(tokens.payer.pubkey()), str(tokens.mint), str(TOKEN_PROGRAM_ID)
    parsed = {
        "delegate": str(tokens.delegate),
        "delegatedAmount": amount(777, "0.000777"),
        "isNative": False,
        "mint": mint,
        "owner": owner,
        "state": "initialized",
        "tokenAmount": amount(1_250_000, "1.25"),
    }
    expected = {
        "account": {
            "data": {"parsed": {"info": parsed, "type": "account"}, "program": "spl-token", "space": 165},
            "executable": False,
            "lamports": 2_039_280,
            "owner": program,
            "rentEpoch": 2**64 - 1,
            "space": 165,
        },
        "pubkey": str(tokens.account),
    }
    for wanted in ({"mint": mint}, {"programId": program}):
        for method, holder in (
            ("getTokenAccountsByOwner", owner),
            ("getTokenAccountsByDelegate", str(tokens.delegate)),
        ):
            assert (await localnet.result(method, holder, wanted, PARSED))["value"] == [expected]
            assert (await localnet.result(method, mint, wanted, PARSED))["value"] == []
            assert (await localnet.error(method, holder, wanted, PROCESSED))["code"] == -32600  # base58 is too long
    plain = await localnet.result("getTokenAccountsByOwner", owner, {"mint": mint}, PROCESSED | {"encoding": "base64"})
    assert len(base64.b64decode(plain["value"][0]["account"]["data"][0])) == 165
    listed = await localnet.client.get_token_accounts_by_owner_json_parsed(
        tokens.payer.pubkey(), TokenAccountOpts(mint=tokens.mint), Processed
    )
    assert listed.value[0].account.data.parsed["info"]["tokenAmount"]["amount"] == "1250000"

    one_key = "Invalid params: invalid value: map, expected map with a single key."
    for wanted, message in (
        ({}, one_key),
        ({"mint": mint, "programId": program}, one_key),
        ({"mint": owner}, "Invalid param: Token mint could not be unpacked"),
        ({"mint": str(Keypair().pubkey())}, "Invalid param: could not find mint"),
        ({"programId": owner}, "Invalid param: unrecognized Token program id"),
    ):
        error = await localnet.error("getTokenAccountsByOwner", owner, wanted, PROCESSED)
        assert error == {"code": -32602, "message": message}


async def test_program_accounts_of_the_token_program(localnet: Localnet, tokens: Tokens) -> None:
    owner, program = bytes(tokens.payer.pubkey()), str(TOKEN_PROGRAM_ID)

    async def found(*filters: Any) -> list[str]:
        config = PROCESSED | {"encoding": "base64", "filters": list(filters)}
        return [entry["pubkey"] for entry in await localnet.result("getProgramAccounts", program, config)]

    accounts = sorted([tokens.account, tokens.other_account], key=bytes)
    assert await found("tokenAccountState") == await found({"dataSize": 165}) == [str(key) for key in accounts]
    mine = [str(tokens.account)]
    for pattern in (
        {"bytes": str(tokens.payer.pubkey())},
        {"bytes": str(tokens.payer.pubkey()), "encoding": "base58"},
        {"bytes": base64.b64encode(owner).decode(), "encoding": "base64"},
        {"bytes": list(owner)},
        {"bytes": list(owner), "encoding": "bytes"},
    ):
        assert await found({"dataSize": 165}, {"memcmp": {"offset": 32} | pattern}) == mine
    for offset, name in ((32, "owner"), (0, "mint")):
        config = {"filters": [{"dataSize": 165}, {"memcmp": {"offset": offset, "bytes": "11"}}]}
        message = f"Incorrect byte length 2 for SPL token {name} filter, expected 32"
        assert await localnet.error("getProgramAccounts", program, config) == {"code": -32602, "message": message}
    parsed = await localnet.result("getProgramAccounts", program, PARSED)
    kinds = sorted(entry["account"]["data"]["parsed"]["type"] for entry in parsed)
    assert kinds.count("account") == 2 and kinds.count("mint") >= 1


async def test_a_mint_and_a_multisig_are_parsed(localnet: Localnet, tokens: Tokens) -> None:
    payer = tokens.payer
    signers = [payer.pubkey(), tokens.other, tokens.delegate]
    multisig = Keypair()
    parameters = InitializeMultisigParams(program_id=TOKEN_PROGRAM_ID, multisig=multisig.pubkey(), m=2, signers=signers)
    create = new_account(payer, multisig, MULTISIG_LENGTH, TOKEN_PROGRAM_ID)
    await send(localnet, payer, create, spl.initialize_multisig(parameters), also=(multisig,))
    addresses = [str(tokens.mint), str(multisig.pubkey())]
    mint, many = (await localnet.result("getMultipleAccounts", addresses, PARSED))["value"]
    assert mint["data"] == {
        "parsed": {
            "info": {
                "decimals": 6,
                "freezeAuthority": None,
                "isInitialized": True,
                "mintAuthority": str(payer.pubkey()),
                "supply": "1500000",
            },
            "type": "mint",
        },
        "program": "spl-token",
        "space": 82,
    }
    info = {
        "isInitialized": True,
        "numRequiredSigners": 2,
        "numValidSigners": 3,
        "signers": [str(key) for key in signers],
    }
    assert many["data"] == {"parsed": {"info": info, "type": "multisig"}, "program": "spl-token", "space": 355}


async def test_token_2022_shows_its_extensions(localnet: Localnet) -> None:
    payer = await localnet.funded()
    me = payer.pubkey()
    mint = await make_mint(localnet, payer, 0, TOKEN_2022_PROGRAM_ID)
    account = spl.get_associated_token_address(me, mint, TOKEN_2022_PROGRAM_ID)
    await send(
        localnet,
        payer,
        spl.create_associated_token_account(me, me, mint, TOKEN_2022_PROGRAM_ID),
        mint_to(payer, mint, account, 5, TOKEN_2022_PROGRAM_ID),
    )
    found = (await localnet.result("getAccountInfo", str(account), PARSED))["value"]
    assert found["data"] == {
        "parsed": {
            "info": {
                "extensions": [{"extension": "immutableOwner"}],
                "isNative": False,
                "mint": str(mint),
                "owner": str(me),
                "state": "initialized",
                "tokenAmount": amount(5, "5", 0),
            },
            "type": "account",
        },
        "program": "spl-token-2022",
        "space": 170,
    }
    assert (await localnet.result("getTokenSupply", str(mint), PROCESSED))["value"] == amount(5, "5", 0)
    wanted = {"programId": str(TOKEN_2022_PROGRAM_ID)}
    by_owner = await localnet.result("getTokenAccountsByOwner", str(me), wanted, PARSED)
    assert [entry["pubkey"] for entry in by_owner["value"]] == [str(account)]


async def test_a_token_account_is_read_with_its_mint_at_the_same_slot(localnet: Localnet, tokens: Tokens) -> None:
    config = {"encoding": "jsonParsed"}
    assert (await localnet.result("getAccountInfo", str(tokens.account), config))["value"] is None
    localnet.clock.advance(32)
    found = (await localnet.result("getAccountInfo", str(tokens.account), config))["value"]
    assert found["data"]["parsed"]["info"]["tokenAmount"] == amount(1_250_000, "1.25")


def test_amounts_in_decimals() -> None:
    assert ui_amount_json(42, 2) == amount(42, "0.42", 2)
    assert ui_amount_json(0, 6) == amount(0, "0", 6)
    assert ui_amount_json(1_000_000_000, 9) == amount(1_000_000_000, "1", 9)
    assert ui_amount_json(1, 20)["uiAmount"] is None and ui_amount_json(1, 20)["uiAmountString"] == f"0.{'0' * 19}1"


def test_interest_and_scale_show_in_the_amount() -> None:
    """The figures of spl-token-2022's own tests: a year at 5 %, a year at -5 %; a multiplier and its successor."""
    year = 31_556_736

    def bearing(rate: int, decimals: int) -> Mint:
        config = bytes(32) + (0).to_bytes(8, "little") + rate.to_bytes(2, "little", signed=True)
        config += year.to_bytes(8, "little") + rate.to_bytes(2, "little", signed=True)
        return Mint(None, 0, decimals, None, ((10, config),))

    one = 10**18
    assert mint_amount_json(one, bearing(500, 18), year)["uiAmountString"] == "1.051271096376024117"
    assert mint_amount_json(one, bearing(-500, 18), year)["uiAmountString"] == "0.951229424500713905"
    assert mint_amount_json(10**10, bearing(500, 10), year)["uiAmountString"] == "1.0512710964"
    assert mint_amount_json(2**64 - 1, bearing(32_767, 0), year * 10_000) == {
        "amount": str(2**64 - 1),
        "decimals": 0,
        "uiAmount": None,
        "uiAmountString": "inf",
    }
    scaled = Mint(None, 0, 1, None, ((25, bytes(32) + pack("<dqd", 5.0, 100, 10.0)),))
    assert mint_amount_json(10, scaled, 99)["uiAmountString"] == "5"
    assert mint_amount_json(10, scaled, 100)["uiAmount"] == 10.0
    for multiplier, text in ((math.nan, "NaN"), (math.inf, "inf")):
        strange = Mint(None, 0, 1, None, ((25, bytes(32) + pack("<dqd", multiplier, 100, 10.0)),))
        shown = mint_amount_json(10, strange, 99)
        assert (shown["uiAmount"], shown["uiAmountString"]) == (None, text)
