"""Where a real solana-test-validator is on this machine, and how one is started beside others: what holds on the embedded L1 is held against it
too."""

from __future__ import annotations

import os
import random
import shutil
import socket
from pathlib import Path

PORTS = 41
"""What one takes at most, in a row: RPC, WebSocket, faucet, gossip and its range."""
CLIENT_PORTS_FROM = 32_000
"""Linux gives ports above to clients: whoever listens there may find its port taken."""


class ValidatorMissing(RuntimeError):
    """There is no solana-test-validator on this machine."""


class NoFreePorts(RuntimeError):
    """Everything is taken."""


def find() -> str:
    """Raises ValidatorMissing."""
    tools = Path(os.environ.get("POUW_TOOLS") or "~/.cache/pouw-tools").expanduser() / "bin"
    found = shutil.which("solana-test-validator", path=os.pathsep.join([os.environ.get("PATH", ""), str(tools)]))
    if found is None:
        raise ValidatorMissing(
            f"solana-test-validator is neither on the PATH nor in {tools}: install the Solana tools, or scripts/install_tools.sh builds it"
        )
    return found


def command(ledger: Path, first_port: int, *flags: str) -> list[str]:
    """One on loopback that answers JSON-RPC on `first_port` and takes the PORTS - 1 after it. Raises ValidatorMissing."""
    ports = {"--rpc-port": first_port, "--faucet-port": first_port + 2, "--gossip-port": first_port + 3}
    where = [word for name, port in ports.items() for word in (name, str(port))]
    where += ["--dynamic-port-range", f"{first_port + 4}-{first_port + PORTS - 1}", "--bind-address", "127.0.0.1"]
    return [find(), "--quiet", "--ledger", str(ledger), *where, *flags]


def free_ports(count: int) -> int:
    """The first of `count` loopback ports in a row that were free a moment ago, TCP and UDP. Raises NoFreePorts."""
    blocks = list(range(20_000, CLIENT_PORTS_FROM - count, count))
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
    raise NoFreePorts(f"no {count} free ports in a row between 20000 and {CLIENT_PORTS_FROM}")
