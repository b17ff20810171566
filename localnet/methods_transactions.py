"""Methods that run transactions, or try them: send, simulate, airdrop, and what a message costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from solders.account import Account
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.message import Message, MessageV0, MessageV1, from_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import SanitizeError, VersionedTransaction

from localnet import fees, params
from localnet.base58 import b58decode
from localnet.base64_text import b64decode
from localnet.commitment import Commitment
from localnet.encode import (
    loaded_addresses_json,
    parsed_inner_instructions_json,
    return_data_json,
    token_balance_json,
)
from localnet.errors import RpcError, internal_error, invalid_params, preflight_failure
from localnet.history import TokenBalance
from localnet.methods_accounts import account_encoder
from localnet.methods_ledger import blockhash_json, slot_of
from localnet.node import Node, with_context
from localnet.outcome import Outcome, not_executed
from localnet.params import U64
from localnet.registry import Methods
from localnet.token_balances import token_balances
from localnet.transaction_errors import describe, describe_loader_error
from localnet.transaction_keys import lookup_error, resolve_keys

PACKET_DATA_SIZE = 1232
MAX_TEXT = {"base58": 1683, "base64": 1644}  # of PACKET_DATA_SIZE bytes
MAX_EQUAL_AIRDROPS = 1_000
AIRDROP_COMPUTE_UNITS = 10_000
# SIMD-0385's format, which agave 4.1 does not accept either.
_NO_V1 = "message version 1 is not supported; send a legacy or a version 0 message"

# The names of agave's types stand in its errors.
_TRANSACTION = "solana_transaction::versioned::VersionedTransaction"
_MESSAGE = "solana_message::non_bpf_modules::versions::VersionedMessage"

methods = Methods()


@methods.method("getFeeForMessage")
def get_fee_for_message(node: Node, message: str, config: params.ContextConfig | None = None) -> dict[str, Any]:
    wire = _decode(message, "base64", _MESSAGE)
    try:
        decoded = from_bytes_versioned(wire)
    except ValueError as error:
        raise invalid_params(f"failed to deserialize {_MESSAGE}: {error}") from None
    if isinstance(decoded, MessageV1):
        raise invalid_params(f"failed to deserialize {_MESSAGE}: {_NO_V1}")
    if any(i.program_id_index >= len(decoded.account_keys) for i in decoded.instructions):
        raise invalid_params(f"invalid transaction message: {describe('InvalidAccountIndex')}")
    slot = slot_of(node, config)
    unusable = lookup_error(decoded, lambda key: node.bank.account(key, slot), slot)
    if unusable is not None:
        raise invalid_params(f"invalid transaction message: {describe_loader_error(unusable)}")
    return with_context(slot, fees.fee_lamports(decoded) if node.bank.is_current(decoded, slot) else None)


@methods.method("sendTransaction")
def send_transaction(node: Node, text: str, config: params.SendConfig | None = None) -> str:
    config = config or params.SendConfig()
    transaction = _decode_transaction(text, config.encoding)
    commitment = Commitment.PROCESSED if config.skip_preflight else config.preflight_commitment
    slot = node.slot_for(commitment, config.min_context_slot)
    _check_lookups(node, transaction, slot)
    if not config.skip_preflight:
        if all(transaction.verify_with_results()):
            outcome = node.bank.simulate(transaction, slot, verify_signatures=False)
        else:
            outcome = not_executed("SignatureFailure")
        if outcome.error is not None:
            raise preflight_failure(describe(outcome.error), _simulation_json(outcome, None, None))
    # As on a cluster, the signature is the answer even if the transaction never lands: the client polls its status.
    node.bank.process(transaction)
    return str(transaction.signatures[0])


@methods.method("simulateTransaction")
def simulate_transaction(node: Node, text: str, config: params.SimulateConfig | None = None) -> dict[str, Any]:
    config = config or params.SimulateConfig()
    transaction = _decode_transaction(text, config.encoding)
    slot = slot_of(node, config)
    replacement = None
    if config.replace_recent_blockhash:
        if config.sig_verify:
            raise invalid_params("sigVerify may not be used with replaceRecentBlockhash")
        replacement = blockhash_json(node, slot)
        transaction = _with_blockhash(transaction, node.bank.latest_blockhash(slot))
    _check_lookups(node, transaction, slot)
    is_forged = config.sig_verify and not all(transaction.verify_with_results())
    outcome = (
        not_executed("SignatureFailure")
        if is_forged
        else node.bank.simulate(transaction, slot, verify_signatures=False)
    )
    keys = resolve_keys(transaction, lambda key: node.bank.account(key, slot))
    body = _simulation_json(outcome, replacement, _requested_accounts(node, config, outcome, slot, len(keys.all)))
    body["loadedAddresses"] = loaded_addresses_json(keys.loaded_writable, keys.loaded_readonly)
    if config.inner_instructions:
        body["innerInstructions"] = parsed_inner_instructions_json(outcome.inner_instructions, keys.all)
    if not is_forged:
        body |= _balances(node, outcome, keys.all, slot)
    return with_context(slot, body)


@methods.method("requestAirdrop")
def request_airdrop(node: Node, address: str, lamports: U64, config: params.AirdropConfig | None = None) -> str:
    """A transfer signed by the faucet. Two equal requests under one blockhash are two airdrops: the later ones differ
    by a compute unit limit, and so in their signature.
    """
    to = params.pubkey(address)
    blockhash = node.bank.latest_blockhash(node.bank.slot)
    if config is not None and config.recent_blockhash is not None:
        blockhash = params.blockhash(config.recent_blockhash)
    for repetition in range(MAX_EQUAL_AIRDROPS):
        transaction = _airdrop(node, to, lamports, blockhash, repetition)
        outcome = node.bank.process(transaction)
        if outcome.error is None:
            return str(transaction.signatures[0])
        if outcome.error != "AlreadyProcessed":
            raise RpcError(internal_error().code, f"the faucet's transfer failed: {describe(outcome.error)}")
    raise RpcError(internal_error().code, f"{MAX_EQUAL_AIRDROPS} equal airdrops under one blockhash; wait a slot")


def _airdrop(node: Node, to: Pubkey, lamports: int, blockhash: Hash, repetition: int) -> VersionedTransaction:
    instructions = [transfer(TransferParams(from_pubkey=node.faucet.pubkey(), to_pubkey=to, lamports=lamports))]
    if repetition:
        instructions.append(set_compute_unit_limit(AIRDROP_COMPUTE_UNITS + repetition))
    message = Message.new_with_blockhash(instructions, node.faucet.pubkey(), blockhash)
    return VersionedTransaction(message, [node.faucet])


def _decode(text: str, encoding: str, what: str) -> bytes:
    if len(text) > MAX_TEXT[encoding]:
        raise invalid_params(
            f"{encoding} encoded {what} too large: {len(text)} bytes "
            f"(max: encoded/raw {MAX_TEXT[encoding]}/{PACKET_DATA_SIZE})"
        )
    try:
        wire = b64decode(text) if encoding == "base64" else b58decode(text)
    except ValueError as error:
        raise invalid_params(f"invalid {encoding} encoding: {error}") from None
    if len(wire) > PACKET_DATA_SIZE:
        raise invalid_params(f"decoded {what} too large: {len(wire)} bytes (max: {PACKET_DATA_SIZE} bytes)")
    return wire


def _decode_transaction(text: str, encoding: str | None) -> VersionedTransaction:
    encoding = {None: "base58", "binary": "base58"}.get(encoding, encoding)
    if encoding not in MAX_TEXT:
        raise invalid_params(f"unsupported encoding: {encoding}. Supported encodings: base58, base64")
    wire = _decode(text, encoding, _TRANSACTION)
    try:
        transaction = VersionedTransaction.from_bytes(wire)
    except ValueError as error:
        raise invalid_params(f"failed to deserialize {_TRANSACTION}: {error}") from None
    if isinstance(transaction.message, MessageV1):
        raise invalid_params(f"failed to deserialize {_TRANSACTION}: {_NO_V1}")
    try:
        transaction.sanitize()
    except SanitizeError:
        raise invalid_params(f"invalid transaction: {describe('SanitizeFailure')}") from None
    senseless = fees.compute_budget_error(transaction.message)
    if senseless is not None:
        raise invalid_params(f"invalid transaction: {describe(senseless)}")
    return transaction


def _check_lookups(node: Node, transaction: VersionedTransaction, slot: int) -> None:
    """A transaction whose lookup tables give no addresses is no transaction: refused even without preflight."""
    unusable = lookup_error(transaction.message, lambda key: node.bank.account(key, slot), slot)
    if unusable is not None:
        raise invalid_params(f"invalid transaction: {describe(unusable)}")


def _with_blockhash(transaction: VersionedTransaction, blockhash: Hash) -> VersionedTransaction:
    message = transaction.message
    replaced: Message | MessageV0
    if isinstance(message, MessageV0):
        replaced = MessageV0(
            message.header, message.account_keys, blockhash, message.instructions, message.address_table_lookups
        )
    else:
        header = message.header
        replaced = Message.new_with_compiled_instructions(
            header.num_required_signatures,
            header.num_readonly_signed_accounts,
            header.num_readonly_unsigned_accounts,
            message.account_keys,
            blockhash,
            message.instructions,
        )
    return VersionedTransaction.populate(replaced, transaction.signatures)


def _requested_accounts(
    node: Node, config: params.SimulateConfig, outcome: Outcome, slot: int, account_count: int
) -> list[dict[str, Any] | None] | None:
    if config.accounts is None:
        return None
    if config.accounts.encoding in ("binary", "base58"):
        raise invalid_params("base58 encoding not supported")
    addresses = [params.pubkey(text) for text in config.accounts.addresses]
    if len(addresses) > account_count:
        raise invalid_params(f"Too many accounts provided; max {account_count}")
    if outcome.post_accounts is None:
        return [None] * len(addresses)
    after = outcome.post_accounts
    encoder = account_encoder(node, slot, config.accounts.encoding or "base64")
    encoder = replace(encoder, account_at=lambda key: after.get(key) or node.bank.account(key, slot))
    accounts = [(key, encoder.account_at(key)) for key in addresses]
    return [None if account is None else encoder.json(key, account) for key, account in accounts]


def _simulation_json(
    outcome: Outcome, replacement: dict[str, Any] | None, accounts: list[dict[str, Any] | None] | None
) -> dict[str, Any]:
    return {
        "accounts": accounts,
        "err": outcome.error,
        "fee": outcome.fee_lamports if outcome.executed else None,
        "innerInstructions": None,
        "loadedAccountsDataSize": outcome.loaded_bytes,
        "loadedAddresses": None,
        "logs": list(outcome.logs),
        "postBalances": None,
        "postTokenBalances": None,
        "preBalances": None,
        "preTokenBalances": None,
        "replacementBlockhash": replacement,
        "returnData": return_data_json(outcome.return_data),
        "unitsConsumed": outcome.compute_units,
    }


def _balances(node: Node, outcome: Outcome, keys: Sequence[Pubkey], slot: int) -> dict[str, Any]:
    before = {key: node.bank.account(key, slot) for key in keys}
    after = before | (outcome.post_accounts or {})
    pre, post = ([account.lamports if (account := of[key]) else 0 for key in keys] for of in (before, after))
    if outcome.post_accounts is None and outcome.executed:
        post[0] -= outcome.fee_lamports  # a failed transaction keeps nothing but its fee

    def lookup(accounts: dict[Pubkey, Account | None]) -> Callable[[Pubkey], Account | None]:
        # A transfer of tokens need not name the mint, which states the decimals.
        return lambda key: accounts[key] if key in accounts else node.bank.account(key, slot)

    return {
        "preBalances": pre,
        "postBalances": post,
        "preTokenBalances": _token_balances_json(token_balances(keys, lookup(before))),
        "postTokenBalances": _token_balances_json(token_balances(keys, lookup(after))),
    }


def _token_balances_json(balances: Iterable[TokenBalance]) -> list[dict[str, Any]]:
    return [token_balance_json(balance, is_stored=False) for balance in balances]
