"""kill -9 of each process of a real network at each point of a task's way. Whatever dies is started again over its own data; then every epoch
settles, nothing acknowledged is lost, and nothing is paid twice."""

from collections.abc import Iterator

import pytest
import trio

from cli.demo_network import Network
from sequencer import crash
from settlement.errors import ProgramError
from tests.integration.kit import (
    CLIENT_LAMPORTS,
    FEE_LAMPORTS,
    QUICK,
    VALIDATORS,
    account,
    bring_up,
    claim,
    client_of,
    died,
    get_task,
    log_of,
    paid_and_final,
    running,
    start_doomed,
    status_is,
    submit_task,
    until,
    withdraw,
)

IN_ORDER = (
    "task_acknowledged",
    "committed",
    "revealed",
    "attested_unsent",
    "posted_unconfirmed",
    "finalized_unclaimed",
)
KILLED = -9  # SIGKILL, as Popen tells it
CRASHED = 137  # what sequencer/crash.py ends with
WORKER, VALIDATOR = "worker-0", "validator-0"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("network"), epoch_seconds=2.0, settings=QUICK)

    async def prepare() -> None:
        await network.start_l1()
        await network.prepare_sequencer()
        validators = [network.prepare_validator(index) for index in range(VALIDATORS)]
        network.prepare_worker(0)
        await bring_up(network, [WORKER], [*validators, WORKER])

    with running(network, prepare):
        yield network


async def test_the_sequencer_is_killed_at_every_point(network: Network) -> None:
    assert set(IN_ORDER) == crash.POINTS
    survived: list[str] = []

    async def keep_killing() -> None:
        await network.kill("sequencer")
        for point in IN_ORDER:
            network.start("sequencer", {"POUW_CRASH_AT": point})
            assert await died(network, "sequencer") == CRASHED, point
            survived.append(point)
        await network.start_sequencer()

    async with client_of(network) as client, network.l1() as l1, trio.open_nursery() as nursery:
        nursery.start_soon(keep_killing)
        task_id = await submit_task(client, seed=1)
        await until(network, "the payment", lambda: paid_and_final(client, l1, task_id), doomed="sequencer")
        await until(network, "the last kill", lambda: _is(len(survived) == len(IN_ORDER)), doomed="sequencer")
    assert survived == list(IN_ORDER)
    async with client_of(network) as client, network.l1() as l1:
        worker = network.nodes[WORKER].keypair
        before = await l1.get_balance(worker.pubkey(), "finalized")
        assert (await claim(network, l1, client, worker)).lamports == FEE_LAMPORTS
        assert await l1.get_balance(worker.pubkey(), "finalized") - before == FEE_LAMPORTS
        with pytest.raises(ProgramError) as refused:
            await claim(network, l1, client, worker)
        assert refused.value.name == "NothingToClaim"


async def _is(value: bool) -> bool:
    return value


async def test_worker_and_validator_are_killed_at_every_point(network: Network) -> None:
    async with client_of(network) as client, network.l1() as l1:
        task_id = await submit_task(client, seed=2)
        await network.kill(WORKER)
        await network.kill(VALIDATOR)
        assert await status_is(client, task_id, "pending", "leased")

        network.start(VALIDATOR)
        start_doomed(network, WORKER, "committed")
        assert await died(network, WORKER) == KILLED
        assert await status_is(client, task_id, "committed")
        await network.kill(VALIDATOR)

        network.start(VALIDATOR)
        start_doomed(network, WORKER, "revealed")
        assert await died(network, WORKER) == KILLED
        assert not await status_is(client, task_id, "pending", "leased", "committed")
        await network.kill(VALIDATOR)

        # The validator dies between the slashing-protection database and the network: its vote is cast, and nobody has it.
        start_doomed(network, VALIDATOR, "attested")
        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_epochs_coming, network, client)
                assert await network.ended(VALIDATOR) == KILLED
                nursery.cancel_scope.cancel()
        network.start(WORKER)
        network.start(VALIDATOR)

        # The post is on L1 and no sequencer knows: worker and validator die while it is away.
        await network.kill("sequencer")
        network.start("sequencer", {"POUW_CRASH_AT": "posted_unconfirmed"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(withdraw, client, 2)
            assert await died(network, "sequencer") == CRASHED
            await network.kill(WORKER)
            await network.kill(VALIDATOR)
            network.start(WORKER)
            network.start(VALIDATOR)
            await network.start_sequencer()

        await until(network, "the payment", lambda: paid_and_final(client, l1, task_id))
        for name in (WORKER, VALIDATOR, "sequencer"):
            await network.kill(name)
        await network.start_sequencer()
        network.start(VALIDATOR)
        network.start(WORKER)
        worker = network.nodes[WORKER].keypair
        assert (await claim(network, l1, client, worker)).lamports == FEE_LAMPORTS
        assert await l1.get_balance(worker.pubkey(), "finalized") == 2 * FEE_LAMPORTS
        task = await get_task(client, task_id)
        assert (task["worker"], task["rejections"]) == (str(worker.pubkey()), [])


async def _keep_epochs_coming(network: Network, client: object) -> None:
    while True:
        await withdraw(client, 1)  # type: ignore[arg-type]
        await trio.sleep(3)


async def test_afterwards_all_sign_again_and_the_books_balance(network: Network) -> None:
    async with client_of(network) as client, network.l1() as l1:
        voted = len(log_of(network, VALIDATOR, "attested"))
        last = 0

        async def all_sign() -> bool:
            """A new epoch carries all signatures, the killed validator's among them."""
            nonlocal last
            info = await client.call("getEpochInfo")
            if info["postedEpoch"] == last or info["records"]:
                return False
            last = info["postedEpoch"]
            checkpoint = await client.call("getCheckpoint", {"epoch": last})
            if checkpoint["signers"] == VALIDATORS and len(log_of(network, VALIDATOR, "attested")) > voted:
                return True
            await withdraw(client, 1)
            return False

        await withdraw(client, 1)
        await until(network, "an epoch that all sign", all_sign)

        async def all_final() -> bool:
            info = await client.call("getEpochInfo")
            config = await l1.fetch_config("finalized")
            return not info["records"] and info["epoch"] == config.posted.epoch + 1 == config.finalized.epoch + 1

        await until(network, "every epoch to be final", all_final)
        config = await l1.fetch_config("finalized")

        async def seen() -> bool:
            """The sequencer reads L1 every now and then: its `finalized` follows."""
            return bool((await account(client, client.public_key, "finalized"))["epoch"] == config.finalized.epoch)

        await until(network, "the sequencer to see it", seen)
        tasks = (await client.call("getTasks"))["tasks"]
        assert [task["status"] for task in tasks] == ["paid", "paid"]
        worker = await account(client, bytes(network.nodes[WORKER].keypair.pubkey()), "finalized")
        ours = await account(client, client.public_key, "finalized")
        assert worker["payableLamports"] == 2 * FEE_LAMPORTS
        withdrawn = ours["payableLamports"]
        assert withdrawn > 0 and ours["lockedFeesLamports"] == 0
        assert ours["balanceLamports"] == CLIENT_LAMPORTS - 2 * FEE_LAMPORTS - withdrawn
        assert config.finalized.payable_total == 2 * FEE_LAMPORTS + withdrawn
        parent = None
        for epoch in range(1, config.finalized.epoch + 1):
            checkpoint = await l1.fetch_checkpoint(epoch, "finalized")
            assert checkpoint is not None and parent in (None, checkpoint.parent_hash)
            parent = checkpoint.hash
