"""Records: what an epoch's batch is made of. Exactly 160 bytes, big-endian, one fixed payload layout per op code, zero padding checked.

docs/protocol.md, section 5. A record has one encoding only: whatever a layout does not use must be zero, so nobody can make a second
record that means the same. A Record object is checked when it is made; encode() of one cannot fail.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar, Final
from zlib import crc32

VERSION: Final = 1
RECORD_BYTES: Final = 160
PAYLOAD_BYTES: Final = 98
_HEADER = struct.Struct(">BBI20s32s")
_BODY_BYTES = _HEADER.size + PAYLOAD_BYTES


class RecordError(ValueError):
    """Bytes that are no record, or fields that no record can hold; the message names the field."""


class Op(IntEnum):
    TASK_SUBMISSION = 1
    TASK_RESULT = 2
    WORKER_REGISTRATION = 3
    CONSENSUS_VOTE = 4
    GRADIENT_SHARE = 5
    VERIFICATION_PROOF = 6
    ECONOMIC_EVENT = 7
    NETWORK_STATE = 8


class Verdict(IntEnum):
    ACCEPT = 1
    REJECT = 2
    ABSTAIN = 3


class Reason(IntEnum):
    NONE = 0
    WRONG_STATE = 1
    WRONG_WORK_ROOT = 2
    WRONG_RESULT = 3
    WRONG_METRICS = 4
    BELOW_MIN_ACCURACY = 5
    DATA_MISSING = 6
    OTHER_ENVIRONMENT = 7
    WRONG_SEED = 8


class Kind(IntEnum):
    TRAINING = 1
    INFERENCE = 2
    ZK_PROOF = 3
    SIMULATION = 4


class Mode(IntEnum):
    EXACT = 1
    REPLAY = 2
    REDUNDANT = 3
    ZK = 4


class Event(IntEnum):
    DEPOSIT = 1
    PAYMENT = 2
    REFUND = 3
    SLASH = 4
    WITHDRAWAL = 5
    INBOX_TASK = 6
    FORCED_WITHDRAWAL = 7
    STRIKE = 8
    HOLD = 9
    SCHEDULE = 10


@dataclass(frozen=True, slots=True)
class TaskSubmission:
    OP: ClassVar = Op.TASK_SUBMISSION
    LAYOUT: ClassVar = struct.Struct(">QQQ32sBB")
    nonce: int
    fee_lamports: int
    deadline_slot: int
    spec_hash: bytes
    kind: Kind
    mode: Mode


@dataclass(frozen=True, slots=True)
class TaskResult:
    OP: ClassVar = Op.TASK_RESULT
    LAYOUT: ClassVar = struct.Struct(">QQ32s32s")
    nonce: int
    lease_id: int
    result_hash: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class WorkerRegistration:
    OP: ClassVar = Op.WORKER_REGISTRATION
    LAYOUT: ClassVar = struct.Struct(">Q32sQ32s")
    nonce: int
    public_key: bytes
    stake_lamports: int
    environment_hash: bytes


@dataclass(frozen=True, slots=True)
class ConsensusVote:
    """One validator's judgement of one result. accuracy_ppm is in millionths; replayed of intervals were re-run."""

    OP: ClassVar = Op.CONSENSUS_VOTE
    LAYOUT: ClassVar = struct.Struct(">HBB32sIII")
    set_index: int
    verdict: Verdict
    reason: Reason
    result_hash: bytes
    replayed: int
    intervals: int
    accuracy_ppm: int


@dataclass(frozen=True, slots=True)
class GradientShare:
    OP: ClassVar = Op.GRADIENT_SHARE
    LAYOUT: ClassVar = struct.Struct(">Q32s32s")
    iteration: int
    state_hash: bytes
    gradient_hash: bytes


@dataclass(frozen=True, slots=True)
class VerificationProof:
    """The BLS signature that draws a validator's sample, 96 bytes compressed; it proves itself."""

    OP: ClassVar = Op.VERIFICATION_PROOF
    LAYOUT: ClassVar = struct.Struct(">H96s")
    set_index: int
    sample_signature: bytes


