"""record_receipt, slash_equivocation, raise_equivocation: what is evidence, what is none, and what it costs whom."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import pda, slash_accounts, slash_instructions
from settlement.accounts import LOCALNET_PROFILE
from settlement.signing import Domain
from settlement.validator_set import bitmap_to_bytes
from tests.program import slash_kit
from tests.program.kit import GENESIS, STAKE, TRANSACTION_BYTES, Chain, refuses, validator
from tests.program.slash_kit import ALL, held, record, reporter, slashing, two_messages, validator_address

ALONE_OF_FOUR = 500 + 3 * ALL // 4
WRONG_HINT = ("WrongHintSign", "WrongHintRoot", "WrongHintInverse", "WrongHintCandidate", "WrongHintMultiple")


@pytest.fixture
def ten(bare: Chain) -> Chain:
    """Ten validators of equal stake."""
    return bare.bring_up(validator(seed) for seed in range(10))


def with_accounts(built: Instruction, **changes: Pubkey) -> Instruction:
    """Accounts by their place in slash_equivocation's list."""
    places = ["reporter", "config", "registry", "validator", "evidence_a", "evidence_b", "validator_set_a"]
    places += ["validator_set_b", "offence", "tally", "stake_vault", "treasury", "system_program"]
    metas = list(built.accounts)
    for name, address in changes.items():
        index = places.index(name)
        metas[index] = AccountMeta(address, metas[index].is_signer, metas[index].is_writable)
    return Instruction(built.program_id, bytes(built.data), metas)


# -- receipts ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signers", [[2], [0, 3], [0, 1, 2, 3]], ids=["one vote", "two votes", "a certificate"])
def test_whoever_signed_is_recorded(chain: Chain, signers: list[int]) -> None:
    by, message = reporter(chain), chain.message(attempt=3)
    address = record(chain, by, message, signers)
    receipt = slash_accounts.decode_receipt(address, chain.data(address))
    assert receipt == slash_accounts.Receipt(
        owner=by.pubkey(),
        epoch=1,
        attempt=3,
        set_version=1,
        message_hash=message.hash(chain.domain),
        bitmap=bitmap_to_bytes(sum(1 << index for index in signers)),
    )


def test_a_receipt_fits_a_transaction(chain: Chain) -> None:
    built = slash_kit.receipt_of(chain, reporter(chain), chain.message(), [0])
    assert len(bytes(chain.transaction([built], [], reporter(chain)))) <= TRANSACTION_BYTES


def test_nobody_signed_is_no_evidence(chain: Chain) -> None:
    by, message = reporter(chain), chain.message()
    signature = slash_kit.signature(chain, message, [0])
    built = slash_instructions.record_receipt(chain.program_id, by.pubkey(), GENESIS, 1, message, 0, signature)
    with refuses("NobodySigned"):
        chain.send(built, payer=by)


@pytest.mark.parametrize("bitmap", [0b0010, 0b0011, 0b1111])
def test_a_receipt_names_exactly_who_signed(chain: Chain, bitmap: int) -> None:
    by, message = reporter(chain), chain.message()
    signature = slash_kit.signature(chain, message, [0])
    built = slash_instructions.record_receipt(chain.program_id, by.pubkey(), GENESIS, 1, message, bitmap, signature)
    with refuses("PairingNotOne"):
        chain.send(built, payer=by)


def test_a_bit_beyond_the_set_is_no_member(chain: Chain) -> None:
    by, message = reporter(chain), chain.message()
    signature = slash_kit.signature(chain, message, [0])
    built = slash_instructions.record_receipt(chain.program_id, by.pubkey(), GENESIS, 1, message, 0b10001, signature)
    with refuses("BitBeyondSet"):
        chain.send(built, payer=by)


@pytest.mark.parametrize("which", ["another program", "another cluster"])
def test_signatures_of_elsewhere_are_no_evidence(chain: Chain, which: str) -> None:
    """The hash is computed on chain with this program and genesis, so a signature of elsewhere is over another one."""
    by, message = reporter(chain), chain.message()
    elsewhere = Domain(GENESIS, b"\x09" * 32) if which == "another program" else Domain(b"\x09" * 32, b"\x09" * 32)
    signature = chain.validators[0].secret.sign(message.hash(elsewhere))
    built = slash_instructions.record_receipt(chain.program_id, by.pubkey(), GENESIS, 1, message, 1, signature)
    with refuses("PairingNotOne"):
        chain.send(built, payer=by)


