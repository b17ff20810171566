"""Proofs of fraud: each kind of wrong checkpoint falls by its proof, a right one by none, and what proves nothing is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import dispute_instructions as build
from settlement import evidence, instructions, pda, records
from settlement.accounts import Checkpoint, CheckpointStatus
from settlement.ledger import TOTALS_KEY, State, verify_proof, witness
from settlement.tags import H, u64le
from tests.program.dispute_kit import (
    ALICE,
    Batch,
    close,
    fill,
    honest,
    liar_proof,
    post,
    post_liar,
    reject_liar,
    state_at,
    up,
)
from tests.program.kit import Chain, refuses, validator
from tests.settlement import kit

Proof = Callable[[Chain, Checkpoint, Batch], Instruction]


def record_proof(index: int, entry: int | bool | None = False) -> Proof:
    """prove_malformed_record, or prove_inbox with this entry."""

    def proof(chain: Chain, checkpoint: Checkpoint, told: Batch) -> Instruction:
        place = evidence.prove(told.encoded, index)
        common = (chain.program_id, chain.payer.pubkey(), checkpoint, told.encoded[index], place)
        if isinstance(entry, bool):
            return build.prove_malformed_record(*common)
        return build.prove_inbox(*common, entry)

    return proof


def trace_proof(index: int) -> Proof:
    def proof(chain: Chain, checkpoint: Checkpoint, told: Batch) -> Instruction:
        place = evidence.prove(told.trace, index)
        return build.prove_trace(chain.program_id, chain.payer.pubkey(), checkpoint, told.trace[index], place)

    return proof


def totals_proof(chain: Chain, checkpoint: Checkpoint, told: Batch) -> Instruction:
    value, siblings = told.after.proof(TOTALS_KEY)
    return build.prove_totals(chain.program_id, chain.payer.pubkey(), checkpoint, value, siblings)


def count_proof(chain: Chain, checkpoint: Checkpoint, told: Batch) -> Instruction:
    counts = (evidence.count(told.encoded), evidence.count(told.trace), evidence.count(told.chunks))
    return build.prove_count(chain.program_id, chain.payer.pubkey(), checkpoint, *counts)


def data_proof(chunk: int, record: int) -> Proof:
    def proof(chain: Chain, checkpoint: Checkpoint, told: Batch) -> Instruction:
        buffer = fill(chain, evidence.data(told.chunks, chunk, told.encoded, record), 100 * chunk + record)
        return build.prove_data(chain.program_id, chain.payer.pubkey(), checkpoint, buffer)

    return proof


def step_proof(step: int) -> Proof:
    def proof(chain: Chain, checkpoint: Checkpoint, told: Batch) -> Instruction:
        made = evidence.transition(told.trace, told.encoded, step, state_at(told, step), told.context)
        buffer = fill(chain, made, 1_000 + step)
        return build.prove_transition(chain.program_id, chain.payer.pubkey(), checkpoint, buffer)

    return proof


def test_no_proof_touches_a_right_checkpoint() -> None:
    chain = up()
    told = honest(chain)
    checkpoint = post(chain, told)
    proofs = [record_proof(index) for index in (0, 4, 10)]
    proofs += [record_proof(index, index if index < 2 else None) for index in (0, 1, 2, 10)]
    proofs += [trace_proof(index) for index in range(3)]
    proofs += [totals_proof, count_proof]
    proofs += [data_proof(0, 0), data_proof(0, 6), data_proof(1, 6), data_proof(1, 10), data_proof(2, 0)]
    proofs += [step_proof(0), step_proof(1)]
    for proof in proofs:
        with refuses("NoFraud"):
            chain.send(proof(chain, checkpoint, told))
    assert chain.checkpoint(1) == checkpoint


def malformed(told: Batch) -> Batch:
    return told.with_record(4, told.encoded[4][:-1] + bytes([told.encoded[4][-1] ^ 1]))


def other_lamports(told: Batch) -> Batch:
    record = records.decode(told.encoded[1])
    return told.with_record(1, records.encode(replace(record, payload=replace(record.payload, lamports=9_000_000))))


def entry_left_out(told: Batch) -> Batch:
    return told.with_record(1, told.encoded[2])


def entry_taken_late(told: Batch) -> Batch:
    return told.with_record(5, told.encoded[1])


def other_start(told: Batch) -> Batch:
    return told.with_trace(0, b"\x01" * 32)


def other_end(told: Batch) -> Batch:
    return replace(told, state_root=b"\x02" * 32)


def more_payable(told: Batch) -> Batch:
    return replace(told, payable_total=told.payable_total + 1)


def longer_trace(told: Batch) -> Batch:
    return replace(told, trace=(*told.trace, told.trace[-1]))


def longer_data(told: Batch) -> Batch:
    return replace(told, data=told.data + bytes(1_000))


def other_data(told: Batch) -> Batch:
    return replace(told, data=told.data[:1_030] + b"\xff" + told.data[1_031:])


def shorter_chunk(told: Batch) -> Batch:
    return replace(told, data=told.data[:-1])


def thief_in_the_middle(told: Batch) -> Batch:
    return told.with_trace(1, b"\x03" * 32)


def thief_at_the_end(told: Batch) -> Batch:
    return replace(told.with_trace(2, b"\x04" * 32), state_root=b"\x04" * 32)


def overdrawn(told: Batch) -> Batch:
    record = records.decode(told.encoded[9])
    return told.with_record(9, records.encode(replace(record, payload=replace(record.payload, lamports=10**12))))


FRAUDS: list[tuple[Callable[[Batch], Batch], Proof]] = [
    (malformed, record_proof(4)),
    (other_lamports, record_proof(1, 1)),
    (entry_left_out, record_proof(1, 1)),
    (entry_taken_late, record_proof(5, None)),
    (other_start, trace_proof(0)),
    (other_end, trace_proof(2)),
    (more_payable, totals_proof),
    (longer_trace, count_proof),
    (longer_data, count_proof),
    (other_data, data_proof(1, 6)),
    (shorter_chunk, data_proof(2, 0)),
    (thief_in_the_middle, step_proof(0)),
    (thief_at_the_end, step_proof(1)),
    (overdrawn, step_proof(1)),
]


@pytest.mark.parametrize(("lie", "proof"), FRAUDS, ids=[lie.__name__ for lie, _ in FRAUDS])
def test_a_wrong_checkpoint_falls(lie: Callable[[Batch], Batch], proof: Proof) -> None:
    chain = up()
    right = honest(chain)
    told = lie(right)
    checkpoint = post(chain, told)
    made = proof(chain, checkpoint, replace(told, before=right.before, after=right.after))
    genesis = chain.config.finalized.hash
    treasury, bond = pda.treasury(chain.program_id), checkpoint.bond_lamports
    before, held = chain.lamports(treasury), chain.lamports(pda.checkpoint(chain.program_id, 1))
    chain.send(made)
    rejected, config = chain.checkpoint(1), chain.config
    assert rejected.status is CheckpointStatus.REJECTED
    assert rejected.bond_lamports == 0
    assert chain.lamports(treasury) == before + bond - bond // 2
    assert chain.lamports(pda.checkpoint(chain.program_id, 1)) == held - bond
    assert config.pending_slashes == 4
    assert (config.posted.epoch, config.posted.hash, config.posted.inbox_cursor) == (0, genesis, 0)
    with refuses("NotPosted"):
        chain.send(made)
    # The chain goes on from the last good one, under the next number.
    chain.advance(1)
    again = post(chain, honest(chain))
    assert (again.epoch, again.parent_epoch, again.parent_hash) == (2, 0, genesis)
    chain.advance(17)
    chain.finalize(2)
    assert chain.config.finalized.epoch == 2


def test_half_of_the_bond_is_the_challengers() -> None:
    chain = up()
    checkpoint = post_liar(chain)
    payer = chain.payer.pubkey()
    before = chain.lamports(payer)
    done = chain.send(liar_proof(chain, checkpoint))
    fee = 5_000 + 2  # one signature, and the price of 1,400,000 compute units at one micro-lamport
    assert chain.lamports(payer) == before - fee + checkpoint.bond_lamports // 2, done.logs()


def test_a_proof_on_a_later_epoch_starts_from_its_parent() -> None:
    chain = up()
    first = honest(chain)
    post(chain, first)
    chain.advance(1)
    content = [kit.withdrawal(ALICE, 8, 500), kit.withdrawal(ALICE, 9, 500)]
    right = close(chain, first.after, content)
    told = replace(right.with_trace(1, b"\x05" * 32), state_root=b"\x05" * 32)
    checkpoint = post(chain, told)
    with refuses("NoFraud"):
        chain.send(trace_proof(0)(chain, checkpoint, told))
    chain.send(step_proof(0)(chain, checkpoint, told))
    config = chain.config
    assert chain.checkpoint(2).status is CheckpointStatus.REJECTED
    assert (config.posted.epoch, config.posted.inbox_cursor, config.posted.payable_total) == (1, 2, first.payable_total)


# -- what proves nothing -------------------------------------------------------------------------------------------------------------


def test_leaves_that_are_not_there() -> None:
    chain = up()
    told = malformed(honest(chain))
    checkpoint = post(chain, told)
    payer, place = chain.payer.pubkey(), evidence.prove(told.encoded, 4)
    wrong = [
        replace(place, index=5),
        replace(place, count=12),
        replace(place, siblings=place.siblings[:-1]),
        replace(place, siblings=[*place.siblings, bytes(32)]),
        replace(place, index=11),
    ]
    for one in wrong:
        with refuses("BadMerkleProof"):
            chain.send(build.prove_malformed_record(chain.program_id, payer, checkpoint, told.encoded[4], one))
    with refuses("BadMerkleProof"):
        chain.send(build.prove_malformed_record(chain.program_id, payer, checkpoint, bytes(160), place))
    value, siblings = told.after.with_totals(replace(told.after.totals, payable=1)).proof(TOTALS_KEY)
    with refuses("BadMerkleProof"):
        chain.send(build.prove_totals(chain.program_id, payer, checkpoint, value, siblings))


def test_counts_that_no_root_binds() -> None:
    chain = up()
    told = honest(chain)
    checkpoint = post(chain, told)
    right = evidence.count(told.encoded)
    for records_count, trace in ((replace(right, count=12), None), (right, replace(right, count=3))):
        with refuses("BadCountProof"):
            chain.send(build.prove_count(chain.program_id, chain.payer.pubkey(), checkpoint, records_count, trace))


def test_more_records_than_a_batch_may_have() -> None:
    chain = up()
    tree = b"\x07" * 32
    chain.post(results_root=H("results-root", u64le(4_097), tree))
    made = build.prove_count(
        chain.program_id, chain.payer.pubkey(), chain.checkpoint(1), build.Count(4_097, tree), None, None
    )
    chain.send(made)
    assert chain.checkpoint(1).status is CheckpointStatus.REJECTED


def test_the_parent_must_be_the_parent() -> None:
    chain = up()
    post_liar(chain)
    second = post_liar(chain)
    third = post_liar(chain)
    for parent in (0, 1):
        with refuses("WrongParent"):
            reject_liar(chain, replace(third, parent_epoch=parent))
    with refuses("WrongParent"):
        reject_liar(chain, replace(second, parent_epoch=0))
    reject_liar(chain, third)


def test_totals_behind_more_siblings_than_a_transaction_holds() -> None:
    """Whoever makes accounts whose keys start as that of the totals puts them so deep; the siblings then come from a buffer."""
    chain = up()
    value = replace(State.empty().totals, payable=7).encode()
    siblings = [bytes([index]) * 32 for index in range(1, 65)]
    root = H("state-leaf", TOTALS_KEY, H("totals", value))
    for depth in reversed(range(len(siblings))):
        right = TOTALS_KEY[depth // 8] >> (7 - depth % 8) & 1
        root = H("state-node", siblings[depth], root) if right else H("state-node", root, siblings[depth])
    assert verify_proof(root, TOTALS_KEY, "totals", value, siblings)
    chain.post(state_root=root)
    program, payer, checkpoint = chain.program_id, chain.payer.pubkey(), chain.checkpoint(1)
    with pytest.raises(AssertionError, match="bytes"):
        chain.send(build.prove_totals(program, payer, checkpoint, value, siblings))
    buffer = fill(chain, evidence.siblings(siblings), 1)
    with refuses("TwoProofs"):
        chain.send(build.prove_totals(program, payer, checkpoint, value, siblings[:1], buffer))
    with refuses("BadMerkleProof"):
        chain.send(
            build.prove_totals(program, payer, checkpoint, value, [], fill(chain, evidence.siblings(siblings[1:]), 2))
        )
    chain.send(build.prove_totals(program, payer, checkpoint, value, [], buffer))
    assert chain.checkpoint(1).status is CheckpointStatus.REJECTED


def test_descendants_of_a_rejected_one_are_void() -> None:
    chain = up()
    first, second, third = post_liar(chain), post_liar(chain), post_liar(chain)
    reject_liar(chain, second)
    with refuses("CheckpointVoid"):
        reject_liar(chain, third)
    config = chain.config
    assert (config.posted.epoch, config.posted.hash, config.highest_epoch) == (1, first.hash, 3)
    chain.advance(17)
    chain.finalize(1)
    with refuses("CheckpointVoid"):
        chain.finalize(3)
    chain.advance(1)
    assert post_liar(chain).parent_epoch == 1


def test_another_checkpoints_entry() -> None:
    chain = up()
    told = other_lamports(honest(chain))
    checkpoint = post(chain, told)
    for entry in (None, 0):
        with refuses("WrongEntryForRecord"):
            chain.send(record_proof(1, entry)(chain, checkpoint, told))


def test_evidence_that_is_none() -> None:
    chain = up()
    right = honest(chain)
    told = thief_in_the_middle(right)
    checkpoint = post(chain, told)
    made = evidence.transition(told.trace, told.encoded, 0, right.before, told.context)
    program, payer = chain.program_id, chain.payer.pubkey()
    whole = build.prove_transition(program, payer, checkpoint, fill(chain, made, 1))
    without = replace_account(whole, pda.proof_buffer(program, payer, 1), program)
    with refuses("BufferMissing"):
        chain.send(without)
    for length in (0, 8, 40, 600, len(made) - 300):
        cut = fill(chain, made[: length // 32 * 32 or 32], 10 + length)
        with refuses("BadEvidence", "BadMerkleProof"):
            chain.send(build.prove_transition(program, payer, checkpoint, cut))
    chain.create_set(2)
    other_set = replace_account(whole, pda.validator_set(program, 1), pda.validator_set(program, 2))
    with refuses("WrongCertifyingSet"):
        chain.send(other_set)
    with refuses("WrongCertifyingSet"):
        chain.send(replace_account(whole, pda.validator_set(program, 1), program))
    chain.send(whole)


def replace_account(made: Instruction, old: Pubkey, new: Pubkey) -> Instruction:
    metas = [type(m)(new, False, False) if m.pubkey == old else m for m in made.accounts]
    return Instruction(made.program_id, bytes(made.data), metas)


def test_witnesses_that_prove_nothing() -> None:
    chain = up()
    right = honest(chain)
    told = thief_in_the_middle(right)
    checkpoint = post(chain, told)
    group = list(told.encoded[:8])
    full = witness.build(right.before, group, told.context)
    incomplete = witness.build(right.before, group[:1], told.context)
    elsewhere = State.empty().with_totals(replace(State.empty().totals, balance=1))
    other_root = witness.build(elsewhere, group, told.context)
    cases = [(incomplete, "WitnessIncomplete"), (other_root, "WitnessRoot"), (full + b"\x00", "BadWitness")]
    for index, (opened, error) in enumerate(cases):
        buffer = fill(chain, evidence.step_evidence(told.trace, told.encoded, 0, opened), index)
        with refuses(error):
            chain.send(build.prove_transition(chain.program_id, chain.payer.pubkey(), checkpoint, buffer))


def test_buffers_grow_within_bounds() -> None:
    chain = up()
    program, owner = chain.program_id, chain.payer.pubkey()
    chain.send(instructions.create_proof_buffer(program, owner, 1, 8_192))
    for length in (8_192, 8_160, 8_192 + 10_272, 8_193):
        with refuses("BadBufferGrowth"):
            chain.send(build.grow_proof_buffer(program, owner, 1, length))
    length = 8_192
    while length < 65_536:
        length = min(65_536, length + 10_240)
        chain.send(build.grow_proof_buffer(program, owner, 1, length))
    with refuses("BadBufferGrowth"):
        chain.send(build.grow_proof_buffer(program, owner, 1, 65_568))
    chain.send(instructions.write_proof_buffer(program, owner, 1, 65_535, b"x"))
    with refuses("BufferRange"):
        chain.send(instructions.write_proof_buffer(program, owner, 1, 65_535, b"xy"))
    other = validator(3).authority
    chain.svm.airdrop(other.pubkey(), 10**9)
    made = build.grow_proof_buffer(program, other.pubkey(), 1, 64)
    stolen = replace_account(made, pda.proof_buffer(program, other.pubkey(), 1), pda.proof_buffer(program, owner, 1))
    metas = [type(m)(m.pubkey, m.is_signer, True) for m in stolen.accounts]
    with refuses("NotBufferOwner"):
        chain.send(Instruction(program, bytes(stolen.data), metas), signers=[other])
