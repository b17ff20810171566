"""initialize and grow_registry: who may, once, and with which parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from localnet.programs import load_upgradeable, program_data_address
from settlement import idl, instructions, messages, pda
from settlement.accounts import LOCALNET_PROFILE, Parameters
from settlement.ledger import RESULT_HOLD_SLOTS, State
from tests.program.kit import GENESIS, SOL, Chain, refuses

U64 = 2**64 - 1


def test_initialize_writes_the_state_before_epoch_1(bare: Chain) -> None:
    bare.initialize()
    config = bare.config
    assert (config.genesis_hash, config.authority, config.parameters) == (
        GENESIS,
        bare.authority.pubkey(),
        LOCALNET_PROFILE,
    )
    assert config.posted.hash == config.finalized.hash == messages.genesis_parent(bare.domain)
    assert config.inbox.hash == config.posted.inbox_hash == messages.genesis_inbox_hash(bare.domain)
    assert config.finalized.state_root == State.empty().root
    assert (config.highest_epoch, config.inbox.count, config.claimed_total, config.escaped) == (0, 0, 0, 0)
    floor = bare.svm.minimum_balance_for_rent_exemption(0)
    for vault in (pda.vault, pda.stake_vault, pda.treasury):
        assert bare.lamports(vault(bare.program_id)) == floor


def test_initialize_only_once(bare: Chain) -> None:
    bare.initialize()
    with refuses("AlreadyInitialized"):
        bare.initialize()


def test_another_signer_cannot_initialize(bare: Chain) -> None:
    bare.authority = Keypair()
    with refuses("NotUpgradeAuthority"):
        bare.initialize()


def test_an_immutable_program_cannot_be_initialized(bare: Chain) -> None:
    load_upgradeable(bare.svm, bare.program_id, idl.PROGRAM_PATH.read_bytes(), None, 0)
    with refuses("NotUpgradeAuthority"):
        bare.initialize()


def test_program_data_must_be_the_programs_own(bare: Chain) -> None:
    other = Keypair().pubkey()
    load_upgradeable(bare.svm, other, idl.PROGRAM_PATH.read_bytes(), bare.authority.pubkey(), 0)
    built = instructions.initialize(
        bare.program_id, bare.payer.pubkey(), bare.authority.pubkey(), GENESIS, LOCALNET_PROFILE
    )
    metas = list(built.accounts)
    metas[2] = type(metas[2])(program_data_address(other), False, False)
    with refuses("WrongProgramData"):
        bare.send(type(built)(bare.program_id, bytes(built.data), metas), signers=[bare.authority])


@pytest.mark.parametrize("damage", ["owner", "variant", "short"])
def test_program_data_must_be_written_by_the_loader(bare: Chain, damage: str) -> None:
    address = program_data_address(bare.program_id)
    old = bare.svm.get_account(address)
    assert old is not None
    data, owner = bytes(old.data)[:45], old.owner
    if damage == "owner":
        owner = Keypair().pubkey()
    elif damage == "variant":
        data = (1).to_bytes(4, "little") + data[4:]
    else:
        data = data[:44]
    bare.svm.set_account(address, Account(old.lamports, data, owner, False, old.rent_epoch))
    with refuses("WrongProgramData"):
        bare.initialize()


def test_a_zero_genesis_hash_is_refused(bare: Chain) -> None:
    built = instructions.initialize(
        bare.program_id, bare.payer.pubkey(), bare.authority.pubkey(), bytes(32), LOCALNET_PROFILE
    )
    with refuses("BadGenesisHash"):
        bare.send(built, signers=[bare.authority])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"challenge_window_slots": 0}, "BadChallengeWindow"),
        ({"inclusion_window_slots": 0}, "BadInclusionWindow"),
        ({"max_expiry_slots": 0}, "BadMaxExpiry"),
        ({"min_seal_gap_slots": 63}, "BadSealGap"),
        ({"answer_slots": 0}, "BadAnswerSlots"),
        ({"stall_slots": 64, "heartbeat_slots": 64}, "BadStallSlots"),
        ({"hatch_slots": 16 + 600 + 64, "stall_slots": 100}, "BadHatchSlots"),
        ({"hatch_slots": 1_500}, "BadHatchSlots"),
        ({"unbonding_slots": 64 + 16 + 600}, "BadUnbondingSlots"),
        (
            {
                "challenge_window_slots": RESULT_HOLD_SLOTS - 64 - 600 - 32,
                "hatch_slots": 500_000,
                "unbonding_slots": 500_000,
                "governance_delay_slots": 600_000,
            },
            "BadResultHold",
        ),
        ({"max_inbox_per_epoch": 0}, "BadMaxInbox"),
        ({"max_inbox_per_epoch": 4_097}, "BadMaxInbox"),
        ({"min_inbox_lamports": 0}, "BadMinInboxLamports"),
        ({"min_validators": 0}, "BadMinValidators"),
        ({"min_validators": 257}, "BadMinValidators"),
        ({"min_set_stake_lamports": 0}, "BadMinSetStake"),
        ({"min_validator_stake_lamports": 0}, "BadMinValidatorStake"),
        ({"challenge_window_slots": U64}, "ArithmeticOverflow"),
        ({"heartbeat_slots": 0}, "BadHeartbeatSlots"),
        ({"heartbeat_slots": 1_501}, "BadHeartbeatSlots"),
        ({"jail_slots": 0}, "BadJailSlots"),
        ({"max_misses": 0}, "BadMaxMisses"),
        ({"max_misses": 2**32 - 1}, "BadMaxMisses"),
        ({"miss_slash_basis_points": 10_001}, "BadSlash"),
        ({"equivocation_slash_basis_points": 0}, "BadSlash"),
        ({"equivocation_slash_basis_points": 10_001}, "BadSlash"),
        ({"fraud_slash_basis_points": 0}, "BadSlash"),
        ({"fraud_slash_basis_points": 10_001}, "BadSlash"),
        ({"reporter_basis_points": 5_001}, "BadReporterShare"),
        ({"governance_delay_slots": 20_000}, "BadGovernanceDelay"),
        ({"poster_reward_basis_points": 10_001}, "BadPosterReward"),
        ({"poster_bond_lamports": 0}, "BadBond"),
        ({"demand_bond_lamports": 0}, "BadBond"),
        ({"reward_lamports_per_epoch": 2**46}, "BadBond"),
        ({"forced_fee_lamports": 0}, "BadForcedFee"),
    ],
)
def test_parameters_are_checked_against_each_other(bare: Chain, changes: dict[str, int], error: str) -> None:
    with refuses(error):
        bare.initialize(replace(LOCALNET_PROFILE, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"min_seal_gap_slots": 64},
        {"stall_slots": 65, "heartbeat_slots": 65, "hatch_slots": 16 + 600 + 64 + 1},
        {"max_misses": 2**32 - 2, "miss_slash_basis_points": 10_000, "reporter_basis_points": 5_000},
        {"governance_delay_slots": 20_001, "reward_lamports_per_epoch": 2**46 - 1},
        {"unbonding_slots": 64 + 16 + 600 + 1},
        {"max_inbox_per_epoch": 4_096, "min_validators": 256},
    ],
)
def test_parameters_at_their_bounds_are_accepted(bare: Chain, changes: dict[str, int]) -> None:
    wanted: Parameters = replace(LOCALNET_PROFILE, **changes)
    bare.initialize(wanted)
    assert bare.config.parameters == wanted


def test_funding_an_address_beforehand_blocks_nothing(bare: Chain) -> None:
    """Anyone can send lamports to an address that does not exist yet; creation must not need a zero balance."""
    addresses = [pda.config, pda.registry, pda.vault, pda.stake_vault, pda.treasury]
    for index, address in enumerate(addresses):
        bare.svm.airdrop(address(bare.program_id), 1 + index * SOL)
    bare.initialize()
    assert bare.config.parameters == LOCALNET_PROFILE
    assert bare.lamports(pda.vault(bare.program_id)) == 1 + 2 * SOL


def test_the_registry_grows_to_its_full_size_and_no_further(bare: Chain) -> None:
    bare.initialize()
    sizes = [bare.registry.size_bytes]
    while bare.registry.size_bytes < bare.registry.full_bytes:
        bare.send(instructions.grow_registry(bare.program_id, bare.payer.pubkey()))
        sizes.append(bare.registry.size_bytes)
    assert sizes == [10_240, 20_480, 30_720, 40_960, 24 + 256 * 176]
    with refuses("RegistryFullSize"):
        bare.send(instructions.grow_registry(bare.program_id, bare.payer.pubkey()))


def test_addresses_of_another_instance_are_refused(bare: Chain) -> None:
    """The derived accounts cannot be swapped for others by who builds the instruction."""
    built = instructions.initialize(
        bare.program_id, bare.payer.pubkey(), bare.authority.pubkey(), GENESIS, LOCALNET_PROFILE
    )
    for index in range(3, 8):
        metas = list(built.accounts)
        metas[index] = type(metas[index])(Pubkey.new_unique(), False, True)
        with refuses("InvalidSeeds", "InstructionErrorFieldless.InvalidSeeds"):
            bare.send(type(built)(bare.program_id, bytes(built.data), metas), signers=[bare.authority])
