"""Valid calls of disputes and governance for the table of hostile accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import dispute_instructions as build
from settlement import evidence, instructions, pda
from settlement.accounts import LOCALNET_PROFILE
from settlement.ledger import TOTALS_KEY
from tests.program import dispute_kit
from tests.program.dispute_kit import Batch, fill, honest, liar_proof, post, post_liar, reject_liar
from tests.program.kit import SOL, Chain, validator
from tests.program.test_dispute_lifecycle import set_fields

Call = tuple[Chain, Instruction, list[Keypair]]


def _up() -> Chain:
    return dispute_kit.up(validator(0))


def _void() -> Call:
    chain = _up()
    liar = post_liar(chain)
    post_liar(chain)
    reject_liar(chain, liar)
    payer = chain.payer.pubkey()
    return chain, build.void_checkpoint(chain.program_id, payer, 2, payer), []


def _close() -> Call:
    chain = _up()
    chain.settle()
    set_fields(chain, pda.checkpoint(chain.program_id, 1), "Checkpoint", rewarded=1)
    chain.advance(LOCALNET_PROFILE.unbonding_slots)
    chain.settle()
    payer = chain.payer.pubkey()
    return chain, build.close_checkpoint(chain.program_id, payer, 1, payer), []


def _told(lie: Callable[[Batch], Batch]) -> tuple[Chain, Batch, Batch]:
    """A second epoch, so that there is a parent account."""
    chain = _up()
    chain.post(inbox_cursor=0)
    chain.advance(1)
    right = honest(chain)
    told = lie(right)
    post(chain, told)
    return chain, told, right


def _malformed(told: Batch) -> Batch:
    return told.with_record(4, bytes(160))


def _prove_malformed() -> Call:
    chain, told, _ = _told(_malformed)
    checkpoint, place = chain.checkpoint(2), evidence.prove(told.encoded, 4)
    payer = chain.payer.pubkey()
    return chain, build.prove_malformed_record(chain.program_id, payer, checkpoint, told.encoded[4], place), []


def _prove_inbox() -> Call:
    chain, told, _ = _told(lambda told: told.with_record(1, told.encoded[0]))
    checkpoint, place = chain.checkpoint(2), evidence.prove(told.encoded, 1)
    return chain, build.prove_inbox(chain.program_id, chain.payer.pubkey(), checkpoint, told.encoded[1], place, 1), []


def _prove_trace() -> Call:
    chain = _up()
    post_liar(chain)
    return chain, liar_proof(chain, post_liar(chain)), []


def _prove_totals() -> Call:
    chain, _, right = _told(lambda told: replace(told, payable_total=told.payable_total + 1))
    value, siblings = right.after.proof(TOTALS_KEY)
    checkpoint = chain.checkpoint(2)
    return chain, build.prove_totals(chain.program_id, chain.payer.pubkey(), checkpoint, value, siblings), []


def _prove_count() -> Call:
    chain, told, _ = _told(lambda told: replace(told, trace=(*told.trace, told.trace[0])))
    counts = evidence.count(told.encoded), evidence.count(told.trace)
    return chain, build.prove_count(chain.program_id, chain.payer.pubkey(), chain.checkpoint(2), *counts), []


def _prove_data() -> Call:
    chain, told, _ = _told(lambda told: replace(told, data=b"\xff" + told.data[1:]))
    buffer = fill(chain, evidence.data(told.chunks, 0, told.encoded, 0))
    return chain, build.prove_data(chain.program_id, chain.payer.pubkey(), chain.checkpoint(2), buffer), []


def _prove_transition() -> Call:
    chain, told, right = _told(lambda told: told.with_trace(1, b"\x01" * 32))
    told = told.with_trace(0, right.before.root)
    buffer = fill(chain, evidence.transition(told.trace, told.encoded, 0, right.before, told.context))
    return chain, build.prove_transition(chain.program_id, chain.payer.pubkey(), chain.checkpoint(2), buffer), []


def _posted() -> tuple[Chain, Batch]:
    chain, told, _ = _told(lambda told: told)
    return chain, told


def _open_demand() -> Call:
    chain, _ = _posted()
    return chain, build.open_demand(chain.program_id, chain.payer.pubkey(), 2, 1, 0), []


def _demanded(index: int) -> tuple[Chain, Batch, Pubkey]:
    """By somebody else than who answers."""
    chain, told = _posted()
    demander = Keypair.from_seed(b"d" * 32)
    chain.svm.airdrop(demander.pubkey(), SOL)
    chain.send(build.open_demand(chain.program_id, demander.pubkey(), 2, 1, index), payer=demander)
    return chain, told, demander.pubkey()


def _answer() -> Call:
    chain, told, demander = _demanded(0)
    buffer = fill(chain, evidence.leaf_answer(told.chunks, 0))
    payer, checkpoint = chain.payer.pubkey(), chain.checkpoint(2)
    return chain, build.answer_demand(chain.program_id, payer, checkpoint, (1, 0), demander, buffer), []


def _answer_absent() -> Call:
    chain, told, demander = _demanded(99)
    count = evidence.count(told.chunks)
    payer, checkpoint = chain.payer.pubkey(), chain.checkpoint(2)
    return chain, build.answer_absent(chain.program_id, payer, checkpoint, (1, 99), demander, count), []


def _timeout() -> Call:
    chain, _ = _posted()
    payer = chain.payer.pubkey()
    chain.send(build.open_demand(chain.program_id, payer, 2, 1, 0))
    chain.advance(LOCALNET_PROFILE.answer_slots + 1)
    return chain, build.timeout_demand(chain.program_id, payer, chain.checkpoint(2), (1, 0), payer), []


def _return() -> Call:
    chain = _up()
    liar = post_liar(chain)
    payer = chain.payer.pubkey()
    chain.send(build.open_demand(chain.program_id, payer, 1, 1, 0))
    reject_liar(chain, liar)
    return chain, build.return_demand(chain.program_id, payer, 1, (1, 0), payer), []


def _grow_buffer() -> Call:
    chain = _up()
    payer = chain.payer.pubkey()
    chain.send(instructions.create_proof_buffer(chain.program_id, payer, 1, 64))
    return chain, build.grow_proof_buffer(chain.program_id, payer, 1, 96), []


def _propose() -> Call:
    chain = Chain.new()
    chain.initialize()
    payer, governance = chain.payer.pubkey(), chain.authority
    return (
        chain,
        build.propose_parameters(chain.program_id, payer, governance.pubkey(), LOCALNET_PROFILE),
        [governance],
    )


def _proposed() -> Chain:
    chain, made, signers = _propose()
    chain.send(made, signers=signers)
    return chain


def _apply() -> Call:
    chain = _proposed()
    chain.advance(LOCALNET_PROFILE.governance_delay_slots + 1)
    payer = chain.payer.pubkey()
    return chain, build.apply_parameters(chain.program_id, payer, payer), []


def _cancel() -> Call:
    chain = _proposed()
    governance = chain.authority
    made = build.cancel_parameters(chain.program_id, governance.pubkey(), chain.payer.pubkey())
    return chain, made, [governance]


def _pause() -> Call:
    chain = Chain.new()
    chain.initialize()
    return chain, build.pause(chain.program_id, chain.authority.pubkey()), [chain.authority]


def _unpause() -> Call:
    chain, made, signers = _pause()
    chain.send(made, signers=signers)
    return chain, build.unpause(chain.program_id, chain.authority.pubkey()), signers


def _offer() -> Call:
    chain = Chain.new()
    chain.initialize()
    made = build.offer_governance(chain.program_id, chain.authority.pubkey(), chain.payer.pubkey())
    return chain, made, [chain.authority]


def _accept() -> Call:
    chain, made, signers = _offer()
    chain.send(made, signers=signers)
    return chain, build.accept_governance(chain.program_id, chain.payer.pubkey()), []


def _grant() -> Call:
    chain = Chain.new()
    chain.initialize()
    chain.svm.airdrop(pda.treasury(chain.program_id), SOL)
    payer, governance = chain.payer.pubkey(), chain.authority
    return chain, build.grant(chain.program_id, payer, governance.pubkey(), 0, 10_000, payer), [governance]


CALLS: dict[str, Callable[[], Call]] = {
    "void_checkpoint": _void,
    "close_checkpoint": _close,
    "prove_malformed_record": _prove_malformed,
    "prove_inbox": _prove_inbox,
    "prove_trace": _prove_trace,
    "prove_totals": _prove_totals,
    "prove_count": _prove_count,
    "prove_data": _prove_data,
    "prove_transition": _prove_transition,
    "open_demand": _open_demand,
    "answer_demand": _answer,
    "answer_absent": _answer_absent,
    "timeout_demand": _timeout,
    "return_demand": _return,
    "grow_proof_buffer": _grow_buffer,
    "propose_parameters": _propose,
    "apply_parameters": _apply,
    "cancel_parameters": _cancel,
    "pause": _pause,
    "unpause": _unpause,
    "offer_governance": _offer,
    "accept_governance": _accept,
    "grant": _grant,
}
