"""The tasks that are not settled, in memory, with the views that the node needs of them: the queue, who holds a lease, what waits for
verdicts. A task whose end stands in a final epoch is on the disk only, so that memory does not grow with history.

Rows change through transactions only. What a row says must follow from the ledger; `reconcile` restores that after a batch was built anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from sequencer import database as db
from sequencer.lifecycle import Status, TaskEvent, next_status
from sequencer.rows import TaskRow
from sequencer.task_queue import TaskQueue
from settlement.ledger import Task, TaskStatus

TERMINAL = frozenset({Status.PAID, Status.REFUNDED})
HELD = frozenset({Status.LEASED, Status.COMMITTED})
_LEDGER = {
    Status.PENDING: TaskStatus.PENDING,
    Status.LEASED: TaskStatus.PENDING,
    Status.COMMITTED: TaskStatus.PENDING,
    Status.REVEALED: TaskStatus.REVEALED,
    Status.PAID: TaskStatus.PAID,
    Status.REFUNDED: TaskStatus.REFUNDED,
}


class TaskBook:
    """Task rows by id, oldest first. `paid` and `rejected` count results by worker, settled ones too."""

    def __init__(self, rows: Iterable[TaskRow], database: db.Reader | None = None, final_epoch: int = 0) -> None:
        """All stored rows; those settled up to `final_epoch` are counted, and from then on read from `database`."""
        self._rows: dict[bytes, TaskRow] = {}
        self._database = database
        self.paid: Counter[bytes] = Counter()
        self.rejected: Counter[bytes] = Counter()
        self.queue = TaskQueue()
        self.holders: dict[bytes, bytes] = {}
        self.active: set[bytes] = set()
        self.revealed: set[bytes] = set()
        live = []
        for row in rows:
            if database is not None and self.is_settled(row, final_epoch):
                self._count(row, 1)
            else:
                live.append(row)
        for row in sorted(live, key=lambda row: row.order):
            self._index(row)

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._rows)

    @staticmethod
    def is_settled(row: TaskRow, final_epoch: int) -> bool:
        """Whether nothing can change the task any more: it ended in an epoch that is final."""
        return row.status in TERMINAL and row.epoch is not None and row.epoch <= final_epoch

    def settle(self, tx: db.Transaction, final_epoch: int) -> None:
        """An epoch is final: what ended in it leaves memory."""
        if self._database is not None:
            tx.after(lambda: self._forget_settled(final_epoch))

    def committed(self, task_id: bytes) -> TaskRow | None:
        """The row as it is on the disk."""
        row = self._rows.get(task_id)
        if row is None and self._database is not None:
            row = self._database.get(db.TASKS, task_id)
        return row

    def newest(self, below: int, *, settled: bool) -> Iterator[TaskRow]:
        """The tasks whose place in the order is below `below`, newest first; those in memory only unless `settled` ones are wanted too."""
        if not settled or self._database is None:
            yield from (row for row in reversed(self._rows.values()) if row.order < below)
            return
        for order in range(below - 1, -1, -1):
            place = self._database.get(db.ORDERS, db.u64be(order))
            row = self.committed(place.task_id) if place else None
            if row is not None:
                yield row

    def pending(self) -> Iterator[TaskRow]:
        return (self._rows[task_id] for task_id in self.queue)

    def get(self, tx: db.Transaction, task_id: bytes) -> TaskRow | None:
        """The row as this transaction has it."""
        return tx.get(db.TASKS, task_id)

    def put(self, tx: db.Transaction, row: TaskRow) -> None:
        tx.put(db.TASKS, row.task_id, row)
        tx.after(lambda: self._index(row))

    def step(self, tx: db.Transaction, row: TaskRow, event: TaskEvent, **fields: object) -> TaskRow:
        """Moves the task by one event of the table. IllegalTransition leaves all as it was."""
        row = replace(row, status=next_status(row.status, event), **fields)
        self.put(tx, row)
        return row

    def drop(self, tx: db.Transaction, row: TaskRow) -> None:
        """Forgets a task that nobody holds and the ledger does not have, nor ever will."""
        tx.delete(db.TASKS, row.task_id)
        tx.delete(db.ORDERS, db.u64be(row.order))

        def forget() -> None:
            del self._rows[row.task_id]
            self.active.discard(row.task_id)
            self.queue.discard(row.order, row.task_id)

        tx.after(forget)

    def reconcile(self, tx: db.Transaction, task_id: bytes, ledger: Task | None) -> None:
        """Makes the row agree with the ledger after the batch under it changed. A task whose submission waits is left pending."""
        row = self.get(tx, task_id)
        if row is None:
            return
        status = TaskStatus.PENDING if ledger is None else ledger.status
        if status is TaskStatus.REVEALED and ledger is not None:
            rejections = [r for r in row.rejections if r.commitment != ledger.commitment]
            if row.status is not Status.REVEALED or row.commitment != ledger.commitment:
                result = tx.get(db.RESULTS, task_id + ledger.commitment)
                fields = {"lease": None, "commitment": ledger.commitment, "rejections": rejections, "epoch": None}
                self.step(tx, row, TaskEvent.UNDECIDE, worker=result and result.worker, **fields)
        elif _LEDGER[row.status] is not status:
            event = TaskEvent.UNREVEAL
            fields = {"lease": None, "worker": None, "commitment": None, "epoch": None, "accuracy": None}
            self.step(tx, row, event, replayed_share=None, **fields)
        elif row.epoch is not None:
            self.put(tx, replace(row, epoch=None))

    def _index(self, row: TaskRow) -> None:
        before = self._rows.get(row.task_id)
        if before is not None:
            self._count(before, -1)
            if before.lease is not None:
                self.holders.pop(before.lease.worker, None)
        self._count(row, 1)
        self._rows[row.task_id] = row
        if row.lease is not None and row.status in HELD:
            self.holders[row.lease.worker] = row.task_id
        _member(self.active, row.task_id, row.status not in TERMINAL)
        _member(self.revealed, row.task_id, row.status is Status.REVEALED)
        if row.status is Status.PENDING:
            self.queue.add(row.order, row.task_id)
        else:
            self.queue.discard(row.order, row.task_id)

    def _forget_settled(self, final_epoch: int) -> None:
        for task_id in [row.task_id for row in self._rows.values() if self.is_settled(row, final_epoch)]:
            del self._rows[task_id]

    def _count(self, row: TaskRow, change: int) -> None:
        if row.status is Status.PAID and row.worker is not None:
            self.paid[row.worker] += change
        for rejection in row.rejections:
            self.rejected[rejection.worker] += change


def _member(group: set[bytes], task_id: bytes, belongs: bool) -> None:
    if belongs:
        group.add(task_id)
    else:
        group.discard(task_id)
