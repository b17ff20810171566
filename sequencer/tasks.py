"""All task rows in memory with the views that the node needs of them: the queue, who holds a lease, what waits for verdicts.

Rows change through transactions only. What a row says must follow from the ledger; `reconcile` restores that after a batch was built anew.
"""

from __future__ import annotations

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
    """Task rows by id, oldest first."""

    def __init__(self, rows: Iterable[TaskRow]) -> None:
        self._rows: dict[bytes, TaskRow] = {}
        self.queue = TaskQueue()
        self.holders: dict[bytes, bytes] = {}
        self.active: set[bytes] = set()
        self.revealed: set[bytes] = set()
        for row in sorted(rows, key=lambda row: row.order):
            self._index(row)

    def __iter__(self) -> Iterator[TaskRow]:
        return iter(self._rows.values())

    def __reversed__(self) -> Iterator[TaskRow]:
        return reversed(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def committed(self, task_id: bytes) -> TaskRow | None:
        """The row as it is on the disk."""
        return self._rows.get(task_id)

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
        if before is not None and before.lease is not None:
            self.holders.pop(before.lease.worker, None)
        self._rows[row.task_id] = row
        if row.lease is not None and row.status in HELD:
            self.holders[row.lease.worker] = row.task_id
        _member(self.active, row.task_id, row.status not in TERMINAL)
        _member(self.revealed, row.task_id, row.status is Status.REVEALED)
        if row.status is Status.PENDING:
            self.queue.add(row.order, row.task_id)
        else:
            self.queue.discard(row.order, row.task_id)


def _member(group: set[bytes], task_id: bytes, belongs: bool) -> None:
    if belongs:
        group.add(task_id)
    else:
        group.discard(task_id)
