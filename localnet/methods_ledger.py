"""Methods about the ledger: its identity, slots, blockhashes and blocks."""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey

from localnet.blockhash_queue import MAX_AGE_BLOCKS
from localnet.commitment import Commitment
from localnet.encode import transaction_json
from localnet.errors import block_cleaned_up, block_not_available, invalid_params, invalid_request
from localnet.fees import compute_unit_price
from localnet.history import Block, LandedTransaction
from localnet.node import API_VERSION, Node, with_context
from localnet.params import U64, BlockConfig, ContextConfig, TransactionEncoding, blockhash, pubkey
from localnet.registry import Methods
from localnet.transaction_keys import is_declared_writable

MAX_BLOCKS_RANGE = 500_000
MAX_FEE_ACCOUNTS = 128
MAX_PERMITTED_DATA_LENGTH = 10 * 1024 * 1024
# What agave 4.1.2 itself answers: the first four bytes of the id of its feature set.
FEATURE_SET = 3_345_198_602

methods = Methods()


def slot_of(node: Node, config: ContextConfig | None) -> int:
    config = config or ContextConfig()
    return node.slot_for(config.commitment, config.min_context_slot)


def require_confirmed(commitment: Commitment | None) -> Commitment:
    """History is read at `confirmed` or `finalized`. Raises RpcError -32602 for `processed`."""
    if commitment is Commitment.PROCESSED:
        raise invalid_params("Method does not support commitment below `confirmed`")
    return commitment or Commitment.FINALIZED


def slots_per_epoch(node: Node) -> int:
    return node.bank.slots_per_epoch


@methods.method("getHealth")
def get_health(node: Node) -> str:
    return "ok"


@methods.method("getVersion")
def get_version(node: Node) -> dict[str, Any]:
    return {"feature-set": FEATURE_SET, "solana-core": API_VERSION}


@methods.method("getGenesisHash")
def get_genesis_hash(node: Node) -> str:
    return str(node.genesis_hash)


@methods.method("getIdentity")
def get_identity(node: Node) -> dict[str, Any]:
    return {"identity": str(node.identity)}


@methods.method("getSlot")
def get_slot(node: Node, config: ContextConfig | None = None) -> int:
    return slot_of(node, config)


@methods.method("getBlockHeight")
def get_block_height(node: Node, config: ContextConfig | None = None) -> int:
    return node.bank.block_height(slot_of(node, config))


@methods.method("getEpochInfo")
def get_epoch_info(node: Node, config: ContextConfig | None = None) -> dict[str, Any]:
    slot = slot_of(node, config)
    epoch, index = divmod(slot, slots_per_epoch(node))
    return {
        "absoluteSlot": slot,
        "blockHeight": node.bank.block_height(slot),
        "epoch": epoch,
        "slotIndex": index,
        "slotsInEpoch": slots_per_epoch(node),
        "transactionCount": _transaction_count(node, slot),
    }


@methods.method("getTransactionCount")
def get_transaction_count(node: Node, config: ContextConfig | None = None) -> int:
    return _transaction_count(node, slot_of(node, config))


@methods.method("getLatestBlockhash")
def get_latest_blockhash(node: Node, config: ContextConfig | None = None) -> dict[str, Any]:
    slot = slot_of(node, config)
    return with_context(slot, blockhash_json(node, slot))


def blockhash_json(node: Node, slot: int) -> dict[str, Any]:
    latest = node.bank.latest_blockhash(slot)
    return {
        "blockhash": str(latest),
        "lastValidBlockHeight": node.bank.blockhashes.last_valid_block_height(latest),
    }


@methods.method("isBlockhashValid")
def is_blockhash_valid(node: Node, hash_text: str, config: ContextConfig | None = None) -> dict[str, Any]:
    slot = slot_of(node, config)
    height = node.bank.block_height(slot)
    return with_context(slot, node.bank.blockhashes.is_valid(blockhash(hash_text, prefix=""), height))


@methods.method("getFirstAvailableBlock")
def get_first_available_block(node: Node) -> int:
    return node.bank.history.first_slot


@methods.method("minimumLedgerSlot")
def minimum_ledger_slot(node: Node) -> int:
    return node.bank.history.first_slot


@methods.method("getMinimumBalanceForRentExemption")
def get_minimum_balance_for_rent_exemption(node: Node, data_length: U64, config: ContextConfig | None = None) -> int:
    slot_of(node, config)
    if data_length > MAX_PERMITTED_DATA_LENGTH:
        raise invalid_request()
    return node.bank.svm.minimum_balance_for_rent_exemption(data_length)


