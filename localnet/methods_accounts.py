"""Methods that read accounts, each at the commitment that the call names."""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey

from localnet.encode import account_json
from localnet.errors import invalid_params
from localnet.methods_ledger import slot_of
from localnet.node import Node, with_context
from localnet.params import AccountConfig, AccountFilters, ContextConfig, ProgramAccountsConfig, pubkey
from localnet.registry import Methods

MAX_MULTIPLE_ACCOUNTS = 100

methods = Methods()


def checked_encoding(config: AccountConfig, default: str) -> str:
    """Raises RpcError -32602 for zstd: no compressor is a dependency of this room."""
    if config.encoding == "base64+zstd":
        raise invalid_params("unsupported encoding: base64+zstd. Supported encodings: base58, base64, jsonParsed")
    return config.encoding or default


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
    return with_context(slot, _encoded(node, key, slot, config, checked_encoding(config, "binary")))


@methods.method("getMultipleAccounts")
def get_multiple_accounts(node: Node, addresses: list[str], config: AccountConfig | None = None) -> dict[str, Any]:
    config = config or AccountConfig()
    if len(addresses) > MAX_MULTIPLE_ACCOUNTS:
        raise invalid_params(f"Too many inputs provided; max {MAX_MULTIPLE_ACCOUNTS}")
    keys = [pubkey(text) for text in addresses]
    slot = slot_of(node, config)
    encoding = checked_encoding(config, "base64")
    return with_context(slot, [_encoded(node, key, slot, config, encoding) for key in keys])


def _encoded(node: Node, key: Pubkey, slot: int, config: AccountConfig, encoding: str) -> dict[str, Any] | None:
    account = node.bank.account(key, slot)
    return None if account is None else account_json(account, encoding, config.slice)


@methods.method("getProgramAccounts")
def get_program_accounts(node: Node, program: str, config: ProgramAccountsConfig | None = None) -> Any:
    config = config or ProgramAccountsConfig()
    program_id = pubkey(program)
    filters = AccountFilters(config.filters)
    slot = slot_of(node, config)
    encoding = checked_encoding(config, "binary")
    found = [
        {"account": account_json(account, encoding, config.slice), "pubkey": str(address)}
        for address, account in node.bank.program_accounts(program_id, slot)
        if filters.allow(bytes(account.data))
    ]
    return with_context(slot, found) if config.with_context else found
