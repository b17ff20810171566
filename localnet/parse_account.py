"""jsonParsed for accounts, by their owner (solana-account-decoder, parse_account_data). Pure.

What agave parses and this does not: accounts of the config program, which does not exist here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.base58 import b58encode
from localnet.parse_stake import parse_stake, parse_vote
from localnet.parse_sysvar import parse_sysvar
from localnet.parse_token import parse_token
from localnet.reader import Reader, Truncated
from localnet.token_state import (
    ACCOUNT_MINT_OFFSET,
    NATIVE_MINT,
    NATIVE_MINT_DECIMALS,
    TOKEN_PROGRAM_IDS,
    Mint,
    is_token_account,
    unpack_mint,
)
from localnet.transaction_keys import LOOKUP_TABLE_HEADER_LENGTH

AccountAt = Callable[[Pubkey], Account | None]
NATIVE = Mint(None, 0, NATIVE_MINT_DECIMALS, None, ())
_UPGRADEABLE_TYPES = ("uninitialized", "buffer", "program", "programData")
_BUFFER_HEADER_LENGTH = 37
_PROGRAM_DATA_HEADER_LENGTH = 45


def parse_account(address: Pubkey, account: Account, account_at: AccountAt, unix_time: int) -> dict[str, Any] | None:
    """parsed, program and space; None for what agave would show as bytes. `account_at` finds a token account's mint."""
    program = _PROGRAMS.get(str(account.owner))
    if program is None:
        return None
    data = bytes(account.data)
    is_token = account.owner in TOKEN_PROGRAM_IDS
    parsed = (
        parse_token(data, mint_of(data, account_at), unix_time) if is_token else _parse(program, str(address), data)
    )
    return None if parsed is None else {"parsed": parsed, "program": program, "space": len(data)}


def mint_of(data: bytes, account_at: AccountAt) -> Mint | None:
    """The mint of a token account's data; None for other data and for a mint that is not there."""
    if not is_token_account(data):
        return None
    address = Pubkey.from_bytes(data[ACCOUNT_MINT_OFFSET : ACCOUNT_MINT_OFFSET + 32])
    if address == NATIVE_MINT:
        return NATIVE
    account = account_at(address)
    return None if account is None else unpack_mint(bytes(account.data))


def _parse(program: str, address: str, data: bytes) -> dict[str, Any] | None:
    if program == "sysvar":
        return parse_sysvar(address, data)
    if program == "stake":
        return parse_stake(data)
    if program == "vote":
        return parse_vote(address, data)
    try:
        if program == "nonce":
            return _nonce(Reader(data))
        if program == "address-lookup-table":
            return _lookup_table(Reader(data))
        return _upgradeable(Reader(data), data)
    except Truncated:
        return None


def _nonce(reader: Reader) -> dict[str, Any] | None:
    version, state = reader.u32(), reader.u32()
    if version > 1 or state != 1:
        return None
    info = {
        "authority": reader.key(),
        "blockhash": b58encode(reader.take(32)),
        "feeCalculator": {"lamportsPerSignature": str(reader.u64())},
    }
    return {"info": info, "type": "initialized"}


def _lookup_table(reader: Reader) -> dict[str, Any] | None:
    kind = reader.u32()
    if kind > 1:
        return None
    if kind == 0:
        return {"type": "uninitialized"}
    info: dict[str, Any] = {
        "deactivationSlot": str(reader.u64()),
        "lastExtendedSlot": str(reader.u64()),
        "lastExtendedSlotStartIndex": reader.u8(),
    }
    authority = reader.option_key()
    if authority is not None:
        info["authority"] = authority
    reader.take(LOOKUP_TABLE_HEADER_LENGTH - 4 - 8 - 8 - 1 - (33 if authority else 1))
    addresses = reader.rest()
    if len(addresses) % 32:
        return None
    info["addresses"] = [str(Pubkey.from_bytes(addresses[at : at + 32])) for at in range(0, len(addresses), 32)]
    return {"info": info, "type": "lookupTable"}


def _upgradeable(reader: Reader, data: bytes) -> dict[str, Any] | None:
    kind = reader.u32()
    if kind >= len(_UPGRADEABLE_TYPES):
        return None
    name = _UPGRADEABLE_TYPES[kind]
    if name == "uninitialized":
        return {"type": name}
    if name == "program":
        return {"info": {"programData": reader.key()}, "type": name}
    header = _BUFFER_HEADER_LENGTH if name == "buffer" else _PROGRAM_DATA_HEADER_LENGTH
    info: dict[str, Any] = {"slot": reader.u64()} if name == "programData" else {}
    info["authority"] = reader.option_key()
    # Without an authority agave starts 32 bytes early, where the authority would stand; clients skip them.
    code = data[header if info["authority"] else header - 32 :]
    info["data"] = [base64.b64encode(code).decode(), "base64"]
    return {"info": info, "type": name}


_PROGRAMS = {
    "11111111111111111111111111111111": "nonce",
    "AddressLookupTab1e1111111111111111111111111": "address-lookup-table",
    "BPFLoaderUpgradeab1e11111111111111111111111": "bpf-upgradeable-loader",
    "Stake11111111111111111111111111111111111111": "stake",
    "Sysvar1111111111111111111111111111111111111": "sysvar",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA": "spl-token",
    "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb": "spl-token-2022",
    "Vote111111111111111111111111111111111111111": "vote",
}
