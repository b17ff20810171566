"""Whatever bytes or JSON come from a stranger: a value with that one encoding, or the error that the decoder's documentation names, no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from settlement import accounts, certificate, idl, merkle, records, spec
from settlement.certificate import Certificate
from settlement.errors import AccountInvalid, IdlError
from settlement.events import decode_events
from settlement.ledger import (
    TOTALS_KEY,
    Account,
    BatchError,
    LeafKind,
    State,
    Task,
    Totals,
    account_key,
    batch,
    check_batch,
    verify_proof,
)
from settlement.messages import CheckpointMessage
from settlement.receipt import Receipt, ReceiptError, check_proof
from settlement.records import RecordError
from settlement.signing import Authorisation
from settlement.spec import SpecError
from settlement.validator_set import SetEntry
from settlement.work import WorkEntry, decode_entries
from tests.hostile import WILD, altered, hostile, mutated
from tests.settlement import kit, scenario
from tests.settlement.test_spec import SPEC

FIRST = scenario.first()
SECOND = scenario.second(FIRST)
STATE = SECOND.roots.state
ENTRY = WorkEntry(7, b"s" * 32, b"g" * 32, b"b" * 32, b"m" * 32, 0.25)


@dataclass(frozen=True)
class Codec:
    """`errors` are what decode may raise; `encode` gives the one encoding of what it returns, where there is one."""

    good: tuple[bytes, ...]
    decode: Callable[[bytes], Any]
    errors: type[Exception]
    encode: Callable[[Any], bytes] | None = None


def values(kind: LeafKind) -> tuple[bytes, ...]:
    return tuple(value for _, of, value in STATE.leaves() if of is kind)


CODECS = {
    "record": Codec(
        tuple(records.encode(record) for record in (*FIRST.batch, *SECOND.batch)),
        records.decode,
        RecordError,
        records.encode,
    ),
    "authorisation": Codec(
        tuple(kit.authorise(record, scenario.SIGNERS.get(record.node, "")).encode() for record in SECOND.batch),
        Authorisation.decode,
        ValueError,
        Authorisation.encode,
    ),
    "account leaf": Codec(values(LeafKind.ACCOUNT), Account.decode, ValueError, Account.encode),
    "task leaf": Codec(values(LeafKind.TASK), Task.decode, ValueError, Task.encode),
    "totals leaf": Codec(values(LeafKind.TOTALS), Totals.decode, ValueError, Totals.encode),
    "set entry": Codec(
        tuple(entry.encode() for entry in scenario.VALIDATORS.entries), SetEntry.decode, ValueError, SetEntry.encode
    ),
    "work entry": Codec((ENTRY.encode(),), WorkEntry.decode, ValueError, WorkEntry.encode),
    "work entries": Codec(
        (ENTRY.encode() * 3,), decode_entries, ValueError, lambda entries: b"".join(entry.encode() for entry in entries)
    ),
    "batch": Codec(
        (SECOND.roots.data,),
        batch.split,
        BatchError,
        lambda pairs: b"".join(record for record, _ in pairs) + b"".join(authorisation for _, authorisation in pairs),
    ),
}


@pytest.mark.parametrize("name", CODECS)
def test_good_bytes_are_read(name: str) -> None:
    codec = CODECS[name]
    assert codec.good and codec.encode
    assert all(codec.encode(codec.decode(good)) == good for good in codec.good)


@pytest.mark.parametrize("name", CODECS)
@hostile
@given(st.data())
def test_bytes_are_refused_by_the_documented_error_or_have_one_encoding(name: str, data: st.DataObject) -> None:
    codec = CODECS[name]
    given_bytes = data.draw(mutated(data.draw(st.sampled_from(codec.good))))
    if name == "record" and len(given_bytes) == records.RECORD_BYTES and data.draw(st.booleans()):
        given_bytes = given_bytes[:156] + crc32(given_bytes[:156]).to_bytes(4, "big")
    try:
        value = codec.decode(given_bytes)
    except codec.errors:
        return
    assert codec.encode is not None
    assert codec.encode(value) == given_bytes


@hostile
@given(st.data())
def test_a_batch_from_a_stranger_is_checked_or_refused(data: st.DataObject) -> None:
    given_bytes = data.draw(mutated(SECOND.roots.data))
    try:
        roots = check_batch(SECOND.parent, SECOND.message, given_bytes, SECOND.context)
    except BatchError:
        return
    assert given_bytes == SECOND.roots.data
    assert roots.state.root == SECOND.message.state_root


@hostile
@given(st.data())
def test_a_batch_with_one_record_changed_and_its_sum_right_is_refused(data: st.DataObject) -> None:
    """Past the CRC, where the ledger itself judges."""
    pairs = batch.split(SECOND.roots.data)
    at = data.draw(st.integers(0, len(pairs) - 1))
    body = data.draw(mutated(pairs[at][0][:156]))[:156].ljust(156, b"\0")
    pairs[at] = (body + crc32(body).to_bytes(4, "big"), pairs[at][1])
    given_bytes = b"".join(record for record, _ in pairs) + b"".join(authorisation for _, authorisation in pairs)
    try:
        check_batch(SECOND.parent, SECOND.message, given_bytes, SECOND.context)
    except BatchError:
        return
    assert given_bytes == SECOND.roots.data


# -- proofs and certificates


@hostile
@given(st.data())
def test_only_the_right_proof_of_a_record_holds(data: st.DataObject) -> None:
    leaves = [records.encode(record) for record in SECOND.batch]
    index = data.draw(st.integers(0, len(leaves) - 1))
    siblings = b"".join(merkle.proof(leaves, index))
    cut = data.draw(mutated(siblings))
    given_siblings = [cut[start : start + 32] for start in range(0, len(cut), 32)]
    place, count = data.draw(st.integers(-2, 2**65)), data.draw(st.sampled_from([len(leaves), 0, 1, 2**64, 2**70]))
    leaf = data.draw(st.sampled_from([leaves[index], leaves[0], b""]))
    place = data.draw(st.sampled_from([index, place]))
    try:
        holds = merkle.verify("results-root", SECOND.message.results_root, leaf, place, count, given_siblings)
    except ValueError as error:
        assert "sibling" in str(error)
        return
    assert holds == (
        (leaf, place, count, cut)
        == (
            leaves[place] if 0 <= place < len(leaves) else None,
            place,
            len(leaves),
            b"".join(merkle.proof(leaves, place)) if 0 <= place < len(leaves) else None,
        )
    )


@hostile
@given(st.data())
def test_only_the_right_proof_of_an_account_holds(data: st.DataObject) -> None:
    key = account_key(kit.node("honest"))
    value, siblings = STATE.proof(key)
    given_value, cut = data.draw(mutated(value)), data.draw(mutated(b"".join(siblings)))
    given_siblings = [cut[start : start + 32] for start in range(0, len(cut), 32)]
    kind = data.draw(st.sampled_from(list(LeafKind)))
    try:
        holds = verify_proof(STATE.root, key, kind, given_value, given_siblings)
    except ValueError as error:
        assert "sibling" in str(error)
        return
    assert holds == ((kind, given_value, given_siblings) == (LeafKind.ACCOUNT, value, siblings))


@hostile
@given(st.data())
def test_leaves_from_a_stranger_make_a_state_or_a_value_error(data: st.DataObject) -> None:
    leaves = list(STATE.leaves())
    at = data.draw(st.integers(0, len(leaves) - 1))
    key, _, value = leaves[at]
    spoiled = (
        data.draw(st.sampled_from([key, TOTALS_KEY, b"k" * 32])),
        data.draw(st.sampled_from([*LeafKind, "x"])),
        data.draw(mutated(value)),
    )
    try:
        made = State.from_leaves([*leaves[:at], spoiled, *leaves[at + 1 :]])
    except ValueError:
        return
    assert made.root == STATE.root or spoiled != leaves[at]


@hostile
@given(st.data())
def test_only_the_right_certificate_holds(data: st.DataObject) -> None:
    digest = SECOND.message.hash(kit.DOMAIN)
    secrets = [kit.bls_key(index) for index in range(3)]
    bitmap, signature = certificate.aggregate(
        digest, {i: s.sign(digest) for i, s in enumerate(secrets)}, scenario.VALIDATORS
    )
    given_signature, given_bitmap = (
        data.draw(mutated(signature)),
        data.draw(st.sampled_from([bitmap, 0, 1, 3, 2**255, 2**256, -1])),
    )
    try:
        made = Certificate(SECOND.message, given_bitmap, given_signature)
    except ValueError:
        return
    right = (given_bitmap, given_signature) == (bitmap, signature)
    assert certificate.verify(kit.DOMAIN, made, scenario.VALIDATORS) == right
    assert not certificate.verify(
        kit.DOMAIN, replace(made, message=replace(SECOND.message, attempt=9)), scenario.VALIDATORS
    )


# -- JSON


def receipt_json() -> dict[str, Any]:
    leaves = [records.encode(record) for record in SECOND.batch]
    index = next(
        i for i, record in enumerate(SECOND.batch) if record == kit.payment("honest", kit.task_id("client", 0), 700_000)
    )
    return {
        "record": leaves[index].hex(),
        "index": index,
        "count": len(leaves),
        "siblings": [sibling.hex() for sibling in merkle.proof(leaves, index)],
        "checkpoint": {**SECOND.message.to_json(), "hash": SECOND.message.hash(kit.DOMAIN).hex()},
    }


def test_the_receipt_itself_proves_its_payment() -> None:
    assert check_proof(Receipt.from_json(receipt_json())).lamports == 700_000


@hostile
@given(altered(receipt_json()) | WILD)
def test_a_receipt_proves_its_payment_or_is_refused(given_json: Any) -> None:
    try:
        payment = check_proof(Receipt.from_json(given_json))
    except ReceiptError:
        return
    assert (payment.node, payment.lamports) == (kit.node("honest"), 700_000)


@hostile
@given(altered(SECOND.message.to_json()))
def test_a_checkpoint_object_is_a_message_or_a_value_error(given_json: Any) -> None:
    if not isinstance(given_json, dict):
        return
    try:
        message = CheckpointMessage.from_json(given_json)
    except ValueError:
        return
    assert message.to_json() == {key: given_json[key] for key in message.to_json()}


@hostile
@given(altered(SPEC) | WILD)
def test_a_spec_is_parsed_or_refused_with_its_key(given_json: Any) -> None:
    try:
        parsed = spec.parse(given_json)
    except SpecError as error:
        assert str(error).startswith("spec")
        assert len(str(error)) < 1_000
        return
    assert parsed.kind == "training"
    assert len(spec.spec_hash(given_json)) == 32


@hostile
@given(WILD)
def test_anything_has_a_spec_hash_or_a_spec_error(given_json: Any) -> None:
    with suppress(SpecError):
        assert len(spec.spec_hash(given_json)) == 32


# -- what L1 holds

ADDRESS = Pubkey(bytes(32))
ACCOUNTS: dict[str, Callable[[Pubkey, bytes], Any]] = {
    "Config": accounts.decode_config,
    "Registry": accounts.decode_registry,
    "ValidatorSet": accounts.decode_validator_set,
    "Checkpoint": accounts.decode_checkpoint,
    "InboxEntry": accounts.decode_inbox_entry,
    "Claim": accounts.decode_claim,
    "ProofBuffer": accounts.decode_proof_buffer,
}


def account_bytes(name: str) -> bytes:
    """An account of the right discriminator and version with room for whatever follows."""
    discriminator = bytes(next(one["discriminator"] for one in idl.committed().raw["accounts"] if one["name"] == name))
    return discriminator + b"\1\1\1\1\1\1\1\1" * 300


@pytest.mark.parametrize("name", ACCOUNTS)
@hostile
@given(st.data())
def test_an_account_is_decoded_or_invalid(name: str, data: st.DataObject) -> None:
    given_bytes = data.draw(mutated(account_bytes(name)))
    try:
        made = ACCOUNTS[name](ADDRESS, given_bytes)
        if name == "ValidatorSet":
            made.validator_set.total_stake  # noqa: B018
    except AccountInvalid:
        return
    except ValueError as error:  # a set's entries are checked when they are asked for
        assert name == "ValidatorSet", error


@hostile
@given(
    st.lists(
        st.sampled_from(
            [
                "Program {} invoke [1]",
                "Program {} success",
                "Program data: {}",
                "Program data: AAAA",
                "Program log: {}",
                "Program data: ",
            ]
        ),
        max_size=6,
    ),
    st.binary(max_size=80),
)
def test_logs_hold_events_or_an_idl_error(lines: list[str], payload: bytes) -> None:
    import base64

    program = idl.committed().address
    shown = [line.format(base64.b64encode(payload).decode() if "data" in line else program) for line in lines]
    try:
        events = decode_events(shown, program)
    except IdlError:
        return
    json.dumps([event.name for event in events])
