"""Makes docs/rpc-examples.md: one real call of every method, recorded from a node whose keys, time and randomness are fixed.

    python -m tests.sequencer.rpc_examples > docs/rpc-examples.md

L1 is a view set by hand. test_rpc_examples.py fails when the file is not what this makes.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import httpx
import structlog
import trio
from solders.keypair import Keypair

from sequencer import batch
from sequencer import database as db
from sequencer.attestation import bitmap_of
from sequencer.blobs import BlobStore
from sequencer.config import SequencerConfig
from sequencer.dispatch import METHODS
from sequencer.node import L1View, Node
from sequencer.proposals import attestations
from sequencer.rpc import make_app
from sequencer.tasks import TaskBook
from settlement import certificate
from settlement.bls import SecretKey
from settlement.sequencer_client import SequencerClient
from tests.sequencer.chain_kit import Bench
from tests.sequencer.kit import DATASET, Party, Voter

SLOT = 1_000
HEAD = """# One call of every method

Recorded from a node with fixed keys, slots and randomness, so every hash and signature here can be recomputed: the client's key is that of the
seed 0x11 repeated 32 times, the worker's 0x22, the validators' 0x01, 0x02 and 0x03, ed25519 and BLS alike; genesis hash and program id are
the bytes "g" and "p", 32 times each. What each field means: `docs/rpc.md`. Made by `python -m tests.sequencer.rpc_examples`; a test
makes it anew and compares.
"""


@dataclass
class Recorder(httpx.AsyncBaseTransport):
    """Passes requests on to the application and keeps the first good call of every method."""

    inner: httpx.ASGITransport
    calls: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    upload: tuple[str, str] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        response = await self.inner.handle_async_request(request)
        body = await response.aread()
        if request.method == "POST":
            asked, answer = json.loads(request.content), json.loads(body)
            if "result" in answer and answer["result"]["value"] is not None:
                if (
                    asked["method"] == "getEpochInfo"
                ):  # the client asks it by itself, too; the last is the one of interest
                    self.calls.pop("getEpochInfo", None)
                self.calls.setdefault(asked["method"], (asked, answer))
        elif request.method == "PUT" and self.upload is None:
            self.upload = request.url.path, request.headers["authorization"]
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(body))


class Counter:
    """Stands in for randomness: bytes and nonces that are the same on every run."""

    def __init__(self) -> None:
        self.count = 0

    def bytes(self, length: int) -> bytes:
        self.count += 1
        return (sha256(self.count.to_bytes(4, "big")).digest() * 3)[:length]

    def bits(self, width: int) -> int:
        self.count += 1
        return self.count


async def record(folder: Path) -> Recorder:
    """The whole life of one task, and every other method on the way."""
    bench, counter = Bench.new(folder), Counter()
    config = SequencerConfig(url="http://127.0.0.1:8899", keypair=folder, data_dir=folder, verdict_grace_slots=0)
    node = Node(
        config=config,
        database=bench.database,
        chain=bench.chain,
        tasks=TaskBook([]),
        blobs=BlobStore(folder / "blobs"),
        l1_url=config.url,
        unix_time=lambda: 1_800_000_000.0,
        now=lambda: 0.0,
        view=L1View(slot=SLOT, finalized_slot=SLOT - 32, read_at=0.0),
    )
    recorder = Recorder(httpx.ASGITransport(make_app(node)))

    def party(seed: int, lamports: int = 0) -> Party:
        keypair = Keypair.from_seed(bytes([seed]) * 32)
        if lamports:
            bench.deposit(bytes(keypair.pubkey()), lamports)
        client = SequencerClient("http://sequencer", keypair, transport=recorder)
        return Party(keypair, client, random_bytes=counter.bytes)

    with patch("settlement.sequencer_client.secrets.randbits", counter.bits):
        client, worker = party(0x11, 10_000_000), party(0x22, 5_000_000)
        bench.ingest()
        await client.client.put_blob(DATASET)
        task_id = await client.submit(100_000)
        await worker.register()
        await client.withdraw(50_000)
        work = await worker.prepare(granted := await worker.pull())
        named = {key: work.params[key] for key in ("taskId", "leaseId")}
        await worker.client.call_signed("renewLease", named)
        await client.client.call("getWorkers")
        await work.commit()
        await work.reveal()
        assert granted["task"]["taskId"] == task_id
        await judge_and_post(node, [party(seed) for seed in (1, 2, 3)])
        for method in ("getEpochInfo", "getValidators", "getHealth", "getVersion"):
            await client.client.call(method)
        for method in ("getTask", "getTaskResult", "getReceipt"):
            await client.client.call(method, {"taskId": task_id})
        await client.client.call("getTasks", {"client": client.name, "limit": 1})
        await client.client.call("getBalance", {"publicKey": worker.name, "withProof": True})
        await client.client.call("getCheckpoint", {"epoch": 1})
    bench.database.close()
    return recorder


async def judge_and_post(node: Node, parties: list[Party]) -> None:
    """Verdicts of all validators, then the epoch as if it had been posted and become final."""
    secrets = [SecretKey.from_seed(bytes([seed]) * 32) for seed in (1, 2, 3)]
    for index, (one, secret) in enumerate(zip(parties, secrets, strict=True)):
        duties = await one.client.call("getDuties", {"validator": one.name})
        voter = Voter(one, secret, None)  # type: ignore[arg-type]
        for duty in duties["results"]:
            await voter.vote(duty, index)
    closed = batch.cut(node.chain.open, attempt=0, cut_slot=SLOT + 10, expiry_slot=SLOT + 74)
    node.blobs.write(closed.data)
    node.cut(closed)
    row = closed.row
    for index, (one, secret) in enumerate(zip(parties, secrets, strict=True)):
        await one.client.call("getProposal", {"epoch": row.epoch, "attempt": row.attempt})
        signature = secret.sign(row.hash).hex()
        params = {"epoch": row.epoch, "attempt": row.attempt, "hash": row.hash.hex(), "setIndex": index}
        await one.client.call_signed("submitAttestation", {**params, "signature": signature})
    signatures = attestations(node, node.database, row)
    made = certificate.certify(node.domain, row.message, signatures, node.chain.position.pinned)
    assert made.bitmap == bitmap_of(signatures)
    with node.database.transaction() as tx:
        node.chain.certify(tx, made.bitmap, made.signature)
        node.chain.post(tx, l1_signature="5" * 87, slot=SLOT + 20, compute_units=250_000)
    with node.database.transaction() as tx:
        node.chain.finalize(tx)
        assert tx.get(db.EPOCHS, db.u64be(1)) is not None


def render(recorder: Recorder) -> str:
    parts = [HEAD]
    for method in METHODS:
        asked, answer = recorder.calls[method]
        parts += [
            f"## {method}\n",
            "```json",
            json.dumps(asked, indent=2),
            "```",
            "```json",
            json.dumps(answer, indent=2),
            "```\n",
        ]
    assert recorder.upload is not None
    path, authorization = recorder.upload
    parts += ["## Blobs\n", "```", f"PUT {path}", f"Authorization: {authorization}", f"Content-Length: {len(DATASET)}"]
    parts += ["", DATASET.decode(), "```"]
    return "\n".join(parts) + "\n"


async def main() -> str:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with TemporaryDirectory() as folder:
        return render(await record(Path(folder)))


if __name__ == "__main__":
    print(trio.run(main), end="")
