"""One typed builder for each instruction of disputes and governance (docs/settlement.md), as settlement/instructions.py has the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import idl, pda
from settlement.accounts import Checkpoint, Parameters

INSTRUCTIONS_SYSVAR = Pubkey.from_string("Sysvar1nstructions1111111111111111111111111")
ED25519_PROGRAM = Pubkey.from_string("Ed25519SigVerify111111111111111111111111111")


@dataclass(frozen=True)
class Proven:
    """Something at an index below a root of so many leaves, with its siblings (32 bytes each, from the leaf up)."""

    index: int
    count: int
    siblings: Sequence[bytes]


@dataclass(frozen=True)
class Count:
    """A root's count and the tree hash it is bound to."""

    count: int
    tree: bytes


def _parent(program_id: Pubkey, checkpoint: Checkpoint) -> dict[str, Pubkey]:
    epoch = checkpoint.parent_epoch
    return {"parent": pda.checkpoint(program_id, epoch)} if epoch else {}


def _challenge(
    program_id: Pubkey,
    challenger: Pubkey,
    checkpoint: Checkpoint,
    name: str,
    args: Mapping[str, Any],
    accounts: Mapping[str, Pubkey] | None = None,
) -> Instruction:
    named = {
        "challenger": challenger,
        "config": pda.config(program_id),
        "checkpoint": pda.checkpoint(program_id, checkpoint.epoch),
        "treasury": pda.treasury(program_id),
        **_parent(program_id, checkpoint),
        **(accounts or {}),
    }
    return idl.committed().build(program_id, name, {"epoch": checkpoint.epoch, **args}, named)


def prove_malformed_record(
    program_id: Pubkey, challenger: Pubkey, checkpoint: Checkpoint, record: bytes, place: Proven
) -> Instruction:
    args = {"index": place.index, "count": place.count, "record": record, "siblings": list(place.siblings)}
    return _challenge(program_id, challenger, checkpoint, "prove_malformed_record", args)


def prove_inbox(
    program_id: Pubkey,
    challenger: Pubkey,
    checkpoint: Checkpoint,
    record: bytes,
    place: Proven,
    entry_index: int | None = None,
) -> Instruction:
    """`entry_index`: the inbox entry that this record has to take; None for a record behind those that take one."""
    args = {"index": place.index, "count": place.count, "record": record, "siblings": list(place.siblings)}
    accounts = {} if entry_index is None else {"inbox_entry": pda.inbox_entry(program_id, entry_index)}
    return _challenge(program_id, challenger, checkpoint, "prove_inbox", args, accounts)


def prove_trace(
    program_id: Pubkey, challenger: Pubkey, checkpoint: Checkpoint, entry: bytes, place: Proven
) -> Instruction:
    args = {"index": place.index, "count": place.count, "entry": entry, "siblings": list(place.siblings)}
    return _challenge(program_id, challenger, checkpoint, "prove_trace", args)


def prove_totals(
    program_id: Pubkey,
    challenger: Pubkey,
    checkpoint: Checkpoint,
    value: bytes,
    siblings: Sequence[bytes],
    buffer: Pubkey | None = None,
) -> Instruction:
    """`value`: the totals leaf's 32 bytes; siblings from the state's root down, or none of them and a buffer that holds
    settlement.evidence.siblings() of them."""
    args = {"value": value, "siblings": list(siblings)}
    accounts = {} if buffer is None else {"buffer": buffer}
    return _challenge(program_id, challenger, checkpoint, "prove_totals", args, accounts)


def prove_count(
    program_id: Pubkey,
    challenger: Pubkey,
    checkpoint: Checkpoint,
    records: Count,
    trace: Count | None = None,
    chunks: Count | None = None,
) -> Instruction:
    """The counts that belong together; trace or chunks may be left out."""
    absent = Count(0, bytes(32))
    args = {
        "records": records.count,
        "records_tree": records.tree,
        "trace": (trace or absent).count,
        "trace_tree": (trace or absent).tree,
        "chunks": (chunks or absent).count,
        "chunks_tree": (chunks or absent).tree,
    }
    return _challenge(program_id, challenger, checkpoint, "prove_count", {"args": args})


