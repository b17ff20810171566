"""The JSON objects of docs/rpc.md, made from rows."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from solders.pubkey import Pubkey

from sequencer import database as db
from sequencer import results as r
from sequencer.lifecycle import CheckpointStatus
from sequencer.node import Node
from sequencer.rows import EpochRow, Lease, TaskRow, VerdictRow
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


def task(node: Node, row: TaskRow) -> r.Task:
    """The task object."""
    return r.Task(
        task_id=row.task_id.hex(),
        client=base58(row.client),
        kind=name(Kind(row.kind)),
        mode=name(Mode(row.mode)),
        status=row.status,
        spec=spec(node, row.spec_hash),
        spec_hash=row.spec_hash.hex(),
        fee_lamports=row.fee_lamports,
        deadline_slot=row.deadline_slot,
        rejections=[r.Refused(worker=base58(one.worker), reason=name(Reason(one.reason))) for one in row.rejections],
        worker=UNSET if row.worker is None else base58(row.worker),
        lease_expiry_slot=UNSET if row.lease is None else row.lease.expiry_slot,
        progress=UNSET if row.lease is None else progress(node, row.lease),
        accuracy=r.unless_none(row.accuracy),
        epoch=r.unless_none(row.epoch),
        replayed_share=r.unless_none(row.replayed_share),
    )


def progress(node: Node, lease: Lease) -> r.ProgressSaid | UnsetType:
    """What was said under this lease."""
    lease_id, said = node.progress.get(lease.worker, (None, None))
    if said is None or lease_id != lease.lease_id:
        return UNSET
    points = [r.PointSaid(step=p.step, loss=p.loss, accuracy=r.unless_none(p.accuracy)) for p in said.points]
    return r.ProgressSaid(verified=False, steps=said.steps, points=points)


def verdict(row: VerdictRow) -> r.VerdictGiven:
    return r.VerdictGiven(
        validator=base58(row.authority),
        verdict=name(Verdict(row.verdict)),
        reason=name(Reason(row.reason)),
        replayed=row.replayed,
        intervals=row.intervals,
        accuracy_ppm=row.accuracy_ppm,
    )


def checkpoint(node: Node, row: EpochRow) -> r.Checkpoint:
    """The checkpoint object of an epoch that was cut."""
    set_row = node.database.get(db.SETS, db.u64be(row.set_version))
    if set_row is None:
        raise RuntimeError(f"validator set {row.set_version} of epoch {row.epoch} is not there")
    on_l1 = row.status not in (CheckpointStatus.ATTESTING, CheckpointStatus.POSTING)
    return r.Checkpoint(
        **msgspec.structs.asdict(message(row)),
        set_version=row.set_version,
        status=row.status,
        bitmap=bitmap_to_bytes(row.bitmap).hex(),
        signers=row.bitmap.bit_count(),
        set_size=len(set_row.entries),
        records=row.records,
        data_sha256=row.data_sha256.hex(),
        signature=r.unless_none(row.l1_signature if on_l1 else None),
        slot=r.unless_none(row.posted_slot if on_l1 else None),
        compute_units=r.unless_none(row.compute_units if on_l1 else None),
    )


def message(row: EpochRow) -> r.Message:
    """The message's fields and its hash, as a receipt carries them."""
    return msgspec.convert({**row.message.to_json(), "hash": row.hash.hex()}, r.Message)
