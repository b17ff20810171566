"""localnet.sh, in a copy of the checkout that holds a small program where the settlement program's artifact lies."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

from localnet.keys import read_keypair
from localnet.programs import program_data_address

ROOT = Path(__file__).parents[2]
MEMO_ID = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
PROGRAM_ID = Keypair().pubkey()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "settlement" / "artifacts").mkdir(parents=True)
    for name in ("run", "requirements.lock", "pyproject.toml", "localnet"):
        (root / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "localnet.sh", root)
    memo = LiteSVM().get_account(MEMO_ID)
    assert memo is not None
    (root / "settlement" / "artifacts" / "settlement.so").write_bytes(bytes(memo.data))
    (root / "settlement" / "artifacts" / "settlement.json").write_text(json.dumps({"address": str(PROGRAM_ID)}))
    return root


def start(checkout: Path, *flags: str, tools: Path | None = None) -> subprocess.Popen[str]:
    environment = os.environ | {"POUW_VENV": sys.prefix, "POUW_TOOLS": str(tools or checkout / "no-tools")}
    # Where a real validator is installed it is on the PATH; these tests choose by POUW_TOOLS alone.
    kept = [d for d in os.environ["PATH"].split(":") if not (Path(d) / "solana-test-validator").exists()]
    return subprocess.Popen(
        [str(checkout / "localnet.sh"), "--ledger", str(checkout / "ledger"), *flags],
        env=environment | {"PATH": ":".join(kept)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def account(url: str, address: Pubkey) -> bytes:
    params: list[Any] = [str(address), {"encoding": "base64", "commitment": "processed"}]
    body = {"jsonrpc": "2.0", "id": 1, "method": "getAccountInfo", "params": params}
    return base64.b64decode(httpx.post(url, json=body).json()["result"]["value"]["data"][0])


def test_embedded_serves_the_program_with_the_generated_authority(checkout: Path) -> None:
    process = start(checkout, "--embedded", "--rpc-port", "0", "--json")
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        data = account(json.loads(line)["rpc_url"], program_data_address(PROGRAM_ID))
        key_file = checkout / "ledger" / "upgrade-authority.json"
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        assert data[12:45] == b"\x01" + bytes(read_keypair(key_file).pubkey())
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_ledger_goes_on_when_it_is_started_again(checkout: Path) -> None:
    """The program is passed every time, and counts the first time."""
    someone = Keypair().pubkey()
    urls = []
    for lamports in (5_000_000, 7_000_000):
        process = start(checkout, "--embedded", "--rpc-port", "0", "--json", "--log")
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read()
            urls.append(json.loads(line)["rpc_url"])
            body = {"jsonrpc": "2.0", "id": 1, "method": "requestAirdrop", "params": [str(someone), lamports]}
            assert "result" in httpx.post(urls[-1], json=body).json()
            balance = {"method": "getBalance", "params": [str(someone), {"commitment": "processed"}]}
            held = httpx.post(urls[-1], json=body | balance).json()["result"]["value"]
            assert account(urls[-1], program_data_address(PROGRAM_ID))
            process.terminate()
            said = process.communicate(timeout=60)[1]
            assert process.returncode == 0 and "is ignored" not in said
        finally:
            process.kill()
            process.communicate()
    assert held == 12_000_000


def test_an_installed_validator_is_preferred(checkout: Path) -> None:
    """A fake validator that prints its flags stands in for the real one."""
    tools = checkout / "tools"
    (tools / "bin").mkdir(parents=True)
    fake = tools / "bin" / "solana-test-validator"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    said, log = start(checkout, "--reset", tools=tools).communicate(timeout=60)
    authority = checkout / "ledger" / "upgrade-authority.json"
    program = checkout / "settlement" / "artifacts" / "settlement.so"
    assert said.split() == [
        "--upgradeable-program", str(PROGRAM_ID), str(program), str(authority),
        "--bind-address", "127.0.0.1", "--quiet",
        "--ledger", str(checkout / "ledger" / "test-validator"), "--reset",
    ]  # fmt: skip
    assert "solana-test-validator" in log and authority.exists()


def test_what_is_missing_is_named(checkout: Path) -> None:
    (checkout / "settlement" / "artifacts" / "settlement.json").write_text("{}")
    process = start(checkout, "--embedded")
    assert "states no program address" in process.communicate(timeout=60)[1] and process.returncode == 1
    (checkout / "settlement" / "artifacts" / "settlement.so").unlink()
    process = start(checkout, "--embedded")
    assert "settlement.so is missing" in process.communicate(timeout=60)[1] and process.returncode == 1
