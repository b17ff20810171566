"""`pouw demo`: the whole line once, from submitTask to a finalized checkpoint and a paid reward, with a worker among them that lies.

What it reports is read back from L1 at `finalized`, and it succeeds only if all of it is true there.
"""

import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from rich.console import Console
from rich.live import Live
from solders.pubkey import Pubkey

from cli.demo_network import WORKER_STAKE_LAMPORTS, L1Kind, Network, NetworkError, liar_module
from cli.demo_report import (
    CheckpointRow,
    RejectedRow,
    Report,
    RewardRow,
    TaskRow,
    judge,
    live_view,
    print_summary,
)
from settlement import messages, money, spec
from settlement.client import L1Client
from settlement.records import Kind, Mode, Op, Record, TaskSubmission
from settlement.sequencer_client import SequencerClient
from settlement.signing import node_id
from settlement.validator_set import bytes_to_bitmap

VALIDATORS = 3
HONEST_WORKERS = 2
FEE_LAMPORTS = 5_000_000
DEADLINE_SLOTS = 6_000
LIMIT_SECONDS = 600.0
SETTLED = ("paid", "refunded")


@dataclass(frozen=True)
class DemoOptions:
    l1: L1Kind = "embedded"
    url: str = ""
    authority: Path | None = None
    tasks: int = 6
    keep: Path | None = None
    as_json: bool = False


class DemoFailed(Exception):
    """The demo ended, and something in it was not as it must be."""


def digits_spec(seed: int, dataset_sha256: str) -> dict[str, Any]:
    """Trains a multilayer perceptron on 1,797 handwritten digits of 8 × 8 pixels."""
    return {
        "version": 1,
        "kind": "training",
        "model_type": "mlp",
        "architecture": {"input_size": 64, "hidden_sizes": [128], "output_size": 10},
        "optimizer": {"type": "adam", "learning_rate": 0.001},
        "stopping_criterion": {"type": "max_epochs", "max_epochs": 50},
        "metrics": ["accuracy", "loss"],
        "dataset_info": {"sha256": dataset_sha256, "batch_size": 32, "size": 1797},
        "performance_requirements": {"gpu": False, "min_accuracy": 0.95},
        "mode": "replay",
        "seed": seed,
    }


async def submit(client: SequencerClient, task: dict[str, Any], fee_lamports: int, deadline_slots: int) -> str:
    """Submits one task for the client's key and returns its id."""
    domain = await client.domain()
    public_key = client.public_key
    balance = await client.call("getBalance", {"publicKey": str(Pubkey(public_key)), "commitment": "processed"})
    nonce = balance["nonce"]
    deadline = await client.slot() + deadline_slots
    spec_hash = spec.spec_hash(task)
    task_id = messages.task_id(domain, public_key, nonce, spec_hash)
    payload = TaskSubmission(nonce, fee_lamports, deadline, spec_hash, Kind.TRAINING, Mode.REPLAY)
    record = Record(Op.TASK_SUBMISSION, 0, node_id(public_key), task_id, payload)
    params = {"spec": task, "feeLamports": fee_lamports, "deadlineSlot": deadline, "nonce": nonce}
    return str((await client.call_record("submitTask", params, record))["taskId"])


async def run(options: DemoOptions) -> None:
    """Raises DemoFailed, NetworkError or ChildFailed; leaves no process and, unless `keep` is given, no folder."""
    started = time.monotonic()
    console = Console(stderr=options.as_json, highlight=False)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="pouw-demo-"))
    network = Network(folder, options.l1, options.url, options.authority)
    try:
        with trio.fail_after(LIMIT_SECONDS):
            async with trio.open_nursery() as nursery:
                demo = _Demo(network, options, console)
                report, wrong = await demo.run(nursery, started)
                nursery.cancel_scope.cancel()
    except trio.TooSlowError:
        raise DemoFailed(f"not done within {LIMIT_SECONDS:.0f} s") from None
    finally:
        await network.end()
        if options.keep is None:
            shutil.rmtree(folder)
    if options.as_json:
        print(json.dumps(report.to_json(), separators=(",", ":")), flush=True)
    print_summary(console, report, wrong, demo.names)
    if wrong:
        raise DemoFailed("; ".join(wrong))


