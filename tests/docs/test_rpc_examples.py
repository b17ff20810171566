"""Every example of docs/rpc.md is called on a live sequencer, in the order in which one task goes its way; the tables are those of the code."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import torch
import trio

from sequencer import openrpc, service
from sequencer.dispatch import METHODS
from sequencer.methods import Read, Recorded, Signed
from settlement import messages, work
from settlement.rpc_codes import WHEN, Code
from settlement.spec import draw_intervals
from tests.docs import examples
from tests.docs.caller import Caller
from tests.docs.placeholders import Bindings, Mismatch, fill, match
from tests.sequencer import kit
from tests.sequencer.contract import Contract
from tests.sequencer.kit import Network, Voter, config_for, start_l1, until
from validator import replay
from worker import executor
from worker.digits import digits_blob
from worker.environment import describe
from worker.job import Trained

SLOT_MS = 200  # an attempt at posting lives 64 slots: time enough to look at one before it is attested
OTHER_SHA256 = "0" * 64


@dataclass
class Script:
    """The examples by heading, the caller, what the placeholders stand for by now, and which examples have run."""

    caller: Caller
    known: Bindings
    rpc: dict[str, examples.Example] = field(default_factory=examples.rpc_examples)
    http: dict[str, examples.HttpExample] = field(default_factory=examples.http_examples)
    done: set[str] = field(default_factory=set)

    async def run(self, *headings: str) -> None:
        for heading in headings:
            example = self.rpc[heading]
            params = fill(example.request["params"], self.known)
            answer = await self.caller.call(example.request["method"], params)
            match(example.answer, answer, self.known, heading)
            self.done.add(heading)

    async def run_http(self, heading: str, body: bytes = b"") -> httpx.Response:
        example = self.http[heading]
        first, headers, _ = example.request
        response = await self.caller.http_call(fill(first, self.known), headers, body)
        status, expected_headers, expected = example.answer
        assert response.status_code == int(status.split()[0]), response.text
        for name, value in expected_headers.items():
            assert response.headers[name] == value
        if expected is not None:
            match(expected, response.json(), self.known, heading)
        self.done.add(heading)
        return response


@pytest.fixture
async def network(nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Network]:
    """One validator, so that every answer of the run is known beforehand; a sequencer in this process."""
    monkeypatch.setattr(kit, "SLOT_MS", SLOT_MS)
    client, l1 = await start_l1(nursery, 1)
    port = await nursery.start(service.run, config_for(l1, tmp_path, epoch_seconds=1))
    yield Network(l1, f"http://127.0.0.1:{port}", nursery)
    await client.__aexit__(None, None, None)
    nursery.cancel_scope.cancel()


async def test_every_example_runs(network: Network, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    client, worker = await network.party(10_000_000), await network.party(5_000_000)
    (voter,) = await network.voters()
    parties = {"client": client.keypair, "worker": worker.keypair, "validator": voter.party.keypair}
    dataset = tmp_path / "dataset"
    dataset.write_bytes(digits_blob())
    domain = await client.client.domain()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        contract = Contract((await http.get(f"{network.url}/openrpc.json")).json())
        caller = Caller(network.url, http, domain, parties, contract)
        known: Bindings = {name: str(keypair.pubkey()) for name, keypair in parties.items()}
        known["datasetSha256"] = sha256(dataset.read_bytes()).hexdigest()
        known["deadlineSlot"] = await caller.slot() + 5_000
        script = Script(caller, known)
        async with trio.open_nursery() as attesting:
            attesting.start_soon(voter.run)
            await _asked_at_the_start(script, dataset.read_bytes())
            await _submitted(script)
            trained = await _worked(script, network, dataset, tmp_path / "trained")
            attesting.cancel_scope.cancel()
        await _judged(script, network, voter, trained, dataset, tmp_path)
        await _settled(script, network, voter)
        assert script.done == {*script.rpc, *script.http}, "examples that no step of this test runs"


async def _asked_at_the_start(script: Script, dataset: bytes) -> None:
    envelope = script.rpc["getVersion"]
    match(envelope.answer, await script.caller.send(envelope.request), script.known, "getVersion")
    script.done.add("getVersion")
    await script.run("getHealth", "getEpochInfo", "getValidators", "METHOD_NOT_FOUND")
    await script.run_http("PUT /blobs", dataset)
    discovered = await script.caller.send({"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"})
    assert discovered["result"] == (await script.run_http("GET /openrpc.json")).json()
    assert (await script.run_http("GET /blobs")).content == dataset
    await script.run_http("GET /blobs of what is not there")


async def _submitted(script: Script) -> None:
    await script.run("submitTask", "withdraw")
    spec = fill(script.rpc["submitTask"].request["params"]["spec"], script.known)
    other = {**spec, "dataset_info": {**spec["dataset_info"], "sha256": OTHER_SHA256}}
    script.known |= {"spec": spec, "specOfOtherData": other, "otherSha256": OTHER_SHA256}
    await script.run("INVALID_PARAMS", "BAD_SIGNATURE", "AUTH_EXPIRED", "WRONG_NONCE", "UNKNOWN_ACCOUNT")
    await script.run("INSUFFICIENT_BALANCE", "INVALID_SPEC", "UNSUPPORTED_MODE", "UNKNOWN_TASK", "BLOB_MISSING")
    await script.run("DEADLINE", "REJECTED_BY_LEDGER", "NOT_FOUND", "NOT_A_VALIDATOR", "STAKE_TOO_LOW")


async def _worked(script: Script, network: Network, dataset: Path, folder: Path) -> Trained:
    """Trains for real. What is revealed of it is bound to the names that the examples have for it."""
    known = script.known
    device = await trio.to_thread.run_sync(executor.start, "cpu", 1)
    environment = describe(device)
    known |= {"environment": environment, "capability": environment["cpu_capability"]}
    known |= {name: environment[name] for name in ("torch", "safetensors")}
    await script.run("registerWorker", "pullTask", "getWorkers")
    known["usedNonce"] = str(script.caller.used["worker"]["nonce"])
    await script.run("NONCE_USED", "renewLease", "LEASE_LOST")

    trained = await trio.to_thread.run_sync(executor.train, known["spec"], str(dataset), str(folder), device)
    worker, task_id, salt = script.caller.parties["worker"], bytes.fromhex(known["taskId"]), bytes(range(32))
    key = bytes(worker.pubkey())
    result_hash = messages.result_hash(
        task_id,
        key,
        2,
        work.environment_hash(environment),
        trained.work_root,
        trained.model_hash,
        work.metrics_hash(trained.accuracy, trained.loss),
    )
    commitment = messages.commitment(script.caller.domain, task_id, known["leaseId"], key, salt, result_hash)
    known |= {"salt": salt.hex(), "resultHash": result_hash.hex(), "commitment": commitment.hex()}
    known |= {"accuracy": trained.accuracy, "loss": trained.loss, "workRoot": trained.work_root.hex()}
    known |= {"entriesSha256": sha256(trained.entries_blob).hexdigest(), "modelSha256": trained.model_hash.hex()}
    await script.run("commitResult", "WRONG_COMMITMENT")
    party = await network.party(keypair=worker)
    for blob in (*trained.files.values(), trained.entries_blob):
        await party.client.put_blob(blob)
    return trained


async def _judged(
    script: Script, network: Network, voter: Voter, trained: Trained, dataset: Path, folder: Path
) -> None:
    """Everything before the reveal is attested first, so that the proposal which getDuties shows is the reveal's."""
    known = script.known
    await until("a quiet line", lambda: _attest_what_waits(voter))
    await script.run("revealResult")

    async def proposed() -> Any:
        return (await voter.party.client.call("getDuties", {"validator": voter.party.name}))["proposal"]

    await until("the proposal", proposed)
    await script.run("getDuties", "getProposal", "getTrace", "getAttestations", "WRONG_PROPOSAL")
    digest = bytes.fromhex(known["checkpointHash"])
    known["attestation"] = voter.secret.sign(digest).hex()
    await script.run("submitAttestation")

    duties = await voter.party.client.call("getDuties", {"validator": voter.party.name})
    (duty,) = duties["results"]
    sample = voter.secret.sign(messages.sample_digest(bytes.fromhex(duty["taskId"]), bytes.fromhex(duty["commitment"])))
    checked = draw_intervals(sample, len(trained.entries) - 1)
    blobs = folder / "blobs"
    blobs.mkdir()
    for name, path in trained.files.items():
        shutil.copy(path, blobs / name.hex())
    (blobs / duty["entriesSha256"]).write_bytes(trained.entries_blob)
    judgement = await trio.to_thread.run_sync(replay.judge_files, duty, checked, dataset, blobs, torch.device("cpu"))
    assert judgement.accepts, judgement.detail
    known |= {"sampleSignature": sample.hex(), "checkedIntervals": checked, "accuracyPpm": judgement.accuracy_ppm}
    await script.run("submitVerdict", "ALREADY_DECIDED")


