"""Which accounts a transaction names, address lookup tables included, and which of them it may write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solders.account import Account
from solders.message import MessageV0, VersionedMessage
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

# LOOKUP_TABLE_META_SIZE of solana-address-lookup-table-interface; addresses of 32 bytes follow.
LOOKUP_TABLE_HEADER_LENGTH = 56
LOOKUP_TABLE_PROGRAM_ID = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
# A table gives its addresses for as long as the slot of its deactivation is among the 512 slot hashes.
DEACTIVATION_SLOTS = 512
_LOOKUP_TABLE_TAG = (1).to_bytes(4, "little")
_HEADER_REST = LOOKUP_TABLE_HEADER_LENGTH % 32
_START_INDEX_OFFSET = 20
_NEVER = 2**64 - 1


@dataclass(frozen=True, slots=True)
class TransactionKeys:
    static: tuple[Pubkey, ...]
    loaded_writable: tuple[Pubkey, ...]
    loaded_readonly: tuple[Pubkey, ...]
    writable: tuple[Pubkey, ...]

    @property
    def all(self) -> tuple[Pubkey, ...]:
        return self.static + self.loaded_writable + self.loaded_readonly


def is_declared_writable(message: VersionedMessage, index: int) -> bool:
    """Of a static key, by the message header alone, as the wire format declares it."""
    header = message.header
    signers = header.num_required_signatures
    if index < signers:
        return index < signers - header.num_readonly_signed_accounts
    return index < len(message.account_keys) - header.num_readonly_unsigned_accounts


def resolve_keys(transaction: VersionedTransaction, account_at: Callable[[Pubkey], Account | None]) -> TransactionKeys:
    """Reads the lookup tables that the transaction names. An index that its table lacks is left out: the runtime then
    refuses the transaction with the error that says so.
    """
    static = tuple(transaction.message.account_keys)
    loaded_writable: list[Pubkey] = []
    loaded_readonly: list[Pubkey] = []
    if isinstance(transaction.message, MessageV0):
        for lookup in transaction.message.address_table_lookups:
            table = account_at(lookup.account_key)
            data = b"" if table is None else bytes(table.data)[LOOKUP_TABLE_HEADER_LENGTH:]
            loaded_writable += _addresses(data, lookup.writable_indexes)
            loaded_readonly += _addresses(data, lookup.readonly_indexes)
    writable = [key for index, key in enumerate(static) if is_declared_writable(transaction.message, index)]
    return TransactionKeys(static, tuple(loaded_writable), tuple(loaded_readonly), (*writable, *loaded_writable))


def lookup_error(message: VersionedMessage, account_at: Callable[[Pubkey], Account | None], slot: int) -> str | None:
    """The TransactionError of the first lookup table that does not give what the message asks it for at `slot`."""
    for lookup in message.address_table_lookups if isinstance(message, MessageV0) else ():
        table = account_at(lookup.account_key)
        if table is None:
            return "AddressLookupTableNotFound"
        if table.owner != LOOKUP_TABLE_PROGRAM_ID:
            return "InvalidAddressLookupTableOwner"
        data = bytes(table.data)
        if len(data) < LOOKUP_TABLE_HEADER_LENGTH or data[:4] != _LOOKUP_TABLE_TAG or len(data) % 32 != _HEADER_REST:
            return "InvalidAddressLookupTableData"
        deactivated, extended = (int.from_bytes(data[at : at + 8], "little") for at in (4, 12))
        if deactivated != _NEVER and slot - deactivated > DEACTIVATION_SLOTS:
            return "AddressLookupTableNotFound"
        # Addresses of this very slot are not usable yet.
        usable = (len(data) - LOOKUP_TABLE_HEADER_LENGTH) // 32 if slot > extended else data[_START_INDEX_OFFSET]
        if any(index >= usable for index in (*lookup.writable_indexes, *lookup.readonly_indexes)):
            return "InvalidAddressLookupTableIndex"
    return None


def _addresses(table: bytes, indexes: bytes) -> list[Pubkey]:
    return [Pubkey.from_bytes(table[i * 32 : i * 32 + 32]) for i in indexes if len(table) >= i * 32 + 32]
