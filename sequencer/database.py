"""Typed tables over the store, and the transaction in which every event of the node happens.

A transaction collects rows and, on leaving its block, commits them in one durable batch; only then do the in-memory parts change (the
cells and the functions given to `after`). If the disk refuses, memory still says what the disk says, and the caller is not answered with success.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from sequencer import rows
from sequencer.store import Store, StoreCorruption

SCHEMA = 4
READABLE_SCHEMAS = (2, 3, SCHEMA)
"""The older ones lack the fields of rows.py that came with 3 and 4; their defaults stand for them."""
R = TypeVar("R", bound=rows.Row)
T = TypeVar("T")


class Cell(Generic[T]):
    """A value in memory that changes only with a committed transaction."""

    def __init__(self, value: T) -> None:
        self._value = value

    @property
    def value(self) -> T:
        """What is committed."""
        return self._value


@dataclass(frozen=True)
class Table(Generic[R]):
    """A table: one byte of key prefix and the struct of its rows."""

    prefix: bytes
    row: type[R]


META = Table(b"m", rows.MetaRow)
TASKS = Table(b"t", rows.TaskRow)
SPECS = Table(b"s", rows.SpecRow)
RESULTS = Table(b"r", rows.ResultRow)  # task id ‖ commitment
VERDICTS = Table(b"v", rows.VerdictRow)  # task id ‖ commitment ‖ authority
WORKERS = Table(b"w", rows.WorkerRow)
GROUPS = Table(b"g", rows.GroupRow)  # u64be seq
DEPOSITS = Table(b"d", rows.DepositRow)  # u64be index
EPOCHS = Table(b"e", rows.EpochRow)  # u64be epoch
ATTEMPTS = Table(b"a", rows.AttemptRow)  # u64be epoch
ATTESTATIONS = Table(b"b", rows.AttestationRow)  # u64be epoch ‖ u32be attempt ‖ u16be index
GIVEN_UP = Table(b"G", rows.EpochRow)  # u64be epoch ‖ u32be attempt
SETS = Table(b"V", rows.SetRow)  # u64be version
LEAVES = Table(b"l", rows.LeafRow)  # state key
ANSWERS = Table(b"A", rows.AnswerRow)  # sha256 of the record, time and CRC zeroed
NONCES = Table(b"n", rows.NonceRow)  # public key ‖ u64be nonce
ORDERS = Table(b"o", rows.OrderRow)  # u64be order
UPLOADS = Table(b"u", rows.UploadRow)  # sha256 of the blob
FORCED = Table(b"f", rows.ForcedRow)  # task id

TABLES: tuple[Table[Any], ...] = (
    META,
    TASKS,
    SPECS,
    RESULTS,
    VERDICTS,
    WORKERS,
    GROUPS,
    DEPOSITS,
    EPOCHS,
    ATTEMPTS,
    ATTESTATIONS,
    GIVEN_UP,
    SETS,
    LEAVES,
    ANSWERS,
    NONCES,
    ORDERS,
    UPLOADS,
    FORCED,
)


def u64be(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _decode(table: Table[R], key: bytes, value: bytes) -> R:
    try:
        return msgspec.msgpack.decode(value, type=table.row)
    except msgspec.MsgspecError as error:
        raise StoreCorruption(
            f"the record under key {table.prefix + key!r} is no {table.row.__name__}: {error}"
        ) from error


class Reader(ABC):
    """Reads of rows, by key or by prefix of the key."""

    def get(self, table: Table[R], key: bytes) -> R | None:
        value = self._raw_get(table.prefix + key)
        return None if value is None else _decode(table, key, value)

    def scan(self, table: Table[R], prefix: bytes = b"") -> Iterator[tuple[bytes, R]]:
        for key, value in self._raw_scan(table.prefix + prefix):
            yield key[1:], _decode(table, key[1:], value)

    def page(self, table: Table[R], after: bytes, limit: int) -> list[tuple[bytes, R]]:
        """The first `limit` rows behind the key `after`: for walks that let others run in between."""
        pairs = islice(self._raw_scan(table.prefix, table.prefix + after + b"\0"), limit)
        return [(key[1:], _decode(table, key[1:], value)) for key, value in pairs]

    @abstractmethod
    def _raw_get(self, key: bytes) -> bytes | None: ...

    @abstractmethod
    def _raw_scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]: ...


class Transaction(Reader):
    """One event: sees its own writes; nothing is there for others before it is committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writes: dict[bytes, bytes | None] = {}
        self._cells: dict[Cell[Any], Any] = {}
        self._after: list[Callable[[], None]] = []

    def read(self, cell: Cell[T]) -> T:
        """The cell's value as this transaction has it."""
        value: T = self._cells.get(cell, cell.value)
        return value

    def write(self, cell: Cell[T], value: T) -> None:
        self._cells[cell] = value

    def put(self, table: Table[R], key: bytes, row: R) -> None:
        self._writes[table.prefix + key] = msgspec.msgpack.encode(row)

    def delete(self, table: Table[Any], key: bytes) -> None:
        self._writes[table.prefix + key] = None

    def after(self, change: Callable[[], None]) -> None:
        """Runs `change` once the batch is on the disk. It may only assign: by then there is no way back."""
        self._after.append(change)

    def _raw_get(self, key: bytes) -> bytes | None:
        return self._writes[key] if key in self._writes else self._store.get(key)

    def _raw_scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        merged: dict[bytes, bytes | None] = dict(self._store.scan(prefix, start))
        merged.update({k: value for k, value in self._writes.items() if k.startswith(prefix) and k >= start})
        for key in sorted(merged):
            if (value := merged[key]) is not None:
                yield key, value

    def _commit(self) -> None:
        if self._writes:
            self._store.commit(self._writes)
        for cell, value in self._cells.items():
            cell._value = value
        for change in self._after:
            change()


class Database(Reader):
    """The node's tables. `transaction` is the only way to change them; there is no await inside one, so events never interleave."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open = False

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commits on leaving the block, and nothing at all when the block raises. StoreUnwritable when the disk refuses."""
        if self._open:
            raise RuntimeError("a transaction is open already: one event must not start another")
        self._open = True
        try:
            transaction = Transaction(self._store)
            yield transaction
            transaction._commit()
        finally:
            self._open = False

    def check(self) -> int:
        """Reads every row of every table; returns how many there are. StoreCorruption names the first that is not what was written."""
        tables = {table.prefix: table for table in TABLES}
        count = 0
        for key, value in self._store.audit():
            table = tables.get(key[:1])
            if table is None:
                raise StoreCorruption(f"the record under key {key!r} belongs to no table of this version")
            _decode(table, key[1:], value)
            count += 1
        return count

    @property
    def refusal(self) -> str | None:
        """Why nothing can be written at present (the disk is full, a device failed), or None."""
        return self._store.refusal

    def resume(self) -> bool:
        """Tries to write again after a refusal; whether events are taken."""
        return self._store.resume()

    def close(self) -> None:
        self._store.close()

    def _raw_get(self, key: bytes) -> bytes | None:
        return self._store.get(key)

    def _raw_scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return self._store.scan(prefix, start)
