"""When a slot ends. The bank takes the time as an argument; these are the two sources of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import trio

# Target time of a slot on a cluster: DEFAULT_MS_PER_SLOT.
DEFAULT_SLOT_MS = 400

Tick = Callable[[float], None]


class SlotClock(Protocol):
    """Calls `tick(unix_time)` at the end of every slot, until it is cancelled."""

    def now(self) -> float: ...

    async def run(self, tick: Tick) -> None: ...


class IntervalClock:
    """A slot every `slot_ms` of real time. After a stall it goes on from now: slots are not made up for."""

    def __init__(self, slot_ms: float = DEFAULT_SLOT_MS) -> None:
        if not slot_ms > 0:
            raise ValueError(f"a slot lasts {slot_ms} ms; it must be more than 0")
        self._slot_seconds = slot_ms / 1000

    def now(self) -> float:
        return time.time()

    async def run(self, tick: Tick) -> None:
        deadline = trio.current_time()
        while True:
            deadline = max(deadline + self._slot_seconds, trio.current_time())
            await trio.sleep_until(deadline)
            tick(self.now())


class ManualClock:
    """For tests: slots pass when `advance` is called, each 400 ms of chain time, and at no other moment."""

    def __init__(self, start_unix_time: float = 1_800_000_000) -> None:
        self._now = start_unix_time
        self._tick: Tick | None = None

    def now(self) -> float:
        return self._now

    async def run(self, tick: Tick) -> None:
        self._tick = tick
        try:
            await trio.sleep_forever()
        finally:
            self._tick = None

    def advance(self, slots: int = 1) -> None:
        """Ends that many slots before it returns. Raises RuntimeError when no localnet runs by this clock."""
        for _ in range(slots):
            if self._tick is None:
                raise RuntimeError("no localnet runs by this clock")
            self._now += DEFAULT_SLOT_MS / 1000
            self._tick(self._now)
