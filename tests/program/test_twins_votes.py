"""What a validator loses without the protections of its own: the same two votes, or one digest signed for somebody, shown to the real program."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from solders.keypair import Keypair

from settlement import bls, messages
from settlement.hash_to_curve import hints
from tests.program import slash_kit
from tests.program.kit import STAKE, Chain, Validator, refuses, validator
from validator.slashing_protection import SlashingProtection
from validator.votes import SlashableAttestation


def vote(chain: Chain, folder: Path, message: messages.CheckpointMessage, is_protected: bool = True) -> None:
    """Validator 0 signs and whoever is shown the vote records it; protected, the vote is on the disk before."""
    digest, key = message.hash(chain.domain), bytes(chain.validators[0].secret.public_key)
    if is_protected:
        with SlashingProtection(folder / "protection.sqlite", chain.domain, key) as protection:
            protection.record(message.epoch, message.attempt, digest, message.expiry_slot)
    slash_kit.record(chain, chain.payer, message, [0])


def slash(chain: Chain, *signed: messages.CheckpointMessage) -> None:
    first, second = (
        slash_kit.pda.receipt(chain.program_id, chain.payer.pubkey(), one.hash(chain.domain)) for one in signed
    )
    chain.send(slash_kit.slashing(chain, chain.payer, 0, (first, second)))


def stake(chain: Chain) -> int:
    return slash_kit.held(chain, 0)["active_lamports"]


def test_two_proposals_get_one_vote_and_nothing_to_slash(chain: Chain, tmp_path: Path) -> None:
    first, second = slash_kit.two_messages(chain)
    vote(chain, tmp_path, first)
    with pytest.raises(SlashableAttestation):
        vote(chain, tmp_path, second)
    with refuses("NotEvidence"):
        slash(chain, first, second)
    assert stake(chain) == STAKE


def test_twin_without_slashing_protection_both_votes_are_slashed(chain: Chain, tmp_path: Path) -> None:
    first, second = slash_kit.two_messages(chain)
    for message in (first, second):
        vote(chain, tmp_path, message, is_protected=False)
    slash(chain, first, second)
    assert stake(chain) < STAKE


def test_twin_from_a_stale_backup_the_second_vote_is_slashed(chain: Chain, tmp_path: Path) -> None:
    """With the import of the newest export it is refused: tests/validator/test_slashing_protection.py."""
    first, second = slash_kit.two_messages(chain)
    vote(chain, tmp_path / "used", replace(first, epoch=9))
    shutil.copytree(tmp_path / "used", tmp_path / "backup")
    first, second = (replace(one, epoch=10) for one in (first, second))
    vote(chain, tmp_path / "used", first)
    vote(chain, tmp_path / "backup", second)
    built = slash_kit.slashing(
        chain,
        chain.payer,
        0,
        tuple(
            slash_kit.pda.receipt(chain.program_id, chain.payer.pubkey(), one.hash(chain.domain))
            for one in (first, second)
        ),  # type: ignore[arg-type]
        epoch=10,
    )
    chain.send(built)
    assert stake(chain) < STAKE


def test_two_quorums_of_one_epoch_take_a_third_that_is_slashed(chain: Chain) -> None:
    """Two of them share a third of the stake at least; the poster shows both, only one lands, and who signed both is slashed."""
    first, second = slash_kit.two_messages(chain)
    certificates = chain.certificate(first, [0, 1, 2]), chain.certificate(second, [1, 2, 3])
    chain.send(chain.posting(certificates[0]))
    with refuses("EpochPosted"):
        chain.send(chain.posting(certificates[1]))
    evidence = slash_kit.pda.checkpoint(chain.program_id, 1), slash_kit.record(chain, chain.payer, second, [1, 2, 3])
    for member in (1, 2):
        chain.send(slash_kit.slashing(chain, chain.payer, member, evidence))
    for member in (0, 3):
        with refuses("NotASigner"):
            chain.send(slash_kit.slashing(chain, chain.payer, member, evidence))
    assert slash_kit.tally(chain, 1).stake_lamports == 2 * STAKE


def test_twin_who_signs_any_digest_proves_possession_for_a_thief(bare: Chain) -> None:
    """A validator signs digests that it has made itself of a typed message (validator/attesting.py); a vote's digest proves nothing."""
    bare.initialize()
    bare.grow_registry()
    owner, thief = validator(0), Keypair.from_seed(b"t" * 32)
    key = bytes(owner.secret.public_key)
    asked = messages.proof_of_possession_digest(bare.domain, bytes(thief.pubkey()), key)
    as_a_vote = bls_vote(bare, owner)
    with refuses("BadProofOfPossession"):
        stolen = bare.registration(Validator(thief, owner.secret), proof_of_possession=as_a_vote, hints=hints(asked))
        bare.send(stolen, signers=[thief])
    signed_blindly = owner.secret.sign(asked)
    stolen = bare.registration(Validator(thief, owner.secret), proof_of_possession=signed_blindly, hints=hints(asked))
    bare.send(stolen, signers=[thief])
    with refuses("BlsKeyRegistered"):
        bare.send(bare.registration(owner), signers=[owner.authority])


def bls_vote(chain: Chain, who: Validator) -> bytes:
    """Its signature under a checkpoint message."""
    head = chain.config.posted
    message = messages.CheckpointMessage(
        1, 0, 1, 2, head.hash, *(bytes(32),) * 4, 0, 0, chain.config.posted.inbox_hash, bytes(32)
    )
    return bytes(bls.aggregate([who.secret.sign(message.hash(chain.domain))]))
