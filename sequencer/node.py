"""The node: database, chain, task book, blobs and the last view of L1, and the events that several of them share.

An event runs without an await inside one transaction, so events never interleave and every one is on the disk before anybody is told.
The loops (l1_view, epoch_loop, poster, finality) and the RPC methods are thin around this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog
import trio
from msgspec.structs import replace

from sequencer import database as db
from sequencer import metrics, verification
from sequencer.batch import Cut
from sequencer.blobs import BlobStore
from sequencer.chain import Chain
from sequencer.config import SequencerConfig
from sequencer.lapses import Lapses
from sequencer.lifecycle import Status, TaskEvent
from sequencer.params import Progress
from sequencer.rows import GroupKind, GroupRow, Rejection, ResultRow, TaskRow, VerdictRow
from sequencer.tasks import TaskBook
from sequencer.uploads import Uploads
from settlement import ledger, records
from settlement.accounts import Config
from settlement.ledger import LedgerRejection, State
from settlement.records import EconomicEvent, Event, Op, Record, Verdict, VerificationProof
from settlement.signing import EMPTY, Domain, node_id
from settlement.tags import U64_MAX

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class L1View:
    """What was last read of L1: slots and Config at two commitments, and when (monotonic seconds). Config is None before the first read."""

    slot: int = 0
    finalized_slot: int = 0
    config: Config | None = None
    finalized_config: Config | None = None
    read_at: float = float("-inf")


@dataclass
class Node:
    """`unix_time` stamps records (informative only); `now` is monotonic and decides."""

    config: SequencerConfig
    database: db.Database
    chain: Chain
    tasks: TaskBook
    blobs: BlobStore
    l1_url: str
    unix_time: Callable[[], float]
    now: Callable[[], float]
    uploads: Uploads = field(default_factory=Uploads)
    view: L1View = field(default_factory=L1View)
    last_seen_slots: dict[bytes, int] = field(default_factory=dict)
    # By worker, with the lease that it is about. Nobody has checked it and nothing rests on it, so that it is in memory only.
    progress: dict[bytes, tuple[int, Progress]] = field(default_factory=dict)
    lapses: Lapses = field(default_factory=Lapses)
    open_since: float | None = None
    cut_at: float | None = None
    quorum_since: float | None = None
    suspected_fork: bytes | None = None
    verified_cursor: int | None = None
    nonces_swept_slot: int = 0
    # State roots by checkpoint hash, of what is cut and not final (sequencer/traces.py).
    traces: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    alarms: dict[str, str] = field(default_factory=dict)
    wake_poster: trio.Event = field(default_factory=trio.Event)

    @property
    def domain(self) -> Domain:
        return self.chain.domain

    @property
    def state(self) -> State:
        """The open batch's state: what callers see as "processed"."""
        return self.chain.open.state

    @property
    def slot(self) -> int:
        return self.view.slot

    @property
    def posts_unlanded(self) -> int:
        """How many posts in a row did not land."""
        return self.chain.meta_cell.value.posts_unlanded

    @property
    def void_epoch(self) -> int | None:
        """The first posted epoch that is void on L1 at `confirmed`; nothing is cut, posted or finalized from there on until that is final and
        the epoch opened again, or L1 takes it back."""
        config = self.view.config
        if config is None:
            return None
        return next((f.row.epoch for f in self.chain.position.posted if config.is_void(f.row.epoch)), None)

    @property
    def is_halted(self) -> bool:
        """Whether what was rejected on L1 held what had been rejected before, and no person has said that the cause is mended."""
        meta = self.chain.meta_cell.value
        return meta.rejected_again and meta.rejected_epoch > self.config.mended_to_epoch

    def lag(self) -> str | None:
        """Why this node should not be trusted to go on just now, or None."""
        if self.alarms:
            return "; ".join(self.alarms.values())
        if self.database.refusal:
            return f"READ_ONLY: {self.database.refusal}"
        silent = self.now() - self.view.read_at
        if silent > self.config.l1_stale_seconds:
            return "L1 has not answered yet" if self.view.config is None else f"L1 has not answered for {silent:.0f} s"
        current = self.chain.position.current
        if current and self.slot > current.row.expiry_slot:
            return f"epoch {current.row.epoch} attempt {current.row.attempt} expired unposted at slot {current.row.expiry_slot}"
        return None

    def raise_alarm(self, name: str, text: str) -> None:
        """Something that a person should look at: stands in getHealth, in the log and in the metrics until it is cleared."""
        if self.alarms.get(name) != text:
            log.error("alarm", name=name, text=text)
        self.alarms[name] = text
        metrics.ALARMS.labels(name).set(1)

    def clear_alarm(self, name: str) -> None:
        if self.alarms.pop(name, None) is not None:
            log.info("alarm is over", name=name)
            metrics.ALARMS.labels(name).set(0)

    def wake(self) -> None:
        """Lets the poster look again at once."""
        self.wake_poster.set()
        self.wake_poster = trio.Event()

    # -- groups ----------------------------------------------------------------------------------------------------

    def stamped(self, record: Record) -> Record:
        """The record with the sequencer's time in it."""
        return Record(record.op, int(self.unix_time()) & 0xFFFFFFFF, record.node, record.task, record.payload)

    def append(
        self,
        tx: db.Transaction,
        kind: GroupKind,
        task_id: bytes,
        pairs: Iterable[tuple[bytes, bytes]],
        expiry_slot: int = U64_MAX,
    ) -> GroupRow:
        """Puts (record, authorisation) pairs into the open batch as one group. LedgerRejection when one does not follow."""
        pairs = list(pairs)
        group = GroupRow(
            seq=self.chain.meta(tx).next_seq,
            kind=kind,
            task_id=task_id,
            records=[record for record, _ in pairs],
            authorisations=[authorisation for _, authorisation in pairs],
            expiry_slot=expiry_slot,
        )
        self.chain.append(tx, group)
        now = self.now()
        tx.after(lambda: self.opened(now))
        return group

    def reconcile(self, tx: db.Transaction, task_ids: Iterable[bytes]) -> None:
        """After the open batch was built anew: makes the tasks whose groups fell agree with the ledger."""
        state = tx.read(self.chain.position_cell).open.state
        for task_id in task_ids:
            self.tasks.reconcile(tx, task_id, state.task(task_id))

    def cut(self, cut: Cut) -> None:
        """The event in which the open batch becomes an epoch. ValueError when it changed since it was cut."""
        with self.database.transaction() as tx:
            self.reconcile(tx, self.chain.cut(tx, cut))
            for seq in cut.row.seqs:
                group = tx.get(db.GROUPS, db.u64be(seq))
                row = group and self.tasks.get(tx, group.task_id)
                if group and row and group.kind in (GroupKind.DECISION, GroupKind.REFUND) and row.status in _ENDED:
                    self.tasks.put(tx, replace(row, epoch=cut.row.epoch))
            now = self.now() if tx.read(self.chain.position_cell).open.records else None
            tx.after(lambda: setattr(self, "open_since", now))
        self.quorum_since, self.cut_at = None, self.now()
        self.traces[cut.row.hash] = cut.trace
        metrics.EPOCH.set(cut.row.epoch)
        metrics.BATCH_RECORDS.observe(cut.row.records)
        log.info(
            "epoch cut",
            epoch=cut.row.epoch,
            attempt=cut.row.attempt,
            records=cut.row.records,
            cut_slot=cut.row.cut_slot,
        )

    def opened(self, now: float) -> None:
        """The open batch holds something since now, unless it did before."""
        if self.open_since is None:
            self.open_since = now

    # -- results ---------------------------------------------------------------------------------------------------

    def result_of(self, tx: db.Reader, row: TaskRow) -> ResultRow | None:
        """The result that the task's commitment names, once it was revealed."""
        return None if row.commitment is None else tx.get(db.RESULTS, row.task_id + row.commitment)

    def verdicts_on(self, tx: db.Reader, row: TaskRow) -> list[VerdictRow]:
        if row.commitment is None:
            return []
        return [verdict for _, verdict in tx.scan(db.VERDICTS, row.task_id + row.commitment)]

    def decide(self, tx: db.Transaction, task_id: bytes) -> verification.Decision:
        """Decides a revealed result if its verdicts allow: votes, then PAYMENT or SLASH, go into the open batch as one group."""
        row = self.tasks.get(tx, task_id)
        if row is None or row.status is not Status.REVEALED:
            return verification.Decision.WAIT
        batch = tx.read(self.chain.position_cell).open
        validators = batch.context.validator_set
        usable = verification.valid(self.verdicts_on(tx, row), validators, batch.base_slot)
        counted = verification.tally(usable)
        accepted_at = max((v.given_slot for v in usable if v.verdict == Verdict.ACCEPT), default=0)
        decision = verification.decide(
            counted,
            validators,
            slots_since_acceptance=self.slot - accepted_at,
            grace_slots=self.config.verdict_grace_slots,
        )
        ledger_task = batch.state.task(task_id)
        if decision is verification.Decision.WAIT or ledger_task is None:
            return verification.Decision.WAIT
        accepted = decision is verification.Decision.ACCEPT
        voters = [v for v in usable if counted.given >> v.set_index & 1]
        worker = batch.state.account(ledger_task.worker)
        if worker is None:
            raise RuntimeError(f"task {task_id.hex()} was revealed by a worker without account")
        lamports = ledger_task.fee_lamports if accepted else worker.free_stake
        event = EconomicEvent(Event.PAYMENT if accepted else Event.SLASH, lamports=lamports)
        outcome = self.stamped(Record(Op.ECONOMIC_EVENT, 0, ledger_task.worker, task_id, event))
        pairs = [pair for verdict in voters for pair in self._vote_pairs(task_id, verdict)]
        pairs.append((records.encode(outcome), EMPTY.encode()))
        try:
            self.append(tx, GroupKind.DECISION, task_id, pairs, min(v.expiry_slot for v in voters))
        except LedgerRejection as rejection:
            if rejection.code is not ledger.Rejection.TOO_MANY_RECORDS:
                # The verdicts were counted by the ledger's own rules: this is a fault of the node's, and other tasks must go on.
                self.raise_alarm("ledger", f"the ledger refuses the decision on task {task_id.hex()}: {rejection}")
                log.error("decision refused by the ledger", task=task_id.hex(), error=str(rejection))
            return verification.Decision.WAIT
        self._note_decision(tx, row, voters, worker.public_key, accepted)
        return decision

    def _vote_pairs(self, task_id: bytes, verdict: VerdictRow) -> list[tuple[bytes, bytes]]:
        payload = VerificationProof(verdict.set_index, verdict.sample_signature)
        proof = self.stamped(Record(Op.VERIFICATION_PROOF, 0, node_id(verdict.authority), task_id, payload))
        return [(records.encode(proof), EMPTY.encode()), (verdict.record, verdict.authorisation)]

    def _note_decision(
        self, tx: db.Transaction, row: TaskRow, voters: list[VerdictRow], worker: bytes, accepted: bool
    ) -> None:
        result = self.result_of(tx, row)
        if accepted and result is not None:
            shares = [v.replayed / v.intervals for v in voters if v.verdict != Verdict.ABSTAIN and v.intervals]
            share = sum(shares) / len(shares) if shares else None
            self.tasks.step(tx, row, TaskEvent.ACCEPT, accuracy=result.accuracy, replayed_share=share)
            tx.after(metrics.TASKS_PAID.inc)
        else:
            reason = next(v.reason for v in voters if v.verdict == Verdict.REJECT)
            rejection = Rejection(worker=worker, reason=reason, commitment=row.commitment or b"")
            rejections = [*row.rejections, rejection]
            self.tasks.step(tx, row, TaskEvent.REJECT, worker=None, commitment=None, rejections=rejections)
            tx.after(metrics.TASKS_REJECTED.inc)
        log.info("result decided", task=row.task_id.hex(), accepted=accepted, voters=len(voters))

    def end_lease(self, tx: db.Transaction, row: TaskRow) -> None:
        """The lease is over without a result: the task goes back to the queue, to its old place."""
        if row.lease is None:
            raise RuntimeError(f"task {row.task_id.hex()} is {row.status.value} without a lease")
        task_id, worker, slot = row.task_id, row.lease.worker, self.slot
        self.tasks.step(tx, row, TaskEvent.EXPIRE, lease=None, worker=None, commitment=None)
        tx.after(lambda: self.lapses.note(task_id, worker, slot))

    def refund(self, tx: db.Transaction, row: TaskRow) -> None:
        """The task's deadline has passed in the ledger's time: its fee goes back to the client."""
        payload = EconomicEvent(Event.REFUND, lamports=row.fee_lamports)
        record = self.stamped(Record(Op.ECONOMIC_EVENT, 0, node_id(row.client), row.task_id, payload))
        self.append(tx, GroupKind.REFUND, row.task_id, [(records.encode(record), EMPTY.encode())])
        self.tasks.step(tx, row, TaskEvent.REFUND, lease=None)
        tx.after(metrics.TASKS_REFUNDED.inc)


_ENDED = frozenset({Status.PAID, Status.REFUNDED})
