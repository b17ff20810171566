"""Methods for clients: submitting tasks, withdrawing, and looking at tasks, balances, epochs, receipts and the node itself."""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from solders.hash import Hash

from sequencer import crash, metrics, views
from sequencer import database as db
from sequencer import params as p
from sequencer import results as r
from sequencer.batch import split
from sequencer.blobs import BlobRefused
from sequencer.chain import Position
from sequencer.epoch import Head, next_attempt
from sequencer.errors import RpcError
from sequencer.lifecycle import CheckpointStatus, Status
from sequencer.methods import Method, Read, Recorded
from sequencer.node import Node
from sequencer.rows import EpochRow, GroupKind, OrderRow, SpecRow, TaskRow, WorkerRow
from sequencer.tasks import TERMINAL
from settlement import merkle, messages, records
from settlement import spec as specs
from settlement.ledger import Account, State, account_key
from settlement.records import EconomicEvent, Event, Kind, Mode, Op, Record, TaskSubmission
from settlement.rpc_codes import Code
from settlement.signing import Authorisation, node_id

MAX_TASKS_LOOKED_AT = 10_000
MAX_SPEC_BYTES = 64 * 1024
MIN_DEADLINE_SLOTS = 100
"""A task must at least be leased, trained and revealed in time; less than this at submission cannot work out."""


def _submission(node: Node, client: bytes, params: p.SubmitTask) -> Record:
    try:
        spec_hash = specs.spec_hash(params.spec)
        spec = specs.parse(params.spec)
    except (specs.UnsupportedKind, specs.UnsupportedMode) as error:
        raise RpcError(Code.UNSUPPORTED_MODE, str(error), {"key": error.key}) from None
    except specs.SpecError as error:
        raise RpcError(Code.INVALID_SPEC, str(error), {"key": error.key}) from None
    task_id = messages.task_id(node.domain, client, params.nonce, spec_hash)
    payload = TaskSubmission(
        nonce=params.nonce,
        fee_lamports=params.fee_lamports,
        deadline_slot=params.deadline_slot,
        spec_hash=spec_hash,
        kind=Kind[spec.kind.upper()],
        mode=Mode[spec.mode.upper()],
    )
    return Record(Op.TASK_SUBMISSION, 0, node_id(client), task_id, payload)


def submit_task(
    node: Node, tx: db.Transaction, record: Record, authorisation: Authorisation, params: p.SubmitTask
) -> r.Submitted:
    payload = record.payload
    assert isinstance(payload, TaskSubmission)
    spec = specs.parse(params.spec)
    spec_json = msgspec.json.encode(params.spec)
    if len(spec_json) > MAX_SPEC_BYTES:
        raise RpcError(Code.INVALID_SPEC, f"the spec has {len(spec_json)} bytes, at most {MAX_SPEC_BYTES} are allowed")
    if params.deadline_slot < node.slot + MIN_DEADLINE_SLOTS:
        lowest = node.slot + MIN_DEADLINE_SLOTS
        raise RpcError(Code.DEADLINE, f"deadlineSlot must be at least {lowest}", {"lowest": lowest})
    need_room(node)
    raw = records.encode(record)
    node.append(tx, GroupKind.SUBMISSION, record.task, [(raw, authorisation.encode())], authorisation.expiry_slot)
    dataset = bytes.fromhex(spec.dataset_info.sha256)
    missing = node.blobs.missing([dataset])
    if missing:
        raise RpcError(Code.BLOB_MISSING, "upload the dataset first", {"missing": missing})
    node.uploads.end(tx, [dataset])
    meta = node.chain.meta(tx)
    node.chain.set_meta(tx, msgspec.structs.replace(meta, next_order=meta.next_order + 1))
    tx.put(db.SPECS, payload.spec_hash, SpecRow(spec_json=spec_json))
    row = TaskRow(
        task_id=record.task,
        order=meta.next_order,
        client=authorisation.public_key,
        nonce=payload.nonce,
        spec_hash=payload.spec_hash,
        fee_lamports=payload.fee_lamports,
        deadline_slot=payload.deadline_slot,
        kind=payload.kind,
        mode=payload.mode,
        needs_gpu=spec.performance_requirements.gpu,
    )
    node.tasks.put(tx, row)
    tx.put(db.ORDERS, db.u64be(row.order), OrderRow(task_id=row.task_id))
    tx.after(metrics.TASKS_SUBMITTED.inc)
    return r.Submitted(task_id=record.task.hex(), status=row.status)


