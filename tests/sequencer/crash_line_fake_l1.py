"""One scripted line of two tasks through a whole sequencer, from deposit to what can be claimed, step by step and without a clock.

Node, database, blobs and HTTP application are real, and so are the files on disk; L1 is a fake, and client, worker and validators call the
application in this process. Every step may be begun again: it asks for what it wants, as its party would after a lost answer. All bytes are
the same in every run, so that two runs can be compared by their roots.

As a program it runs the line and kills itself at a point: python -m tests.sequencer.crash_line_fake_l1 FOLDER NUMBER
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
import trio
from solders.keypair import Keypair

from sequencer import database as db
from sequencer import epoch_loop, finality, l1_view, poster, service
from sequencer.config import SequencerConfig
from sequencer.node import Node
from sequencer.rpc import make_app
from sequencer.store import RocksStore
from settlement import durable
from settlement.accounts import LOCALNET_PROFILE
from settlement.bls import SecretKey
from settlement.sequencer_client import SequencerClient
from tests.sequencer.chain_kit import Bench
from tests.sequencer.kit import DATASET, Party, Work, verdict_params, vote_record
from tests.sequencer.test_poster_fake_l1 import FakeL1

FEE = 100_000
VALIDATORS = [(Keypair.from_seed(bytes([seed]) * 32), SecretKey.from_seed(bytes([seed]) * 32)) for seed in (1, 2, 3)]
CLIENT, WORKER = Keypair.from_seed(b"c" * 32), Keypair.from_seed(b"w" * 32)


@dataclass
class Outside:
    """All that survives the sequencer's death: L1, and what the parties remember."""

    l1: FakeL1 = field(default_factory=lambda: FakeL1(Bench(None, None, [])))  # type: ignore[arg-type]
    nonces: dict[str, int] = field(default_factory=lambda: {"client": 0, "worker": 0})
    tasks: list[str] = field(default_factory=list)
    granted: dict[str, Any] = field(default_factory=dict)
    work: tuple[dict[str, Any], str] | None = None
    signed: dict[tuple[int, int], str] = field(default_factory=dict)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)

    def copy(self) -> Outside:
        own = {name: type(value)(value) for name, value in vars(self).items() if isinstance(value, dict | list)}
        return replace(self, l1=copy_of(self.l1), **own)


def copy_of(l1: FakeL1) -> FakeL1:
    own = {name: type(value)(value) for name, value in vars(l1).items() if isinstance(value, dict | list)}
    return replace(l1, bench=Bench(None, None, list(l1.bench.inbox), l1.bench.slot), **own)  # type: ignore[arg-type]