def test_a_message_of_another_set_is_no_evidence(chain: Chain) -> None:
    """The set's hash is read, not sent: a message that names another one hashes differently."""
    by = reporter(chain)
    message = chain.message(set_hash=b"\x07" * 32)
    built = slash_kit.receipt_of(chain, by, message, [0])
    with refuses(*WRONG_HINT):
        chain.send(built, payer=by)


def test_a_set_that_is_not_sealed_is_none(chain: Chain) -> None:
    chain.create_set(2)
    by, message = reporter(chain), chain.message()
    with refuses("WrongValidatorSet"):
        chain.send(slash_kit.receipt_of(chain, by, message, [0], set_version=2), payer=by)


def test_a_receipt_is_recorded_once_and_closed_by_its_owner(chain: Chain) -> None:
    by, other, message = reporter(chain), reporter(chain, b"x"), chain.message()
    before = chain.lamports(by.pubkey())
    record(chain, by, message, [0])
    with refuses("ReceiptExists"):
        chain.send(slash_kit.receipt_of(chain, by, message, [0, 1]), payer=by)
    record(chain, other, message, [0])
    digest = message.hash(chain.domain)
    stolen = slash_instructions.close_receipt(chain.program_id, by.pubkey(), digest)
    metas = [AccountMeta(other.pubkey(), True, True), *stolen.accounts[1:]]
    with refuses("NotReceiptOwner"):
        chain.send(Instruction(chain.program_id, bytes(stolen.data), metas), payer=other)
    chain.send(stolen, payer=by)
    fees = 3 * 5_002
    assert chain.lamports(by.pubkey()) == before - fees
    record(chain, by, message, [0, 1])


# -- equivocation --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", ["votes", "certificates", "a vote and a certificate"])
def test_two_messages_of_one_attempt_are_slashed(chain: Chain, kinds: str) -> None:
    by = reporter(chain)
    first, second = two_messages(chain, attempt=2)
    signers = {"votes": ([1], [1]), "certificates": ([0, 1, 2, 3], [1, 2, 3])}.get(kinds, ([1], [0, 1, 2]))
    evidence = record(chain, by, first, signers[0]), record(chain, by, second, signers[1])
    vault, treasury = pda.stake_vault(chain.program_id), pda.treasury(chain.program_id)
    held_before = {name: chain.lamports(address) for name, address in (("vault", vault), ("treasury", treasury))}
    by_before, total = chain.lamports(by.pubkey()), slash_kit.everything(chain, by.pubkey())
    done = chain.send(slashing(chain, by, 1, evidence), payer=by)
    cut = STAKE * ALONE_OF_FOUR // ALL
    share = cut // 10
    rents = sum(
        chain.lamports(address)
        for address in (pda.offence(chain.program_id, validator_address(chain, 1), 1), pda.tally(chain.program_id, 1))
    )
    assert chain.lamports(by.pubkey()) == by_before - done.fee() - rents + share
    assert chain.lamports(treasury) == held_before["treasury"] + cut - share
    assert chain.lamports(vault) == held_before["vault"] - cut == slash_kit.vault_total(chain)
    assert slash_kit.everything(chain, by.pubkey()) == total - done.fee() - rents
    now = held(chain, 1)
    assert (now["active_lamports"], now["slashed_lamports"], now["flags"]) == (STAKE - cut, cut, 3)
    assert now["jailed_slot"] == chain.slot
    slot = chain.registry.slots[1]
    assert (slot.stake_lamports, slot.flags) == (STAKE - cut, 1 | 2)
    offence = slash_kit.offence(chain, 1, 1)
    assert (offence.applied_basis_points, offence.cut_lamports, offence.attempt) == (ALONE_OF_FOUR, cut, 2)
    assert slash_kit.tally(chain, 1) == slash_accounts.EquivocationTally(1, 1, STAKE, 4 * STAKE)
    for index in (0, 2, 3):
        assert held(chain, index)["active_lamports"] == STAKE


@pytest.mark.parametrize("posted_first", [True, False])
def test_the_posted_checkpoint_is_evidence_itself(chain: Chain, posted_first: bool) -> None:
    first, second = two_messages(chain)
    chain.send(chain.posting(chain.certificate(first)))
    by = reporter(chain)
    receipt, checkpoint = record(chain, by, second, [3]), pda.checkpoint(chain.program_id, 1)
    chain.send(slashing(chain, by, 3, (checkpoint, receipt) if posted_first else (receipt, checkpoint)), payer=by)
    assert held(chain, 3)["flags"] == 3