class _Demo:
    def __init__(self, network: Network, options: DemoOptions, console: Console) -> None:
        self._network, self._options, self._console = network, options, console
        self._fees: dict[str, int] = {}
        self._liar = ""

    @property
    def names(self) -> dict[str, str]:
        return {**self._network.names, self._liar: "the lying worker"}

    def _say(self, text: str) -> None:
        self._console.print(text)

    async def run(self, nursery: trio.Nursery, started: float) -> tuple[Report, list[str]]:
        network, options = self._network, self._options
        self._say(f"starting L1 ({options.url or options.l1})")
        await network.start_l1()
        nursery.start_soon(network.supervisor.watch)
        self._say(f"L1 at {network.url}; starting validators and workers")
        await network.prepare_sequencer()
        validators = [network.prepare_validator(index) for index in range(VALIDATORS)]
        workers = [network.prepare_worker(index) for index in range(HONEST_WORKERS)]
        workers.append(network.prepare_worker(HONEST_WORKERS, liar_module()))
        self._liar = str(network.nodes[workers[-1]].keypair.pubkey())
        for name in validators + workers:
            network.start(name)  # they load torch while L1 is set up
        self._say(f"initialising the settlement program, registering {VALIDATORS} validators")
        await network.set_up(VALIDATORS)
        await network.start_sequencer()
        stakes = {network.nodes[name].keypair.pubkey(): WORKER_STAKE_LAMPORTS for name in workers}
        await network.deposit({network.client_keypair.pubkey(): options.tasks * FEE_LAMPORTS, **stakes})
        async with network.sequencer(network.client_keypair) as client, network.l1() as l1:
            async with self._live(client):
                await self._workers_ready(client, len(workers))
                await self._submit_all(client)
                await self._until(client, self._all_settled)
            self._say("all tasks are settled on L2; waiting for L1 to finalize, then claiming")
            async with self._live(client):
                last = await self._until_finalized(client, l1)
            rewards = await self._claim(client, l1, workers)
            report, parents = await self._read_back(client, l1, last)
        report.rewards = rewards
        report.seconds = round(time.monotonic() - started, 1)
        return report, judge(report, fees_lamports=self._fees, liar=self._liar, parents=parents)

    # -- L2

    async def _workers_ready(self, client: SequencerClient, count: int) -> None:
        def ready(workers: list[dict[str, Any]]) -> bool:
            return len([worker for worker in workers if worker["lockedStakeLamports"]]) >= count

        while not ready(await client.call("getWorkers")):
            await trio.sleep(0.3)

    async def _submit_all(self, client: SequencerClient) -> None:
        """In two waves, the second once a result of the first is decided: work goes on while epochs settle."""
        from worker.digits import digits_blob

        dataset = await client.put_blob(digits_blob())
        first = max(self._options.tasks // 2, 3)
        for seed in range(self._options.tasks):
            if seed == first:
                await self._until(client, self._one_decided)
            task_id = await submit(client, digits_spec(seed + 1, dataset), FEE_LAMPORTS, DEADLINE_SLOTS)
            self._fees[task_id] = FEE_LAMPORTS

    async def _until(self, client: SequencerClient, done: Callable[[SequencerClient], Any]) -> None:
        while not await done(client):
            await trio.sleep(0.5)

    async def _one_decided(self, client: SequencerClient) -> bool:
        return any(task["status"] in SETTLED or task.get("rejections") for task in await self._tasks(client))

    async def _all_settled(self, client: SequencerClient) -> bool:
        return all(task["status"] in SETTLED for task in await self._tasks(client))

    async def _tasks(self, client: SequencerClient) -> list[dict[str, Any]]:
        tasks = await client.call("getTasks", {"client": str(self._network.client_keypair.pubkey()), "limit": 100})
        return sorted(
            tasks, key=lambda task: list(self._fees).index(task["taskId"]) if task["taskId"] in self._fees else -1
        )

    @asynccontextmanager
    async def _live(self, client: SequencerClient) -> AsyncIterator[None]:
        """A table that is drawn anew on a terminal; elsewhere a line for each change."""
        async with trio.open_nursery() as nursery:
            if self._console.is_terminal:
                nursery.start_soon(self._draw, client)
            else:
                nursery.start_soon(self._print_changes, client)
            yield
            nursery.cancel_scope.cancel()

    async def _snapshot(
        self, client: SequencerClient
    ) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
        info = await client.call("getEpochInfo")
        checkpoints = [
            await client.call("getCheckpoint", {"epoch": epoch})
            for epoch in range(max(1, info["postedEpoch"] - 6), info["postedEpoch"] + 1)
        ]
        return info, await self._tasks(client), checkpoints

    async def _draw(self, client: SequencerClient) -> None:
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            while True:
                info, tasks, checkpoints = await self._snapshot(client)
                headline = (
                    f"L1 {self._network.url} slot {info['slot']}   sequencer {self._network.sequencer_url}   "
                    f"epoch {info['epoch']} open ({info['records']} records), {info['postedEpoch']} posted, {info['finalizedEpoch']} finalized"
                )
                live.update(live_view(headline, tasks, checkpoints, self.names))
                await trio.sleep(0.5)

    async def _print_changes(self, client: SequencerClient) -> None:
        seen: dict[str, str] = {}
        while True:
            _, tasks, checkpoints = await self._snapshot(client)
            lines = {f"task {task['taskId'][:12]}": task["status"] for task in tasks}
            lines |= {
                f"task {task['taskId'][:12]} rejection": r["reason"]
                for task in tasks
                for r in task.get("rejections", [])
            }
            lines |= {f"checkpoint {c['epoch']}": c["status"] for c in checkpoints}
            for what, status in lines.items():
                if seen.get(what) != status:
                    self._say(f"{what}: {status}")
            seen = {**seen, **lines}
            await trio.sleep(0.5)

    # -- L1

    async def _until_finalized(self, client: SequencerClient, l1: L1Client) -> int:
        """Returns the epoch of the last payment once its checkpoint is final in the program's eyes and in L1's."""
        while not all("epoch" in task for task in await self._tasks(client)):
            await trio.sleep(0.5)  # the last payments still lie in the open batch
        last = max(task["epoch"] for task in await self._tasks(client))
        while (await l1.fetch_config("finalized")).finalized.epoch < last:
            await trio.sleep(0.5)
        return int(last)

    async def _claim(self, client: SequencerClient, l1: L1Client, workers: list[str]) -> list[RewardRow]:
        """Claims for all at once: each waits for `finalized`, some 13 seconds on a cluster."""
        rows: dict[str, RewardRow] = {}

        async def claim(name: str) -> None:
            key = self._network.nodes[name].keypair.pubkey()
            params = {"publicKey": str(key), "commitment": "confirmed", "withProof": True}
            balance = await client.call("getBalance", params)
            if not balance["payableLamports"]:
                return
            before = await l1.get_balance(key, "finalized")
            proof = balance["proof"]
            siblings = [bytes.fromhex(sibling) for sibling in proof["siblings"]]
            claimed = await money.claim(l1, self._network.payer, bytes.fromhex(proof["value"]), siblings, "finalized")
            after = await l1.get_balance(key, "finalized")
            rows[name] = RewardRow(str(key), claimed.lamports, before, after)

        async with trio.open_nursery() as nursery:
            for name in workers:
                nursery.start_soon(claim, name)
        return [rows[name] for name in sorted(rows)]

    async def _read_back(
        self, client: SequencerClient, l1: L1Client, last: int
    ) -> tuple[Report, list[tuple[int, bytes, bytes]]]:
        report = Report(program_id=str(l1.program_id), l1=self._options.url or self._options.l1)
        for task in await self._tasks(client):
            report.tasks.append(
                TaskRow(
                    task["taskId"],
                    task["kind"],
                    task["mode"],
                    task["status"],
                    task.get("worker"),
                    task.get("accuracy"),
                    task.get("replayedShare"),
                )
            )
            report.rejected += [
                RejectedRow(task["taskId"], r["worker"], r["reason"]) for r in task.get("rejections", [])
            ]
        parents = []
        for epoch in range(1, last + 1):
            checkpoint = await l1.fetch_checkpoint(epoch, "finalized")
            if checkpoint is None:
                raise DemoFailed(f"L1 holds no checkpoint of epoch {epoch} at finalized")
            signature = (await client.call("getCheckpoint", {"epoch": epoch}))["signature"]
            options = {"commitment": "finalized", "maxSupportedTransactionVersion": 0}
            transaction = await l1.rpc.call("getTransaction", [signature, options])
            sealed = await l1.fetch_validator_set(checkpoint.set_version, "finalized")
            if transaction is None or sealed is None:
                raise DemoFailed(f"L1 does not know the transaction {signature} or the set of epoch {epoch}")
            parents.append((epoch, checkpoint.hash, checkpoint.parent_hash))
            report.checkpoints.append(
                CheckpointRow(
                    epoch,
                    checkpoint.hash.hex(),
                    signature,
                    int(transaction["slot"]),
                    int(transaction["meta"]["computeUnitsConsumed"]),
                    bytes_to_bitmap(checkpoint.bitmap).bit_count(),
                    len(sealed.validator_set.entries),
                    checkpoint.status.name.lower(),
                )
            )
        return report, parents


__all__ = ["DemoFailed", "DemoOptions", "NetworkError", "digits_spec", "run", "submit"]
