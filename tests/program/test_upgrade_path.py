"""The committed program is upgraded over live accounts, put back, and upgraded again. POUW_NEXT_PROGRAM is a build as
tests/program/next_version.py describes it; scripts/program_check.sh makes it and runs this. Without that variable it is not collected.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import idl, pda, stake_instructions
from settlement.errors import AccountInvalid
from tests.program import stake_kit
from tests.program.kit import SOL, STAKE, refuses, validator
from tests.program.next_version import DELEGATIONS_OFFSET, POSITION_VERSION, TIMED_UNBONDING_BYTES, UNBONDING_VERSION
from tests.program.test_claims import account, claiming, owing, path, root_of
from tests.program.upgrade_kit import Counted, discriminator, migrating

NEXT = Path(os.environ["POUW_NEXT_PROGRAM"])
FIRST = validator(0)
NOW_SECONDS = 1_700_000_000
# Of the next version, which no committed IDL describes.
NOT_AN_UNBONDING, ALREADY_MIGRATED = "InstructionErrorCustom(6900)", "InstructionErrorCustom(6901)"
# The framework's words for an account of another type: the bytes of the first ones differ, or there are too few.
SHORTER_TYPE = "InstructionErrorFieldless.AccountDataTooSmall"
OTHER_TYPE = "InstructionErrorFieldless.InvalidAccountData"


@dataclass
class Live:
    """Four validators and two delegators of the first: `anna` has unbonded 4 STAKE of 10, `ben` has 5. A claim of 3 SOL is paid, the
    checkpoint of epoch 2, which owes 2 SOL more, is posted, and a deposit waits. All accounts have version 1."""

    chain: Counted
    anna: Keypair
    ben: Keypair

    def position(self, owner: Keypair) -> Pubkey:
        return pda.stake_position(self.chain.program_id, stake_kit.address(self.chain, FIRST), owner.pubkey())

    def unbonding(self, owner: Keypair, unbonding_id: int = 0) -> Pubkey:
        return pda.unbonding(self.chain.program_id, self.position(owner), unbonding_id)

    def migrate(self, caller: Keypair, owner: Keypair, unbonding_id: int = 0) -> None:
        self.chain.send(migrating(self.chain, caller.pubkey(), self.position(owner), unbonding_id), payer=caller)

    def version(self, owner: Keypair) -> int:
        (version,) = self.chain.versions_of(self.position(owner))
        return version

    def delegations(self, owner: Keypair) -> int:
        data = self.chain.data(self.position(owner))
        return int.from_bytes(data[DELEGATIONS_OFFSET : DELEGATIONS_OFFSET + 4], "little")

    def finalize_and_claim(self) -> None:
        """The checkpoint that was posted before."""
        self.chain.advance(self.chain.config.parameters.challenge_window_slots + 1)
        self.chain.finalize(2)
        self.chain.send(claiming(self.chain, account(5 * SOL), path(4)))
        assert self.chain.lamports(Pubkey(account(0).public_key)) == 5 * SOL

    def end_of_unbonding(self) -> int:
        epoch = stake_kit.free_checkpoint(self.chain)
        stake_kit.wait_for_unbonding(self.chain, epoch)
        self.chain.advance(1)
        return epoch


@pytest.fixture
def live() -> Live:
    chain = Counted.new()
    clock = chain.svm.get_clock()
    clock.unix_timestamp = NOW_SECONDS
    chain.svm.set_clock(clock)
    chain.bring_up(validator(seed) for seed in range(4))
    made = Live(chain, stake_kit.owner(chain, 1), stake_kit.owner(chain, 2))
    stake_kit.delegate(chain, FIRST, made.anna, 10 * STAKE)
    stake_kit.delegate(chain, FIRST, made.ben, 5 * STAKE)
    stake_kit.unbond(chain, FIRST, made.anna, 4 * STAKE)
    owing(chain, account(3 * SOL), path(3))
    chain.send(claiming(chain, account(3 * SOL), path(3)))
    chain.deposit(2 * SOL, chain.payer.pubkey())
    chain.advance(1)
    assert chain.post(state_root=root_of(account(5 * SOL), path(4)), payable_total=5 * SOL).epoch == 2
    chain.deposit(10_000, chain.payer.pubkey())
    assert set(chain.versions_of(*chain.own_accounts())) == {1}
    return made


def test_after_the_upgrade_every_account_works(live: Live) -> None:
    chain, carl = live.chain, stake_kit.owner(live.chain, 3)
    chain.upgrade(NEXT)
    live.finalize_and_claim()
    assert chain.settle().inbox_cursor == chain.config.inbox.count == 3

    # What is written becomes version 2, what is not stays as it was.
    stake_kit.delegate(chain, FIRST, live.ben, STAKE)
    stake_kit.delegate(chain, FIRST, live.ben, STAKE)
    stake_kit.delegate(chain, FIRST, carl, STAKE)
    assert [live.version(one) for one in (live.anna, live.ben, carl)] == [1, POSITION_VERSION, POSITION_VERSION]
    assert [live.delegations(one) for one in (live.anna, live.ben, carl)] == [0, 2, 1]
    fields, _ = idl.committed().decode_account("StakePosition", chain.data(live.position(live.ben)))
    assert fields["shares"] == 7 * STAKE
    with pytest.raises(AccountInvalid, match="layout version 2, this client knows 1"):
        stake_kit.position(chain, FIRST, live.ben)
    stake_kit.unbond(chain, FIRST, live.anna, 6 * STAKE, 1)
    assert (live.version(live.anna), live.delegations(live.anna)) == (POSITION_VERSION, 0)
    made = chain.data(live.unbonding(live.anna, 1))
    assert made[:9] == discriminator("account:TimedUnbonding") + bytes([UNBONDING_VERSION])
    assert int.from_bytes(made[80:88], "little") == NOW_SECONDS

    epoch = live.end_of_unbonding()
    live.migrate(carl, live.anna)
    assert stake_kit.withdraw(chain, FIRST, live.anna, epoch) == 4 * STAKE
    assert stake_kit.withdraw(chain, FIRST, live.anna, epoch, 1) == 6 * STAKE
    at = stake_kit.address(chain, FIRST)
    chain.send(stake_instructions.close_stake_position(chain.program_id, live.anna.pubkey(), at), payer=live.anna)
    chain.register(validator(4))
    position = pda.stake_position(
        chain.program_id, stake_kit.address(chain, validator(4)), validator(4).authority.pubkey()
    )
    assert chain.versions_of(position) == [POSITION_VERSION]
    stake_kit.check_sums(chain)
    chain.check_conserved()


def test_a_position_of_version_1_is_renewed_by_a_withdrawal(live: Live) -> None:
    live.chain.upgrade(NEXT)
    live.finalize_and_claim()
    epoch = live.end_of_unbonding()
    live.migrate(live.ben, live.anna)
    assert live.version(live.anna) == 1
    assert stake_kit.withdraw(live.chain, FIRST, live.anna, epoch) == 4 * STAKE
    assert live.version(live.anna) == POSITION_VERSION
    live.chain.check_conserved()


def test_an_unbonding_is_migrated_once_and_by_anyone(live: Live) -> None:
    chain, stranger, at = live.chain, stake_kit.owner(live.chain, 3), live.unbonding(live.anna)
    chain.upgrade(NEXT)
    live.finalize_and_claim()
    epoch = live.end_of_unbonding()
    with refuses(SHORTER_TYPE):
        stake_kit.withdraw(chain, FIRST, live.anna, epoch)

    old, vault = chain.data(at), chain.lamports(pda.stake_vault(chain.program_id))
    held, paid, fee = chain.lamports(at), chain.lamports(stranger.pubkey()), chain.fee_lamports
    live.migrate(stranger, live.anna)
    new = chain.data(at)
    rent = [chain.svm.minimum_balance_for_rent_exemption(len(data)) for data in (old, new)]
    assert len(old) < len(new) == TIMED_UNBONDING_BYTES
    assert new[:8] == discriminator("account:TimedUnbonding") and new[8] == UNBONDING_VERSION
    assert (new[9:80], new[80:88], new[88:]) == (old[9:80], bytes(8), old[80:])
    assert (held, chain.lamports(at)) == (rent[0], rent[1])
    assert paid - chain.lamports(stranger.pubkey()) == rent[1] - rent[0] + chain.fee_lamports - fee
    assert chain.lamports(pda.stake_vault(chain.program_id)) == vault

    chain.advance(1)
    with refuses(ALREADY_MIGRATED):
        live.migrate(stranger, live.anna)
    assert chain.data(at) == new
    assert stake_kit.withdraw(chain, FIRST, live.anna, epoch) == 4 * STAKE
    chain.check_conserved()


def test_what_is_no_unbonding_is_not_migrated(live: Live) -> None:
    chain = live.chain
    live.chain.upgrade(NEXT)
    with refuses(NOT_AN_UNBONDING):
        live.migrate(live.ben, live.ben)  # nothing was ever created there
    chain.overwrite(live.unbonding(live.anna), chain.data(live.position(live.anna)))
    with refuses(NOT_AN_UNBONDING):
        live.migrate(live.ben, live.anna)


def test_what_gifts_an_unbonding_holds_lower_what_the_caller_pays(live: Live) -> None:
    chain, at = live.chain, live.unbonding(live.anna)
    chain.upgrade(NEXT)
    chain.svm.airdrop(at, SOL)
    held, paid, fee = chain.lamports(at), chain.lamports(live.ben.pubkey()), chain.fee_lamports
    live.migrate(live.ben, live.anna)
    assert chain.lamports(at) == held and paid - chain.lamports(live.ben.pubkey()) == chain.fee_lamports - fee


@pytest.mark.parametrize("version", [0, POSITION_VERSION + 1])
def test_the_next_version_refuses_what_it_does_not_know(live: Live, version: int) -> None:
    chain, at = live.chain, live.position(live.ben)
    chain.upgrade(NEXT)
    data = bytearray(chain.data(at))
    data[8] = version
    chain.overwrite(at, bytes(data))
    with refuses("UnknownAccountVersion"):
        stake_kit.delegate(chain, FIRST, live.ben, STAKE)
    with refuses("UnknownAccountVersion"):
        stake_kit.unbond(chain, FIRST, live.ben, STAKE)
    assert chain.data(at) == data


def test_a_downgrade_refuses_what_is_newer_and_loses_nothing(live: Live) -> None:
    chain = live.chain
    chain.upgrade(NEXT)
    live.finalize_and_claim()
    stake_kit.delegate(chain, FIRST, live.ben, STAKE)
    stake_kit.unbond(chain, FIRST, live.ben, 2 * STAKE)
    live.migrate(live.ben, live.anna)

    chain.upgrade(idl.PROGRAM_PATH)
    untouched, newer = live.version(live.anna), live.version(live.ben)
    assert (untouched, newer) == (1, POSITION_VERSION)
    stake_kit.delegate(chain, FIRST, live.anna, STAKE)  # a position that the newer program never wrote
    epoch = live.end_of_unbonding()  # seals, posts and finalizes
    before, vault = chain.own_accounts(), chain.lamports(pda.stake_vault(chain.program_id))
    with refuses("UnknownAccountVersion"):
        stake_kit.delegate(chain, FIRST, live.ben, STAKE)
    with refuses("UnknownAccountVersion"):
        stake_kit.unbond(chain, FIRST, live.ben, STAKE, 1)
    for owner in (live.anna, live.ben):
        with refuses(OTHER_TYPE):
            stake_kit.withdraw(chain, FIRST, owner, epoch)
    assert chain.own_accounts() == before and chain.lamports(pda.stake_vault(chain.program_id)) == vault
    chain.check_conserved()

    chain.upgrade(NEXT)
    assert stake_kit.withdraw(chain, FIRST, live.anna, epoch) == 4 * STAKE
    assert stake_kit.withdraw(chain, FIRST, live.ben, epoch) == 2 * STAKE
    stake_kit.delegate(chain, FIRST, live.ben, STAKE)
    stake_kit.unbond(chain, FIRST, live.ben, 5 * STAKE, 1)
    stake_kit.unbond(chain, FIRST, live.anna, 7 * STAKE, 1)
    epoch = live.end_of_unbonding()
    assert stake_kit.withdraw(chain, FIRST, live.ben, epoch, 1) == 5 * STAKE
    assert stake_kit.withdraw(chain, FIRST, live.anna, epoch, 1) == 7 * STAKE
    stake_kit.check_sums(chain)
    chain.check_conserved()
