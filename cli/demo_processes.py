"""Starts and ends the demo's processes.

Each child leads a process group of its own and is told by the kernel to end when the demo dies, so that neither Ctrl-C nor a kill -9 of the demo
leaves a process behind. Ending is SIGTERM, a grace, then SIGKILL to the whole group.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import trio

GRACE_SECONDS = 8.0
_PR_SET_PDEATHSIG = 1


class ChildFailed(Exception):
    """A process of the demo ended by itself; the message ends with the last lines it wrote."""


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raises ChildFailed if it is not running any more."""
        code = self.process.poll()
        if code is not None:
            raise ChildFailed(f"{self.name} ended by itself (exit code {code}); its last lines:\n{self.tail()}")


@dataclass
class Supervisor:
    """Owns the children and the folder of their logs; ``end_all`` is safe to call at any time and twice.

    ``temporary`` is where children put what they would leave in the system's folder for temporary files.
    """

    folder: Path
    temporary: Path
    children: list[Child] = field(default_factory=list)

    def start(self, name: str, arguments: Sequence[str], *, environment: dict[str, str] | None = None) -> Child:
        log = self.folder / f"{name}.log"
        sink: IO[bytes]
        with log.open("ab") as sink:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                env={**os.environ, "TMPDIR": str(self.temporary), **(environment or {})},
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def start_python(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> Child:
        return self.start(name, [sys.executable, *arguments], environment=environment)

    def check(self) -> None:
        for child in self.children:
            child.check()

    async def watch(self) -> None:
        """Runs until a child ends by itself, which is an error."""
        while True:
            self.check()
            await trio.sleep(0.25)

    async def kill(self, child: Child) -> None:
        """SIGKILL to the child's whole group; it counts as one of ours no more."""
        _signal_group(child, signal.SIGKILL)
        await trio.to_thread.run_sync(child.process.wait)
        self.children.remove(child)

    async def end_all(self) -> None:
        """Ends the children, last started first: those that others depend on go last."""
        with trio.CancelScope(shield=True):
            for child in reversed(self.children):
                await end(child)
            self.children.clear()


async def end(child: Child) -> None:
    """SIGTERM, then SIGKILL after the grace, both to the whole group; returns when the group is gone."""
    _signal_group(child, signal.SIGTERM)
    with trio.move_on_after(GRACE_SECONDS):
        while child.process.poll() is None:
            await trio.sleep(0.02)
    _signal_group(child, signal.SIGKILL)
    child.process.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    try:
        os.killpg(child.process.pid, number)
    except ProcessLookupError:
        return  # the group is gone: that is what was wanted
