"""deposit, post_checkpoint and finalize_checkpoint: every rule of docs/settlement.md, each refusal by its own error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import accounts, bls, instructions, messages, pda
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus
from settlement.hash_to_curve import hints
from settlement.signing import Domain
from settlement.validator_set import bitmap_to_bytes
from tests.program import points
from tests.program.kit import GENESIS, STAKE, Chain, refuses, validator

SOMEBODY = Pubkey(b"\x05" * 32)
WRONG_HINT = ("WrongHintSign", "WrongHintRoot", "WrongHintInverse")


# -- deposits ------------------------------------------------------------------------------------------------------------------------


def test_a_deposit_is_an_inbox_entry(chain: Chain) -> None:
    vault = pda.vault(chain.program_id)
    before = chain.lamports(vault)
    running = messages.genesis_inbox_hash(chain.domain)
    for index, lamports in enumerate((10_000, 25_000)):
        chain.deposit(lamports, SOMEBODY)
        payload = messages.deposit_payload_hash(bytes(SOMEBODY))
        entry = messages.InboxEntry(index, chain.slot, messages.InboxKind.DEPOSIT, lamports, payload)
        running = messages.next_inbox_hash(running, entry)
        address = pda.inbox_entry(chain.program_id, index)
        held = accounts.decode_inbox_entry(address, chain.data(address))
        assert (held.entry, held.hash_after, held.beneficiary) == (entry, running, SOMEBODY)
        chain.advance(1)
    assert (chain.config.inbox.count, chain.config.inbox.lamports, chain.config.inbox.hash) == (2, 35_000, running)
    assert chain.lamports(vault) == before + 35_000


def test_a_deposit_below_the_minimum(chain: Chain) -> None:
    with refuses("DepositBelowMinimum"):
        chain.deposit(9_999, SOMEBODY)


@pytest.mark.parametrize("index", [0, 2])
def test_a_deposit_built_for_another_index(chain: Chain, index: int) -> None:
    chain.deposit(10_000, SOMEBODY)
    with refuses("WrongInboxEntry"):
        chain.send(instructions.deposit(chain.program_id, chain.payer.pubkey(), index, 10_000, SOMEBODY))


def test_sums_of_deposits_stay_countable(chain: Chain) -> None:
    address = pda.config(chain.program_id)
    data = bytearray(chain.data(address))
    offset = data.index(chain.config.inbox.hash) - 8
    assert data[offset : offset + 8] == bytes(8)
    data[offset : offset + 8] = ((1 << 62) - 20_000).to_bytes(8, "little")
    chain.overwrite(address, bytes(data))
    with refuses("ArithmeticOverflow"):
        chain.deposit(20_000, SOMEBODY)
    chain.deposit(19_999, SOMEBODY)


# -- posting -------------------------------------------------------------------------------------------------------------------------


def test_a_post_is_accepted_and_becomes_the_head(chain: Chain) -> None:
    chain.deposit(50_000, SOMEBODY)
    message = chain.post(payable_total=50_000)
    digest = message.hash(chain.domain)
    held = chain.checkpoint(1)
    assert (held.hash, held.status, held.posted_slot) == (digest, CheckpointStatus.POSTED, chain.slot)
    assert (held.parent_hash, held.inbox_hash) == (message.parent_hash, message.inbox_hash)
    assert (held.set_version, held.bitmap, held.poster) == (1, bitmap_to_bytes(0b1111), chain.payer.pubkey())
    head = chain.config.posted
    assert (head.epoch, head.hash, head.cut_slot, head.expiry_slot) == (
        1,
        digest,
        message.cut_slot,
        message.expiry_slot,
    )
    assert (head.payable_total, head.inbox_cursor, head.inbox_lamports) == (50_000, 1, 50_000)
    assert (chain.config.highest_epoch, chain.config.last_post_slot) == (1, chain.slot)


def test_checkpoints_extend_one_another(chain: Chain) -> None:
    hashes = []
    for epoch in (1, 2, 3):
        message = chain.post(attempt=epoch * 7)
        hashes.append(message.hash(chain.domain))
        chain.advance(1)
    assert [chain.checkpoint(epoch).hash for epoch in (1, 2, 3)] == hashes
    assert chain.checkpoint(3).parent_hash == hashes[1]


def test_the_same_post_twice(chain: Chain) -> None:
    posting = chain.posting(chain.certificate(chain.message()))
    chain.send(posting)
    with refuses("EpochPosted"):
        chain.send(posting)


def test_epochs_leave_no_gap(chain: Chain) -> None:
    with refuses("WrongEpoch"):
        chain.post(epoch=2)
    with refuses("EpochPosted"):
        chain.post(epoch=0)


def test_a_funded_checkpoint_address_blocks_nothing(chain: Chain) -> None:
    chain.svm.airdrop(pda.checkpoint(chain.program_id, 1), 1)
    chain.post()


def test_a_checkpoint_account_that_is_not_the_epochs(chain: Chain) -> None:
    built = chain.posting(chain.certificate(chain.message()))
    metas = list(built.accounts)
    metas[3] = type(metas[3])(pda.checkpoint(chain.program_id, 2), False, True)
    with refuses("WrongAddress"):
        chain.send(type(built)(chain.program_id, bytes(built.data), metas))


@pytest.mark.parametrize(
    ("cut", "expiry", "error"),
    [
        (1, 10, "CutSlotInFuture"),
        (-10, -1, "Expired"),
        (-10, 55, "ExpiryTooFar"),
        (0, 65, "ExpiryTooFar"),
    ],
)
def test_slots_are_judged(chain: Chain, cut: int, expiry: int, error: str) -> None:
    slot = chain.slot
    with refuses(error):
        chain.post(cut_slot=slot + cut, expiry_slot=slot + expiry)


@pytest.mark.parametrize(("cut", "expiry"), [(0, 0), (0, 64), (-64, 0), (-10, 54)])
def test_slots_at_their_bounds(chain: Chain, cut: int, expiry: int) -> None:
    chain.post(cut_slot=chain.slot + cut, expiry_slot=chain.slot + expiry)


def test_a_stale_cut_slot(chain: Chain) -> None:
    first = chain.post()
    chain.advance(5)
    for cut_slot in (first.cut_slot, first.cut_slot - 1):
        with refuses("CutSlotNotAfterParent"):
            chain.post(cut_slot=cut_slot)
    chain.post(cut_slot=first.cut_slot + 1)


def test_the_cursor_stays_within_parent_and_inbox(chain: Chain) -> None:
    chain.deposit(10_000, SOMEBODY)
    chain.deposit(10_000, SOMEBODY)
    chain.post(inbox_cursor=1)
    chain.advance(1)
    below = chain.certificate(chain.message(inbox_cursor=0))
    with refuses("CursorBelowParent"):
        chain.send(instructions.post_checkpoint(chain.program_id, chain.payer.pubkey(), 1, 0, below))
    with refuses("CursorAboveInbox"):
        chain.post(inbox_cursor=3)
    chain.post(inbox_cursor=2)


def test_inbox_entries_given_must_be_those_of_the_cursor(chain: Chain) -> None:
    for _ in range(3):
        chain.deposit(10_000, SOMEBODY)
    built = chain.posting(chain.certificate(chain.message(inbox_cursor=2)))
    for position, index, error in ((4, 0, "WrongLastEntry"), (5, 1, "WrongNextEntry"), (5, 7, "WrongNextEntry")):
        metas = list(built.accounts)
        metas[position] = type(metas[position])(pda.inbox_entry(chain.program_id, index), False, False)
        with refuses(error):
            chain.send(type(built)(chain.program_id, bytes(built.data), metas))
    metas = list(built.accounts)
    metas[4] = type(metas[4])(chain.program_id, False, False)
    with refuses("WrongLastEntry"):
        chain.send(type(built)(chain.program_id, bytes(built.data), metas))
    chain.send(built)


def test_an_overdue_inbox_entry_must_be_taken(chain: Chain) -> None:
    """Older at cut_slot than the inclusion window of 32 slots: an omission that the quorum cannot excuse."""
    chain.deposit(10_000, SOMEBODY)
    chain.advance(33)
    with refuses("OverdueInboxEntry"):
        chain.post(inbox_cursor=0)
    chain.post(inbox_cursor=0, cut_slot=chain.slot - 1)
    chain.advance(1)
    chain.post(inbox_cursor=1)


def test_a_deposit_that_lands_first_does_not_spoil_a_post(chain: Chain) -> None:
    posting = chain.posting(chain.certificate(chain.message()))
    chain.deposit(10_000, SOMEBODY)
    chain.send(posting)


def test_no_more_entries_than_fit_an_epoch_and_then_the_rest_may_wait(bare: Chain) -> None:
    bare.initialize(replace(LOCALNET_PROFILE, max_inbox_per_epoch=2))
    bare.grow_registry()
    bare.bring_up_registered([validator(0)])
    for _ in range(4):
        bare.deposit(10_000, SOMEBODY)
    bare.advance(40)
    with refuses("TooManyInboxEntries"):
        bare.post(inbox_cursor=3)
    with refuses("OverdueInboxEntry"):
        bare.post(inbox_cursor=1)
    bare.post(inbox_cursor=2)


def test_payable_stays_within_parent_and_inbox(chain: Chain) -> None:
    chain.deposit(30_000, SOMEBODY)
    chain.deposit(20_000, SOMEBODY)
    with refuses("PayableAboveInbox"):
        chain.post(inbox_cursor=1, payable_total=30_001)
    with refuses("PayableAboveInbox"):
        chain.post(inbox_cursor=0, payable_total=1)
    chain.post(inbox_cursor=1, payable_total=30_000)
    chain.advance(1)
    with refuses("PayableBelowParent"):
        chain.post(payable_total=29_999)
    chain.post(payable_total=50_000)


# -- certificates --------------------------------------------------------------------------------------------------------------------


def test_only_the_pinned_set_certifies(chain: Chain) -> None:
    chain.post()
    chain.advance(64)
    chain.seal(2, chain.payer)
    chain.create_set(3)
    signed = chain.certificate(chain.message(set_hash=chain.set_account(2).set_hash))
    for version in (2, 3):
        with refuses("UnpinnedSet"):
            chain.send(chain.posting(signed, version))


@pytest.mark.parametrize("bit", [4, 5, 127, 255])
def test_a_bit_beyond_the_set(chain: Chain, bit: int) -> None:
    signed = chain.certificate(chain.message())
    with refuses("BitBeyondSet"):
        chain.send(chain.posting(replace(signed, bitmap=bitmap_to_bytes(0b1111 | 1 << bit))))


def test_a_quorum_is_two_thirds_of_the_stake_not_of_the_heads(bare: Chain) -> None:
    stakes = [STAKE, STAKE, STAKE, 6 * STAKE]
    bare.bring_up(validator(seed, stake) for seed, stake in enumerate(stakes))
    for signers in ([0, 1, 2], [3], [0], [2]):
        if sum(stakes[index] for index in signers) * 3 < sum(stakes) * 2:
            with refuses("ShortQuorum"):
                bare.post(signers)
    bare.post([3])


def test_exactly_two_thirds_are_enough(bare: Chain) -> None:
    bare.bring_up(validator(seed, stake) for seed, stake in enumerate([2 * STAKE, STAKE, 1_000_001]))
    with refuses("ShortQuorum"):
        bare.post([0])
    bare.post([0, 1])


def test_nobody_signed(chain: Chain) -> None:
    signed = chain.certificate(chain.message())
    with refuses("ShortQuorum"):
        chain.send(chain.posting(replace(signed, bitmap=bytes(32))))


@pytest.mark.parametrize("signers", [[0, 1, 2], [1, 2, 3], [0, 2, 3], [0, 1, 2, 3]])
def test_every_quorum_certifies(chain: Chain, signers: list[int]) -> None:
    chain.post(signers)
    assert chain.checkpoint(1).bitmap == bitmap_to_bytes(sum(1 << index for index in signers))


def test_few_holders_of_much_stake_certify(bare: Chain) -> None:
    """When most are absent the program adds the present keys instead of subtracting the others."""
    bare.bring_up(validator(seed, 100 * STAKE if seed in (1, 4) else STAKE) for seed in range(6))
    bare.post([1, 4])


def test_a_bitmap_that_claims_others(chain: Chain) -> None:
    signed = chain.certificate(chain.message(), [0, 1, 2])
    for bitmap in (0b1111, 0b1110, 0b1101):
        with refuses("PairingNotOne"):
            chain.send(chain.posting(replace(signed, bitmap=bitmap_to_bytes(bitmap))))


@pytest.mark.parametrize("which", ["another program", "another cluster"])
def test_a_signature_from_elsewhere(chain: Chain, which: str) -> None:
    """Signed for another program or cluster: the message here is another, whatever hints come with it."""
    program = bytes(chain.program_id)
    elsewhere = Domain(GENESIS, b"\x09" * 32) if which == "another program" else Domain(b"\x09" * 32, program)
    message = chain.message()
    signed = chain.certificate(message, domain=elsewhere)
    with refuses(*WRONG_HINT):
        chain.send(chain.posting(signed))
    with refuses("PairingNotOne"):
        chain.send(chain.posting(replace(signed, hints=hints(message.hash(chain.domain)))))


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 2},
        {"attempt": 1},
        {"cut_slot": 999},
        {"expiry_slot": 1_001},
        {"parent_hash": bytes(32)},
        {"results_root": bytes(32)},
        {"state_root": bytes(32)},
        {"trace_root": bytes(32)},
        {"data_root": bytes(32)},
        {"payable_total": 1},
        {"inbox_cursor": 0},
        {"inbox_hash": bytes(32)},
        {"set_hash": bytes(32)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_signature_of_another_message(chain: Chain, changes: dict[str, object]) -> None:
    """Every field of the message is bound: neither signature nor hints of another message do."""
    chain.deposit(10_000, SOMEBODY)
    right = chain.message()
    other = chain.certificate(replace(right, **changes))  # type: ignore[arg-type]
    mixed = replace(chain.certificate(right), signature=other.signature)
    with refuses("PairingNotOne"):
        chain.send(chain.posting(mixed))
    with refuses(*WRONG_HINT):
        chain.send(chain.posting(replace(chain.certificate(right), hints=other.hints)))
    chain.send(chain.posting(chain.certificate(right)))


def test_hints_that_are_not_canonical(chain: Chain) -> None:
    signed = chain.certificate(chain.message())
    altered = points.hints_above_modulus(signed.hints)
    assert len(altered) == 6
    for hint in altered:
        with refuses("NonCanonicalHint"):
            chain.send(chain.posting(replace(signed, hints=hint)))


def test_hints_that_are_wrong(chain: Chain) -> None:
    signed = chain.certificate(chain.message())
    right = signed.hints
    negated = points.P - int.from_bytes(bytes([right[0] & 0x7F]) + right[1:48], "big")
    other = points.P - int.from_bytes(right[48:96], "big")
    altered = {
        bytes(480): WRONG_HINT,
        bytes([right[0] ^ 0x80]) + right[1:]: WRONG_HINT,
        right[96:192] + right[:96] + right[192:]: WRONG_HINT,
        bytes([(negated >> 376) | (right[0] & 0x80)])
        + negated.to_bytes(48, "big")[1:]
        + other.to_bytes(48, "big")
        + right[96:]: ("WrongHintSign",),
        right[:192] + bytes(48) + right[240:]: ("WrongHintInverse",),
        right[:240] + bytes(48) + right[288:]: ("WrongHintInverse",),
        right[:288] + bytes(192): ("WrongHintMultiple",),
        right[:288] + hints(bytes(32))[288:]: ("WrongHintMultiple",),
    }
    for hint, errors in altered.items():
        with refuses(*errors):
            chain.send(chain.posting(replace(signed, hints=hint)))
    roots = right[:95] + bytes([right[95] ^ 2]) + right[96:]
    with refuses("WrongHintRoot"):
        chain.send(chain.posting(replace(signed, hints=roots)))


@pytest.mark.parametrize(
    ("signature", "error"),
    [
        (points.g2_off_subgroup(), "BadSignature"),
        (points.g2_off_curve(), "BadSignature"),
        (bytes(96), "BadSignature"),
        (points.G2_INFINITY, "SignatureAtInfinity"),
    ],
)
def test_signatures_that_are_none(chain: Chain, signature: bytes, error: str) -> None:
    signed = chain.certificate(chain.message())
    with refuses(error):
        chain.send(chain.posting(replace(signed, signature=signature)))


def test_a_signature_with_coordinates_above_the_modulus(chain: Chain) -> None:
    signed = chain.certificate(chain.message())
    flags = signed.signature[0] & 0xE0
    x1 = int.from_bytes(bytes([signed.signature[0] & 0x1F]) + signed.signature[1:48], "big") + points.P
    x0 = (int.from_bytes(signed.signature[48:], "big") + points.P).to_bytes(48, "big")
    altered = [signed.signature[:48] + x0]
    if x1 < 1 << 381:
        altered.append(bytes([x1 >> 376 | flags]) + x1.to_bytes(48, "big")[1:] + signed.signature[48:])
    for signature in altered:
        with refuses("BadSignature"):
            chain.send(chain.posting(replace(signed, signature=signature)))


def test_a_valid_signature_of_somebody_else(chain: Chain) -> None:
    message = chain.message()
    stranger = validator(99).secret.sign(message.hash(chain.domain))
    with refuses("PairingNotOne"):
        chain.send(chain.posting(replace(chain.certificate(message), signature=stranger)))
    doubled = bls.aggregate([validator(seed).secret.sign(message.hash(chain.domain)) for seed in (0, 1, 2, 2)])
    with refuses("PairingNotOne"):
        chain.send(chain.posting(replace(chain.certificate(message), signature=doubled)))


# -- finalizing ----------------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_final_after_its_window(chain: Chain) -> None:
    message = chain.post()
    posted_slot = chain.slot
    chain.advance(16)
    with refuses("ChallengeWindowOpen"):
        chain.finalize(1)
    chain.advance(1)
    chain.finalize(1)
    final = chain.config.finalized
    assert (final.epoch, final.hash, final.state_root) == (1, message.hash(chain.domain), message.state_root)
    assert final.slot == posted_slot + 17
    assert chain.checkpoint(1).status is CheckpointStatus.FINALIZED
    with refuses("NotPosted"):
        chain.finalize(1)


def test_a_parent_is_final_first(chain: Chain) -> None:
    chain.post()
    chain.advance(1)
    chain.post()
    chain.advance(30)
    with refuses("ParentNotFinalized"):
        chain.finalize(2)
    chain.finalize(1)
    chain.finalize(2)
    assert chain.config.finalized.epoch == 2


def test_nothing_goes_on_after_the_escape(chain: Chain) -> None:
    """The hatch's flag is there already and stops posting, finalizing, deposits, registration and sets."""
    chain.post()
    chain.advance(17)
    address = pda.config(chain.program_id)
    data = bytearray(chain.data(address))
    data[8 + 5] = 1
    chain.overwrite(address, bytes(data))
    with refuses("Escaped"):
        chain.post()
    with refuses("Escaped"):
        chain.finalize(1)
    with refuses("Escaped"):
        chain.deposit(10_000, SOMEBODY)
    with refuses("Escaped"):
        chain.register(validator(8))
    with refuses("Escaped"):
        chain.create_set(2)


def test_another_payer_may_post_and_finalize(chain: Chain) -> None:
    stranger = Keypair()
    chain.svm.airdrop(stranger.pubkey(), 10**10)
    chain.payer = stranger
    chain.settle()
