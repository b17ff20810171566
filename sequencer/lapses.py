"""Who let a lease on which task end without a result, and how long others go first for it. In memory only: it orders leases and nothing else.

A worker whose machine fails, or whose reveal does not match what it committed to, would otherwise get the same task again and again, being the
first to ask when its own lease ends. Its first failures cost it nothing; after that it waits, each time twice as long, and others do not.
"""

from __future__ import annotations

from collections.abc import Container

FREE = 2
MAX_LEASES_WAITED = 64


class Lapses:
    """Leases that ended without a result, by task and worker, each with the slot of the last."""

    def __init__(self) -> None:
        self._by_task: dict[bytes, dict[bytes, tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self._by_task)

    def note(self, task_id: bytes, worker: bytes, slot: int) -> None:
        """A lease of this worker's on this task ended at `slot` without a result."""
        workers = self._by_task.setdefault(task_id, {})
        count, _ = workers.get(worker, (0, 0))
        workers[worker] = (count + 1, slot)

    def free_at(self, task_id: bytes, worker: bytes, lease_slots: int) -> int:
        """The slot from which this worker may have the task again; 0 when it never had to wait."""
        count, slot = self._by_task.get(task_id, {}).get(worker, (0, 0))
        if count < FREE:
            return 0
        return slot + lease_slots * min(1 << (count - FREE), MAX_LEASES_WAITED)

    def forget_all_but(self, active: Container[bytes]) -> None:
        """Drops the tasks that are over."""
        for task_id in [task_id for task_id in self._by_task if task_id not in active]:
            del self._by_task[task_id]
