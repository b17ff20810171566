"""Blocks and the transactions that landed in them, by slot, by signature and by address. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction


@dataclass(frozen=True, slots=True)
class InnerInstruction:
    """One instruction called by another; `stack_height` is 2 for a direct call of a top-level instruction."""

    program_id_index: int
    accounts: bytes
    data: bytes
    stack_height: int | None


@dataclass(frozen=True, slots=True)
class TokenBalance:
    account_index: int
    mint: Pubkey
    owner: Pubkey
    program_id: Pubkey
    amount: int
    decimals: int


@dataclass(frozen=True, slots=True)
class LandedTransaction:
    """A transaction that a block holds: it ran and its fee was taken, whether it succeeded (`error` None) or not.

    `account_keys` are the static keys, then the loaded writable, then the loaded read-only ones.
    `error` is agave's JSON form of TransactionError.
    """

    signature: Signature
    slot: int
    index: int
    transaction: VersionedTransaction
    account_keys: tuple[Pubkey, ...]
    loaded_writable: tuple[Pubkey, ...]
    loaded_readonly: tuple[Pubkey, ...]
    error: Any
    fee_lamports: int
    logs: tuple[str, ...]
    compute_units: int
    cost_units: int
    inner_instructions: tuple[tuple[InnerInstruction, ...], ...]
    return_data: tuple[Pubkey, bytes] | None
    pre_balances: tuple[int, ...]
    post_balances: tuple[int, ...]
    pre_token_balances: tuple[TokenBalance, ...]
    post_token_balances: tuple[TokenBalance, ...]
    changed: tuple[Pubkey, ...]


@dataclass(slots=True)
class Block:
    """`blockhash` is set when the slot ends; `transaction_count` counts from the start of the ledger."""

    slot: int
    parent_slot: int
    unix_time: int
    transaction_count: int
    previous_blockhash: Hash
    blockhash: Hash | None = None
    transactions: list[LandedTransaction] = field(default_factory=list)


class History:
    """Keeps the last `keep_slots` blocks; older ones are forgotten with their transactions."""

    def __init__(self, keep_slots: int) -> None:
        self._keep_slots = keep_slots
        self._blocks: dict[int, Block] = {}
        self._by_signature: dict[Signature, LandedTransaction] = {}
        self._by_address: dict[Pubkey, list[LandedTransaction]] = {}
        self.first_slot = 0

    def open_block(self, block: Block) -> None:
        self._blocks[block.slot] = block
        while block.slot - self.first_slot >= self._keep_slots:
            self._forget(self.first_slot)
            self.first_slot += 1

    def add(self, transaction: LandedTransaction) -> None:
        block = self._blocks[transaction.slot]
        block.transactions.append(transaction)
        block.transaction_count += 1
        self._by_signature[transaction.signature] = transaction
        for address in dict.fromkeys(transaction.account_keys):
            self._by_address.setdefault(address, []).append(transaction)

    def block(self, slot: int) -> Block | None:
        return self._blocks.get(slot)

    def transaction(self, signature: Signature) -> LandedTransaction | None:
        return self._by_signature.get(signature)

    def of_address(self, address: Pubkey) -> Iterator[LandedTransaction]:
        """Newest first."""
        return reversed(self._by_address.get(address, []))

    def _forget(self, slot: int) -> None:
        block = self._blocks.pop(slot, None)
        for transaction in block.transactions if block else ():
            del self._by_signature[transaction.signature]
            for address in set(transaction.account_keys):
                of_address = self._by_address[address]
                # Transactions are appended in order, so the one forgotten is always the oldest of each address.
                of_address.pop(0)
                if not of_address:
                    del self._by_address[address]