async def _attest_what_waits(voter: Voter) -> bool:
    await voter.once()
    info = await voter.party.client.call("getEpochInfo")
    return info["records"] == 0 and info["postedEpoch"] == info["epoch"] - 1


async def _settled(script: Script, network: Network, voter: Voter) -> None:
    caller, known = script.caller, script.known

    async def final() -> bool:
        await voter.once()
        task = (await caller.call("getTask", {"taskId": known["taskId"]}))["value"]
        balance = await caller.call("getBalance", {"publicKey": known["worker"], "commitment": "confirmed"})
        paid = "value" in balance and balance["value"]["payableLamports"] > 0
        checkpoint = (await caller.call("getCheckpoint", {"epoch": known["epoch"]}))["value"]
        return paid and "epoch" in task and checkpoint["status"] == "finalized"

    await until("finality", final, 90)
    await script.run("getTask", "getTasks", "getTaskResult", "getReceipt", "getCheckpoint", "getBalance")


def test_the_tables_are_those_of_the_code() -> None:
    """Methods, kinds and params of the tables are what the server dispatches on; errors are those it can give."""
    kinds = {Read: "", Signed: "signed", Recorded: "record"}
    documented = {row.method: (row.kind, row.params) for row in examples.rows()}
    assert documented.keys() == {*METHODS, openrpc.DISCOVER}
    for name, method in METHODS.items():
        kind, params = documented[name]
        assert kind == kinds[type(method)], name
        wanted = {
            field.encode_name + ("" if field.required else "?")
            for field in msgspec.structs.fields(method.params)
            if field.name != "auth"
        }
        assert set(_names(params)) == wanted, name
    own = {code.name: (int(code), WHEN[code]) for code in Code if int(code) > -32600 or int(code) < -33000}
    assert examples.error_rows() == own


