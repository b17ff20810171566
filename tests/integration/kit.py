"""A whole network of real processes for tests, and what a client and a spectator do with it.

The network is that of `pouw demo`, with small tasks and quick polling. A fixture of a module starts it once; it belongs to no event loop.
"""

import json
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cli.demo import submit
from cli.demo_network import WORKER_STAKE_LAMPORTS, Network
from settlement import money
from settlement.client import L1Client
from settlement.money import Claimed
from settlement.records import EconomicEvent, Event, Op, Record
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.signing import node_id
from tests.worker.specs import small_spec

VALIDATORS = 3
FEE_LAMPORTS = 1_000_000
CLIENT_LAMPORTS = 100_000_000
DEADLINE_SLOTS = 20_000
ATTEMPTS = 16  # a caller keeps calling while the sequencer is away
LIMIT_SECONDS = 300.0  # a machine that compiles beside the tests is ten times slower than an idle one
UNKNOWN_ACCOUNT = -33005

QUICK: dict[str, dict[str, Any]] = {
    # Grace long enough for a slow machine: all three sign, and nothing is decided before all three have spoken.
    "sequencer": {
        "poll_seconds": 0.2,
        "attestation_grace_seconds": 6.0,
        "verdict_grace_slots": 100,
        "lease_slots": 2_000,
    },
    "validator": {"poll_seconds": 0.3, "device": "cpu"},
    "worker": {"poll_seconds": 0.3, "renew_seconds": 1.0, "device": "cpu"},
}


def task(seed: int) -> dict[str, Any]:
    """140 steps in 16 intervals; the accuracy is well below 1, so that a claim of 1 is false."""
    return small_spec(max_epochs=20, seed=seed)[0]


DATASET = small_spec()[1]


@contextmanager
def running(network: Network, prepare: Callable[[], Awaitable[None]]) -> Iterator[Network]:
    """The network between `prepare` and its end, for a fixture that outlives the event loops of its tests."""

    async def end() -> None:
        await network.end()

    try:
        trio.run(prepare)
        yield network
    finally:
        trio.run(end)


async def bring_up(network: Network, workers: list[str], start: list[str]) -> None:
    """L1, sequencer and whatever processes of `start` are prepared; deposits for the client and the `workers`."""
    for name in start:
        network.start(name)  # they load torch while L1 is set up
    await network.set_up(VALIDATORS)
    await network.start_sequencer()
    stakes = {network.nodes[name].keypair.pubkey(): WORKER_STAKE_LAMPORTS for name in workers}
    await network.deposit({network.client_keypair.pubkey(): CLIENT_LAMPORTS, **stakes})
    async with client_of(network) as client:
        await until(network, "the client's deposit", lambda: has_account(client))
        await client.put_blob(DATASET)


@asynccontextmanager
async def client_of(network: Network, keypair: Keypair | None = None) -> AsyncIterator[SequencerClient]:
    """Calls the sequencer with the client's key (or another), patiently."""
    keypair = keypair or network.client_keypair
    async with SequencerClient(network.sequencer_url, keypair, attempts=ATTEMPTS) as client:
        yield client


async def until(
    network: Network, what: str, question: Callable[[], Awaitable[Any]], pause: float = 0.1, doomed: str = ""
) -> Any:
    """The first true answer. Fails when a process of the network ends meanwhile, unless it is the `doomed` one."""
    with trio.move_on_after(LIMIT_SECONDS):
        while not (answer := await question()):
            for child in network.supervisor.children:
                if child.name != doomed:
                    child.check()
            await trio.sleep(pause)
        return answer
    tails = "\n".join(f"== {child.name}\n{child.tail(6)}" for child in network.supervisor.children)
    raise AssertionError(f"{what}: not within {LIMIT_SECONDS:.0f} s\n{tails}")


async def has_account(client: SequencerClient) -> bool:
    try:
        await account(client, client.public_key)
    except RpcError as error:
        if error.code != UNKNOWN_ACCOUNT:
            raise
        return False
    return True


async def account(client: SequencerClient, key: bytes, commitment: str = "processed") -> dict[str, Any]:
    params = {"publicKey": str(Pubkey(key)), "commitment": commitment}
    value: dict[str, Any] = await client.call("getBalance", params)
    return value


async def submit_task(client: SequencerClient, seed: int) -> str:
    return await submit(client, task(seed), FEE_LAMPORTS, DEADLINE_SLOTS)


async def withdraw(client: SequencerClient, lamports: int) -> int:
    """Moves lamports from the client's balance to what L1 owes it: a record for the next epoch. Returns the lamports."""
    nonce = (await account(client, client.public_key))["nonce"]
    payload = EconomicEvent(Event.WITHDRAWAL, number=nonce, lamports=lamports)
    record = Record(Op.ECONOMIC_EVENT, 0, node_id(client.public_key), bytes(32), payload)
    await client.call_record("withdraw", {"lamports": lamports, "nonce": nonce}, record)
    return lamports


async def get_task(client: SequencerClient, task_id: str) -> dict[str, Any]:
    value: dict[str, Any] = await client.call("getTask", {"taskId": task_id})
    return value


async def status_is(client: SequencerClient, task_id: str, *statuses: str) -> bool:
    return (await get_task(client, task_id))["status"] in statuses


async def paid_and_final(client: SequencerClient, l1: L1Client, task_id: str) -> dict[str, Any] | None:
    """The task once the program has finalized the epoch that pays it, at L1's `finalized`."""
    task = await get_task(client, task_id)
    finalized = (await l1.fetch_config("finalized")).finalized.epoch
    return task if task["status"] == "paid" and task.get("epoch", finalized + 1) <= finalized else None


async def proof_of(client: SequencerClient, key: Keypair) -> tuple[bytes, list[bytes]]:
    """The account's leaf and its siblings under the root that a claim is checked against."""
    params = {"publicKey": str(key.pubkey()), "commitment": "confirmed", "withProof": True}
    proof = (await client.call("getBalance", params))["proof"]
    return bytes.fromhex(proof["value"]), [bytes.fromhex(sibling) for sibling in proof["siblings"]]


async def claim(network: Network, l1: L1Client, client: SequencerClient, key: Keypair) -> Claimed:
    value, siblings = await proof_of(client, key)
    return await money.claim(l1, network.payer, value, siblings, "finalized")


def start_doomed(network: Network, name: str, point: str) -> None:
    """Starts a worker or validator over its data that kills itself with SIGKILL at a point of tests.validator.killed."""
    config = tomllib.loads((network.folder / f"{name}.toml").read_text())
    arguments = ["tests.validator.killed", name.partition("-")[0], point, json.dumps(config)]
    network.nodes[name].child = network.supervisor.start_python(name, "-m", *arguments)


async def died(network: Network, name: str) -> int:
    """Waits until a doomed process has killed itself; its exit code as Popen gives it."""
    with trio.fail_after(LIMIT_SECONDS):
        return await network.ended(name)


def log_of(network: Network, name: str, event: str) -> list[dict[str, Any]]:
    """The entries of an event that a process has logged, all runs of it."""
    found = []
    for line in (network.folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines():
        with suppress(ValueError):  # a kill may cut a line short
            found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict) and entry.get("event") == event]
