"""The state of SPL token accounts, both programs: who a token account belongs to, what a mint counts in. Pure.

Layouts: `Account` (165 bytes), `Mint` (82) and `Multisig` (355) of spl-token-interface; token-2022 appends an account
type at byte 165 and then extensions as type u16, length u16, value. Integers are little-endian; a COption is a u32 tag
and then its value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

TOKEN_PROGRAM_ID = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022_PROGRAM_ID = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
TOKEN_PROGRAM_IDS = frozenset((TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID))
NATIVE_MINT = Pubkey.from_string("So11111111111111111111111111111111111111112")
NATIVE_MINT_DECIMALS = 9

ACCOUNT_LENGTH = 165
MINT_LENGTH = 82
MULTISIG_LENGTH = 355
ACCOUNT_MINT_OFFSET = 0
ACCOUNT_OWNER_OFFSET = 32
ACCOUNT_DELEGATE_OFFSET = 72
MAX_SIGNERS = 11
LAST_EXTENSION = 27
_ACCOUNT_STATE_OFFSET = 108
_MINT_INITIALIZED_OFFSET = 45
_TYPE_MINT = 1
_TYPE_ACCOUNT = 2
# The largest power of ten in 64 bits: with more decimals agave states no uiAmount.
_MAX_UI_DECIMALS = 19


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """`native_reserve` is the rent that an account of wrapped SOL keeps; None for any other mint."""

    mint: Pubkey
    owner: Pubkey
    amount: int
    delegate: Pubkey | None
    state: str
    native_reserve: int | None
    delegated_amount: int
    close_authority: Pubkey | None
    extensions: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Mint:
    mint_authority: Pubkey | None
    supply: int
    decimals: int
    freeze_authority: Pubkey | None
    extensions: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Multisig:
    required: int
    valid: int
    signers: tuple[Pubkey, ...]


def is_token_account(data: bytes) -> bool:
    """An initialized token account of either program, by its length and type."""
    return _is_kind(data, ACCOUNT_LENGTH, _TYPE_ACCOUNT) and data[_ACCOUNT_STATE_OFFSET] in (1, 2)


def unpack_account(data: bytes) -> TokenAccount | None:
    """None for what is not an initialized token account."""
    if not is_token_account(data):
        return None
    has_reserve, reserve = _u32(data, 109), _u64(data, 113)
    return TokenAccount(
        mint=Pubkey.from_bytes(data[:32]),
        owner=Pubkey.from_bytes(data[32:64]),
        amount=_u64(data, 64),
        delegate=_optional_key(data, ACCOUNT_DELEGATE_OFFSET),
        state="initialized" if data[_ACCOUNT_STATE_OFFSET] == 1 else "frozen",
        native_reserve=reserve if has_reserve else None,
        delegated_amount=_u64(data, 121),
        close_authority=_optional_key(data, 129),
        extensions=_extensions(data),
    )


def unpack_mint(data: bytes) -> Mint | None:
    """None for what is not an initialized mint."""
    if not _is_kind(data, MINT_LENGTH, _TYPE_MINT) or data[_MINT_INITIALIZED_OFFSET] != 1:
        return None
    return Mint(
        mint_authority=_optional_key(data, 0),
        supply=_u64(data, 36),
        decimals=data[44],
        freeze_authority=_optional_key(data, 46),
        extensions=_extensions(data),
    )


def unpack_multisig(data: bytes) -> Multisig | None:
    """None for what is not an initialized multisig."""
    if len(data) != MULTISIG_LENGTH or data[2] != 1:
        return None
    slots = (Pubkey.from_bytes(data[3 + 32 * i : 35 + 32 * i]) for i in range(MAX_SIGNERS))
    return Multisig(data[0], data[1], tuple(key for key in slots if key != Pubkey.default()))


def ui_amount_json(amount: int, decimals: int) -> dict[str, Any]:
    """agave's UiTokenAmount; an interest-bearing or scaled mint is shown without its interest or scale."""
    whole, fraction = divmod(amount, 10**decimals)
    text = f"{whole}.{fraction:0{decimals}d}".rstrip("0").rstrip(".") if decimals else str(whole)
    return {
        "amount": str(amount),
        "decimals": decimals,
        "uiAmount": float(amount) / float(10**decimals) if decimals <= _MAX_UI_DECIMALS else None,
        "uiAmountString": text,
    }


def _is_kind(data: bytes, base_length: int, account_type: int) -> bool:
    """Extended accounts of every kind have the length of a token account first, so the type decides; a multisig's
    length alone rules the others out.
    """
    if len(data) == base_length:
        return True
    return len(data) > ACCOUNT_LENGTH and len(data) != MULTISIG_LENGTH and data[ACCOUNT_LENGTH] == account_type


def _extensions(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """By type; none at all of an account with one that is unknown or cut off, as spl-token-2022 reads them."""
    found, at = [], ACCOUNT_LENGTH + 1
    while at + 4 <= len(data):
        kind = int.from_bytes(data[at : at + 2], "little")
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4], "little")
        if kind == 0:
            break
        if kind > LAST_EXTENSION or end > len(data):
            return ()
        found.append((kind, data[at + 4 : end]))
        at = end
    return tuple(found)


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _optional_key(data: bytes, at: int) -> Pubkey | None:
    return Pubkey.from_bytes(data[at + 4 : at + 36]) if _u32(data, at) == 1 else None
