"""`python -m localnet` as a process of its own: ready line, signals, ledger folder, refusals."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair

from localnet.__main__ import main
from localnet.keys import KeyFileError, ensure_keypair, parse_address, read_keypair


@contextmanager
def running(*flags: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "localnet", "--rpc-port", "0", "--json", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the command says when it does not start, run in this process."""

    def run(*flags: str) -> str:
        monkeypatch.setattr(sys, "argv", ["localnet", "--rpc-port", "0", *flags])
        with pytest.raises(SystemExit) as ended:
            main()
        said = ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err
        assert "Traceback" not in said
        return said

    return run


def call(url: str, method: str, *params: Any) -> Any:
    return httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json()["result"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_at_once_and_ends_cleanly_on_a_signal(how: signal.Signals) -> None:
    with running("--slot-ms", "20", "--quiet") as (process, ready):
        assert call(ready["rpc_url"], "getGenesisHash") == ready["genesis_hash"]
        first = call(ready["rpc_url"], "getSlot", {"commitment": "processed"})
        deadline = time.monotonic() + 10
        while call(ready["rpc_url"], "getSlot", {"commitment": "processed"}) < first + 3:
            assert time.monotonic() < deadline
        port = int(ready["rpc_url"].rsplit(":", 1)[1])
        assert ready["websocket_url"] == f"ws://127.0.0.1:{port + 1}"
        with httpx.Client() as kept_alive:
            kept_alive.get(ready["rpc_url"] + "/health")
            process.send_signal(how)
            assert process.wait(10) == 0
        assert process.stderr is not None and process.stderr.read() == ""
        for closed in (port, port + 1):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", closed), 1)


def test_the_ledger_is_the_same_cluster_again_until_reset(tmp_path: Path) -> None:
    folder = str(tmp_path / "ledger")

    def identity(*flags: str) -> tuple[str, str, str]:
        with running("--ledger", folder, *flags) as (_, ready):
            identity = call(ready["rpc_url"], "getIdentity")["identity"]
            return ready["genesis_hash"], ready["faucet"], identity

    first = identity()
    assert identity() == first
    for name in ("faucet-keypair.json", "validator-keypair.json"):
        assert stat.S_IMODE((tmp_path / "ledger" / name).stat().st_mode) == 0o600
    (tmp_path / "ledger" / "upgrade-authority.json").write_text("not the localnet's to remove")
    again = identity("--reset")
    assert not set(first) & set(again)
    assert (tmp_path / "ledger" / "upgrade-authority.json").exists()


def test_a_ledger_serves_one_process(tmp_path: Path, refusal: Callable[..., str]) -> None:
    with running("--ledger", str(tmp_path / "ledger")):
        assert "in use by another localnet" in refusal("--ledger", str(tmp_path / "ledger"))


def test_strange_folders_are_refused_by_name(tmp_path: Path, refusal: Callable[..., str]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    assert "photos is not a localnet ledger" in refusal("--ledger", str(tmp_path / "photos"), "--reset")
    assert (tmp_path / "photos" / "cat.jpg").exists()
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "genesis.bin").touch()
    assert "solana-test-validator" in refusal("--ledger", str(tmp_path / "real"))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "localnet.json").write_text('{"format": "pouw-localnet", "version": 99, "genesis_hash": "1"}')
    assert "--reset" in refusal("--ledger", str(tmp_path / "old"))


def test_wrong_flags_are_named(tmp_path: Path, refusal: Callable[..., str]) -> None:
    address = str(Keypair().pubkey())
    (tmp_path / "junk.so").write_bytes(b"junk")
    for flags, says in (
        (("--faucet-port", "9900"), "--faucet-port"),
        (("--reset",), "--reset needs --ledger"),
        (("--slot-ms", "0"), "--slot-ms"),
        (("--finalized-lag", "0"), "--finalized-lag"),
        (("--bpf-program", "nonsense", "x.so"), "'nonsense' is neither"),
        (("--bpf-program", address, str(tmp_path / "missing.so")), "missing.so"),
        (("--upgradeable-program", address, str(tmp_path / "junk.so"), "none"), "refuses the program"),
        (("--mint", "nonsense"), "neither a base58 public key"),
    ):
        assert says in refusal(*flags)


def test_a_taken_port_is_named(refusal: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refusal("--rpc-port", str(port))


def test_key_files(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "one.json"
    keypair = ensure_keypair(path)
    assert read_keypair(path) == ensure_keypair(path) == keypair
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse_address(str(path)) == parse_address(str(keypair.pubkey())) == keypair.pubkey()
    path.write_text("[1, 2]")
    with pytest.raises(KeyFileError, match="not a keypair file"):
        read_keypair(path)
    with pytest.raises(KeyFileError, match="cannot read"):
        read_keypair(tmp_path / "none.json")
