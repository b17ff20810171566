"""The two ways money crosses between L1 and L2: a deposit into the inbox, and a claim of what the finalized state owes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import instructions, pda
from settlement.client import L1Client
from settlement.errors import ProgramError, TransactionTooLarge
from settlement.events import decode_events
from settlement.rpc import Commitment
from settlement.transactions import Confirmed

DEPOSIT_ATTEMPTS = 20
# 1,232 bytes less signature, keys, header and the instruction's own fields, with room for compute budget instructions.
WRITE_BYTES = 896
CLAIM_COMPUTE_UNITS = 400_000


@dataclass(frozen=True)
class Deposited:
    """`index` of the inbox entry; the L2 balance grows once an epoch has taken it."""

    index: int
    lamports: int
    beneficiary: Pubkey
    signature: str
    slot: int


@dataclass(frozen=True)
class Claimed:
    """`lamports` paid now, `claimed_total_lamports` over all claims of this key."""

    public_key: Pubkey
    lamports: int
    claimed_total_lamports: int
    signature: str
    slot: int


async def deposit(
    client: L1Client,
    depositor: Keypair,
    lamports: int,
    beneficiary: Pubkey | None = None,
    commitment: Commitment = "confirmed",
) -> Deposited:
    """Pays `lamports` from `depositor` into the vault for the L2 account of `beneficiary` (the depositor's own if None)."""
    beneficiary = beneficiary if beneficiary is not None else depositor.pubkey()
    for attempt in range(DEPOSIT_ATTEMPTS):
        # At the level that preflight simulates against: a newer count would be refused there.
        count = (await client.fetch_config("confirmed")).inbox.count
        instruction = instructions.deposit(client.program_id, depositor.pubkey(), count, lamports, beneficiary)
        try:
            confirmed = await client.send_and_confirm([instruction], depositor, commitment=commitment)
        except ProgramError as error:
            # The index was taken in between; the whole transaction failed, so trying again pays once.
            if error.name != "WrongInboxEntry" or attempt == DEPOSIT_ATTEMPTS - 1:
                raise
            await trio.sleep(random.uniform(0.1, 0.5))
            continue
        return Deposited(count, lamports, beneficiary, confirmed.signature, confirmed.slot)
    raise AssertionError("unreachable")


async def claim(
    client: L1Client,
    payer: Keypair,
    value: bytes,
    siblings: Sequence[bytes],
    commitment: Commitment = "confirmed",
) -> Claimed:
    """Pays what the account leaf `value` (80 bytes) is owed and was not paid yet to the public key in it; `payer` pays fee and rent.

    `siblings` (32 bytes each, root's side first as the state tree gives them) go inline, or through a proof buffer when they do
    not fit. The buffer's id comes from the proof, so that a second run after a crash finds the first one's buffer.
    ProgramError NothingToClaim, BadProof (the leaf is not under the root that is finalized now) and others of the program.
    """
    before = await client.fetch_claimed(value[:32])
    inline = instructions.claim(client.program_id, payer.pubkey(), value, siblings)
    try:
        signed = await client.sign([inline], payer, compute_unit_limit=CLAIM_COMPUTE_UNITS)
    except TransactionTooLarge:
        confirmed = await _claim_by_buffer(client, payer, value, siblings, commitment)
    else:
        confirmed = await client.confirm(signed, commitment)
    return _paid(confirmed, client, value, before)


async def _claim_by_buffer(
    client: L1Client, payer: Keypair, value: bytes, siblings: Sequence[bytes], commitment: Commitment
) -> Confirmed:
    proof = b"".join(siblings)
    owner, program = payer.pubkey(), client.program_id
    buffer_id = int.from_bytes(hashlib.sha256(value + proof).digest()[:8], "little")
    existing = await client.fetch_proof_buffer(owner, buffer_id)
    if existing is None:
        create = instructions.create_proof_buffer(program, owner, buffer_id, len(proof))
        await client.send_and_confirm([create], payer)
    for offset in range(0, len(proof), WRITE_BYTES):
        part = proof[offset : offset + WRITE_BYTES]
        if existing is None or existing.data[offset : offset + len(part)] != part:
            await client.send_and_confirm(
                [instructions.write_proof_buffer(program, owner, buffer_id, offset, part)], payer
            )
    address = pda.proof_buffer(program, owner, buffer_id)
    # Claimed and closed together: the rent comes back only with the payment, and no buffer stays behind.
    pair = [
        instructions.claim(program, owner, value, (), address),
        instructions.close_proof_buffer(program, owner, buffer_id),
    ]
    try:
        return await client.send_and_confirm(pair, payer, commitment=commitment, compute_unit_limit=CLAIM_COMPUTE_UNITS)
    except ProgramError:
        await client.send_and_confirm(pair[1:], payer)
        raise


def _paid(confirmed: Confirmed, client: L1Client, value: bytes, claimed_before: int) -> Claimed:
    """The event says what was paid; a node that keeps no logs leaves the difference of the two totals."""
    key, total = Pubkey(value[:32]), int.from_bytes(value[72:80], "little")
    paid = total - claimed_before
    for event in decode_events(confirmed.logs, client.program_id):
        if event.name == "Claimed":
            paid, total = event.fields["lamports"], event.fields["claimed_total_lamports"]
    return Claimed(key, paid, total, confirmed.signature, confirmed.slot)
