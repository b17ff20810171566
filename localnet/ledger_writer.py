"""Writes ended slots to the ledger on a thread of its own, so that a disk that is slow does not slow down sending.

Slots that end while one commit is on its way go into the next together. The promise: a slot is on the disk before it
is told as `finalized`. The bank's thread waits for that in `wait_for`, which returns at once unless the disk has
fallen behind by the whole lag of `finalized`.
"""

from __future__ import annotations

import threading
from collections import deque

from localnet.checkpoint import EndedSlot
from localnet.store import LedgerError, LedgerStore


class LedgerWriter:
    """Owns the store from `start` to `close`."""

    def __init__(self, store: LedgerStore, *, keep_slots: int, durable_slot: int) -> None:
        """`durable_slot` is the newest slot that the store holds already."""
        self._store = store
        self._keep_slots = keep_slots
        self._changed = threading.Condition()
        self._waiting: deque[EndedSlot] = deque()
        self._durable_slot = durable_slot
        self._failure: LedgerError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def durable_slot(self) -> int:
        """The newest slot that survives a power cut."""
        with self._changed:
            return self._durable_slot

    def put(self, ended: EndedSlot) -> None:
        """Hands over a slot. Raises LedgerError when an earlier one could not be written."""
        with self._changed:
            self._raise_failure()
            self._waiting.append(ended)
            self._changed.notify_all()

    def wait_for(self, slot: int) -> None:
        """Returns when `slot`, which was put, is on the disk. Raises LedgerError when it cannot be written."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._durable_slot >= slot)
            self._raise_failure()

    def close(self) -> None:
        """Writes what was put and ends the thread. Raises LedgerError when something could not be written."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._store.close()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                batch = list(self._waiting)
                self._waiting.clear()
            newest = batch[-1].block.slot
            failure: LedgerError | None = None
            try:
                self._store.write(batch, first_slot=newest - self._keep_slots + 1)
            except LedgerError as error:
                failure = LedgerError(f"{error}; the ledger holds every slot up to {self._durable_slot}")
            except Exception as error:  # noqa: BLE001 - whatever it is, the bank's thread must hear of it
                failure = LedgerError(f"writing slot {newest} to the ledger failed: {error!r}")
            with self._changed:
                self._failure = failure
                self._durable_slot = self._durable_slot if failure else newest
                self._changed.notify_all()
            if failure is not None:
                return
