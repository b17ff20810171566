"""register_validator, create/grow/advance_validator_set: keys with their proofs of possession, and the sets that certificates index."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.keypair import Keypair

from settlement import bls, instructions, pda
from settlement.accounts import LOCALNET_PROFILE, MAX_VALIDATORS, OCCUPIED
from settlement.hash_to_curve import hints
from settlement.messages import proof_of_possession_digest
from settlement.signing import Domain
from settlement.validator_set import SetEntry, ValidatorSet
from tests.program import points
from tests.program.kit import GENESIS, STAKE, Chain, Validator, refuses, validator

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


@pytest.fixture
def ready(bare: Chain) -> Chain:
    """Initialised, registry of full size, nobody registered."""
    bare.initialize()
    bare.grow_registry()
    return bare


def test_a_validator_takes_a_slot_and_pays_its_stake(ready: Chain) -> None:
    floor = ready.lamports(pda.stake_vault(ready.program_id))
    new = validator(0, 5 * STAKE)
    ready.register(new)
    slot = ready.registry.slot_of(new.authority.pubkey())
    assert slot is not None
    assert slot.bls_public_key == bls.uncompressed_public_key(new.secret.public_key)
    assert (slot.stake_lamports, slot.stake_slot, slot.flags) == (5 * STAKE, ready.slot, OCCUPIED)
    assert ready.lamports(pda.stake_vault(ready.program_id)) == floor + 5 * STAKE
    assert ready.registry.count == 1


def test_the_payer_may_be_the_authority(ready: Chain) -> None:
    ready.register(Validator(ready.payer, bls.SecretKey.from_seed(b"s" * 32)))
    assert ready.registry.count == 1


def test_one_slot_per_authority(ready: Chain) -> None:
    ready.register(validator(0))
    with refuses("AuthorityRegistered"):
        ready.register(replace(validator(1), authority=validator(0).authority))


def test_a_key_registers_once_ever(ready: Chain) -> None:
    ready.register(validator(0))
    with refuses("BlsKeyRegistered"):
        ready.register(replace(validator(0), authority=Keypair()))


def test_stake_below_the_minimum(ready: Chain) -> None:
    with refuses("StakeBelowMinimum"):
        ready.register(validator(0, STAKE - 1))


def test_the_registry_must_have_its_full_size(bare: Chain) -> None:
    bare.initialize()
    with refuses("RegistryTooSmall"):
        bare.register(validator(0))


def test_a_full_registry_refuses(ready: Chain) -> None:
    ready.register(validator(0))
    address = pda.registry(ready.program_id)
    data = bytearray(ready.data(address))
    data[16:24] = MAX_VALIDATORS.to_bytes(8, "little")
    for index in range(1, MAX_VALIDATORS):
        start = 24 + 176 * index
        data[start : start + 32] = bytes(Keypair().pubkey())
        data[start + 172] = OCCUPIED
    ready.overwrite(address, bytes(data))
    with refuses("RegistryFull"):
        ready.register(validator(1))


def test_bls_key_account_must_be_the_keys_own(ready: Chain) -> None:
    """Otherwise one key could register twice, marked at two addresses."""
    built = ready.registration(validator(0))
    metas = list(built.accounts)
    other = Keypair().pubkey()
    position = pda.stake_position(ready.program_id, other, validator(0).authority.pubkey())
    metas[4], metas[5] = (type(metas[4])(address, False, True) for address in (other, position))
    with refuses("WrongAddress"):
        ready.send(type(built)(ready.program_id, bytes(built.data), metas), signers=[validator(0).authority])


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (points.g1_off_subgroup(), "BadBlsKey"),
        (points.g1_off_curve(), "BadBlsKey"),
        (points.P.to_bytes(48, "big"), "BadBlsKey"),
        ((points.P + 4 | 1 << 383).to_bytes(48, "big"), "BadBlsKey"),
        (b"\x80" + bytes(47), "BadBlsKey"),
        (points.G1_INFINITY, "BlsKeyAtInfinity"),
    ],
)
def test_keys_that_are_none(ready: Chain, key: bytes, error: str) -> None:
    new = validator(0)
    digest = _pop_digest(ready.domain, new, key)
    proof = new.secret.sign(digest)
    with refuses(error):
        built = ready.registration(new, bls_public_key=key, hints=hints(digest), proof_of_possession=proof)
        ready.send(built, signers=[new.authority])


@pytest.mark.parametrize(
    ("proof", "error"),
    [
        (points.g2_off_subgroup(), "BadSignature"),
        (points.g2_off_curve(), "BadSignature"),
        (bytes(96), "BadSignature"),
        (points.G2_INFINITY, "SignatureAtInfinity"),
    ],
)
def test_proofs_that_are_no_signature(ready: Chain, proof: bytes, error: str) -> None:
    with refuses(error):
        ready.send(ready.registration(validator(0), proof_of_possession=proof), signers=[validator(0).authority])


def _pop_digest(domain: Domain, new: Validator, key: bytes | None = None) -> bytes:
    return proof_of_possession_digest(domain, bytes(new.authority.pubkey()), key or new.secret.public_key)


def test_a_proof_of_possession_cannot_be_replayed(ready: Chain) -> None:
    """Neither by another authority, nor from another program or cluster, nor blspy's own pop_prove, which binds the key alone."""
    new = validator(0)
    elsewhere = [
        _pop_digest(ready.domain, replace(new, authority=Keypair())),
        _pop_digest(Domain(GENESIS, bytes(Keypair().pubkey())), new),
        _pop_digest(Domain(b"\x07" * 32, bytes(ready.program_id)), new),
    ]
    for digest in elsewhere:
        with refuses("BadProofOfPossession"):
            built = ready.registration(new, proof_of_possession=new.secret.sign(digest))
            ready.send(built, signers=[new.authority])
    from blspy import PopSchemeMPL, PrivateKey

    proof = bytes(PopSchemeMPL.pop_prove(PrivateKey.from_bytes(new.secret.to_bytes())))
    with refuses("BadProofOfPossession"):
        ready.send(ready.registration(new, proof_of_possession=proof), signers=[new.authority])


