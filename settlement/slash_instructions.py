"""Builders for evidence, slashing, late signatures and rewards (docs/settlement.md, "Slashing and rewards"), as settlement.instructions."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import bls, idl, pda
from settlement.hash_to_curve import hints
from settlement.messages import CheckpointMessage
from settlement.signing import Domain
from settlement.validator_set import bitmap_to_bytes


def validator_address(program_id: Pubkey, uncompressed_key: bytes) -> Pubkey:
    """The Validator account of a key as the registry and sealed sets hold it: 96 bytes, x ‖ y."""
    return pda.validator(program_id, bls.compressed_public_key(uncompressed_key))


def record_receipt(
    program_id: Pubkey,
    owner: Pubkey,
    genesis_hash: bytes,
    set_version: int,
    message: CheckpointMessage,
    bitmap: int,
    signature: bytes,
) -> Instruction:
    """Evidence that the members `bitmap` of set `set_version` (whose hash the message names) signed `message`. `signature`: the sum of
    theirs, 96 bytes compressed; one vote is enough."""
    digest = message.hash(Domain(genesis_hash, bytes(program_id)))
    args = {
        "epoch": message.epoch,
        "attempt": message.attempt,
        "cut_slot": message.cut_slot,
        "expiry_slot": message.expiry_slot,
        "parent_hash": message.parent_hash,
        "results_root": message.results_root,
        "state_root": message.state_root,
        "trace_root": message.trace_root,
        "data_root": message.data_root,
        "payable_total": message.payable_total,
        "inbox_cursor": message.inbox_cursor,
        "inbox_hash": message.inbox_hash,
        "bitmap": bitmap_to_bytes(bitmap),
        "signature": signature,
        "hints": hints(digest),
    }
    return idl.committed().build(
        program_id,
        "record_receipt",
        {"args": args},
        {
            "owner": owner,
            "config": pda.config(program_id),
            "validator_set": pda.validator_set(program_id, set_version),
            "receipt": pda.receipt(program_id, owner, digest),
        },
    )


def close_receipt(program_id: Pubkey, owner: Pubkey, message_hash: bytes) -> Instruction:
    receipt = pda.receipt(program_id, owner, message_hash)
    return idl.committed().build(program_id, "close_receipt", {}, {"owner": owner, "receipt": receipt})


def slash_equivocation(
    program_id: Pubkey,
    reporter: Pubkey,
    validator: Pubkey,
    epoch: int,
    evidence: tuple[Pubkey, Pubkey],
    set_versions: tuple[int, int],
    indexes: tuple[int, int],
) -> Instruction:
    """`validator`: the Validator account; `evidence`: two Receipts of the reporter, or one and the epoch's Checkpoint; `set_versions`
    and `indexes`: the set that signed each, and the validator's place in it."""
    return idl.committed().build(
        program_id,
        "slash_equivocation",
        {"index_a": indexes[0], "index_b": indexes[1]},
        {
            **_parties(program_id, reporter, validator),
            "evidence_a": evidence[0],
            "evidence_b": evidence[1],
            "validator_set_a": pda.validator_set(program_id, set_versions[0]),
            "validator_set_b": pda.validator_set(program_id, set_versions[1]),
            "offence": pda.offence(program_id, validator, epoch),
            "tally": pda.tally(program_id, epoch),
        },
    )


def raise_equivocation(program_id: Pubkey, reporter: Pubkey, validator: Pubkey, epoch: int) -> Instruction:
    return idl.committed().build(
        program_id,
        "raise_equivocation",
        {"epoch": epoch},
        {
            **_parties(program_id, reporter, validator),
            "offence": pda.offence(program_id, validator, epoch),
            "tally": pda.tally(program_id, epoch),
        },
    )


def slash_rejected(
    program_id: Pubkey, reporter: Pubkey, validator: Pubkey, epoch: int, set_version: int, index: int
) -> Instruction:
    """`index`: the signer's place in the set that certified the rejected checkpoint."""
    return idl.committed().build(
        program_id,
        "slash_rejected",
        {"epoch": epoch, "index": index},
        {
            **_parties(program_id, reporter, validator),
            "checkpoint": pda.checkpoint(program_id, epoch),
            "validator_set": pda.validator_set(program_id, set_version),
        },
    )


def add_signatures(
    program_id: Pubkey,
    payer: Pubkey,
    epoch: int,
    set_version: int,
    message_hash: bytes,
    bitmap: int,
    signature: bytes,
) -> Instruction:
    """`bitmap`: members that L1 does not have yet; `signature`: the sum of theirs over the checkpoint's hash, 96 bytes compressed."""
    args = {"bitmap": bitmap_to_bytes(bitmap), "signature": signature, "hints": hints(message_hash)}
    return idl.committed().build(
        program_id,
        "add_signatures",
        {"epoch": epoch, "args": args},
        {
            "payer": payer,
            "config": pda.config(program_id),
            "checkpoint": pda.checkpoint(program_id, epoch),
            "validator_set": pda.validator_set(program_id, set_version),
        },
    )


def reward_checkpoint(
    program_id: Pubkey, payer: Pubkey, epoch: int, parent_epoch: int, set_version: int, poster: Pubkey
) -> Instruction:
    """`parent_epoch`, `set_version` and `poster` as the Checkpoint has them."""
    return idl.committed().build(
        program_id,
        "reward_checkpoint",
        {"epoch": epoch},
        {
            "payer": payer,
            "config": pda.config(program_id),
            "registry": pda.registry(program_id),
            "checkpoint": pda.checkpoint(program_id, epoch),
            "parent": pda.checkpoint(program_id, parent_epoch),
            "validator_set": pda.validator_set(program_id, set_version),
            "poster": poster,
            "stake_vault": pda.stake_vault(program_id),
            "treasury": pda.treasury(program_id),
        },
    )


def _parties(program_id: Pubkey, reporter: Pubkey, validator: Pubkey) -> dict[str, Pubkey]:
    return {
        "reporter": reporter,
        "config": pda.config(program_id),
        "registry": pda.registry(program_id),
        "validator": validator,
        "stake_vault": pda.stake_vault(program_id),
        "treasury": pda.treasury(program_id),
    }
