"""Balances of SPL token accounts among a transaction's accounts, for the transaction's meta."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.history import TokenBalance
from localnet.token_state import TOKEN_PROGRAM_IDS, unpack_account, unpack_mint


def token_balances(
    account_keys: Sequence[Pubkey], account_of: Callable[[Pubkey], Account | None]
) -> tuple[TokenBalance, ...]:
    """One entry per token account, in the order of `account_keys`; none unless a token program is among the keys."""
    if not TOKEN_PROGRAM_IDS.intersection(account_keys):
        return ()
    found = []
    for index, key in enumerate(account_keys):
        account = account_of(key)
        if account is None or account.owner not in TOKEN_PROGRAM_IDS:
            continue
        token = unpack_account(bytes(account.data))
        if token is None:
            continue
        mint_account = account_of(token.mint)
        mint = None if mint_account is None else unpack_mint(bytes(mint_account.data))
        if mint is not None:
            found.append(TokenBalance(index, token.mint, token.owner, account.owner, token.amount, mint.decimals))
    return tuple(found)