@dataclass(frozen=True, slots=True)
class EconomicEvent:
    """Money that moves. EVENT_FIELDS says which fields an event uses; the others are zero.

    number is the nonce of a WITHDRAWAL, the deadline slot of an INBOX_TASK, the lamports asked for by a FORCED_WITHDRAWAL, the challenger's
    share of a STRIKE in basis points. spec_hash is a spec's in an INBOX_TASK, the hash of the result that was proved wrong in a STRIKE.
    kind_mode is kind << 4 | mode of an INBOX_TASK.
    """

    OP: ClassVar = Op.ECONOMIC_EVENT
    LAYOUT: ClassVar = struct.Struct(">BQQQQ32s32sB")
    event: Event
    number: int = 0
    lamports: int = 0
    inbox_index: int = 0
    slot: int = 0
    public_key: bytes = bytes(32)
    spec_hash: bytes = bytes(32)
    kind_mode: int = 0

    @property
    def kind(self) -> Kind:
        """Of an INBOX_TASK."""
        return Kind(self.kind_mode >> 4)

    @property
    def mode(self) -> Mode:
        """Of an INBOX_TASK."""
        return Mode(self.kind_mode & 0x0F)


@dataclass(frozen=True, slots=True)
class NetworkState:
    OP: ClassVar = Op.NETWORK_STATE
    LAYOUT: ClassVar = struct.Struct(">QHIIQ32s")
    epoch: int
    validators: int
    workers: int
    active_tasks: int
    stake_lamports: int
    state_root: bytes


Payload = (
    TaskSubmission
    | TaskResult
    | WorkerRegistration
    | ConsensusVote
    | GradientShare
    | VerificationProof
    | EconomicEvent
    | NetworkState
)

_INBOX_FIELDS: Final = frozenset({"lamports", "inbox_index", "slot", "public_key"})
EVENT_FIELDS: Final[dict[Event, frozenset[str]]] = {
    Event.DEPOSIT: _INBOX_FIELDS,
    Event.PAYMENT: frozenset({"task", "lamports"}),
    Event.REFUND: frozenset({"task", "lamports"}),
    Event.SLASH: frozenset({"task", "lamports"}),
    Event.WITHDRAWAL: frozenset({"number", "lamports"}),
    Event.INBOX_TASK: _INBOX_FIELDS | {"task", "number", "spec_hash", "kind_mode"},
    Event.FORCED_WITHDRAWAL: _INBOX_FIELDS | {"task", "number"},
    Event.STRIKE: _INBOX_FIELDS | {"task", "number", "spec_hash"},
    Event.HOLD: frozenset({"task", "lamports"}),
    Event.SCHEDULE: frozenset({"task"}),
}
"""The fields each economic event uses besides the event and the node."""

INBOX_EVENTS: Final = frozenset({Event.DEPOSIT, Event.INBOX_TASK, Event.FORCED_WITHDRAWAL, Event.STRIKE})
"""The events that take an inbox entry; they stand before every other record of a batch."""

_PAYLOADS: Final[dict[Op, type[Payload]]] = {
    kind.OP: kind
    for kind in (
        TaskSubmission,
        TaskResult,
        WorkerRegistration,
        ConsensusVote,
        GradientShare,
        VerificationProof,
        EconomicEvent,
        NetworkState,
    )
}
_ENUMS: Final[dict[str, type[IntEnum]]] = {
    "Kind": Kind,
    "Mode": Mode,
    "Verdict": Verdict,
    "Reason": Reason,
    "Event": Event,
}
_WIDTHS: Final = {"B": 1, "H": 2, "I": 4, "Q": 8}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    width: int
    enum: type[IntEnum] | None
    is_bytes: bool


def _describe(payload: type[Payload]) -> tuple[_Field, ...]:
    codes = payload.LAYOUT.format.lstrip(">").replace("32s", "h").replace("96s", "s")
    widths = {"h": 32, "s": 96, **_WIDTHS}
    return tuple(
        _Field(member.name, widths[code], _ENUMS.get(str(member.type)), code in "hs")
        for member, code in zip(fields(payload), codes, strict=True)
    )


_FIELDS: Final[dict[Op, tuple[_Field, ...]]] = {op: _describe(payload) for op, payload in _PAYLOADS.items()}