def test_who_equivocated_is_left_out_of_the_next_set(chain: Chain) -> None:
    first, second = two_messages(chain)
    by = reporter(chain)
    chain.send(slashing(chain, by, 0, (record(chain, by, first, [0]), record(chain, by, second, [0]))), payer=by)
    chain.seal(2)
    assert chain.set_account(2).count == 3
    assert chain.set_account(2).slot_indexes[:3] == bytes([1, 2, 3])


def test_the_same_evidence_counts_once(chain: Chain) -> None:
    by, other = reporter(chain), reporter(chain, b"x")
    first, second = two_messages(chain)
    evidence = record(chain, by, first, [0, 1]), record(chain, by, second, [0, 1])
    chain.send(slashing(chain, by, 0, evidence), payer=by)
    left = held(chain, 0)["active_lamports"]
    third = replace(first, results_root=b"\x67" * 32)
    again = record(chain, other, first, [0]), record(chain, other, third, [0])
    for who, pair in ((by, evidence), (by, evidence[::-1]), (other, again)):
        with refuses("OffencePunished"):
            chain.send(slashing(chain, who, 0, pair), payer=who)
    assert held(chain, 0)["active_lamports"] == left


def test_another_epoch_is_another_offence(chain: Chain) -> None:
    by = reporter(chain)
    for epoch in (1, 2):
        first, second = two_messages(chain, epoch=epoch)
        evidence = record(chain, by, first, [0]), record(chain, by, second, [0])
        chain.send(slashing(chain, by, 0, evidence, epoch), payer=by)
    once = STAKE - STAKE * ALONE_OF_FOUR // ALL
    assert held(chain, 0)["active_lamports"] == once - once * ALONE_OF_FOUR // ALL


@pytest.mark.parametrize("changes", [{"epoch": 2}, {"attempt": 1}], ids=["epoch", "attempt"])
def test_messages_of_different_attempts_contradict_nothing(chain: Chain, changes: dict[str, int]) -> None:
    by, message = reporter(chain), chain.message()
    other = replace(message, results_root=b"\x66" * 32, **changes)  # type: ignore[arg-type]
    evidence = record(chain, by, message, [0]), record(chain, by, other, [0])
    with refuses("DifferentAttempts"):
        chain.send(slashing(chain, by, 0, evidence), payer=by)


def test_one_message_may_be_signed_twice(chain: Chain) -> None:
    message = chain.message()
    chain.send(chain.posting(chain.certificate(message)))
    by = reporter(chain)
    receipt = record(chain, by, message, [0])
    for pair in ((receipt, receipt), (receipt, pda.checkpoint(chain.program_id, 1))):
        with refuses("SameMessage"):
            chain.send(slashing(chain, by, 0, pair), payer=by)


def test_who_did_not_sign_both_is_not_slashed(chain: Chain) -> None:
    by = reporter(chain)
    first, second = two_messages(chain)
    evidence = record(chain, by, first, [0, 1]), record(chain, by, second, [1, 2])
    for indexes, error in (
        ((0, 0), "NotASigner"),
        ((3, 3), "NotASigner"),
        ((4, 4), "NotASigner"),
        ((255, 255), "NotASigner"),
        ((0, 2), "DifferentKeys"),
        ((1, 2), "DifferentKeys"),
    ):
        with refuses(error):
            chain.send(slashing(chain, by, indexes[0] % 4, evidence, indexes=indexes), payer=by)
    chain.send(slashing(chain, by, 1, evidence), payer=by)


def test_another_validators_account_is_not_slashed(chain: Chain) -> None:
    by = reporter(chain)
    first, second = two_messages(chain)
    evidence = record(chain, by, first, [1]), record(chain, by, second, [1])
    with refuses("WrongValidator"):
        chain.send(slashing(chain, by, 2, evidence, indexes=(1, 1)), payer=by)


def test_evidence_of_another_owner_or_kind(chain: Chain) -> None:
    by, thief = reporter(chain), reporter(chain, b"x")
    first, second = two_messages(chain)
    evidence = record(chain, by, first, [1]), record(chain, by, second, [1])
    with refuses("NotReceiptOwner"):
        chain.send(slashing(chain, thief, 1, evidence), payer=thief)
    for wrong in (pda.validator_set(chain.program_id, 1), validator_address(chain, 2), Keypair().pubkey()):
        with refuses("NotEvidence"):
            chain.send(slashing(chain, by, 1, (evidence[0], wrong)), payer=by)


