import struct
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement import records
from settlement.records import (
    ConsensusVote,
    EconomicEvent,
    Event,
    GradientShare,
    Kind,
    Mode,
    NetworkState,
    Op,
    Reason,
    Record,
    RecordError,
    TaskResult,
    TaskSubmission,
    Verdict,
    VerificationProof,
    WorkerRegistration,
)
from tests.settlement import kit, naive

u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))


def of(width: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=width, max_size=width)


ZERO, h20, h32 = st.just(bytes(32)), of(20), of(32)
ENTRY: dict[str, Any] = {"lamports": u64, "inbox_index": u64, "slot": u64, "public_key": h32}
kind_modes = st.builds(lambda kind, mode: kind << 4 | mode, st.sampled_from(Kind), st.sampled_from(Mode))
PAYLOADS: dict[Op, st.SearchStrategy[Any]] = {
    Op.TASK_SUBMISSION: st.builds(TaskSubmission, u64, u64, u64, h32, st.sampled_from(Kind), st.sampled_from(Mode)),
    Op.TASK_RESULT: st.builds(TaskResult, u64, u64, h32, h32),
    Op.WORKER_REGISTRATION: st.builds(WorkerRegistration, u64, h32, u64, h32),
    Op.CONSENSUS_VOTE: st.builds(
        ConsensusVote, u16, st.sampled_from(Verdict), st.sampled_from(Reason), h32, u32, u32, u32
    ),
    Op.GRADIENT_SHARE: st.builds(GradientShare, u64, h32, h32),
    Op.VERIFICATION_PROOF: st.builds(VerificationProof, u16, of(96)),
    Op.ECONOMIC_EVENT: st.one_of(
        st.builds(EconomicEvent, st.just(Event.DEPOSIT), **ENTRY),
        st.builds(EconomicEvent, st.just(Event.FORCED_WITHDRAWAL), number=u64, **ENTRY),
        st.builds(EconomicEvent, st.just(Event.INBOX_TASK), number=u64, spec_hash=h32, kind_mode=kind_modes, **ENTRY),
        st.builds(EconomicEvent, st.just(Event.STRIKE), number=u64, spec_hash=h32, **ENTRY),
        st.builds(EconomicEvent, st.sampled_from([Event.PAYMENT, Event.REFUND, Event.SLASH, Event.HOLD]), lamports=u64),
        st.builds(EconomicEvent, st.just(Event.SCHEDULE)),
        st.builds(EconomicEvent, st.just(Event.WITHDRAWAL), number=u64, lamports=u64),
    ),
    Op.NETWORK_STATE: st.builds(NetworkState, u64, u16, u32, u32, u64, h32),
}
LAYOUTS = {
    Op.TASK_SUBMISSION: ("nonce:8 fee_lamports:8 deadline_slot:8 spec_hash:32 kind:1 mode:1"),
    Op.TASK_RESULT: "nonce:8 lease_id:8 result_hash:32 salt:32",
    Op.WORKER_REGISTRATION: "nonce:8 public_key:32 stake_lamports:8 environment_hash:32",
    Op.CONSENSUS_VOTE: "set_index:2 verdict:1 reason:1 result_hash:32 replayed:4 intervals:4 accuracy_ppm:4",
    Op.GRADIENT_SHARE: "iteration:8 state_hash:32 gradient_hash:32",
    Op.VERIFICATION_PROOF: "set_index:2 sample_signature:96",
    Op.ECONOMIC_EVENT: "event:1 number:8 lamports:8 inbox_index:8 slot:8 public_key:32 spec_hash:32 kind_mode:1",
    Op.NETWORK_STATE: "epoch:8 validators:2 workers:4 active_tasks:4 stake_lamports:8 state_root:32",
}


@st.composite
def any_record(draw: st.DrawFn) -> Record:
    op = draw(st.sampled_from(Op))
    payload = draw(PAYLOADS[op])
    taskless = op in (Op.WORKER_REGISTRATION, Op.NETWORK_STATE) or (
        isinstance(payload, EconomicEvent) and payload.event in (Event.DEPOSIT, Event.WITHDRAWAL)
    )
    node = bytes(20) if op is Op.NETWORK_STATE else draw(h20)
    return Record(op, draw(u32), node, draw(ZERO if taskless else h32), payload)


@given(any_record())
def test_every_record_is_160_bytes_as_the_protocol_lays_them_out_and_round_trips(record: Record) -> None:
    packed = b""
    for item in LAYOUTS[record.op].split():
        name, width = item.split(":")
        value = getattr(record.payload, name)
        packed += value if isinstance(value, bytes) else naive.be(value, int(width))
    encoded = records.encode(record)
    assert encoded == naive.record(record.op, record.time, record.node, record.task, packed)
    assert len(encoded) == 160
    assert records.decode(encoded) == record