def test_a_proof_of_possession_of_another_key(ready: Chain) -> None:
    """A rogue key: the difference of another's key and one's own. Nobody can sign for it."""
    digest = _pop_digest(ready.domain, validator(0))
    with refuses("BadProofOfPossession"):
        built = ready.registration(validator(0), proof_of_possession=validator(1).secret.sign(digest))
        ready.send(built, signers=[validator(0).authority])


def test_wrong_and_non_canonical_hints_of_a_proof(ready: Chain) -> None:
    right = hints(_pop_digest(ready.domain, validator(0)))
    for altered in points.hints_above_modulus(right):
        with refuses("NonCanonicalHint"):
            ready.send(ready.registration(validator(0), hints=altered), signers=[validator(0).authority])
    for start in range(0, 480, 48):
        altered = right[: start + 47] + bytes([right[start + 47] ^ 1]) + right[start + 48 :]
        with refuses("WrongHintSign", "WrongHintRoot", "WrongHintInverse", "WrongHintMultiple"):
            ready.send(ready.registration(validator(0), hints=altered), signers=[validator(0).authority])


# -- sets ----------------------------------------------------------------------------------------------------------------------------


def test_a_sealed_set_is_the_registry(ready: Chain) -> None:
    validators = [validator(seed, (seed + 1) * STAKE) for seed in range(3)]
    ready.bring_up_registered(validators)
    held = ready.set_account(1)
    entries = tuple(
        SetEntry(bytes(v.authority.pubkey()), bls.uncompressed_public_key(v.secret.public_key), v.stake_lamports)
        for v in validators
    )
    assert held.validator_set == ValidatorSet(1, entries)
    assert held.set_hash == ready.config.pinned.hash == held.validator_set.hash(ready.domain)
    assert (held.count, held.total_stake_lamports, held.sealed_slot) == (3, 6 * STAKE, ready.slot)
    keys = [v.secret.public_key for v in validators]
    assert held.aggregate_key == bls.uncompressed_public_key(bls.aggregate_public_keys(keys))