def test_the_set_must_be_the_evidences(chain: Chain) -> None:
    """The pinned set changes between two attempts: each message is judged by the set that it names, members compared by key."""
    chain.post()
    chain.advance(64)
    chain.seal(2)
    by = reporter(chain)
    first = chain.message(attempt=1)
    second = chain.message(attempt=1, set_hash=chain.set_account(2).set_hash)
    a = record(chain, by, first, [0])
    chain.send(slash_kit.receipt_of(chain, by, second, [0], set_version=2), payer=by)
    b = pda.receipt(chain.program_id, by.pubkey(), second.hash(chain.domain))
    for versions in ((1, 1), (2, 2), (2, 1)):
        with refuses("WrongValidatorSet"):
            chain.send(slashing(chain, by, 0, (a, b), 2, set_versions=versions), payer=by)
    chain.send(slashing(chain, by, 0, (a, b), 2, set_versions=(1, 2)), payer=by)
    assert slash_kit.tally(chain, 2).total_stake_lamports == 4 * STAKE


def test_offence_and_tally_are_at_their_own_addresses(chain: Chain) -> None:
    by = reporter(chain)
    first, second = two_messages(chain)
    evidence = record(chain, by, first, [0, 1]), record(chain, by, second, [0, 1])
    program = chain.program_id
    other_offence = pda.offence(program, validator_address(chain, 1), 1)
    other_epoch = pda.offence(program, validator_address(chain, 0), 2)
    built = slashing(chain, by, 0, evidence)
    for changes in ({"offence": other_offence}, {"offence": other_epoch}, {"tally": pda.tally(program, 2)}):
        with refuses("WrongAddress"):
            chain.send(with_accounts(built, **changes), payer=by)
    chain.send(built, payer=by)
    epoch_2 = two_messages(chain, epoch=2)
    evidence_2 = record(chain, by, epoch_2[0], [1]), record(chain, by, epoch_2[1], [1])
    with refuses("WrongAddress"):
        chain.send(
            with_accounts(slashing(chain, by, 1, evidence_2, 2), tally=pda.tally(program, 1)),
            payer=by,
        )
    for wrong in (Keypair().pubkey(), pda.offence(program, validator_address(chain, 0), 1)):
        with refuses("WrongAddress"):
            chain.send(with_accounts(slashing(chain, by, 1, evidence), tally=wrong), payer=by)


def test_money_goes_to_reporter_and_treasury_only(chain: Chain) -> None:
    by = reporter(chain)
    first, second = two_messages(chain)
    evidence = record(chain, by, first, [0]), record(chain, by, second, [0])
    program = chain.program_id
    built = slashing(chain, by, 0, evidence)
    for changes in (
        {"treasury": Keypair().pubkey()},
        {"treasury": pda.vault(program)},
        {"stake_vault": pda.vault(program)},
        {"stake_vault": pda.treasury(program), "treasury": pda.stake_vault(program)},
    ):
        with refuses("InstructionErrorFieldless.InvalidSeeds"):
            chain.send(with_accounts(built, **changes), payer=by)


# -- correlation ---------------------------------------------------------------------------------------------------------------------


def test_many_at_once_lose_more_and_the_first_no_less_than_the_last(ten: Chain) -> None:
    """One of ten: 5 % + 3 × 10 %. Four of ten: all. Who was found out first is raised to what the last one lost."""
    by = reporter(ten)
    first, second = two_messages(ten)
    evidence = record(ten, by, first, range(7)), record(ten, by, second, [1, 4, 7 - 1, 3])
    program = ten.program_id
    targets = {1: 3_500, 4: 6_500, 6: 9_500, 3: ALL}
    for index, target in targets.items():
        ten.send(slashing(ten, by, index, evidence), payer=by)
        assert held(ten, index)["active_lamports"] == STAKE - STAKE * target // ALL
        assert slash_kit.offence(ten, index, 1).applied_basis_points == target
    assert slash_kit.tally(ten, 1) == slash_accounts.EquivocationTally(1, 4, 4 * STAKE, 10 * STAKE)
    for index in (1, 4, 6):
        before, treasury = ten.lamports(by.pubkey()), ten.lamports(pda.treasury(program))
        left = held(ten, index)["active_lamports"]
        raised = slash_instructions.raise_equivocation(program, by.pubkey(), validator_address(ten, index), 1)
        done = ten.send(raised, payer=by)
        assert held(ten, index)["active_lamports"] == 0
        assert ten.lamports(by.pubkey()) == before - done.fee() + left // 10
        assert ten.lamports(pda.treasury(program)) == treasury + left - left // 10
        assert slash_kit.offence(ten, index, 1).cut_lamports == STAKE
        assert ten.registry.slots[index].stake_lamports == 0
        with refuses("NothingToRaise"):
            ten.send(raised, payer=by)
    assert ten.lamports(pda.stake_vault(program)) == slash_kit.vault_total(ten)


