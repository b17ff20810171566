"""What is on its way to one WebSocket client, bounded in messages and bytes, per client and over all of them.

Nothing here waits for a client: one that does not read what it asked for is cut off, so that it costs no memory.
"""

from __future__ import annotations

from collections import deque

import trio

MAX_QUEUED_MESSAGES = 4_096
MAX_QUEUED_BYTES = 16 * 2**20
# Agave's default for its one queue (--rpc-pubsub-queue-capacity-bytes).
MAX_TOTAL_BYTES = 256 * 2**20
# A client's next call is read when fewer answers than this wait to be sent.
MAX_UNSENT_BEFORE_READING = 64


class Outbox:
    """The queue of one client, in the order of `put`. `cut_off_reason` is set once it is to be disconnected."""

    def __init__(self, total: Total) -> None:
        self._total = total
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._changed = trio.Event()
        self.cut_off_reason: str | None = None
        total.outboxes.add(self)

    @property
    def queued_bytes(self) -> int:
        return self._bytes

    def put(self, message: bytes) -> None:
        if self.cut_off_reason is not None:
            return
        self._queue.append(message)
        self._count(len(message))
        if len(self._queue) > MAX_QUEUED_MESSAGES:
            self.cut_off(f"more than {MAX_QUEUED_MESSAGES} notifications unread; read faster or subscribe to less")
        elif self._bytes > MAX_QUEUED_BYTES:
            self.cut_off(f"more than {MAX_QUEUED_BYTES} bytes unread; read faster or subscribe to less")
        elif self._total.bytes > MAX_TOTAL_BYTES:
            slowest = max(self._total.outboxes, key=lambda outbox: outbox.queued_bytes)
            slowest.cut_off("the slowest of too many slow clients; read faster or subscribe to less")
        self._wake()

    def cut_off(self, reason: str) -> None:
        self.cut_off_reason = reason
        self._clear()
        self._wake()

    async def get(self) -> bytes | None:
        """The next message; None when the client is to be cut off."""
        while not self._queue and self.cut_off_reason is None:
            await self._changed.wait()
        if self.cut_off_reason is not None:
            return None
        message = self._queue.popleft()
        self._count(-len(message))
        self._wake()
        return message

    async def until_short(self) -> None:
        """Returns when a client may be asked for its next call."""
        while len(self._queue) >= MAX_UNSENT_BEFORE_READING:
            await self._changed.wait()

    def close(self) -> None:
        self._clear()
        self._total.outboxes.discard(self)

    def _clear(self) -> None:
        self._queue.clear()
        self._count(-self._bytes)

    def _count(self, change: int) -> None:
        self._bytes += change
        self._total.bytes += change

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Total:
    """What all clients together have on the way."""

    def __init__(self) -> None:
        self.bytes = 0
        self.outboxes: set[Outbox] = set()
