"""Entries that no sequencer can refuse: what one costs, sending it, and what became of those that are in the inbox (docs/settlement.md).

All that the program would refuse is looked at before anything is sent: an entry costs a fee and rent that nobody gives back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from solders.instruction import Instruction
from solders.keypair import Keypair

from settlement import idl, inbox_instructions, messages
from settlement.accounts import Checkpoint, Config, InboxEntryAccount
from settlement.borsh import fixed_size
from settlement.client import ACCOUNTS_PER_CALL, L1Client
from settlement.inbox import forced_fee
from settlement.loader_plan import SIGNATURE_FEE_LAMPORTS
from settlement.money import append_entry
from settlement.records import Kind, Mode
from settlement.tags import U64_MAX
from settlement.transactions import Confirmed

LOOKBACK_EPOCHS = 10_000


class ForcingRefused(Exception):
    """The program would refuse the entry, or it costs more than was allowed; nothing was sent. The message says what would be right."""


@dataclass(frozen=True)
class Cost:
    """In lamports. What enters L2 stays its owner's; fee (to the treasury), rent and transaction fee are spent."""

    entering_lamports: int
    fee_lamports: int
    rent_lamports: int

    @property
    def spent_lamports(self) -> int:
        return self.fee_lamports + self.rent_lamports + SIGNATURE_FEE_LAMPORTS

    @property
    def total_lamports(self) -> int:
        return self.entering_lamports + self.spent_lamports


@dataclass(frozen=True)
class Forced:
    """`task_id`: of the task that the entry makes, None for a withdrawal. `overdue_slot`: no checkpoint cut from there on is accepted
    without it, unless there are more older ones than an epoch may take."""

    index: int
    slot: int
    overdue_slot: int
    cost: Cost
    task_id: bytes | None
    signature: str


async def force_task(
    client: L1Client,
    owner: Keypair,
    *,
    spec_hash: bytes,
    fee_lamports: int,
    deadline_slot: int,
    max_forced_fee_lamports: int | None = None,
    kind: int = Kind.TRAINING,
    mode: int = Mode.REPLAY,
) -> Forced:
    """Puts a task into the inbox. `fee_lamports` is the worker's; `max_forced_fee_lamports` the most that the entry costs beside (None: what
    it costs now). ForcingRefused before anything is sent."""
    config = await client.check_cluster()
    slot = await client.get_slot()
    if deadline_slot <= slot:
        raise ForcingRefused(f"the deadline, slot {deadline_slot}, has passed: L1 is at slot {slot}")
    cost = await _price(client, owner, config, fee_lamports, max_forced_fee_lamports)

    def build(count: int) -> Instruction:
        return inbox_instructions.inbox_task(
            client.program_id,
            owner.pubkey(),
            count,
            lamports=fee_lamports,
            spec_hash=spec_hash,
            deadline_slot=deadline_slot,
            max_fee_lamports=cost.fee_lamports,
            kind=kind,
            mode=mode,
        )

    index, confirmed = await append_entry(client, owner, build)
    task_id = messages.inbox_task_id(await client.domain(), bytes(owner.pubkey()), index, spec_hash)
    return _forced(config, index, confirmed, cost, task_id)


async def force_withdrawal(
    client: L1Client,
    owner: Keypair,
    *,
    lamports: int | None,
    task_id: bytes = bytes(32),
    max_forced_fee_lamports: int | None = None,
) -> Forced:
    """Makes `lamports` (None: all there are) of the owner's L2 balance payable, after the task named, if it is overdue by then, was refunded.

    An entry must bring min_inbox_lamports; they are withdrawn too. ForcingRefused before anything is sent.
    """
    config = await client.check_cluster()
    entering = config.parameters.min_inbox_lamports
    cost = await _price(client, owner, config, entering, max_forced_fee_lamports)
    asked = U64_MAX if lamports is None else min(lamports + entering, U64_MAX)

    def build(count: int) -> Instruction:
        return inbox_instructions.inbox_withdrawal(
            client.program_id,
            owner.pubkey(),
            count,
            lamports=entering,
            withdraw_lamports=asked,
            max_fee_lamports=cost.fee_lamports,
            task_id=task_id,
        )

    index, confirmed = await append_entry(client, owner, build)
    return _forced(config, index, confirmed, cost, None)