@dataclass(frozen=True, slots=True)
class Record:
    """One record: op code, time in Unix seconds (set by the sequencer, informative), node id 20 bytes, task id 32 bytes, payload.

    RecordError when a field is out of range, has another width, or is used by no record of that op code.
    """

    op: Op
    time: int
    node: bytes
    task: bytes
    payload: Payload

    def __post_init__(self) -> None:
        if type(self.payload) is not _PAYLOADS.get(self.op):
            raise RecordError(f"op code {self.op!r} does not carry a {type(self.payload).__name__}")
        _check_unsigned("time", self.time, 4)
        _check_bytes("node", self.node, 20)
        _check_bytes("task", self.task, 32)
        for member in _FIELDS[self.op]:
            value = getattr(self.payload, member.name)
            if member.is_bytes:
                _check_bytes(member.name, value, member.width)
            elif member.enum is not None and not isinstance(value, member.enum):
                raise RecordError(f"{member.name} must be a {member.enum.__name__}, got {value!r}")
            else:
                _check_unsigned(member.name, value, member.width)
        if isinstance(self.payload, EconomicEvent) and self.payload.event is Event.INBOX_TASK:
            _check_kind_mode(self.payload.kind_mode)
        for name in _unused(self.payload):
            holder: Any = self if name in ("node", "task") else self.payload
            if any(value) if isinstance(value := getattr(holder, name), bytes) else value:
                raise RecordError(f"{name} must be zero in {_title(self.payload)}")


def encode(record: Record) -> bytes:
    """The record's 160 bytes."""
    payload: Any = record.payload
    packed: bytes = payload.LAYOUT.pack(*(getattr(payload, member.name) for member in _FIELDS[record.op]))
    body = _HEADER.pack(VERSION, record.op, record.time, record.node, record.task) + packed.ljust(PAYLOAD_BYTES, b"\0")
    return body + crc32(body).to_bytes(4, "big")


def decode(data: bytes) -> Record:
    """The record in these bytes. RecordError when they are not the one encoding of a record."""
    if len(data) != RECORD_BYTES:
        raise RecordError(f"a record has {RECORD_BYTES} bytes, got {len(data)}")
    body, crc = data[:_BODY_BYTES], int.from_bytes(data[_BODY_BYTES:], "big")
    if crc32(body) != crc:
        raise RecordError(f"the CRC-32 is {crc:08x}, that of the bytes {crc32(body):08x}")
    version, code, time, node, task = _HEADER.unpack_from(body)
    if version != VERSION:
        raise RecordError(f"version {version} is not known, only {VERSION}")
    if code not in _PAYLOADS:
        raise RecordError(f"op code {code} is not known")
    op = Op(code)
    kind: Any = _PAYLOADS[op]
    end = _HEADER.size + kind.LAYOUT.size
    if any(body[end:]):
        raise RecordError(f"the padding of a {op.name} must be zero")
    values = kind.LAYOUT.unpack_from(body, _HEADER.size)
    payload = kind(*(_enum(member, value) for member, value in zip(_FIELDS[op], values, strict=True)))
    return Record(op, time, node, task, payload)


def needs_authorisation(record: Record) -> bool:
    """Whether an ed25519 signature must stand beside the record; the others are proved by inbox, state or themselves."""
    if isinstance(record.payload, EconomicEvent):
        return record.payload.event is Event.WITHDRAWAL
    return record.op in (Op.TASK_SUBMISSION, Op.TASK_RESULT, Op.WORKER_REGISTRATION, Op.CONSENSUS_VOTE)


def inbox_event(record: Record) -> EconomicEvent | None:
    """The payload of a record that takes an inbox entry; None for every other record."""
    payload = record.payload
    return payload if isinstance(payload, EconomicEvent) and payload.event in INBOX_EVENTS else None


def _unused(payload: Payload) -> tuple[str, ...]:
    if isinstance(payload, EconomicEvent):
        names = ("task", *(member.name for member in _FIELDS[Op.ECONOMIC_EVENT][1:]))
        return tuple(name for name in names if name not in EVENT_FIELDS[payload.event])
    if isinstance(payload, WorkerRegistration):
        return ("task",)
    return ("node", "task") if isinstance(payload, NetworkState) else ()


def _title(payload: Payload) -> str:
    return f"a {payload.event.name}" if isinstance(payload, EconomicEvent) else f"a {payload.OP.name}"


def _enum(member: _Field, value: Any) -> Any:
    if member.enum is None:
        return value
    try:
        return member.enum(value)
    except ValueError:
        raise RecordError(f"{member.name} {value} is not known") from None


def _check_kind_mode(kind_mode: int) -> None:
    if kind_mode >> 4 not in set(Kind) or kind_mode & 0x0F not in set(Mode):
        raise RecordError(f"kind_mode must be kind << 4 | mode of a known kind and mode, got {kind_mode:#04x}")


def _check_unsigned(name: str, value: object, width: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << (8 * width):
        raise RecordError(f"{name} must be an unsigned integer of {8 * width} bits, got {value!r}")


def _check_bytes(name: str, value: object, width: int) -> None:
    if not isinstance(value, bytes) or len(value) != width:
        given = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise RecordError(f"{name} must be {width} bytes, got {given}")
