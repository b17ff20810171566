"""The tasks that wait for a worker, oldest first. A view of the task rows: it is filled from them and never stored."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator


class TaskQueue:
    """Pending task ids in the order of their submission; a task that returns after a lease gets its old place back."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[bytes]:
        return (task_id for _, task_id in self._entries)

    def add(self, order: int, task_id: bytes) -> None:
        at = bisect_left(self._entries, (order, task_id))
        if self._entries[at : at + 1] != [(order, task_id)]:
            insort(self._entries, (order, task_id))

    def discard(self, order: int, task_id: bytes) -> None:
        at = bisect_left(self._entries, (order, task_id))
        if self._entries[at : at + 1] == [(order, task_id)]:
            del self._entries[at]
