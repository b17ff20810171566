"""Old account versions per slot, so that a read at `finalized` gives the state as it was then. Pure.

An account's version is recorded before the first change that a slot makes to it. The state at the end of slot S is
then, for each account, the version recorded by the first slot after S, or the present one if no slot recorded any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from solders.account import Account
from solders.pubkey import Pubkey


class Unchanged:
    """The answer for an account that no slot since has touched (None means: it did not exist)."""


UNCHANGED: Final = Unchanged()


class UndoLog:
    def __init__(self) -> None:
        self._by_slot: dict[int, dict[Pubkey, Account | None]] = {}

    def record(self, slot: int, address: Pubkey, before: Account | None) -> None:
        """Keeps `before` as the account's state before `slot`, unless this slot has recorded one already."""
        self._by_slot.setdefault(slot, {}).setdefault(address, before)

    def version_at_end_of(self, slot: int, newest_slot: int, address: Pubkey) -> Account | Unchanged | None:
        for later in range(slot + 1, newest_slot + 1):
            changes = self._by_slot.get(later)
            if changes is not None and address in changes:
                return changes[address]
        return UNCHANGED

    def touched_since(self, slot: int) -> Iterator[Pubkey]:
        """Every address recorded after the end of `slot`; an address may come more than once."""
        for later, changes in self._by_slot.items():
            if later > slot:
                yield from changes

    def touched_in(self, slot: int) -> Iterator[Pubkey]:
        """Every address that this slot has recorded, once."""
        yield from self._by_slot.get(slot, ())

    def forget_up_to(self, slot: int) -> None:
        """Drops what only a read before the end of `slot` would need."""
        for old in [s for s in self._by_slot if s <= slot]:
            del self._by_slot[old]