def need_room(node: Node) -> None:
    """RATE_LIMITED while the open batch is full: validators must first attest the one before it."""
    if node.chain.open.records >= node.config.max_records:
        raise RpcError(
            Code.RATE_LIMITED, f"epoch {node.chain.open.epoch} is full; try again once the one before it is posted"
        )


def _withdrawal(node: Node, owner: bytes, params: p.Withdraw) -> Record:
    payload = EconomicEvent(Event.WITHDRAWAL, number=params.nonce, lamports=params.lamports)
    return Record(Op.ECONOMIC_EVENT, 0, node_id(owner), bytes(32), payload)


def withdraw(
    node: Node, tx: db.Transaction, record: Record, authorisation: Authorisation, params: p.Withdraw
) -> r.Withdrawn:
    need_room(node)
    pair = (records.encode(record), authorisation.encode())
    node.append(tx, GroupKind.WITHDRAWAL, bytes(32), [pair], authorisation.expiry_slot)
    account = tx.read(node.chain.position_cell).open.state.account(record.node)
    assert account is not None
    return r.Withdrawn(public_key=params.auth.public_key, payable_lamports=account.payable)


def find_task(node: Node, task_id: str) -> TaskRow:
    row = node.tasks.committed(bytes.fromhex(task_id))
    if row is None:
        raise RpcError(Code.UNKNOWN_TASK, f"there is no task {task_id}")
    return row


def get_task(node: Node, params: p.OfTask) -> r.Task:
    return views.task(node, find_task(node, params.task_id))


def get_tasks(node: Node, params: p.GetTasks) -> r.TaskPage:
    below = find_task(node, params.before).order if params.before else node.chain.meta_cell.value.next_order
    client = p.public_key(params.client) if params.client else None
    worker = p.public_key(params.worker) if params.worker else None
    found: list[r.Task] = []
    rows = node.tasks.newest(below, settled=params.status in (None, *TERMINAL))
    last = None
    for row in islice(rows, MAX_TASKS_LOOKED_AT):
        last = row
        wanted = (params.status, row.status), (client, row.client), (worker, row.worker)
        if all(asked is None or asked == is_there for asked, is_there in wanted):
            found.append(views.task(node, row))
            if len(found) == params.limit:
                break
    is_more = last is not None and next(rows, None) is not None
    return r.TaskPage(tasks=found, next=last.task_id.hex() if last is not None and is_more else UNSET)


def get_task_result(node: Node, params: p.OfTask) -> r.TaskResult:
    row = find_task(node, params.task_id)
    result = node.result_of(node.database, row)
    if result is None:
        raise RpcError(Code.NOT_FOUND, f"task {params.task_id} is {row.status.value}: no result is revealed")
    return r.TaskResult(
        task_id=params.task_id,
        worker=views.base58(result.worker),
        result_hash=result.result_hash.hex(),
        model_sha256=result.model_sha256.hex(),
        entries_sha256=result.entries_sha256.hex(),
        work_root=result.work_root.hex(),
        metrics=msgspec.json.decode(result.metrics_json, type=p.Metrics),
        environment=msgspec.json.decode(result.environment_json),
        verdicts=[views.verdict(verdict) for verdict in node.verdicts_on(node.database, row)],
        epoch=r.unless_none(row.epoch),
    )