def test_a_raise_takes_what_lacks_of_the_stake_that_was_there(ten: Chain) -> None:
    by = reporter(ten)
    first, second = two_messages(ten)
    evidence = record(ten, by, first, range(2)), record(ten, by, second, range(2))
    ten.send(slashing(ten, by, 0, evidence), payer=by)
    raised = slash_instructions.raise_equivocation(ten.program_id, by.pubkey(), validator_address(ten, 0), 1)
    with refuses("NothingToRaise"):
        ten.send(raised, payer=by)
    ten.send(slashing(ten, by, 1, evidence), payer=by)
    ten.send(raised, payer=by)
    left = STAKE * 6_500 // ALL
    assert held(ten, 0)["active_lamports"] == left - left * ((6_500 - 3_500) * ALL // 6_500) // ALL
    assert 0 <= held(ten, 0)["active_lamports"] - STAKE * 3_500 // ALL <= STAKE // ALL


def test_nobody_is_raised_by_the_tally_of_another_epoch(ten: Chain) -> None:
    by = reporter(ten)
    for epoch, signers in ((1, [0]), (2, [1, 2, 3])):
        first, second = two_messages(ten, epoch=epoch)
        evidence = record(ten, by, first, signers), record(ten, by, second, signers)
        for index in signers:
            ten.send(slashing(ten, by, index, evidence, epoch), payer=by)
    built = slash_instructions.raise_equivocation(ten.program_id, by.pubkey(), validator_address(ten, 0), 1)
    metas = list(built.accounts)
    metas[5] = AccountMeta(pda.tally(ten.program_id, 2), False, False)
    with refuses("InstructionErrorFieldless.InvalidSeeds"):
        ten.send(Instruction(ten.program_id, bytes(built.data), metas), payer=by)
    metas = list(built.accounts)
    metas[4] = AccountMeta(pda.offence(ten.program_id, validator_address(ten, 1), 2), False, True)
    with refuses("InstructionErrorFieldless.InvalidSeeds"):
        ten.send(Instruction(ten.program_id, bytes(built.data), metas), payer=by)


def test_unbonding_stake_is_cut_as_well_set_by_overwrite(chain: Chain) -> None:
    address = validator_address(chain, 0)
    slash_kit.overwrite_u64(chain, address, "Validator", "unbonding_lamports", 30_001)
    slash_kit.overwrite_u64(chain, address, "Validator", "unbonding_shares", 30_001)
    chain.svm.airdrop(pda.stake_vault(chain.program_id), 30_001)
    by = reporter(chain)
    first, second = two_messages(chain)
    chain.send(slashing(chain, by, 0, (record(chain, by, first, [0]), record(chain, by, second, [0]))), payer=by)
    now = held(chain, 0)
    assert now["unbonding_lamports"] == 30_001 - 30_001 * ALONE_OF_FOUR // ALL
    assert now["slashed_lamports"] == STAKE * ALONE_OF_FOUR // ALL + 30_001 * ALONE_OF_FOUR // ALL
    assert chain.lamports(pda.stake_vault(chain.program_id)) == slash_kit.vault_total(chain)


def test_who_left_the_registry_is_slashed_all_the_same_set_by_overwrite(chain: Chain) -> None:
    """Its slot was taken by another key: the slot is left alone, the validator's pools are cut."""
    slash_kit.overwrite_u64(chain, validator_address(chain, 2), "Validator", "slot_index", 2**64 - 1)
    by = reporter(chain)
    before = chain.registry.slots[2]
    first, second = two_messages(chain)
    chain.send(slashing(chain, by, 2, (record(chain, by, first, [2]), record(chain, by, second, [2]))), payer=by)
    assert chain.registry.slots[2] == before
    assert held(chain, 2)["active_lamports"] == STAKE - STAKE * ALONE_OF_FOUR // ALL


def test_small_stakes_are_cut_rounded_down(bare: Chain) -> None:
    bare.initialize(replace(LOCALNET_PROFILE, min_validator_stake_lamports=1))
    bare.grow_registry()
    bare.bring_up_registered([validator(0, 1_000_000), validator(1, 3), validator(2, 1)])
    by = reporter(bare)
    first, second = two_messages(bare)
    evidence = record(bare, by, first, [1, 2]), record(bare, by, second, [1, 2])
    for index in (1, 2):
        bare.send(slashing(bare, by, index, evidence), payer=by)
        assert held(bare, index)["slashed_lamports"] == 0
        assert held(bare, index)["flags"] == 3
    assert bare.lamports(pda.stake_vault(bare.program_id)) == slash_kit.vault_total(bare)
