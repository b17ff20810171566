"""A solana-test-validator with the program on it that can be frozen, killed and started again on its ledger, by its process id."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import trio
from solders.pubkey import Pubkey

from localnet import real_validator
from settlement import idl
from settlement.client import L1Client
from settlement.errors import L1Error

START_SECONDS = 90


class RealValidator:
    """JSON-RPC is at `url`, its WebSocket at `websocket_url`, on ports that were free a moment ago."""

    def __init__(
        self, folder: Path, authority: Pubkey, mint: Pubkey, program_id: Pubkey | None = None, *flags: str
    ) -> None:
        port = real_validator.free_ports(real_validator.PORTS)
        program = [str(program_id or idl.committed().address), str(idl.PROGRAM_PATH), str(authority)]
        self._log = folder / "log"
        self.url, self.websocket_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port + 1}"
        self._command = real_validator.command(
            folder / "ledger", port, "--mint", str(mint), "--upgradeable-program", *program, *flags
        )
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
