"""Transactions in agave's JSON shapes (solana-transaction-status)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from solders.instruction import CompiledInstruction
from solders.message import MessageV0
from solders.pubkey import Pubkey

from localnet.base58 import b58encode
from localnet.errors import unsupported_transaction_version
from localnet.history import InnerInstruction, LandedTransaction, TokenBalance
from localnet.outcome import FEES_ONLY
from localnet.parse_instruction import parse_instruction
from localnet.programs import UPGRADEABLE_LOADER_ID
from localnet.reserved_keys import RESERVED_KEYS
from localnet.token_state import ui_amount_json
from localnet.transaction_keys import is_declared_writable

_SHORT_META = frozenset(
    ("err", "fee", "postBalances", "postTokenBalances", "preBalances", "preTokenBalances", "rewards", "status")
)
TOP_LEVEL_STACK_HEIGHT = 1
_MEMO_PROGRAMS = frozenset(
    Pubkey.from_string(text)
    for text in ("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr", "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
)


def transaction_json(
    landed: LandedTransaction, encoding: str, max_supported_version: int | None, *, show_rewards: bool = True
) -> dict[str, Any]:
    """transaction, meta and version. `encoding` "accounts" gives the short form of getBlock's transactionDetails.

    Raises RpcError when the client does not support the version.
    """
    version = 0 if isinstance(landed.transaction.message, MessageV0) else None
    if version is not None and (max_supported_version is None or max_supported_version < version):
        raise unsupported_transaction_version(version)
    meta = meta_json(landed)
    if not show_rewards:
        meta["rewards"] = None
    body: dict[str, Any] = {"meta": meta}
    if encoding == "accounts":
        hidden = () if show_rewards else ("rewards",)
        body["meta"] = {name: value for name, value in meta.items() if name in _SHORT_META and name not in hidden}
        signatures = [str(signature) for signature in landed.transaction.signatures]
        body["transaction"] = {"accountKeys": _parsed_keys(landed), "signatures": signatures}
    else:
        body["transaction"] = encoded_transaction(landed, encoding)
    if encoding == "jsonParsed":
        del meta["loadedAddresses"]  # they stand among the account keys
        if meta["innerInstructions"] is not None:
            meta["innerInstructions"] = parsed_inner_instructions_json(landed.inner_instructions, landed.account_keys)
    if max_supported_version is not None:
        body["version"] = "legacy" if version is None else version
    return body


def encoded_transaction(landed: LandedTransaction, encoding: str) -> Any:
    wire = bytes(landed.transaction)
    if encoding == "base64":
        return [base64.b64encode(wire).decode(), "base64"]
    if encoding == "base58":
        return [b58encode(wire), "base58"]
    if encoding == "binary":
        return b58encode(wire)
    message = landed.transaction.message
    body: dict[str, Any] = {}
    if encoding == "jsonParsed":
        body["accountKeys"] = _parsed_keys(landed)
        body["instructions"] = [
            ui_instruction(
                i.program_id_index, bytes(i.accounts), bytes(i.data), TOP_LEVEL_STACK_HEIGHT, landed.account_keys
            )
            for i in message.instructions
        ]
    else:
        header = message.header
        body["accountKeys"] = [str(key) for key in message.account_keys]
        body["header"] = {
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
            "numRequiredSignatures": header.num_required_signatures,
        }
        body["instructions"] = [_compiled(i, TOP_LEVEL_STACK_HEIGHT) for i in message.instructions]
    body["recentBlockhash"] = str(message.recent_blockhash)
    if isinstance(message, MessageV0):
        body["addressTableLookups"] = [
            {
                "accountKey": str(lookup.account_key),
                "readonlyIndexes": list(lookup.readonly_indexes),
                "writableIndexes": list(lookup.writable_indexes),
            }
            for lookup in message.address_table_lookups
        ]
    return {"message": body, "signatures": [str(signature) for signature in landed.transaction.signatures]}


def meta_json(landed: LandedTransaction) -> dict[str, Any]:
    # What only paid its fee never ran, and has no logs rather than an empty list of them.
    ran = not (isinstance(landed.error, str) and landed.error in FEES_ONLY)
    meta = {
        "computeUnitsConsumed": landed.compute_units,
        "costUnits": landed.cost_units,
        "err": landed.error,
        "fee": landed.fee_lamports,
        "innerInstructions": inner_instructions_json(landed.inner_instructions) if ran else None,
        "loadedAddresses": loaded_addresses_json(landed.loaded_writable, landed.loaded_readonly),
        "logMessages": list(landed.logs) if ran else None,
        "postBalances": list(landed.post_balances),
        "postTokenBalances": [token_balance_json(b, is_stored=True) for b in landed.post_token_balances],
        "preBalances": list(landed.pre_balances),
        "preTokenBalances": [token_balance_json(b, is_stored=True) for b in landed.pre_token_balances],
        "rewards": [],
        "status": status_json(landed.error),
    }
    if landed.return_data is not None:
        meta["returnData"] = return_data_json(landed.return_data)
    return meta


def memo(landed: LandedTransaction) -> str | None:
    """The top-level memos as agave lists them, each as "[length] text"; None without any."""
    message = landed.transaction.message
    found = [
        f"[{len(instruction.data)}] {_memo_text(bytes(instruction.data))}"
        for instruction in message.instructions
        if landed.account_keys[instruction.program_id_index] in _MEMO_PROGRAMS
    ]
    return "; ".join(found) or None


def _memo_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "(unparseable)"


def status_json(error: Any) -> dict[str, Any]:
    return {"Ok": None} if error is None else {"Err": error}


def loaded_addresses_json(writable: Iterable[Pubkey], readonly: Iterable[Pubkey]) -> dict[str, list[str]]:
    return {"readonly": [str(key) for key in readonly], "writable": [str(key) for key in writable]}


def return_data_json(return_data: tuple[Pubkey, bytes] | None) -> dict[str, Any] | None:
    if return_data is None:
        return None
    program_id, data = return_data
    return {"data": [base64.b64encode(data).decode(), "base64"], "programId": str(program_id)}


def inner_instructions_json(groups: Sequence[Sequence[InnerInstruction]]) -> list[dict[str, Any]]:
    return _inner(
        groups,
        lambda inner: {
            "accounts": list(inner.accounts),
            "data": b58encode(inner.data),
            "programIdIndex": inner.program_id_index,
            "stackHeight": inner.stack_height,
        },
    )


def parsed_inner_instructions_json(
    groups: Sequence[Sequence[InnerInstruction]], keys: Sequence[Pubkey]
) -> list[dict[str, Any]]:
    return _inner(
        groups,
        lambda inner: ui_instruction(inner.program_id_index, inner.accounts, inner.data, inner.stack_height, keys),
    )


def _inner(
    groups: Sequence[Sequence[InnerInstruction]], show: Callable[[InnerInstruction], dict[str, Any]]
) -> list[dict[str, Any]]:
    return [
        {"index": index, "instructions": [show(inner) for inner in group]}
        for index, group in enumerate(groups)
        if group
    ]


def _compiled(instruction: CompiledInstruction, stack_height: int) -> dict[str, Any]:
    return {
        "accounts": list(bytes(instruction.accounts)),
        "data": b58encode(bytes(instruction.data)),
        "programIdIndex": instruction.program_id_index,
        "stackHeight": stack_height,
    }


def ui_instruction(
    program_id_index: int, accounts: bytes, data: bytes, stack_height: int | None, keys: Sequence[Pubkey]
) -> dict[str, Any]:
    """Parsed where its program is known, else with its accounts by name and its data as it is."""
    program_id, names = str(keys[program_id_index]), [str(keys[index]) for index in accounts]
    parsed = parse_instruction(program_id, data, names)
    if parsed is None:
        parsed = {"accounts": names, "data": b58encode(data), "programId": program_id}
    return parsed | {"stackHeight": stack_height}


def _parsed_keys(landed: LandedTransaction) -> list[dict[str, Any]]:
    """What the runtime lets a transaction write: not the reserved addresses, and no program that it calls, unless the
    loader that may replace programs is among the accounts.
    """
    message = landed.transaction.message
    signers = message.header.num_required_signatures
    called = frozenset(instruction.program_id_index for instruction in message.instructions)
    if UPGRADEABLE_LOADER_ID in landed.account_keys:
        called = frozenset()
    static, writable = len(message.account_keys), len(landed.loaded_writable)
    return [
        {
            "pubkey": str(key),
            "signer": index < signers,
            "source": "transaction" if index < static else "lookupTable",
            "writable": key not in RESERVED_KEYS
            and index not in called
            and (is_declared_writable(message, index) if index < static else index < static + writable),
        }
        for index, key in enumerate(landed.account_keys)
    ]


def token_balance_json(balance: TokenBalance, *, is_stored: bool) -> dict[str, Any]:
    """A stored balance of zero has lost its uiAmount: agave's storage cannot tell it from none."""
    shown = ui_amount_json(balance.amount, balance.decimals)
    if is_stored and balance.amount == 0:
        shown["uiAmount"] = None
    return {
        "accountIndex": balance.account_index,
        "mint": str(balance.mint),
        "owner": str(balance.owner),
        "programId": str(balance.program_id),
        "uiTokenAmount": shown,
    }