def prove_data(program_id: Pubkey, challenger: Pubkey, checkpoint: Checkpoint, buffer: Pubkey) -> Instruction:
    """`buffer` holds settlement.evidence.data()."""
    return _challenge(program_id, challenger, checkpoint, "prove_data", {}, {"buffer": buffer})


def prove_transition(program_id: Pubkey, challenger: Pubkey, checkpoint: Checkpoint, buffer: Pubkey) -> Instruction:
    """`buffer` holds settlement.evidence.transition()."""
    accounts = {"buffer": buffer, "validator_set": pda.validator_set(program_id, checkpoint.set_version)}
    return _challenge(program_id, challenger, checkpoint, "prove_transition", {}, accounts)


def open_demand(program_id: Pubkey, demander: Pubkey, epoch: int, kind: int, index: int) -> Instruction:
    """kind: 1 chunk, 2 record, 3 trace entry."""
    return idl.committed().build(
        program_id,
        "open_demand",
        {"epoch": epoch, "kind": kind, "index": index},
        {
            "demander": demander,
            "config": pda.config(program_id),
            "checkpoint": pda.checkpoint(program_id, epoch),
            "demand": pda.demand(program_id, epoch, kind, index),
        },
    )


def _answer(
    program_id: Pubkey, answerer: Pubkey, checkpoint: Checkpoint, demand: tuple[int, int], demander: Pubkey
) -> dict[str, Pubkey]:
    return {
        "answerer": answerer,
        "config": pda.config(program_id),
        "checkpoint": pda.checkpoint(program_id, checkpoint.epoch),
        **_parent(program_id, checkpoint),
        "demand": pda.demand(program_id, checkpoint.epoch, *demand),
        "demander": demander,
    }


def answer_demand(
    program_id: Pubkey,
    answerer: Pubkey,
    checkpoint: Checkpoint,
    demand: tuple[int, int],
    demander: Pubkey,
    buffer: Pubkey,
) -> Instruction:
    """`demand` is its kind and index; `buffer` holds settlement.evidence.chunk(), trace_entry() or record(). For a record that somebody
    signed, the instruction before this one must be ed25519()."""
    accounts = _answer(program_id, answerer, checkpoint, demand, demander)
    accounts |= {"buffer": buffer, "instructions": INSTRUCTIONS_SYSVAR}
    return idl.committed().build(program_id, "answer_demand", {"epoch": checkpoint.epoch}, accounts)


def answer_absent(
    program_id: Pubkey,
    answerer: Pubkey,
    checkpoint: Checkpoint,
    demand: tuple[int, int],
    demander: Pubkey,
    count: Count,
) -> Instruction:
    accounts = _answer(program_id, answerer, checkpoint, demand, demander)
    args = {"epoch": checkpoint.epoch, "count": count.count, "tree": count.tree}
    return idl.committed().build(program_id, "answer_absent", args, accounts)


def timeout_demand(
    program_id: Pubkey, payer: Pubkey, checkpoint: Checkpoint, demand: tuple[int, int], demander: Pubkey
) -> Instruction:
    accounts = {
        "payer": payer,
        "config": pda.config(program_id),
        "checkpoint": pda.checkpoint(program_id, checkpoint.epoch),
        **_parent(program_id, checkpoint),
        "treasury": pda.treasury(program_id),
        "demand": pda.demand(program_id, checkpoint.epoch, *demand),
        "demander": demander,
    }
    return idl.committed().build(program_id, "timeout_demand", {"epoch": checkpoint.epoch}, accounts)


def return_demand(
    program_id: Pubkey, payer: Pubkey, epoch: int, demand: tuple[int, int], demander: Pubkey
) -> Instruction:
    accounts = {
        "payer": payer,
        "config": pda.config(program_id),
        "checkpoint": pda.checkpoint(program_id, epoch),
        "demand": pda.demand(program_id, epoch, *demand),
        "demander": demander,
    }
    return idl.committed().build(program_id, "return_demand", {"epoch": epoch}, accounts)


def _old_checkpoint(program_id: Pubkey, payer: Pubkey, epoch: int, poster: Pubkey, name: str) -> Instruction:
    accounts = {
        "payer": payer,
        "config": pda.config(program_id),
        "checkpoint": pda.checkpoint(program_id, epoch),
        "poster": poster,
    }
    return idl.committed().build(program_id, name, {"epoch": epoch}, accounts)


