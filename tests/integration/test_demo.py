"""`pouw demo` as a user runs it: what its JSON holds, and that it leaves nothing, however it ends."""

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cli.demo import FEE_LAMPORTS, HONEST_WORKERS, VALIDATORS
from cli.demo_network import Network
from localnet.real_validator import free_ports
from settlement import idl
from settlement.accounts import LOCALNET_PROFILE
from settlement.l1_setup import ensure_initialized
from tests.conftest import L1
from tests.integration.demo_process import Demo, demo, the_only_line

KEYS = ["tasks", "rejected", "checkpoints", "rewards", "program_id", "l1", "seconds"]
TASK = ["id", "kind", "mode", "status", "worker", "accuracy", "replayed_share"]
REJECTED = ["task", "worker", "reason"]
CHECKPOINT = ["epoch", "hash", "signature", "slot", "compute_units", "signers", "set_size", "status"]
REWARD = ["account", "claimed_lamports", "balance_before_lamports", "balance_after_lamports"]
INTERRUPTED, FAILED = 130, 1


def check_report(report: dict[str, Any], l1: str) -> None:
    """All that the JSON promises, as far as it can be seen in it."""
    assert list(report) == KEYS
    assert (report["l1"], report["program_id"]) == (l1, str(idl.committed().address))
    assert 0 < report["seconds"] < 600

    tasks = report["tasks"]
    assert len(tasks) >= 6 and all(list(task) == TASK for task in tasks)
    assert len({task["id"] for task in tasks}) == len(tasks)
    for task in tasks:
        assert (task["kind"], task["mode"], task["status"]) == ("training", "replay", "paid")
        assert len(bytes.fromhex(task["id"])) == 32
        assert 0.95 <= task["accuracy"] <= 1 and 0 < task["replayed_share"] < 1

    rejected = report["rejected"]
    assert rejected and all(list(row) == REJECTED for row in rejected)
    (liar,) = {row["worker"] for row in rejected}
    assert {row["reason"] for row in rejected} == {"wrong_state"}
    by_id = {task["id"]: task for task in tasks}
    assert all(by_id[row["task"]]["worker"] != liar for row in rejected)

    checkpoints = report["checkpoints"]
    assert len(checkpoints) >= 3 and all(list(row) == CHECKPOINT for row in checkpoints)
    assert [row["epoch"] for row in checkpoints] == list(range(1, len(checkpoints) + 1))
    assert all(before["slot"] < after["slot"] for before, after in pairwise(checkpoints))
    for row in checkpoints:
        assert len(bytes.fromhex(row["hash"])) == 32 and Signature.from_string(row["signature"])
        assert row["set_size"] == VALIDATORS and 3 * row["signers"] >= 2 * VALIDATORS
        assert 100_000 < row["compute_units"] <= 1_400_000 and row["status"] == "finalized"

    rewards = report["rewards"]
    assert 1 <= len(rewards) <= HONEST_WORKERS and all(list(row) == REWARD for row in rewards)
    earned = {row["account"]: row["claimed_lamports"] for row in rewards}
    workers = [task["worker"] for task in tasks]
    assert earned == {worker: workers.count(worker) * FEE_LAMPORTS for worker in workers}
    assert liar not in earned
    for row in rewards:
        assert Pubkey.from_string(row["account"])
        assert row["balance_after_lamports"] - row["balance_before_lamports"] == row["claimed_lamports"]


@pytest.mark.parametrize("l1", ["embedded", pytest.param("test-validator", marks=pytest.mark.test_validator)])
async def test_its_json_says_what_is_on_l1(l1: str, tmp_path: Path) -> None:
    with demo(tmp_path / "demo", "--l1", l1, "--json") as running:
        assert await running.wait() == 0, running.said()
        check_report(the_only_line(running.stdout), l1)
        await running.left_nothing(set())


@pytest.mark.test_validator
async def test_it_runs_on_an_l1_that_somebody_else_started(tmp_path: Path) -> None:
    network = Network(tmp_path / "l1", "test-validator")
    try:
        await network.start_l1()
        arguments = ("--url", network.url, "--authority", network.authority_path, "--json")
        with demo(tmp_path / "demo", *map(str, arguments)) as running:
            assert await running.wait() == 0, running.said()
            check_report(the_only_line(running.stdout), network.url)
            await running.left_nothing(set())
    finally:
        await network.end()


@pytest.fixture
async def somebodys_l1(tmp_path: Path) -> AsyncIterator[Network]:
    """An embedded L1 in a process of the test's, not initialised; its authority's key is at `authority_path`."""
    network = Network(tmp_path / "l1")
    try:
        await network.start_l1()
        yield network
    finally:
        await network.end()


