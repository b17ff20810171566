"""Named points at which a test can kill this process as kill -9 would, between one durable write and the next step.

POUW_CRASH_AT=name ends the process the first time that point is reached: task_acknowledged, committed, revealed, attested_unsent,
posted_unconfirmed, finalized_unclaimed. Nothing is flushed and no handler runs, so only what was fsynced before is found again.
"""

from __future__ import annotations

import os

POINTS = frozenset(
    {"task_acknowledged", "committed", "revealed", "attested_unsent", "posted_unconfirmed", "finalized_unclaimed"}
)
_ARMED = os.environ.get("POUW_CRASH_AT")
if _ARMED is not None and _ARMED not in POINTS:
    raise ValueError(f"POUW_CRASH_AT={_ARMED} is no crash point; there are {', '.join(sorted(POINTS))}")


def point(name: str) -> None:
    if name == _ARMED:
        os._exit(137)
