"""Demands and their answers: what lies under a root is shown in time, or the checkpoint falls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import dispute_accounts, evidence, merkle, pda, signing
from settlement import dispute_instructions as build
from settlement.accounts import LOCALNET_PROFILE, Checkpoint, CheckpointStatus
from settlement.dispute_accounts import DemandKind
from settlement.records import RECORD_BYTES
from settlement.signing import AUTHORISATION_BYTES, EMPTY, Authorisation
from tests.program.dispute_kit import ALICE, Batch, fill, honest, post, post_liar, reject_liar, up
from tests.program.kit import SOL, Chain, refuses
from tests.program.test_dispute_lifecycle import set_fields
from tests.settlement import kit

BOND = LOCALNET_PROFILE.demand_bond_lamports
ANSWER_SLOTS = LOCALNET_PROFILE.answer_slots
DEMANDER = Keypair.from_seed(b"d" * 32)
SIGNED, UNSIGNED = 4, 0  # records of the batch: alice's submission, and a deposit


def posted() -> tuple[Chain, Batch, Checkpoint]:
    chain = up()
    chain.svm.airdrop(DEMANDER.pubkey(), SOL)
    told = honest(chain)
    return chain, told, post(chain, told)


def demand(chain: Chain, kind: int, index: int, epoch: int = 1) -> tuple[int, int]:
    made = build.open_demand(chain.program_id, DEMANDER.pubkey(), epoch, kind, index)
    chain.send(made, payer=DEMANDER)
    return kind, index


def held(chain: Chain, what: tuple[int, int]) -> dispute_accounts.Demand:
    address = pda.demand(chain.program_id, 1, *what)
    return dispute_accounts.decode_demand(address, chain.data(address))


def answer(chain: Chain, checkpoint: Checkpoint, what: tuple[int, int], data: bytes, buffer: int = 9) -> Instruction:
    shown = fill(chain, data, buffer)
    return build.answer_demand(chain.program_id, chain.payer.pubkey(), checkpoint, what, DEMANDER.pubkey(), shown)


def authorisation_of(told: Batch, index: int) -> Authorisation:
    at = len(told.encoded) * RECORD_BYTES + index * AUTHORISATION_BYTES
    return Authorisation.decode(told.data[at : at + AUTHORISATION_BYTES])


def verified(chain: Chain, told: Batch, index: int) -> Instruction:
    """The ed25519 instruction for a record's authorisation."""
    found = authorisation_of(told, index)
    digest = signing.authorisation_digest(chain.domain, found.expiry_slot, told.encoded[index])
    return build.ed25519(found.public_key, found.signature, digest)


def record_answer(told: Batch, index: int) -> bytes:
    return evidence.record_answer(told.data, len(told.encoded), index)


def test_a_demand_holds_finalization_and_its_bond() -> None:
    chain, _, checkpoint = posted()
    before = chain.lamports(DEMANDER.pubkey())
    what = demand(chain, DemandKind.CHUNK, 1)
    found = held(chain, what)
    assert (found.epoch, found.kind, found.index, found.bond_lamports) == (1, 1, 1, BOND)
    assert found.answer_until_slot == chain.slot + ANSWER_SLOTS
    address = pda.demand(chain.program_id, 1, *what)
    rent = chain.svm.minimum_balance_for_rent_exemption(len(chain.data(address)))
    assert chain.lamports(address) == rent + BOND == before - chain.lamports(DEMANDER.pubkey()) - 5_002
    assert chain.checkpoint(1).open_demands == 1
    chain.advance(17)
    with refuses("DemandsOpen"):
        chain.finalize(1)
    assert chain.checkpoint(1) == replace(checkpoint, open_demands=1)


def test_demands_open_within_the_window_once_and_of_known_kinds() -> None:
    chain, _, checkpoint = posted()
    demand(chain, DemandKind.CHUNK, 1)
    with refuses("DemandExists"):
        demand(chain, DemandKind.CHUNK, 1)
    for kind in (0, 4, 255):
        with refuses("UnknownDemandKind"):
            demand(chain, kind, 0)
    chain.svm.warp_to_slot(checkpoint.challenge_until_slot)
    demand(chain, DemandKind.CHUNK, 2)
    chain.advance(1)
    with refuses("ChallengeWindowOver"):
        demand(chain, DemandKind.CHUNK, 3)


