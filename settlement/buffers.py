"""Proof buffers filled in as few transactions as 1,232 bytes allow: the first creates the buffer and writes, what is left at the end goes into
the transaction that reads it.

A buffer's owner and id are all that is remembered: after a crash L1 is asked what is written, and only the rest is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import instructions, pda
from settlement.accounts import ProofBuffer
from settlement.client import L1Client
from settlement.dispute_instructions import grow_proof_buffer
from settlement.errors import L1Error
from settlement.transactions import MAX_TRANSACTION_BYTES, Confirmed, size

MAX_CREATED_BYTES = 8_192
MAX_GROWTH_BYTES = 10_240
MULTIPLE_BYTES = 32
WRITES_AT_ONCE = 8
COMPUTE_UNITS = 100_000
"""Ample for any transaction that fills a buffer (4,000 an instruction), or answers a demand (under 40,000)."""
_PROBE_BYTES = 200  # of which the length takes two bytes, as that of every write that fills a transaction does


@dataclass(frozen=True)
class Payer:
    """Who pays, and owns the buffers. `price_micro_lamports` is offered for each compute unit; 0 offers nothing beside the fee."""

    client: L1Client
    keypair: Keypair
    price_micro_lamports: int = 0

    async def send(self, parts: Sequence[Instruction], compute_units: int | None = None) -> Confirmed:
        """`compute_units` for what takes more than buffers and answers do."""
        signed = await self.client.sign(parts, self.keypair, (), *self._budget(compute_units))
        return await self.client.confirm(signed)

    def size(self, parts: Sequence[Instruction], compute_units: int | None = None) -> int:
        """Bytes of the transaction that send() makes."""
        return size(parts, self.keypair, *self._budget(compute_units))

    def _budget(self, compute_units: int | None) -> tuple[int | None, int | None]:
        # Without a price the ceiling need not be named, and naming it takes 40 bytes.
        price = self.price_micro_lamports or None
        return compute_units or (COMPUTE_UNITS if price else None), price


def padded(data: bytes) -> bytes:
    """A buffer's length is a multiple of 32; nobody reads the zeros behind the evidence."""
    return data + bytes(-len(data) % MULTIPLE_BYTES)


async def fill(
    payer: Payer,
    buffer_id: int,
    data: bytes,
    reading: Sequence[Instruction] = (),
    compute_units: int | None = None,
) -> list[Instruction]:
    """Writes `data` into the buffer, which it creates, and returns the instructions that still have to stand before `reading` in its
    transaction, sent with `compute_units`: with those the buffer is full. Without `reading` all is written.

    A buffer of another length under this id is closed first. L1Error when L1 refuses; what was written stays.
    """
    client, owner = payer.client, payer.keypair.pubkey()
    program, data = client.program_id, padded(data)
    existing = await client.fetch_proof_buffer(owner, buffer_id)
    if existing is not None and len(existing.data) != len(data):
        close = instructions.close_proof_buffer(program, owner, buffer_id)
        await payer.send([close])
        existing = None
    made = [] if existing else creation(program, owner, buffer_id, len(data))

    def write(offset: int, part: bytes) -> Instruction:
        return instructions.write_proof_buffer(program, owner, buffer_id, offset, part)

    def room(others: Sequence[Instruction], units: int | None = None) -> int:
        probe = [*others, write(0, bytes(_PROBE_BYTES))]
        return _PROBE_BYTES + MAX_TRANSACTION_BYTES - payer.size(probe, units)

    if existing is None and reading:
        at_once = [*made, write(0, data)]
        if payer.size([*at_once, *reading], compute_units) <= MAX_TRANSACTION_BYTES:
            return at_once
    tail = max(room(reading, compute_units), 0) if reading else 0
    border = max(len(data) - tail, 0)
    last = [write(border, data[border:])] if border < len(data) else []
    first = min(room(made), border) if made else 0
    if made:
        await payer.send([*made, *([write(0, data[:first])] if first else [])])
    step = room(())
    await _write_all(payer, _missing(data[:border], first, step, existing), write)
    return last


def creation(program: Pubkey, owner: Pubkey, buffer_id: int, length: int) -> list[Instruction]:
    """A buffer of so many bytes, a multiple of 32: it is created small and grown."""
    created = min(length, MAX_CREATED_BYTES)
    made = [instructions.create_proof_buffer(program, owner, buffer_id, created)]
    while created < length:
        created = min(length, created + MAX_GROWTH_BYTES)
        made.append(grow_proof_buffer(program, owner, buffer_id, created))
    return made


def _missing(data: bytes, first: int, step: int, existing: ProofBuffer | None) -> list[tuple[int, bytes]]:
    parts = [(at, data[at : at + step]) for at in range(first, len(data), step)]
    return [(at, part) for at, part in parts if existing is None or existing.data[at : at + len(part)] != part]


async def _write_all(
    payer: Payer, parts: Sequence[tuple[int, bytes]], write: Callable[[int, bytes], Instruction]
) -> None:
    """Several at once: no write depends on another. The first L1Error ends them all."""
    failed: list[L1Error] = []
    limiter = trio.CapacityLimiter(WRITES_AT_ONCE)

    async def one(offset: int, part: bytes) -> None:
        async with limiter:
            try:
                await payer.send([write(offset, part)])
            except L1Error as error:
                failed.append(error)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for offset, part in parts:
            nursery.start_soon(one, offset, part)
    if failed:
        raise failed[0]


async def close(payer: Payer, buffer_id: int) -> bool:
    """Closes the buffer if it is there, which gives its rent back; whether it was."""
    client, owner = payer.client, payer.keypair.pubkey()
    address = pda.proof_buffer(client.program_id, owner, buffer_id)
    if await client.get_account(address) is None:
        return False
    await payer.send([instructions.close_proof_buffer(client.program_id, owner, buffer_id)])
    return True
