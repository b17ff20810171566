"""A receipt: the Merkle proof that a PAYMENT record stands in a checkpoint (docs/rpc.md, getReceipt). Pure; the checkpoint account
is read by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from settlement import merkle, records
from settlement.accounts import Checkpoint, CheckpointStatus
from settlement.messages import CheckpointMessage
from settlement.records import EconomicEvent, Event, Record, RecordError
from settlement.signing import Domain
from settlement.tags import from_hex

# A batch has at most 4,096 records.
MAX_SIBLINGS = 12


class ReceiptError(ValueError):
    """The receipt proves nothing; the message says which step fails."""


@dataclass(frozen=True)
class Receipt:
    """`record` 160 bytes at `index` of `count`, `siblings` from the leaf upwards, `message` what L1 holds the hash of."""

    record: bytes
    index: int
    count: int
    siblings: tuple[bytes, ...]
    message: CheckpointMessage

    @classmethod
    def from_json(cls, given: Any) -> Receipt:
        """ReceiptError names the key that is missing or malformed."""
        if not isinstance(given, Mapping):
            raise ReceiptError("a receipt is a JSON object with record, index, count, siblings and checkpoint")
        missing = {"record", "index", "count", "siblings", "checkpoint"} - set(given)
        if missing:
            raise ReceiptError(f"the receipt has no {', '.join(sorted(missing))}")
        siblings = given["siblings"]
        if not isinstance(siblings, list) or len(siblings) > MAX_SIBLINGS:
            raise ReceiptError(f"siblings must be a list of at most {MAX_SIBLINGS} hashes in hex")
        if not isinstance(given["checkpoint"], Mapping):
            raise ReceiptError("checkpoint must be an object")
        try:
            message = CheckpointMessage.from_json(given["checkpoint"])
        except (TypeError, ValueError) as error:
            raise ReceiptError(f"checkpoint: {error}") from None
        return cls(
            _hex("record", given["record"], records.RECORD_BYTES),
            _count("index", given["index"]),
            _count("count", given["count"]),
            tuple(_hex(f"siblings[{i}]", sibling, 32) for i, sibling in enumerate(siblings)),
            message,
        )


@dataclass(frozen=True)
class Payment:
    """The worker's node id (20 bytes), the task id (32 bytes), and what was paid."""

    node: bytes
    task: bytes
    lamports: int


def check_proof(receipt: Receipt) -> Payment:
    """The payment that the record states, once it is proved to stand under the message's results root. Needs no network."""
    try:
        record: Record = records.decode(receipt.record)
    except RecordError as error:
        raise ReceiptError(f"the record is malformed: {error}") from None
    payload = record.payload
    if not isinstance(payload, EconomicEvent) or payload.event is not Event.PAYMENT:
        raise ReceiptError(f"the record is a {record.op.name}, not a PAYMENT")
    root = receipt.message.results_root
    if not merkle.verify("results-root", root, receipt.record, receipt.index, receipt.count, receipt.siblings):
        raise ReceiptError(f"the siblings do not lead from the record to the results root {root.hex()}")
    return Payment(record.node, record.task, payload.lamports)


def check_settled(receipt: Receipt, checkpoint: Checkpoint, domain: Domain) -> None:
    """That L1's finalized checkpoint of this epoch is the receipt's message. ReceiptError otherwise."""
    digest = receipt.message.hash(domain)
    if digest != checkpoint.hash:
        raise ReceiptError(
            f"the receipt's message hashes to {digest.hex()}, but epoch {checkpoint.epoch} on L1 is {checkpoint.hash.hex()}"
        )
    if checkpoint.status is not CheckpointStatus.FINALIZED:
        raise ReceiptError(
            f"the checkpoint of epoch {checkpoint.epoch} is {checkpoint.status.name.lower()}, not finalized: ask again later"
        )


def _hex(name: str, value: object, length: int) -> bytes:
    try:
        return from_hex(name, value, length)
    except ValueError as error:
        raise ReceiptError(str(error)) from None


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ReceiptError(f"{name} must be a number from 0, got {value!r}")
    return value
