"""The embedded L1 and a real solana-test-validator, each as a process of its own on free loopback ports, for as long as a `with` lasts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from localnet import real_validator

START_SECONDS = 120
STOP_SECONDS = 30
START_TRIES = 3
POLL_SECONDS = 0.02
ROOT = Path(__file__).parents[1]


class L1NotStarted(RuntimeError):
    """The process ended or was not healthy in time; the message holds the end of its log."""


@dataclass(frozen=True)
class L1Process:
    rpc_url: str
    websocket_url: str
    pid: int
    # From starting the process to the first getHealth that says "ok".
    start_seconds: float
    _http: httpx.Client

    def call(self, method: str, *params: object) -> object:
        """The result. Raises RuntimeError with the error."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._http.post(self.rpc_url, json=body).json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def resident_bytes(self) -> int:
        """Memory of the process that is in RAM. Linux only."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def cpu_seconds(self) -> float:
        """Processor time that the process has used in all its threads. Linux only."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc(5)


@contextmanager
def embedded(*flags: str) -> Iterator[L1Process]:
    """`python -m localnet` with these flags. Raises L1NotStarted."""

    def command(first: int) -> list[str]:
        return [sys.executable, "-m", "localnet", "--rpc-port", str(first), *flags]

    with _running(command, 2) as process:
        yield process


@contextmanager
def solana_test_validator(*flags: str) -> Iterator[L1Process]:
    """A solana-test-validator on an empty ledger. Raises ValidatorMissing, L1NotStarted."""
    with tempfile.TemporaryDirectory(prefix="pouw-test-validator-") as folder:

        def command(first: int) -> list[str]:
            return real_validator.command(Path(folder, "ledger"), first, "--reset", *flags)

        with _running(command, real_validator.PORTS) as process:
            yield process


@contextmanager
def _running(command: Callable[[int], Sequence[str]], ports: int) -> Iterator[L1Process]:
    with tempfile.TemporaryFile() as log, httpx.Client(timeout=60, trust_env=False) as http:
        for _ in range(START_TRIES):
            first = real_validator.free_ports(ports)
            url = f"http://127.0.0.1:{first}"
            log.seek(0)
            log.truncate()
            began = time.monotonic()
            process = subprocess.Popen(command(first), stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
            try:
                if _healthy(url, process):
                    started = time.monotonic() - began
                    yield L1Process(url, f"ws://127.0.0.1:{first + 1}", process.pid, started, http)
                    return
            finally:
                _stop(process)
            log.seek(0)
            said = log.read().decode(errors="replace")[-2000:]
            # Ports that were free a moment ago need not be any more.
            if "already in use" not in said.lower():
                break
    raise L1NotStarted(f"{command(first)[0]} did not start: {said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _healthy(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    body = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}
    with httpx.Client(timeout=10, trust_env=False) as http:  # a proxy for the world is none for loopback
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if http.post(url, json=body).json().get("result") == "ok":
                    return True
            except (httpx.HTTPError, ValueError):  # not listening yet, or not yet speaking JSON
                pass
            time.sleep(POLL_SECONDS)
    return False
