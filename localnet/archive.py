"""Blocks and transactions that left memory, read from the ledger's database as they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from solders.pubkey import Pubkey
from solders.signature import Signature

from localnet.history import Block, LandedTransaction
from localnet.records import decode_transaction
from localnet.store import connect, explained, load_blocks, place_of, slot_and_index

CACHED_BLOCKS = 64
PAGE_ROWS = 128


class Archive:
    """The reading side of a LedgerStore, for another thread than the writer's. Raises LedgerError for damage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect(path)
        self._db.execute("PRAGMA query_only = ON")
        self._cached: OrderedDict[int, Block] = OrderedDict()

    def close(self) -> None:
        self._db.close()

    def block(self, slot: int) -> Block | None:
        if slot in self._cached:
            self._cached.move_to_end(slot)
            return self._cached[slot]
        with explained(self._path):
            found = load_blocks(self._db, slot, slot)
        if not found:
            return None
        self._cached[slot] = found[0]
        if len(self._cached) > CACHED_BLOCKS:
            self._cached.popitem(last=False)
        return found[0]

    def transaction(self, signature: Signature) -> LandedTransaction | None:
        with explained(self._path):
            row = self._db.execute(
                "SELECT place, record FROM transactions WHERE signature = ?", (bytes(signature),)
            ).fetchone()
            return None if row is None else decode_transaction(*slot_and_index(row[0]), row[1])

    def of_address(self, address: Pubkey, before_slot: int) -> Iterator[LandedTransaction]:
        """Those that landed before that slot, newest first, a page at a time."""
        before = place_of(before_slot, 0)
        while True:
            with explained(self._path):
                rows = self._db.execute(
                    "SELECT m.place, t.record FROM mentions m JOIN transactions t ON t.place = m.place "
                    "WHERE m.address = ? AND m.place < ? ORDER BY m.place DESC LIMIT ?",
                    (bytes(address), before, PAGE_ROWS),
                ).fetchall()
                page = [decode_transaction(*slot_and_index(place), record) for place, record in rows]
            yield from page
            if len(rows) < PAGE_ROWS:
                return
            before = rows[-1][0]
