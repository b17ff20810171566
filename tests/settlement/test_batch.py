"""An honest batch passes a validator's check; each single lie in it, or in the message over it, does not."""

from dataclasses import fields, replace
from typing import Any

import pytest

from settlement import messages, records
from settlement.ledger import (
    BatchBuilder,
    BatchError,
    LedgerRejection,
    Parent,
    Rejection,
    State,
    batch,
    check_authorisation,
    check_batch,
    check_sample_signature,
)
from settlement.messages import CheckpointMessage
from settlement.records import Record, Verdict
from settlement.signing import EMPTY, Authorisation, Domain
from tests.settlement import kit, naive, scenario

FIRST = scenario.first()
SECOND = scenario.second(FIRST)
THIRD = scenario.third(SECOND)
FOURTH = scenario.fourth(THIRD)
EPOCHS = [FIRST, SECOND, THIRD, FOURTH]


def rejected(epoch: scenario.Epoch, message: CheckpointMessage, data: bytes) -> BatchError:
    with pytest.raises(BatchError) as error:
        check_batch(epoch.parent, message, data, epoch.context)
    return error.value


def with_pair(data: bytes, index: int, record: bytes | None = None, authorisation: bytes | None = None) -> bytes:
    pairs = batch.split(data)
    old = pairs[index]
    pairs[index] = (record or old[0], authorisation or old[1])
    return b"".join(record for record, _ in pairs) + b"".join(authorisation for _, authorisation in pairs)


def index_of(epoch: scenario.Epoch, record: Record) -> int:
    return epoch.batch.index(record)


@pytest.mark.parametrize("epoch", EPOCHS)
def test_an_honest_batch_passes(epoch: scenario.Epoch) -> None:
    roots = check_batch(epoch.parent, epoch.message, epoch.roots.data, epoch.context)
    assert roots.state.root == epoch.roots.state.root and roots.trace == epoch.roots.trace
    again = replace(epoch.message, attempt=3, expiry_slot=epoch.message.expiry_slot + 9)
    assert check_batch(epoch.parent, again, epoch.roots.data, epoch.context).count == len(epoch.batch)


