from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.ledger import (
    TOTALS_KEY,
    Account,
    LeafKind,
    State,
    Task,
    Totals,
    account_key,
    task_key,
    tree,
    verify_proof,
)
from settlement.ledger.leaves import TaskStatus, decode_leaf
from settlement.records import Kind, Mode
from tests.settlement import kit, naive

TASK = Task(kit.node("client"), Kind.TRAINING, Mode.REPLAY, TaskStatus.PENDING, 1000, 77)


def leaf(key: bytes, value: bytes = b"v") -> tree.LeafNode:
    return tree.LeafNode(key, sha256(value).digest(), value)


# Keys that share long prefixes, so that chains of one-sided nodes are met.
keys = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.tuples(st.integers(0, 255), st.sampled_from([b"\0" * 32, b"\xff" * 32, b"\xaa" * 32])).map(
        lambda pair: (int.from_bytes(pair[1], "big") ^ 1 << pair[0]).to_bytes(32, "big")
    ),
)


@given(st.lists(keys, max_size=12))
def test_the_tree_equals_the_recursive_definition(inserted: list[bytes]) -> None:
    root: tree.Node = None
    expected: dict[bytes, bytes] = {}
    for number, key in enumerate(inserted):
        root = tree.insert(root, leaf(key, bytes([number])))
        expected[key] = naive.state_leaf(key, sha256(bytes([number])).digest())
    assert tree.node_hash(root) == naive.state_root(expected)
    assert [node.key for node in tree.leaves(root)] == sorted(expected)
    for key in expected:
        assert tree.siblings(root, key) == naive.state_siblings(expected, key)
        assert (found := tree.find(root, key)) is not None and found.hash == expected[key]


@given(st.lists(keys, min_size=1, max_size=10, unique=True), st.data())
def test_a_proof_shows_its_leaf_and_no_other(inserted: list[bytes], data: st.DataObject) -> None:
    root: tree.Node = None
    for key in inserted:
        root = tree.insert(root, leaf(key))
    key = data.draw(st.sampled_from(inserted))
    siblings, top, value = tree.siblings(root, key), tree.node_hash(root), sha256(b"v").digest()
    assert tree.verify(top, key, value, siblings)
    assert not tree.verify(top, key, sha256(b"w").digest(), siblings)
    bit = data.draw(st.integers(0, 255))
    assert not tree.verify(top, (int.from_bytes(key, "big") ^ 1 << bit).to_bytes(32, "big"), value, siblings)
    assert not tree.verify(top, key, value, [*siblings, bytes(32)])
    if siblings:
        assert not tree.verify(top, key, value, siblings[:-1])
        assert not tree.verify(top, key, value, [sha256(siblings[0]).digest(), *siblings[1:]])


@pytest.mark.parametrize("depth", [64, 256])
def test_deep_paths(depth: int) -> None:
    base = int.from_bytes(kit.filler("key"), "big")
    key, other = base.to_bytes(32, "big"), (base ^ 1 << 256 - depth).to_bytes(32, "big")
    root = tree.insert(tree.insert(None, leaf(key)), leaf(other))
    siblings = tree.siblings(root, key)
    assert len(siblings) == depth and siblings[:-1] == [bytes(32)] * (depth - 1)
    assert tree.verify(tree.node_hash(root), key, sha256(b"v").digest(), siblings)
    assert not tree.verify(tree.node_hash(root), key, sha256(b"v").digest(), [*siblings, *[bytes(32)] * 256])


@given(st.lists(keys, max_size=8), st.lists(keys, max_size=8))
def test_changes_are_what_a_copy_needs(before: list[bytes], more: list[bytes]) -> None:
    old: tree.Node = None
    for key in before:
        old = tree.insert(old, leaf(key))
    new, old_root = old, tree.node_hash(old)
    for key in more:
        new = tree.insert(new, leaf(key, b"w"))
    changed = {node.key: node.body for node in tree.changes(old, new)}
    assert changed == dict.fromkeys(more, b"w")
    copy = old
    for key in changed:
        copy = tree.insert(copy, leaf(key, b"w"))
    assert tree.node_hash(copy) == tree.node_hash(new)
    assert tree.node_hash(old) == old_root


