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
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

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

    async def call(self, op: str, **arguments: Any) -> Any:
        """What the child's handler `op` returns. ChildError when it refuses, ChildDied when the process ends; ends the child when cancelled."""
        async with self._turn:
            try:
                return await self._call(json.dumps({"op": op, **arguments}).encode() + b"\n")
            except (trio.Cancelled, ChildDied):
                await self._end()
                raise

    async def _call(self, line: bytes) -> Any:
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
        while b"\n" not in self._rest:
            chunk = await self._process.stdout.receive_some(65_536)
            if not chunk or len(self._rest) > MAX_LINE_BYTES:
                raise ChildDied(
                    f"{self._command[2]} ended in the middle of a request (exit code {self._process.poll()})"
                )
            self._rest += chunk
        answer, _, rest = bytes(self._rest).partition(b"\n")
        self._rest = bytearray(rest)
        reply = json.loads(answer)
        if "error" in reply:
            raise ChildError(reply["error"]["kind"], reply["error"]["message"])
        return reply["value"]

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
    """The child's side: answers requests until standard input ends. What a handler prints goes to standard error."""
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
            reply = {"value": handlers[request.pop("op")](**request)}
        except (ValueError, ArithmeticError, RuntimeError, OSError, MemoryError) as error:
            traceback.print_exc()
            reply = {"error": {"kind": type(error).__name__, "message": str(error)}}
        answers.write(json.dumps(reply).encode() + b"\n")


def _read(requests: "queue.Queue[bytes]") -> None:
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)
