"""Processes that a test starts and that start others: none outlives the test, even one that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def ended_with_us(leader: subprocess.Popen[Any]) -> Iterator[None]:
    """Its process group, in which the L1 runs on when the shell is done, is killed afterwards, and also when this process itself is: a shell
    of its own reads from a pipe that only we could write to, until we are gone."""
    script = f"read -r _; kill -KILL -{leader.pid}"
    with subprocess.Popen(
        ["bash", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ):  # which closes the pipe and waits
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(leader.pid, signal.SIGKILL)
            leader.wait()
