"""Balances of SPL token accounts among a transaction's accounts, for the transaction's meta."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.history import TokenBalance

TOKEN_PROGRAM_IDS = frozenset(
    Pubkey.from_string(text)
    for text in ("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
)
# spl-token: Account is mint 32, owner 32, amount u64, ... (165 bytes); Mint has its decimals at byte 44.
ACCOUNT_LENGTH = 165
MINT_LENGTH = 82
MINT_DECIMALS_OFFSET = 44


def token_balances(
    account_keys: Sequence[Pubkey], account_of: Callable[[Pubkey], Account | None]
) -> tuple[TokenBalance, ...]:
    """One entry per token account, in the order of `account_keys`; none unless a token program is among the keys."""
    if not TOKEN_PROGRAM_IDS.intersection(account_keys):
        return ()
    found = []
    for index, key in enumerate(account_keys):
        account = account_of(key)
        if account is None or account.owner not in TOKEN_PROGRAM_IDS or len(account.data) < ACCOUNT_LENGTH:
            continue
        data = bytes(account.data)
        mint = Pubkey.from_bytes(data[:32])
        mint_account = account_of(mint)
        if mint_account is None or len(mint_account.data) < MINT_LENGTH:
            continue
        owner = Pubkey.from_bytes(data[32:64])
        amount = int.from_bytes(data[64:72], "little")
        decimals = mint_account.data[MINT_DECIMALS_OFFSET]
        found.append(TokenBalance(index, mint, owner, account.owner, amount, decimals))
    return tuple(found)
