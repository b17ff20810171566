import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement import merkle
from tests.settlement import naive

LEAVES = [f"leaf {i}".encode() for i in range(40)]


@pytest.mark.parametrize("count", range(40))
def test_tree_and_root_equal_the_recursive_definition_of_rfc_9162(count: int) -> None:
    assert merkle.tree_hash(LEAVES[:count]) == naive.merkle_tree(LEAVES[:count])
    assert merkle.root("results-root", LEAVES[:count]) == naive.merkle_root("results-root", LEAVES[:count])


@pytest.mark.parametrize("count", range(1, 20))
def test_every_proof_is_that_of_rfc_9162_and_verifies(count: int) -> None:
    leaves = LEAVES[:count]
    root = merkle.root("r", leaves)
    for index in range(count):
        siblings = merkle.proof(leaves, index)
        assert siblings == naive.merkle_path(index, leaves)
        assert merkle.verify("r", root, leaves[index], index, count, siblings)


@given(st.integers(1, 20), st.data())
def test_a_proof_verifies_nothing_else(count: int, data: st.DataObject) -> None:
    leaves = LEAVES[:count]
    root = merkle.root("r", leaves)
    index = data.draw(st.integers(0, count - 1))
    siblings = merkle.proof(leaves, index)
    other = data.draw(st.integers(-1, count + 1).filter(lambda i: i != index))
    assert not merkle.verify("r", root, leaves[index], other, count, siblings)
    assert not merkle.verify("r", root, b"another", index, count, siblings)
    assert not merkle.verify("s", root, leaves[index], index, count, siblings)
    for wrong in (count - 1, count + 1):
        assert not merkle.verify("r", root, leaves[index], index, wrong, siblings)
    assert not merkle.verify("r", root, leaves[index], index, count, [*siblings, bytes(32)])
    if siblings:
        assert not merkle.verify("r", root, leaves[index], index, count, siblings[:-1])
        assert not merkle.verify("r", root, leaves[index], index, count, [bytes(32), *siblings[1:]])


def test_an_odd_leaf_is_not_duplicated() -> None:
    assert merkle.tree_hash(LEAVES[:3]) != merkle.tree_hash([*LEAVES[:3], LEAVES[2]])


def test_a_node_is_no_leaf() -> None:
    left, right = merkle.leaf_hash(LEAVES[0]), merkle.leaf_hash(LEAVES[1])
    assert merkle.tree_hash([left + right]) != merkle.tree_hash(LEAVES[:2])


def test_there_is_no_proof_for_a_missing_leaf() -> None:
    with pytest.raises(IndexError, match="leaf 3 of a tree of 3"):
        merkle.proof(LEAVES[:3], 3)
