"""The same requests against a sequencer that is a process of its own, on an embedded L1, while epochs are cut, attested and posted.

POUW_FUZZ_REQUESTS and POUW_FUZZ_SEED make it longer and other. The rate is in the output with -s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import trio

from tests.sequencer.contract import Contract
from tests.sequencer.fuzzing import Generator, Judge, World
from tests.sequencer.kit import DATASET, ENVIRONMENT, SPEC, Network, config_for, start_l1, until

REQUESTS = int(os.environ.get("POUW_FUZZ_REQUESTS", "400"))
SEED = int(os.environ.get("POUW_FUZZ_SEED", "2"))
GROWTH_BYTES = 200 * 2**20
WARM_UP = 200


@pytest.fixture
async def process(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[tuple[Network, subprocess.Popen[str]]]:
    client, l1 = await start_l1(nursery, 3)
    # A client that a loaded machine holds up for seconds would find its idle connection closed just as it sends: not what is asked here.
    config = config_for(l1, tmp_path, header_deadline_seconds=600, body_deadline_seconds=600).model_dump_json()
    running = start(config, tmp_path / "log")
    try:
        assert running.stdout is not None
        port = int(await trio.to_thread.run_sync(running.stdout.readline))
        nursery.start_soon(trio.to_thread.run_sync, drain, running.stdout)
        yield Network(l1, f"http://127.0.0.1:{port}", nursery), running
    finally:
        running.terminate()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(running.wait)
            await client.__aexit__(None, None, None)
        nursery.cancel_scope.cancel()


def start(config: str, log_path: Path) -> subprocess.Popen[str]:
    with log_path.open("w") as log:
        command = [sys.executable, "-m", "tests.sequencer.run_node", config]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)


def drain(lines: Any) -> None:
    for _ in lines:
        pass


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def inhabited(network: Network) -> World:
    parties = {
        "client": await network.party(500_000_000),
        "worker": await network.party(50_000_000),
        "stranger": await network.party(),
    }
    voters = await network.voters()
    network.start_voters(voters)
    blob = await parties["client"].client.put_blob(DATASET)
    tasks = [await parties["client"].submit(1_000, seed=seed) for seed in range(3)]
    await parties["worker"].register()
    keypairs = {name: party.keypair for name, party in parties.items()}
    keypairs |= {f"validator-{n}": voter.party.keypair for n, voter in enumerate(voters)}
    domain, client = await parties["client"].client.domain(), parties["client"].client
    calls: dict[str, list[tuple[str, Any]]] = {
        "submitTask": [
            ("client", {"spec": {**SPEC, "seed": n}, "feeLamports": 7, "deadlineSlot": 2**40, "nonce": 0})
            for n in range(9)
        ],
        "withdraw": [(name, {"lamports": 3, "nonce": 0}) for name in ("client", "worker")],
        "registerWorker": [("worker", {"stakeLamports": 5, "environment": ENVIRONMENT, "nonce": 0})],
        "pullTask": [("worker", {})],
    }
    known = {
        "taskId": tasks,
        "before": tasks,
        "blob": [blob],
        "leaseId": [1, 2],
        "epoch": [1, 2, 3],
        "attempt": [0, 1],
        "setIndex": [0, 1, 2, 3],
    }
    start, since = await client.slot(), time.monotonic()
    return World(
        domain, keypairs, known, calls, lambda: start + int((time.monotonic() - since) * 10), NONCES.__getitem__
    )


NONCES: dict[str, int] = {}


async def learn_nonces(network: Network, world: World, http: httpx.AsyncClient) -> None:
    for name, keypair in world.parties.items():
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "getBalance",
            "params": {"publicKey": str(keypair.pubkey()), "commitment": "processed"},
        }
        answer = (await http.post("/", json=call)).json()
        NONCES[name] = answer["result"]["value"]["nonce"] if "result" in answer else 0


async def test_a_process_under_fire_answers_as_documented_and_goes_on(
    process: tuple[Network, subprocess.Popen[str]],
) -> None:
    network, running = process
    world = await inhabited(network)
    async with httpx.AsyncClient(base_url=network.url, trust_env=False, timeout=120) as http:
        contract = Contract((await http.get("/openrpc.json")).json())
        generator, judge = Generator(Random(SEED), contract, world), Judge(http, contract)
        memory, started = 0, time.monotonic()
        for number in range(REQUESTS):
            if number == min(WARM_UP, REQUESTS - 1):
                memory = rss_bytes(running.pid)
            if number % 20 == 0:
                await learn_nonces(network, world, http)
            await judge.send(generator.request())
        seconds = time.monotonic() - started
        grown = rss_bytes(running.pid) - memory
        print(
            f"{REQUESTS} requests in {seconds:.0f} s, {REQUESTS / seconds:.0f}/s, memory grew by {grown / 2**20:.0f} MiB"
        )
        print(sorted(judge.counts.items()))
        assert running.poll() is None
        assert grown < GROWTH_BYTES

        async def posting_goes_on() -> bool:
            call = {"jsonrpc": "2.0", "id": 1, "method": "getEpochInfo"}
            info = (await http.post("/", json=call)).json()["result"]["value"]
            return bool(info["postedEpoch"] >= info["epoch"] - 1 and info["records"] == 0)

        await until("everything accepted to be posted", posting_goes_on, 120)
        assert (await http.get("/health")).text == "ok"
