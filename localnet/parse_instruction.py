"""jsonParsed for instructions, by their program (solana-transaction-status, parse_instruction). Pure.

What agave parses and this shows as program, accounts and data, as agave does for programs that it does not know:
token-2022's confidential instructions.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from localnet.instruction_shape import NotParsable, Shape, parse
from localnet.parse_instruction_stake import SET_LOCKUP_CHECKED, STAKE
from localnet.parse_instruction_token import parse_token_instruction
from localnet.parse_instruction_vote import VOTE
from localnet.reader import Reader, Truncated

BINCODE_TAG_BYTES, BORSH_TAG_BYTES = 4, 1
_BINCODE_LENGTH_BYTES = 8


def parse_instruction(program_id: str, data: bytes, accounts: Sequence[str]) -> dict[str, Any] | None:
    """program, programId and parsed; None for what is shown as it is. `accounts` are the instruction's own, in order."""
    name = _NAMES.get(program_id)
    if name is None:
        return None
    try:
        parsed: Any = data.decode() if name == "spl-memo" else _parse(name, data, accounts)
    except (NotParsable, Truncated, UnicodeDecodeError):
        return None
    return {"parsed": parsed, "program": name, "programId": program_id}


def _parse(name: str, data: bytes, accounts: Sequence[str]) -> dict[str, Any]:
    if name == "spl-token":
        return parse_token_instruction(data, accounts)
    reader = Reader(data)
    if name == "spl-associated-token-account":
        kind = reader.uint(BORSH_TAG_BYTES) if data else 0
        if len(data) > BORSH_TAG_BYTES:
            raise NotParsable("Borsh allows nothing after the instruction")
        return parse(_ASSOCIATED_TOKEN, kind, reader, accounts)
    kind = reader.uint(BINCODE_TAG_BYTES)
    if name == "system" and kind == _CREATE_ALLOW_PREFUND:
        # Without lamports nobody pays, and the payer is not named.
        kind = kind if reader.u64() else _CREATE_WITHOUT_PAYER
        reader = Reader(data, BINCODE_TAG_BYTES)
    parsed = parse(_TABLES[name], kind, reader, accounts)
    if name == "stake" and kind == SET_LOCKUP_CHECKED and len(accounts) > 2:
        parsed["info"]["lockup"]["custodian"] = accounts[2]
    if name == "address-lookup-table" and kind == _EXTEND_TABLE and len(accounts) >= 4:
        parsed["info"] |= {"payerAccount": accounts[2], "systemProgram": accounts[3]}
    return parsed


def _text(reader: Reader) -> str:
    return reader.text(_BINCODE_LENGTH_BYTES)


def _bytes(reader: Reader) -> str:
    return base64.b64encode(reader.take(reader.u64())).decode()


def _addresses(reader: Reader) -> list[str]:
    return [reader.key() for _ in reader.count(32)]


def _new_account(reader: Reader) -> dict[str, Any]:
    return {"lamports": reader.u64(), "space": reader.u64(), "owner": reader.key()}


