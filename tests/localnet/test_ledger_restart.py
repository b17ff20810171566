"""A restart on the same ledger folder goes on where the last run ended; what is torn or foreign is refused by name."""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from solana.rpc.async_api import AsyncClient
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from solders.sysvar import CLOCK, RENT
from solders.transaction import VersionedTransaction

from localnet.clock import ManualClock
from localnet.config import GenesisProgram, LocalnetConfig
from localnet.ledger import LedgerError, open_ledger
from localnet.ledger_writer import LedgerWriter
from localnet.programs import UPGRADEABLE_LOADER_ID, program_data_address
from localnet.service import serve
from localnet.start import open_node
from localnet.store import DATABASE, LedgerStore

from .conftest import SOL, Localnet, pay

MEMO_ID = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
SYSTEM_ID = Pubkey.default()
START = 1_800_000_000


@asynccontextmanager
async def run_on(folder: Path, **changes: Any) -> AsyncIterator[Localnet]:
    config = replace(LocalnetConfig(rpc_port=0, ledger=folder), **changes)
    clock = ManualClock()
    async with trio.open_nursery() as nursery:
        endpoints = await nursery.start(lambda task_status: serve(config, clock=clock, task_status=task_status))
        async with httpx.AsyncClient(base_url=endpoints.rpc_url) as http, AsyncClient(endpoints.rpc_url) as client:
            yield Localnet(endpoints, clock, client, http)
        nursery.cancel_scope.cancel()


async def send(localnet: Localnet, transaction: VersionedTransaction, **options: Any) -> str:
    settings = {"encoding": "base64", "preflightCommitment": "processed"} | options
    return await localnet.result("sendTransaction", base64.b64encode(bytes(transaction)).decode(), settings)


async def everything(localnet: Localnet, keys: list[Pubkey], signatures: list[str], up_to: int) -> dict[str, Any]:
    """What a client can ask of the past; equal before and after a restart."""
    b64 = {"encoding": "base64", "commitment": "confirmed"}
    return {
        "genesis": await localnet.result("getGenesisHash"),
        "identity": await localnet.result("getIdentity"),
        "accounts": (await localnet.result("getMultipleAccounts", [str(k) for k in keys], b64))["value"],
        "of_system": len(await localnet.result("getProgramAccounts", str(SYSTEM_ID), b64)),
        "transactions": [
            await localnet.result("getTransaction", s, {"commitment": "confirmed", "maxSupportedTransactionVersion": 0})
            for s in signatures
        ],
        "of_address": [
            [
                {name: value for name, value in found.items() if name != "confirmationStatus"}
                for found in await localnet.result("getSignaturesForAddress", str(k), {"commitment": "confirmed"})
            ]
            for k in keys
        ],
        "blocks": [
            await localnet.result("getBlock", slot, {"commitment": "confirmed", "maxSupportedTransactionVersion": 0})
            for slot in range(up_to + 1)
        ],
    }


