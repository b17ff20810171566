"""Waiting for what is not there yet: processes may be started in any order, and L1 may be away for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
import trio

from settlement.errors import L1Disagreement, L1RpcError, L1Unreachable, NotInitialized

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.25, 5.0
PASSING = (L1Unreachable, L1Disagreement, L1RpcError, NotInitialized)
T = TypeVar("T")


async def until_l1_answers(ask: Callable[[], Awaitable[T]], log: structlog.stdlib.BoundLogger) -> T:
    """What `ask` returns once L1 is there and the program initialised; each new reason to wait is logged once. All other errors pass."""
    pause, said = FIRST_PAUSE_SECONDS, ""
    while True:
        try:
            return await ask()
        except PASSING as error:
            if str(error) != said:
                log.info("waiting for L1", reason=str(error))
            said = str(error)
        await trio.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE_SECONDS)
