"""`pouw validator …`, `pouw delegate`, `pouw undelegate` and `pouw stake` against the real program on the embedded L1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from settlement import pda
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus
from settlement.bls import SecretKey
from settlement.errors import TransactionFailed
from settlement.keys import write_bls_key, write_keypair
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from settlement.money import deposit
from settlement.staking import first_free_checkpoint
from tests.settling import SOL, Settling
from validator.heartbeat import Heartbeats

STAKE = 5_000_000


@dataclass
class Staked:
    """A validator registered by the command line, and somebody with lamports."""

    l1: Any
    pouw: Any
    folder: Path
    authority: Keypair
    secret: SecretKey

    @property
    def address(self) -> str:
        return str(pda.validator(self.l1.program_id, self.secret.public_key))

    async def run(self, who: str, *arguments: object) -> Any:
        key = self.folder / f"{who}.json"
        return await trio.to_thread.run_sync(lambda: self.pouw(*arguments, "-k", key, "--url", self.l1.url))

    async def says(self, who: str, *arguments: object) -> Any:
        ran = await self.run(who, *arguments, "--json")
        assert ran.code == 0, ran.err
        return ran.json


USUAL = replace(LOCALNET_PROFILE, heartbeat_slots=3)
SOON_FREE = replace(LOCALNET_PROFILE, answer_slots=1, unbonding_slots=82)


@pytest.fixture
async def staked(l1: Any, pouw: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Staked:
    await ensure_initialized(l1.client, l1.authority, l1.rich, getattr(request, "param", USUAL))
    authority, secret = await l1.funded(SOL), SecretKey.generate()
    write_keypair(tmp_path / "validator.json", authority)
    write_keypair(tmp_path / "other.json", await l1.funded(SOL))
    write_bls_key(tmp_path / "bls.json", secret.to_bytes(), secret.public_key)
    made = Staked(l1, pouw, tmp_path, authority, secret)
    options = "--stake", STAKE, "--bls-keypair", tmp_path / "bls.json", "--commission", 500
    await made.says("validator", "validator", "register", *options)
    await advance_validator_set(l1.client, l1.rich, l1.authority)
    return made


async def test_own_stake(staked: Staked) -> None:
    status = await staked.says("validator", "validator", "status")
    assert (status["validator"], status["state"], status["active_lamports"]) == (staked.address, "active", STAKE)
    assert status["commission_basis_points"] == 500
    assert (await staked.says("validator", "validator", "deposit", 1_000_000))["lamports"] == STAKE + 1_000_000
    left = await staked.says("validator", "validator", "unbond", 2_000_000)
    assert left == {"validator": staked.address, "unbonding_id": 0, "lamports": 2_000_000, "first_free_version": 2}
    (row,) = await staked.says("validator", "validator", "withdraw")
    assert row == {
        "unbonding_id": 0,
        "withdrawn": False,
        "waits_for": "an epoch certified by validator set 2 or later must be final",
    }
    url = staked.l1.url
    listing = await trio.to_thread.run_sync(lambda: staked.pouw("validator", "list", "--url", url, "--json"))
    (listed,) = listing.json
    assert listed["stake_lamports"] == STAKE - 1_000_000 and listed["validator"] == staked.address


async def test_stake_of_others_and_what_it_waits_for(staked: Staked) -> None:
    ran = await staked.run("other", "undelegate", staked.address)
    assert ran.code == 1 and "there is no stake of" in ran.err
    await staked.says("other", "delegate", 3_000_000, staked.address)
    await staked.says("other", "undelegate", staked.address, 1_000_000)
    await advance_validator_set(staked.l1.client, staked.l1.rich, staked.l1.authority)
    await deposit(staked.l1.client, staked.l1.rich, SOL)
    settling = Settling(staked.l1, staked.secret)
    await settling.finalize((await settling.post(b"\5" * 32, 0)).epoch)
    posted = await staked.l1.client.fetch_checkpoint(1)
    (row,) = await staked.says("other", "stake", "withdraw", staked.address)
    free_slot = posted.posted_slot + LOCALNET_PROFILE.unbonding_slots
    assert row["waits_for"].startswith(f"it is held until slot {free_slot}, ")
    shown = await staked.says("other", "stake", "show", staked.address)
    assert (shown["lamports"], [one["lamports"] for one in shown["unbonding"]]) == (2_000_000, [1_000_000])
    await staked.says("other", "undelegate", staked.address)
    assert (await staked.says("other", "stake", "show", staked.address))["shares"] == 0


@pytest.mark.parametrize("staked", [SOON_FREE], indirect=True)
async def test_what_was_undelegated_is_paid_out(staked: Staked) -> None:
    client = staked.l1.client
    await staked.says("other", "delegate", 3_000_000, staked.address)
    await staked.says("other", "undelegate", staked.address)
    ran = await staked.run("other", "stake", "close", staked.address)
    assert ran.code == 1 and "PositionInUse" in ran.err
    # Stakes are again what they were when the last set was sealed, so a new one must be asked for.
    await advance_validator_set(client, staked.l1.rich, staked.l1.authority, force=True)
    await deposit(client, staked.l1.rich, SOL)
    settling = Settling(staked.l1, staked.secret)
    await settling.finalize((await settling.post(b"\5" * 32, 0)).epoch)
    posted = await client.fetch_checkpoint(1)
    await client.wait_for_slot(posted.posted_slot + SOON_FREE.unbonding_slots + 1)
    other = Keypair.from_json((staked.folder / "other.json").read_text()).pubkey()
    before = await client.get_balance(other)
    (row,) = await staked.says("other", "stake", "withdraw", staked.address)
    assert row == {"unbonding_id": 0, "withdrawn": True, "waits_for": ""}
    # The unbonding's account is closed too, and its rent comes back.
    assert await client.get_balance(other, "confirmed") > before + 3_000_000
    shown = await staked.says("other", "stake", "show", staked.address)
    assert (shown["lamports"], shown["unbonding"]) == (0, [])
    assert await staked.says("other", "stake", "withdraw", staked.address) == []
    paid = await client.get_balance(other, "confirmed")
    await staked.says("other", "stake", "close", staked.address)
    assert await client.get_balance(other, "confirmed") > paid


async def test_slot_commission_heartbeat_and_refusals(staked: Staked) -> None:
    assert (await staked.says("validator", "validator", "commission", "--set", 400))["commission_basis_points"] == 400
    await staked.l1.client.wait_for_slot(await staked.l1.client.get_slot() + 2)
    before = (await staked.says("validator", "validator", "status"))["heartbeat_slot"]
    assert (await staked.says("validator", "validator", "heartbeat"))["heartbeat_slot"] > before
    assert (await staked.says("validator", "validator", "leave"))["state"] == "without a slot"
    assert (await staked.says("validator", "validator", "join", staked.address))["state"] == "active"
    for arguments, error in (
        (("validator", "commission"), "NothingToWithdraw"),
        (("validator", "commission", "--set", 400), "CommissionNotLower"),
        (("validator", "collect"), "NothingToCollect"),
        (("validator", "unjail"), "NotInJail"),
        (("validator", "jail", staked.address), "TooFewMisses"),
        (("validator", "stall"), "NothingPosted"),
        (("validator", "set", "close", 1), "SetInUse"),
    ):
        ran = await staked.run("validator", *arguments)
        assert ran.code == 1 and error in ran.err and len(ran.err.splitlines()) == 1, ran.err
    ran = await staked.run("other", "validator", "heartbeat")
    assert ran.code == 1 and "there is no slot of" in ran.err


async def test_the_validator_sends_heartbeats_when_they_are_due(staked: Staked) -> None:
    beats = Heartbeats(staked.l1.client, staked.authority, staked.secret.public_key)

    async def beat_slot() -> int:
        slot = (await staked.l1.client.fetch_registry()).slot_of(staked.authority.pubkey())
        assert slot is not None
        return slot.heartbeat_slot

    before = await beat_slot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beats.forever)
        with trio.fail_after(120):
            while await beat_slot() < before + 2:
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def test_who_cannot_pay_or_has_no_slot_sends_none(staked: Staked) -> None:
    """It is said, and does not end the validator."""
    client, authority, secret = staked.l1.client, Keypair(), SecretKey.generate()
    poor = Heartbeats(client, authority, secret.public_key)
    assert await poor.once() > 0
    slot = await register_validator(client, staked.l1.rich, authority, secret, STAKE)
    await client.wait_for_slot(slot.heartbeat_slot + 1)
    with pytest.raises(TransactionFailed, match="cannot pay the fee"):
        await poor.once()
    with trio.move_on_after(0.5) as scope:
        await poor.forever()
    assert scope.cancelled_caught


async def test_the_first_free_checkpoint_is_found_with_a_fake_l1() -> None:
    """Void epochs between, and the oldest closed."""
    versions = {3: 1, 4: 2, 5: 2, 6: 2, 7: 4, 8: 4}
    void = {4, 6}

    class FakeL1:
        async def fetch_checkpoint(self, epoch: int) -> Any:
            if epoch not in versions:
                return None
            status = CheckpointStatus.VOIDED if epoch in void else CheckpointStatus.FINALIZED
            return SimpleNamespace(epoch=epoch, set_version=versions[epoch], status=status)

    for version, epoch in ((1, 3), (2, 5), (3, 7), (4, 7), (5, None)):
        found = await first_free_checkpoint(FakeL1(), version, 8)  # type: ignore[arg-type]
        assert (found.epoch if found else None) == epoch
