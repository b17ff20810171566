"""One typed builder for each instruction of docs/settlement.md. Data and account flags come from the committed IDL; what is added here
is which derived address belongs where, so that a changed IDL breaks a test and not a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import idl, pda
from settlement.accounts import Parameters

HINT_BYTES = 480


@dataclass(frozen=True)
class CheckpointArgs:
    """What `post_checkpoint` is sent; the rest of the message is read on L1. bitmap 32 bytes, signature 96 compressed, hints 480."""

    epoch: int
    attempt: int
    cut_slot: int
    expiry_slot: int
    results_root: bytes
    state_root: bytes
    trace_root: bytes
    data_root: bytes
    payable_total: int
    inbox_cursor: int
    bitmap: bytes
    signature: bytes
    hints: bytes


def initialize(
    program_id: Pubkey, payer: Pubkey, authority: Pubkey, genesis_hash: bytes, parameters: Parameters
) -> Instruction:
    """`authority`: the program's upgrade authority, which signs."""
    return idl.committed().build(
        program_id,
        "initialize",
        {"genesis_hash": genesis_hash, "parameters": parameters.to_mapping()},
        {
            "payer": payer,
            "authority": authority,
            "program_data": pda.program_data(program_id),
            "config": pda.config(program_id),
            "registry": pda.registry(program_id),
            "vault": pda.vault(program_id),
            "stake_vault": pda.stake_vault(program_id),
            "treasury": pda.treasury(program_id),
        },
    )


def grow_registry(program_id: Pubkey, payer: Pubkey) -> Instruction:
    return idl.committed().build(
        program_id, "grow_registry", {}, {"payer": payer, "registry": pda.registry(program_id)}
    )


def register_validator(
    program_id: Pubkey,
    payer: Pubkey,
    authority: Pubkey,
    bls_public_key: bytes,
    proof_of_possession: bytes,
    hints: bytes,
    stake_lamports: int,
    commission_basis_points: int = 0,
    outbid: Pubkey | None = None,
) -> Instruction:
    """Key 48 and proof 96 bytes compressed; hints are those of the proof of possession's digest. `outbid`: the address of the Validator
    with the lowest stake, needed when all slots are taken."""
    args = {
        "bls_public_key": bls_public_key,
        "proof_of_possession": proof_of_possession,
        "hints": hints,
        "stake_lamports": stake_lamports,
        "commission_basis_points": commission_basis_points,
    }
    validator = pda.validator(program_id, bls_public_key)
    optional = {} if outbid is None else {"outbid": outbid}
    return idl.committed().build(
        program_id,
        "register_validator",
        {"args": args},
        {
            "payer": payer,
            "authority": authority,
            "config": pda.config(program_id),
            "registry": pda.registry(program_id),
            "validator": validator,
            "position": pda.stake_position(program_id, validator, authority),
            "stake_vault": pda.stake_vault(program_id),
            **optional,
        },
    )


def create_validator_set(program_id: Pubkey, payer: Pubkey, version: int) -> Instruction:
    return idl.committed().build(
        program_id,
        "create_validator_set",
        {"version": version},
        {"payer": payer, "config": pda.config(program_id), "validator_set": pda.validator_set(program_id, version)},
    )


def grow_validator_set(program_id: Pubkey, payer: Pubkey, version: int) -> Instruction:
    return idl.committed().build(
        program_id,
        "grow_validator_set",
        {"version": version},
        {"payer": payer, "validator_set": pda.validator_set(program_id, version)},
    )


def advance_validator_set(program_id: Pubkey, payer: Pubkey, version: int) -> Instruction:
    """`payer` is initialize's authority before the first post, anybody afterwards."""
    return idl.committed().build(
        program_id,
        "advance_validator_set",
        {"version": version},
        {
            "payer": payer,
            "config": pda.config(program_id),
            "registry": pda.registry(program_id),
            "validator_set": pda.validator_set(program_id, version),
        },
    )


def deposit(program_id: Pubkey, depositor: Pubkey, inbox_count: int, lamports: int, beneficiary: Pubkey) -> Instruction:
    """`inbox_count`: Config's count now, which is the new entry's index; WrongInboxEntry on L1 when another deposit came first."""
    return idl.committed().build(
        program_id,
        "deposit",
        {"lamports": lamports, "beneficiary": beneficiary},
        {
            "depositor": depositor,
            "config": pda.config(program_id),
            "inbox_entry": pda.inbox_entry(program_id, inbox_count),
            "vault": pda.vault(program_id),
        },
    )


def post_checkpoint(
    program_id: Pubkey, payer: Pubkey, set_version: int, parent_cursor: int, args: CheckpointArgs
) -> Instruction:
    """`set_version`: the pinned version; `parent_cursor`: the inbox cursor of the posted head."""
    accounts = {
        "payer": payer,
        "config": pda.config(program_id),
        "validator_set": pda.validator_set(program_id, set_version),
        "checkpoint": pda.checkpoint(program_id, args.epoch),
        "next_entry": pda.inbox_entry(program_id, args.inbox_cursor),
    }
    if args.inbox_cursor != parent_cursor:
        accounts["last_entry"] = pda.inbox_entry(program_id, args.inbox_cursor - 1)
    return idl.committed().build(program_id, "post_checkpoint", {"args": vars(args)}, accounts)


def finalize_checkpoint(program_id: Pubkey, payer: Pubkey, epoch: int, poster: Pubkey) -> Instruction:
    """`poster`: who posted it, as the Checkpoint says; gets the bond back."""
    return idl.committed().build(
        program_id,
        "finalize_checkpoint",
        {"epoch": epoch},
        {
            "payer": payer,
            "config": pda.config(program_id),
            "checkpoint": pda.checkpoint(program_id, epoch),
            "poster": poster,
        },
    )


def create_proof_buffer(program_id: Pubkey, owner: Pubkey, buffer_id: int, length: int) -> Instruction:
    """`length` in bytes: a positive multiple of 32, at most 8,192."""
    return idl.committed().build(
        program_id,
        "create_proof_buffer",
        {"id": buffer_id, "length": length},
        {"owner": owner, "buffer": pda.proof_buffer(program_id, owner, buffer_id)},
    )


def write_proof_buffer(program_id: Pubkey, owner: Pubkey, buffer_id: int, offset: int, data: bytes) -> Instruction:
    return idl.committed().build(
        program_id,
        "write_proof_buffer",
        {"id": buffer_id, "offset": offset, "bytes": data},
        {"owner": owner, "buffer": pda.proof_buffer(program_id, owner, buffer_id)},
    )


def close_proof_buffer(program_id: Pubkey, owner: Pubkey, buffer_id: int) -> Instruction:
    return idl.committed().build(
        program_id,
        "close_proof_buffer",
        {"id": buffer_id},
        {"owner": owner, "buffer": pda.proof_buffer(program_id, owner, buffer_id)},
    )


def claim(
    program_id: Pubkey, payer: Pubkey, value: bytes, siblings: Sequence[bytes] = (), buffer: Pubkey | None = None
) -> Instruction:
    """`value`: the account leaf's 80 bytes, whose first 32 are the recipient's public key. The siblings (32 bytes each) come inline,
    or stand in `buffer`."""
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
    return idl.committed().build(program_id, "claim", {"value": value, "siblings": list(siblings)}, accounts)
