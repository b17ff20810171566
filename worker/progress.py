"""What a training says of itself while it runs: for watching only, so nothing is awaited for it and losing it loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio


class Progress:
    """The points of one training so far, as renewLease takes them (docs/rpc.md)."""

    def __init__(self) -> None:
        self._steps = 0
        self._points: list[dict[str, Any]] = []
        self._news = trio.Event()

    def note(self, said: Mapping[str, Any]) -> None:
        """One boundary passed: {"step", "steps", "loss", "accuracy"?}, as worker.executor reports it."""
        self._steps = said["steps"]
        self._points.append({key: said[key] for key in ("step", "loss", "accuracy") if key in said})
        self._news.set()

    async def news(self) -> None:
        """Returns once something was noted that `take` has not given yet."""
        await self._news.wait()

    def take(self) -> dict[str, Any] | None:
        """All points so far; None before the first."""
        self._news = trio.Event()
        return {"steps": self._steps, "points": list(self._points)} if self._points else None
