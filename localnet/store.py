"""The ledger's database: accounts as of the newest slot written, and the blocks with their transactions. SQLite.

A slot is one transaction of the database, so whatever moment the process ends at, the file is as of the end of some
slot. The write-ahead log is forced to the disk with every commit: what a commit returned for survives a power cut too.
One connection belongs to one thread; `LedgerStore` writes, `Archive` (archive.py) reads beside it.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from solders.hash import Hash
from solders.pubkey import Pubkey

from localnet.checkpoint import EndedSlot, SavedState
from localnet.history import Block, LandedTransaction
from localnet.records import (
    RecordError,
    decode_account,
    decode_block,
    decode_transaction,
    encode_account,
    encode_block,
    encode_transaction,
)

DATABASE = "ledger.sqlite"
# What SQLite wrote beside it while it was open.
DATABASE_FILES = (DATABASE, DATABASE + "-wal", DATABASE + "-shm", DATABASE + "-journal")
SCHEMA_VERSION = 1
# A transaction's place in the chain as one integer, which is the row's key.
_PLACE_BITS = 24
_APPLICATION_ID = int.from_bytes(b"pouw", "big")
_BUSY_SECONDS = 10.0
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE accounts (address BLOB PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE blocks (slot INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE transactions (place INTEGER PRIMARY KEY, signature BLOB NOT NULL, record BLOB NOT NULL);
CREATE INDEX transaction_of_signature ON transactions (signature);
CREATE TABLE mentions (address BLOB NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (address, place)) WITHOUT ROWID;
"""


class LedgerError(ValueError):
    """A ledger that cannot be used; the message names the folder, what is wrong with it and what to do."""


def place_of(slot: int, index: int) -> int:
    return slot << _PLACE_BITS | index


def slot_and_index(place: int) -> tuple[int, int]:
    return place >> _PLACE_BITS, place & (1 << _PLACE_BITS) - 1


def connect(path: Path) -> sqlite3.Connection:
    """A connection without implicit transactions, for whichever one thread uses it."""
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what SQLite and the records complain of into a LedgerError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LedgerError(
            f"cannot use the ledger's database {path}: {error}; check the free space and the permissions there, "
            "or begin anew with --reset"
        ) from error
    except (sqlite3.DatabaseError, RecordError) as error:
        raise LedgerError(
            f"the ledger's database {path} is damaged or not one of this program ({error}); --reset makes a new ledger"
        ) from error


