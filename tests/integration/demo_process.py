"""`pouw demo` as a process of a test's own, and all that it starts: found by a mark in their environment, which every child inherits."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

MARK = "POUW_TEST_MARK"
LIMIT_SECONDS = 600.0
LISTEN = "0A"


@dataclass
class Demo:
    """`temporary` is where it may put folders; `stdout` and `stderr` are files."""

    process: subprocess.Popen[bytes]
    mark: str
    temporary: Path
    stdout: Path
    stderr: Path

    def said(self) -> str:
        return self.stderr.read_text(errors="replace")

    async def until_said(self, text: str) -> None:
        with trio.fail_after(LIMIT_SECONDS):
            while text not in self.said():
                assert self.process.poll() is None, self.said()
                await trio.sleep(0.1)

    async def wait(self) -> int:
        """The exit code."""
        with trio.fail_after(LIMIT_SECONDS):
            while self.process.poll() is None:
                await trio.sleep(0.1)
        return int(self.process.returncode)

    def processes(self) -> dict[int, str]:
        """All that lives of it, by pid with the command line."""
        return {pid: command for pid in _pids() if (command := _command(pid, self.mark)) is not None}

    def ports(self) -> set[int]:
        """The TCP ports that these processes listen on."""
        inodes = {inode for pid in self.processes() for inode in _sockets(pid)}
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {int(row[1].partition(":")[2], 16) for row in rows if row[3] == LISTEN and row[9] in inodes}

    async def left_nothing(self, ports: set[int], seconds: float = 0) -> None:
        """No process, no port, no folder is left, `seconds` after its end at the latest."""
        with trio.move_on_after(seconds):
            while self.processes():
                await trio.sleep(0.1)
        assert self.processes() == {}
        assert [port for port in ports if _is_open(port)] == []
        assert list(self.temporary.iterdir()) == []


@contextmanager
def demo(folder: Path, *arguments: str | Path) -> Iterator[Demo]:
    """`pouw demo ARGUMENTS` in a session of its own; whatever it leaves is killed."""
    mark, temporary = secrets.token_hex(16), folder / "tmp"
    temporary.mkdir(parents=True)
    stdout, stderr = folder / "stdout", folder / "stderr"
    environment = {**os.environ, MARK: mark, "TMPDIR": str(temporary), "CUDA_VISIBLE_DEVICES": ""}
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "demo", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment,
            start_new_session=True,
        )
    running = Demo(process, mark, temporary, stdout, stderr)
    try:
        yield running
    finally:
        for pid in running.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def the_only_line(path: Path) -> Any:
    """The JSON that is all there is in the file, on one line."""
    text = path.read_text()
    assert text.count("\n") == 1 and text.endswith("\n"), text
    return json.loads(text)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command(pid: int, mark: str) -> str | None:
    """The command line of a live process with this mark."""
    with suppress(OSError):  # it ended, or is somebody else's
        if f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return None


def _sockets(pid: int) -> list[str]:
    found = []
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(entry)
                if target.startswith("socket:["):
                    found.append(target[8:-1])
    return found


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
