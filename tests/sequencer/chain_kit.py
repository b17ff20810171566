"""A chain of epochs over a real store, and the records that fill it. No signatures: who may put a record in is judged before the chain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from solders.keypair import Keypair

from sequencer import batch, recovery
from sequencer import database as db
from sequencer.chain import Chain
from sequencer.rows import DepositRow, GroupKind, GroupRow, MetaRow
from sequencer.store import RocksStore
from settlement import messages, records
from settlement.bls import SecretKey, uncompressed_public_key
from settlement.messages import InboxEntry, deposit_payload_hash, next_inbox_hash
from settlement.records import (
    EconomicEvent,
    Event,
    Kind,
    Mode,
    Op,
    Record,
    TaskSubmission,
)
from settlement.signing import EMPTY, Domain, node_id
from settlement.validator_set import SetEntry, ValidatorSet

DOMAIN = Domain(b"g" * 32, b"p" * 32)
TREASURY = b"t" * 32
EXPIRY_SLOTS = 64
FAR = 1_000_000


def validator_set(version: int, size: int = 3) -> ValidatorSet:
    """The same validators in every version, so that keys are made once."""
    return ValidatorSet(version, ENTRIES[:size])


def _entry(seed: int) -> SetEntry:
    key = SecretKey.from_seed(bytes([seed]) * 32)
    authority = Keypair.from_seed(bytes([seed]) * 32)
    return SetEntry(bytes(authority.pubkey()), uncompressed_public_key(key.public_key), 1_000_000)


ENTRIES = tuple(_entry(seed) for seed in range(1, 5))


@dataclass
class Bench:
    """A chain, its database, and an inbox on "L1" that deposits come from."""

    database: db.Database
    chain: Chain
    inbox: list[DepositRow]
    slot: int = 100

    @classmethod
    def new(cls, folder: Path) -> Bench:
        database = db.Database(RocksStore(folder / "store"))
        pinned = validator_set(1)
        meta = MetaRow(
            schema=db.SCHEMA,
            genesis=DOMAIN.genesis,
            program=DOMAIN.program,
            treasury=TREASURY,
            max_inbox_per_epoch=4,
            finalized_epoch=0,
            pinned_version=pinned.version,
            next_seq=0,
            next_order=0,
            next_lease_id=1,
        )
        recovery.initialise(database, meta, pinned)
        return cls(database, recovery.load(database, DOMAIN), [])

    def deposit(self, key: bytes, lamports: int) -> None:
        """A new inbox entry on L1; `ingest` takes it."""
        previous = self.inbox[-1].inbox_hash if self.inbox else messages.genesis_inbox_hash(DOMAIN)
        entry = InboxEntry(len(self.inbox), self.slot, 1, lamports, deposit_payload_hash(key))
        event = EconomicEvent(
            Event.DEPOSIT, lamports=lamports, inbox_index=entry.index, slot=entry.slot, public_key=key
        )
        record = Record(Op.ECONOMIC_EVENT, 7, node_id(key), bytes(32), event)
        self.inbox.append(
            DepositRow(
                index=entry.index,
                slot=entry.slot,
                kind=entry.kind,
                lamports=lamports,
                payload_hash=entry.payload_hash,
                beneficiary=key,
                inbox_hash=next_inbox_hash(previous, entry),
                record=records.encode(record),
            )
        )

    def ingest(self) -> None:
        known = {row.index for _, row in self.database.scan(db.DEPOSITS)}
        tip = self.chain.position.tip.inbox_cursor
        fresh = [row for row in self.inbox if row.index >= tip and row.index not in known]
        with self.database.transaction() as tx:
            self.chain.ingest(tx, fresh)

    def append(self, record: Record, kind: GroupKind, expiry_slot: int = FAR) -> GroupRow:
        with self.database.transaction() as tx:
            group = GroupRow(
                seq=self.chain.meta(tx).next_seq,
                kind=kind,
                task_id=record.task,
                records=[records.encode(record)],
                authorisations=[EMPTY.encode()],
                expiry_slot=expiry_slot,
            )
            self.chain.append(tx, group)
        return group

    def nonce(self, key: bytes) -> int:
        account = self.chain.open.state.account(node_id(key))
        return account.nonce if account else 0

    def submit(self, key: bytes, fee_lamports: int, expiry_slot: int = FAR) -> GroupRow:
        nonce = self.nonce(key)
        task_id = messages.task_id(DOMAIN, key, nonce, b"s" * 32)
        payload = TaskSubmission(nonce, fee_lamports, FAR, b"s" * 32, Kind.TRAINING, Mode.REPLAY)
        record = Record(Op.TASK_SUBMISSION, 7, node_id(key), task_id, payload)
        return self.append(record, GroupKind.SUBMISSION, expiry_slot)

    def withdraw(self, key: bytes, lamports: int) -> GroupRow:
        event = EconomicEvent(Event.WITHDRAWAL, number=self.nonce(key), lamports=lamports)
        return self.append(Record(Op.ECONOMIC_EVENT, 7, node_id(key), bytes(32), event), GroupKind.WITHDRAWAL)

    def cut(self) -> batch.Cut:
        self.slot += 10
        made = batch.cut(
            self.chain.open,
            attempt=self.next_attempt(),
            cut_slot=self.slot,
            expiry_slot=self.slot + EXPIRY_SLOTS,
        )
        with self.database.transaction() as tx:
            self.chain.cut(tx, made)
        return made

    def next_attempt(self) -> int:
        before = self.database.get(db.ATTEMPTS, db.u64be(self.chain.open.epoch))
        return before.attempt + 1 if before else 0

    def certify(self) -> None:
        with self.database.transaction() as tx:
            self.chain.certify(tx, 0b111, b"c" * 96)

    def post(self) -> None:
        with self.database.transaction() as tx:
            self.chain.post(tx, l1_signature="1" * 64, slot=self.slot + 1, compute_units=1)

    def whole_epoch(self) -> int:
        """Cuts, certifies and posts the open batch; the epoch."""
        epoch = self.cut().row.epoch
        self.certify()
        self.post()
        return epoch

    def finalize(self) -> None:
        with self.database.transaction() as tx:
            self.chain.finalize(tx)

    def give_up(self) -> list[bytes]:
        with self.database.transaction() as tx:
            return self.chain.give_up(tx)

    def fork(self, epoch: int) -> None:
        with self.database.transaction() as tx:
            self.chain.fork(tx, epoch)

    def reject(self, epoch: int, highest_epoch: int | None = None) -> list[bytes]:
        """`highest_epoch`: the last that L1 has taken; without it, the last one posted here."""
        highest = highest_epoch or self.chain.position.posted[-1].row.epoch
        with self.database.transaction() as tx:
            return self.chain.reject(tx, epoch, highest)

    def status_of(self, epoch: int) -> str | None:
        row = self.database.get(db.EPOCHS, db.u64be(epoch))
        return row.status.value if row else None

    def forget_deposits(self, count: int) -> None:
        """L1 takes its last `count` inbox entries back."""
        del self.inbox[len(self.inbox) - count :]
        with self.database.transaction() as tx:
            self.chain.forget_deposits(tx, len(self.inbox))

    def check_restart(self) -> None:
        """What a node that starts now would load is what this one holds."""
        assert describe(recovery.load(self.database, DOMAIN)) == describe(self.chain)


def describe(chain: Chain) -> dict[str, object]:
    """All of a chain that must survive a restart."""
    position = chain.position
    return {
        "finalized": (position.finalized.epoch, position.finalized.checkpoint_hash, position.finalized.state.root),
        "posted": [(flight.row, flight.head.state.root) for flight in position.posted],
        "current": position.current and (position.current.row, position.current.head.state.root),
        "behind": [(flight.row, flight.head.state.root) for flight in position.behind],
        "open": (position.open.epoch, position.open.base_slot, position.open.state.root, position.open.records),
        "groups": [group.seq for group in position.open.groups],
        "waiting": sorted(group.seq for group in position.waiting),
        "beyond": [group.seq for group in position.beyond],
        "inbox": (position.open.inbox_cursor, position.open.inbox_hash),
        "pinned": position.pinned.version,
        "meta": chain.meta_cell.value,
    }
