"""Methods for workers: registering, pulling under a lease, committing and revealing."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from sequencer import assignment, crash, views
from sequencer import database as db
from sequencer import params as p
from sequencer import results as r
from sequencer.blobs import BlobRefused
from sequencer.errors import RpcError
from sequencer.lifecycle import Status, TaskEvent
from sequencer.methods import Method, Recorded, Signed
from sequencer.methods_client import need_room
from sequencer.node import Node
from sequencer.rows import GroupKind, Lease, ResultRow, TaskRow, WorkerRow
from settlement import messages, records, work
from settlement.ledger import MIN_WORKER_STAKE, TaskStatus
from settlement.records import Op, Record, TaskResult, WorkerRegistration
from settlement.rpc_codes import Code
from settlement.signing import Authorisation, node_id
from settlement.spec import MAX_INTERVALS

MAX_ENVIRONMENT_BYTES = 4096
MAX_ENTRIES_BYTES = (MAX_INTERVALS + 1) * work.WORK_ENTRY_BYTES


def _environment_hash(environment: dict[str, Any]) -> bytes:
    if len(msgspec.json.encode(environment)) > MAX_ENVIRONMENT_BYTES:
        raise RpcError(Code.INVALID_PARAMS, f"environment has more than {MAX_ENVIRONMENT_BYTES} bytes")
    try:
        return work.environment_hash(environment)
    except ValueError as error:
        raise RpcError(Code.INVALID_PARAMS, f"environment has no canonical JSON (RFC 8785): {error}") from None


def _registration(node: Node, worker: bytes, params: p.RegisterWorker) -> Record:
    payload = WorkerRegistration(params.nonce, worker, params.stake_lamports, _environment_hash(params.environment))
    return Record(Op.WORKER_REGISTRATION, 0, node_id(worker), bytes(32), payload)


def register_worker(
    node: Node, tx: db.Transaction, record: Record, authorisation: Authorisation, params: p.RegisterWorker
) -> r.Registered:
    """Adds to the stake; the environment named last is the one that counts."""
    need_room(node)
    pair = (records.encode(record), authorisation.encode())
    node.append(tx, GroupKind.REGISTRATION, bytes(32), [pair], authorisation.expiry_slot)
    account = tx.read(node.chain.position_cell).open.state.account(record.node)
    assert account is not None
    if account.locked_stake < MIN_WORKER_STAKE:
        raise RpcError(
            Code.STAKE_TOO_LOW,
            f"a worker locks at least {MIN_WORKER_STAKE} lamports, this would make {account.locked_stake}",
            {"minimumLamports": MIN_WORKER_STAKE},
        )
    key = authorisation.public_key
    row = tx.get(db.WORKERS, key) or WorkerRow(public_key=key, environment_json=b"")
    tx.put(db.WORKERS, key, msgspec.structs.replace(row, environment_json=msgspec.json.encode(params.environment)))
    return r.Registered(public_key=params.auth.public_key, locked_stake_lamports=account.locked_stake)


def pull_task(node: Node, tx: db.Transaction, worker: bytes, params: p.PullTask) -> r.Granted | None:
    """The task that the worker holds already, else the first that it may have, else null."""
    registered = tx.get(db.WORKERS, worker)
    account = node.state.account(node_id(worker))
    if account is None:
        raise RpcError(Code.UNKNOWN_ACCOUNT, f"{params.auth.public_key} has no account; a deposit on L1 makes one")
    if registered is None or not assignment.is_staked(account):
        raise RpcError(
            Code.STAKE_TOO_LOW,
            f"a worker must register and keep {MIN_WORKER_STAKE} lamports locked, this one has {account.locked_stake}",
            {"minimumLamports": MIN_WORKER_STAKE},
        )
    held = node.tasks.holders.get(worker)
    row = node.tasks.get(tx, held) if held else None
    if row is None or row.lease is None or assignment.expired(row.lease, node.slot):
        gpu = assignment.has_gpu(msgspec.json.decode(registered.environment_json))
        row = assignment.choose(
            (task for task in node.tasks.pending() if task.task_id != held and _is_open(node, task, worker)),
            worker,
            slot=node.slot,
            margin_slots=node.config.lease_slots // 4,
            gpu=gpu,
        )
        if row is None:
            return None
        if held and (stale := node.tasks.get(tx, held)) is not None:
            node.end_lease(tx, stale)
        meta = node.chain.meta(tx)
        node.chain.set_meta(tx, msgspec.structs.replace(meta, next_lease_id=meta.next_lease_id + 1))
        lease = Lease(lease_id=meta.next_lease_id, worker=worker, expiry_slot=node.slot + node.config.lease_slots)
        row = node.tasks.step(tx, row, TaskEvent.LEASE, lease=lease, worker=worker)
    assert row.lease is not None
    lease_granted = r.Lease(lease_id=row.lease.lease_id, expiry_slot=row.lease.expiry_slot)
    return r.Granted(lease=lease_granted, task=views.task(node, row))


def _is_open(node: Node, task: TaskRow, worker: bytes) -> bool:
    """Whether the ledger has the task as pending too (its submission may have fallen with a deposit that L1 took back), and it is not
    others' turn first because this worker let leases on it end."""
    entry = node.state.task(task.task_id)
    if node.slot < node.lapses.free_at(task.task_id, worker, node.config.lease_slots):
        return False
    return entry is not None and entry.status is TaskStatus.PENDING


