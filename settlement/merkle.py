"""RFC 9162 Merkle trees whose root also binds the number of leaves (docs/protocol.md, section 2).

The hash of a leaf starts with 0x00 and that of a node with 0x01, so neither can be passed off as the other; an odd node is promoted,
never duplicated, so two lists of leaves never share a tree (the flaw of CVE-2012-2459).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from settlement.tags import H, fixed, u64le

EMPTY_TREE = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162, section 2.1.1: the hash of the tree over `leaves`, without their count."""
    if not leaves:
        return EMPTY_TREE
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def root(name: str, leaves: Sequence[bytes]) -> bytes:
    """H(name, count as u64le, tree hash): what is signed and posted."""
    return bind_count(name, len(leaves), tree_hash(leaves))


def bind_count(name: str, count: int, tree: bytes) -> bytes:
    return H(name, u64le(count), tree)


def proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings of leaf `index` from the leaf upwards (RFC 9162, section 2.1.3.1). IndexError when there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of a tree of {len(leaves)}")
    siblings = []
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        level, index = _parents(level), index // 2
    return siblings


def verify(name: str, root: bytes, leaf: bytes, index: int, count: int, siblings: Sequence[bytes]) -> bool:
    """Whether `leaf` stands at `index` among `count` leaves under `root` (RFC 9162, section 2.1.3.2, then the count).

    A proof with too few or too many siblings for its index and count is false, not an error.
    """
    if not 0 <= index < count:
        return False
    node, last, value = index, count - 1, leaf_hash(leaf)
    for sibling in siblings:
        fixed("sibling", sibling, 32)
        if last == 0:
            return False
        if node & 1 or node == last:
            value = node_hash(sibling, value)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and bind_count(name, count, value) == root


def _parents(level: list[bytes]) -> list[bytes]:
    # Pairing neighbours and promoting an odd last one gives the same tree as RFC 9162's split at the largest power of two.
    pairs = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs + level[-1:] if len(level) % 2 else pairs
