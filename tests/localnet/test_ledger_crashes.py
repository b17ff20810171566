"""What a crash or a disk can leave of the ledger's files: cut at any byte, flipped, full. It opens at the end of a slot.

The write-ahead log is copied while the node runs, so it holds every slot since genesis, and then cut as a crash would.
`POUW_LONG=1` tries every frame and a few thousand bytes at random.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from localnet.config import LocalnetConfig
from localnet.start import open_node
from localnet.store import DATABASE

from .conftest import SOL, pay

START = 1_800_000_000
SLOTS = 12
LONG = os.environ.get("POUW_LONG") == "1"
# SQLite's file format, section 4.1: a header, then frames of a header and a page.
WAL_HEADER_BYTES = 32
WAL_FRAME_BYTES = 24 + 4096

Balances = dict[int, list[int]]


def config_of(folder: Path) -> LocalnetConfig:
    """What is final one slot later is on the disk one slot later, so every slot is a commit of its own."""
    return LocalnetConfig(rpc_port=0, ledger=folder, finalized_lag_slots=1)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Pubkey], Balances]:
    """A ledger as it lies while the node runs, and the balances of three accounts at the end of every slot."""
    folder = tmp_path_factory.mktemp("crash")
    keys = [Keypair().pubkey() for _ in range(3)]
    balances: Balances = {0: [0, 0, 0]}
    with open_node(config_of(folder / "live"), START) as node:
        bank = node.bank
        for slot in range(1, SLOTS + 1):
            for n in range(3):
                transfers = [pay(node.faucet, keys[n], SOL + slot), pay(node.faucet, keys[n - 1], SOL)]
                blockhash = bank.latest_blockhash(bank.slot)
                message = Message.new_with_blockhash(transfers, node.faucet.pubkey(), blockhash)
                assert bank.process(VersionedTransaction(message, [node.faucet])).error is None
            accounts = [bank.account(key, bank.slot) for key in keys]
            balances[slot] = [account.lamports if account else 0 for account in accounts]
            bank.advance(START + slot)
        shutil.copytree(folder / "live", folder / "left")
    return folder / "left", keys, balances


def opened_at(folder: Path, keys: list[Pubkey], balances: Balances) -> int:
    """Opens it; returns the slot that it is as of, after holding its state and history against the model."""
    with open_node(config_of(folder), START) as node:
        bank = node.bank
        slot = bank.slot - 1
        accounts = [bank.account(key, bank.slot) for key in keys]
        assert [account.lamports if account else 0 for account in accounts] == balances[slot]
        blocks = [bank.history.block(old) for old in range(slot + 1)]
        assert [len(block.transactions) for block in blocks if block] == [0] + [3] * slot
        assert len(list(bank.history.of_address(keys[0]))) == 2 * slot
    return slot


def cut(left: Path, to: Path, length: int | None = None, flip: int | None = None) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(left, to)
    (to / (DATABASE + "-shm")).unlink()  # is made anew from the log; a crash of the machine leaves none
    log = to / (DATABASE + "-wal")
    content = bytearray(log.read_bytes())
    if flip is not None:
        content[flip] ^= 0xFF
    log.write_bytes(content[:length])
    return to


def test_cut_anywhere_it_opens_at_the_end_of_a_slot(
    crashed: tuple[Path, list[Pubkey], Balances], tmp_path: Path
) -> None:
    left, keys, balances = crashed
    size = (left / (DATABASE + "-wal")).stat().st_size
    frames = range(WAL_HEADER_BYTES, size + 1, WAL_FRAME_BYTES)
    assert len(frames) > SLOTS
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    lengths = sorted(
        {*(frames if LONG else frames[::23]), *(chance.randrange(size) for _ in range(2_000 if LONG else 6))}
    )
    reached = []
    for length in (*lengths, size):
        reached.append(opened_at(cut(left, tmp_path / "cut", length), keys, balances))
    assert reached == sorted(reached), seed
    assert reached[-1] == SLOTS and len(set(reached)) > 4


def test_a_byte_flipped_in_the_log_takes_back_what_came_after_it(
    crashed: tuple[Path, list[Pubkey], Balances], tmp_path: Path
) -> None:
    left, keys, balances = crashed
    size = (left / (DATABASE + "-wal")).stat().st_size
    chance = random.Random(seed := random.randrange(2**32))
    for _ in range(1_000 if LONG else 6):
        at = chance.randrange(size // 4, size)
        assert opened_at(cut(left, tmp_path / "flipped", flip=at), keys, balances) <= SLOTS, seed


def test_a_full_disk_ends_it_with_a_reason_and_the_ledger_opens_again(tmp_path: Path) -> None:
    """A limit on the size of a file stands in for the end of the disk: the write fails all the same."""
    command = [sys.executable, "-m", "localnet", "--rpc-port", "0", "--slot-ms", "20", "--ledger", str(tmp_path / "l")]
    limit = 600_000
    process = subprocess.Popen(
        [*command, "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[3]
        body = {"jsonrpc": "2.0", "id": 1, "method": "requestAirdrop", "params": [str(Keypair().pubkey()), SOL]}
        with httpx.Client(timeout=60) as client, pytest.raises(httpx.TransportError):
            while True:
                client.post(url, json=body)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 1 and "Traceback" not in said
        assert "cannot use the ledger's database" in said and "the ledger holds every slot up to" in said
    finally:
        process.kill()
        process.communicate()
    with open_node(config_of(tmp_path / "l"), START) as node:
        assert node.bank.slot > 1
