"""A worker or validator that is killed with SIGKILL at a named point, for tests: the real loop, with the kill put before or after one call.

python -m tests.validator.killed worker committed CONFIG_JSON
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import trio

import validator.loop
import worker.loop
from settlement.sequencer_client import SequencerClient
from validator.config import ValidatorConfig
from worker.client import WorkerClient
from worker.config import WorkerConfig


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_before(owner: type, name: str) -> None:
    async def killed(*_: Any, **__: Any) -> None:
        _die()

    setattr(owner, name, killed)


def _die_after(owner: type, name: str) -> None:
    original = getattr(owner, name)

    async def killed(*arguments: Any, **named: Any) -> None:
        await original(*arguments, **named)
        _die()

    setattr(owner, name, killed)


def _attested() -> None:
    """Dies when the vote is in the slashing-protection database and its signature about to leave."""
    original = SequencerClient.call_signed

    async def killed(self: SequencerClient, method: str, params: Any = None) -> Any:
        if method == "submitAttestation":
            _die()
        return await original(self, method, params)

    SequencerClient.call_signed = killed  # type: ignore[method-assign]


POINTS: dict[str, Callable[[], None]] = {
    "sealed": lambda: _die_before(WorkerClient, "commit"),
    "committed": lambda: _die_after(WorkerClient, "commit"),
    "revealed": lambda: _die_after(WorkerClient, "reveal"),
    "attested": _attested,
    "never": lambda: None,
}


def main() -> None:
    room, point, config = sys.argv[1:]
    POINTS[point]()
    if room == "worker":
        trio.run(worker.loop.run, WorkerConfig(**json.loads(config)))
    else:
        trio.run(validator.loop.run, ValidatorConfig(**json.loads(config)))


if __name__ == "__main__":
    main()
