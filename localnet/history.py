"""Blocks and the transactions that landed in them, by slot, by signature and by address.

The newest are in memory; what an archive keeps of the others is asked for as it is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

# About 2 KB each, the plain ones.
MAX_TRANSACTIONS_IN_MEMORY = 200_000


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


class OlderBlocks(Protocol):
    """Where blocks are found that memory no longer holds."""

    def block(self, slot: int) -> Block | None: ...

    def transaction(self, signature: Signature) -> LandedTransaction | None: ...

    def of_address(self, address: Pubkey, before_slot: int) -> Iterator[LandedTransaction]: ...


class History:
    """Keeps the last `keep_slots` blocks: with an archive only the newest `needed_slots` of them in memory.

    Without one all of them are, or as many as hold MAX_TRANSACTIONS_IN_MEMORY, but never fewer than `needed_slots`.
    What is older is forgotten with its transactions.
    """

    def __init__(self, keep_slots: int, needed_slots: int, archive: OlderBlocks | None = None) -> None:
        self._keep_slots = keep_slots
        self._needed_slots = needed_slots
        self._archive = archive
        self._blocks: dict[int, Block] = {}
        self._by_signature: dict[Signature, LandedTransaction] = {}
        self._by_address: dict[Pubkey, deque[LandedTransaction]] = {}
        self._first_in_memory = 0
        self.first_slot = 0

    def restore(self, blocks: list[Block], first_slot: int) -> None:
        """Takes the newest blocks of an earlier run, in order; those from `first_slot` on are in the archive."""
        self.first_slot = first_slot
        self._first_in_memory = blocks[0].slot
        for block in blocks:
            self.open_block(block)
            for transaction in block.transactions:
                self._index(transaction)

    def open_block(self, block: Block) -> None:
        self._blocks[block.slot] = block
        while self._first_in_memory <= block.slot - self._needed_slots and self._may_forget(block.slot):
            self._forget(self._first_in_memory)
            self._first_in_memory += 1
        kept = block.slot - self._keep_slots + 1 if self._archive is not None else self._first_in_memory
        self.first_slot = max(self.first_slot, kept)

    def _may_forget(self, newest_slot: int) -> bool:
        return (
            self._archive is not None
            or newest_slot - self._first_in_memory >= self._keep_slots
            or len(self._by_signature) > MAX_TRANSACTIONS_IN_MEMORY
        )

    def add(self, transaction: LandedTransaction) -> None:
        block = self._blocks[transaction.slot]
        block.transactions.append(transaction)
        block.transaction_count += 1
        self._index(transaction)

    def block(self, slot: int) -> Block | None:
        found = self._blocks.get(slot)
        if found is None and self._archive is not None and self.first_slot <= slot < self._first_in_memory:
            return self._archive.block(slot)
        return found

    def transaction(self, signature: Signature) -> LandedTransaction | None:
        found = self._by_signature.get(signature)
        if found is None and self._archive is not None and self.first_slot < self._first_in_memory:
            found = self._archive.transaction(signature)
        return found if found is not None and found.slot >= self.first_slot else None

    def recent_transaction(self, signature: Signature) -> LandedTransaction | None:
        """Only what is in memory, which must reach as far back as any blockhash is valid."""
        return self._by_signature.get(signature)

    def of_address(self, address: Pubkey) -> Iterator[LandedTransaction]:
        """Newest first."""
        yield from reversed(self._by_address.get(address, ()))
        if self._archive is not None and self.first_slot < self._first_in_memory:
            for transaction in self._archive.of_address(address, self._first_in_memory):
                if transaction.slot < self.first_slot:
                    return
                yield transaction

    def _index(self, transaction: LandedTransaction) -> None:
        self._by_signature[transaction.signature] = transaction
        for address in dict.fromkeys(transaction.account_keys):
            self._by_address.setdefault(address, deque()).append(transaction)

    def _forget(self, slot: int) -> None:
        block = self._blocks.pop(slot, None)
        for transaction in block.transactions if block else ():
            del self._by_signature[transaction.signature]
            for address in set(transaction.account_keys):
                of_address = self._by_address[address]
                # Transactions are appended in order, so the one forgotten is always the oldest of each address.
                of_address.popleft()
                if not of_address:
                    del self._by_address[address]
