"""Demands on the checkpoints of a real network: whatever is demanded is answered by the sequencer, or, once it is dead, by the validators; the
epochs become final and nobody is slashed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from solders.keypair import Keypair

from cli.demo_network import Network
from settlement import dispute_instructions as build
from settlement.accounts import LOCALNET_PROFILE, Checkpoint, CheckpointStatus
from settlement.client import L1Client
from settlement.dispute_accounts import DemandKind
from settlement.errors import ProgramError
from settlement.sequencer_client import SequencerClient
from tests.integration.kit import (
    CLIENT_LAMPORTS,
    DATASET,
    QUICK,
    client_of,
    has_account,
    log_of,
    running,
    submit_task,
    until,
    withdraw,
)

SOL = 1_000_000_000
VALIDATORS = 2
SLOT_MS = 50
# Windows in slots as short in seconds as a loaded machine allows: 10 s to demand, 22 s to answer, of which the first 7 are the sequencer's.
PARAMETERS = replace(
    LOCALNET_PROFILE, challenge_window_slots=200, answer_slots=450, max_expiry_slots=400, min_seal_gap_slots=400
)
SETTINGS = {
    "sequencer": {**QUICK["sequencer"], "attestation_grace_seconds": 0.3},
    "validator": QUICK["validator"],
}
FAR = 2**64 - 1
Place = tuple[DemandKind, int]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(
        tmp_path_factory.mktemp("demands"),
        epoch_seconds=1.0,
        slot_ms=SLOT_MS,
        parameters=PARAMETERS,
        settings=SETTINGS,
    )

    async def prepare() -> None:
        await network.start_l1()
        await network.prepare_sequencer()
        names = [network.prepare_validator(index) for index in range(VALIDATORS)]
        for name in names:
            network.start(name)
        await network.set_up(VALIDATORS)
        async with network.l1() as l1:
            for name in names:
                await l1.request_airdrop(network.nodes[name].keypair.pubkey(), SOL)
        await network.start_sequencer()
        await network.deposit({network.client_keypair.pubkey(): CLIENT_LAMPORTS})
        async with client_of(network) as client:
            await until(network, "the client's deposit", lambda: has_account(client))
            await client.put_blob(DATASET)

    with running(network, prepare):
        yield network


async def next_epoch(network: Network, l1: L1Client, client: SequencerClient, task: int | None = None) -> Checkpoint:
    """A posted checkpoint with a record that somebody signed: a task, or a withdrawal."""
    before = (await client.call("getEpochInfo"))["epoch"]
    if task is None:
        await withdraw(client, 1_000)
    else:
        await submit_task(client, task)

    async def posted() -> Checkpoint | None:
        found = await l1.fetch_checkpoint(before)
        return found or await l1.fetch_checkpoint(before + 1)

    found: Checkpoint = await until(network, "a post", posted)
    return found


async def demand(l1: L1Client, demander: Keypair, checkpoint: Checkpoint, places: Sequence[Place]) -> bool:
    """All of them in one transaction; False when the window was over before."""
    built = [build.open_demand(l1.program_id, demander.pubkey(), checkpoint.epoch, *place) for place in places]
    try:
        await l1.send_and_confirm(built, demander, compute_unit_limit=400_000)
    except ProgramError as error:
        assert error.name in ("ChallengeWindowOver", "CheckpointVoid", "NotPosted"), error
        return False
    return True


async def demanded(
    network: Network, l1: L1Client, client: SequencerClient, demander: Keypair, task: int | None
) -> tuple[Checkpoint, int]:
    """A posted checkpoint of which everything there is was demanded in time, and how many demands that were. On a machine so slow that the
    window passed, another one."""
    while True:
        checkpoint = await next_epoch(network, l1, client, task)
        count = (await client.call("getCheckpoint", {"epoch": checkpoint.epoch}))["records"]
        records = [(DemandKind.RECORD, index) for index in (*range(min(count, 2)), count - 1, FAR)]
        others = [
            (DemandKind.CHUNK, 0),
            (DemandKind.CHUNK, 99),
            (DemandKind.TRACE_ENTRY, 1),
            (DemandKind.TRACE_ENTRY, 77),
        ]
        places = list(dict.fromkeys([*records, *others]))
        if await demand(l1, demander, checkpoint, places):
            return checkpoint, len(places)


async def answered(l1: L1Client, epoch: int) -> bool:
    found = await l1.fetch_checkpoint(epoch)
    assert found is not None and found.status is not CheckpointStatus.REJECTED, "nobody answered in time"
    return found.open_demands == 0


async def final(l1: L1Client, epoch: int) -> bool:
    found = await l1.fetch_checkpoint(epoch)
    assert found is not None and found.status is not CheckpointStatus.REJECTED
    return found.status is CheckpointStatus.FINALIZED


def answers_of(network: Network, *names: str) -> list[dict[str, Any]]:
    return [entry for name in names for entry in log_of(network, name, "demand answered")]


async def told(network: Network, count: int, *names: str) -> bool:
    return len(answers_of(network, *names)) >= count


async def test_whatever_is_demanded_is_answered(network: Network) -> None:
    """By the sequencer; then it is killed, and by the validators."""
    validators = [f"validator-{index}" for index in range(VALIDATORS)]
    demander = Keypair()
    async with client_of(network) as client, network.l1() as l1:
        await l1.request_airdrop(demander.pubkey(), 5 * SOL)
        first, count = await demanded(network, l1, client, demander, task=1)
        await until(network, "the sequencer's answers", lambda: answered(l1, first.epoch))
        # Told a moment after L1 has them. On a machine so slow that a third of the time passes before, validators help.
        await until(network, "who answered", lambda: told(network, count, "sequencer", *validators))
        by_sequencer = len(answers_of(network, "sequencer"))
        assert by_sequencer > 0
        second = await next_epoch(network, l1, client)
        await network.kill("sequencer")
        demands: list[Place] = [(kind, index) for kind in DemandKind for index in (0, FAR)]
        while not await demand(l1, demander, second, demands):
            await network.start_sequencer()  # the window passed on a slow machine: another epoch
            second = await next_epoch(network, l1, client)
            await network.kill("sequencer")
        keys = [network.nodes[name].keypair.pubkey() for name in validators]
        before = [await l1.get_balance(key) for key in keys]
        await until(network, "the validators' answers", lambda: answered(l1, second.epoch))
        earned = sum([await l1.get_balance(key) for key in keys]) - sum(before)
        assert earned > (len(demands) - 1) * PARAMETERS.demand_bond_lamports, "the bonds, less fees"
        assert len(answers_of(network, "sequencer")) == by_sequencer

        await network.start_sequencer()
        await until(network, "finality", lambda: final(l1, second.epoch))
        assert await final(l1, first.epoch)