def get_receipt(node: Node, params: p.OfTask) -> r.Receipt:
    row = find_task(node, params.task_id)
    epoch = node.database.get(db.EPOCHS, db.u64be(row.epoch)) if row.epoch and row.status is Status.PAID else None
    if epoch is None or epoch.status not in (CheckpointStatus.POSTED, CheckpointStatus.FINALIZED):
        raise RpcError(
            Code.NOT_FOUND, f"task {params.task_id} is {row.status.value}: no checkpoint with its payment is on L1 yet"
        )
    try:
        data = node.blobs.read(epoch.data_sha256, 2**24)
    except (FileNotFoundError, BlobRefused):
        missing = [epoch.data_sha256.hex()]
        message = (
            f"the records of epoch {epoch.epoch} are damaged on this node; whoever has that blob may upload it again"
        )
        raise RpcError(Code.BLOB_MISSING, message, {"missing": missing}) from None
    leaves, _ = split(data, epoch.records)
    index = next((i for i, raw in enumerate(leaves) if _pays(raw, row.task_id)), None)
    if index is None:
        raise RuntimeError(f"epoch {epoch.epoch} does not hold the payment of task {params.task_id}")
    return r.Receipt(
        record=leaves[index].hex(),
        index=index,
        count=len(leaves),
        siblings=[sibling.hex() for sibling in merkle.proof(leaves, index)],
        checkpoint=views.message(epoch),
    )


def _pays(raw: bytes, task_id: bytes) -> bool:
    if raw[1] != Op.ECONOMIC_EVENT:
        return False
    record = records.decode(raw)
    return (
        record.task == task_id and isinstance(record.payload, EconomicEvent) and record.payload.event is Event.PAYMENT
    )


def get_balance(node: Node, params: p.GetBalance) -> r.Balance:
    position = node.chain.position
    if params.commitment == "processed":
        state, epoch = position.open.state, position.open.epoch
    else:
        config = node.view.config if params.commitment == "confirmed" else node.view.finalized_config
        head = _head_at(position, config.finalized.epoch if config else 0)
        state, epoch = head.state, head.epoch
    key = p.public_key(params.public_key)
    account: Account | None = state.account(node_id(key))
    if account is None:
        raise RpcError(
            Code.UNKNOWN_ACCOUNT, f"{params.public_key} has no account in this state; a deposit on L1 makes one"
        )
    return r.Balance(
        balance_lamports=account.balance,
        locked_fees_lamports=account.locked_fees,
        locked_stake_lamports=account.locked_stake,
        payable_lamports=account.payable,
        nonce=account.nonce,
        state_root=state.root.hex(),
        epoch=epoch,
        proof=_proof(state, node_id(key)) if params.with_proof else UNSET,
    )


def _proof(state: State, node: bytes) -> r.AccountProof:
    value, siblings = state.proof(account_key(node))
    return r.AccountProof(value=value.hex(), siblings=[sibling.hex() for sibling in siblings])


def _head_at(position: Position, epoch: int) -> Head:
    """The newest head up to `epoch` that is kept: the last final one, or one of those posted after it."""
    heads = [flight.head for flight in position.posted if flight.head.epoch <= epoch]
    return heads[-1] if heads else position.finalized


def get_epoch_info(node: Node, params: p.Nothing) -> r.EpochInfo:
    position = node.chain.position
    before = node.database.get(db.ATTEMPTS, db.u64be(position.open.epoch))
    return r.EpochInfo(
        epoch=position.open.epoch,
        attempt=next_attempt(before, position.open.base_slot, node.slot),
        slot=node.slot,
        records=position.open.records,
        posted_epoch=position.posted_head.epoch,
        finalized_epoch=position.finalized.epoch,
        seconds_open=0.0 if node.open_since is None else node.now() - node.open_since,
    )


def find_epoch(node: Node, epoch: int) -> EpochRow:
    row = node.database.get(db.EPOCHS, db.u64be(epoch)) if epoch < 2**64 else None
    if row is None:
        raise RpcError(Code.NOT_FOUND, f"epoch {epoch} is not cut yet; the open one is {node.chain.open.epoch}")
    return row