class Line:
    """The sequencer on a folder, and the parties around it."""

    def __init__(self, folder: Path, outside: Outside, store: type[RocksStore] = RocksStore, **settings: Any) -> None:
        self.outside = outside
        self.store = store
        quick = {"epoch_seconds": 1e-9, "tick_seconds": 1e-9, "attestation_grace_seconds": 0, "poll_seconds": 0.001}
        self.config = SequencerConfig(
            url="http://fake", keypair=folder / "none", data_dir=folder, **{**quick, **settings}
        )
        self._node: Node | None = None

    @property
    def l1(self) -> FakeL1:
        return self.outside.l1

    @property
    def node(self) -> Node:
        assert self._node is not None
        return self._node

    async def start(self) -> None:
        self.close()
        database = db.Database(self.store(self.config.data_dir / "store"))
        try:
            self._node = await service.make_node(self.config, database, self.l1)
        except BaseException:
            database.close()
            raise
        self._node.unix_time = lambda: 1_800_000_000.0
        await l1_view.poll(self._node, self.l1)

    async def run(self, first: int = 0) -> None:
        """The line from its step number `first` on; the first of all starts the node."""
        for step in STEPS[first:]:
            await step(self)

    def close(self) -> None:
        if self._node is not None:
            self._node.database.close()
        self._node = None

    @contextmanager
    def client(self, keypair: Keypair) -> Iterator[SequencerClient]:
        transport = httpx.ASGITransport(make_app(self.node), raise_app_exceptions=True)
        yield SequencerClient("http://line", keypair, attempts=1, transport=transport)

    @contextmanager
    def party(self, name: str) -> Iterator[Party]:
        """A party as if just started: it knows its nonce, and draws the same bytes in every run."""
        with self.client(CLIENT if name == "client" else WORKER) as client:
            party = Party(client._signer(), client, self.outside.nonces[name], Random(name).randbytes)
            yield party
            self.outside.nonces[name] = party.nonce

    async def state(self) -> dict[str, Any]:
        """What two runs are compared by."""
        with self.client(CLIENT) as client:
            checkpoints = [await client.call("getCheckpoint", {"epoch": epoch}) for epoch in (1, 2)]
            tasks = [await client.call("getTask", {"taskId": task_id}) for task_id in self.outside.tasks]
            parties = [CLIENT, WORKER]
            asked = [{"publicKey": str(k.pubkey()), "commitment": "finalized", "withProof": True} for k in parties]
            informative = ("signature", "computeUnits")  # which of several transactions posted it
            return {
                "checkpoints": [{k: v for k, v in c.items() if k not in informative} for c in checkpoints],
                "tasks": tasks,
                "known": sorted(task["taskId"] for task in (await client.call("getTasks"))["tasks"]),
                "balances": [await client.call("getBalance", params) for params in asked],
                "on L1": {epoch: (c.attempt, c.hash, c.payable_total) for epoch, c in self.l1.confirmed.items()},
            }


async def lost(line: Line) -> list[tuple[str, str]]:
    """What was acknowledged and is not there."""
    with line.client(CLIENT) as client:
        tasks = {task["taskId"]: task["status"] for task in (await client.call("getTasks"))["tasks"]}
        workers = [worker["publicKey"] for worker in await client.call("getWorkers")]
    is_there: dict[str, Callable[[str], bool]] = {
        "task": lambda name: name in tasks,
        "worker": lambda name: name in workers,
        "result": lambda name: tasks.get(name) in ("revealed", "paid"),
    }
    return [(kind, name) for kind, name in line.outside.acknowledged if not is_there[kind](name)]


# -- the steps -----------------------------------------------------------------------------------------------------


async def begin(line: Line) -> None:
    await line.start()


async def deposit(line: Line) -> None:
    inbox = line.l1.bench.inbox
    for keypair, lamports in ((CLIENT, 10_000_000), (WORKER, 5_000_000))[len(inbox) :]:
        line.l1.bench.deposit(bytes(keypair.pubkey()), lamports)
    await l1_view.poll(line.node, line.l1)


async def upload_dataset(line: Line) -> None:
    with line.client(CLIENT) as client:
        await client.put_blob(DATASET)


async def register(line: Line) -> None:
    with line.party("worker") as worker:
        await worker.register()
    line.outside.acknowledged.append(("worker", worker.name))


async def submit(line: Line, seed: int) -> None:
    with line.party("client") as client:
        task_id = await client.submit(FEE, seed=seed)
    line.outside.tasks.append(task_id)
    line.outside.acknowledged.append(("task", task_id))


async def pull(line: Line) -> None:
    with line.party("worker") as worker:
        granted = await worker.pull()
    assert granted["task"]["taskId"] == line.outside.tasks[0]
    line.outside.granted = granted


async def prepare(line: Line) -> None:
    with line.party("worker") as worker:
        done = await worker.prepare(line.outside.granted, intervals=1)
    line.outside.work = (done.params, done.commitment)


async def commit(line: Line) -> None:
    assert line.outside.work is not None
    with line.party("worker") as worker:
        await Work(worker, *line.outside.work).commit()


async def reveal(line: Line) -> None:
    assert line.outside.work is not None
    with line.party("worker") as worker:
        await Work(worker, *line.outside.work).reveal()
    line.outside.acknowledged.append(("result", line.outside.tasks[0]))


