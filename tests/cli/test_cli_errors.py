"""What a person can do wrong: each is answered by one plain line that says what would be right, an exit code, and no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from structlog.testing import capture_logs

from cli.errors import describe
from sequencer import service
from settlement.bls import SecretKey
from settlement.keys import read_keypair, write_bls_key, write_keypair
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from tests.sequencer import kit

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there
TASK = "11" * 32
FAILED = 1


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Names for the table: files of every wrong kind, and keys without a lamport."""
    write_keypair(tmp_path / "poor", Keypair())
    secret = SecretKey.generate()
    write_bls_key(tmp_path / "bls", secret.to_bytes(), secret.public_key)
    for name, content in {"text": b"hello", "binary": b"\xff\xfe", "short": b"[1, 2]", "object": b"{}"}.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "folder").mkdir()
    return {path.name: str(path) for path in tmp_path.iterdir()} | {"none": str(tmp_path / "none")}


# What is typed, the exit code, what the one line must say. {name} is a file of the fixture, or a URL.
WITHOUT_A_NETWORK = [
    ("nothing", 2, "No such command 'nothing'; see `pouw --help`"),
    ("task nothing", 2, "No such command 'nothing'; see `pouw task --help`"),
    ("deposit", 2, "see `pouw deposit --help`"),
    ("deposit many", 2, "should be a valid integer"),
    ("deposit 5 --nothing", 2, "No such option"),
    ("deposit 5 -k {none}", 1, "there is no key file {none}; `pouw keys new` makes one"),
    ("deposit 5 -k {text}", 1, "{text} is not a Solana key file: expected a JSON array of 64 numbers"),
    ("deposit 5 -k {short}", 1, "{short} is not a Solana key file"),
    ("deposit 5 -k {binary}", 1, "{binary}"),
    ("deposit 5 -k {folder}", 1, "{folder}"),
    ("deposit 5 -k {poor} --url ftp://x", 2, "'ftp://x' is no URL as http://127.0.0.1:8899"),
    ("deposit 5 -k {poor} --url nowhere", 1, "'nowhere' is neither a URL (http://…) nor one of localhost"),
    ("balance -k {poor} --program-id abc", 2, "'abc' is not a base58 public key of 32 bytes"),
    ("task status 12", 2, "'12' is no task id: 64 lower-case hex digits"),
    ("task status {task} --sequencer x:1", 2, "'x:1' is no URL"),
    ("task submit {none} --dataset {text} --fee 5", 1, "there is no spec {none}"),
    ("task submit {text} --dataset {text} --fee 5", 1, "{text} is not JSON"),
    ("task submit {binary} --dataset {text} --fee 5", 1, "{binary} is no text"),
    ("task submit {short} --dataset {text} --fee 5", 1, "a spec is a JSON object, got a list"),
    ("task submit {object} --dataset {none} --fee 5", 2, "there is no file {none}"),
    ("task submit {object} --dataset {text} --fee 5 --deadline soon", 2, "expected a slot, or +N for N slots from now"),
    ("receipt verify {none}", 1, "there is no file {none}"),
    ("receipt verify {folder}", 1, "{folder}: is a folder, a file is needed"),
    ("receipt verify {text}", 1, "{text} is not JSON"),
    ("receipt verify {object}", 1, "the receipt has no checkpoint, count, index, record, siblings"),
    ("keys new -o {poor}", 2, "{poor} exists already; a key file is never overwritten"),
    ("keys new -o /proc/nothing/key", 1, "/proc/nothing: does not exist and cannot be made there: name another path"),
    ("keys new -o {text}/key", 1, "{text}: exists already and is no folder: name another path"),
    ("keys show --bls-keypair {poor}", 1, "{poor} is not a BLS key file"),
    ("task example /proc/nothing", 1, "/proc/nothing: does not exist and cannot be made there"),
    ("sequencer run -c {none}", 1, "there is no configuration file {none}"),
    ("sequencer run -k {poor} --port 70000", 1, "port: Input should be less than or equal to 65535"),
    ("validator run -k {poor}", 1, "bls_keypair is missing: give --bls-keypair"),
    ("worker run -k {poor} --device tpu", 1, "device: "),
    ("demo --l1 x", 2, "'x': use embedded or test-validator"),
    ("demo --tasks 1", 2, "greater than or equal to 6"),
    ("demo --keep {text}", 2, "{text} is a file, a new or empty folder is needed"),
    ("demo --keep {text}/x", 1, "lies below something that is no folder: name another path"),
    ("demo --authority {none} --url {nobody}", 1, "there is no key file {none}"),
]  # fmt: skip
WITH_A_NETWORK = [
    ("balance -k {poor} --url {nobody}", 1, "is it running? `pouw localnet` starts one; --url or POUW_URL names another"),
    ("task list --sequencer {nobody}", 1, "is it running? `pouw sequencer run` starts one"),
    ("task list --sequencer {l1}", 1, "does --sequencer lead to one? L1's URL is --url"),
    ("balance -k {poor} --url {l1} --sequencer {l1}", 1, "does --sequencer lead to one?"),
    ("balance -k {rich} --url {l1} --sequencer {l2} --program-id {poor_key}", 1, "must lead to one network"),
    ("init --authority {rich} --url {l1} --program-id {poor_key}", 1, "there is no program {poor_key} on {l1}: deploy it"),
    ("validator list --url {l1} --program-id {poor_key}", 1, "is not initialised on {l1}: run `pouw init`"),
    ("validator register --stake 5 -k {rich} --bls-keypair {bls} --url {l1}", 1, "stakes at least 1000000 lamports"),
    ("validator register --stake 5000000 -k {rich} --bls-keypair {poor} --url {l1}", 1, "{poor} is not a BLS key file"),
    ("validator set advance --force -k {poor} --payer {rich} --url {l1}", 1, "NotAuthority"),
    ("deposit 20000 -k {poor} --url {l1}", 1, "L1 refuses it: AccountNotFound"),
    ("deposit 5 -k {rich} --url {l1}", 1, "a deposit is at least 10000 lamports here, 5 are too few"),
    ("withdraw 5 -k {poor} --url {l1} --sequencer {l2}", 1, "`pouw deposit LAMPORTS` makes one"),
    ("claim -k {poor} --url {l1} --sequencer {l2}", 1, "nothing to claim for {poor_key}"),
    ("task status {task} --sequencer {l2}", 1, "there is no task {task}"),
    ("task watch {task} --sequencer {l2}", 1, "`pouw task list` shows those that there are"),
    ("receipt get {task} --sequencer {l2}", 1, "there is no task {task}"),
    ("task list --status done --sequencer {l2}", 1, "params.status"),
    ("task submit {bad_seed} --dataset {text} --fee 5 -k {rich} --url {l1} --sequencer {l2}", 1, "spec.seed: "),
    ("task submit {bad_mode} --dataset {text} --fee 5 -k {rich} --url {l1} --sequencer {l2}", 1, 'only "replay"'),
    ("task submit {bad_key} --dataset {text} --fee 5 -k {rich} --url {l1} --sequencer {l2}", 1, '"colour"'),
    ("task submit {good} --dataset {text} --fee 5 -k {rich} --url {l1} --sequencer {l2}", 1, "but dataset_info.sha256 is"),
]  # fmt: skip


