"""The embedded L1 and a real solana-test-validator, each as a process of its own on free loopback ports, for as long as a `with` lasts."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

TEST_VALIDATOR_PORTS = 41  # what one takes at most: RPC, WebSocket, faucet, gossip and its range
START_SECONDS = 120
STOP_SECONDS = 30
START_TRIES = 3
POLL_SECONDS = 0.02
TOOLS = Path("~/.cache/pouw-tools/bin").expanduser()
ROOT = Path(__file__).parents[1]


class L1Missing(RuntimeError):
    """There is no solana-test-validator on this machine; the message says how to get one."""


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


def find_test_validator() -> str:
    """Raises L1Missing."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(TOOLS)])
    binary = shutil.which("solana-test-validator", path=path)
    if binary is None:
        raise L1Missing(
            f"solana-test-validator is neither on the PATH nor in {TOOLS}; scripts/install_tools.sh builds it"
        )
    return binary


@contextmanager
def embedded(*flags: str) -> Iterator[L1Process]:
    """`python -m localnet` with these flags. Raises L1NotStarted."""

    def command(first: int) -> list[str]:
        return [sys.executable, "-m", "localnet", "--rpc-port", str(first), *flags]

    with _running(command, 2) as process:
        yield process


@contextmanager
def solana_test_validator(*flags: str) -> Iterator[L1Process]:
    """A solana-test-validator on an empty ledger. Raises L1Missing, L1NotStarted."""
    binary = find_test_validator()
    with tempfile.TemporaryDirectory(prefix="pouw-test-validator-") as folder:

        def command(first: int) -> list[str]:
            ports = ["--rpc-port", str(first), "--faucet-port", str(first + 2), "--gossip-port", str(first + 3)]
            ports += ["--dynamic-port-range", f"{first + 4}-{first + TEST_VALIDATOR_PORTS - 1}"]
            where = ["--reset", "--quiet", "--ledger", f"{folder}/ledger", "--bind-address", "127.0.0.1"]
            return [binary, *where, *ports, *flags]

        with _running(command, TEST_VALIDATOR_PORTS) as process:
            yield process


@contextmanager
def _running(command: Callable[[int], Sequence[str]], ports: int) -> Iterator[L1Process]:
    with tempfile.TemporaryFile() as log, httpx.Client(timeout=60) as http:
        for _ in range(START_TRIES):
            first = free_ports(ports)
            url = f"http://127.0.0.1:{first}"
            log.truncate(0)
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
    with httpx.Client(timeout=10) as http:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if http.post(url, json=body).json().get("result") == "ok":
                    return True
            except (httpx.HTTPError, ValueError):  # not listening yet, or not yet speaking JSON
                pass
            time.sleep(POLL_SECONDS)
    return False


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that were free a moment ago, TCP and UDP, none of which the system gives to clients.

    Raises L1NotStarted.
    """
    blocks = list(range(20_000, 32_000 - count, count))
    random.shuffle(blocks)  # others on this machine look for ports too
    for first in blocks:
        sockets: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    sockets.append(socket.socket(type=kind))
                    sockets[-1].bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
        return first
    raise L1NotStarted(f"no {count} free ports in a row")
