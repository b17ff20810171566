"""Answers demands on L1 with a batch's bytes: what was demanded is shown from a buffer, which is closed again with the answer.

Anyone may answer, and gets the demand's bond; whoever posted or signed the checkpoint has every reason to.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio
from solders.instruction import Instruction
from solders.keypair import Keypair

from settlement import buffers, evidence, instructions, merkle, pda, signing
from settlement import dispute_instructions as build
from settlement.accounts import Checkpoint
from settlement.buffers import Payer
from settlement.client import L1Client
from settlement.dispute_accounts import Demand, DemandKind
from settlement.dispute_instructions import Count
from settlement.errors import TransactionFailed
from settlement.ledger import batch
from settlement.signing import EMPTY, Authorisation, Domain
from settlement.transactions import Confirmed

BUFFER_TAG = 0xA5
"""The highest byte of the ids of buffers that hold answers: what a crash left of them is found by it."""
INLINE_BYTES = 64 * 1024
"""A batch up to this is hashed in less time than a thread takes to be asked."""
_EPOCH_BITS, _KIND_BITS, _INDEX_BITS = 40, 4, 12


class CannotAnswer(Exception):
    """The bytes do not hold what the demand asks for, or are not those of the checkpoint."""


def buffer_id(demand: Demand) -> int:
    """The id of the buffer that this demand is answered from, whoever answers: one attempt goes on where another one ended. What is not
    there needs none, so that a batch's indices fit (ValueError for those that do not)."""
    parts = ((demand.epoch, _EPOCH_BITS), (demand.kind, _KIND_BITS), (demand.index, _INDEX_BITS))
    made = BUFFER_TAG
    for value, bits in parts:
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} has more than {bits} bits: there is no buffer for {demand}")
        made = made << bits | value
    return made


def demand_of(identifier: int) -> tuple[int, int, int] | None:
    """Epoch, kind and index of the demand that a buffer of this id is for; None when it is for none."""
    index, rest = identifier & (1 << _INDEX_BITS) - 1, identifier >> _INDEX_BITS
    kind, rest = rest & (1 << _KIND_BITS) - 1, rest >> _KIND_BITS
    epoch, tag = rest & (1 << _EPOCH_BITS) - 1, rest >> _EPOCH_BITS
    return (epoch, kind, index) if tag == BUFFER_TAG and kind in set(DemandKind) else None


def shown(checkpoint: Checkpoint, demand: Demand, data: bytes, trace: Sequence[bytes] | None) -> bytes | Count:
    """What a buffer must hold to answer, or the count that is below the demanded index. Pure.

    CannotAnswer when `data` are not the bytes under the checkpoint's data root, or `trace` not its state roots.
    """
    chunks = batch.chunks(data)
    if merkle.root("data-root", chunks) != checkpoint.data_root:
        raise CannotAnswer("these are not the bytes under the checkpoint's data root")
    parts = [part for part, _ in batch.split(data)]
    leaves: Sequence[bytes]
    if demand.kind == DemandKind.TRACE_ENTRY:
        if trace is None or merkle.root("trace-root", trace) != checkpoint.trace_root:
            raise CannotAnswer("a trace entry is answered with the state roots under the checkpoint's trace root")
        leaves = trace
    else:
        leaves = chunks if demand.kind == DemandKind.CHUNK else parts
    if demand.index >= len(leaves):
        return evidence.count(leaves)
    if demand.kind == DemandKind.RECORD:
        return evidence.record_answer(data, len(parts), demand.index)
    return evidence.leaf_answer(leaves, demand.index)


async def answer(
    client: L1Client,
    keypair: Keypair,
    checkpoint: Checkpoint,
    demand: Demand,
    data: bytes,
    trace: Sequence[bytes] | None = None,
    price_micro_lamports: int = 0,
) -> Confirmed | None:
    """`data` are the bytes under the checkpoint's data root, `trace` its state roots, which only a demand of a trace entry needs.

    None when somebody else answered meanwhile, or the demand went with its checkpoint; what a buffer of ours cost comes back then.
    CannotAnswer before anything is sent when the bytes are not this checkpoint's; L1Error when L1 refuses or is silent.
    """
    payer = Payer(client, keypair, price_micro_lamports)
    if len(data) > INLINE_BYTES:
        found = await trio.to_thread.run_sync(shown, checkpoint, demand, data, trace)
    else:
        found = shown(checkpoint, demand, data, trace)
    try:
        return await payer.send(await _parts(payer, checkpoint, demand, data, found))
    except TransactionFailed:
        if await is_open(client, demand):
            raise
    if not isinstance(found, Count):
        await buffers.close(payer, buffer_id(demand))
    return None


async def is_open(client: L1Client, demand: Demand) -> bool:
    """Whether the demand is still there."""
    return await client.get_account(pda.demand(client.program_id, demand.epoch, demand.kind, demand.index)) is not None


async def _parts(
    payer: Payer, checkpoint: Checkpoint, demand: Demand, data: bytes, found: bytes | Count
) -> list[Instruction]:
    """The last transaction's instructions; those before it are sent."""
    program, owner, place = payer.client.program_id, payer.keypair.pubkey(), (demand.kind, demand.index)
    if isinstance(found, Count):
        return [build.answer_absent(program, owner, checkpoint, place, demand.demander, found)]
    signed = signature_of(await payer.client.domain(), data, demand.index) if demand.kind == DemandKind.RECORD else []
    identifier = buffer_id(demand)
    buffer = pda.proof_buffer(program, owner, identifier)
    answering = build.answer_demand(program, owner, checkpoint, place, demand.demander, buffer)
    reading = [*signed, answering, instructions.close_proof_buffer(program, owner, identifier)]
    return [*await buffers.fill(payer, identifier, found, reading), *reading]


def signature_of(domain: Domain, data: bytes, index: int) -> list[Instruction]:
    """The ed25519 program's instruction over the record's authorisation; none for a record that nobody signs."""
    record, encoded = batch.split(data)[index]
    if encoded == EMPTY.encode():
        return []
    signed = Authorisation.decode(encoded)
    digest = signing.authorisation_digest(domain, signed.expiry_slot, record)
    return [build.ed25519(signed.public_key, signed.signature, digest)]


async def close_leftovers(client: L1Client, keypair: Keypair, posted_epoch: int) -> int:
    """Closes the buffers that a crash left of answers to demands which are no more; how many. Others of the same owner are not touched."""
    payer, closed = Payer(client, keypair), 0
    for identifier in await client.proof_buffers_of(keypair.pubkey()):
        place = demand_of(identifier)
        if place is None or place[0] > posted_epoch:
            continue
        if await client.get_account(pda.demand(client.program_id, *place)) is None:
            closed += await buffers.close(payer, identifier)
    return closed