def complaint(ran: Any, code: int, says: str) -> str | None:
    """What is wrong with how a command failed."""
    lines = [line for line in ran.err.splitlines() if not line.startswith("warning: ")]
    if ran.code != code:
        return f"exit code {ran.code}, not {code}: {ran.err}"
    if ran.out or len(lines) != 1 or not lines[0].startswith("error: "):
        return f"not one line of error: {ran.out}{ran.err}"
    return None if says in lines[0] else f"does not say {says!r}: {lines[0]}"


@pytest.mark.parametrize(("typed", "code", "says"), WITHOUT_A_NETWORK)
def test_what_is_wrong_by_itself(pouw, files, typed: str, code: int, says: str) -> None:
    words = {**files, "task": TASK, "nobody": NOBODY}
    assert complaint(pouw(*typed.format(**words).split()), code, says.format(**words)) is None


async def test_what_is_wrong_for_this_network(pouw, files, l1, nursery, tmp_path: Path) -> None:
    await ensure_initialized(l1.client, l1.authority, l1.rich)
    await register_validator(l1.client, l1.rich, Keypair(), SecretKey.generate(), 5_000_000)
    await advance_validator_set(l1.client, l1.rich, l1.authority)
    write_keypair(tmp_path / "rich", l1.rich)
    port = await nursery.start(service.run, kit.config_for(kit.L1(l1.url, l1.client, l1.authority, l1.rich), tmp_path))
    words = {**files, "task": TASK, "rich": str(tmp_path / "rich"), "nobody": NOBODY, "l1": l1.url}
    words |= {"l2": f"http://127.0.0.1:{port}", "poor_key": str(read_keypair(tmp_path / "poor").pubkey())}
    for name, change in {
        "good": {},
        "bad_seed": {"seed": -1},
        "bad_mode": {"mode": "zk"},
        "bad_key": {"colour": 1},
    }.items():
        (tmp_path / name).write_text(json.dumps({**kit.SPEC, **change}))
        words[name] = str(tmp_path / name)
    wrong: list[str] = []

    async def one(typed: str, code: int, says: str) -> None:
        arguments = typed.format(**words).split()
        ran = await trio.to_thread.run_sync(lambda: pouw(*arguments))
        if found := complaint(ran, code, says.format(**words)):
            wrong.append(f"pouw {typed}: {found}")

    with capture_logs():  # the sequencer runs in this process: what it logs is not what the command says
        for row in WITH_A_NETWORK:
            await one(*row)
    assert wrong == []


