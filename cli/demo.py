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
from solders.pubkey import Pubkey

from cli.demo_display import Display, display
from cli.demo_network import WORKER_STAKE_LAMPORTS, L1Kind, Network, NetworkError, liar_module
from cli.demo_readback import read_back
from cli.demo_report import Report, RewardRow, judge
from cli.demo_state import Spectator
from cli.demo_summary import print_summary
from settlement import messages, money, spec
from settlement.client import L1Client
from settlement.keys import write_keypair
from settlement.records import Kind, Mode, Op, Record, TaskSubmission
from settlement.sequencer_client import SequencerClient
from settlement.signing import node_id

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
    stay: bool = False
    as_json: bool = False


class DemoFailed(Exception):
    """The demo ended, and something in it was not as it must be."""


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


async def run(options: DemoOptions, staying: trio.Event | None = None) -> None:
    """Raises DemoFailed, NotOnL1, NetworkError or ChildFailed; leaves no process and, unless `keep` is given, no folder.

    With `stay` it goes on after the summary until it is cancelled; `staying` is set then.
    """
    console = Console(stderr=options.as_json, highlight=False)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="pouw-demo-"))
    try:
        network = Network(folder, options.l1, options.url, options.authority)
        try:
            async with trio.open_nursery() as nursery:
                demo = _Demo(network, options, display(console, options.url or f"L1 {options.l1}"))
                with trio.move_on_after(LIMIT_SECONDS) as limit:
                    await demo.run(nursery)
                if limit.cancelled_caught:
                    raise DemoFailed(
                        f"not done within {LIMIT_SECONDS:.0f} s: is the machine very busy? With --keep DIR the logs of all processes "
                        "stay in DIR/logs"
                    )
                if options.stay and not demo.wrong:
                    demo.tell(console)
                    console.print("The network stays up until you press Ctrl-C.", style="bold")
                    if staying is not None:
                        staying.set()
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()
        finally:
            await network.end()
    finally:
        if options.keep is None:
            shutil.rmtree(folder)
    demo.tell(console)
    if demo.wrong:
        raise DemoFailed("; ".join(demo.wrong))