def test_a_void_checkpoint_takes_no_demand() -> None:
    chain, _, _ = posted()
    liar = post_liar(chain)
    post_liar(chain)
    reject_liar(chain, liar)
    with refuses("CheckpointVoid"):
        demand(chain, DemandKind.CHUNK, 0, 3)
    with refuses("NotPosted"):
        demand(chain, DemandKind.CHUNK, 0, 2)


@pytest.mark.parametrize("kind", [DemandKind.CHUNK, DemandKind.TRACE_ENTRY])
def test_chunks_and_trace_entries_are_answered(kind: DemandKind) -> None:
    chain, told, checkpoint = posted()
    leaves = told.chunks if kind is DemandKind.CHUNK else list(told.trace)
    what = demand(chain, kind, 2)
    with refuses("BadMerkleProof"):
        chain.send(answer(chain, checkpoint, what, evidence.leaf_answer(leaves, 1), 1))
    made = answer(chain, checkpoint, what, evidence.leaf_answer(leaves, 2), 2)
    rent = chain.lamports(pda.demand(chain.program_id, 1, *what)) - BOND
    answerer, demander = chain.lamports(chain.payer.pubkey()), chain.lamports(DEMANDER.pubkey())
    chain.send(made)
    assert chain.lamports(chain.payer.pubkey()) == answerer + BOND - 5_002
    assert chain.lamports(DEMANDER.pubkey()) == demander + rent
    assert chain.checkpoint(1).open_demands == 0
    chain.advance(17)
    chain.finalize(1)


@pytest.mark.parametrize("index", range(11))
def test_every_record_is_answered_with_its_authorisation(index: int) -> None:
    """Some authorisations lie in two chunks."""
    chain, told, checkpoint = posted()
    what = demand(chain, DemandKind.RECORD, index)
    made = [answer(chain, checkpoint, what, record_answer(told, index))]
    if authorisation_of(told, index) != EMPTY:
        with refuses("NoEd25519Instruction"):
            chain.send(*made)
        made.insert(0, verified(chain, told, index))
    chain.send(*made)
    assert chain.checkpoint(1).open_demands == 0


def test_an_index_that_is_not_there_is_answered_by_the_count() -> None:
    chain, told, checkpoint = posted()
    payer, demander = chain.payer.pubkey(), DEMANDER.pubkey()
    for kind, leaves in ((1, told.chunks), (2, list(told.encoded)), (3, list(told.trace))):
        count = evidence.count(leaves)
        for index in (len(leaves) - 1, len(leaves), 2**64 - 1):
            what = demand(chain, kind, index)
            made = build.answer_absent(chain.program_id, payer, checkpoint, what, demander, count)
            wrong = replace(count, count=count.count - 1)
            with refuses("BadCountProof"):
                chain.send(build.answer_absent(chain.program_id, payer, checkpoint, what, demander, wrong))
            if index < len(leaves):
                with refuses("IndexExists"):
                    chain.send(made)
            else:
                chain.send(made)
    assert chain.checkpoint(1).open_demands == 3


def test_a_trace_entry_of_another_length_is_no_answer() -> None:
    """No proof of a step could read it, so what it hides would stay hidden."""
    chain = up()
    chain.svm.airdrop(DEMANDER.pubkey(), SOL)
    told = honest(chain).with_trace(1, bytes(33))
    checkpoint = post(chain, told)
    what = demand(chain, DemandKind.TRACE_ENTRY, 1)
    with refuses("BadEvidence"):
        chain.send(answer(chain, checkpoint, what, evidence.leaf_answer(list(told.trace), 1)))


def test_a_malformed_record_is_shown_and_then_proved_malformed() -> None:
    chain = up()
    chain.svm.airdrop(DEMANDER.pubkey(), SOL)
    right = honest(chain)
    told = right.with_record(4, bytes(160))
    checkpoint = post(chain, told)
    what = demand(chain, DemandKind.RECORD, 4)
    chain.send(answer(chain, checkpoint, what, record_answer(told, 4)))
    place = evidence.prove(told.encoded, 4)
    payer = chain.payer.pubkey()
    chain.send(build.prove_malformed_record(chain.program_id, payer, checkpoint, told.encoded[4], place))
    assert chain.checkpoint(1).status is CheckpointStatus.REJECTED


