"""How accounts and landed transactions lie in the ledger's database: msgpack behind a checksum. Pure.

Every record begins with the CRC-32 of what follows and of the key it is stored under, so that a torn or misplaced
record is told from a sound one; SQLite itself checks its own structure only.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from localnet.history import Block, InnerInstruction, LandedTransaction, TokenBalance

_CHECKSUM_BYTES = 4
_KEY_BYTES = 32


class RecordError(ValueError):
    """A record that is not what was written."""


class _AccountRecord(msgspec.Struct, array_like=True):
    lamports: int
    owner: bytes
    executable: bool
    rent_epoch: int
    data: bytes


class _BlockRecord(msgspec.Struct, array_like=True):
    parent_slot: int
    unix_time: int
    transaction_count: int
    previous_blockhash: bytes
    blockhash: bytes


class _TransactionRecord(msgspec.Struct, array_like=True):
    """Public keys of one group are joined, 32 bytes each; the static keys are in the wire form."""

    wire: bytes
    loaded_writable: bytes
    loaded_readonly: bytes
    error: Any
    fee_lamports: int
    logs: tuple[str, ...]
    compute_units: int
    cost_units: int
    inner_instructions: tuple[tuple[tuple[int, bytes, bytes, int | None], ...], ...]
    return_data: tuple[bytes, bytes] | None
    pre_balances: tuple[int, ...]
    post_balances: tuple[int, ...]
    pre_token_balances: tuple[tuple[int, bytes, bytes, bytes, int, int], ...]
    post_token_balances: tuple[tuple[int, bytes, bytes, bytes, int, int], ...]
    changed: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_account = msgspec.msgpack.Decoder(_AccountRecord).decode
_decode_block = msgspec.msgpack.Decoder(_BlockRecord).decode
_decode_transaction = msgspec.msgpack.Decoder(_TransactionRecord).decode


def encode_account(address: Pubkey, account: Account) -> bytes:
    record = _AccountRecord(
        account.lamports, bytes(account.owner), account.executable, account.rent_epoch, bytes(account.data)
    )
    return _sealed(bytes(address), _encode(record))


def decode_account(address: bytes, record: bytes) -> Account:
    """Raises RecordError."""
    body = _opened(address, record)
    try:
        r = _decode_account(body)
        return Account(r.lamports, r.data, Pubkey.from_bytes(r.owner), r.executable, r.rent_epoch)
    except (msgspec.DecodeError, ValueError) as error:
        raise RecordError(f"an account's record is malformed: {error}") from error


def encode_block(block: Block) -> bytes:
    """The header of an ended block; its transactions have records of their own."""
    assert block.blockhash is not None
    record = _BlockRecord(
        block.parent_slot,
        block.unix_time,
        block.transaction_count,
        bytes(block.previous_blockhash),
        bytes(block.blockhash),
    )
    return _sealed(_place(block.slot, 0), _encode(record))


def decode_block(slot: int, record: bytes) -> Block:
    """Raises RecordError."""
    body = _opened(_place(slot, 0), record)
    try:
        r = _decode_block(body)
        previous, own = Hash.from_bytes(r.previous_blockhash), Hash.from_bytes(r.blockhash)
    except (msgspec.DecodeError, ValueError) as error:
        raise RecordError(f"a block's record is malformed: {error}") from error
    return Block(slot, r.parent_slot, r.unix_time, r.transaction_count, previous, own)


def encode_transaction(landed: LandedTransaction) -> bytes:
    record = _TransactionRecord(
        bytes(landed.transaction),
        _joined(landed.loaded_writable),
        _joined(landed.loaded_readonly),
        landed.error,
        landed.fee_lamports,
        landed.logs,
        landed.compute_units,
        landed.cost_units,
        tuple(
            tuple((i.program_id_index, i.accounts, i.data, i.stack_height) for i in group)
            for group in landed.inner_instructions
        ),
        None if landed.return_data is None else (bytes(landed.return_data[0]), landed.return_data[1]),
        landed.pre_balances,
        landed.post_balances,
        tuple(map(_token_balance, landed.pre_token_balances)),
        tuple(map(_token_balance, landed.post_token_balances)),
        _joined(landed.changed),
    )
    return _sealed(_place(landed.slot, landed.index), _encode(record))


def decode_transaction(slot: int, index: int, record: bytes) -> LandedTransaction:
    """Raises RecordError."""
    body = _opened(_place(slot, index), record)
    try:
        r = _decode_transaction(body)
        transaction = VersionedTransaction.from_bytes(r.wire)
        writable, readonly = _split(r.loaded_writable), _split(r.loaded_readonly)
        return LandedTransaction(
            signature=transaction.signatures[0],
            slot=slot,
            index=index,
            transaction=transaction,
            account_keys=(*transaction.message.account_keys, *writable, *readonly),
            loaded_writable=writable,
            loaded_readonly=readonly,
            error=r.error,
            fee_lamports=r.fee_lamports,
            logs=r.logs,
            compute_units=r.compute_units,
            cost_units=r.cost_units,
            inner_instructions=tuple(tuple(InnerInstruction(*i) for i in group) for group in r.inner_instructions),
            return_data=None if r.return_data is None else (Pubkey.from_bytes(r.return_data[0]), r.return_data[1]),
            pre_balances=r.pre_balances,
            post_balances=r.post_balances,
            pre_token_balances=tuple(map(_to_token_balance, r.pre_token_balances)),
            post_token_balances=tuple(map(_to_token_balance, r.post_token_balances)),
            changed=_split(r.changed),
        )
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise RecordError(f"a transaction's record is malformed: {error}") from error


def _sealed(key: bytes, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "little") + body


def _opened(key: bytes, record: bytes) -> bytes:
    body = record[_CHECKSUM_BYTES:]
    if record[:_CHECKSUM_BYTES] != zlib.crc32(body, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "little"):
        raise RecordError(f"the checksum of a record of {len(record)} bytes does not fit")
    return body


def _place(slot: int, index: int) -> bytes:
    return slot.to_bytes(8, "little") + index.to_bytes(4, "little")


def _joined(keys: tuple[Pubkey, ...]) -> bytes:
    return b"".join(map(bytes, keys))


def _split(joined: bytes) -> tuple[Pubkey, ...]:
    return tuple(Pubkey.from_bytes(joined[i : i + _KEY_BYTES]) for i in range(0, len(joined), _KEY_BYTES))


def _token_balance(b: TokenBalance) -> tuple[int, bytes, bytes, bytes, int, int]:
    return b.account_index, bytes(b.mint), bytes(b.owner), bytes(b.program_id), b.amount, b.decimals


def _to_token_balance(fields: tuple[int, bytes, bytes, bytes, int, int]) -> TokenBalance:
    index, mint, owner, program_id, amount, decimals = fields
    return TokenBalance(
        index, Pubkey.from_bytes(mint), Pubkey.from_bytes(owner), Pubkey.from_bytes(program_id), amount, decimals
    )
