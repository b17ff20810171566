"""What somebody outside knows of the leaves under a root: all of them, or those that were shown with their siblings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from settlement import merkle
from settlement.dispute_instructions import Count, Proven


@dataclass(frozen=True)
class Shown:
    """A leaf at its place."""

    data: bytes
    place: Proven


@dataclass(frozen=True)
class Leaves:
    """`known` by index, of `count`; `tree` is their tree hash without the count. `siblings` of those known one by one: where all are known
    they follow from the leaves."""

    count: int
    tree: bytes
    known: Mapping[int, bytes]
    siblings: Mapping[int, Sequence[bytes]]

    @classmethod
    def all_of(cls, leaves: Sequence[bytes]) -> Leaves:
        return cls(len(leaves), merkle.tree_hash(leaves), dict(enumerate(leaves)), {})

    @classmethod
    def none_of(cls, count: Count) -> Leaves:
        """Only how many there are."""
        return cls(count.count, count.tree, {}, {})

    def with_leaf(self, shown: Shown) -> Leaves:
        index = shown.place.index
        return Leaves(
            self.count,
            self.tree,
            {**self.known, index: shown.data},
            {**self.siblings, index: tuple(shown.place.siblings)},
        )

    def is_under(self, name: str, root: bytes) -> bool:
        return merkle.bind_count(name, self.count, self.tree) == root

    @property
    def whole(self) -> tuple[bytes, ...] | None:
        """All of them in order; None while one is unknown."""
        if len(self.known) < self.count:
            return None
        return tuple(self.known[index] for index in range(self.count))

    @property
    def counted(self) -> Count:
        return Count(self.count, self.tree)

    def shown(self, index: int) -> Shown:
        """KeyError when the leaf is not known."""
        siblings = self.siblings.get(index)
        if siblings is None:
            whole = self.whole
            if whole is None:
                raise KeyError(index)
            siblings = merkle.proof(whole, index)
        return Shown(self.known[index], Proven(index, self.count, siblings))


def count_under(name: str, root: bytes, leaves: Sequence[bytes]) -> int | None:
    """How many of these leaves, from the first on, are exactly those under the root; None when no number of them is."""
    if merkle.bind_count(name, 0, merkle.EMPTY_TREE) == root:
        return 0
    peaks: list[tuple[int, bytes]] = []  # (leaves, hash) of the complete subtrees from left to right
    for number, leaf in enumerate(leaves, 1):
        size, node = 1, merkle.leaf_hash(leaf)
        while peaks and peaks[-1][0] == size:
            node, size = merkle.node_hash(peaks.pop()[1], node), 2 * size
        peaks.append((size, node))
        tree = peaks[-1][1]
        for _, left in reversed(peaks[:-1]):
            tree = merkle.node_hash(left, tree)
        if merkle.bind_count(name, number, tree) == root:
            return number
    return None