def _held(node: Node, tx: db.Transaction, worker: bytes, task_id: str, lease_id: int) -> TaskRow:
    row = node.tasks.get(tx, bytes.fromhex(task_id))
    if row is None:
        raise RpcError(Code.UNKNOWN_TASK, f"there is no task {task_id}")
    if row.status not in (Status.LEASED, Status.COMMITTED) or not assignment.holds(row, worker, lease_id, node.slot):
        raise RpcError(
            Code.LEASE_LOST, f"lease {lease_id} on task {task_id} expired or is another's (slot {node.slot})"
        )
    return row


def renew_lease(node: Node, tx: db.Transaction, worker: bytes, params: p.RenewLease) -> r.Renewed:
    row = _held(node, tx, worker, params.task_id, params.lease_id)
    assert row.lease is not None
    expiry_slot = max(row.lease.expiry_slot, node.slot + node.config.lease_slots)
    node.tasks.step(tx, row, TaskEvent.RENEW, lease=msgspec.structs.replace(row.lease, expiry_slot=expiry_slot))
    if (progress := params.progress) is not None:
        tx.after(lambda: node.progress.__setitem__(worker, (params.lease_id, progress)))
    return r.Renewed(expiry_slot=expiry_slot)


def commit_result(node: Node, tx: db.Transaction, worker: bytes, params: p.CommitResult) -> r.TaskStatus:
    """The commitment stands as first given: a worker that saw others' results cannot change its mind."""
    row = _held(node, tx, worker, params.task_id, params.lease_id)
    commitment = bytes.fromhex(params.commitment)
    if row.status is Status.LEASED:
        row = node.tasks.step(tx, row, TaskEvent.COMMIT, commitment=commitment)
    elif row.commitment != commitment:
        raise RpcError(Code.WRONG_COMMITMENT, "this lease has another commitment already; it cannot be changed")
    return r.TaskStatus(status=row.status)


def _result(node: Node, worker: bytes, params: p.RevealResult) -> Record:
    payload = TaskResult(params.nonce, params.lease_id, bytes.fromhex(params.result_hash), bytes.fromhex(params.salt))
    return Record(Op.TASK_RESULT, 0, node_id(worker), bytes.fromhex(params.task_id), payload)


