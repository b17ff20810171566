"""Methods that read accounts, each at the commitment that the call names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.encode_account import AccountEncoder
from localnet.errors import invalid_params
from localnet.methods_ledger import slot_of
from localnet.node import Node, with_context
from localnet.params import AccountConfig, AccountFilters, ContextConfig, ProgramAccountsConfig, pubkey
from localnet.registry import Methods
from localnet.token_state import ACCOUNT_LENGTH, ACCOUNT_MINT_OFFSET, ACCOUNT_OWNER_OFFSET, TOKEN_PROGRAM_IDS

MAX_MULTIPLE_ACCOUNTS = 100
KEY_LENGTH = 32

methods = Methods()


def account_encoder(node: Node, slot: int, encoding: str, data_slice: tuple[int, int] | None = None) -> AccountEncoder:
    """For accounts at the end of `slot`."""
    block = node.bank.history.block(slot)
    return AccountEncoder(
        encoding, data_slice, lambda key: node.bank.account(key, slot), 0 if block is None else block.unix_time
    )


@methods.method("getBalance")
def get_balance(node: Node, address: str, config: ContextConfig | None = None) -> dict[str, Any]:
    key = pubkey(address)
    slot = slot_of(node, config)
    account = node.bank.account(key, slot)
    return with_context(slot, 0 if account is None else account.lamports)


@methods.method("getAccountInfo")
def get_account_info(node: Node, address: str, config: AccountConfig | None = None) -> dict[str, Any]:
    config = config or AccountConfig()
    key = pubkey(address)
    slot = slot_of(node, config)
    return with_context(slot, _encoded(node, key, slot, config, "binary"))


@methods.method("getMultipleAccounts")
def get_multiple_accounts(node: Node, addresses: list[str], config: AccountConfig | None = None) -> dict[str, Any]:
    config = config or AccountConfig()
    if len(addresses) > MAX_MULTIPLE_ACCOUNTS:
        raise invalid_params(f"Too many inputs provided; max {MAX_MULTIPLE_ACCOUNTS}")
    keys = [pubkey(text) for text in addresses]
    slot = slot_of(node, config)
    return with_context(slot, [_encoded(node, key, slot, config, "base64") for key in keys])


def _encoded(node: Node, key: Pubkey, slot: int, config: AccountConfig, default: str) -> dict[str, Any] | None:
    account = node.bank.account(key, slot)
    if account is None:
        return None
    return account_encoder(node, slot, config.encoding or default, config.slice).json(key, account)


@methods.method("getProgramAccounts")
def get_program_accounts(node: Node, program: str, config: ProgramAccountsConfig | None = None) -> Any:
    config = config or ProgramAccountsConfig()
    program_id = pubkey(program)
    filters = AccountFilters(config.filters)
    if program_id in TOKEN_PROGRAM_IDS:
        _check_token_filters(filters)
    slot = slot_of(node, config)
    found = [
        (address, account)
        for address, account in node.bank.program_accounts(program_id, slot)
        if filters.allow(bytes(account.data))
    ]
    listed = keyed_accounts(node, slot, found, config)
    return with_context(slot, listed) if config.with_context else listed


def _check_token_filters(filters: AccountFilters) -> None:
    """A pattern where a token account has its owner, or else its mint, is compared with a key: whole."""
    patterns = dict(filters.patterns)
    for name, at in (("owner", ACCOUNT_OWNER_OFFSET), ("mint", ACCOUNT_MINT_OFFSET)):
        pattern = patterns.get(at)
        if pattern is not None and len(pattern) != KEY_LENGTH:
            raise invalid_params(
                f"Incorrect byte length {len(pattern)} for SPL token {name} filter, expected {KEY_LENGTH}"
            )
        if pattern is not None and (filters.only_token_accounts or ACCOUNT_LENGTH in filters.sizes):
            return  # agave looks no further once the owner has narrowed the search


def keyed_accounts(
    node: Node, slot: int, accounts: Iterable[tuple[Pubkey, Account]], config: AccountConfig
) -> list[dict[str, Any]]:
    """In jsonParsed, agave leaves out the accounts of a token program that it cannot parse."""
    encoder = account_encoder(node, slot, config.encoding or "binary", config.slice)
    listed = []
    for address, account in accounts:
        encoded = encoder.json(address, account)
        is_parsed = isinstance(encoded["data"], dict)
        if is_parsed or config.encoding != "jsonParsed" or account.owner not in TOKEN_PROGRAM_IDS:
            listed.append({"account": encoded, "pubkey": str(address)})
    return listed
