from dataclasses import fields, replace
from typing import Any

import pytest

from settlement import messages
from settlement.messages import CheckpointMessage, InboxEntry
from settlement.signing import Domain
from tests.settlement import kit
from tests.settlement.naive import le, tagged

MESSAGE = CheckpointMessage(
    epoch=3,
    attempt=1,
    cut_slot=1000,
    expiry_slot=1064,
    payable_total=2**63,
    inbox_cursor=12,
    **{name: kit.filler(name) for name in ("parent_hash", "results_root", "state_root", "trace_root", "data_root")},
    **{name: kit.filler(name) for name in ("inbox_hash", "set_hash")},
)


def test_the_checkpoint_hash_is_over_every_field_in_its_place() -> None:
    m = MESSAGE
    body = kit.DOMAIN.genesis + kit.DOMAIN.program + le(3) + le(1, 4) + le(1000) + le(1064) + m.parent_hash
    body += m.results_root + m.state_root + m.trace_root + m.data_root + le(2**63) + le(12) + m.inbox_hash + m.set_hash
    assert m.hash(kit.DOMAIN) == tagged("checkpoint", body)


def test_any_change_changes_the_hash() -> None:
    hashes = {MESSAGE.hash(kit.DOMAIN), MESSAGE.hash(Domain(kit.DOMAIN.genesis, kit.DOMAIN.genesis))}
    for member in fields(CheckpointMessage):
        old = getattr(MESSAGE, member.name)
        change: dict[str, Any] = {member.name: old + 1 if isinstance(old, int) else kit.filler(f"other {member.name}")}
        hashes.add(replace(MESSAGE, **change).hash(kit.DOMAIN))
    assert len(hashes) == len(fields(CheckpointMessage)) + 2


@pytest.mark.parametrize(
    ("name", "value"), [("epoch", 2**64), ("attempt", 2**32), ("epoch", -1), ("epoch", True), ("state_root", bytes(31))]
)
def test_fields_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError):
        replace(MESSAGE, **{name: value})  # type: ignore[arg-type]


def test_json_round_trip_ignores_what_is_not_the_message() -> None:
    as_json = MESSAGE.to_json()
    assert as_json["cutSlot"] == 1000 and as_json["stateRoot"] == MESSAGE.state_root.hex()
    assert CheckpointMessage.from_json({**as_json, "status": "open", "hash": "00"}) == MESSAGE
    with pytest.raises(ValueError, match="no cutSlot"):
        CheckpointMessage.from_json({key: value for key, value in as_json.items() if key != "cutSlot"})
    with pytest.raises(ValueError, match="stateRoot must be 32 bytes in lower-case hex"):
        CheckpointMessage.from_json({**as_json, "stateRoot": 5})


def test_the_inbox_is_a_hash_chain() -> None:
    before = messages.genesis_inbox_hash(kit.DOMAIN)
    entry = InboxEntry(0, 77, messages.InboxKind.DEPOSIT, 10_000, messages.deposit_payload_hash(kit.public_key("a")))
    payload = tagged("inbox-deposit", kit.public_key("a"))
    assert before == tagged("inbox", kit.DOMAIN.genesis, kit.DOMAIN.program)
    expected = tagged("inbox-entry", before, le(0), le(77), b"\1", le(10_000), payload)
    assert messages.next_inbox_hash(before, entry) == expected


def test_inbox_payloads_are_as_the_protocol_says() -> None:
    g, p, client = kit.DOMAIN.genesis, kit.DOMAIN.program, kit.public_key("client")
    payload = messages.task_payload_hash(client, kit.SPEC_HASH, 1, 2, 99)
    assert payload == tagged("inbox-task", client, kit.SPEC_HASH, b"\1\2", le(99))
    task = messages.inbox_task_id(kit.DOMAIN, client, 5, kit.SPEC_HASH)
    assert task == tagged("inbox-task-id", g, p, client, le(5), kit.SPEC_HASH)
    assert task != messages.task_id(kit.DOMAIN, client, 5, kit.SPEC_HASH)
    assert messages.withdrawal_payload_hash(client, 7, task) == tagged("inbox-withdrawal", client, le(7), task)
    struck = messages.strike_payload_hash(client, 1_000, task, kit.RESULT_HASH)
    assert struck == tagged("inbox-strike", client, le(1_000), task, kit.RESULT_HASH)
    assert [kind.value for kind in messages.InboxKind] == [1, 2, 3, 4]


def test_ids_and_digests_are_as_the_protocol_says() -> None:
    g, p = kit.DOMAIN.genesis, kit.DOMAIN.program
    client, worker, task = kit.public_key("client"), kit.public_key("worker"), kit.filler("task")
    assert messages.genesis_parent(kit.DOMAIN) == tagged("genesis", g, p)
    assert messages.task_id(kit.DOMAIN, client, 5, kit.SPEC_HASH) == tagged("task", g, p, client, le(5), kit.SPEC_HASH)
    committed = messages.commitment(kit.DOMAIN, task, 9, worker, kit.SALT, kit.RESULT_HASH)
    assert committed == tagged("commitment", g, p, task, le(9), worker, kit.SALT, kit.RESULT_HASH)
    parts = [kit.filler(name) for name in ("environment", "work root", "model", "metrics")]
    assert messages.result_hash(task, worker, 2, *parts) == tagged("result", task, worker, b"\2", *parts)
    assert messages.sample_digest(task, committed) == tagged("sample", task, committed)
    proof = messages.proof_of_possession_digest(kit.DOMAIN, worker, bytes(48))
    assert proof == tagged("proof-of-possession", g, p, worker, bytes(48))