class _Demo:
    """`report` and `wrong` are there once `run` has returned."""

    def __init__(self, network: Network, options: DemoOptions, display: Display) -> None:
        self._network, self._options, self._display = network, options, display
        self._fees: dict[str, int] = {}
        self._liar = ""
        self._started = time.monotonic()
        self.report = Report(program_id=str(network.program_id), l1=options.url or options.l1)
        self.wrong: list[str] = []

    @property
    def names(self) -> dict[str, str]:
        return self._network.names

    async def run(self, nursery: trio.Nursery) -> None:
        try:
            await self._run(nursery)
        finally:
            self._display.end()

    async def _run(self, nursery: trio.Nursery) -> None:
        network, options, say = self._network, self._options, self._display.say
        say(f"starting L1 ({options.url or options.l1})")
        await network.start_l1()
        nursery.start_soon(network.supervisor.watch)
        self._display.phase(1)
        say(f"L1 at {network.url}")
        say(f"starting {VALIDATORS} validators and {HONEST_WORKERS + 1} workers, one of whom lies")
        await network.prepare_sequencer()
        validators = [network.prepare_validator(index) for index in range(VALIDATORS)]
        workers = [network.prepare_worker(index) for index in range(HONEST_WORKERS)]
        workers.append(network.prepare_worker(HONEST_WORKERS, liar_module()))
        self._liar = str(network.nodes[workers[-1]].keypair.pubkey())
        self._display.names = self.names
        for name in validators + workers:
            network.start(name)  # they load torch while L1 is set up
        say(f"initialising the program on L1, registering {VALIDATORS} validators there")
        await network.set_up(VALIDATORS)
        await network.start_sequencer()
        say(f"sequencer at {network.sequencer_url}")
        say("depositing the client's fees and the workers' stakes on L1")
        stakes = {network.nodes[name].keypair.pubkey(): WORKER_STAKE_LAMPORTS for name in workers}
        await network.deposit({network.client_keypair.pubkey(): options.tasks * FEE_LAMPORTS, **stakes})
        async with network.sequencer(network.client_keypair) as client, network.l1() as l1:
            spectator = Spectator(client, str(network.client_keypair.pubkey()))
            async with self._shown(spectator):
                say("the workers register with their stake; then the client submits its tasks")
                await self._workers_ready(client, len(workers))
                self._display.phase(2)
                await self._submit_all(client)
                await self._until(client, self._all_settled)
                self._display.phase(3)
                say("every task is accepted on L2; waiting for L1 to finalize the last epoch")
                last = await self._until_finalized(client, l1)
                self._display.phase(4)
                say("the workers claim their pay on L1")
                rewards = await self._claim(client, l1, workers)
                spectator.claimed |= {reward.account for reward in rewards}
                self._display.see(await spectator.look())
            await self._read_back(client, l1, last, rewards)
        if options.keep is not None or options.stay:
            self._keep()

    async def _read_back(self, client: SequencerClient, l1: L1Client, last: int, rewards: list[RewardRow]) -> None:
        keys = [node.keypair.pubkey() for node in self._network.nodes.values()]
        by_node = {node_id(bytes(key)): str(key) for key in keys}
        parents = await read_back(self.report, client, l1, await self._tasks(client), last, by_node)
        self.report.rewards = rewards
        self.report.seconds = round(time.monotonic() - self._started, 1)
        self.wrong = judge(self.report, fees_lamports=self._fees, liar=self._liar, parents=parents)

    def tell(self, console: Console) -> None:
        """The JSON line, if asked for, and the summary."""
        if self._options.as_json:
            print(json.dumps(self.report.to_json(), separators=(",", ":")), flush=True)
        print_summary(
            console,
            self.report,
            self.wrong,
            {**self.names, self._liar: "the lying worker"},
            fees_lamports=sum(self._fees.values()),
            next_steps=self._next_steps(),
            files=self._files(),
        )

    # -- what is left for people

    def _keep(self) -> None:
        """The client's key, to go on with; the other keys and all configurations are in the folder already."""
        write_keypair(self._network.folder / "keys" / "client.json", self._network.client_keypair)

    def _files(self) -> str:
        folder = self._options.keep or (self._network.folder if self._options.stay else None)
        if folder is None:
            return "Keys, ledger and logs were in a temporary folder, which is gone; --keep DIR keeps them."
        return f"Keys, L1's ledger, every process's data, configuration and log (logs/*.log) are in {folder}."

    def _next_steps(self) -> list[tuple[str, str]]:
        if not self._options.stay:
            return [
                ("./run pouw demo --stay", "the same, and the network stays up to look around in"),
                ("./run pouw localnet", "an L1 of your own; it says how to go on"),
                ("./run pouw --help", "all commands; README.md, Run it yourself, goes through them"),
            ]
        sequencer = f"--sequencer {self._network.sequencer_url}"
        task = self.report.tasks[0].id
        return [
            (f"./run pouw status --url {self._network.url} {sequencer}", "the whole network on one screen"),
            (f"./run pouw task watch {task} --final {sequencer}", "how the first task was trained and checked"),
            (
                f"./run pouw receipt get {task} {sequencer} | ./run pouw receipt verify - --url {self._network.url}",
                "the proof of its payment, checked against L1 alone",
            ),
        ]

    # -- L2

    async def _workers_ready(self, client: SequencerClient, count: int) -> None:
        def ready(workers: list[dict[str, Any]]) -> bool:
            return len([worker for worker in workers if worker["lockedStakeLamports"]]) >= count

        while not ready(await client.call("getWorkers")):
            await trio.sleep(0.3)

    async def _submit_all(self, client: SequencerClient) -> None:
        """In two waves, the second once a result of the first is decided: work goes on while epochs settle."""
        from worker.digits import digits_blob, digits_spec

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
        tasks = (await client.call("getTasks", {"client": str(self._network.client_keypair.pubkey()), "limit": 100}))[
            "tasks"
        ]
        return sorted(
            tasks, key=lambda task: list(self._fees).index(task["taskId"]) if task["taskId"] in self._fees else -1
        )

    @asynccontextmanager
    async def _shown(self, spectator: Spectator) -> AsyncIterator[None]:
        """What happens meanwhile is looked at twice a second."""

        async def follow() -> None:
            while True:
                self._display.see(await spectator.look())
                await trio.sleep(0.5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            yield
            nursery.cancel_scope.cancel()

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


__all__ = ["DemoFailed", "DemoOptions", "NetworkError", "run", "submit"]