async def test_a_restart_goes_on_where_the_last_run_ended(tmp_path: Path) -> None:
    to = Keypair().pubkey()
    async with run_on(tmp_path / "ledger", mint=to) as localnet:
        payer = await localnet.funded()
        landed = await localnet.sign(payer, pay(payer, to, SOL))
        signatures = [await send(localnet, landed)]
        failing = await localnet.sign(payer, pay(payer, to, 100 * SOL))
        signatures.append(await send(localnet, failing, skipPreflight=True))
        memo = await localnet.sign(payer, Instruction(MEMO_ID, b"kept", [AccountMeta(payer.pubkey(), True, False)]))
        signatures.append(await send(localnet, memo))
        kept_for_later = await localnet.sign(payer, pay(payer, to, 3 * SOL))
        localnet.clock.advance(3)
        slot = await localnet.result("getSlot", {"commitment": "confirmed"})
        time = await localnet.result("getBlockTime", slot)
        before = await everything(localnet, [payer.pubkey(), to, MEMO_ID], signatures, slot)
        in_the_open_slot = await send(localnet, await localnet.sign(payer, pay(payer, to, SOL // 2)))
    assert before["transactions"][1]["meta"]["err"] and before["transactions"][2]["meta"]["err"] is None

    async with run_on(tmp_path / "ledger") as localnet:
        assert await everything(localnet, [payer.pubkey(), to, MEMO_ID], signatures[:], slot) | {
            "accounts": 0,
            "of_address": 0,
        } == before | {"accounts": 0, "of_address": 0}
        # A clean stop writes the open slot too.
        assert (await localnet.result("getTransaction", in_the_open_slot))["slot"] == slot + 1
        for name in ("getSlot", "getBlockHeight"):
            assert await localnet.result(name, {"commitment": "finalized"}) == slot + 1
            assert await localnet.result(name, {"commitment": "processed"}) == slot + 2
        statuses = (await localnet.result("getSignatureStatuses", signatures))["value"]
        assert [s["confirmationStatus"] for s in statuses] == ["finalized"] * 3
        # What landed before is not run again; what was signed before and not sent lands.
        refused = await localnet.error(
            "sendTransaction", base64.b64encode(bytes(landed)).decode(), {"encoding": "base64"}
        )
        assert refused["data"]["err"] == "AlreadyProcessed"
        had = await localnet.balance(to, "processed")
        late = await send(localnet, kept_for_later)
        assert await localnet.balance(to, "processed") == had + 3 * SOL
        assert await localnet.balance(to, "finalized") == had
        clock = await localnet.result("getAccountInfo", str(CLOCK), {"encoding": "base64", "commitment": "processed"})
        data = base64.b64decode(clock["value"]["data"][0])
        assert int.from_bytes(data[:8], "little") == slot + 2 and int.from_bytes(data[32:40], "little") >= time
        localnet.clock.advance(32)
        assert await localnet.balance(to, "finalized") == had + 3 * SOL
        assert (await localnet.result("getTransaction", late))["slot"] == slot + 2
        # A blockhash ends its 150 blocks over the restart as it would have without.
        localnet.clock.advance(150)
        old = str(kept_for_later.message.recent_blockhash)
        assert (await localnet.result("isBlockhashValid", old, {"commitment": "processed"}))["value"] is False


async def test_the_log_names_each_slot_that_has_transactions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "localnet"):
        async with run_on(tmp_path / "ledger") as localnet:
            payer = await localnet.funded(SOL)
            await send(localnet, await localnet.sign(payer, pay(payer, payer.pubkey(), 1)))
            await send(
                localnet, await localnet.sign(payer, pay(payer, Keypair().pubkey(), 9 * SOL)), skipPreflight=True
            )
            slot = await localnet.result("getSlot", {"commitment": "processed"})
            localnet.clock.advance(2)
    lines = [record.getMessage() for record in caplog.records if record.name == "localnet"]
    assert lines == [
        "slot 1: 1 landed, 0 of them failed, 150 compute units",
        f"slot {slot}: 2 landed, 1 of them failed, 300 compute units",
    ]


def loader(number: int, data: bytes, *metas: AccountMeta) -> Instruction:
    return Instruction(UPGRADEABLE_LOADER_ID, number.to_bytes(4, "little") + data, list(metas))


async def deploy(localnet: Localnet, payer: Keypair, program: Keypair, elf: bytes) -> None:
    """As the CLI does it: a buffer, its bytes, then DeployWithMaxDataLen of loader-v3."""
    buffer = Keypair()
    space = len(elf) + 37
    rent = await localnet.result("getMinimumBalanceForRentExemption", space)

    def made(key: Keypair, lamports: int, size: int) -> Instruction:
        return create_account(
            CreateAccountParams(
                from_pubkey=payer.pubkey(),
                to_pubkey=key.pubkey(),
                lamports=lamports,
                space=size,
                owner=UPGRADEABLE_LOADER_ID,
            )
        )

    me = AccountMeta(payer.pubkey(), True, True)
    of_buffer = AccountMeta(buffer.pubkey(), False, True)
    await send(
        localnet,
        await localnet.sign(payer, made(buffer, rent, space), loader(0, b"", of_buffer, me), also=(buffer,)),
    )
    for offset in range(0, len(elf), 900):
        chunk = elf[offset : offset + 900]
        head = offset.to_bytes(4, "little") + len(chunk).to_bytes(8, "little")
        await send(localnet, await localnet.sign(payer, loader(1, head + chunk, of_buffer, me)))
    metas = [
        me,
        AccountMeta(program_data_address(program.pubkey()), False, True),
        AccountMeta(program.pubkey(), False, True),
        of_buffer,
        AccountMeta(RENT, False, False),
        AccountMeta(CLOCK, False, False),
        AccountMeta(SYSTEM_ID, False, False),
        me,
    ]
    instructions = made(program, SOL, 36), loader(2, (2 * len(elf)).to_bytes(8, "little"), *metas)
    signature = await send(localnet, await localnet.sign(payer, *instructions, also=(program,)))
    status = (await localnet.result("getSignatureStatuses", [signature]))["value"][0]
    assert status["err"] is None


async def test_programs_outlive_a_restart_also_those_deployed_or_closed(tmp_path: Path) -> None:
    memo = LiteSVM().get_account(MEMO_ID)
    assert memo is not None
    elf_path = tmp_path / "memo.so"
    elf_path.write_bytes(bytes(memo.data))
    genesis, deployed, closed = Keypair().pubkey(), Keypair(), Keypair()
    programs = (GenesisProgram(genesis, elf_path, None),)
    async with run_on(tmp_path / "ledger", programs=programs) as localnet:
        payer = await localnet.funded(100 * SOL)
        for program in (deployed, closed):
            await deploy(localnet, payer, program, bytes(memo.data))
        localnet.clock.advance()
        me = AccountMeta(payer.pubkey(), True, True)
        data = AccountMeta(program_data_address(closed.pubkey()), False, True)
        close = loader(5, b"", data, me, me, AccountMeta(closed.pubkey(), False, True))
        await send(localnet, await localnet.sign(payer, close))

    async with run_on(tmp_path / "ledger", programs=programs) as localnet:
        for program in (genesis, deployed.pubkey(), closed.pubkey()):
            call = await localnet.sign(payer, Instruction(program, b"still here", []))
            wire = base64.b64encode(bytes(call)).decode()
            ran = (await localnet.result("simulateTransaction", wire, {"encoding": "base64"}))["value"]
            if program == closed.pubkey():
                assert ran["err"] is not None
            else:
                assert ran["err"] is None and any("still here" in line for line in ran["logs"])


async def test_the_archive_answers_beyond_what_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localnet.bank.needed_slots", lambda lag: 64)
    monkeypatch.setattr("localnet.archive.PAGE_ROWS", 3)
    to = Keypair().pubkey()
    async with run_on(tmp_path / "ledger", limit_ledger_slots=300) as localnet:
        payer = await localnet.funded()
        signatures = []
        for lamports in range(1, 21):
            signatures.append(await send(localnet, await localnet.sign(payer, pay(payer, to, SOL // 10 + lamports))))
            localnet.clock.advance(5)
        localnet.clock.advance(64)
        found = await localnet.result("getSignaturesForAddress", str(to))
        assert [f["signature"] for f in found] == signatures[::-1]
        page = {"before": signatures[15], "until": signatures[3], "limit": 20}
        found = await localnet.result("getSignaturesForAddress", str(to), page)
        assert [f["signature"] for f in found] == signatures[14:3:-1]
        for signature in signatures:
            one = await localnet.result("getTransaction", signature)
            block = await localnet.result("getBlock", one["slot"], {"transactionDetails": "signatures"})
            assert block["signatures"] == [signature]
        # Beyond the limit it is forgotten, on disk as in what is told.
        localnet.clock.advance(150)
        first = await localnet.result("getFirstAvailableBlock")
        assert first == await localnet.result("getSlot", {"commitment": "processed"}) - 299
        assert await localnet.result("getTransaction", signatures[0]) is None
        kept = await localnet.result("getSignaturesForAddress", str(to))
        assert 0 < len(kept) < 20
    with sqlite3.connect(tmp_path / "ledger" / DATABASE) as db:
        assert db.execute("SELECT count(*) FROM mentions WHERE address = ?", (bytes(to),)).fetchone()[0] <= len(kept)
        assert db.execute("SELECT min(slot) FROM blocks").fetchone()[0] >= first


def config_of(folder: Path, **changes: Any) -> LocalnetConfig:
    return replace(LocalnetConfig(rpc_port=0, ledger=folder), **changes)


def test_a_changed_genesis_flag_is_named_and_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_node(config_of(tmp_path / "ledger"), START):
        pass
    mint = Keypair().pubkey()
    with open_node(config_of(tmp_path / "ledger", mint=mint, slots_per_epoch=64), START) as node:
        assert node.bank.slots_per_epoch == 432_000
    assert f"--mint {mint} is ignored" in caplog.text and "--slots-per-epoch 64" in caplog.text


def test_a_flag_that_is_not_given_is_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_node(config_of(tmp_path / "ledger", slots_per_epoch=64), START):
        pass
    with open_node(config_of(tmp_path / "ledger"), START) as node:
        assert node.bank.slots_per_epoch == 64
    assert "ignored" not in caplog.text


def test_the_epoch_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with open_node(config_of(folder, slots_per_epoch=40), START) as node:
        for slot in range(100):
            node.bank.advance(START + slot)
        before = node.bank.svm.get_clock()
    with open_node(config_of(folder, slots_per_epoch=40), START + 100) as node:
        after = node.bank.svm.get_clock()
        hashes = node.bank.svm.get_slot_hashes()
        schedule = node.bank.svm.get_epoch_schedule()
    assert (after.slot, after.epoch) == (102, 2) and schedule.slots_per_epoch == 40
    assert after.epoch_start_timestamp == before.epoch_start_timestamp == START + 78
    assert [slot for slot, _ in hashes] == list(range(101, -1, -1))


def damaged(folder: Path, kind: str) -> str:
    """Damages a ledger; returns what its refusal must say."""
    database = folder / DATABASE
    if kind == "torn":
        database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])
        return "damaged or not one of this program"
    if kind == "foreign":
        database.write_bytes(b"GIF89a" + os.urandom(5_000))
        return "damaged or not one of this program"
    if kind == "a page of zeros":
        size = 4096
        with database.open("r+b") as file:
            file.seek(database.stat().st_size // 2 // size * size)
            file.write(bytes(size))
        return "damaged or not one of this program"
    if kind == "another program's database":
        database.unlink()
        with sqlite3.connect(database) as db:
            db.execute("CREATE TABLE photos (cat BLOB)")
        return "not a localnet ledger's database"
    if kind == "another ledger's database":
        other = folder.parent / "other"
        with open_node(config_of(other), START):
            pass
        shutil.copy(other / DATABASE, database)
        return "belongs to the cluster of genesis"
    if kind == "no database":
        database.unlink()
        return "is missing"
    if kind == "no manifest":
        (folder / "localnet.json").unlink()
        return "lacks localnet.json"
    statement, says = {
        "an account's bytes": ("UPDATE accounts SET record = CAST(substr(record, 1, 20) || x'ff' AS BLOB)", "checksum"),
        "an account of another address": (
            "UPDATE accounts SET record = (SELECT record FROM accounts LIMIT 1)",
            "checksum",
        ),
        "a block lost": ("DELETE FROM blocks WHERE slot = 42", "blocks are missing"),
        "a transaction lost": ("DELETE FROM transactions WHERE place >> 24 = 7", "lacks transactions"),
        "a newer schema": ("PRAGMA user_version = 99", "schema 99"),
    }[kind]
    with sqlite3.connect(database) as db:
        db.execute(statement)
    return says


@pytest.mark.parametrize(
    "kind",
    [
        "torn", "foreign", "a page of zeros", "another program's database", "another ledger's database", "no database",
        "no manifest", "an account's bytes", "an account of another address", "a block lost", "a transaction lost",
        "a newer schema",
    ],
)  # fmt: skip
def test_a_damaged_ledger_is_refused_until_reset(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "ledger"
    with open_node(config_of(folder), START) as node:
        for n in range(40):
            message = Message.new_with_blockhash(
                [pay(node.faucet, Keypair().pubkey(), SOL + n)],
                node.faucet.pubkey(),
                node.bank.latest_blockhash(node.bank.slot),
            )
            assert node.bank.process(VersionedTransaction(message, [node.faucet])).error is None
            node.bank.advance(START + n)
        for n in range(3):
            node.bank.advance(START + 40 + n)
    says = damaged(folder, kind)
    with pytest.raises(LedgerError, match="--reset") as refused, open_node(config_of(folder), START):
        pass
    assert says in str(refused.value) and str(folder) in str(refused.value)
    with open_node(config_of(folder, reset=True), START) as node:
        assert node.bank.slot == 1


def test_a_ledger_half_made_is_made_again(tmp_path: Path) -> None:
    """What a process leaves that ends between the database and the manifest, or before the first slot is written."""
    folder = tmp_path / "ledger"
    with open_ledger(folder, reset=False, slots_per_epoch=64) as ledger:
        assert ledger.store is not None
        ledger.store.close()
    with open_node(config_of(folder), START) as node:
        assert (node.genesis_hash, node.bank.slots_per_epoch) == (ledger.genesis_hash, 64)
    for leave in ("localnet.lock",), ("localnet.lock", DATABASE):
        shutil.rmtree(folder)
        with open_ledger(folder, reset=False, slots_per_epoch=64) as ledger:
            assert ledger.store is not None
            ledger.store.close()
        for entry in folder.iterdir():
            if entry.name not in leave:
                entry.unlink()
        with open_node(config_of(folder), START) as node:
            assert node.bank.slot == 1 and node.genesis_hash != ledger.genesis_hash


async def test_a_disk_that_fails_ends_the_node_with_a_reason(tmp_path: Path) -> None:
    """The database is taken away from the writer under its feet, as a full disk would."""
    folder = tmp_path / "ledger"
    with pytest.raises(LedgerError, match=r"every slot up to 4\b"), open_node(config_of(folder), START) as node:
        for slot in range(4):
            node.bank.advance(START + slot)
        [write] = node.bank.on_slot_end
        writer = next(c.cell_contents for c in write.__closure__ or () if isinstance(c.cell_contents, LedgerWriter))
        writer.wait_for(4)
        with sqlite3.connect(folder / DATABASE) as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON blocks BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        for slot in range(40):
            node.bank.advance(START + 4 + slot)
    with sqlite3.connect(folder / DATABASE) as db:
        db.execute("DROP TRIGGER full")
    with open_node(config_of(folder), START) as node:
        assert node.bank.slot == 5


def test_nothing_is_told_as_finalized_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit is held back; the bank then waits at the slot that would make an unwritten one final."""
    real_write = LedgerStore.write
    seen: list[tuple[int, int]] = []
    with open_node(config_of(tmp_path / "ledger", finalized_lag_slots=4), START) as node:

        def slow_write(store: LedgerStore, slots: Any, *, first_slot: int) -> None:
            final = node.bank.slot_at("finalized")  # type: ignore[arg-type]  # a StrEnum
            seen.append((final, slots[0].block.slot))
            real_write(store, slots, first_slot=first_slot)

        monkeypatch.setattr(LedgerStore, "write", slow_write)
        for slot in range(60):
            node.bank.advance(START + slot)
    assert seen and all(final < oldest_unwritten for final, oldest_unwritten in seen)


@contextmanager
def process_on(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "localnet", "--rpc-port", "0", "--json", "--ledger", str(folder)]
    command += ["--slot-ms", "20", "--finalized-lag", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)["rpc_url"]
    finally:
        process.kill()
        process.communicate()


@contextmanager
def caller(url: str) -> Iterator[Callable[..., Any]]:
    with httpx.Client(timeout=60) as client:

        def call(method: str, *params: Any) -> Any:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            answer = client.post(url, json=body).json()
            assert "error" not in answer, answer
            return answer["result"]

        yield call


# POUW_KILLS=500 runs it for long; each kill is about a second.
KILLS = int(os.environ.get("POUW_KILLS", "2"))


def test_killed_at_any_moment_it_opens_again_with_all_that_was_final(tmp_path: Path) -> None:
    """Airdrops until the kill, each told as finalized or not; the next run has every one that was, and whole books."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    finalized: dict[str, int] = {}
    supply: int | None = None
    told_slot, to = 0, Keypair().pubkey()
    for _ in range(KILLS + 1):
        with process_on(tmp_path / "ledger") as (process, url), caller(url) as call:
            if supply is None:
                supply = total_lamports(call)
            # The same account takes every airdrop, so its balance says how many the state holds.
            status = {}
            if finalized:
                found = call("getSignatureStatuses", list(finalized)[-256:], {"searchTransactionHistory": True})
                assert all(s is not None and s["confirmationStatus"] == "finalized" for s in found["value"]), seed
            assert call("getSlot", {"commitment": "finalized"}) >= told_slot, seed
            history = call("getSignaturesForAddress", str(to), {"limit": 1000})
            assert len({entry["signature"] for entry in history} & set(finalized)) == min(len(finalized), 1000), seed
            assert call("getBalance", str(to))["value"] == len(history) * SOL, seed
            assert total_lamports(call) == supply - len(history) * 5_000, seed
            sent: list[str] = []
            for _ in range(chance.randrange(5, 40)):
                sent.append(call("requestAirdrop", str(to), SOL))
                found = call("getSignatureStatuses", sent[-256:])["value"]
                status = dict(zip(sent[-256:], found, strict=True))
                told_slot = call("getSlot", {"commitment": "finalized"})
            finalized |= {s: f["slot"] for s, f in status.items() if f and f["confirmationStatus"] == "finalized"}
            process.send_signal(signal.SIGKILL)
            process.wait(30)
    assert finalized


def total_lamports(call: Callable[..., Any]) -> int:
    """Of every account that transfers here touch: no lamport is made or lost but the fees."""
    config = {"encoding": "base64", "commitment": "finalized"}
    return sum(a["account"]["lamports"] for a in call("getProgramAccounts", str(SYSTEM_ID), config))
