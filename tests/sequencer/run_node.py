"""A sequencer as a process of its own: python -m tests.sequencer.run_node '<SequencerConfig as JSON>'. Prints its port once it is ready."""

from __future__ import annotations

import signal
import sys

import trio

from sequencer import logs, service
from sequencer.config import SequencerConfig


async def main() -> None:
    config = SequencerConfig.model_validate_json(sys.argv[1])
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            print(await nursery.start(service.run, config), flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logs.configure()
    trio.run(main)