_CREATE_ALLOW_PREFUND, _CREATE_WITHOUT_PAYER = 13, -13
_SYSTEM = {
    0: Shape("createAccount", ("source", "newAccount"), _new_account),
    1: Shape("assign", ("account",), lambda r: {"owner": r.key()}),
    2: Shape("transfer", ("source", "destination"), lambda r: {"lamports": r.u64()}),
    3: Shape(
        "createAccountWithSeed",
        ("source", "newAccount"),
        lambda r: {
            "base": r.key(),
            "seed": _text(r),
            "lamports": r.u64(),
            "space": r.u64(),
            "owner": r.key(),
        },
    ),
    4: Shape("advanceNonce", ("nonceAccount", "recentBlockhashesSysvar", "nonceAuthority")),
    5: Shape(
        "withdrawFromNonce",
        ("nonceAccount", "destination", "recentBlockhashesSysvar", "rentSysvar", "nonceAuthority"),
        lambda r: {"lamports": r.u64()},
    ),
    6: Shape(
        "initializeNonce",
        ("nonceAccount", "recentBlockhashesSysvar", "rentSysvar"),
        lambda r: {"nonceAuthority": r.key()},
    ),
    7: Shape("authorizeNonce", ("nonceAccount", "nonceAuthority"), lambda r: {"newAuthorized": r.key()}),
    8: Shape("allocate", ("account",), lambda r: {"space": r.u64()}),
    9: Shape(
        "allocateWithSeed",
        ("account",),
        lambda r: {"base": r.key(), "seed": _text(r), "space": r.u64(), "owner": r.key()},
        at_least=2,
    ),
    10: Shape(
        "assignWithSeed",
        ("account",),
        lambda r: {"base": r.key(), "seed": _text(r), "owner": r.key()},
        at_least=2,
    ),
    11: Shape(
        "transferWithSeed",
        ("source", "sourceBase", "destination"),
        lambda r: {"lamports": r.u64(), "sourceSeed": _text(r), "sourceOwner": r.key()},
    ),
    12: Shape("upgradeNonce", ("nonceAccount",)),
    _CREATE_ALLOW_PREFUND: Shape(
        "createAccountAllowPrefund",
        ("newAccount", "source"),
        _new_account,
    ),
    _CREATE_WITHOUT_PAYER: Shape(
        "createAccountAllowPrefund",
        ("newAccount",),
        lambda r: {name: value for name, value in _new_account(r).items() if name != "lamports"},
    ),
}
_CREATE_ASSOCIATED = ("source", "account", "wallet", "mint", "systemProgram", "tokenProgram")
_ASSOCIATED_TOKEN = {
    0: Shape("create", _CREATE_ASSOCIATED),
    1: Shape("createIdempotent", _CREATE_ASSOCIATED),
    2: Shape(
        "recoverNested",
        ("nestedSource", "nestedMint", "destination", "nestedOwner", "ownerMint", "wallet", "tokenProgram"),
    ),
}
_TABLE = ("lookupTableAccount", "lookupTableAuthority")
_EXTEND_TABLE = 2
_LOOKUP_TABLE = {
    0: Shape(
        "createLookupTable",
        (*_TABLE, "payerAccount", "systemProgram"),
        lambda r: {"recentSlot": r.u64(), "bumpSeed": r.u8()},
    ),
    1: Shape("freezeLookupTable", _TABLE),
    _EXTEND_TABLE: Shape("extendLookupTable", _TABLE, lambda r: {"newAddresses": _addresses(r)}),
    3: Shape("deactivateLookupTable", _TABLE),
    4: Shape("closeLookupTable", (*_TABLE, "recipient")),
}
_LOADER = {
    0: Shape("write", ("account",), lambda r: {"offset": r.u32(), "bytes": _bytes(r)}),
    1: Shape("finalize", ("account",), at_least=2),
}
_UPGRADEABLE = {
    0: Shape("initializeBuffer", ("account",), optional=("authority",)),
    1: Shape("write", ("account", "authority"), lambda r: {"offset": r.u32(), "bytes": _bytes(r)}),
    2: Shape(
        "deployWithMaxDataLen",
        (
            "payerAccount",
            "programDataAccount",
            "programAccount",
            "bufferAccount",
            "rentSysvar",
            "clockSysvar",
            "systemProgram",
            "authority",
        ),
        lambda r: {"maxDataLen": r.u64()},
    ),
    3: Shape(
        "upgrade",
        (
            "programDataAccount",
            "programAccount",
            "bufferAccount",
            "spillAccount",
            "rentSysvar",
            "clockSysvar",
            "authority",
        ),
    ),
    4: Shape("setAuthority", ("account", "authority"), lambda _: {"newAuthority": None}, optional=("newAuthority",)),
    5: Shape(
        "close",
        ("account", "recipient", "authority"),
        lambda _: {"programAccount": None},
        optional=("programAccount",),
    ),
    6: Shape(
        "extendProgram",
        ("programDataAccount", "programAccount"),
        lambda r: {"additionalBytes": r.u32(), "systemProgram": None, "payerAccount": None},
        optional=("systemProgram", "payerAccount"),
    ),
    7: Shape("setAuthorityChecked", ("account", "authority", "newAuthority")),
}
_TABLES = {
    "address-lookup-table": _LOOKUP_TABLE,
    "bpf-loader": _LOADER,
    "bpf-upgradeable-loader": _UPGRADEABLE,
    "stake": STAKE,
    "system": _SYSTEM,
    "vote": VOTE,
}
_NAMES = {
    "11111111111111111111111111111111": "system",
    "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL": "spl-associated-token-account",
    "AddressLookupTab1e1111111111111111111111111": "address-lookup-table",
    "BPFLoader2111111111111111111111111111111111": "bpf-loader",
    "BPFLoaderUpgradeab1e11111111111111111111111": "bpf-upgradeable-loader",
    "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo": "spl-memo",
    "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr": "spl-memo",
    "Stake11111111111111111111111111111111111111": "stake",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA": "spl-token",
    "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb": "spl-token",
    "Vote111111111111111111111111111111111111111": "vote",
}
