"""Answers a demand on L1 with a batch's bytes: the buffer is written, the answer sent, and the buffer closed again with it.

Anyone may answer, and gets the demand's bond; whoever posted or signed the checkpoint has every reason to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from solders.instruction import Instruction
from solders.keypair import Keypair

from settlement import dispute_instructions as build
from settlement import evidence, instructions, merkle, pda, signing
from settlement.accounts import Checkpoint
from settlement.client import L1Client
from settlement.dispute_accounts import Demand, DemandKind
from settlement.ledger import batch
from settlement.signing import EMPTY, Authorisation
from settlement.transactions import Confirmed

WRITE_BYTES = 800
ANSWER_COMPUTE_UNITS = 400_000


class CannotAnswer(Exception):
    """The bytes do not hold what the demand asks for, or are not those of the checkpoint."""


async def answer(
    client: L1Client,
    payer: Keypair,
    checkpoint: Checkpoint,
    demand: Demand,
    data: bytes,
    trace: Sequence[bytes] | None = None,
) -> Confirmed:
    """`data` are the bytes under the checkpoint's data root, `trace` its state roots, which only a demand of a trace entry needs.

    CannotAnswer before anything is sent when they are not this checkpoint's; ProgramError when L1 refuses.
    """
    parts = [part for part, _ in batch.split(data)]
    if merkle.root("data-root", batch.chunks(data)) != checkpoint.data_root:
        raise CannotAnswer("these are not the bytes under the checkpoint's data root")
    kind, program, owner = DemandKind(demand.kind), client.program_id, payer.pubkey()
    leaves: Sequence[bytes]
    if kind is DemandKind.TRACE_ENTRY:
        if trace is None or merkle.root("trace-root", trace) != checkpoint.trace_root:
            raise CannotAnswer("a trace entry is answered with the state roots under the checkpoint's trace root")
        leaves = trace
    else:
        leaves = batch.chunks(data) if kind is DemandKind.CHUNK else parts
    place = (demand.kind, demand.index)
    if demand.index >= len(leaves):
        count = evidence.count(leaves)
        absent = build.answer_absent(program, owner, checkpoint, place, demand.demander, count)
        return await client.send_and_confirm([absent], payer)
    shown = (
        evidence.record_answer(data, len(parts), demand.index)
        if kind is DemandKind.RECORD
        else evidence.leaf_answer(leaves, demand.index)
    )
    buffer_id = await _fill(client, payer, shown)
    address = pda.proof_buffer(program, owner, buffer_id)
    sent = build.answer_demand(program, owner, checkpoint, place, demand.demander, address)
    before = await _verified(client, data, demand.index) if kind is DemandKind.RECORD else []
    close = instructions.close_proof_buffer(program, owner, buffer_id)
    return await client.send_and_confirm([*before, sent, close], payer, compute_unit_limit=ANSWER_COMPUTE_UNITS)


async def _fill(client: L1Client, payer: Keypair, data: bytes) -> int:
    """A buffer with these bytes. Its id comes from them, so that a second run after a crash goes on with the first one's."""
    owner, program = payer.pubkey(), client.program_id
    data += bytes(-len(data) % 32)
    buffer_id = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
    existing = await client.fetch_proof_buffer(owner, buffer_id)
    if existing is None:
        await client.send_and_confirm([instructions.create_proof_buffer(program, owner, buffer_id, len(data))], payer)
    for offset in range(0, len(data), WRITE_BYTES):
        part = data[offset : offset + WRITE_BYTES]
        if existing is None or existing.data[offset : offset + len(part)] != part:
            write = instructions.write_proof_buffer(program, owner, buffer_id, offset, part)
            await client.send_and_confirm([write], payer)
    return buffer_id


async def _verified(client: L1Client, data: bytes, index: int) -> list[Instruction]:
    """The ed25519 program's instruction over the record's authorisation; none for a record that nobody signs."""
    record, encoded = batch.split(data)[index]
    if encoded == EMPTY.encode():
        return []
    signed = Authorisation.decode(encoded)
    digest = signing.authorisation_digest(await client.domain(), signed.expiry_slot, record)
    return [build.ed25519(signed.public_key, signed.signature, digest)]
