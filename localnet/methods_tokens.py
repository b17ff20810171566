"""Methods about SPL tokens, of both token programs. Errors in agave's words (solana-rpc, rpc.rs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.errors import RpcError, invalid_params
from localnet.methods_accounts import keyed_accounts
from localnet.methods_ledger import slot_of
from localnet.node import Node, with_context
from localnet.params import AccountConfig, CommitmentConfig, TokenAccountsFilter, pubkey
from localnet.parse_account import NATIVE
from localnet.parse_token import mint_amount_json
from localnet.registry import Methods
from localnet.token_state import (
    NATIVE_MINT,
    TOKEN_PROGRAM_ID,
    TOKEN_PROGRAM_IDS,
    Mint,
    TokenAccount,
    unpack_account,
    unpack_mint,
)

LARGEST_ACCOUNTS = 20

methods = Methods()


@methods.method("getTokenAccountBalance")
def get_token_account_balance(node: Node, address: str, config: CommitmentConfig | None = None) -> dict[str, Any]:
    key, slot = pubkey(address), _slot(node, config)
    account = _existing(node, key, slot)
    token = unpack_account(bytes(account.data)) if account.owner in TOKEN_PROGRAM_IDS else None
    if token is None:
        raise _refused("not a Token account")
    _, mint = _mint(node, token.mint, slot)
    return with_context(slot, mint_amount_json(token.amount, mint, _unix_time(node, slot)))


@methods.method("getTokenSupply")
def get_token_supply(node: Node, address: str, config: CommitmentConfig | None = None) -> dict[str, Any]:
    key, slot = pubkey(address), _slot(node, config)
    account = _existing(node, key, slot)
    if account.owner not in TOKEN_PROGRAM_IDS:
        raise _refused("not a Token mint")
    mint = unpack_mint(bytes(account.data))
    if mint is None:
        raise _refused("mint could not be unpacked")
    return with_context(slot, mint_amount_json(mint.supply, mint, _unix_time(node, slot)))


@methods.method("getTokenLargestAccounts")
def get_token_largest_accounts(node: Node, address: str, config: CommitmentConfig | None = None) -> dict[str, Any]:
    key, slot = pubkey(address), _slot(node, config)
    program, mint = _token_mint(node, key, slot)
    holders = [
        (token.amount, address) for address, _, token in _token_accounts(node, program, slot) if token.mint == key
    ]
    largest = sorted(holders, key=lambda holder: (holder[0], bytes(holder[1])), reverse=True)[:LARGEST_ACCOUNTS]
    unix_time = _unix_time(node, slot)
    listed = [{"address": str(key)} | mint_amount_json(amount, mint, unix_time) for amount, key in largest]
    return with_context(slot, listed)


@methods.method("getTokenAccountsByOwner")
def get_token_accounts_by_owner(
    node: Node, owner: str, wanted: TokenAccountsFilter, config: AccountConfig | None = None
) -> dict[str, Any]:
    key = pubkey(owner)
    return _by_holder(node, lambda token: token.owner == key, wanted, config)


@methods.method("getTokenAccountsByDelegate")
def get_token_accounts_by_delegate(
    node: Node, delegate: str, wanted: TokenAccountsFilter, config: AccountConfig | None = None
) -> dict[str, Any]:
    key = pubkey(delegate)
    return _by_holder(node, lambda token: token.delegate == key, wanted, config)


def _by_holder(
    node: Node, holds: Callable[[TokenAccount], bool], wanted: TokenAccountsFilter, config: AccountConfig | None
) -> dict[str, Any]:
    config = config or AccountConfig()
    if (wanted.mint is None) == (wanted.program_id is None):
        raise invalid_params("Invalid params: invalid value: map, expected map with a single key.")
    mint = None if wanted.mint is None else pubkey(wanted.mint)
    program = None if wanted.program_id is None else pubkey(wanted.program_id)
    slot = slot_of(node, config)
    if mint is not None:
        program, _ = _token_mint(node, mint, slot)
    if program not in TOKEN_PROGRAM_IDS:
        raise _refused("unrecognized Token program id")
    found = [
        (address, account)
        for address, account, token in _token_accounts(node, program, slot)
        if holds(token) and mint in (None, token.mint)
    ]
    return with_context(slot, keyed_accounts(node, slot, found, config))


def _token_accounts(node: Node, program: Pubkey, slot: int) -> Iterator[tuple[Pubkey, Account, TokenAccount]]:
    for address, account in node.bank.program_accounts(program, slot):
        token = unpack_account(bytes(account.data))
        if token is not None:
            yield address, account, token


def _existing(node: Node, key: Pubkey, slot: int) -> Account:
    account = node.bank.account(key, slot)
    if account is None:
        raise _refused("could not find account")
    return account


def _mint(node: Node, key: Pubkey, slot: int) -> tuple[Pubkey, Mint]:
    """Its owner and its state. Raises RpcError -32602; whether the owner is a token program is not looked at."""
    if key == NATIVE_MINT:
        return TOKEN_PROGRAM_ID, NATIVE
    account = node.bank.account(key, slot)
    if account is None:
        raise _refused("could not find mint")
    mint = unpack_mint(bytes(account.data))
    if mint is None:
        raise _refused("Token mint could not be unpacked")
    return account.owner, mint


def _token_mint(node: Node, key: Pubkey, slot: int) -> tuple[Pubkey, Mint]:
    program, mint = _mint(node, key, slot)
    if program not in TOKEN_PROGRAM_IDS:
        raise _refused("not a Token mint")
    return program, mint


def _slot(node: Node, config: CommitmentConfig | None) -> int:
    return node.slot_for(config.commitment if config else None)


def _unix_time(node: Node, slot: int) -> int:
    block = node.bank.history.block(slot)
    return 0 if block is None else block.unix_time


def _refused(reason: str) -> RpcError:
    return invalid_params(f"Invalid param: {reason}")
