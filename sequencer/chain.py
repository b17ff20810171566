"""The chain of epochs as this node holds it: finalized, posted, the one cut epoch in flight, and the open batch on top.

    finalized head ── posted … posted ── current (attesting or posting) ── behind … behind ── open batch ── groups that wait

Every method belongs to a transaction: rows and memory change together or not at all. When a fork of L1 takes posts back, the first is
current again and the others are `behind` it, each as it was: the same certificates are posted again in their order, and if L1's nodes
bring the old transactions back by themselves, that is seen and nothing is lost. Groups and deposits keep their rows until their epoch is
final, so an epoch whose attempt expired is simply opened again: all its groups and all later ones are replayed on the head before it. The
same is done with an epoch that L1 rejected and all behind it, under a number that was never used.
Nothing here talks to L1 or looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import structlog
from msgspec.structs import replace as with_fields

from sequencer import database as db
from sequencer import epoch as rules
from sequencer import given_up
from sequencer.batch import Cut
from sequencer.epoch import Head, OpenBatch
from sequencer.lifecycle import CheckpointEvent, next_checkpoint_status
from sequencer.rows import AttemptRow, DepositRow, EpochRow, GroupRow, LeafRow, MetaRow, SentRow, SetRow
from settlement.ledger import LedgerRejection, Rejection
from settlement.signing import Domain
from settlement.validator_set import ValidatorSet

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Flight:
    """A cut epoch that is not final yet: its row and the head that it leads to."""

    row: EpochRow
    head: Head


@dataclass(frozen=True)
class Position:
    """Where the chain stands. Accepted, but not in the open batch, are `waiting` groups, which do not apply now, and those `beyond` its
    size, which the next epoch takes; while there are any of these, nothing new is appended."""

    finalized: Head
    posted: tuple[Flight, ...]
    current: Flight | None
    behind: tuple[Flight, ...]
    open: OpenBatch
    waiting: tuple[GroupRow, ...]
    beyond: tuple[GroupRow, ...]
    pinned: ValidatorSet

    @property
    def tip(self) -> Head:
        """The head that the open batch stands on."""
        return self.in_flight[-1].head if self.in_flight else self.posted_head

    @property
    def in_flight(self) -> tuple[Flight, ...]:
        """Cut epochs that L1 does not have, oldest first."""
        return (self.current, *self.behind) if self.current else ()

    @property
    def posted_head(self) -> Head:
        return self.posted[-1].head if self.posted else self.finalized

    @property
    def groups(self) -> list[GroupRow]:
        """All groups that no cut epoch holds, in the order in which they were accepted."""
        return sorted((*self.open.groups, *self.waiting, *self.beyond), key=lambda group: group.seq)


def head_of(row: EpochRow, batch: OpenBatch) -> Head:
    """The head that a cut epoch leads to. ValueError when the batch is not the one that was cut."""
    if (batch.epoch, batch.state.root, batch.inbox_cursor) != (row.epoch, row.state_root, row.inbox_cursor):
        raise ValueError(
            f"the records of epoch {row.epoch} lead to state {batch.state.root.hex()}, it was cut at {row.state_root.hex()}"
        )
    return Head(row.epoch, row.hash, row.cut_slot, row.inbox_cursor, row.inbox_hash, batch.state)


class Chain:
    """The position and the node's own row, in transactional cells."""

    def __init__(self, domain: Domain, meta: MetaRow, position: Position) -> None:
        self.domain = domain
        self.meta_cell = db.Cell(meta)
        self.position_cell = db.Cell(position)

    @property
    def position(self) -> Position:
        return self.position_cell.value

    @property
    def open(self) -> OpenBatch:
        return self.position.open

    def meta(self, tx: db.Transaction) -> MetaRow:
        return tx.read(self.meta_cell)

    def set_meta(self, tx: db.Transaction, meta: MetaRow) -> None:
        tx.put(db.META, b"", meta)
        tx.write(self.meta_cell, meta)

    # -- filling the open batch ------------------------------------------------------------------------------------

    def append(self, tx: db.Transaction, group: GroupRow) -> None:
        """Puts the group, numbered meta.next_seq, at the batch's end. LedgerRejection when it does not follow; TOO_MANY_RECORDS without room."""
        position, meta = tx.read(self.position_cell), self.meta(tx)
        if position.beyond:
            raise LedgerRejection(Rejection.TOO_MANY_RECORDS, "earlier records wait for the next epoch already")
        batch = rules.append(position.open, group)
        tx.put(db.GROUPS, db.u64be(group.seq), group)
        self.set_meta(tx, with_fields(meta, next_seq=group.seq + 1))
        tx.write(self.position_cell, replace(position, open=batch))

    def ingest(self, tx: db.Transaction, deposits: Iterable[DepositRow]) -> list[bytes]:
        """Takes inbox entries that continue those already taken. They stand first, so the groups are replayed after them, and what
        waited for the money may now apply: returns the tasks concerned."""
        for deposit in deposits:
            tx.put(db.DEPOSITS, db.u64be(deposit.index), deposit)
        return self._rebuild(tx, tx.read(self.position_cell))

    def forget_deposits(self, tx: db.Transaction, from_index: int) -> list[bytes]:
        """L1 has other entries from here on: forgets ours, unless a cut epoch holds them (they fall with its attempt)."""
        position = tx.read(self.position_cell)
        for key, deposit in list(tx.scan(db.DEPOSITS)):
            if deposit.index >= max(from_index, position.tip.inbox_cursor):
                tx.delete(db.DEPOSITS, key)
        return self._rebuild(tx, position)

    def pin(self, tx: db.Transaction, pinned: ValidatorSet) -> list[bytes]:
        """Another set is pinned on L1: the open batch is built anew for it. Returns the tasks whose groups fell."""
        entries = [entry.encode() for entry in pinned.entries]
        tx.put(db.SETS, db.u64be(pinned.version), SetRow(version=pinned.version, entries=entries))
        self.set_meta(tx, with_fields(self.meta(tx), pinned_version=pinned.version))
        return self._rebuild(tx, replace(tx.read(self.position_cell), pinned=pinned))

    # -- a checkpoint's life ---------------------------------------------------------------------------------------

    def cut(self, tx: db.Transaction, cut: Cut) -> list[bytes]:
        """The open batch becomes the current epoch; what was accepted while it was being cut goes into the next one."""
        position, row = tx.read(self.position_cell), cut.row
        if position.current is not None:
            raise RuntimeError(f"epoch {position.current.row.epoch} is still in flight")
        batch, seqs = position.open, frozenset(row.seqs)
        deposits = batch.deposits[: row.inbox_cursor - batch.head.inbox_cursor]
        closed = rules.replay(batch.head, batch.context, deposits, [g for g in batch.groups if g.seq in seqs]).batch
        flight = Flight(row, head_of(row, closed))
        tx.put(db.EPOCHS, db.u64be(row.epoch), row)
        rest = tuple(group for group in position.groups if group.seq not in seqs)
        return self._rebuild(
            tx, replace(position, current=flight, open=rules.empty(flight.head, batch.context), waiting=rest, beyond=())
        )

    def certify(self, tx: db.Transaction, bitmap: int, aggregate: bytes) -> None:
        self._step_current(tx, CheckpointEvent.CERTIFY, bitmap=bitmap, aggregate=aggregate)

    def note_sent(self, tx: db.Transaction, sent: SentRow) -> None:
        """Keeps a signed post before it is sent, so that after a crash the same bytes are followed."""
        flight = self._current(tx)
        self._put_current(tx, Flight(with_fields(flight.row, sent=[*flight.row.sent, sent]), flight.head))

    def note_unlanded(self, tx: db.Transaction) -> None:
        """One more post that did not land: kept, so that a restart goes on at the price that it had come to."""
        meta = self.meta(tx)
        self.set_meta(tx, with_fields(meta, posts_unlanded=meta.posts_unlanded + 1))

    def post(self, tx: db.Transaction, *, l1_signature: str | None, slot: int, compute_units: int | None) -> None:
        """The current epoch stands on L1 at `confirmed`: nothing is unlanded any more."""
        self._step_current(
            tx, CheckpointEvent.POST, l1_signature=l1_signature, posted_slot=slot, compute_units=compute_units
        )
        self.set_meta(tx, with_fields(self.meta(tx), posts_unlanded=0))
        position = tx.read(self.position_cell)
        current, *behind = position.behind or (None,)
        posted = (*position.posted, self._current(tx))
        tx.write(self.position_cell, replace(position, posted=posted, current=current, behind=tuple(behind)))

    def give_up(self, tx: db.Transaction) -> list[bytes]:
        """The current attempt can no longer land: its epoch and those behind it are open again, with all that was accepted since. Returns
        their tasks."""
        return self._reopen(tx, self._current(tx).row.epoch)

    def reject(self, tx: db.Transaction, epoch: int, highest_epoch: int) -> list[bytes]:
        """L1 rejected the posted `epoch` for good when `highest_epoch` was the last that it had taken: what is in epochs from that one on is
        open again, and no number that L1 has seen is used again. Returns their tasks."""
        flight = next((one for one in tx.read(self.position_cell).posted if one.row.epoch == epoch), None)
        if flight is None:
            raise RuntimeError(f"epoch {epoch} is not among those posted")
        again = self._mark_rejected(tx, flight.row)
        meta = self.meta(tx)
        used_up = max(meta.used_up_epoch, highest_epoch)
        self.set_meta(tx, with_fields(meta, used_up_epoch=used_up, rejected_epoch=epoch, rejected_again=again))
        return self._reopen(tx, epoch)

    def fork(self, tx: db.Transaction, epoch: int) -> None:
        """L1 no longer has the posts from `epoch` on: they are to be posted again as they were."""
        position = tx.read(self.position_cell)
        posted = tuple(flight for flight in position.posted if flight.row.epoch < epoch)
        lost = []
        for flight in position.posted[len(posted) :]:
            status = next_checkpoint_status(flight.row.status, CheckpointEvent.FORK)
            row = with_fields(flight.row, status=status, posted_slot=None, compute_units=None)
            tx.put(db.EPOCHS, db.u64be(row.epoch), row)
            lost.append(Flight(row, flight.head))
        if not lost or lost[0].row.epoch != epoch:
            raise RuntimeError(f"epoch {epoch} is not among those posted")
        current, *behind = (*lost, *position.in_flight)
        tx.write(self.position_cell, replace(position, posted=posted, current=current, behind=tuple(behind)))

    def finalize(self, tx: db.Transaction) -> EpochRow:
        """The first posted epoch is final on L1: its state becomes the snapshot; its records live on in its batch's blob only."""
        position = tx.read(self.position_cell)
        flight, *posted = position.posted
        row = with_fields(flight.row, status=next_checkpoint_status(flight.row.status, CheckpointEvent.FINALIZE))
        tx.put(db.EPOCHS, db.u64be(row.epoch), row)
        for key, kind, value in flight.head.state.changes_since(position.finalized.state):
            tx.put(db.LEAVES, key, LeafRow(kind=str(kind), value=value))
        for seq in row.seqs:
            tx.delete(db.GROUPS, db.u64be(seq))
        for index in range(row.first_deposit, row.inbox_cursor):
            tx.delete(db.DEPOSITS, db.u64be(index))
        tx.delete(db.ATTEMPTS, db.u64be(row.epoch))
        given_up.forget_up_to(tx, row.epoch)
        self.set_meta(tx, with_fields(self.meta(tx), finalized_epoch=row.epoch))
        tx.write(self.position_cell, replace(position, finalized=flight.head, posted=tuple(posted)))
        return row

    # -- inside ----------------------------------------------------------------------------------------------------

    def _current(self, tx: db.Transaction) -> Flight:
        flight = tx.read(self.position_cell).current
        if flight is None:
            raise RuntimeError("no epoch is in flight")
        return flight

    def _put_current(self, tx: db.Transaction, flight: Flight) -> None:
        tx.put(db.EPOCHS, db.u64be(flight.row.epoch), flight.row)
        tx.write(self.position_cell, replace(tx.read(self.position_cell), current=flight))

    def _step_current(self, tx: db.Transaction, event: CheckpointEvent, **fields: object) -> None:
        flight = self._current(tx)
        status = next_checkpoint_status(flight.row.status, event)
        self._put_current(tx, Flight(with_fields(flight.row, status=status, **fields), flight.head))

    def _reopen(self, tx: db.Transaction, epoch: int) -> list[bytes]:
        position = tx.read(self.position_cell)
        flights = (*position.posted, *position.in_flight)
        kept = tuple(flight for flight in flights if flight.row.epoch < epoch)
        seqs: list[int] = []
        meta = self.meta(tx)
        for flight in flights[len(kept) :]:
            row = flight.row
            seqs += row.seqs
            if row.epoch <= meta.used_up_epoch:
                is_first = row.epoch == meta.rejected_epoch
                event = CheckpointEvent.REJECT if is_first else CheckpointEvent.VOID
                status = next_checkpoint_status(row.status, event)
                tx.put(db.EPOCHS, db.u64be(row.epoch), with_fields(row, status=status))
                tx.delete(db.ATTEMPTS, db.u64be(row.epoch))
            else:
                next_checkpoint_status(row.status, CheckpointEvent.GIVE_UP)
                tx.delete(db.EPOCHS, db.u64be(row.epoch))
                attempt = AttemptRow(
                    attempt=row.attempt, expiry_slot=row.expiry_slot, certified=row.aggregate is not None
                )
                tx.put(db.ATTEMPTS, db.u64be(row.epoch), attempt)
                given_up.keep(tx, row)
            log.warning("epoch opened again", epoch=row.epoch, attempt=row.attempt)
        groups = [group for seq in seqs if (group := tx.get(db.GROUPS, db.u64be(seq))) is not None]
        head = kept[-1].head if kept else position.finalized
        base = rules.empty(head, position.open.context)
        reopened = replace(
            position, posted=kept, current=None, behind=(), open=base, waiting=(*groups, *position.groups), beyond=()
        )
        affected = self._rebuild(tx, reopened)
        return list(dict.fromkeys([*affected, *(group.task_id for group in groups)]))

    @staticmethod
    def _mark_rejected(tx: db.Transaction, row: EpochRow) -> bool:
        """Remembers at each part of a rejected batch where it stood; whether one of them was in a rejected batch before."""
        groups = [group for seq in row.seqs if (group := tx.get(db.GROUPS, db.u64be(seq))) is not None]
        taken = range(row.first_deposit, row.inbox_cursor)
        deposits = [entry for index in taken if (entry := tx.get(db.DEPOSITS, db.u64be(index))) is not None]
        for group in groups:
            tx.put(db.GROUPS, db.u64be(group.seq), with_fields(group, rejected_epoch=row.epoch))
        for entry in deposits:
            tx.put(db.DEPOSITS, db.u64be(entry.index), with_fields(entry, rejected_epoch=row.epoch))
        before = [group.rejected_epoch for group in groups] + [entry.rejected_epoch for entry in deposits]
        return any(epoch is not None for epoch in before)

    def _rebuild(self, tx: db.Transaction, position: Position) -> list[bytes]:
        """Replays all open groups on the tip; returns the tasks of those that do not apply, or that do again."""
        head, meta = position.tip, self.meta(tx)
        number = rules.number_after(head, meta.used_up_epoch)
        context = rules.context_of(self.domain, number, head, position.pinned, meta.treasury)
        taken = [row for _, row in tx.scan(db.DEPOSITS) if row.index >= head.inbox_cursor]
        replayed = rules.replay(head, context, taken[: meta.max_inbox_per_epoch], position.groups)
        waiting = []
        for group, rejection in replayed.rejected:
            if rules.is_droppable(group, head.cut_slot):
                tx.delete(db.GROUPS, db.u64be(group.seq))
            else:
                waiting.append(group)
            log.warning(
                "group does not apply", seq=group.seq, kind=group.kind, task=group.task_id.hex(), why=str(rejection)
            )
        tx.write(
            self.position_cell, replace(position, open=replayed.batch, waiting=tuple(waiting), beyond=replayed.beyond)
        )
        waited = {group.seq for group in (*position.waiting, *position.beyond)}
        changed = [*(group for group, _ in replayed.rejected), *replayed.beyond]
        changed += [group for group in replayed.batch.groups if group.seq in waited]
        return list(dict.fromkeys(group.task_id for group in changed))
