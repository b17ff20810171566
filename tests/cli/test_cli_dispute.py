"""`pouw governance` and `pouw challenge` against the real program on the embedded L1."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer

from sequencer import service
from sequencer.config import SequencerConfig
from settlement import merkle, pda, records
from settlement.accounts import LOCALNET_PROFILE
from settlement.bls import SecretKey
from settlement.dispute_accounts import decode_demand
from settlement.keys import write_keypair
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from settlement.money import deposit
from settlement.sequencer_client import SequencerClient
from tests.cli.test_cli_slash import STAKE, Deployment
from tests.sequencer.kit import Party, Voter
from tests.settlement import kit

SOL = 1_000_000_000
# Commands take their time on a slow machine; demands open within the window only.
WIDE = replace(LOCALNET_PROFILE, challenge_window_slots=5_000)


@pytest.fixture
async def deployment(l1: Any, request: pytest.FixtureRequest) -> Deployment:
    await ensure_initialized(l1.client, l1.authority, l1.rich, getattr(request, "param", WIDE))
    secrets = [SecretKey.generate() for _ in range(4)]
    for secret in secrets:
        await register_validator(l1.client, l1.rich, Keypair(), secret, STAKE)
    await advance_validator_set(l1.client, l1.rich, l1.authority)
    return Deployment(l1, secrets)


@pytest.fixture
def at(pouw: Any, tmp_path: Path, l1: Any) -> Any:
    """Runs `pouw ARGUMENTS` on `l1`, signed by `who`."""

    async def run(who: Keypair, *arguments: object) -> Any:
        path = tmp_path / f"{who.pubkey()}.json"
        if not path.exists():
            write_keypair(path, who)
        return await trio.to_thread.run_sync(lambda: pouw(*arguments, "-k", path, "--url", l1.url))

    return run


async def test_governance(at: Any, l1: Any, tmp_path: Path) -> None:
    await ensure_initialized(l1.client, l1.authority, l1.rich)
    governance, successor = l1.authority, await l1.funded(SOL)
    refused = await at(successor, "governance", "pause")
    assert refused.code == 1 and "NotGovernance" in refused.err
    assert (await at(governance, "governance", "pause", "--json")).json["paused"] is True
    assert (await l1.client.fetch_config()).paused == 1
    await at(governance, "governance", "unpause")
    assert (await l1.client.fetch_config()).paused == 0

    few = await at(governance, "governance", "grant", 1, "--for", successor.pubkey())
    assert few.code == 1 and "at least 10000 lamports" in few.err
    empty = await at(governance, "governance", "grant", 10_000_000_000_000, "--for", successor.pubkey())
    assert empty.code == 1 and "GrantAboveTreasury" in empty.err
    treasury = pda.treasury(l1.program_id)
    to_treasury = transfer(TransferParams(from_pubkey=l1.rich.pubkey(), to_pubkey=treasury, lamports=SOL))
    await l1.client.send_and_confirm([to_treasury], l1.rich)
    granted = (await at(governance, "governance", "grant", SOL, "--for", successor.pubkey(), "--json")).json
    assert (granted["lamports"], granted["beneficiary"]) == (SOL, str(successor.pubkey()))

    changes = tmp_path / "changes.json"
    changes.write_text('{"challenge_window": 20}')
    unknown = await at(governance, "governance", "propose", changes)
    assert unknown.code == 1 and "no parameter challenge_window" in unknown.err
    assert "no parameters are proposed" in (await at(governance, "governance", "apply")).err
    changes.write_text(json.dumps({"challenge_window_slots": 20}))
    assert (await at(governance, "governance", "propose", changes)).code == 0
    assert "ProposalTooYoung" in (await at(successor, "governance", "apply")).err
    assert (await at(governance, "governance", "cancel")).code == 0
    assert await l1.client.get_account(pda.proposal(l1.program_id)) is None

    assert (await at(governance, "governance", "offer", successor.pubkey())).code == 0
    assert (await at(successor, "governance", "accept")).code == 0
    assert (await l1.client.fetch_config()).governance == successor.pubkey()


async def test_a_demand(at: Any, pouw: Any, deployment: Any, l1: Any) -> None:
    await deployment.post(await deployment.message(), 0, 1, 2)
    demander = await l1.funded(SOL)
    told = (await at(demander, "challenge", "demand", 1, "trace", 5, "--json")).json
    assert (told["status"], told["open_demands"]) == ("posted", 1)
    address = pda.demand(l1.program_id, 1, 3, 5)
    held = decode_demand(address, bytes((await l1.client.get_account(address)).data))
    assert (held.demander, held.index) == (demander.pubkey(), 5)
    assert "AnswerOpen" in (await at(demander, "challenge", "timeout", 1, "trace", 5)).err
    assert "CheckpointLive" in (await at(demander, "challenge", "return", 1, "trace", 5)).err
    assert "NotVoid" in (await at(demander, "challenge", "void", 1)).err
    assert "CheckpointNeeded" in (await at(demander, "challenge", "close", 1)).err
    assert "there is no such demand" in (await at(demander, "challenge", "timeout", 1, "chunk", 5)).err
    assert "L1 has no checkpoint 2" in (await at(demander, "challenge", "void", 2)).err

    assert (await at(demander, "challenge", "demand", 1, "record", 7)).code == 0
    listed = await trio.to_thread.run_sync(lambda: pouw("challenge", "list", "--url", l1.url, "--json"))
    assert [(one["epoch"], one["kind"], one["index"]) for one in listed.json] == [(1, "trace", 5), (1, "record", 7)]
    first = listed.json[0]
    assert first["demander"] == str(demander.pubkey()) and first["answer_until_slot"] == held.answer_until_slot
    assert first["bond_lamports"] == LOCALNET_PROFILE.demand_bond_lamports and 0 < first["slots_left"] <= 600
    shown = await trio.to_thread.run_sync(lambda: pouw("challenge", "list", 1, "--url", l1.url))
    assert shown.code == 0 and str(held.answer_until_slot) in shown.out and "trace" in shown.out
    none = await trio.to_thread.run_sync(lambda: pouw("challenge", "list", 2, "--url", l1.url))
    assert none.code == 0 and "no demand is open on epoch 2" in none.err


@pytest.mark.parametrize("deployment", [replace(WIDE, answer_slots=1)], indirect=True)
async def test_the_signers_of_what_nobody_showed_are_slashed(at: Any, deployment: Any, l1: Any) -> None:
    """`pouw challenge timeout` rejects the checkpoint, `pouw slash rejected` takes from whoever signed it."""
    await deployment.post(await deployment.message(), 0, 1, 2)
    reporter = await l1.funded(SOL)
    refused = await at(reporter, "slash", "rejected", 1)
    assert (refused.code, refused.err) == (1, "error: epoch 1 is posted, not rejected\n")
    assert (await at(reporter, "challenge", "demand", 1, "trace", 0)).code == 0
    (demand,) = await l1.client.fetch_demands(1)
    await l1.client.wait_for_slot(demand.answer_until_slot + 1)
    assert (await at(reporter, "challenge", "timeout", 1, "trace", 0, "--json")).json["status"] == "rejected"
    before = await l1.client.get_balance(reporter.pubkey())
    told = (await at(reporter, "slash", "rejected", 1, "--json")).json
    assert told == {"epoch": 1, "slashed_indexes": [0, 1, 2], "pending_slashes": 0}
    cut = STAKE * WIDE.fraud_slash_basis_points // 10_000
    assert [slot.stake_lamports for slot in (await l1.client.fetch_registry()).slots] == [STAKE - cut] * 3 + [STAKE]
    share = cut * WIDE.reporter_basis_points // 10_000
    assert before + 2 * share < await l1.client.get_balance(reporter.pubkey(), "confirmed") < before + 3 * share
    assert (await at(reporter, "slash", "rejected", 1, "--json")).json["slashed_indexes"] == []


async def test_answers(at: Any, deployment: Any, l1: Any, tmp_path: Path) -> None:
    """A signed record, a chunk and an index that is not there, all from the batch's bytes."""
    record = kit.withdrawal("alice", 0, 5)
    signed = kit.authorise(record, "alice", 10**6, await l1.client.domain())
    encoded = records.encode(record)
    data = encoded + signed.encode()
    roots = {"results_root": merkle.root("results-root", [encoded]), "data_root": merkle.root("data-root", [data])}
    await deployment.post(await deployment.message(**roots), 0, 1, 2)
    demander, answerer = await l1.funded(SOL), await l1.funded(SOL)
    path = tmp_path / "batch"
    path.write_bytes(data)
    wrong = tmp_path / "wrong"
    wrong.write_bytes(bytes(264))
    for what, index in (("record", 0), ("chunk", 0), ("record", 9), ("chunk", 1)):
        assert (await at(demander, "challenge", "demand", 1, what, index)).code == 0
        before = await l1.client.get_balance(answerer.pubkey())
        refused = await at(answerer, "challenge", "answer", 1, what, index, "--batch", wrong)
        assert "not the bytes under the checkpoint's data root" in refused.err
        told = (await at(answerer, "challenge", "answer", 1, what, index, "--batch", path, "--json")).json
        assert told["open_demands"] == 0
        bond = LOCALNET_PROFILE.demand_bond_lamports
        assert before + bond // 2 < await l1.client.get_balance(answerer.pubkey()) <= before + bond


