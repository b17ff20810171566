"""`pouw slash` and `pouw rewards` against the real program on the embedded L1: reports are believed for what is signed, and can be repeated."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from settlement import bls, instructions, pda, slash_instructions
from settlement.accounts import LOCALNET_PROFILE
from settlement.bls import SecretKey
from settlement.hash_to_curve import hints
from settlement.instructions import CheckpointArgs
from settlement.keys import write_keypair
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from settlement.messages import CheckpointMessage
from settlement.slashing import Evidence, report_equivocation
from settlement.validator_set import bitmap_to_bytes

STAKE = 5_000_000
POST_COMPUTE_UNITS = 400_000
SOL = 1_000_000_000
# A message that is posted after some commands must not have expired on a slow machine.
PATIENT = replace(LOCALNET_PROFILE, max_expiry_slots=1_000, min_seal_gap_slots=1_000)


@dataclass
class Deployment:
    """Four validators of equal stake on `l1`."""

    l1: Any
    secrets: list[SecretKey]

    async def message(self, **changes: Any) -> CheckpointMessage:
        config = await self.l1.client.fetch_config()
        cut = await self.l1.client.get_slot("confirmed")
        message = CheckpointMessage(
            epoch=config.highest_epoch + 1,
            attempt=0,
            cut_slot=cut,
            expiry_slot=cut + config.parameters.max_expiry_slots,
            parent_hash=config.posted.hash,
            results_root=b"\1" * 32,
            state_root=b"\2" * 32,
            trace_root=b"\3" * 32,
            data_root=b"\4" * 32,
            payable_total=0,
            inbox_cursor=0,
            inbox_hash=config.posted.inbox_hash,
            set_hash=config.pinned.hash,
        )
        return replace(message, **changes)

    async def evidence(self, message: CheckpointMessage, *signers: int) -> Evidence:
        digest = message.hash(await self.l1.client.domain())
        signature = bls.aggregate([self.secrets[index].sign(digest) for index in signers])
        return Evidence(message, 1, sum(1 << index for index in signers), signature)

    async def post(self, message: CheckpointMessage, *signers: int) -> None:
        signed, client = await self.evidence(message, *signers), self.l1.client
        args = CheckpointArgs(
            **{name: getattr(message, name) for name in CheckpointArgs.__dataclass_fields__ if hasattr(message, name)},
            bitmap=bitmap_to_bytes(signed.bitmap),
            signature=signed.signature,
            hints=hints(message.hash(await client.domain())),
        )
        built = instructions.post_checkpoint(client.program_id, self.l1.rich.pubkey(), 1, 0, args)
        await client.send_and_confirm([built], self.l1.rich, compute_unit_limit=POST_COMPUTE_UNITS)

    async def finalize(self, epoch: int) -> None:
        client = self.l1.client
        checkpoint = await client.fetch_checkpoint(epoch)
        assert checkpoint is not None
        await client.wait_for_slot(checkpoint.challenge_until_slot + 1)
        built = instructions.finalize_checkpoint(client.program_id, self.l1.rich.pubkey(), epoch, checkpoint.poster)
        await client.send_and_confirm([built], self.l1.rich)


@pytest.fixture
async def deployment(l1: Any) -> Deployment:
    await ensure_initialized(l1.client, l1.authority, l1.rich, PATIENT)
    secrets = [SecretKey.generate() for _ in range(4)]
    for secret in secrets:
        await register_validator(l1.client, l1.rich, Keypair(), secret, STAKE)
    await advance_validator_set(l1.client, l1.rich, l1.authority)
    return Deployment(l1, secrets)


@pytest.fixture
def at(pouw: Any, tmp_path: Path, l1: Any) -> Any:
    """Runs `pouw ARGUMENTS` on `l1` with a funded key."""

    async def run(*arguments: object) -> Any:
        return await trio.to_thread.run_sync(lambda: pouw(*arguments, "-k", tmp_path / "id.json", "--url", l1.url))

    return run


async def _reporter(l1: Any, tmp_path: Path) -> Keypair:
    keypair: Keypair = await l1.funded(SOL)
    write_keypair(tmp_path / "id.json", keypair)
    return keypair


def _file(path: Path, evidence: Evidence) -> Path:
    path.write_text(json.dumps(evidence.to_json()))
    return path


async def test_two_votes_are_reported(at: Any, deployment: Deployment, l1: Any, tmp_path: Path) -> None:
    reporter = await _reporter(l1, tmp_path)
    first = await deployment.message()
    second = replace(first, state_root=b"\7" * 32)
    files = (
        _file(tmp_path / "a.json", await deployment.evidence(first, 0, 2)),
        _file(tmp_path / "b.json", await deployment.evidence(second, 2, 3)),
    )
    (offence,) = (await at("slash", "report", *files, "--json")).json
    validator = pda.validator(l1.program_id, bytes(deployment.secrets[2].public_key))
    cut = STAKE * 8_000 // 10_000
    assert offence == {
        "validator": str(validator),
        "epoch": 1,
        "attempt": 0,
        "applied_basis_points": 8_000,
        "cut_lamports": cut,
    }
    slots = (await l1.client.fetch_registry()).slots
    assert [slot.stake_lamports for slot in slots] == [STAKE, STAKE, STAKE - cut, STAKE]
    for message in (first, second):
        digest = message.hash(await l1.client.domain())
        assert await l1.client.get_account(pda.receipt(l1.program_id, reporter.pubkey(), digest)) is None
    again = await at("slash", "report", *files, "--json")
    assert again.json == [offence]
    assert (await l1.client.fetch_registry()).slots == slots
    human = await at("slash", "report", *files)
    assert str(validator) in human.out


async def test_a_vote_against_the_posted_checkpoint(at: Any, deployment: Deployment, l1: Any, tmp_path: Path) -> None:
    """Two that signed another message beside the one on L1: the first found is raised to what both together lose."""
    await _reporter(l1, tmp_path)
    posted = await deployment.message()
    vote = _file(tmp_path / "vote.json", await deployment.evidence(replace(posted, state_root=b"\7" * 32), 1, 3))
    ran = await at("slash", "report", vote)
    assert (ran.code, ran.err) == (1, "error: nothing to report: epoch 1 was not posted: a second message is needed\n")
    await deployment.post(posted, 0, 1, 3)
    offences = (await at("slash", "report", vote, "--json")).json
    assert [one["applied_basis_points"] for one in offences] == [10_000, 10_000]
    raised = await at("slash", "raise", 1, offences[0]["validator"], offences[1]["validator"], "--json")
    assert raised.json == offences
    ran = await at("slash", "raise", 2, offences[0]["validator"])
    assert ran.code == 1 and f"no offence of {offences[0]['validator']} in epoch 2" in ran.err
    assert [slot.stake_lamports for slot in (await l1.client.fetch_registry()).slots] == [STAKE, 0, STAKE, 0]


async def test_what_is_no_offence_is_said(at: Any, deployment: Deployment, l1: Any, tmp_path: Path) -> None:
    by = await _reporter(l1, tmp_path)
    message = await deployment.message()
    one = _file(tmp_path / "one.json", await deployment.evidence(message, 0))
    other = replace(message, state_root=b"\7" * 32)
    cases = {
        "nobody.json": (await deployment.evidence(other, 1), "no validator signed both messages"),
        "later.json": (await deployment.evidence(replace(other, attempt=1), 0), "are different attempts"),
        "same.json": (await deployment.evidence(message, 0), "both are the same message"),
        "forged.json": (replace(await deployment.evidence(other, 1), bitmap=1), "the signature is not these signers'"),
        "set.json": (await deployment.evidence(replace(other, set_hash=bytes(32)), 0), "names another validator set"),
        "few.json": (replace(await deployment.evidence(other, 0), bitmap=16), "has 4 members"),
        "point.json": (replace(await deployment.evidence(other, 0), signature=bytes(96)), "nothing to report"),
    }
    lamports = await l1.client.get_balance(by.pubkey())
    for name, (evidence, says) in cases.items():
        ran = await at("slash", "report", one, _file(tmp_path / name, evidence))
        assert ran.code == 1 and says in ran.err, ran.err
    assert await l1.client.get_balance(by.pubkey()) == lamports
    await deployment.post(message, 0, 1, 2)
    ran = await at("slash", "rejected", 1)
    assert (ran.code, ran.err) == (1, "error: epoch 1 is posted, not rejected\n")
    ran = await at("slash", "rejected", 2)
    assert ran.code == 1 and "there is no checkpoint of epoch 2 here" in ran.err
    assert all(slot.stake_lamports == STAKE for slot in (await l1.client.fetch_registry()).slots)


async def test_rewards_are_paid_in_order(at: Any, deployment: Deployment, l1: Any, tmp_path: Path) -> None:
    await _reporter(l1, tmp_path)
    await l1.client.request_airdrop(pda.treasury(l1.program_id), SOL)
    for signers in ((0, 1, 2), (1, 2, 3)):
        await deployment.post(await deployment.message(), *signers)
    ran = await at("rewards", "pay", 1)
    assert (ran.code, ran.err) == (1, "error: epoch 1 is posted, not finalized\n")
    await deployment.finalize(1)
    await deployment.finalize(2)
    assert (await at("rewards", "pay", 2, "--json")).json == {"epoch": 2, "rewarded_epochs": [1, 2]}
    assert (await at("rewards", "pay", 2, "--json")).json == {"epoch": 2, "rewarded_epochs": []}
    slots = (await l1.client.fetch_registry()).slots
    assert [slot.reward_lamports for slot in slots] == [30_000, 60_000, 60_000, 30_000]
    assert [slot.misses for slot in slots] == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "expected an object with setVersion"),
        ('{"setVersion": 1, "message": {}, "signers": [0]}', "the evidence has no signature"),
        ('{"setVersion": 0, "message": {}, "signers": [0], "signature": ""}', "setVersion must be"),
        ('{"setVersion": 1, "message": {}, "signers": [], "signature": ""}', "signers must be a list"),
        ('{"setVersion": 1, "message": {}, "signers": [0, 0], "signature": ""}', "signers must be different"),
        ('{"setVersion": 1, "message": {}, "signers": [256], "signature": ""}', "signers must be different"),
        ('{"setVersion": 1, "message": 3, "signers": [0], "signature": ""}', "message must be an object"),
        ('{"setVersion": 1, "message": {}, "signers": [0], "signature": "zz"}', "signature"),
        (json.dumps({"setVersion": 1, "message": {}, "signers": [0], "signature": "00" * 96}), "has no epoch"),
    ],
)
def test_a_file_that_is_no_evidence(pouw: Any, tmp_path: Path, text: str, says: str) -> None:
    write_keypair(tmp_path / "id.json", Keypair())
    (tmp_path / "evidence.json").write_text(text)
    ran = pouw("slash", "report", tmp_path / "evidence.json", "-k", tmp_path / "id.json")
    assert ran.code == 1 and says in ran.err and str(tmp_path / "evidence.json") in ran.err, ran.err


def test_a_file_that_is_not_there(pouw: Any, tmp_path: Path) -> None:
    write_keypair(tmp_path / "id.json", Keypair())
    ran = pouw("slash", "report", tmp_path / "none.json", "-k", tmp_path / "id.json")
    assert (ran.code, ran.err) == (1, f"error: cannot read {tmp_path / 'none.json'}: No such file or directory\n")


async def test_evidence_reads_what_it_wrote(deployment: Deployment) -> None:
    evidence = await deployment.evidence(await deployment.message(), 0, 3)
    assert Evidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence


async def test_a_receipt_with_other_signers_is_made_anew(deployment: Deployment, l1: Any) -> None:
    """A first report died after its receipts; the second names one more signer."""
    message, by = await deployment.message(), await l1.funded(SOL)
    other = replace(message, state_root=b"\7" * 32)
    few = await deployment.evidence(message, 0)
    client = l1.client
    built = slash_instructions.record_receipt(
        client.program_id, by.pubkey(), await client.genesis_hash(), 1, message, few.bitmap, few.signature
    )
    await client.send_and_confirm([built], by, compute_unit_limit=POST_COMPUTE_UNITS)
    offences = await report_equivocation(
        client, by, await deployment.evidence(message, 0, 1), await deployment.evidence(other, 0, 1)
    )
    assert len(offences) == 2