class LedgerStore:
    """The writing side of one ledger's database. Raises LedgerError."""

    def __init__(self, folder: Path, genesis_hash: Hash) -> None:
        """Opens the database that `create` made; checks that it is whole and of this genesis."""
        self.path = folder / DATABASE
        if not self.path.exists():
            raise LedgerError(f"the ledger's database {self.path} is missing; put it back or begin anew with --reset")
        with explained(self.path):
            self._db = connect(self.path)
            try:
                self._open(str(genesis_hash))
            except BaseException:
                self._db.close()
                raise

    @staticmethod
    def create(folder: Path, genesis_hash: Hash) -> None:
        """Makes the database, with nothing in it but which cluster it belongs to."""
        path = folder / DATABASE
        with explained(path), closing(connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
                f"INSERT INTO meta VALUES ('genesis_hash', '{genesis_hash}'); COMMIT;"
            )

    @staticmethod
    def is_blank(folder: Path) -> bool:
        """Whether no slot was ever written there: what is left when a process ended while it made the ledger."""
        path = folder / DATABASE
        with explained(path), closing(connect(path)) as db:
            if _one(db, "SELECT count(*) FROM sqlite_master WHERE name = 'blocks'") == 0:
                return bool(_one(db, "SELECT count(*) FROM sqlite_master") == 0)
            return bool(_one(db, "SELECT count(*) FROM blocks") == 0)

    def _open(self, genesis_hash: str) -> None:
        db = self._db
        db.execute("PRAGMA synchronous = FULL")
        if _one(db, "PRAGMA application_id") != _APPLICATION_ID:
            raise LedgerError(f"{self.path} is not a localnet ledger's database; --reset makes a new ledger")
        schema = _one(db, "PRAGMA user_version")
        if schema != SCHEMA_VERSION:
            raise LedgerError(
                f"{self.path} has schema {schema}; this localnet reads schema {SCHEMA_VERSION}; "
                "--reset makes a new ledger"
            )
        complaint = _one(db, "PRAGMA quick_check(1)")
        if complaint != "ok":
            raise RecordError(complaint)
        of = self._meta("genesis_hash")
        if of != genesis_hash:
            raise LedgerError(
                f"{self.path} belongs to the cluster of genesis {of}, this folder to that of {genesis_hash}; "
                "put the files back together or begin anew with --reset"
            )

    def write(self, slots: Iterable[EndedSlot], *, first_slot: int) -> None:
        """Commits these slots, in order, and forgets the blocks before `first_slot`; all of it or, on an error, none."""
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for ended in slots:
                    self._put(ended)
                self._forget_before(first_slot)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def load(self, newest_headers: int, newest_blocks: int) -> SavedState | None:
        """The state at the end of the newest slot, checked record by record; None when nothing was written yet.

        Of the newest blocks so many have their transactions, and so many headers come before them.
        """
        with explained(self.path):
            tip = _one(self._db, "SELECT max(slot) FROM blocks")
            if tip is None:
                return None
            accounts = {
                Pubkey.from_bytes(address): decode_account(address, record)
                for address, record in self._db.execute("SELECT address, record FROM accounts")
            }
            first = tip - newest_blocks + 1
            headers = _load_headers(self._db, first - newest_headers, first - 1)
            blocks = load_blocks(self._db, first, tip)
            self._check_chain(headers, blocks, tip)
            return SavedState(
                accounts,
                headers,
                blocks,
                _one(self._db, "SELECT min(slot) FROM blocks"),
                int(self._meta("epoch_start_unix_time")),
            )

    def close(self) -> None:
        with explained(self.path):
            self._db.close()

    def _put(self, ended: EndedSlot) -> None:
        db, block = self._db, ended.block
        db.execute("INSERT INTO blocks VALUES (?, ?)", (block.slot, encode_block(block)))
        db.executemany(
            "INSERT INTO transactions VALUES (?, ?, ?)",
            [(place_of(t.slot, t.index), bytes(t.signature), encode_transaction(t)) for t in block.transactions],
        )
        db.executemany(
            "INSERT INTO mentions VALUES (?, ?)",
            [(key, place_of(t.slot, t.index)) for t in block.transactions for key in _mentioned(t)],
        )
        db.executemany(
            "INSERT OR REPLACE INTO accounts VALUES (?, ?)",
            [(bytes(key), encode_account(key, account)) for key, account in ended.accounts.items() if account],
        )
        db.executemany(
            "DELETE FROM accounts WHERE address = ?",
            [(bytes(key),) for key, account in ended.accounts.items() if account is None],
        )
        db.execute(
            "INSERT OR REPLACE INTO meta VALUES ('epoch_start_unix_time', ?)", (str(ended.epoch_start_unix_time),)
        )

    def _forget_before(self, first_slot: int) -> None:
        limit = place_of(first_slot, 0)
        rows = self._db.execute("SELECT place, record FROM transactions WHERE place < ?", (limit,)).fetchall()
        for place, record in rows:
            landed = decode_transaction(*slot_and_index(place), record)
            self._db.executemany(
                "DELETE FROM mentions WHERE address = ? AND place = ?", [(key, place) for key in _mentioned(landed)]
            )
        self._db.execute("DELETE FROM transactions WHERE place < ?", (limit,))
        self._db.execute("DELETE FROM blocks WHERE slot < ?", (first_slot,))

    def _meta(self, key: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise RecordError(f"{key} is missing")
        return str(row[0])

    def _check_chain(self, headers: list[Block], blocks: list[Block], tip: int) -> None:
        """Every slot has its block, each block names the one before it, and none of their transactions is missing."""
        chain = headers + blocks
        if [block.slot for block in chain] != list(range(chain[0].slot, tip + 1)):
            raise RecordError(f"blocks are missing before slot {tip}")
        for before, block in itertools.pairwise(chain):
            if block.previous_blockhash != before.blockhash:
                raise RecordError(f"block {block.slot} does not follow block {before.slot}")
        for before, block in itertools.pairwise((headers[-1:] or blocks[:1]) + blocks):
            if before is not block and block.transaction_count - before.transaction_count != len(block.transactions):
                raise RecordError(f"block {block.slot} lacks transactions")


def _load_headers(db: sqlite3.Connection, first_slot: int, last_slot: int) -> list[Block]:
    rows = db.execute(
        "SELECT slot, record FROM blocks WHERE slot BETWEEN ? AND ? ORDER BY slot", (first_slot, last_slot)
    )
    return [decode_block(slot, record) for slot, record in rows]


def load_blocks(db: sqlite3.Connection, first_slot: int, last_slot: int) -> list[Block]:
    """Those of these slots that are there, with their transactions. Raises sqlite3.Error, RecordError."""
    blocks = {block.slot: block for block in _load_headers(db, first_slot, last_slot)}
    places = (place_of(max(first_slot, 0), 0), place_of(last_slot + 1, 0))
    for place, record in db.execute("SELECT place, record FROM transactions WHERE place >= ? AND place < ?", places):
        slot, index = slot_and_index(place)
        if slot not in blocks:
            raise RecordError(f"a transaction of slot {slot} has no block")
        blocks[slot].transactions.append(decode_transaction(slot, index, record))
    return list(blocks.values())


def _mentioned(landed: LandedTransaction) -> Iterator[bytes]:
    return (bytes(key) for key in dict.fromkeys(landed.account_keys))


def _one(db: sqlite3.Connection, query: str) -> Any:
    return db.execute(query).fetchone()[0]
