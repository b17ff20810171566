"""Methods that tell what became of transactions: their statuses, an address's signatures, one by its signature."""

from __future__ import annotations

from typing import Any

from solders.signature import Signature

from localnet import params
from localnet.commitment import Commitment
from localnet.encode import memo, status_json, transaction_json
from localnet.errors import filter_transaction_not_found, invalid_params
from localnet.history import LandedTransaction
from localnet.methods_ledger import require_confirmed
from localnet.node import Node, with_context
from localnet.registry import Methods

MAX_STATUS_QUERY = 256
MAX_SIGNATURES = 1000
# A status older than agave's status cache is found only with searchTransactionHistory.
STATUS_CACHE_SLOTS = 300

methods = Methods()


@methods.method("getSignatureStatuses")
def get_signature_statuses(
    node: Node, signatures: list[str], config: params.StatusConfig | None = None
) -> dict[str, Any]:
    if len(signatures) > MAX_STATUS_QUERY:
        raise invalid_params(f"Too many inputs provided; max {MAX_STATUS_QUERY}")
    wanted = [params.signature(text) for text in signatures]
    search_history = config is not None and config.search_transaction_history
    return with_context(node.bank.slot, [_status(node, one, search_history) for one in wanted])


def _status(node: Node, signature: Signature, search_history: bool) -> dict[str, Any] | None:
    landed = node.bank.history.transaction(signature)
    if landed is None or (not search_history and node.bank.slot - landed.slot > STATUS_CACHE_SLOTS):
        return None
    level = confirmation_status(node, landed.slot)
    return {
        "confirmationStatus": level.value,
        "confirmations": None if level is Commitment.FINALIZED else node.bank.slot - landed.slot,
        "err": landed.error,
        "slot": landed.slot,
        "status": status_json(landed.error),
    }


def confirmation_status(node: Node, slot: int) -> Commitment:
    """The highest level that `slot` has reached."""
    for level in (Commitment.FINALIZED, Commitment.CONFIRMED):
        if slot <= node.bank.slot_at(level):
            return level
    return Commitment.PROCESSED


@methods.method("getSignaturesForAddress")
def get_signatures_for_address(
    node: Node, address: str, config: params.SignaturesConfig | None = None
) -> list[dict[str, Any]]:
    config = config or params.SignaturesConfig()
    key = params.pubkey(address)
    before = params.signature(config.before) if config.before is not None else None
    until = params.signature(config.until) if config.until is not None else None
    limit = MAX_SIGNATURES if config.limit is None else config.limit
    if not 1 <= limit <= MAX_SIGNATURES:
        raise invalid_params(f"Invalid limit; max {MAX_SIGNATURES}")
    newest = node.slot_for(require_confirmed(config.commitment), config.min_context_slot)
    before_position = _position(node, before, newest)
    until_landed = None if until is None else node.bank.history.transaction(until)
    until_position = None if until_landed is None else (until_landed.slot, until_landed.index)
    found: list[dict[str, Any]] = []
    for landed in node.bank.history.of_address(key):
        position = (landed.slot, landed.index)
        if landed.slot > newest or (before_position is not None and position >= before_position):
            continue
        if len(found) == limit or (until_position is not None and position <= until_position):
            break
        found.append(_signature_json(node, landed))
    # Whoever pages gets a full page before hearing that `until` is not known.
    if len(found) < limit and until is not None and (until_landed is None or until_landed.slot > newest):
        raise filter_transaction_not_found(str(until))
    return found


def _position(node: Node, signature: Signature | None, newest: int) -> tuple[int, int] | None:
    if signature is None:
        return None
    landed = node.bank.history.transaction(signature)
    if landed is None or landed.slot > newest:
        raise filter_transaction_not_found(str(signature))
    return landed.slot, landed.index


def _signature_json(node: Node, landed: LandedTransaction) -> dict[str, Any]:
    return {
        "blockTime": _block_time(node, landed.slot),
        "confirmationStatus": confirmation_status(node, landed.slot).value,
        "err": landed.error,
        "memo": memo(landed),
        "signature": str(landed.signature),
        "slot": landed.slot,
        "transactionIndex": landed.index,
    }


@methods.method("getTransaction")
def get_transaction(
    node: Node, signature: str, config: params.TransactionEncoding | params.TransactionConfig | None = None
) -> dict[str, Any] | None:
    if not isinstance(config, params.TransactionConfig):
        config = params.TransactionConfig(encoding=config)
    wanted = params.signature(signature)
    newest = node.slot_for(require_confirmed(config.commitment))
    landed = node.bank.history.transaction(wanted)
    if landed is None or landed.slot > newest:
        return None
    body = transaction_json(landed, config.encoding or "json", config.max_supported_transaction_version)
    place = {"blockTime": _block_time(node, landed.slot), "slot": landed.slot, "transactionIndex": landed.index}
    return body | place


def _block_time(node: Node, slot: int) -> int | None:
    block = node.bank.history.block(slot)
    return None if block is None else block.unix_time