def children(running: Demo) -> dict[str, int]:
    """The processes that it started itself, by their part in the network."""
    found = {}
    for pid, command in running.processes().items():
        for part in ("localnet", "sequencer.toml", "validator-1.toml", "worker-0.toml"):
            if part in command:
                found[part.removesuffix(".toml")] = pid
    return found


async def test_ctrl_c_in_the_middle_leaves_nothing_but_the_l1_it_was_given(
    somebodys_l1: Network, tmp_path: Path
) -> None:
    given = ["--url", somebodys_l1.url, "--authority", somebodys_l1.authority_path]
    with demo(tmp_path / "first", *given, "--json") as running:
        await running.until_said("checkpoint 1: ")
        ports = running.ports()
        assert set(children(running)) == {"sequencer", "validator-1", "worker-0"} and len(ports) == 1
        assert len(list(running.temporary.iterdir())) == 1
        running.process.send_signal(signal.SIGINT)
        assert await running.wait() == INTERRUPTED
        await running.left_nothing(ports)
        assert running.stdout.read_text() == ""
    async with somebodys_l1.l1() as client:
        assert (await client.fetch_config()).posted.epoch >= 1
    with demo(tmp_path / "second", *given) as running:
        assert await running.wait() == FAILED
        assert "has checkpoints up to epoch" in running.said() and "needs a fresh one" in running.said()
        await running.left_nothing(set())


async def test_a_child_that_dies_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path / "demo", "--json") as running:
        await running.until_said("task ")
        ports = running.ports()
        assert len(ports) == 3  # L1's two and the sequencer's
        os.kill(children(running)["validator-1"], signal.SIGKILL)
        assert await running.wait() == FAILED
        assert "validator-1 ended by itself (exit code -9)" in running.said()
        await running.left_nothing(ports)
        assert running.stdout.read_text() == ""


async def test_its_own_death_leaves_no_process(tmp_path: Path) -> None:
    """kill -9 of the demo: nobody is there to clean the folder up, but the kernel tells the children."""
    with demo(tmp_path / "demo") as running:
        with trio.fail_after(300):
            while len(children(running)) < 3:
                await trio.sleep(0.1)
        ports = running.ports()
        running.process.kill()
        await running.wait()
        with trio.move_on_after(60):
            while running.processes():
                await trio.sleep(0.1)
        assert running.processes() == {} and ports
        for folder in running.temporary.iterdir():
            assert folder.name.startswith("pouw-demo-")


async def refused(folder: Path, *arguments: str | Path) -> str:
    """What a demo says that refuses to start."""
    with demo(folder, *arguments, "--json") as running:
        assert await running.wait() == FAILED, running.said()
        await running.left_nothing(set())
        assert running.stdout.read_text() == ""
        return running.said()


async def test_a_program_without_its_authority_is_refused(somebodys_l1: Network, tmp_path: Path) -> None:
    assert "pass --authority KEYPAIR" in await refused(tmp_path / "demo", "--url", somebodys_l1.url)
    stranger = tmp_path / "nobody.json"
    said = await refused(tmp_path / "stranger", "--url", somebodys_l1.url, "--authority", stranger)
    assert str(stranger) in said


async def test_a_config_of_another_profile_is_refused_by_name(l1: L1, tmp_path: Path) -> None:
    profile = replace(LOCALNET_PROFILE, challenge_window_slots=17)
    await ensure_initialized(l1.client, l1.authority, l1.rich, profile)
    said = await refused(tmp_path / "demo", "--url", l1.url)
    assert "challenge_window_slots" in said and "17" in said and "16" in said


async def test_a_config_of_another_genesis_is_refused_by_name(l1: L1, nursery: trio.Nursery, tmp_path: Path) -> None:
    await ensure_initialized(l1.client, l1.authority, l1.rich)
    genesis = await l1.client.genesis_hash()
    url, fake_genesis = await fake_cluster(nursery, l1.url)
    said = await refused(tmp_path / "demo", "--url", url)
    assert genesis.hex() in said or str(Hash(genesis)) in said
    assert bytes(fake_genesis).hex() in said or str(fake_genesis) in said


async def fake_cluster(nursery: trio.Nursery, url: str) -> tuple[str, Hash]:
    """A fake: the L1 at `url` under another genesis hash, as if its accounts had been copied from another cluster."""
    fake_genesis, port = Hash(bytes(Keypair().pubkey())), free_ports(1)
    http = httpx.AsyncClient(trust_env=False)

    async def call(request: Request) -> JSONResponse:
        body = await request.json()
        answer = (await http.post(url, json=body)).json()
        if body["method"] == "getGenesisHash":
            answer["result"] = str(fake_genesis)
        return JSONResponse(answer)

    config = ServerConfig()
    config.bind, config.accesslog, config.errorlog = [f"127.0.0.1:{port}"], None, None
    await nursery.start(serve, Starlette(routes=[Route("/", call, methods=["POST"])]), config)
    return f"http://127.0.0.1:{port}", fake_genesis