def _names(params: str) -> list[str]:
    """The parameters in a table's cell, without what is said of them in brackets."""
    depth, plain = 0, ""
    for letter in params:
        depth += letter in "([{"
        if not depth:
            plain += letter
        depth -= letter in ")]}"
    return [part.strip() for part in plain.split(",") if part.strip() not in ("", "–")]


def test_every_method_has_an_example_of_its_own() -> None:
    found = examples.rpc_examples()
    named = {name: example for name, example in found.items() if "value" in example.answer or name == "getVersion"}
    assert named.keys() == METHODS.keys()
    assert all(example.request["method"] == name for name, example in named.items())
    for name, example in found.items():
        if "error" in example.answer:
            error = example.answer["error"]
            assert (error["code"], error["data"]["name"]) == (int(Code[name]), name)


@pytest.mark.parametrize(
    ("written", "got"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {}),
        ({"a": 1}, {"a": True}),
        ("<a:int>", "1"),
        ("<a>", 1),
        (["<a>", "<a>"], ["x", "y"]),
        (["<a:int>", "…"], [1, "x"]),
        ("slot <a>, <a>", "slot 1, 2"),
        ({"taskId": "<a>"}, {"taskId": "not hex"}),
        ([], [1]),
    ],
)
def test_an_answer_that_differs_is_noticed(written: Any, got: Any) -> None:
    with pytest.raises(Mismatch):
        match(written, got, {})


def test_what_agrees_is_taken() -> None:
    known: Bindings = {}
    match({"a": ["<x:int>", "…"], "b": "at <slot>", "c": "<slot>"}, {"a": [1, 2], "b": "at 7", "c": "7"}, known)
    assert known == {"slot": "7"}
    assert fill({"s": "<slot>", "t": "is <slot>"}, known) == {"s": "7", "t": "is 7"}