def with_authorisation(told: Batch, index: int, encoded: bytes) -> Batch:
    at = len(told.encoded) * RECORD_BYTES + index * AUTHORISATION_BYTES
    return replace(told, data=told.data[:at] + encoded + told.data[at + AUTHORISATION_BYTES :])


def test_authorisations_that_are_none() -> None:
    """A quorum that signed them cannot answer."""
    chain = up()
    chain.svm.airdrop(DEMANDER.pubkey(), SOL)
    right = honest(chain)
    signed = authorisation_of(right, SIGNED)
    expired = replace(signed, expiry_slot=0)
    cases = [
        (UNSIGNED, signed.encode(), "AuthorisationNotEmpty"),
        (SIGNED, EMPTY.encode(), "WrongSigner"),
        (SIGNED, replace(signed, public_key=kit.public_key("mallory")).encode(), "WrongSigner"),
        (SIGNED, replace(signed, signature=bytes(64)).encode(), "WrongEd25519Instruction"),
        (SIGNED, expired.encode(), "WrongEd25519Instruction"),
    ]
    for index, encoded, error in cases:
        chain = up()
        chain.svm.airdrop(DEMANDER.pubkey(), SOL)
        right = honest(chain)
        told = with_authorisation(right, index, encoded)
        checkpoint = post(chain, told)
        what = demand(chain, DemandKind.RECORD, index)
        with refuses(error):
            chain.send(verified(chain, right, SIGNED), answer(chain, checkpoint, what, record_answer(told, index)))


def test_an_authorisation_that_expired_before_the_parents_cut() -> None:
    chain = up()
    chain.svm.airdrop(DEMANDER.pubkey(), SOL)
    first = honest(chain)
    cut = post(chain, first).cut_slot
    chain.advance(1)
    record = kit.withdrawal(ALICE, 8, 500)
    for expiry, error in ((cut - 1, "AuthorisationExpired"), (cut, None)):
        signed = kit.authorise(record, ALICE, expiry, chain.domain)
        from tests.program.dispute_kit import close

        right = close(chain, first.after, [record])
        told = with_authorisation(right, 0, signed.encode())
        checkpoint = post(chain, told)
        what = demand(chain, DemandKind.RECORD, 0, checkpoint.epoch)
        made = [verified(chain, told, 0), answer(chain, checkpoint, what, record_answer(told, 0), expiry)]
        if error is None:
            chain.send(*made)
            continue
        with refuses(error):
            chain.send(*made)
        chain.advance(ANSWER_SLOTS + 1)
        chain.send(
            build.timeout_demand(chain.program_id, chain.payer.pubkey(), checkpoint, what, DEMANDER.pubkey()),
        )


def changed(made: Instruction, at: int, value: int) -> Instruction:
    data = bytearray(made.data)
    data[at : at + 2] = value.to_bytes(2, "little")
    return Instruction(made.program_id, bytes(data), made.accounts)


def test_ed25519_instructions_that_prove_nothing_here() -> None:
    chain, told, checkpoint = posted()
    what = demand(chain, DemandKind.RECORD, SIGNED)
    shown = answer(chain, checkpoint, what, record_answer(told, SIGNED))
    right = verified(chain, told, SIGNED)
    budget = 2  # compute-budget instructions stand before
    # Parts that lie in another instruction, here in a copy of the right one behind this.
    for at in (4, 8, 14):
        with refuses("NoEd25519Instruction"):
            chain.send(right, changed(right, at, budget), shown)
    with refuses("NoEd25519Instruction"):
        chain.send(right, verified_nothing(), shown)
    with refuses("NoEd25519Instruction"):
        chain.send(shown, right)
    other = signing.sign(kit.keypair(ALICE), bytes(32))
    with refuses("WrongEd25519Instruction"):
        chain.send(build.ed25519(kit.public_key(ALICE), other, bytes(32)), shown)
    own_index = right
    for at in (4, 8, 14):
        own_index = changed(own_index, at, budget)
    fake = Keypair.from_seed(b"f" * 32).pubkey()
    chain.svm.set_account(fake, chain.svm.get_account(pda.config(chain.program_id)))
    metas = [AccountMeta(fake, False, False) if m.pubkey == build.INSTRUCTIONS_SYSVAR else m for m in shown.accounts]
    with refuses("NoEd25519Instruction"):
        chain.send(right, Instruction(shown.program_id, bytes(shown.data), metas))
    chain.send(own_index, shown)
    assert chain.checkpoint(1).open_demands == 0