async def _price(client: L1Client, owner: Keypair, config: Config, entering: int, most: int | None) -> Cost:
    if config.escaped:
        raise ForcingRefused(
            "the escape hatch is open, nothing enters any more: `pouw escape claim` pays what L2 holds"
        )
    least = config.parameters.min_inbox_lamports
    if entering < least:
        raise ForcingRefused(f"an inbox entry brings at least {least} lamports here, {entering} are too few")
    cost = Cost(entering, forced_fee(config), await client.minimum_rent(_entry_bytes()))
    if most is not None and cost.fee_lamports > most:
        raise ForcingRefused(
            f"a forced entry costs {cost.fee_lamports} lamports now, more than the {most} allowed: wait until the entries that wait "
            "are fewer, or allow more"
        )
    balance = await client.get_balance(owner.pubkey())
    if balance < cost.total_lamports:
        raise ForcingRefused(
            f"it takes {cost.total_lamports} lamports: {cost.entering_lamports} that enter L2, {cost.fee_lamports} of fee, "
            f"{cost.rent_lamports} of rent and {SIGNATURE_FEE_LAMPORTS} for the transaction; {owner.pubkey()} has {balance} on L1"
        )
    return cost


def _entry_bytes() -> int:
    """Of an InboxEntry account, behind its discriminator."""
    return 8 + fixed_size({"defined": {"name": "InboxEntry"}}, idl.committed().types)


def _forced(config: Config, index: int, confirmed: Confirmed, cost: Cost, task_id: bytes | None) -> Forced:
    overdue = overdue_slot(config, confirmed.slot)
    return Forced(index, confirmed.slot, overdue, cost, task_id, confirmed.signature)


def overdue_slot(config: Config, entry_slot: int) -> int:
    """The first cut slot at which a checkpoint must have taken an entry of that slot."""
    return entry_slot + config.parameters.inclusion_window_slots + 1


# -- what became of entries


class EntryStatus(StrEnum):
    WAITING = "waiting"
    OVERDUE = "overdue"  # nothing that leaves it out can be posted
    TAKEN = "taken"  # by a checkpoint that is not final yet
    FINAL = "final"
    REFUNDABLE = "refundable"
    REFUNDED = "refunded"


@dataclass(frozen=True)
class Listed:
    """An entry, what became of it, and the epoch that took it: None for none, or when its checkpoint was closed since."""

    entry: InboxEntryAccount
    status: EntryStatus
    epoch: int | None
    overdue_slot: int


def status_of(config: Config, entry: InboxEntryAccount, slot: int) -> EntryStatus:
    """At L1's slot `slot`."""
    if entry.index < config.finalized.inbox_cursor:
        return EntryStatus.FINAL
    if config.escaped:
        return EntryStatus.REFUNDED if entry.refunded else EntryStatus.REFUNDABLE
    if entry.index < config.posted.inbox_cursor:
        return EntryStatus.TAKEN
    return EntryStatus.OVERDUE if slot >= overdue_slot(config, entry.slot) else EntryStatus.WAITING


async def list_entries(client: L1Client, start: int, limit: int) -> list[Listed]:
    """Entries start … start + limit − 1, as far as there are."""
    config, slot = await client.check_cluster(), await client.get_slot()
    entries = await client.fetch_inbox_entries(start, max(start, min(start + limit, config.inbox.count)))
    epochs = await _epochs_of(client, config, [entry.index for entry in entries])
    return [
        Listed(entry, status_of(config, entry, slot), epochs.get(entry.index), overdue_slot(config, entry.slot))
        for entry in entries
    ]


async def _epochs_of(client: L1Client, config: Config, indexes: Sequence[int]) -> dict[int, int]:
    """Which epoch took each entry, from the last checkpoint back along the parents, so that none that is void is among them. What a closed
    checkpoint took, or one more than LOOKBACK_EPOCHS ago, is left out."""
    held: dict[int, Checkpoint] = {}

    async def at(epoch: int) -> Checkpoint | None:
        if epoch and epoch not in held:
            window = range(max(1, epoch - ACCOUNTS_PER_CALL + 1), epoch + 1)
            held.update({one.epoch: one for one in await client.fetch_checkpoints(window) if one is not None})
        return held.get(epoch)

    # What was posted and not final is void once the hatch is open.
    last = config.finalized.epoch if config.escaped else config.posted.epoch
    found: dict[int, int] = {}
    taking = await at(last)
    while taking is not None and taking.inbox_cursor > min(indexes, default=U64_MAX):
        parent = await at(taking.parent_epoch)
        if (taking.parent_epoch and parent is None) or last - taking.epoch >= LOOKBACK_EPOCHS:
            break
        first = parent.inbox_cursor if parent else 0
        found |= {index: taking.epoch for index in indexes if first <= index < taking.inbox_cursor}
        taking = parent
    return found
