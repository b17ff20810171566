"""When the sequencer censors, and when it is gone: real processes, and `pouw` alone. An entry forced through L1 stops every post that leaves it
out, and an honest sequencer over the same data goes on with it; without any, everybody gets by the hatch exactly what they had."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cli import main
from cli.demo_network import WORKER_STAKE_LAMPORTS, Network
from settlement import pda
from settlement.accounts import LOCALNET_PROFILE
from settlement.keys import write_keypair
from settlement.money import deposit
from settlement.signing import node_id
from tests.integration.kit import (
    CLIENT_LAMPORTS,
    DATASET,
    QUICK,
    account,
    client_of,
    log_of,
    paid_and_final,
    running,
    task,
    until,
    withdraw,
)
from validator.chain import Link
from validator.store import Store

FEE = 1_000_000
SOL = 1_000_000_000
VALIDATOR, WORKER = "validator-0", "worker-0"
QUICK_HATCH = replace(
    LOCALNET_PROFILE,
    challenge_window_slots=4,
    inclusion_window_slots=16,
    answer_slots=1,
    max_expiry_slots=100,
    min_seal_gap_slots=100,
    stall_slots=101,
    heartbeat_slots=100,
    hatch_slots=106,
)


class Person:
    """Somebody with a key file and lamports on L1, who knows nothing but `pouw`."""

    def __init__(self, network: Network, name: str, keypair: Keypair) -> None:
        self.network, self.keypair, self.file = network, keypair, network.folder / f"{name}.json"
        write_keypair(self.file, keypair)

    @property
    def key(self) -> Pubkey:
        return self.keypair.pubkey()

    async def pouw(self, *arguments: object, **options: object) -> Any:
        """What a command says with --json."""
        words = [str(word) for word in arguments]
        words += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        words += ["--url", self.network.url, "--json"]
        if arguments[-1] != "status" and arguments[:2] != ("inbox", "list"):
            words += ["-k", str(self.file)]
        if arguments[:2] == ("inbox", "task") or "claim" in arguments:
            words += ["--sequencer", self.network.sequencer_url]
        return await trio.to_thread.run_sync(_run, words)


def _run(words: list[str]) -> Any:
    said, complained = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["pouw", *words]
    try:
        with redirect_stdout(said), redirect_stderr(complained):
            main.main()
    except SystemExit as ended:
        raise AssertionError(f"pouw {' '.join(words)} ended with {ended.code}: {complained.getvalue()}") from None
    finally:
        sys.argv = before
    return json.loads(said.getvalue())


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    network = Network(tmp_path, epoch_seconds=1.0, slot_ms=100, settings=QUICK, parameters=QUICK_HATCH)

    async def prepare() -> None:
        await network.start_l1()
        await network.prepare_sequencer()
        names = [network.prepare_validator(0), network.prepare_worker(0)]
        network.start(names[0])
        network.start(names[1])
        await network.set_up(1)
        await network.start_sequencer()
        await network.deposit(
            {
                network.client_keypair.pubkey(): CLIENT_LAMPORTS,
                network.nodes[WORKER].keypair.pubkey(): WORKER_STAKE_LAMPORTS,
            }
        )

    with running(network, prepare):
        yield network


async def test_a_censoring_sequencer_and_a_dead_one(network: Network) -> None:
    people = [Person(network, name, key) for name, key in (("newcomer", Keypair()), ("client", network.client_keypair))]
    newcomer, client = people
    async with network.l1() as l1:
        for person in people:
            await l1.request_airdrop(person.key, SOL)
        await _a_task_through_l1(network, newcomer)
        await _a_censor_cannot_go_on(network, client)
        await _the_hatch_pays_everybody(network, people)


async def _a_task_through_l1(network: Network, newcomer: Person) -> None:
    """Of somebody who has no account: worked on, paid, and final like any other."""
    spec, dataset = network.folder / "spec.json", network.folder / "dataset"
    spec.write_text(json.dumps(task(1), indent=1))
    dataset.write_bytes(DATASET)
    said = await newcomer.pouw("inbox", "task", spec, dataset=dataset, fee=FEE, deadline="+20000", wait=300)
    assert said["described"] is True
    async with client_of(network) as calls, network.l1() as l1:
        await until(network, "the payment", lambda: paid_and_final(calls, l1, said["task_id"]))
    (row,) = await newcomer.pouw("inbox", "list", **{"from": said["inbox_index"]})
    assert (row["kind"], row["status"], row["task_id"]) == ("task", "final", said["task_id"])
    assert row["epoch"] is not None


async def _a_censor_cannot_go_on(network: Network, client: Person) -> None:
    honest = list(network.nodes["sequencer"].arguments)
    await network.kill("sequencer")
    network.nodes["sequencer"].arguments = ["-m", "tests.integration.censor", *honest[2:]]
    await network.start_sequencer()
    forced = await client.pouw("inbox", "withdraw", 2_000_000)
    index = forced["inbox_index"]
    async with client_of(network) as calls, network.l1() as l1:
        await l1.wait_for_slot(forced["overdue_slot"])
        await withdraw(calls, 1)  # something to make an epoch of

        async def refused() -> bool:
            found = log_of(network, VALIDATOR, "not attested")
            return any(f"inbox entry {index}" in one["reason"] and "overdue" in one["reason"] for one in found)

        await until(network, "the validator's refusal", refused)
        config = await l1.fetch_config()
        assert config.posted.inbox_cursor == index
        (row,) = await client.pouw("inbox", "list", **{"from": index})
        assert row["status"] == "overdue"

        await network.kill("sequencer")
        network.nodes["sequencer"].arguments = honest
        await network.start_sequencer()

        async def taken() -> bool:
            return (await l1.fetch_config("finalized")).finalized.inbox_cursor > index

        await until(network, "an honest sequencer's epoch", taken)
        (row,) = await client.pouw("inbox", "list", **{"from": index})
        assert (row["status"], row["epoch"]) == ("final", config.posted.epoch + 1)
        shown = await account(calls, bytes(client.key), "finalized")
        assert shown["payableLamports"] == 2_000_000 + forced["entering_lamports"] + 1


async def _the_hatch_pays_everybody(network: Network, people: list[Person]) -> None:
    newcomer, client = people
    worker = network.nodes[WORKER].keypair.pubkey()
    async with network.l1() as l1:

        async def settled() -> bool:
            config = await l1.fetch_config("finalized")
            return config.finalized.epoch == config.posted.epoch and config.finalized.inbox_cursor == config.inbox.count

        await until(network, "everything to be final", settled)
        paid = await client.pouw("claim")
        await network.kill("sequencer")
        assert paid["claimed_lamports"] > 2_000_000
        await deposit(l1, network.payer, 70_000, newcomer.key)
        await client.pouw("inbox", "withdraw", "all")

        link = await _state_of(network, l1)
        keys = [client.key, worker, newcomer.key]
        had = {str(key): _holds(link, key) for key in keys}
        had[str(client.key)] -= paid["claimed_lamports"]
        assert had[str(worker)] == WORKER_STAKE_LAMPORTS + FEE
        assert sum(had.values()) == (await l1.fetch_config()).finalized.inbox_lamports - paid["claimed_lamports"]

        status = await client.pouw("escape", "status")
        await l1.wait_for_slot(status["opens_slot"])
        assert (await newcomer.pouw("escape", "open"))["hatch"] == "open"
        before = {str(key): await l1.get_balance(key) for key in keys}
        refunded = await newcomer.pouw("escape", "refund", "--all")
        # The network's payer pays the fees, so that what the others get is all that changes.
        payer = Person(network, "payer", network.payer)
        claimed = await payer.pouw("escape", "claim", "--all", state=network.folder / VALIDATOR)
        assert {one["public_key"]: one["paid_lamports"] for one in claimed} == {k: v for k, v in had.items() if v}
        back = {str(client.key): 10_000, str(newcomer.key): 70_000}
        assert {one["beneficiary"]: one["refunded_lamports"] for one in refunded} == back
        for key in (client.key, worker):
            got = await l1.get_balance(key) - before[str(key)]
            assert got == had[str(key)] + back.get(str(key), 0)
        assert await l1.get_balance(pda.vault(network.program_id)) == await l1.minimum_rent(0)
        assert network.nodes[VALIDATOR].child is not None
        network.nodes[VALIDATOR].child.check()


async def _state_of(network: Network, l1: Any) -> Link:
    """What the validator has on its disk once it has seen that nothing more is final; it runs on."""
    domain, final = await l1.domain(), (await l1.fetch_config()).finalized

    def read() -> Link:
        return Store.read(network.folder / VALIDATOR / "state", domain)

    async def seen() -> Link | None:
        link = await trio.to_thread.run_sync(read)
        return link if link.epoch == final.epoch else None

    found: Link = await until(network, "the validator's state", seen)
    return found


def _holds(link: Link, key: Pubkey) -> int:
    found = link.state.account(node_id(bytes(key)))
    return 0 if found is None else found.balance + found.locked_fees + found.locked_stake + found.payable
