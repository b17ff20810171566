"""The L2 state: accounts, tasks and totals as leaves of one sparse Merkle tree. Immutable: a change makes a new State, the old one stays
valid and shares what did not change, so keeping the state of every epoch, or of every record, costs little."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from settlement.ledger import tree
from settlement.ledger.leaves import (
    TOTALS_KEY,
    Account,
    Leaf,
    LeafKind,
    Task,
    Totals,
    account_key,
    decode_leaf,
    kind_of,
    task_key,
    value_hash,
)


class State:
    """A state; make one with empty() or from_leaves()."""

    __slots__ = ("_tree",)

    def __init__(self, root: tree.Node) -> None:
        self._tree = root

    @classmethod
    def empty(cls) -> State:
        """The state before epoch 1: only a totals leaf of zeros."""
        return cls(None).with_totals(Totals())

    @classmethod
    def from_leaves(cls, leaves: Iterable[tuple[bytes, LeafKind | str, bytes]]) -> State:
        """The state of these (key, kind, value) leaves, as leaves() gives them.

        ValueError when a leaf cannot stand at its key, or the totals are missing.
        """
        root: tree.Node = None
        for key, kind, value in leaves:
            leaf = decode_leaf(LeafKind(kind), value)
            if isinstance(leaf, Account) and key != account_key(leaf.node):
                raise ValueError(f"the account leaf at {key.hex()} belongs at {account_key(leaf.node).hex()}")
            if isinstance(leaf, Totals) != (key == TOTALS_KEY):
                raise ValueError(f"the leaf at {key.hex()} cannot be of kind {kind}")
            root = tree.insert(root, _node(key, leaf))
        if tree.find(root, TOTALS_KEY) is None:
            raise ValueError("the leaves hold no totals")
        return cls(root)

    @property
    def root(self) -> bytes:
        """32 bytes."""
        return tree.node_hash(self._tree)

    @property
    def totals(self) -> Totals:
        return cast(Totals, self._get(TOTALS_KEY))

    def account(self, node: bytes) -> Account | None:
        """The account of a node id."""
        return cast(Account | None, self._get(account_key(node)))

    def task(self, task_id: bytes) -> Task | None:
        return cast(Task | None, self._get(task_key(task_id)))

    def with_account(self, account: Account) -> State:
        return self._with(account_key(account.node), account)

    def with_task(self, task_id: bytes, task: Task) -> State:
        return self._with(task_key(task_id), task)

    def with_totals(self, totals: Totals) -> State:
        return self._with(TOTALS_KEY, totals)

    def proof(self, key: bytes) -> tuple[bytes, list[bytes]]:
        """The value at `key` and its siblings from the root down. KeyError when there is no such leaf."""
        leaf = self._get(key)
        if leaf is None:
            raise KeyError(key.hex())
        return leaf.encode(), tree.siblings(self._tree, key)

    def leaves(self) -> Iterator[tuple[bytes, LeafKind, bytes]]:
        """(key, kind, value) of every leaf, in the order of the keys."""
        return map(_triple, tree.leaves(self._tree))

    def changes_since(self, older: State) -> Iterator[tuple[bytes, LeafKind, bytes]]:
        """The leaves() of this state that `older` has not or has with another value: what a store must write. Costs what changed."""
        return map(_triple, tree.changes(older._tree, self._tree))

    def _get(self, key: bytes) -> Leaf | None:
        node = tree.find(self._tree, key)
        return None if node is None else cast(Leaf, node.body)

    def _with(self, key: bytes, leaf: Leaf) -> State:
        return State(tree.insert(self._tree, _node(key, leaf)))


def verify_proof(root: bytes, key: bytes, kind: LeafKind | str, value: bytes, siblings: Sequence[bytes]) -> bool:
    """Whether the state of this root holds this leaf. `key` is account_key(node), task_key(task id) or TOTALS_KEY."""
    return tree.verify(root, key, value_hash(LeafKind(kind), value), siblings)


def _node(key: bytes, leaf: Leaf) -> tree.LeafNode:
    return tree.LeafNode(key, value_hash(kind_of(leaf), leaf.encode()), leaf)


def _triple(node: tree.LeafNode) -> tuple[bytes, LeafKind, bytes]:
    leaf = cast(Leaf, node.body)
    return node.key, kind_of(leaf), leaf.encode()