@pytest.mark.parametrize("epoch", EPOCHS)
def test_the_roots_are_as_the_protocol_says(epoch: scenario.Epoch) -> None:
    encoded = [records.encode(record) for record in epoch.batch]
    signers = [kit.authorise(record, scenario.SIGNERS.get(record.node, "")).encode() for record in epoch.batch]
    data = b"".join(encoded + signers)
    state, states = epoch.parent.state, [epoch.parent.state.root]
    for index, record in enumerate(epoch.batch):
        state = batch.apply(state, record, epoch.context)
        if index % 8 == 7 or index == len(encoded) - 1:
            states.append(state.root)
    assert len(states) == -(-len(encoded) // 8) + 1
    assert epoch.roots.data == data
    assert epoch.roots.results_root == naive.merkle_root("results-root", encoded)
    assert epoch.roots.trace_root == naive.merkle_root("trace-root", states)
    chunks = [data[start : start + 1024] for start in range(0, len(data), 1024)]
    assert epoch.roots.data_root == naive.merkle_root("data-root", chunks)


@pytest.mark.parametrize("name", [member.name for member in fields(CheckpointMessage)])
def test_every_field_of_the_message_is_checked(name: str) -> None:
    old = getattr(SECOND.message, name)
    lie: Any = old + 1 if isinstance(old, int) else kit.filler("lie")
    message = replace(SECOND.message, **{name: lie})
    if name in ("attempt", "cut_slot", "expiry_slot"):  # L1 and the one-vote rule judge these
        check_batch(SECOND.parent, message, SECOND.roots.data, SECOND.context)
    else:
        camel = name.split("_")[0] + "".join(word.title() for word in name.split("_")[1:])
        assert str(rejected(SECOND, message, SECOND.roots.data)).startswith(f"{camel} is ")


def test_slots_must_rise() -> None:
    for lie in ({"cut_slot": SECOND.parent.cut_slot}, {"expiry_slot": SECOND.message.cut_slot - 1}):
        assert "slots must rise" in str(rejected(SECOND, replace(SECOND.message, **lie), SECOND.roots.data))


def test_another_state_set_or_domain_is_found() -> None:
    with pytest.raises(BatchError):
        check_batch(replace(SECOND.parent, state=State.empty()), SECOND.message, SECOND.roots.data, SECOND.context)
    other_set = replace(SECOND.context, validator_set=kit.validator_set(300, 200, 101))
    with pytest.raises(BatchError, match="setHash is"):
        check_batch(SECOND.parent, SECOND.message, SECOND.roots.data, other_set)
    other = replace(FIRST.context, domain=Domain(kit.DOMAIN.program, kit.DOMAIN.genesis))
    with pytest.raises(BatchError, match="record 4: BAD_AUTHORISATION"):
        check_batch(FIRST.parent, FIRST.message, FIRST.roots.data, other)
    with pytest.raises(ValueError, match="base slot is 0, the parent's cut slot 40"):
        check_batch(SECOND.parent, SECOND.message, SECOND.roots.data, FIRST.context)


def test_a_changed_record_is_found_at_its_index() -> None:
    data = SECOND.roots.data
    malformed = with_pair(data, 3, record=bytes(160))
    assert (error := rejected(SECOND, SECOND.message, malformed)).record == 3
    assert error.code is Rejection.MALFORMED_RECORD
    pay = index_of(SECOND, kit.payment("honest", kit.task_id("client", 0), 700_000))
    more = with_pair(data, pay, record=records.encode(kit.payment("honest", kit.task_id("client", 0), 700_001)))
    assert (error := rejected(SECOND, SECOND.message, more)).code is Rejection.WRONG_AMOUNT and error.record == pay
    invented = with_pair(data, pay, record=records.encode(kit.deposit("liar", 1, 5)))
    assert rejected(SECOND, SECOND.message, invented).code is Rejection.INBOX_NOT_FIRST


def test_a_changed_deposit_changes_the_inbox_hash() -> None:
    for lie in (kit.deposit("honest", 10_001, 4, slot=44), kit.deposit("honest", 10_000, 4, slot=45)):
        data = with_pair(SECOND.roots.data, 0, record=records.encode(lie))
        assert "inboxHash is" in str(rejected(SECOND, SECOND.message, data))


@pytest.mark.parametrize(
    ("epoch", "index", "lie"),
    [
        (THIRD, 0, {"lamports": 600_001}),
        (THIRD, 0, {"slot": 70}),
        (THIRD, 0, {"number": 111}),
        (THIRD, 4, {"kind_mode": 0x32}),
        (THIRD, 1, {"number": 299_999}),
        (THIRD, 1, {"lamports": 9_999}),
        (FOURTH, 2, {"number": 0}),
    ],
)
def test_a_changed_inbox_record_changes_the_inbox_hash(epoch: scenario.Epoch, index: int, lie: dict[str, Any]) -> None:
    record = epoch.batch[index]
    changed = replace(record, payload=replace(record.payload, **lie))
    data = with_pair(epoch.roots.data, index, record=records.encode(changed))
    assert "inboxHash is" in str(rejected(epoch, epoch.message, data))


def test_a_forced_withdrawal_cannot_be_turned_to_another_task() -> None:
    record = replace(FOURTH.batch[2], task=kit.task_id("client", 1))
    data = with_pair(FOURTH.roots.data, 2, record=records.encode(record))
    assert "inboxHash is" in str(rejected(FOURTH, FOURTH.message, data))


def test_a_forced_task_has_the_id_of_its_entry() -> None:
    record = replace(THIRD.batch[0], task=kit.task_id("client", 9))
    error = rejected(THIRD, THIRD.message, with_pair(THIRD.roots.data, 0, record=records.encode(record)))
    assert (error.record, error.code) == (0, Rejection.WRONG_TASK_ID)


def test_a_deposit_is_no_forced_withdrawal_of_nothing() -> None:
    lie = kit.forced_withdrawal("client", 50_000, 7, 0, slot=72)
    assert THIRD.batch[2] == kit.deposit("client", 50_000, 7, slot=72)
    data = with_pair(THIRD.roots.data, 2, record=records.encode(lie))
    assert "inboxHash is" in str(rejected(THIRD, THIRD.message, data))


def test_the_inbox_entry_of_a_record() -> None:
    assert [entry.kind for entry in map(batch.inbox_entry, THIRD.batch) if entry] == [2, 3, 1, 2, 2, 3, 2]
    assert batch.inbox_entry(kit.withdrawal("client", 0, 1)) is None


@pytest.mark.parametrize("late", [kit.inbox_task("client", 9, 12), kit.forced_withdrawal("client", 9, 12, 0)])
def test_what_the_inbox_forces_stands_first(late: Record) -> None:
    with pytest.raises(LedgerRejection, match="INBOX_NOT_FIRST"):
        scenario.close(THIRD.parent, 3, [*THIRD.batch, late])


def test_the_time_of_a_record_is_under_the_roots_but_not_signed() -> None:
    later = records.encode(replace(SECOND.batch[1], time=kit.TIME + 1))
    error = rejected(SECOND, SECOND.message, with_pair(SECOND.roots.data, 1, record=later))
    assert str(error).startswith("resultsRoot is") and "dataRoot" in str(error) and error.record is None


@pytest.mark.parametrize("index", [i for i, one in enumerate(SECOND.batch) if records.needs_authorisation(one)])
def test_every_authorisation_is_checked(index: int) -> None:
    record, name = SECOND.batch[index], scenario.SIGNERS[SECOND.batch[index].node]
    good = kit.authorise(record, name)
    for bad, code in (
        (EMPTY, Rejection.BAD_AUTHORISATION),
        (kit.authorise(record, "somebody"), Rejection.BAD_AUTHORISATION),
        (replace(good, signature=kit.filler("s", 64)), Rejection.BAD_AUTHORISATION),
        (replace(good, expiry_slot=good.expiry_slot + 1), Rejection.BAD_AUTHORISATION),
        (kit.authorise(record, name, domain=Domain(bytes(32), bytes(32))), Rejection.BAD_AUTHORISATION),
        (kit.authorise(record, name, expiry_slot=SECOND.context.base_slot - 1), Rejection.AUTHORISATION_EXPIRED),
    ):
        error = rejected(SECOND, SECOND.message, with_pair(SECOND.roots.data, index, authorisation=bad.encode()))
        assert (error.record, error.code) == (index, code)


def test_an_authorisation_is_valid_at_its_last_slot() -> None:
    record = kit.withdrawal("client", 0, 1)
    check_authorisation(record, kit.authorise(record, "client", expiry_slot=40), kit.DOMAIN, 40)
    with pytest.raises(LedgerRejection, match="expired at slot 40, before 41"):
        check_authorisation(record, kit.authorise(record, "client", expiry_slot=40), kit.DOMAIN, 41)


def test_a_record_that_nobody_signs_has_an_empty_authorisation() -> None:
    for index, record in enumerate(SECOND.batch):
        if not records.needs_authorisation(record):
            stray = Authorisation(bytes(32), 1, bytes(64)).encode()
            error = rejected(SECOND, SECOND.message, with_pair(SECOND.roots.data, index, authorisation=stray))
            assert (error.record, error.code) == (index, Rejection.BAD_AUTHORISATION)


def test_sample_signatures_are_checked() -> None:
    task = kit.task_id("client", 0)
    good = kit.sample_proof(0, task, kit.sample_signature(0, task, "liar", 7))
    index = index_of(SECOND, good)
    for signature in (
        kit.sample_signature(1, task, "liar", 7),
        kit.sample_signature(0, task, "liar", 8),
        kit.sample_signature(0, task, "honest", 7),
        bytes(96),
        b"\xc0" + bytes(95),
    ):
        data = with_pair(SECOND.roots.data, index, record=records.encode(kit.sample_proof(0, task, signature)))
        error = rejected(SECOND, SECOND.message, data)
        assert (error.record, error.code) == (index, Rejection.BAD_SAMPLE_SIGNATURE)
    with pytest.raises(TypeError, match="holds no sample signature"):
        check_sample_signature(State.empty(), kit.vote(0, task), SECOND.context)


def test_a_reward_without_verdicts_is_found() -> None:
    task = kit.task_id("client", 0)
    accepting = kit.vote(1, task, Verdict.ACCEPT)
    kept = [record for record in SECOND.batch if record != accepting]
    with pytest.raises(LedgerRejection, match="NO_QUORUM"):
        scenario.close(SECOND.parent, 2, kept)


def test_data_of_the_wrong_length_is_no_batch() -> None:
    assert "are no batch" in str(rejected(SECOND, SECOND.message, SECOND.roots.data + b"\0"))
    assert "are no batch" in str(rejected(SECOND, SECOND.message, bytes(264 * 4097)))


def test_an_empty_batch() -> None:
    parent = Parent.of(FIRST.message, kit.DOMAIN, FIRST.roots.state)
    epoch = scenario.close(parent, 2, [])
    assert epoch.roots.trace == (parent.state.root,) and epoch.roots.count == 0
    assert epoch.roots.results_root == naive.merkle_root("results-root", [])
    assert check_batch(parent, epoch.message, b"", epoch.context).state.root == parent.state.root


def test_a_parent_is_bound_to_its_state() -> None:
    assert Parent.genesis(kit.DOMAIN).hash == messages.genesis_parent(kit.DOMAIN)
    with pytest.raises(ValueError, match="the state's root is"):
        Parent.of(FIRST.message, kit.DOMAIN, State.empty())


def test_a_refused_record_leaves_the_batch_as_it_was() -> None:
    builder = BatchBuilder(State.empty(), FIRST.context)
    builder.add(kit.deposit("client", 5000, 0))
    builder.add(kit.submission("client"), kit.authorise(kit.submission("client"), "client"))
    before = builder.close()
    with pytest.raises(LedgerRejection, match="INBOX_NOT_FIRST"):
        builder.add(kit.deposit("client", 5, 1))
    with pytest.raises(LedgerRejection, match="WRONG_NONCE"):
        builder.add(kit.withdrawal("client", 5, 1))
    assert builder.close() == before and len(builder) == 2
    builder.add(kit.withdrawal("client", 1, 1))
    assert builder.close().count == 3


def test_a_batch_has_at_most_4096_records() -> None:
    builder = BatchBuilder(State.empty(), FIRST.context)
    for index in range(4096):
        builder.add(kit.deposit("client", 1, index))
    with pytest.raises(LedgerRejection, match="TOO_MANY_RECORDS"):
        builder.add(kit.deposit("client", 1, 4096))
    assert len(builder.close().trace) == 513
