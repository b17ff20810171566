"""What passes between the bank and the ledger on disk: a slot as it ended, and the state that a restart begins from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.history import Block


@dataclass(frozen=True, slots=True)
class EndedSlot:
    """`accounts` are those that the slot changed, as they are at its end; None is gone. Sysvars are not among them."""

    block: Block
    accounts: Mapping[Pubkey, Account | None]
    epoch_start_unix_time: int


@dataclass(frozen=True, slots=True)
class SavedState:
    """Where an earlier run ended: every account, and the newest blocks, which follow each other, the newest last.

    `blocks` have their transactions, the `headers` before them have not. `first_slot` is the oldest that is kept.
    """

    accounts: Mapping[Pubkey, Account]
    headers: list[Block]
    blocks: list[Block]
    first_slot: int
    epoch_start_unix_time: int