def test_until_the_first_post_the_newest_set_is_pinned_and_only_the_authority_seals(chain: Chain) -> None:
    chain.register(validator(9))
    chain.create_set(2)
    with refuses("NotAuthority"):
        chain.advance_set(2, chain.payer)
    chain.advance_set(2)
    assert chain.config.pinned.version == 2
    chain.post()
    chain.advance(64)
    chain.create_set(3)
    chain.advance_set(3, chain.payer)
    assert (chain.config.pinned.version, chain.config.sealed_last.version) == (2, 3)


def test_after_the_first_post_seals_keep_their_distance(chain: Chain) -> None:
    chain.post()
    chain.create_set(2)
    chain.advance(63)
    with refuses("SealTooSoon"):
        chain.advance_set(2)
    chain.advance(1)
    chain.advance_set(2)


def test_a_post_pins_the_newest_set_sealed_by_its_cut(chain: Chain) -> None:
    """The next set is known before it lands: one sealed after the cut waits for the post after."""
    chain.post()
    chain.advance(64)
    cut_slot = chain.slot - 1
    chain.seal(2, chain.payer)
    chain.post(cut_slot=cut_slot)
    assert (chain.config.pinned.version, chain.set_account(1).replaced_slot) == (1, 0)
    chain.advance(1)
    chain.post()
    assert (chain.config.pinned.version, chain.set_account(1).replaced_slot) == (2, chain.slot)
    chain.advance(1)
    chain.post()
    assert chain.set_account(2).replaced_slot == 0


def test_versions_come_one_after_the_other(chain: Chain) -> None:
    for version in (0, 1, 3, 2**64 - 1):
        with refuses("WrongSetVersion"):
            chain.create_set(version)
    chain.create_set(2)
    with refuses("SetExists"):
        chain.create_set(2)


def test_a_sealed_set_never_changes(chain: Chain) -> None:
    with refuses("SetSealed"):
        chain.advance_set(1)
    with refuses("SetSealed"):
        chain.grow_set(1)


def test_a_set_grows_to_its_full_size_and_no_further(chain: Chain) -> None:
    chain.create_set(2)
    sizes = [chain.set_account(2).size_bytes]
    for _ in range(3):
        chain.grow_set(2)
        sizes.append(chain.set_account(2).size_bytes)
    assert sizes == [10_240, 20_480, 30_720, 472 + 256 * 136]
    with refuses("SetFullSize"):
        chain.grow_set(2)
    chain.advance_set(2)


def test_a_set_must_hold_the_registry(chain: Chain) -> None:
    chain.create_set(2)
    address = pda.validator_set(chain.program_id, 2)
    chain.overwrite(address, chain.data(address)[: 472 + 3 * 136])
    with refuses("SetTooSmall"):
        chain.advance_set(2)


def test_minimum_of_validators_and_stake(bare: Chain) -> None:
    bare.initialize(replace(LOCALNET_PROFILE, min_validators=2, min_set_stake_lamports=3 * STAKE))
    bare.grow_registry()
    bare.register(validator(0))
    bare.create_set(1)
    with refuses("TooFewValidators"):
        bare.advance_set(1)
    bare.register(validator(1))
    with refuses("SetStakeBelowMinimum"):
        bare.advance_set(1)
    bare.register(validator(2))
    bare.advance_set(1)


def test_keys_that_cancel_out_certify_nothing(ready: Chain) -> None:
    """A key and its negative, both rightly registered, add up to infinity, for which anything would verify."""
    secret = int.from_bytes(validator(0).secret.to_bytes(), "big")
    negated = bls.SecretKey.from_bytes((ORDER - secret).to_bytes(32, "big"))
    ready.bring_up_registered([validator(0), Validator(Keypair(), negated), validator(2)])
    message = ready.message()
    signed = ready.certificate(message, [2])
    with refuses("AggregateKeyAtInfinity"):
        ready.send(ready.posting(replace(signed, bitmap=b"\x03" + bytes(31))))


def test_set_accounts_of_other_versions_are_refused(chain: Chain) -> None:
    chain.create_set(2)
    built = instructions.advance_validator_set(chain.program_id, chain.authority.pubkey(), 2)
    metas = list(built.accounts)
    metas[3] = type(metas[3])(pda.validator_set(chain.program_id, 1), False, True)
    with refuses("InstructionErrorFieldless.InvalidSeeds"):
        chain.send(type(built)(chain.program_id, bytes(built.data), metas), payer=chain.authority)