def test_status_shows_what_answers_and_says_what_does_not(pouw) -> None:
    ran = pouw("status", "--url", NOBODY, "--sequencer", NOBODY, "--json")
    assert ran.code == FAILED
    seen = json.loads(ran.out)
    assert (seen["healthy"], seen["l1"]["url"]) == (False, NOBODY)
    assert "`pouw localnet` starts one" in seen["l1"]["problem"]
    assert "`pouw sequencer run` starts one" in seen["sequencer"]["problem"]
    shown = pouw("status", "--url", NOBODY, "--sequencer", NOBODY)
    assert (shown.code, shown.err) == (FAILED, "")
    assert " ".join(shown.out.split()).count("is it running?") == 2


def test_a_localnet_on_a_port_in_use_says_which_flag_helps(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "cli.main", "localnet", "--json", "--rpc-port"]
    first = subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert first.stdout is not None
        port = json.loads(first.stdout.readline())["rpc_url"].rpartition(":")[2]
        second = subprocess.run(
            [*command, port], capture_output=True, text=True, check=False, env=environment, timeout=60
        )
        assert second.returncode == FAILED
        assert second.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {port}: ")
        assert "--rpc-port" in second.stderr and second.stderr.count("\n") == 1
    finally:
        first.send_signal(signal.SIGTERM)
        first.wait()


def test_a_full_disk_and_a_locked_folder_are_said_in_words() -> None:
    assert describe(OSError(28, "No space left on device", "/x/y")) == (
        "/x/y: no room is left on its disk: free some, or name a path on another"
    )
    assert "check owner and mode" in describe(PermissionError(13, "Permission denied", "/x"))
    assert describe(OSError(98, "Address already in use")).startswith("the address is in use")
    assert describe(OSError(5, "Input/output error", "/x")) == "/x: Input/output error"
    assert describe(ZeroDivisionError("by zero")) == "ZeroDivisionError: by zero"