def verified_nothing() -> Instruction:
    """No signature at all, which the ed25519 program accepts."""
    return Instruction(build.ED25519_PROGRAM, bytes([0, 0]), [])


def test_a_demand_that_nobody_answers_rejects() -> None:
    chain, _, checkpoint = posted()
    what = demand(chain, DemandKind.CHUNK, 0)
    other = demand(chain, DemandKind.CHUNK, 1)
    program, payer, demander = chain.program_id, chain.payer.pubkey(), DEMANDER.pubkey()
    timeout = build.timeout_demand(program, payer, checkpoint, what, demander)
    back = build.return_demand(program, payer, 1, other, demander)
    chain.svm.warp_to_slot(held(chain, what).answer_until_slot)
    with refuses("AnswerOpen"):
        chain.send(timeout)
    with refuses("CheckpointLive"):
        chain.send(back)
    chain.advance(1)
    before = chain.lamports(demander)
    held_lamports = chain.lamports(pda.demand(program, 1, *what))
    chain.send(timeout)
    rejected = chain.checkpoint(1)
    assert rejected.status is CheckpointStatus.REJECTED
    assert rejected.open_demands == 1
    assert chain.lamports(demander) == before + held_lamports + checkpoint.bond_lamports // 2
    with refuses("WrongDemander"):
        chain.send(build.return_demand(program, payer, 1, other, payer))
    chain.send(back)
    assert chain.checkpoint(1).open_demands == 0
    assert chain.lamports(demander) == before + 2 * held_lamports + checkpoint.bond_lamports // 2


def test_an_answer_comes_in_time() -> None:
    chain, told, checkpoint = posted()
    what, late = demand(chain, DemandKind.CHUNK, 0), demand(chain, DemandKind.CHUNK, 1)
    made = answer(chain, checkpoint, what, evidence.leaf_answer(told.chunks, 0), 1)
    too_late = answer(chain, checkpoint, late, evidence.leaf_answer(told.chunks, 1), 2)
    chain.svm.warp_to_slot(held(chain, what).answer_until_slot)
    chain.send(made)
    chain.advance(1)
    with refuses("AnswerTooLate"):
        chain.send(too_late)


def test_another_checkpoints_demand() -> None:
    chain, told, checkpoint = posted()
    demand(chain, DemandKind.CHUNK, 0)
    post_liar(chain)
    demand(chain, DemandKind.CHUNK, 0, 2)
    made = answer(chain, checkpoint, (1, 0), evidence.leaf_answer(told.chunks, 0))
    ours, theirs = (pda.demand(chain.program_id, epoch, 1, 0) for epoch in (1, 2))
    metas = [AccountMeta(theirs, False, True) if m.pubkey == ours else m for m in made.accounts]
    with refuses("WrongDemand"):
        chain.send(Instruction(made.program_id, bytes(made.data), metas))


def test_after_the_escape_demands_go_back() -> None:
    chain, told, checkpoint = posted()
    what = demand(chain, DemandKind.CHUNK, 0)
    made = answer(chain, checkpoint, what, evidence.leaf_answer(told.chunks, 0))
    set_fields(chain, pda.config(chain.program_id), "Config", escaped=1)
    with refuses("Escaped"):
        chain.send(made)
    chain.send(build.return_demand(chain.program_id, chain.payer.pubkey(), 1, what, DEMANDER.pubkey()))
    assert chain.checkpoint(1).open_demands == 0


def test_a_data_root_of_nothing_known_cannot_be_answered() -> None:
    """Whoever signs roots that hide something loses them to a demand."""
    chain = up()
    chain.svm.airdrop(DEMANDER.pubkey(), SOL)
    right = honest(chain)
    checkpoint = post(chain, right, data_root=merkle.root("data-root", [b"hidden"] * 3))
    what = demand(chain, DemandKind.CHUNK, 0)
    with refuses("BadMerkleProof"):
        chain.send(answer(chain, checkpoint, what, evidence.leaf_answer(right.chunks, 0)))
    chain.advance(ANSWER_SLOTS + 1)
    payer: Pubkey = chain.payer.pubkey()
    chain.send(build.timeout_demand(chain.program_id, payer, checkpoint, what, DEMANDER.pubkey()))
    assert chain.checkpoint(1).status is CheckpointStatus.REJECTED
