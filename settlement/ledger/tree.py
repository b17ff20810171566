"""A compact sparse Merkle tree over 256-bit keys, most significant bit first, by path copying (docs/protocol.md, section 7).

Nodes are immutable, so an old root stays valid and shares all it can with the new one. Hashes are computed when a root is asked for
and then kept: between two roots each changed node is hashed once, however many leaves changed below it.
An empty subtree is 32 zero bytes and a subtree of one leaf is that leaf's hash, which binds the whole key, as in Jellyfish and
Libra's tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

from settlement.tags import H, fixed, tag

KEY_BITS = 256
EMPTY = bytes(32)
_NODE_TAG = tag("state-node")


class LeafNode:
    """A leaf that stands alone in its subtree: key, whatever the owner keeps there, and the hash of the value."""

    __slots__ = ("body", "hash", "key", "path")

    def __init__(self, key: bytes, value_hash: bytes, body: object) -> None:
        self.key = key
        self.path = int.from_bytes(key, "big")
        self.hash = leaf_hash(key, value_hash)
        self.body = body


class InnerNode:
    __slots__ = ("_hash", "left", "right")

    def __init__(self, left: Node, right: Node) -> None:
        self.left = left
        self.right = right
        self._hash: bytes | None = None

    @classmethod
    def unopened(cls, node_hash: bytes) -> InnerNode:
        """A subtree of which only the hash is known. Nothing can be found in it or inserted: the caller knows that its keys lie elsewhere."""
        node = cls(None, None)
        node._hash = node_hash
        return node

    @property
    def hash(self) -> bytes:
        if self._hash is None:
            left = EMPTY if self.left is None else self.left.hash
            right = EMPTY if self.right is None else self.right.hash
            self._hash = sha256(_NODE_TAG + left + right).digest()
        return self._hash


Node = InnerNode | LeafNode | None


def leaf_hash(key: bytes, value_hash: bytes) -> bytes:
    return H("state-leaf", key, value_hash)


def node_hash(node: Node) -> bytes:
    return EMPTY if node is None else node.hash


def find(root: Node, key: bytes) -> LeafNode | None:
    path, shift, node = int.from_bytes(key, "big"), KEY_BITS - 1, root
    while isinstance(node, InnerNode):
        node = node.right if path >> shift & 1 else node.left
        shift -= 1
    return node if node is not None and node.path == path else None


def insert(root: Node, leaf: LeafNode) -> Node:
    """The tree with `leaf` in it, in place of one with the same key. The old tree is untouched."""
    path, shift, node = leaf.path, KEY_BITS - 1, root
    passed: list[InnerNode] = []
    while isinstance(node, InnerNode):
        passed.append(node)
        node = node.right if path >> shift & 1 else node.left
        shift -= 1
    made: Node = leaf
    if node is not None and node.path != path:
        fork = (node.path ^ path).bit_length() - 1
        made = InnerNode(node, leaf) if path >> fork & 1 else InnerNode(leaf, node)
        for bit in range(fork + 1, shift + 1):
            made = InnerNode(None, made) if path >> bit & 1 else InnerNode(made, None)
    for parent in reversed(passed):
        shift += 1
        made = InnerNode(parent.left, made) if path >> shift & 1 else InnerNode(made, parent.right)
    return made


def siblings(root: Node, key: bytes) -> list[bytes]:
    """The siblings from the root down to where the leaf of `key` stands alone. KeyError when there is no such leaf."""
    path, shift, node = int.from_bytes(key, "big"), KEY_BITS - 1, root
    passed = []
    while isinstance(node, InnerNode):
        right = path >> shift & 1
        passed.append(node_hash(node.left if right else node.right))
        node = node.right if right else node.left
        shift -= 1
    if node is None or node.path != path:
        raise KeyError(key.hex())
    return passed


def verify(root: bytes, key: bytes, value_hash: bytes, siblings: Sequence[bytes]) -> bool:
    """Whether a leaf of this key and value stands under `root`. Too many siblings are false, not an error."""
    if len(siblings) > KEY_BITS:
        return False
    path = int.from_bytes(fixed("key", key, 32), "big")
    value = leaf_hash(key, fixed("value hash", value_hash, 32))
    for depth in range(len(siblings) - 1, -1, -1):
        sibling = fixed("sibling", siblings[depth], 32)
        pair = sibling + value if path >> (KEY_BITS - 1 - depth) & 1 else value + sibling
        value = sha256(_NODE_TAG + pair).digest()
    return value == root


def leaves(root: Node) -> Iterator[LeafNode]:
    """All leaves in the order of their keys."""
    stack: list[Node] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, InnerNode):
            stack += (node.right, node.left)
        elif node is not None:
            yield node


def changes(old: Node, new: Node) -> Iterator[LeafNode]:
    """The leaves of `new` that are not in `old`, in the order of their keys. Shared subtrees are never entered."""
    stack: list[tuple[Node, Node]] = [(old, new)]
    while stack:
        before, after = stack.pop()
        if before is after or after is None:
            continue
        if isinstance(after, InnerNode):
            if isinstance(before, InnerNode):
                stack += ((before.right, after.right), (before.left, after.left))
            else:
                stack += ((before, after.right), (before, after.left))
        elif not (isinstance(before, LeafNode) and before.hash == after.hash):
            yield after
