"""Some thousand requests made from the OpenRPC document, over real HTTP: each answered as documented, and what was refused has changed nothing.

POUW_FUZZ_REQUESTS and POUW_FUZZ_SEED make it longer and other; against whole processes: tests/sequencer/fuzzing.py.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec
import pytest
from solders.keypair import Keypair

from sequencer.dispatch import METHODS
from sequencer.errors import RpcError
from sequencer.node import L1View
from settlement.bls import SecretKey
from settlement.rpc_codes import Code
from settlement.sequencer_client import SequencerClient
from settlement.signing import node_id
from tests.sequencer.chain_kit import DOMAIN, Bench
from tests.sequencer.contract import Contract
from tests.sequencer.door_kit import SLOT, Open, opened
from tests.sequencer.fuzzing import Finding, Generator, Judge, Request, World, show
from tests.sequencer.kit import DATASET, ENVIRONMENT, SPEC, Party, verdict_params

REQUESTS = int(os.environ.get("POUW_FUZZ_REQUESTS", "2500"))
SEED = int(os.environ.get("POUW_FUZZ_SEED", "1"))
GROWTH_BYTES = 150 * 2**20
WORKERS = ("revealer", "committer", "holder", "idler")


async def inhabited(there: Open) -> World:
    """Tasks in every state up to revealed, a proposal in flight, and parties of every kind."""
    keypairs = {
        name: Keypair.from_seed(bytes([40 + n]) * 32) for n, name in enumerate(("client", "stranger", *WORKERS))
    }
    bench = Bench(there.node.database, there.node.chain, [], slot=SLOT)
    for name, keypair in keypairs.items():
        if name != "stranger":
            bench.deposit(bytes(keypair.pubkey()), 1_000_000_000)
            bench.ingest()
            bench.whole_epoch()
    parties = {}
    for name, keypair in keypairs.items():
        client = await SequencerClient(there.url, keypair, attempts=1).__aenter__()
        parties[name] = Party(keypair, client, random_bytes=Random(name).randbytes)
    client = parties["client"]
    blob = await client.client.put_blob(DATASET)
    tasks = [await client.submit(1_000, seed=seed) for seed in range(6)]
    for name in WORKERS:
        await parties[name].register()
    await parties["revealer"].do()
    committed = await parties["committer"].prepare(await parties["committer"].pull())
    await committed.commit()
    held = await parties["holder"].prepare(await parties["holder"].pull())
    calls: dict[str, list[tuple[str, Any]]] = {
        "revealResult": [("committer", {**committed.params, "nonce": 0})],
        "commitResult": [
            ("holder", {key: held.params[key] for key in ("taskId", "leaseId")} | {"commitment": held.commitment})
        ],
        "renewLease": [("holder", {key: held.params[key] for key in ("taskId", "leaseId")})],
        "pullTask": [("idler", {}), ("holder", {})],
        "submitTask": [
            ("client", {"spec": {**SPEC, "seed": n}, "feeLamports": 7, "deadlineSlot": 5_000, "nonce": 0})
            for n in range(9)
        ],
        "withdraw": [(name, {"lamports": 3, "nonce": 0}) for name in keypairs],
        "registerWorker": [("idler", {"stakeLamports": 5, "environment": ENVIRONMENT, "nonce": 0})],
        "submitVerdict": [],
        "submitAttestation": [],
    }
    row = bench.cut().row
    for n in range(1, 4):
        authority, secret = Keypair.from_seed(bytes([n]) * 32), SecretKey.from_seed(bytes([n]) * 32)
        keypairs[f"validator-{n}"] = authority
        async with SequencerClient(there.url, authority, attempts=1) as voter:
            duties = await voter.call("getDuties", {"validator": str(authority.pubkey())})
        for duty in duties["results"]:
            calls["submitVerdict"].append((f"validator-{n}", verdict_params(duty, n - 1, secret)))
        signed = {"hash": row.hash.hex(), "setIndex": n - 1, "signature": secret.sign(row.hash).hex()}
        calls["submitAttestation"].append((f"validator-{n}", {"epoch": row.epoch, "attempt": row.attempt, **signed}))
    known: dict[str, list[Any]] = {
        "taskId": tasks,
        "before": tasks,
        "blob": [blob],
        "spec": [{**SPEC, "seed": n} for n in range(3)],
        "epoch": [0, 1, row.epoch, row.epoch + 1, 2**64 - 1],
        "attempt": [0, 1],
        "leaseId": [1, 2, 3, 4],
        "hash": [row.hash.hex()],
        "resultHash": [calls["revealResult"][0][1]["resultHash"]],
        "setIndex": [0, 1, 2, 3, 65_535],
        "limit": [1, 2, 1_000],
        "environment": [ENVIRONMENT, {}],
        "deadlineSlot": [5_000, 0, 2**64 - 1],
        "client": [str(keypairs["client"].pubkey())],
    }

    def nonce(name: str) -> int:
        account = there.node.state.account(node_id(bytes(keypairs[name].pubkey())))
        return account.nonce if account else 0

    for party in parties.values():
        await party.client.aclose()
    return World(DOMAIN, keypairs, known, calls, lambda: there.node.slot, nonce)


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_every_request_is_answered_as_documented_and_a_refusal_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, l1_stale_seconds=1e9) as there:
        world = await inhabited(there)
        async with httpx.AsyncClient(base_url=there.url, trust_env=False, timeout=120) as http:
            contract = Contract((await http.get("/openrpc.json")).json())
            generator, judge = Generator(Random(SEED), contract, world), Judge(http, contract)
            node, memory, deepest = there.node, rss_bytes(), Counter[str]()
            for number in range(REQUESTS):
                request = generator.request()
                before = node.state.root
                answers = await judge.send(request)
                notified = not answers and request.kind in (
                    "envelope",
                    "batch",
                    "bytes",
                )  # nobody tells whether it was done
                if node.state.root != before and not notified and not any("result" in answer for answer in answers):
                    raise Finding(f"a refusal changed the state: {show(request)}")
                for answer in answers:
                    deepest["result" if "result" in answer else answer["error"]["data"]["name"]] += 1
                if number % 500 == 499:  # time passes, but not beyond the expiry of the proposal
                    slot = min(node.slot + 10, SLOT + 100)
                    node.view = L1View(slot=slot, finalized_slot=node.slot, read_at=node.now())
            assert rss_bytes() - memory < GROWTH_BYTES
            assert (await http.get("/health")).text == "ok"
            assert node.alarms == {}
            await none_left_behind(there)
        print(sorted(judge.counts.items()))
        # The generator reaches the rules behind the parameters: without this, all might be refused at the first check.
        assert deepest["result"] > REQUESTS / 20, deepest
        reached = {
            "PARSE_ERROR",
            "INVALID_REQUEST",
            "INVALID_PARAMS",
            "BAD_SIGNATURE",
            "AUTH_EXPIRED",
            "UNKNOWN_TASK",
            "NOT_FOUND",
        }
        assert reached <= deepest.keys(), deepest


async def none_left_behind(there: Open) -> None:
    """Nothing half received lies about."""
    assert list((there.node.config.data_dir / "blobs" / "incoming").iterdir()) == []
    rebuilt = Bench(there.node.database, there.node.chain, [], slot=there.node.slot)
    rebuilt.check_restart()


def crash(node: Any, params: Any) -> Any:
    raise KeyError("x")


def refuse(node: Any, params: Any) -> Any:
    raise RpcError(Code.LEASE_LOST, "a code that this method does not have")


def misshape(node: Any, params: Any) -> Any:
    return {"epoch": -1}


@pytest.mark.parametrize("fault", [crash, refuse, misshape])
async def test_a_fault_would_be_found(tmp_path: Path, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "getEpochInfo", replace(METHODS["getEpochInfo"], handler=fault))
    async with opened(tmp_path) as there, httpx.AsyncClient(base_url=there.url, trust_env=False) as http:
        judge = Judge(http, Contract((await http.get("/openrpc.json")).json()))
        call = {"jsonrpc": "2.0", "id": 1, "method": "getEpochInfo", "params": {}}
        with pytest.raises(Finding):
            await judge.send(Request("valid", msgspec.json.encode(call)))
