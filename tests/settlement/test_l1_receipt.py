"""Receipts: a real batch's record is proved, and each altered part is refused by its own message."""

from dataclasses import replace

import pytest
from solders.pubkey import Pubkey

from settlement import merkle, records
from settlement.accounts import Checkpoint, CheckpointStatus
from settlement.messages import CheckpointMessage
from settlement.receipt import Receipt, ReceiptError, check_proof, check_settled
from settlement.records import EconomicEvent, Event, Op, Record
from settlement.signing import Domain

DOMAIN = Domain(b"\1" * 32, b"\2" * 32)
COUNT = 11
INDEX = 6


def payment(i: int) -> bytes:
    return records.encode(
        Record(
            Op.ECONOMIC_EVENT,
            1_800_000_000,
            bytes([i]) * 20,
            bytes([i]) * 32,
            EconomicEvent(Event.PAYMENT, lamports=1_000 + i),
        )
    )


LEAVES = [payment(i) for i in range(COUNT)]


@pytest.fixture
def message() -> CheckpointMessage:
    return CheckpointMessage(
        epoch=3,
        attempt=1,
        cut_slot=100,
        expiry_slot=160,
        parent_hash=b"\3" * 32,
        results_root=merkle.root("results-root", LEAVES),
        state_root=b"\4" * 32,
        trace_root=b"\5" * 32,
        data_root=b"\6" * 32,
        payable_total=5,
        inbox_cursor=2,
        inbox_hash=b"\7" * 32,
        set_hash=b"\x08" * 32,
    )


@pytest.fixture
def wire(message) -> dict:
    return {
        "record": LEAVES[INDEX].hex(),
        "index": INDEX,
        "count": COUNT,
        "siblings": [sibling.hex() for sibling in merkle.proof(LEAVES, INDEX)],
        "checkpoint": {**message.to_json(), "hash": message.hash(DOMAIN).hex()},
    }


@pytest.fixture
def settled(message) -> Checkpoint:
    taken = {
        name: getattr(message, name)
        for name in (
            "epoch",
            "attempt",
            "cut_slot",
            "expiry_slot",
            "parent_hash",
            "results_root",
            "state_root",
            "trace_root",
        )
    }
    return Checkpoint(
        **taken,
        hash=message.hash(DOMAIN),
        data_root=message.data_root,
        payable_total=5,
        inbox_cursor=2,
        inbox_hash=message.inbox_hash,
        set_version=1,
        bitmap=bytes(32),
        posted_slot=101,
        poster=Pubkey.default(),
        parent_epoch=message.epoch - 1,
        inbox_lamports=5,
        challenge_until_slot=117,
        bond_lamports=0,
        open_demands=0,
        slashed_bitmap=bytes(32),
        rewarded=0,
        status=CheckpointStatus.FINALIZED,
    )


def test_a_true_receipt_says_what_was_paid(wire, settled):
    receipt = Receipt.from_json(wire)
    paid = check_proof(receipt)
    assert (paid.node, paid.task, paid.lamports) == (bytes([INDEX]) * 20, bytes([INDEX]) * 32, 1_000 + INDEX)
    check_settled(receipt, settled, DOMAIN)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"record": LEAVES[INDEX + 1].hex()}, "do not lead"),
        ({"record": (LEAVES[INDEX][:-1] + bytes([LEAVES[INDEX][-1] ^ 1])).hex()}, "CRC-32"),
        ({"index": INDEX - 1}, "do not lead"),
        ({"count": COUNT + 1}, "do not lead"),
        ({"siblings": []}, "do not lead"),
        ({"siblings": ["00" * 32] * 13}, "at most 12"),
        ({"siblings": ["00" * 31]}, "siblings[0] must be 32 bytes"),
        ({"index": -1}, "index must be a number from 0"),
        ({"index": True}, "index must be a number from 0"),
        ({"record": "zz"}, "record must be 160 bytes"),
        ({"checkpoint": {}}, "checkpoint: the checkpoint has no epoch"),
        ({"checkpoint": []}, "checkpoint must be an object"),
    ],
)
def test_an_altered_receipt_is_refused(wire, change, says):
    with pytest.raises(ReceiptError) as caught:
        check_proof(Receipt.from_json({**wire, **change}))
    assert says in str(caught.value)


def test_a_record_that_is_no_payment_proves_no_payment(wire):
    refund = records.encode(
        Record(Op.ECONOMIC_EVENT, 1, bytes(20), b"\1" * 32, EconomicEvent(Event.REFUND, lamports=7))
    )
    leaves = [refund]
    checkpoint = {**wire["checkpoint"], "resultsRoot": merkle.root("results-root", leaves).hex()}
    given = {"record": refund.hex(), "index": 0, "count": 1, "siblings": [], "checkpoint": checkpoint}
    with pytest.raises(ReceiptError, match="not a PAYMENT"):
        check_proof(Receipt.from_json(given))


def test_another_message_program_or_cluster_is_not_the_one_on_l1(wire, settled):
    receipt = Receipt.from_json({**wire, "checkpoint": {**wire["checkpoint"], "attempt": 2}})
    check_proof(receipt)
    with pytest.raises(ReceiptError, match="hashes to"):
        check_settled(receipt, settled, DOMAIN)
    for other in (Domain(b"\x09" * 32, DOMAIN.program), Domain(DOMAIN.genesis, b"\x09" * 32)):
        with pytest.raises(ReceiptError, match="hashes to"):
            check_settled(Receipt.from_json(wire), settled, other)


@pytest.mark.parametrize("status", [CheckpointStatus.POSTED, CheckpointStatus.REJECTED])
def test_only_a_finalized_checkpoint_settles(wire, settled, status):
    with pytest.raises(ReceiptError, match=f"is {status.name.lower()}, not finalized"):
        check_settled(Receipt.from_json(wire), replace(settled, status=status), DOMAIN)


@pytest.mark.parametrize("given", [None, [], "x", {}, {"record": ""}])
def test_what_is_no_receipt_is_named(given):
    with pytest.raises(ReceiptError, match=r"a receipt is|has no"):
        Receipt.from_json(given)