@methods.method("getBlockTime")
def get_block_time(node: Node, slot: U64) -> int:
    return _block(node, slot, node.bank.slot).unix_time


@methods.method("getBlocks")
def get_blocks(
    node: Node,
    start_slot: U64,
    end_slot_or_config: U64 | ContextConfig | None = None,
    config: ContextConfig | None = None,
) -> list[int]:
    if isinstance(end_slot_or_config, ContextConfig):
        end_slot, config = None, end_slot_or_config
    else:
        end_slot = end_slot_or_config
    config = config or ContextConfig()
    newest = node.slot_for(require_confirmed(config.commitment), config.min_context_slot)
    end_slot = min(newest, start_slot + MAX_BLOCKS_RANGE if end_slot is None else end_slot)
    if end_slot - start_slot > MAX_BLOCKS_RANGE:
        raise invalid_params(f"Slot range too large; max {MAX_BLOCKS_RANGE}")
    return list(range(max(start_slot, node.bank.history.first_slot), end_slot + 1))


@methods.method("getBlocksWithLimit")
def get_blocks_with_limit(node: Node, start_slot: U64, limit: U64, config: ContextConfig | None = None) -> list[int]:
    config = config or ContextConfig()
    if limit > MAX_BLOCKS_RANGE:
        raise invalid_params(f"Limit too large; max {MAX_BLOCKS_RANGE}")
    newest = node.slot_for(require_confirmed(config.commitment), config.min_context_slot)
    first = max(start_slot, node.bank.history.first_slot)
    return list(range(first, min(first + limit, newest + 1)))


@methods.method("getBlock")
def get_block(node: Node, slot: U64, config: TransactionEncoding | BlockConfig | None = None) -> dict[str, Any]:
    if not isinstance(config, BlockConfig):
        config = BlockConfig(encoding=config)
    block = _block(node, slot, node.slot_for(require_confirmed(config.commitment)))
    return block_json(block, config, block.transactions)


def block_json(block: Block, config: BlockConfig, transactions: list[LandedTransaction]) -> dict[str, Any]:
    """An ended block with these of its transactions. Raises RpcError when the client does not support a version."""
    body: dict[str, Any] = {
        "blockHeight": block.slot,
        "blockTime": block.unix_time,
        "blockhash": str(block.blockhash),
        "parentSlot": block.parent_slot,
        "previousBlockhash": str(block.previous_blockhash),
    }
    details = config.transaction_details or "full"
    encoding = config.encoding or "json"
    if details in ("full", "accounts"):
        versions = config.max_supported_transaction_version
        form = encoding if details == "full" else details
        rewards = config.rewards is not False
        body["transactions"] = [transaction_json(t, form, versions, show_rewards=rewards) for t in transactions]
    elif details == "signatures":
        body["signatures"] = [str(t.signature) for t in transactions]
    if config.rewards is not False:
        body["rewards"] = []
    return body


@methods.method("getRecentPrioritizationFees")
def get_recent_prioritization_fees(node: Node, addresses: list[str] | None = None) -> list[dict[str, int]]:
    """Per recent slot that had transactions the price, in micro-lamports per compute unit, at which one could have come
    in: the lowest of the block, or the highest of the lowest that wrote each of the accounts.
    """
    if len(addresses or ()) > MAX_FEE_ACCOUNTS:
        raise invalid_params(f"Too many inputs provided; max {MAX_FEE_ACCOUNTS}")
    wanted = [pubkey(text) for text in addresses or ()]
    fees = []
    for slot in range(max(node.bank.history.first_slot, node.bank.slot - MAX_AGE_BLOCKS), node.bank.slot):
        block = node.bank.history.block(slot)
        if block is None or not block.transactions:
            continue
        prices = [(compute_unit_price(landed.transaction.message), _written(landed)) for landed in block.transactions]
        lowest = [min(price for price, _ in prices)]
        for key in wanted:
            lowest.append(min((price for price, written in prices if key in written), default=0))
        fees.append({"prioritizationFee": max(lowest), "slot": slot})
    return fees


def _written(landed: LandedTransaction) -> set[Pubkey]:
    message = landed.transaction.message
    declared = (key for index, key in enumerate(message.account_keys) if is_declared_writable(message, index))
    return {*declared, *landed.loaded_writable}


def _transaction_count(node: Node, slot: int) -> int:
    block = node.bank.history.block(slot)
    return 0 if block is None else block.transaction_count


def _block(node: Node, slot: int, newest: int) -> Block:
    block = node.bank.history.block(slot)
    if slot > newest:
        raise block_not_available(slot)
    if block is None:
        raise block_cleaned_up(slot, node.bank.history.first_slot)
    return block
