"""Batches that are right, and batches that a colluding quorum signs although they are wrong: what the proofs of fraud are tested with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import accounts, instructions, merkle, messages, pda, records
from settlement import dispute_instructions as build
from settlement.ledger import Context, State, apply, batch
from settlement.records import Record
from tests.program.kit import Chain, Validator, validator
from tests.settlement import kit

ALICE, BOB = "alice", "bob"
DEPOSIT_LAMPORTS = 5_000_000
FIRST_ENTRY = bytes(32)
WRONG_TRACE = merkle.root("trace-root", [FIRST_ENTRY])


@dataclass(frozen=True)
class Batch:
    """A batch as its signers tell it: each part can be replaced by a wrong one, the roots follow."""

    context: Context
    before: State
    after: State
    encoded: tuple[bytes, ...]
    data: bytes
    trace: tuple[bytes, ...]
    state_root: bytes
    inbox_cursor: int
    payable_total: int

    @property
    def chunks(self) -> list[bytes]:
        return batch.chunks(self.data)

    def message_parts(self) -> dict[str, object]:
        return {
            "results_root": merkle.root("results-root", self.encoded),
            "trace_root": merkle.root("trace-root", self.trace),
            "data_root": merkle.root("data-root", self.chunks),
            "state_root": self.state_root,
            "inbox_cursor": self.inbox_cursor,
            "payable_total": self.payable_total,
        }

    def with_record(self, index: int, encoded: bytes) -> Batch:
        """Another record in this place, in records and data alike."""
        changed = (*self.encoded[:index], encoded, *self.encoded[index + 1 :])
        at = index * records.RECORD_BYTES
        data = self.data[:at] + encoded + self.data[at + records.RECORD_BYTES :]
        return replace(self, encoded=changed, data=data)

    def with_trace(self, index: int, entry: bytes) -> Batch:
        return replace(self, trace=(*self.trace[:index], entry, *self.trace[index + 1 :]))


def up(*validators: Validator) -> Chain:
    """Four validators, and the deposits that `honest` takes."""
    chain = Chain.new().bring_up(validators or [validator(seed) for seed in range(4)])
    for name in (ALICE, BOB):
        chain.deposit(DEPOSIT_LAMPORTS, Pubkey(kit.public_key(name)))
    chain.advance(1)
    return chain


def context_of(chain: Chain) -> Context:
    config = chain.config
    treasury = bytes(pda.treasury(chain.program_id))
    return Context(chain.domain, config.highest_epoch + 1, config.posted.cut_slot, chain.sealed_set, treasury)


def deposits(chain: Chain, names: Sequence[str] = (ALICE, BOB)) -> list[Record]:
    """The records that take the entries at the parent's cursor."""
    first = chain.config.posted.inbox_cursor
    found = []
    for index, name in enumerate(names, first):
        address = pda.inbox_entry(chain.program_id, index)
        entry = accounts.decode_inbox_entry(address, chain.data(address))
        found.append(kit.deposit(name, entry.lamports, index, entry.slot))
    return found


def everyday(chain: Chain) -> list[Record]:
    """Eleven records, so that the second step of the trace is left unfilled: deposits, a worker, a task, withdrawals."""
    task = messages.task_id(chain.domain, kit.public_key(ALICE), 0, kit.SPEC_HASH)
    submitted = replace(kit.submission(ALICE, 0, 1_000, chain.slot + 10_000), task=task)
    withdrawals = [kit.withdrawal(ALICE, nonce, 1_000 * nonce) for nonce in range(1, 8)]
    return [*deposits(chain), kit.registration(BOB), submitted, *withdrawals]


def close(chain: Chain, before: State, content: Sequence[Record]) -> Batch:
    """An honest batch on the posted head."""
    context = context_of(chain)
    owners = {kit.node(name): name for name in (ALICE, BOB)}
    expiry = chain.slot + 10_000
    signed = [kit.authorise(one, owners.get(one.node, ""), expiry, chain.domain) for one in content]
    roots = batch.close(before, list(content), signed, context)
    totals = roots.state.totals
    encoded = tuple(records.encode(one) for one in content)
    return Batch(
        context,
        before,
        roots.state,
        encoded,
        roots.data,
        roots.trace,
        roots.state.root,
        totals.inbox_cursor,
        totals.payable,
    )


def honest(chain: Chain) -> Batch:
    return close(chain, State.empty(), everyday(chain))


def post(chain: Chain, told: Batch, **changes: object) -> accounts.Checkpoint:
    """Posted under a real certificate, whatever it tells."""
    message = chain.post(**{**told.message_parts(), **changes})
    return chain.checkpoint(message.epoch)


def post_liar(chain: Chain) -> accounts.Checkpoint:
    """A checkpoint that `liar_proof` rejects: its trace starts with zeros."""
    chain.advance(1)
    message = chain.post(trace_root=WRONG_TRACE, inbox_cursor=chain.config.posted.inbox_cursor)
    return chain.checkpoint(message.epoch)


def liar_proof(chain: Chain, checkpoint: accounts.Checkpoint) -> Instruction:
    place = build.Proven(0, 1, [])
    return build.prove_trace(chain.program_id, chain.payer.pubkey(), checkpoint, FIRST_ENTRY, place)


def reject_liar(chain: Chain, checkpoint: accounts.Checkpoint) -> None:
    chain.send(liar_proof(chain, checkpoint))


def fill(chain: Chain, data: bytes, buffer_id: int = 9) -> Pubkey:
    """A proof buffer of the payer's with these bytes, rounded up."""
    owner = chain.payer.pubkey()
    length = -(-len(data) // 32) * 32
    first = min(length, 8_192)
    chain.send(instructions.create_proof_buffer(chain.program_id, owner, buffer_id, first))
    while first < length:
        first = min(length, first + 10_240)
        chain.send(build.grow_proof_buffer(chain.program_id, owner, buffer_id, first))
    for offset in range(0, len(data), 900):
        part = data[offset : offset + 900]
        chain.send(instructions.write_proof_buffer(chain.program_id, owner, buffer_id, offset, part))
    return pda.proof_buffer(chain.program_id, owner, buffer_id)


def state_at(told: Batch, step: int) -> State:
    """The state before a step of an honest batch."""
    state = told.before
    for encoded in told.encoded[: 8 * step]:
        state = apply(state, records.decode(encoded), told.context)
    return state
