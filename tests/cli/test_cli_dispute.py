"""`pouw governance` and `pouw challenge` against the real program on the embedded L1."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from settlement import merkle, pda, records
from settlement.accounts import LOCALNET_PROFILE
from settlement.bls import SecretKey
from settlement.dispute_accounts import decode_demand
from settlement.keys import write_keypair
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from tests.cli.test_cli_slash import STAKE, Deployment
from tests.settlement import kit

SOL = 1_000_000_000
# Commands take their time on a slow machine; demands open within the window only.
WIDE = replace(LOCALNET_PROFILE, challenge_window_slots=5_000)


@pytest.fixture
async def deployment(l1: Any) -> Deployment:
    await ensure_initialized(l1.client, l1.authority, l1.rich, WIDE)
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


async def test_a_demand(at: Any, deployment: Any, l1: Any) -> None:
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
