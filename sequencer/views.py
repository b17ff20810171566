"""The JSON objects of docs/rpc.md, made from rows."""

from __future__ import annotations

from typing import Any

import msgspec
from solders.pubkey import Pubkey

from sequencer import database as db
from sequencer.lifecycle import CheckpointStatus
from sequencer.node import Node
from sequencer.params import Progress
from sequencer.rows import EpochRow, TaskRow, VerdictRow
from settlement.records import Kind, Mode, Reason, Verdict
from settlement.validator_set import bitmap_to_bytes


def name(member: Kind | Mode | Reason | Verdict) -> str:
    return member.name.lower()


def base58(public_key: bytes) -> str:
    return str(Pubkey.from_bytes(public_key))


def spec(node: Node, spec_hash: bytes) -> Any:
    row = node.database.get(db.SPECS, spec_hash)
    if row is None:
        raise RuntimeError(f"spec {spec_hash.hex()} of a stored task is not there")
    return msgspec.json.decode(row.spec_json)


def task(node: Node, row: TaskRow) -> dict[str, Any]:
    """The task object."""
    shown: dict[str, Any] = {
        "taskId": row.task_id.hex(),
        "client": base58(row.client),
        "kind": name(Kind(row.kind)),
        "mode": name(Mode(row.mode)),
        "status": row.status.value,
        "spec": spec(node, row.spec_hash),
        "specHash": row.spec_hash.hex(),
        "feeLamports": row.fee_lamports,
        "deadlineSlot": row.deadline_slot,
        "rejections": [{"worker": base58(r.worker), "reason": name(Reason(r.reason))} for r in row.rejections],
    }
    if row.worker is not None:
        shown["worker"] = base58(row.worker)
    if row.lease is not None:
        shown["leaseExpirySlot"] = row.lease.expiry_slot
        lease_id, said = node.progress.get(row.lease.worker, (None, None))
        if said is not None and lease_id == row.lease.lease_id:
            shown["progress"] = {"verified": False, **progress(said)}
    optional = {"accuracy": row.accuracy, "epoch": row.epoch, "replayedShare": row.replayed_share}
    return shown | {key: value for key, value in optional.items() if value is not None}


def progress(said: Progress) -> dict[str, Any]:
    points = [{"step": point.step, "loss": point.loss, "accuracy": point.accuracy} for point in said.points]
    return {
        "steps": said.steps,
        "points": [{key: value for key, value in point.items() if value is not None} for point in points],
    }


def verdict(row: VerdictRow) -> dict[str, Any]:
    return {
        "validator": base58(row.authority),
        "verdict": name(Verdict(row.verdict)),
        "reason": name(Reason(row.reason)),
        "replayed": row.replayed,
        "intervals": row.intervals,
        "accuracyPpm": row.accuracy_ppm,
    }


def checkpoint(node: Node, row: EpochRow) -> dict[str, Any]:
    """The checkpoint object of an epoch that was cut."""
    set_row = node.database.get(db.SETS, db.u64be(row.set_version))
    if set_row is None:
        raise RuntimeError(f"validator set {row.set_version} of epoch {row.epoch} is not there")
    shown: dict[str, Any] = {
        **row.message.to_json(),
        "setVersion": row.set_version,
        "hash": row.hash.hex(),
        "status": row.status.value,
        "bitmap": bitmap_to_bytes(row.bitmap).hex(),
        "signers": row.bitmap.bit_count(),
        "setSize": len(set_row.entries),
        "records": row.records,
        "dataSha256": row.data_sha256.hex(),
    }
    optional = {"signature": row.l1_signature, "slot": row.posted_slot, "computeUnits": row.compute_units}
    if row.status in (CheckpointStatus.POSTED, CheckpointStatus.FINALIZED):
        shown |= {key: value for key, value in optional.items() if value is not None}
    return shown


def message(row: EpochRow) -> dict[str, Any]:
    """The message's fields and its hash, as a receipt carries them."""
    return {**row.message.to_json(), "hash": row.hash.hex()}
