"""Starting from the store: every row's checksum, then the state rebuilt from the last final snapshot and all records after it.

Each cut epoch must lead to the state root it was cut with; otherwise the node refuses to start and names the epoch. Nothing is guessed.
"""

from __future__ import annotations

from itertools import chain as joined

import structlog
from msgspec.structs import replace

from sequencer import database as db
from sequencer import epoch as rules
from sequencer.chain import Chain, Flight, Position, head_of
from sequencer.epoch import Head
from sequencer.lifecycle import CheckpointStatus
from sequencer.rows import DepositRow, EpochRow, GroupRow, LeafRow, MetaRow, SetRow
from sequencer.store import StoreCorruption
from settlement.ledger import LedgerRejection, State
from settlement.signing import Domain
from settlement.validator_set import SetEntry, ValidatorSet

log = structlog.get_logger(__name__)


class WrongStore(Exception):
    """The data directory belongs to another chain, program or version of this software."""


def initialise(database: db.Database, meta: MetaRow, pinned: ValidatorSet) -> None:
    """The first rows of a new data directory."""
    with database.transaction() as tx:
        tx.put(db.META, b"", meta)
        # A final epoch writes only the leaves that it changed, so those before epoch 1 must be there.
        for key, kind, value in State.empty().leaves():
            tx.put(db.LEAVES, key, LeafRow(kind=str(kind), value=value))
        tx.put(
            db.SETS,
            db.u64be(pinned.version),
            SetRow(version=pinned.version, entries=[e.encode() for e in pinned.entries]),
        )


def load(database: db.Database, domain: Domain | None) -> Chain:
    """The chain as it was when the last event was committed. `domain`, when L1 is there to ask, must be the store's (WrongStore).

    StoreCorruption names the row or epoch that is not what was written.
    """
    checked = database.check()
    meta = database.get(db.META, b"")
    if meta is None:
        raise (
            StoreCorruption("the store has no row of its own, yet it has others")
            if checked
            else WrongStore("the store is empty")
        )
    if meta.schema not in db.READABLE_SCHEMAS:
        raise WrongStore(
            f"the store has schema {meta.schema}, this version reads {' and '.join(map(str, db.READABLE_SCHEMAS))}"
        )
    stored = Domain(meta.genesis, meta.program)
    if domain is not None and domain != stored:
        raise WrongStore(
            f"the store belongs to genesis {stored.genesis.hex()} and program {stored.program.hex()}, "
            f"L1 has genesis {domain.genesis.hex()} and the program asked for is {domain.program.hex()}"
        )
    if meta.schema != db.SCHEMA:
        meta = replace(meta, schema=db.SCHEMA)
        with database.transaction() as tx:
            tx.put(db.META, b"", meta)
    finalized = _finalized_head(database, stored, meta)
    groups = {row.seq: row for _, row in database.scan(db.GROUPS)}
    deposits = [row for _, row in database.scan(db.DEPOSITS)]
    flights: list[Flight] = []
    for row in (row for _, row in database.scan(db.EPOCHS) if row.epoch > meta.finalized_epoch):
        if row.status in (CheckpointStatus.REJECTED, CheckpointStatus.VOIDED):
            continue
        head = flights[-1].head if flights else finalized
        flights.append(_flight(database, stored, meta, head, row, groups, deposits))
    posted = tuple(flight for flight in flights if flight.row.status is CheckpointStatus.POSTED)
    in_flight = flights[len(posted) :]
    if tuple(flights[: len(posted)]) != posted:
        raise StoreCorruption(f"an epoch before a posted one is in flight: {[flight.row.epoch for flight in flights]}")
    current, *behind = in_flight or (None,)
    cut_seqs = frozenset(joined.from_iterable(flight.row.seqs for flight in flights))
    pinned = _set(database, meta.pinned_version)
    tip = flights[-1].head if flights else finalized
    context = rules.context_of(stored, rules.number_after(tip, meta.used_up_epoch), tip, pinned, meta.treasury)
    waiting = tuple(row for row in groups.values() if row.seq not in cut_seqs)
    taken = [row for row in deposits if row.index >= tip.inbox_cursor][: meta.max_inbox_per_epoch]
    replayed = rules.replay(tip, context, taken, waiting)
    left = tuple(group for group, _ in replayed.rejected)
    position = Position(finalized, posted, current, tuple(behind), replayed.batch, left, replayed.beyond, pinned)
    log.info(
        "store loaded",
        rows=checked,
        finalized_epoch=finalized.epoch,
        tip_epoch=tip.epoch,
        open_records=replayed.batch.records,
    )
    return Chain(stored, meta, position)


def _finalized_head(database: db.Database, domain: Domain, meta: MetaRow) -> Head:
    if meta.finalized_epoch == 0:
        return Head.genesis(domain)
    row = database.get(db.EPOCHS, db.u64be(meta.finalized_epoch))
    if row is None:
        raise StoreCorruption(f"epoch {meta.finalized_epoch} is final, but its row is not there")
    try:
        state = State.from_leaves((key, leaf.kind, leaf.value) for key, leaf in database.scan(db.LEAVES))
    except ValueError as error:
        raise StoreCorruption(f"the snapshot of epoch {row.epoch} is damaged: {error}") from error
    if state.root != row.state_root:
        raise StoreCorruption(
            f"the snapshot of epoch {row.epoch} has state root {state.root.hex()}, it was final with {row.state_root.hex()}"
        )
    return Head(row.epoch, row.hash, row.cut_slot, row.inbox_cursor, row.inbox_hash, state)


def _flight(
    database: db.Database,
    domain: Domain,
    meta: MetaRow,
    head: Head,
    row: EpochRow,
    groups: dict[int, GroupRow],
    deposits: list[DepositRow],
) -> Flight:
    if row.epoch <= head.epoch or row.parent_hash != head.checkpoint_hash:
        raise StoreCorruption(f"epoch {row.epoch} does not continue epoch {head.epoch}")
    missing = [seq for seq in row.seqs if seq not in groups]
    if missing:
        raise StoreCorruption(f"epoch {row.epoch} holds the groups {missing}, which are not there")
    context = rules.context_of(domain, row.epoch, head, _set(database, row.set_version), meta.treasury)
    taken = [deposit for deposit in deposits if row.first_deposit <= deposit.index < row.inbox_cursor]
    try:
        replayed = rules.replay(head, context, taken, [groups[seq] for seq in row.seqs])
        if replayed.rejected or replayed.beyond:
            raise StoreCorruption(f"epoch {row.epoch} holds records that do not follow: {replayed.rejected}")
        return Flight(row, head_of(row, replayed.batch))
    except (LedgerRejection, ValueError) as error:
        raise StoreCorruption(f"epoch {row.epoch} does not lead to the state it was cut with: {error}") from error


def _set(database: db.Database, version: int) -> ValidatorSet:
    row = database.get(db.SETS, db.u64be(version))
    if row is None:
        raise StoreCorruption(f"validator set {version} is not there")
    return ValidatorSet(row.version, tuple(SetEntry.decode(entry) for entry in row.entries))