def void_checkpoint(program_id: Pubkey, payer: Pubkey, epoch: int, poster: Pubkey) -> Instruction:
    return _old_checkpoint(program_id, payer, epoch, poster, "void_checkpoint")


def close_checkpoint(program_id: Pubkey, payer: Pubkey, epoch: int, poster: Pubkey) -> Instruction:
    return _old_checkpoint(program_id, payer, epoch, poster, "close_checkpoint")


def grow_proof_buffer(program_id: Pubkey, owner: Pubkey, buffer_id: int, length: int) -> Instruction:
    """`length`: the new one, in bytes; at most 10,240 more than before, a multiple of 32, at most 65,536."""
    accounts = {"owner": owner, "buffer": pda.proof_buffer(program_id, owner, buffer_id)}
    return idl.committed().build(program_id, "grow_proof_buffer", {"id": buffer_id, "length": length}, accounts)


def propose_parameters(program_id: Pubkey, payer: Pubkey, governance: Pubkey, parameters: Parameters) -> Instruction:
    accounts = {
        "payer": payer,
        "governance": governance,
        "config": pda.config(program_id),
        "proposal": pda.proposal(program_id),
    }
    args = {"parameters": parameters.to_mapping()}
    return idl.committed().build(program_id, "propose_parameters", args, accounts)


def apply_parameters(program_id: Pubkey, signer: Pubkey, proposer: Pubkey) -> Instruction:
    return _close_proposal(program_id, "apply_parameters", signer, proposer)


def cancel_parameters(program_id: Pubkey, governance: Pubkey, proposer: Pubkey) -> Instruction:
    return _close_proposal(program_id, "cancel_parameters", governance, proposer)


def _close_proposal(program_id: Pubkey, name: str, signer: Pubkey, proposer: Pubkey) -> Instruction:
    accounts = {
        "signer": signer,
        "config": pda.config(program_id),
        "proposal": pda.proposal(program_id),
        "proposer": proposer,
    }
    return idl.committed().build(program_id, name, {}, accounts)


def pause(program_id: Pubkey, governance: Pubkey) -> Instruction:
    return _govern(program_id, "pause", {}, "governance", governance)


def unpause(program_id: Pubkey, governance: Pubkey) -> Instruction:
    return _govern(program_id, "unpause", {}, "governance", governance)


def offer_governance(program_id: Pubkey, governance: Pubkey, next_governance: Pubkey) -> Instruction:
    """The zero key takes an offer back."""
    args = {"next_governance": next_governance}
    return _govern(program_id, "offer_governance", args, "governance", governance)


def accept_governance(program_id: Pubkey, next_governance: Pubkey) -> Instruction:
    return _govern(program_id, "accept_governance", {}, "next_governance", next_governance)


def grant(
    program_id: Pubkey, payer: Pubkey, governance: Pubkey, inbox_count: int, lamports: int, beneficiary: Pubkey
) -> Instruction:
    """A deposit that the treasury pays. `inbox_count`: Config's count now; WrongInboxEntry on L1 when another entry came first."""
    accounts = {
        "payer": payer,
        "governance": governance,
        "config": pda.config(program_id),
        "inbox_entry": pda.inbox_entry(program_id, inbox_count),
        "vault": pda.vault(program_id),
        "treasury": pda.treasury(program_id),
    }
    return idl.committed().build(program_id, "grant", {"lamports": lamports, "beneficiary": beneficiary}, accounts)


def _govern(program_id: Pubkey, name: str, args: Mapping[str, Any], role: str, signer: Pubkey) -> Instruction:
    return idl.committed().build(program_id, name, args, {role: signer, "config": pda.config(program_id)})


def ed25519(public_key: bytes, signature: bytes, message: bytes) -> Instruction:
    """The ed25519 program's instruction over one signature, all parts of which lie within itself (index 65,535)."""
    itself, header = 0xFFFF, 16
    key_at, signature_at, message_at = header, header + 32, header + 96
    offsets = (signature_at, itself, key_at, itself, message_at, len(message), itself)
    data = bytes([1, 0]) + b"".join(value.to_bytes(2, "little") for value in offsets)
    return Instruction(ED25519_PROGRAM, data + public_key + signature + message, [])
