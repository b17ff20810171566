"""A story for every instruction: a chain at a point where the instruction is accepted, the instruction, and who signs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from solders.instruction import Instruction
from solders.keypair import Keypair

from settlement import inbox_instructions, instructions, pda, slash_instructions
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus
from tests.program import inbox_kit, slash_kit, stake_calls
from tests.program.dispute_calls import CALLS as DISPUTE_CALLS
from tests.program.kit import GENESIS, SOL, Chain, validator
from tests.program.test_claims import account, fill_buffer, owing, path

Call = tuple[Chain, Instruction, list[Keypair]]


def _initialize() -> Call:
    chain = Chain.new()
    payer, authority = chain.payer.pubkey(), chain.authority
    return (
        chain,
        instructions.initialize(chain.program_id, payer, authority.pubkey(), GENESIS, LOCALNET_PROFILE),
        [authority],
    )


def _grow_registry() -> Call:
    chain = Chain.new()
    chain.initialize()
    return chain, instructions.grow_registry(chain.program_id, chain.payer.pubkey()), []


def _up() -> Chain:
    return Chain.new().bring_up([validator(0)])


def _register() -> Call:
    chain = _up()
    return chain, chain.registration(validator(1)), [validator(1).authority]


def _create_set() -> Call:
    chain = _up()
    return chain, instructions.create_validator_set(chain.program_id, chain.payer.pubkey(), 2), []


def _grow_set() -> Call:
    chain = _up()
    chain.create_set(2)
    return chain, instructions.grow_validator_set(chain.program_id, chain.payer.pubkey(), 2), []


def _advance_set() -> Call:
    chain = _up()
    chain.create_set(2)
    authority = chain.authority
    return chain, instructions.advance_validator_set(chain.program_id, authority.pubkey(), 2), [authority]


def _deposit() -> Call:
    chain = _up()
    payer = chain.payer.pubkey()
    return chain, instructions.deposit(chain.program_id, payer, 0, 10_000, payer), []


def _post() -> Call:
    chain = _up()
    for _ in range(2):
        chain.deposit(10_000, chain.payer.pubkey())
    return chain, chain.posting(chain.certificate(chain.message(inbox_cursor=1))), []


def _finalize() -> Call:
    chain = _up()
    chain.post()
    chain.advance(17)
    return chain, instructions.finalize_checkpoint(chain.program_id, chain.payer.pubkey(), 1, chain.payer.pubkey()), []


def _create_buffer() -> Call:
    chain = _up()
    return chain, instructions.create_proof_buffer(chain.program_id, chain.payer.pubkey(), 1, 64), []


def _write_buffer() -> Call:
    chain = _up()
    fill_buffer(chain, path(2), 1)
    return chain, instructions.write_proof_buffer(chain.program_id, chain.payer.pubkey(), 1, 0, b"x"), []


def _close_buffer() -> Call:
    chain = _up()
    fill_buffer(chain, path(2), 1)
    return chain, instructions.close_proof_buffer(chain.program_id, chain.payer.pubkey(), 1), []


def _claim() -> Call:
    chain = _up()
    owing(chain, account(SOL), path(2))
    buffer = fill_buffer(chain, path(2), 1)
    return chain, instructions.claim(chain.program_id, chain.payer.pubkey(), account(SOL).encode(), [], buffer), []


def _record_receipt() -> Call:
    chain = _up()
    return chain, slash_kit.receipt_of(chain, chain.payer, chain.message(), [0]), []


def _close_receipt() -> Call:
    chain = _up()
    message = chain.message()
    slash_kit.record(chain, chain.payer, message, [0])
    digest = message.hash(chain.domain)
    return chain, slash_instructions.close_receipt(chain.program_id, chain.payer.pubkey(), digest), []


def _slash_equivocation() -> Call:
    chain = _up()
    first, second = slash_kit.two_messages(chain)
    evidence = slash_kit.record(chain, chain.payer, first, [0]), slash_kit.record(chain, chain.payer, second, [0])
    return chain, slash_kit.slashing(chain, chain.payer, 0, evidence), []


def _raise_equivocation() -> Call:
    """The offence is as if it had been punished when the tally was lower."""
    chain, built, _ = _slash_equivocation()
    chain.send(built)
    address = slash_kit.validator_address(chain, 0)
    offence = pda.offence(chain.program_id, address, 1)
    slash_kit.overwrite_u64(chain, offence, "Offence", "applied_basis_points", 500)
    return chain, slash_instructions.raise_equivocation(chain.program_id, chain.payer.pubkey(), address, 1), []


def _slash_rejected() -> Call:
    chain = _up()
    chain.post()
    slash_kit.with_status_by_overwrite(chain, 1, CheckpointStatus.REJECTED, pending_slashes=1)
    address = slash_kit.validator_address(chain, 0)
    return chain, slash_instructions.slash_rejected(chain.program_id, chain.payer.pubkey(), address, 1, 1, 0), []


def _add_signatures() -> Call:
    chain = Chain.new().bring_up([validator(0), validator(1, 10_000_000)])
    message = chain.post([1])
    digest, signature = message.hash(chain.domain), slash_kit.signature(chain, message, [0])
    payer = chain.payer.pubkey()
    return chain, slash_instructions.add_signatures(chain.program_id, payer, 1, 1, digest, 1, signature), []


def _reward() -> Call:
    chain = _up()
    chain.svm.airdrop(pda.treasury(chain.program_id), SOL)
    chain.settle()
    chain.settle()
    poster, anybody = chain.payer.pubkey(), chain.authority
    chain.send(slash_instructions.reward_checkpoint(chain.program_id, poster, 1, 0, 1, poster))
    built = slash_instructions.reward_checkpoint(chain.program_id, anybody.pubkey(), 2, 1, 1, poster)
    return chain, built, [anybody]


def _inbox_task() -> Call:
    chain = _up()
    return chain, inbox_kit.forcing_task(chain, chain.payer.pubkey()), []


def _inbox_withdrawal() -> Call:
    chain = _up()
    return chain, inbox_kit.forcing_withdrawal(chain, chain.payer.pubkey()), []


def _escape() -> Call:
    chain = _up()
    chain.advance(chain.config.parameters.hatch_slots + 1)
    return chain, inbox_instructions.escape(chain.program_id, chain.payer.pubkey()), []


def _escape_refund() -> Call:
    chain = _up()
    chain.deposit(10_000, inbox_kit.person(chain, 1).pubkey())
    inbox_kit.escape(chain)
    return chain, inbox_kit.refunding(chain, 0), []


def _escape_claim() -> Call:
    chain = _up()
    owner = replace(account(SOL), balance=0, locked_fees=0, locked_stake=0)
    owing(chain, owner, path(2))
    buffer = fill_buffer(chain, path(2), 1)
    inbox_kit.escape(chain)
    program, payer = chain.program_id, chain.payer.pubkey()
    return chain, inbox_instructions.escape_claim(program, payer, owner.encode(), [], buffer), []


STORIES: dict[str, Callable[[], Call]] = {
    "initialize": _initialize,
    "grow_registry": _grow_registry,
    "register_validator": _register,
    "create_validator_set": _create_set,
    "grow_validator_set": _grow_set,
    "advance_validator_set": _advance_set,
    "deposit": _deposit,
    "post_checkpoint": _post,
    "finalize_checkpoint": _finalize,
    "create_proof_buffer": _create_buffer,
    "write_proof_buffer": _write_buffer,
    "close_proof_buffer": _close_buffer,
    "claim": _claim,
    "record_receipt": _record_receipt,
    "close_receipt": _close_receipt,
    "slash_equivocation": _slash_equivocation,
    "raise_equivocation": _raise_equivocation,
    "slash_rejected": _slash_rejected,
    "add_signatures": _add_signatures,
    "reward_checkpoint": _reward,
    **stake_calls.CALLS,
    **DISPUTE_CALLS,
    "inbox_task": _inbox_task,
    "inbox_withdrawal": _inbox_withdrawal,
    "escape": _escape,
    "escape_refund": _escape_refund,
    "escape_claim": _escape_claim,
}
