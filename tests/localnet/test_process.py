"""`python -m localnet` as a process of its own: ready line, signals, ledger folder, refusals."""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from solders.hash import Hash
from solders.keypair import Keypair

from localnet.__main__ import main, ready_lines
from localnet.flags import REFUSED, parser
from localnet.keys import KeyFileError, ensure_keypair, parse_address, read_keypair, write_keypair
from localnet.service import Endpoints


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
    dump = tmp_path / "dump.json"
    dump.write_text(account_file(address, b"kept"))
    (tmp_path / "junk.json").write_text('{"pubkey": "x"}')
    for flags, says in (
        (("--reset",), "--reset needs --ledger"),
        (("--slot-ms", "0"), "--slot-ms"),
        (("--slot-ms", "nan"), "--slot-ms"),
        (("--ticks-per-slot", "0"), "--ticks-per-slot"),
        (("--ticks-per-slot", "8", "--slot-ms", "8"), "not allowed with"),
        (("--finalized-lag", "0"), "--finalized-lag"),
        (("--slots-per-epoch", "31"), "at least 32"),
        (("--slots-per-epoch", str(2**64)), "at most "),
        (("--limit-ledger-size", "10"), "at least 1024"),
        (("--limit-ledger-size", "2000", "--finalized-lag", "2000"), "at least 2151"),
        (("--faucet-sol", "-1"), "--faucet-sol"),
        (("--quiet", "--log"), "not allowed with"),
        (("--bpf-program", "nonsense", "x.so"), "'nonsense' is neither"),
        (("--bpf-program", address, str(tmp_path / "missing.so")), "missing.so"),
        (("--upgradeable-program", address, str(tmp_path / "junk.so"), "none"), "refuses the program"),
        (("--mint", "nonsense"), "neither a base58 public key"),
        (("--account", "-", str(tmp_path / "none.json")), "cannot read the account file"),
        (("--account", "-", str(tmp_path / "junk.json")), "is no account file"),
        (("--account", str(Keypair().pubkey()), str(dump)), f"holds {address}"),
        (("--account-dir", str(dump)), "is not a folder"),
        (("--no-such-flag",), "--no-such-flag"),
    ):
        assert says in refusal(*flags), flags


def account_file(address: str, data: bytes) -> str:
    content = {
        "lamports": 5_000_000,
        "data": [base64.b64encode(data).decode(), "base64"],
        "owner": "Stake11111111111111111111111111111111111111",
        "executable": False,
        "rentEpoch": 2**64 - 1,
        "space": len(data),
    }
    return json.dumps({"pubkey": address, "account": content})


# Every flag that `solana-test-validator --help` of agave 4.1.2 lists.
FLAGS_OF_THE_REAL_ONE = """
--account --account-dir --account-index --bind-address --bpf-program --clone --clone-feature-set
--clone-upgradeable-program --compute-unit-limit --config --deactivate-feature --deep-clone-address-lookup-table
--dynamic-port-range --enable-scheduler-bindings --faucet-per-request-sol-cap --faucet-per-time-sol-cap --faucet-port
--faucet-sol --faucet-time-slice-secs --geyser-plugin-config --gossip-port --help --inflation-fixed --ledger
--limit-ledger-size --log --log-messages-bytes-limit --maybe-clone --mint --quiet --reset --rpc-port
--rpc-pubsub-enable-block-subscription --rpc-pubsub-enable-vote-subscription --rpc-pubsub-max-active-subscriptions
--rpc-pubsub-notification-threads --rpc-pubsub-queue-capacity-bytes --rpc-pubsub-queue-capacity-items
--rpc-pubsub-worker-threads --slots-per-epoch --ticks-per-slot --transaction-account-lock-limit --upgradeable-program
--url --version --warp-slot -C -V -c -h -l -q -r -u -w
"""


def test_every_flag_of_the_real_one_is_taken_or_refused_with_its_reason(refusal: Callable[..., str]) -> None:
    known = {flag for action in parser()._actions for flag in action.option_strings}
    assert set(FLAGS_OF_THE_REAL_ONE.split()) <= known
    for flags, reason in REFUSED.items():
        for flag in flags:
            said = refusal(flag, "7")
            assert f"{flag} is solana-test-validator's: " in said and reason in said


def test_accounts_of_files_are_there_from_the_start(tmp_path: Path) -> None:
    one, two = (str(Keypair().pubkey()) for _ in range(2))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "two.json").write_text(account_file(two, b"second"))
    (tmp_path / "one.json").write_text(account_file(one, b"first"))
    files = ("--account", one, str(tmp_path / "one.json"), "--account-dir", str(tmp_path / "folder"))
    with running(*files, "--slots-per-epoch", "64", "--ticks-per-slot", "4", "--log") as (_, ready):
        config = {"encoding": "base64", "commitment": "processed"}
        found = call(ready["rpc_url"], "getMultipleAccounts", [one, two], config)["value"]
        assert [base64.b64decode(account["data"][0]) for account in found] == [b"first", b"second"]
        assert found[0]["owner"].startswith("Stake1") and found[0]["lamports"] == 5_000_000
        assert call(ready["rpc_url"], "getEpochInfo")["slotsInEpoch"] == 64


def test_what_is_printed_says_where_it_is_and_what_to_do_next() -> None:
    endpoints = Endpoints(
        1, 2, "http://h:1", "ws://h:2", Hash.default(), Keypair().pubkey(), Keypair().pubkey(), Path("ledger"), 7
    )
    said = ready_lines(endpoints, parser().parse_args([]))
    for part in ("http://h:1", "ws://h:2", "ledger, goes on at slot 7", str(endpoints.identity), "4.1.2", "Next:"):
        assert part in said
    quiet = ready_lines(endpoints, parser().parse_args(["--quiet"]))
    assert quiet == "localnet ready: JSON-RPC http://h:1  WebSocket ws://h:2"
    assert "in memory" in ready_lines(replace(endpoints, ledger=None), parser().parse_args([]))


def test_a_taken_port_is_named(refusal: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refusal("--rpc-port", str(port))


def test_a_ledger_that_cannot_be_made_is_named(tmp_path: Path, refusal: Callable[..., str]) -> None:
    (tmp_path / "localnet.lock").touch()
    (tmp_path / "faucet-keypair.json").mkdir()
    said = refusal("--ledger", str(tmp_path))
    assert f"cannot use the ledger {tmp_path}" in said and "faucet-keypair.json" in said


def test_a_key_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.json"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space left")))
        with pytest.raises(OSError, match="no space left"):
            ensure_keypair(path)
    assert not list(tmp_path.iterdir())
    keypair = ensure_keypair(path)
    with pytest.raises(FileExistsError):
        write_keypair(path, Keypair())
    assert read_keypair(path) == keypair and list(tmp_path.iterdir()) == [path]


def test_key_files(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "one.json"
    keypair = ensure_keypair(path)
    assert read_keypair(path) == ensure_keypair(path) == keypair
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse_address(str(path)) == parse_address(str(keypair.pubkey())) == keypair.pubkey()
    with pytest.raises(KeyFileError, match="neither a base58 public key nor an existing keypair file"):
        parse_address("x" * 5_000)
    path.write_text("[1, 2]")
    with pytest.raises(KeyFileError, match="not a keypair file"):
        read_keypair(path)
    with pytest.raises(KeyFileError, match="cannot read"):
        read_keypair(tmp_path / "none.json")