async def vote(line: Line, index: int) -> None:
    keypair, secret = VALIDATORS[index]
    with line.client(keypair) as client:
        for duty in (await client.call("getDuties", {"validator": str(keypair.pubkey())}))["results"]:
            if not duty["verdictGiven"]:
                params = verdict_params(duty, index, secret, intervals=1, checkedIntervals=[0])
                await client.call_record("submitVerdict", params, vote_record(bytes(keypair.pubkey()), params))


async def cut(line: Line, epoch: int) -> None:
    epoch_loop.tick(line.node)
    await l1_view.poll(line.node, line.l1)
    if line.node.chain.open.epoch == epoch:
        assert await epoch_loop.cut_if_due(line.node, line.l1)
    assert line.node.chain.open.epoch == epoch + 1


async def attest(line: Line, index: int) -> None:
    keypair, secret = VALIDATORS[index]
    with line.client(keypair) as client:
        proposal = (await client.call("getDuties", {"validator": str(keypair.pubkey())}))["proposal"]
        if proposal is None:
            return
        found = await client.call("getProposal", proposal)
        key = (found["epoch"], found["attempt"])
        assert line.outside.signed.setdefault(key, found["hash"]) == found["hash"], f"two proposals for {key}"
        signature = secret.sign(bytes.fromhex(found["hash"])).hex()
        params = {"epoch": key[0], "attempt": key[1], "hash": found["hash"], "setIndex": index, "signature": signature}
        await client.call_signed("submitAttestation", params)


async def post(line: Line, epoch: int) -> None:
    while line.node.chain.position.posted_head.epoch < epoch:
        assert await poster.step(line.node, line.l1)


async def window(line: Line) -> None:
    """L1 moves on until the challenge window of what is posted is over. Nothing is written."""
    line.l1.slot_now += LOCALNET_PROFILE.challenge_window_slots + 1
    await l1_view.poll(line.node, line.l1)


async def ask_to_finalize(line: Line, epoch: int) -> None:
    if line.l1.confirmed[epoch].status.name != "FINALIZED":
        assert await finality.step(line.node, line.l1)
    line.l1.settle()


async def finalize(line: Line, epoch: int) -> None:
    await l1_view.poll(line.node, line.l1)
    if line.node.chain.position.finalized.epoch < epoch:
        assert await finality.step(line.node, line.l1)


def _epoch(epoch: int) -> list[Callable[[Line], Awaitable[None]]]:
    attestations = [partial(attest, index=index) for index in range(3)]
    after = [window, partial(ask_to_finalize, epoch=epoch), partial(finalize, epoch=epoch)]
    return [*attestations, partial(post, epoch=epoch), *after]


STEPS: list[Callable[[Line], Awaitable[None]]] = [
    begin,
    deposit,
    upload_dataset,
    register,
    partial(submit, seed=1),
    pull,
    prepare,
    commit,
    reveal,
    *(partial(vote, index=index) for index in range(3)),
    partial(cut, epoch=1),
    partial(submit, seed=2),
    *_epoch(1),
    partial(cut, epoch=2),
    *_epoch(2),
]


# -- killing it ----------------------------------------------------------------------------------------------------


async def run_counted(line: Line, at_point: Callable[[int, int, str, Path], None]) -> None:
    """Runs the line; calls at_point(number of the point, number of the step, its name, path) at every point of every durable write."""
    count = step_now = 0

    def hook(point: str, path: Path) -> None:
        nonlocal count
        at_point(count, step_now, point, path)
        count += 1

    before = durable.set_hook(hook)
    try:
        for step_now, step in enumerate(STEPS):  # noqa: B007
            await step(line)
    finally:
        durable.set_hook(before)


def main() -> None:
    folder, number = Path(sys.argv[1]), int(sys.argv[2])

    def kill(count: int, *_: object) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    trio.run(run_counted, Line(folder, Outside()), kill)


if __name__ == "__main__":
    main()
