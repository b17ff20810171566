"""The ways in which money crosses between L1 and L2: an entry of the inbox, and a claim of what the finalized state owes, or, after the
escape, of all that it holds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import inbox_instructions, instructions, pda
from settlement.client import L1Client
from settlement.errors import ProgramError, TransactionTooLarge
from settlement.events import decode_events
from settlement.ledger.leaves import Account
from settlement.rpc import Commitment
from settlement.transactions import Confirmed

APPEND_ATTEMPTS = 20
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

    def build(count: int) -> Instruction:
        return instructions.deposit(client.program_id, depositor.pubkey(), count, lamports, beneficiary)

    index, confirmed = await append_entry(client, depositor, build, commitment)
    return Deposited(index, lamports, beneficiary, confirmed.signature, confirmed.slot)


async def append_entry(
    client: L1Client, payer: Keypair, build: Callable[[int], Instruction], commitment: Commitment = "confirmed"
) -> tuple[int, Confirmed]:
    """Sends what `build` makes of the inbox's count, which is the new entry's index; again when another entry came first."""
    for attempt in range(APPEND_ATTEMPTS):
        # At the level that preflight simulates against: a newer count would be refused there.
        count = (await client.fetch_config("confirmed")).inbox.count
        try:
            return count, await client.send_and_confirm([build(count)], payer, commitment=commitment)
        except ProgramError as error:
            # The index was taken in between; the whole transaction failed, so trying again pays once.
            if error.name != "WrongInboxEntry" or attempt == APPEND_ATTEMPTS - 1:
                raise
            await trio.sleep(random.uniform(0.1, 0.5))
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
    return await _pay(client, payer, instructions.claim, value, siblings, commitment, Account.decode(value).payable)


async def escape_claim(
    client: L1Client, payer: Keypair, value: bytes, siblings: Sequence[bytes], commitment: Commitment = "confirmed"
) -> Claimed:
    """Pays, once, all that the account leaf `value` holds in the finalized state and was not paid yet. As `claim` in all else.

    ProgramError NotEscaped, EscapePaid, EscapeAboveInbox, and those of a claim.
    """
    paying = inbox_instructions.escape_claim
    return await _pay(client, payer, paying, value, siblings, commitment, held(Account.decode(value)))


def held(account: Account) -> int:
    """All lamports that an L2 account has or ever had payable: what the hatch pays, less what was claimed."""
    return account.balance + account.locked_fees + account.locked_stake + account.payable


async def _pay(
    client: L1Client,
    payer: Keypair,
    paying: Callable[..., Instruction],
    value: bytes,
    siblings: Sequence[bytes],
    commitment: Commitment,
    owed_lamports: int,
) -> Claimed:
    before = await client.fetch_claimed(value[:32])
    build = partial(paying, client.program_id, payer.pubkey(), value)
    try:
        signed = await client.sign([build(siblings)], payer, compute_unit_limit=CLAIM_COMPUTE_UNITS)
    except TransactionTooLarge:
        confirmed = await _pay_by_buffer(client, payer, build, value, siblings, commitment)
    else:
        confirmed = await client.confirm(signed, commitment)
    return _paid(confirmed, client, Pubkey(value[:32]), before, owed_lamports)


async def _pay_by_buffer(
    client: L1Client,
    payer: Keypair,
    build: Callable[..., Instruction],
    value: bytes,
    siblings: Sequence[bytes],
    commitment: Commitment,
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
        build((), address),
        instructions.close_proof_buffer(program, owner, buffer_id),
    ]
    try:
        return await client.send_and_confirm(pair, payer, commitment=commitment, compute_unit_limit=CLAIM_COMPUTE_UNITS)
    except ProgramError:
        await client.send_and_confirm(pair[1:], payer)
        raise


def _paid(confirmed: Confirmed, client: L1Client, key: Pubkey, claimed_before: int, owed_lamports: int) -> Claimed:
    """The event says what was paid; a node that keeps no logs leaves the difference of what was owed in all and claimed before."""
    total = owed_lamports
    for event in decode_events(confirmed.logs, client.program_id):
        if event.name == "Claimed":
            total = event.fields["claimed_total_lamports"]
        elif event.name == "EscapeClaimed":
            total = claimed_before + event.fields["lamports"]
    return Claimed(key, total - claimed_before, total, confirmed.signature, confirmed.slot)