def reveal_result(
    node: Node, tx: db.Transaction, record: Record, authorisation: Authorisation, params: p.RevealResult
) -> r.TaskStatus:
    payload = record.payload
    assert isinstance(payload, TaskResult)
    worker = authorisation.public_key
    row = _held(node, tx, worker, params.task_id, params.lease_id)
    if row.status is not Status.COMMITTED or row.commitment is None:
        raise RpcError(Code.WRONG_COMMITMENT, "commit before you reveal")
    commitment = messages.commitment(
        node.domain, row.task_id, params.lease_id, worker, payload.salt, payload.result_hash
    )
    if commitment != row.commitment:
        raise RpcError(
            Code.WRONG_COMMITMENT,
            f"salt and resultHash lead to {commitment.hex()}, committed was {row.commitment.hex()}",
        )
    _check_result_hash(row, worker, params)
    entries = _check_trace(node, params)
    need_room(node)
    raw = records.encode(record)
    node.append(tx, GroupKind.RESULT, row.task_id, [(raw, authorisation.encode())], authorisation.expiry_slot)
    result = ResultRow(
        task_id=row.task_id,
        commitment=commitment,
        worker=worker,
        lease_id=params.lease_id,
        salt=payload.salt,
        result_hash=payload.result_hash,
        work_root=bytes.fromhex(params.work_root),
        entries_sha256=bytes.fromhex(params.entries_sha256),
        model_sha256=bytes.fromhex(params.model_sha256),
        metrics_json=msgspec.json.encode(params.metrics),
        environment_json=msgspec.json.encode(params.environment),
        accuracy=params.metrics.accuracy,
        intervals=len(entries) - 1,
        revealed_slot=node.slot,
    )
    tx.put(db.RESULTS, row.task_id + commitment, result)
    node.uploads.end(tx, [result.entries_sha256, result.model_sha256, *(entry.state_hash for entry in entries)])
    row = node.tasks.step(tx, row, TaskEvent.REVEAL, lease=None)
    return r.TaskStatus(status=row.status)


def _check_result_hash(row: TaskRow, worker: bytes, params: p.RevealResult) -> None:
    if not math.isfinite(params.metrics.loss):
        raise RpcError(Code.INVALID_PARAMS, "metrics.loss must be finite")
    expected = messages.result_hash(
        row.task_id,
        worker,
        row.mode,
        _environment_hash(params.environment),
        bytes.fromhex(params.work_root),
        bytes.fromhex(params.model_sha256),
        work.metrics_hash(params.metrics.accuracy, params.metrics.loss),
    )
    if expected.hex() != params.result_hash:
        raise RpcError(Code.WRONG_COMMITMENT, f"the parts of the result hash to {expected.hex()}, not to resultHash")


def _check_trace(node: Node, params: p.RevealResult) -> list[work.WorkEntry]:
    """The uploaded trace, once its root is the one named and all that it names is here."""
    entries_sha256 = bytes.fromhex(params.entries_sha256)
    need_blobs(node, [entries_sha256, bytes.fromhex(params.model_sha256)])
    try:
        entries = work.decode_entries(node.blobs.read(entries_sha256, MAX_ENTRIES_BYTES))
    except (ValueError, BlobRefused) as error:
        raise RpcError(Code.WRONG_COMMITMENT, f"the entries are no trace: {error}") from None
    if len(entries) < 2:
        raise RpcError(Code.WRONG_COMMITMENT, f"a trace has at least 2 entries, this one has {len(entries)}")
    if work.work_root(entries).hex() != params.work_root:
        raise RpcError(Code.WRONG_COMMITMENT, f"the entries' root is {work.work_root(entries).hex()}, not workRoot")
    need_blobs(node, [entry.state_hash for entry in entries])
    return list(entries)


def need_blobs(node: Node, digests: list[bytes]) -> None:
    missing = node.blobs.missing(digests)
    if missing:
        raise RpcError(Code.BLOB_MISSING, f"{len(missing)} blobs must be uploaded first", {"missing": missing})


_LEASE = (Code.UNKNOWN_TASK, Code.LEASE_LOST)

METHODS: dict[str, Method] = {
    "registerWorker": Recorded(p.RegisterWorker, _registration, register_worker, r.Registered, (Code.STAKE_TOO_LOW,)),
    "pullTask": Signed(p.PullTask, pull_task, r.Granted | None, (Code.UNKNOWN_ACCOUNT, Code.STAKE_TOO_LOW)),
    "renewLease": Signed(p.RenewLease, renew_lease, r.Renewed, _LEASE),
    "commitResult": Signed(
        p.CommitResult,
        commit_result,
        r.TaskStatus,
        (*_LEASE, Code.WRONG_COMMITMENT),
        lambda node: crash.point("committed"),
    ),
    "revealResult": Recorded(
        p.RevealResult,
        _result,
        reveal_result,
        r.TaskStatus,
        (*_LEASE, Code.WRONG_COMMITMENT, Code.BLOB_MISSING, Code.STAKE_TOO_LOW, Code.DEADLINE),
        lambda node: crash.point("revealed"),
    ),
}
