"""Witnesses: what they prove, and that whatever is wrong with one proves nothing. The same steps are judged by the program's own code in
programs/settlement/tests/transition.rs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement import records
from settlement.ledger import Rejection, account_key, apply, task_key, tree, witness
from settlement.ledger.witness import Fault, Honest, LeafKind, Rejected, WitnessError, WrongRoot
from tests.settlement import bad_witnesses, exact_steps, kit, naive, random_steps, steps
from tests.settlement.steps import FIRST, TASK_ID, Step

TAKEN = [*steps.every_rule(), *steps.forced(), *exact_steps.taken(), *steps.splits()]
REJECTED = [*steps.every_rejection(), *exact_steps.rejections()]
FAULTY = list(bad_witnesses.everything())


@pytest.mark.parametrize("step", TAKEN, ids=lambda step: step.name)
def test_an_honest_step(step: Step) -> None:
    assert step.judge() == Honest()
    assert replace(step, after=kit.filler("elsewhere")).judge() == WrongRoot()


def test_the_step_that_touches_the_most_leaves_has_room_for_them() -> None:
    crowd = exact_steps.crowd()
    assert len(opened(crowd)) == witness.MAX_LEAVES and crowd.judge() == Honest()


@pytest.mark.parametrize(("code", "step"), REJECTED, ids=lambda value: getattr(value, "name", ""))
def test_a_rejected_record_is_fraud(code: Rejection, step: Step) -> None:
    verdict = step.judge()
    assert isinstance(verdict, Rejected) and verdict.code is code
    assert verdict.record == len(step.records) // records.RECORD_BYTES - 1


def test_every_rejection_of_a_transition_is_among_them() -> None:
    of_batches = {
        "INBOX_NOT_FIRST",
        "TOO_MANY_RECORDS",
        "BAD_AUTHORISATION",
        "AUTHORISATION_EXPIRED",
        "BAD_SAMPLE_SIGNATURE",
    }
    assert {code for code, _ in REJECTED} == {code for code in Rejection if code.name not in of_batches}


def test_a_step_that_ends_elsewhere_is_fraud() -> None:
    for verdict, step in steps.lies():
        assert step.judge() == verdict, step.name


@pytest.mark.parametrize(("fault", "step"), FAULTY, ids=lambda value: getattr(value, "name", ""))
def test_a_faulty_witness_proves_nothing(fault: Fault, step: Step) -> None:
    assert step.judge() is fault


def test_every_fault_is_among_them() -> None:
    assert {fault for fault, _ in FAULTY} == set(Fault)


def opened(step: Step) -> dict[bytes, tuple[LeafKind, bytes]]:
    """What a witness opens, as encode() takes it."""
    return {entry.key: (entry.kind, entry.id) for entry in witness._read_table(witness._Reader(step.witness))}


def taken(name: str) -> Step:
    (found,) = (step for step in TAKEN if step.name == name)
    return found


def test_a_witness_opens_what_its_records_touch_and_no_more() -> None:
    assert list(opened(taken("a vote of a new epoch")).values()) == [(LeafKind.TASK, TASK_ID)]
    accounts = {(LeafKind.ACCOUNT, kit.node(name)) for name in ("client", "worker")}
    payment = {(LeafKind.TASK, TASK_ID), (LeafKind.TOTALS, b""), *accounts}
    assert set(opened(taken("a payment")).values()) == payment


@pytest.mark.parametrize("step", [*TAKEN, *(step for _, step in REJECTED)], ids=lambda step: step.name)
def test_a_leaf_that_is_not_opened_is_never_taken_for_absent(step: Step) -> None:
    """Each opened leaf left out in turn: the witness is good, but says too little."""
    assert step.state is not None
    leaves = opened(step)
    assert step.witness == witness.encode(step.state, leaves)
    for key in leaves if len(leaves) > 1 else ():
        fewer = {other: leaves[other] for other in leaves if other != key}
        assert replace(step, witness=witness.encode(step.state, fewer)).judge() is Fault.MISSING_LEAF


@pytest.mark.parametrize("step", TAKEN, ids=lambda step: step.name)
def test_leaves_that_are_not_needed_do_no_harm(step: Step) -> None:
    assert step.state is not None
    more = dict(opened(step))
    for name in ("client", "worker", "stranger"):
        more[account_key(kit.node(name))] = LeafKind.ACCOUNT, kit.node(name)
    more[task_key(TASK_ID)] = LeafKind.TASK, TASK_ID
    assert replace(step, witness=witness.encode(step.state, more)).judge() == Honest()


def test_ground_neighbours_part_far_down() -> None:
    one, two, _ = (account_key(kit.node_id(key)) for key in steps.neighbours())
    assert bad_witnesses.agreement(one, two) >= 24


def test_the_deepest_paths_are_judged() -> None:
    for levels in (12, 64):
        step = steps.deep(levels, 8)
        assert step.judge() == Honest() and step.witness[0] == 25
        assert replace(step, after=step.before).judge() == WrongRoot()
    assert len(steps.deep(64, 8).witness) < 55_000


def test_random_steps_take_every_rule() -> None:
    taken = set()
    for step in random_steps.steps(7, 300):
        if step.judge() == Honest():
            for start in range(0, len(step.records), records.RECORD_BYTES):
                record = records.decode(step.records[start : start + records.RECORD_BYTES])
                taken.add(getattr(record.payload, "event", record.op).name)
    known = {item.name for kind in (records.Op, records.Event) for item in kind}
    assert taken == known - {"GRADIENT_SHARE", "NETWORK_STATE", "ECONOMIC_EVENT"}


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32))
def test_random_steps(seed: int) -> None:
    """The roots are those of the protocol's text, and only true fraud is fraud, whatever is done to a witness."""
    for step in random_steps.steps(seed, 6):
        verdict = step.judge()
        if step.state is None or "mutation" not in step.name:
            continue
        truth = random_steps.truth(step)
        assert isinstance(verdict, Fault) or verdict == truth, step.name


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.binary(max_size=400), at=st.integers(0, 400))
def test_any_bytes_are_judged_or_refused(data: bytes, at: int) -> None:
    step = taken("a payment")
    spliced = step.witness[:at] + data
    if spliced != step.witness:
        assert isinstance(replace(step, witness=spliced).judge(), Fault) or step.witness.startswith(spliced)
    assert isinstance(replace(step, witness=data).judge(), Fault)


def test_the_tree_after_an_insertion_is_the_protocols() -> None:
    """The partial tree's root is that of the naive tree over all leaves."""
    for step in TAKEN:
        assert step.state is not None
        leaves = {
            key: naive.state_leaf(key, witness.value_hash(kind, value)) for key, kind, value in step.state.leaves()
        }
        assert naive.state_root(leaves) == step.before
        after = step.state
        for start in range(0, len(step.records), records.RECORD_BYTES):
            record = records.decode(step.records[start : start + records.RECORD_BYTES])
            after = apply(after, record, step.context)
        leaves = {key: naive.state_leaf(key, witness.value_hash(kind, value)) for key, kind, value in after.leaves()}
        assert naive.state_root(leaves) == step.after


def test_an_error_names_its_fault() -> None:
    step = taken("a payment")
    with pytest.raises(WitnessError, match="TRAILING_BYTES: 1 bytes are left over") as error:
        witness.judge(step.before, step.after, step.records, step.witness + b"\0", FIRST)
    assert error.value.fault is Fault.TRAILING_BYTES


def test_an_unopened_subtree_has_only_its_hash() -> None:
    node = tree.InnerNode.unopened(kit.filler("hash"))
    assert tree.node_hash(node) == kit.filler("hash")