def test_no_proof_for_what_is_not_there() -> None:
    root = tree.insert(None, leaf(bytes(32)))
    with pytest.raises(KeyError):
        tree.siblings(root, b"\1" * 32)
    with pytest.raises(KeyError):
        State.empty().proof(task_key(kit.filler("task")))


def test_the_empty_state_holds_only_zero_totals() -> None:
    key = naive.tagged("totals-key")
    assert State.empty().root == naive.state_leaf(key, naive.tagged("totals", bytes(32)))
    assert State.empty().totals == Totals(0, 0, 0, 0)
    assert State.empty().account(kit.node("a")) is None and State.empty().task(kit.filler("t")) is None


def test_states_are_values() -> None:
    one = State.empty().with_account(Account(kit.public_key("a"), balance=5))
    root = one.root
    two = one.with_account(Account(kit.public_key("a"), balance=6)).with_task(kit.filler("t"), TASK)
    assert one.account(kit.node("a")) == Account(kit.public_key("a"), balance=5) and one.root == root
    assert two.account(kit.node("a")) == Account(kit.public_key("a"), balance=6)
    assert one.task(kit.filler("t")) is None and two.task(kit.filler("t")) == TASK
    assert {kind for _, kind, _ in two.changes_since(one)} == {LeafKind.ACCOUNT, LeafKind.TASK}


def test_leaves_proofs_and_reload() -> None:
    state = State.empty().with_totals(Totals(1, 2, 3, 4)).with_task(kit.filler("t"), TASK)
    for i in range(20):
        state = state.with_account(Account(kit.public_key(f"{i}"), i, i, i, i, i, i))
    leaves = list(state.leaves())
    again = State.from_leaves(leaves)
    assert again.root == state.root and list(again.leaves()) == leaves
    assert (again.totals, again.task(kit.filler("t"))) == (Totals(1, 2, 3, 4), TASK)
    for key, kind, value in leaves:
        assert state.proof(key)[0] == value
        assert verify_proof(state.root, key, kind, value, state.proof(key)[1])
        others = [other for other in LeafKind if other != kind]
        assert not any(verify_proof(state.root, key, other, value, state.proof(key)[1]) for other in others)


def test_leaf_values_have_the_widths_of_the_protocol() -> None:
    assert len(Account(bytes(32)).encode()) == 80
    assert len(TASK.encode()) == 195
    assert len(Totals().encode()) == 32
    for kind, item in ((LeafKind.ACCOUNT, Account(bytes(32), 1)), (LeafKind.TASK, TASK), (LeafKind.TOTALS, Totals(1))):
        assert decode_leaf(kind, item.encode()) == item
        with pytest.raises(ValueError, match="bytes, got"):
            decode_leaf(kind, item.encode() + b"\0")


def test_leaves_that_cannot_be_are_refused() -> None:
    account, totals = Account(kit.public_key("a")), (TOTALS_KEY, "totals", Totals().encode())
    with pytest.raises(ValueError, match="belongs at"):
        State.from_leaves([totals, (account_key(kit.node("b")), "account", account.encode())])
    with pytest.raises(ValueError, match="cannot be of kind"):
        State.from_leaves([(bytes(32), "totals", Totals().encode())])
    with pytest.raises(ValueError, match="cannot be of kind"):
        State.from_leaves([(TOTALS_KEY, "task", TASK.encode())])
    with pytest.raises(ValueError, match="no totals"):
        State.from_leaves([])
    with pytest.raises(ValueError, match="not a valid LeafKind"):
        State.from_leaves([(TOTALS_KEY, "sum", b"")])