@given(any_record(), st.integers(0, 159), st.integers(1, 255))
def test_any_flipped_byte_is_found(record: Record, index: int, flip: int) -> None:
    encoded = bytearray(records.encode(record))
    encoded[index] ^= flip
    with pytest.raises(RecordError, match="CRC-32"):
        records.decode(bytes(encoded))


@given(any_record(), st.integers(0, 155), st.integers(0, 255))
def test_what_decodes_is_the_one_encoding_of_what_it_decodes_to(record: Record, index: int, byte: int) -> None:
    body = bytearray(records.encode(record)[:156])
    body[index] = byte
    data = bytes(body) + struct.pack(">I", naive.crc32(bytes(body)))
    try:
        decoded = records.decode(data)
    except RecordError:
        return
    assert records.encode(decoded) == data


def sealed(body: bytes) -> bytes:
    return body + struct.pack(">I", naive.crc32(body))


DEPOSIT = records.encode(kit.deposit("a", 5, 0))[:156]
SUBMISSION = records.encode(kit.submission("a"))[:156]
INBOX_TASK = records.encode(kit.inbox_task("a", 5, 0))[:156]
FORCED = records.encode(kit.forced_withdrawal("a", 5, 0, 1))[:156]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(159), "160 bytes, got 159"),
        (sealed(b"\2" + DEPOSIT[1:]), "version 2"),
        (sealed(DEPOSIT[:1] + b"\0" + DEPOSIT[2:]), "op code 0"),
        (sealed(DEPOSIT[:1] + b"\x09" + DEPOSIT[2:]), "op code 9"),
        (sealed(SUBMISSION[:155] + b"\1"), "padding of a TASK_SUBMISSION"),
        (sealed(DEPOSIT[:58] + b"\x0b" + DEPOSIT[59:]), "event 11"),
        (sealed(DEPOSIT[:66] + b"\1" + DEPOSIT[67:]), "number must be zero in a DEPOSIT"),
        (sealed(DEPOSIT[:155] + b"\x12"), "kind_mode must be zero in a DEPOSIT"),
        (sealed(FORCED[:123] + b"\1" + FORCED[124:]), "spec_hash must be zero in a FORCED_WITHDRAWAL"),
        *((sealed(INBOX_TASK[:155] + bytes([byte])), "a known kind and mode") for byte in (0, 0x02, 0x10, 0x52, 0x15)),
        (sealed(DEPOSIT[:57] + b"\1" + DEPOSIT[58:]), "task must be zero in a DEPOSIT"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        records.decode(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": 2**32}, "time must be an unsigned integer of 32 bits"),
        ({"time": -1}, "time"),
        ({"node": bytes(19)}, "node must be 20 bytes, got 19"),
        ({"task": bytes(33)}, "task must be 32 bytes"),
        ({"op": Op.TASK_RESULT}, "does not carry a TaskSubmission"),
        ({"payload": TaskSubmission(2**64, 1, 1, bytes(32), Kind.TRAINING, Mode.REPLAY)}, "nonce must be an unsigned"),
        ({"payload": TaskSubmission(1, True, 1, bytes(32), Kind.TRAINING, Mode.REPLAY)}, "fee_lamports must be"),
        ({"payload": TaskSubmission(1, 1, 1, bytes(31), Kind.TRAINING, Mode.REPLAY)}, "spec_hash must be 32 bytes"),
        ({"payload": TaskSubmission(1, 1, 1, bytes(32), 1, Mode.REPLAY)}, "kind must be a Kind, got 1"),
    ],
)
def test_a_record_is_checked_when_it_is_made(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        replace(kit.submission("a"), **change)


@pytest.mark.parametrize("event", Event)
def test_an_event_takes_only_its_own_fields(event: Event) -> None:
    names = [member.name for member in fields(EconomicEvent) if member.name != "event"]
    needed = {"kind_mode": 0x12} if event is Event.INBOX_TASK else {}
    for name in names:
        value: Any = b"\1" * 32 if name in ("public_key", "spec_hash") else 0x12
        make = lambda: kit.economic(event, "a", **{**needed, name: value})  # noqa: E731, B023
        if name in records.EVENT_FIELDS[event]:
            make()
        else:
            with pytest.raises(RecordError, match=f"{name} must be zero in a {event.name}"):
                make()


def test_who_must_sign() -> None:
    task = kit.filler("task")
    signed = [kit.submission("a"), kit.result("a", 0, task), kit.registration("a"), kit.vote(0, task)]
    signed.append(kit.withdrawal("a", 0, 1))
    unsigned = [kit.deposit("a", 1, 0), kit.payment("a", task), kit.refund("a", task), kit.slash("a", task)]
    unsigned += [kit.sample_proof(0, task), kit.inbox_task("a", 1, 0), kit.forced_withdrawal("a", 1, 0, 1)]
    assert all(records.needs_authorisation(record) for record in signed)
    assert not any(records.needs_authorisation(record) for record in unsigned)
