"""A child process for heavy work, spoken to in lines of JSON: the loop beside it stays live, a crash or a kill of the child does not take
the loop down, and cancelling a call ends the work at once because it ends the child.

The child outlives no parent: its standard input ends with the parent, and with it the child, even in the middle of a computation.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any

import trio

MAX_LINE_BYTES = 8 * 1024 * 1024


class ChildError(Exception):
    """The child refused the request. `kind` is the name of the exception it raised there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class ChildDied(Exception):
    """The child ended in the middle of a request; the next request starts a new one."""


class Child:
    """`python -m module arguments`, started by the first call. One call at a time; others wait their turn."""

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._turn = trio.Lock()
        self._process: trio.Process | None = None
        self._rest = bytearray()

    async def call(self, op: str, *, on_progress: Callable[[Any], None] | None = None, **arguments: Any) -> Any:
        """What the child's handler `op` returns. ChildError when it refuses, ChildDied when the process ends; ends the child when cancelled.

        `on_progress` is given what a handler that is a generator yields before it returns.
        """
        async with self._turn:
            try:
                return await self._call(json.dumps({"op": op, **arguments}).encode() + b"\n", on_progress)
            except (trio.Cancelled, ChildDied):
                await self._end()
                raise

    async def _call(self, line: bytes, on_progress: Callable[[Any], None] | None) -> Any:
        if self._process is None or self._process.poll() is not None:
            await self._end()
            self._process = await trio.lowlevel.open_process(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            await self._process.stdin.send_all(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ChildDied(f"{self._command[2]} ended before it took the request") from error
        while "progress" in (reply := json.loads(await self._line(self._process))):
            if on_progress is not None:
                on_progress(reply["progress"])
        if "error" in reply:
            raise ChildError(reply["error"]["kind"], reply["error"]["message"])
        return reply["value"]

    async def _line(self, process: trio.Process) -> bytes:
        assert process.stdout is not None
        while b"\n" not in self._rest:
            chunk = await process.stdout.receive_some(65_536)
            if not chunk or len(self._rest) > MAX_LINE_BYTES:
                raise ChildDied(f"{self._command[2]} ended in the middle of a request (exit code {process.poll()})")
            self._rest += chunk
        line, _, rest = bytes(self._rest).partition(b"\n")
        self._rest = bytearray(rest)
        return line

    async def _end(self) -> None:
        process, self._process, self._rest = self._process, None, bytearray()
        if process is None:
            return
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None


@asynccontextmanager
async def open_child(module: str, arguments: Sequence[str] = ()):  # type: ignore[no-untyped-def]
    """A Child that is gone when the block is left."""
    child = Child(module, arguments)
    try:
        yield child
    finally:
        await child._end()


def serve(handlers: Mapping[str, Callable[..., Any]]) -> None:
    """The child's side: answers requests until standard input ends. What a handler prints goes to standard error; what it yields,
    when it is a generator, goes to the caller's `on_progress`."""
    # The parent ends this process; a signal to the whole group must not take the answer away from it first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    requests: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            value = handlers[request.pop("op")](**request)
            if isinstance(value, Generator):
                value = _exhaust(value, answers)
            reply = {"value": value}
        except (ValueError, ArithmeticError, RuntimeError, OSError, MemoryError) as error:
            traceback.print_exc()
            reply = {"error": {"kind": type(error).__name__, "message": str(error)}}
        answers.write(json.dumps(reply).encode() + b"\n")


def _exhaust(running: Generator[Any, None, Any], answers: IO[bytes]) -> Any:
    """Passes on what it yields, a line each; what it returns."""
    while True:
        try:
            said = next(running)
        except StopIteration as ended:
            return ended.value
        answers.write(json.dumps({"progress": said}).encode() + b"\n")


def _read(requests: "queue.Queue[bytes]") -> None:
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)
