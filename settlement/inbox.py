"""The L1 inbox as L2 sees it: what an entry costs, and the record that takes one (docs/protocol.md, sections 4 and 8)."""

from __future__ import annotations

from typing import Any, Final

from settlement import messages
from settlement.accounts import Config, InboxEntryAccount
from settlement.ledger import batch
from settlement.messages import InboxKind
from settlement.records import EconomicEvent, Event, Op, Record, RecordError
from settlement.signing import Domain, node_id

BACKLOG_STEP: Final = 16
"""Entries of backlog that raise the fee of a forced entry by once itself."""


def forced_fee(config: Config) -> int:
    """Lamports that a task or a withdrawal forced through the inbox costs now, beside what it brings."""
    backlog = config.inbox.count - config.posted.inbox_cursor
    return config.parameters.forced_fee_lamports * (1 + backlog // BACKLOG_STEP)


def record_of(domain: Domain, entry: InboxEntryAccount, time: int) -> Record:
    """The record that takes this entry. ValueError for a kind that is not known, or fields that its payload hash does not bind."""
    key = bytes(entry.beneficiary)
    fields: dict[str, Any] = {
        "lamports": entry.lamports,
        "inbox_index": entry.index,
        "slot": entry.slot,
        "public_key": key,
    }
    if entry.kind == InboxKind.DEPOSIT:
        task, event = bytes(32), EconomicEvent(Event.DEPOSIT, **fields)
    elif entry.kind == InboxKind.TASK:
        task = messages.inbox_task_id(domain, key, entry.index, entry.reference)
        event = EconomicEvent(
            Event.INBOX_TASK,
            number=entry.number,
            spec_hash=entry.reference,
            kind_mode=entry.kind_mode,
            **fields,
        )
    elif entry.kind == InboxKind.WITHDRAWAL:
        task, event = entry.reference, EconomicEvent(Event.FORCED_WITHDRAWAL, number=entry.number, **fields)
    elif entry.kind == InboxKind.STRIKE:
        result = entry.result_hash
        task, event = entry.reference, EconomicEvent(Event.STRIKE, number=entry.number, spec_hash=result, **fields)
    else:
        raise ValueError(f"inbox entry {entry.index} is of kind {entry.kind}, which this version does not know")
    try:
        record = Record(Op.ECONOMIC_EVENT, time & 0xFFFFFFFF, node_id(key), task, event)
    except RecordError as error:
        raise ValueError(f"inbox entry {entry.index} is no record: {error}") from error
    if batch.inbox_entry(record) != entry.entry:
        raise ValueError(f"inbox entry {entry.index} is not what its payload hash says")
    return record
