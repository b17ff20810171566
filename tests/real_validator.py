"""A solana-test-validator with the program on it that can be frozen, killed and started again on its ledger, by its process id."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import trio
from solders.pubkey import Pubkey

from settlement import idl
from settlement.client import L1Client
from settlement.errors import L1Error

PORTS = 40  # RPC, WebSocket, faucet, gossip and its range
START_SECONDS = 90
INSTALLED = Path("~/.cache/pouw-tools/bin").expanduser()


class RealValidator:
    """`first_port` is that of JSON-RPC; the next 39 are taken too."""

    def __init__(self, folder: Path, first_port: int, authority: Pubkey, mint: Pubkey) -> None:
        binary = shutil.which("solana-test-validator", path=f"{os.environ['PATH']}:{INSTALLED}")
        assert binary is not None, f"solana-test-validator is neither on the PATH nor in {INSTALLED}"
        self._log = folder / "log"
        self.url = f"http://127.0.0.1:{first_port}"
        self._command = [
            *(binary, "--quiet", "--ledger", f"{folder}/ledger", "--bind-address", "127.0.0.1"),
            *("--rpc-port", str(first_port), "--faucet-port", str(first_port + 2)),
            *("--gossip-port", str(first_port + 3)),
            *("--dynamic-port-range", f"{first_port + 4}-{first_port + PORTS}", "--mint", str(mint)),
            *("--upgradeable-program", str(idl.committed().address), str(idl.PROGRAM_PATH), str(authority)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Starts it, on the ledger that is there, and waits until it makes blocks."""
        self._process = self._spawn()
        with trio.fail_after(START_SECONDS):
            async with L1Client(self.url) as client:
                while True:
                    assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
                    try:
                        before = await client.get_slot("confirmed")
                        await trio.sleep(0.5)
                        if await client.get_slot("confirmed") > before:
                            return
                    except L1Error:
                        await trio.sleep(0.2)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as when the machine goes down."""
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
