"""An honest network whose posted checkpoint falls, since nobody answers a demand: the task's result comes again in an epoch with a new number,
becomes final, and the worker is paid once. Sequencer and a validator are killed in between."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cli.demo_network import Network
from settlement import dispute_instructions
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus
from settlement.client import L1Client
from settlement.dispute_accounts import DemandKind
from settlement.errors import ProgramError
from settlement.sequencer_client import SequencerClient
from tests.integration.kit import (
    FEE_LAMPORTS,
    QUICK,
    VALIDATORS,
    bring_up,
    claim,
    client_of,
    get_task,
    log_of,
    paid_and_final,
    running,
    submit_task,
    until,
)

WORKER = "worker-0"
# The window is long enough for this test to find the post in; a machine that is slower still gets another task (`demanded`).
PARAMETERS = replace(LOCALNET_PROFILE, challenge_window_slots=60, answer_slots=20)
SETTINGS = {**QUICK, "sequencer": {**QUICK["sequencer"], "answer_demands": False}}
PLACE = (int(DemandKind.CHUNK), 0)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("network")
    network = Network(folder, epoch_seconds=1.0, settings=SETTINGS, parameters=PARAMETERS)

    async def prepare() -> None:
        await network.start_l1()
        await network.prepare_sequencer()
        validators = [network.prepare_validator(index) for index in range(VALIDATORS)]
        network.prepare_worker(0)
        await bring_up(network, [WORKER], [*validators, WORKER])

    with running(network, prepare):
        yield network


async def demanded(network: Network, client: SequencerClient, l1: L1Client) -> tuple[list[str], dict[str, Any]]:
    """All tasks submitted, and the one that is paid in an epoch on L1 from whose checkpoint a chunk is demanded."""
    tasks: list[str] = []
    while True:
        tasks.append(await submit_task(client, seed=len(tasks) + 1))

        async def is_posted() -> Any:
            task = await get_task(client, tasks[-1])
            return task if "epoch" in task and await l1.fetch_checkpoint(task["epoch"], "confirmed") else None

        task = await until(network, "the post of the payment", is_posted)
        payer = network.payer
        demand = dispute_instructions.open_demand(l1.program_id, payer.pubkey(), task["epoch"], *PLACE)
        try:
            await l1.send_and_confirm([demand], payer)
            return tasks, task
        except ProgramError as error:
            assert error.name in ("ChallengeWindowOver", "NotPosted"), error


async def test_the_result_is_paid_once_in_an_epoch_with_a_new_number(network: Network) -> None:
    async with client_of(network) as client, network.l1() as l1:
        tasks, task = await demanded(network, client, l1)
        fallen = task["epoch"]
        checkpoint = await l1.fetch_checkpoint(fallen, "confirmed")
        assert checkpoint is not None

        answer_until_slot = await l1.get_slot("processed") + PARAMETERS.answer_slots

        async def is_over() -> bool:
            return await l1.get_slot("confirmed") > answer_until_slot

        await until(network, "the end of the time to answer", is_over)
        payer = network.payer
        timing_out = dispute_instructions.timeout_demand(
            l1.program_id, payer.pubkey(), checkpoint, PLACE, payer.pubkey()
        )
        await l1.send_and_confirm([timing_out], payer)
        for name in ("sequencer", "validator-0"):
            await network.kill(name)
        network.start("validator-0")
        await network.start_sequencer()

        config = await l1.fetch_config("confirmed")
        assert config.is_void(fallen) and config.posted.epoch < fallen <= config.highest_epoch
        for task_id in tasks:
            paid = await until(network, "finality", lambda task_id=task_id: paid_and_final(client, l1, task_id))
            assert paid["epoch"] > fallen if task_id == tasks[-1] else True
        await l1_and_sequencer_agree(client, l1, fallen)
        assert log_of(network, "sequencer", "epoch rejected on L1")[0]["epoch"] == fallen

        worker = network.nodes[WORKER].keypair
        assert (await claim(network, l1, client, worker)).lamports == FEE_LAMPORTS * len(tasks)
        with pytest.raises(ProgramError) as refused:
            await claim(network, l1, client, worker)
        assert refused.value.name == "NothingToClaim"


async def l1_and_sequencer_agree(client: SequencerClient, l1: L1Client, fallen: int) -> None:
    """What fell is Rejected in both, and everything that is final links to the one before it by its hash."""
    rejected = await l1.fetch_checkpoint(fallen, "finalized")
    assert rejected is not None and rejected.status is CheckpointStatus.REJECTED
    assert (await client.call("getCheckpoint", {"epoch": fallen}))["status"] == "rejected"
    epoch = (await l1.fetch_config("finalized")).finalized.epoch
    while epoch:
        found = await l1.fetch_checkpoint(epoch, "finalized")
        assert found is not None and found.status is CheckpointStatus.FINALIZED and epoch != fallen
        assert (await client.call("getCheckpoint", {"epoch": epoch}))["hash"] == found.hash.hex()
        epoch = found.parent_epoch