async def test_a_stranger_answers_with_what_the_sequencer_shows(
    at: Any, l1: Any, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """A real sequencer that does not answer itself: the batch and its trace are fetched from it and checked against L1."""
    await ensure_initialized(l1.client, l1.authority, l1.rich, WIDE)
    authority, secret = Keypair(), SecretKey.generate()
    await register_validator(l1.client, l1.rich, authority, secret, STAKE)
    await advance_validator_set(l1.client, l1.rich, l1.authority)
    write_keypair(tmp_path / "poster.json", l1.rich)
    config = SequencerConfig(
        url=l1.url, keypair=tmp_path / "poster.json", data_dir=tmp_path / "data", port=0, epoch_seconds=0.5,
        attestation_grace_seconds=0.1, answer_demands=False,
    )  # fmt: skip
    port = await nursery.start(service.run, config)
    await deposit(l1.client, l1.rich, SOL)
    url = f"http://127.0.0.1:{port}"
    domain = await l1.client.domain()
    async with SequencerClient(url, authority, genesis=domain.genesis, program=domain.program) as client:
        voter = Voter(Party(authority, client), secret, l1.client)
        with trio.fail_after(120):
            while await l1.client.fetch_checkpoint(1) is None:
                await voter.once()
                await trio.sleep(0.1)
    demander, answerer = await l1.funded(SOL), await l1.funded(SOL)
    batch = tmp_path / "batch"
    batch.write_bytes(bytes(264))
    refused = await at(demander, "challenge", "answer", 1, "trace", 0, "--batch", batch)
    assert refused.code == 1 and "a trace entry needs --sequencer" in refused.err
    for what, index in (("trace", 1), ("record", 0), ("chunk", 0), ("trace", 2)):
        assert (await at(demander, "challenge", "demand", 1, what, index)).code == 0
        told = (await at(answerer, "challenge", "answer", 1, what, index, "--sequencer", url, "--json")).json
        assert told["open_demands"] == 0