def get_checkpoint(node: Node, params: p.GetCheckpoint) -> r.Checkpoint:
    return views.checkpoint(node, find_epoch(node, params.epoch))


def get_validators(node: Node, params: p.Nothing) -> list[r.Validator]:
    return [
        r.Validator(
            set_index=index,
            authority=views.base58(entry.authority),
            bls_public_key=entry.bls_public_key.hex(),
            stake_lamports=entry.stake_lamports,
            last_seen_slot=node.last_seen_slots.get(entry.authority, 0),
        )
        for index, entry in enumerate(node.chain.open.context.validator_set.entries)
    ]


def get_workers(node: Node, params: p.Nothing) -> list[r.Worker]:
    paid, rejected = node.tasks.paid, node.tasks.rejected
    return [
        _worker(node, row, paid[row.public_key], rejected[row.public_key]) for _, row in node.database.scan(db.WORKERS)
    ]


def _worker(node: Node, worker: WorkerRow, paid: int, rejected: int) -> r.Worker:
    account = node.state.account(node_id(worker.public_key))
    return r.Worker(
        public_key=views.base58(worker.public_key),
        locked_stake_lamports=account.locked_stake if account else 0,
        environment=msgspec.json.decode(worker.environment_json),
        tasks_paid=paid,
        tasks_rejected=rejected,
        lease=_lease_of(node, worker.public_key),
    )


def _lease_of(node: Node, worker: bytes) -> r.HeldLease | UnsetType:
    held = node.tasks.holders.get(worker)
    row = node.tasks.committed(held) if held else None
    if row is None or row.lease is None:
        return UNSET
    return r.HeldLease(task_id=row.task_id.hex(), lease_id=row.lease.lease_id, expiry_slot=row.lease.expiry_slot)


def get_health(node: Node, params: p.Nothing) -> Literal["ok"]:
    lag = node.lag()
    if lag:
        raise RpcError(Code.NODE_UNHEALTHY, lag)
    return "ok"


def get_version(node: Node, params: p.Nothing) -> r.Version:
    return r.Version(
        pouw=version("pouw"),
        protocol=1,
        genesis_hash=str(Hash.from_bytes(node.domain.genesis)),
        program_id=views.base58(node.domain.program),
        l1_url=node.l1_url,
    )


METHODS: dict[str, Method] = {
    "submitTask": Recorded(
        p.SubmitTask,
        _submission,
        submit_task,
        r.Submitted,
        (Code.INVALID_SPEC, Code.UNSUPPORTED_MODE, Code.DEADLINE, Code.BLOB_MISSING),
        lambda node: crash.point("task_acknowledged"),
    ),
    "withdraw": Recorded(p.Withdraw, _withdrawal, withdraw, r.Withdrawn),
    "getTask": Read(p.OfTask, get_task, r.Task, (Code.UNKNOWN_TASK,)),
    "getTasks": Read(p.GetTasks, get_tasks, r.TaskPage, (Code.UNKNOWN_TASK,)),
    "getTaskResult": Read(p.OfTask, get_task_result, r.TaskResult, (Code.UNKNOWN_TASK, Code.NOT_FOUND)),
    "getReceipt": Read(p.OfTask, get_receipt, r.Receipt, (Code.UNKNOWN_TASK, Code.NOT_FOUND)),
    "getBalance": Read(p.GetBalance, get_balance, r.Balance, (Code.UNKNOWN_ACCOUNT,)),
    "getEpochInfo": Read(p.Nothing, get_epoch_info, r.EpochInfo),
    "getCheckpoint": Read(p.GetCheckpoint, get_checkpoint, r.Checkpoint, (Code.NOT_FOUND,)),
    "getValidators": Read(p.Nothing, get_validators, list[r.Validator]),
    "getWorkers": Read(p.Nothing, get_workers, list[r.Worker]),
    "getHealth": Read(p.Nothing, get_health, Literal["ok"], (Code.NODE_UNHEALTHY,)),
    "getVersion": Read(p.Nothing, get_version, r.Version),
}
