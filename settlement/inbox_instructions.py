"""Builders of the instructions that force an entry into the inbox, and of the escape hatch's (docs/settlement.md)."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import idl, pda
from settlement.records import Kind, Mode


def inbox_task(
    program_id: Pubkey,
    client: Pubkey,
    inbox_count: int,
    *,
    lamports: int,
    spec_hash: bytes,
    deadline_slot: int,
    max_fee_lamports: int,
    kind: int = Kind.TRAINING,
    mode: int = Mode.REPLAY,
) -> Instruction:
    """A task that the sequencer cannot refuse. `lamports` is its fee on L2; `max_fee_lamports` the most that the entry costs beside.
    `inbox_count`: Config's count now; WrongInboxEntry on L1 when another entry came first."""
    args = {
        "lamports": lamports,
        "spec_hash": spec_hash,
        "kind": int(kind),
        "mode": int(mode),
        "deadline_slot": deadline_slot,
        "max_fee_lamports": max_fee_lamports,
    }
    accounts = {"client": client, **_entry(program_id, inbox_count)}
    return idl.committed().build(program_id, "inbox_task", {"args": args}, accounts)


def inbox_withdrawal(
    program_id: Pubkey,
    owner: Pubkey,
    inbox_count: int,
    *,
    lamports: int,
    withdraw_lamports: int,
    max_fee_lamports: int,
    task_id: bytes = bytes(32),
) -> Instruction:
    """A withdrawal that the sequencer cannot refuse. `lamports` are credited first; `task_id` names an overdue task to be refunded."""
    args = {
        "lamports": lamports,
        "withdraw_lamports": withdraw_lamports,
        "task_id": task_id,
        "max_fee_lamports": max_fee_lamports,
    }
    accounts = {"owner": owner, **_entry(program_id, inbox_count)}
    return idl.committed().build(program_id, "inbox_withdrawal", {"args": args}, accounts)


def escape(program_id: Pubkey, payer: Pubkey) -> Instruction:
    """Opens the hatch, for good, once nothing was finalized for hatch_slots."""
    return idl.committed().build(program_id, "escape", {}, {"payer": payer, "config": pda.config(program_id)})


def escape_refund(program_id: Pubkey, payer: Pubkey, index: int, beneficiary: Pubkey) -> Instruction:
    """Pays back an inbox entry that the finalized state had not taken."""
    accounts = {
        "payer": payer,
        "config": pda.config(program_id),
        "vault": pda.vault(program_id),
        "inbox_entry": pda.inbox_entry(program_id, index),
        "recipient": beneficiary,
    }
    return idl.committed().build(program_id, "escape_refund", {"index": index}, accounts)


def escape_claim(
    program_id: Pubkey, payer: Pubkey, value: bytes, siblings: Sequence[bytes] = (), buffer: Pubkey | None = None
) -> Instruction:
    """Pays all that an account has in the finalized state. `value`: the leaf's 80 bytes; the proof is as claim's."""
    recipient = Pubkey(value[:32])
    accounts = {
        "payer": payer,
        "config": pda.config(program_id),
        "vault": pda.vault(program_id),
        "recipient": recipient,
        "claim": pda.claim(program_id, bytes(recipient)),
    }
    if buffer is not None:
        accounts["buffer"] = buffer
    return idl.committed().build(program_id, "escape_claim", {"value": value, "siblings": list(siblings)}, accounts)


def _entry(program_id: Pubkey, inbox_count: int) -> dict[str, Pubkey]:
    return {
        "config": pda.config(program_id),
        "inbox_entry": pda.inbox_entry(program_id, inbox_count),
        "vault": pda.vault(program_id),
        "treasury": pda.treasury(program_id),
    }
