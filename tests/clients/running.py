"""Runs the script through clients against an L1, all of them at once, and gives the shapes of what they got."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.l1_process import ROOT, L1Process
from tests.clients import script
from tests.clients.shape import Shaper

FOLDER = Path(__file__).parent
PYTHON_CLIENTS = ("raw", "solana_py")
NODE_CLIENTS = ("web3js", "kit")
ALL_CLIENTS = PYTHON_CLIENTS + NODE_CLIENTS
CLIENT_SECONDS = 240
READY_SECONDS = 120
NODE_MAJOR = 20


class ClientFailed(RuntimeError):
    """A client did not get through the script; the message holds the end of what it printed."""


class NodeMissing(RuntimeError):
    """Node or the packages of package-lock.json are not there and could not be installed; the message says what to do."""


def run(l1: L1Process, clients: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Shapes by client and step. Raises ClientFailed."""
    _wait_for_a_finalized_slot(l1)
    with tempfile.TemporaryDirectory(prefix="pouw-clients-") as folder:
        started = {client: _start(l1, client, Path(folder)) for client in clients}
        try:
            return {client: _finish(client, process, Path(folder)) for client, process in started.items()}
        finally:
            for process in started.values():
                process.kill()
                process.communicate()


def install_node_packages() -> None:
    """Brings tests/clients/node_modules to what package-lock.json says. Raises NodeMissing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    wanted = f"the JavaScript clients need Node {NODE_MAJOR} or newer with npm on the PATH (https://nodejs.org)"
    if node is None or npm is None:
        raise NodeMissing(f"{wanted}; {'node' if node is None else 'npm'} is not there")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NODE_MAJOR:
        raise NodeMissing(f"{wanted}; this is {version}")
    installed, lock = FOLDER / "node_modules" / ".package-lock.json", FOLDER / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    # No package's own script is run: those of these are optional native speed-ups.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    if done.returncode:
        raise NodeMissing(f"`npm ci` in {FOLDER.relative_to(ROOT)} failed:\n{done.stderr[-2000:]}")


def _wait_for_a_finalized_slot(l1: L1Process) -> None:
    """What is finalized is then past genesis; before, a real validator also tells of confirmations late."""
    deadline = time.monotonic() + READY_SECONDS
    while not l1.call("getSlot", {"commitment": "finalized"}):
        if time.monotonic() > deadline:
            raise ClientFailed(f"{l1.rpc_url} finalized no slot within {READY_SECONDS} s")
        time.sleep(0.1)


def _start(l1: L1Process, client: str, folder: Path) -> subprocess.Popen[str]:
    script_path = folder / f"{client}.script.json"
    script_path.write_text(json.dumps(script.make(client).to_json()))
    python = [sys.executable, "-m", f"tests.clients.{client}_client"]
    command = ["node", str(FOLDER / f"{client}_client.mjs")] if client in NODE_CLIENTS else python
    command += [l1.rpc_url, l1.websocket_url, str(script_path), str(folder / f"{client}.out.json")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(client: str, process: subprocess.Popen[str], folder: Path) -> dict[str, Any]:
    try:
        printed, _ = process.communicate(timeout=CLIENT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ClientFailed(f"{client} was not done within {CLIENT_SECONDS} s") from error
    if process.returncode:
        raise ClientFailed(f"{client} ended with {process.returncode}:\n{printed[-4000:]}")
    recorded = json.loads((folder / f"{client}.out.json").read_text())
    made = script.make(client)
    shaper = Shaper(made, recorded["saved"])
    steps = {step["name"]: step for step in script.flat(made.steps) if step.get("name")}
    return {name: shaper.of(steps[name], outcome) for name, outcome in recorded["outcomes"].items()}
