"""Every lie of tests.liars, told by a real worker to a real sequencer and three validators: none is paid, and the honest worker who gets the
task afterwards is."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from cli.demo_network import WORKER_STAKE_LAMPORTS, Network
from settlement import pda
from tests.integration.kit import (
    FEE_LAMPORTS,
    QUICK,
    VALIDATORS,
    account,
    bring_up,
    client_of,
    get_task,
    log_of,
    paid_and_final,
    running,
    submit_task,
    until,
)
from tests.liars import LIES

REASONS = {
    "last_state": "wrong_state",
    "middle_state": "wrong_state",
    "hash_not_weights": "wrong_result",
    "false_accuracy": "wrong_metrics",
    "other_seed": "wrong_seed",
}
"""What validators find. The remaining lie, other_commitment, cannot even be revealed."""
WRONG_COMMITMENT = "-33011"
HONEST = "worker-0"
LEASE_SLOTS = 60


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    settings = {**QUICK, "sequencer": {**QUICK["sequencer"], "lease_slots": LEASE_SLOTS}}
    network = Network(tmp_path_factory.mktemp("network"), epoch_seconds=2.0, settings=settings)

    async def prepare() -> None:
        await network.start_l1()
        await network.prepare_sequencer()
        validators = [network.prepare_validator(index) for index in range(VALIDATORS)]
        await bring_up(network, [], validators)

    with running(network, prepare):
        yield network


def prepare_liar(network: Network, index: int, mode: str) -> str:
    """A liar's keys and command; it starts to work once its stake is deposited."""
    name = network.prepare_worker(index)
    config = tomllib.loads((network.folder / f"{name}.toml").read_text())
    module = ["tests.liars"]
    if mode == "middle_state":
        keys: list[Path] = [network.folder / "keys" / f"validator-{i}.bls.json" for i in range(VALIDATORS)]
        module = ["tests.integration.lucky_liar", "--bls", *map(str, keys)]
    flags = {key: config[key] for key in ("url", "sequencer", "keypair", "data_dir", "program_id")}
    arguments = [part for key, value in flags.items() for part in (f"--{key.replace('_', '-')}", value)]
    network.nodes[name].arguments = ["-m", *module, "--mode", mode, *arguments]
    return name


async def test_no_lie_is_paid_and_the_honest_worker_is(network: Network) -> None:
    assert set(REASONS) | {"other_commitment"} == set(LIES)
    modes = ["other_commitment", *REASONS]
    liars = {mode: prepare_liar(network, index + 1, mode) for index, mode in enumerate(modes)}
    keys = {mode: network.nodes[name].keypair.pubkey() for mode, name in liars.items()}
    async with client_of(network) as client, network.l1() as l1:
        tasks = [await submit_task(client, seed) for seed in (1, 2)]
        waiting = list(liars.values())
        network.start(waiting[0], {"CUDA_VISIBLE_DEVICES": ""})
        for mode, name in liars.items():
            await network.deposit({keys[mode]: WORKER_STAKE_LAMPORTS})
            del waiting[0]
            if waiting:
                network.start(waiting[0], {"CUDA_VISIBLE_DEVICES": ""})  # it loads torch meanwhile

            async def found_out(mode: str = mode, name: str = name) -> bool:
                if mode == "other_commitment":
                    return WRONG_COMMITMENT in (network.folder / "logs" / f"{name}.log").read_text()
                rejections = [rejection for task in tasks for rejection in (await get_task(client, task))["rejections"]]
                return {"worker": str(keys[mode]), "reason": REASONS[mode]} in rejections

            await until(network, f"{mode} to be found out", found_out)
            await network.kill(name)
        assert log_of(network, liars["middle_state"], "lucky")

        network.prepare_worker(0)
        network.start(HONEST)
        honest = network.nodes[HONEST].keypair.pubkey()
        await network.deposit({honest: WORKER_STAKE_LAMPORTS})
        for task_id in tasks:
            paid = await until(network, "the payment", lambda task_id=task_id: paid_and_final(client, l1, task_id))
            assert paid["worker"] == str(honest)

        rejected = [(task, r["worker"]) for task in tasks for r in (await get_task(client, task))["rejections"]]
        # One that was quick may have lied about both tasks before it was judged; about none of them twice.
        assert len(rejected) == len(set(rejected))
        assert {worker for _, worker in rejected} == {str(keys[mode]) for mode in REASONS}
        for mode, key in keys.items():
            liar = await account(client, bytes(key))
            kept = WORKER_STAKE_LAMPORTS if mode == "other_commitment" else 0
            found = (liar["payableLamports"], liar["balanceLamports"], liar["lockedStakeLamports"])
            assert found == (0, 0, kept), mode
        assert (await account(client, bytes(honest)))["payableLamports"] == len(tasks) * FEE_LAMPORTS
        treasury: Pubkey = pda.treasury(network.program_id)
        slashed = len(REASONS) * WORKER_STAKE_LAMPORTS
        assert (await account(client, bytes(treasury)))["payableLamports"] == slashed
        total = (await l1.fetch_config("finalized")).finalized.payable_total
        assert total == len(tasks) * FEE_LAMPORTS + slashed
