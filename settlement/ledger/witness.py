"""Witnesses: enough of a state to run a few records on it, for whoever has only its root (docs/protocol.md, section 12).

build() makes one from a whole state, for the program's prove_transition; judge() is what the program decides about it, in Python, so
that a challenger knows the answer before it pays for the question. A witness opens leaves, present or absent, and gives the hashes of all
else: what was not opened is unknown, never taken for absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from settlement import records
from settlement.ledger import tree
from settlement.ledger.context import Context
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
from settlement.ledger.rejection import LedgerRejection, Rejection
from settlement.ledger.state import State
from settlement.ledger.transition import unchecked
from settlement.records import RecordError

MAX_LEAVES: Final = 34
"""Eight strikes open as many: challenger, client, worker and task of each, the treasury's account and the totals."""
MAX_RECORDS: Final = 8
HASH_BYTES: Final = 32
_MAX_STEPS: Final = 255
_KINDS: Final = {1: LeafKind.ACCOUNT, 2: LeafKind.TASK, 3: LeafKind.TOTALS}
_CODES: Final = {kind: code for code, kind in _KINDS.items()}
_ID_BYTES: Final = {LeafKind.ACCOUNT: 20, LeafKind.TASK: 32, LeafKind.TOTALS: 0}
_VALUE_BYTES: Final = {LeafKind.ACCOUNT: 80, LeafKind.TASK: 195, LeafKind.TOTALS: 32}


class Token(IntEnum):
    EMPTY = 0
    LEAF = 1
    FOREIGN = 2
    FORK = 3
    STEPS = 4
    EMPTY_STEPS = 5


class Fault(IntEnum):
    """Why a witness proves nothing. The numbers are the program's."""

    RECORD_COUNT = 1
    TRUNCATED = 2
    TRAILING_BYTES = 3
    LEAF_COUNT = 4
    BAD_LEAF = 5
    UNSORTED = 6
    BAD_TOKEN = 7
    BAD_SHAPE = 8
    MISSING_LEAF = 9
    WRONG_ROOT_BEFORE = 10


class WitnessError(Exception):
    """A witness that proves nothing about its claim."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(f"{fault.name}: {message}")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Honest:
    """The records lead from the one root to the other."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Fraud: record number `record` cannot stand where it does."""

    record: int
    code: Rejection


@dataclass(frozen=True, slots=True)
class WrongRoot:
    """Fraud: the records are taken, but lead elsewhere."""


Verdict = Honest | Rejected | WrongRoot


@dataclass(frozen=True, slots=True)
class _Opened:
    """One entry of the table: `id` is the node id, the task id, or nothing; no value means that the leaf is not there."""

    key: bytes
    kind: LeafKind
    id: bytes
    leaf: Leaf | None

    def encode(self) -> bytes:
        value = b"" if self.leaf is None else self.leaf.encode()
        return bytes([_CODES[self.kind], self.leaf is not None]) + self.id + value


def build(before: State, batch: Sequence[bytes], context: Context) -> bytes:
    """A witness of all that these records (1 to 8, encoded) touch on the state `before`, up to the first one that is rejected."""
    seen: dict[bytes, tuple[LeafKind, bytes]] = {}
    state: State = _Recorder(before._tree, seen)
    for encoded in batch:
        try:
            state = unchecked(state, records.decode(encoded), context)
        except (RecordError, LedgerRejection):
            break
    if not seen:
        seen[TOTALS_KEY] = LeafKind.TOTALS, b""  # no state is without one, and a witness opens at least one leaf
    return encode(before, seen)


def encode(before: State, leaves: dict[bytes, tuple[LeafKind, bytes]]) -> bytes:
    """A witness that opens these leaves of a state: key → (kind, node id or task id or nothing)."""
    opened = [_Opened(key, *leaves[key], before._get(key)) for key in sorted(leaves)]
    table = bytes([len(opened)]) + b"".join(entry.encode() for entry in opened)
    tokens = bytearray()
    _write(tokens, before._tree, [int.from_bytes(entry.key, "big") for entry in opened], tree.KEY_BITS)
    return table + bytes(tokens)


def _write(out: bytearray, node: tree.Node, paths: list[int], bits: int) -> None:
    """The tokens of a subtree whose leaves have `bits` bits of their paths left. It recurses at forks only, once per opened leaf."""
    run: list[bytes] = []
    while isinstance(node, tree.InnerNode):
        bits -= 1
        right = [path for path in paths if path >> bits & 1]
        if right and len(right) < len(paths):
            _write_steps(out, run)
            out.append(Token.FORK)
            _write(out, node.left, [path for path in paths if not path >> bits & 1], bits)
            _write(out, node.right, right, bits)
            return
        run.append(tree.node_hash(node.left if right else node.right))
        node = node.right if right else node.left
    _write_steps(out, run)
    if node is None:
        out.append(Token.EMPTY)
    elif node.path in paths:
        out.append(Token.LEAF)
    else:
        leaf: Leaf = node.body  # type: ignore[assignment]
        out.append(Token.FOREIGN)
        out += node.key + value_hash(kind_of(leaf), leaf.encode())


def _write_steps(out: bytearray, siblings: list[bytes]) -> None:
    start = 0
    while start < len(siblings):
        empty = siblings[start] == tree.EMPTY
        end = start
        while end < len(siblings) and end - start < _MAX_STEPS and (siblings[end] == tree.EMPTY) == empty:
            end += 1
        out += bytes([Token.EMPTY_STEPS if empty else Token.STEPS, end - start])
        if not empty:
            out += b"".join(siblings[start:end])
        start = end


def judge(before: bytes, after: bytes, batch: bytes, witness: bytes, context: Context) -> Verdict:
    """What the witness proves about the claim that these records (160 bytes each, 1 to 8) lead from root `before` to root `after`.

    WitnessError when it proves nothing, either way.
    """
    count, rest = divmod(len(batch), records.RECORD_BYTES)
    if rest or not 1 <= count <= MAX_RECORDS:
        raise WitnessError(Fault.RECORD_COUNT, f"{len(batch)} bytes are not 1 to {MAX_RECORDS} records")
    reader = _Reader(witness)
    opened = _read_table(reader)
    root = _read_tree(reader, opened, 0)
    if reader.left:
        raise WitnessError(Fault.TRAILING_BYTES, f"{reader.left} bytes are left over")
    state: State = _Partial(root, frozenset(entry.key for entry in opened))
    rejected: Rejected | None = None
    for index in range(count):
        try:
            record = records.decode(batch[index * records.RECORD_BYTES : (index + 1) * records.RECORD_BYTES])
            state = unchecked(state, record, context)
        except RecordError:
            rejected = Rejected(index, Rejection.MALFORMED_RECORD)
            break
        except LedgerRejection as rejection:
            rejected = Rejected(index, rejection.code)
            break
        except ValueError as error:
            raise WitnessError(Fault.BAD_LEAF, str(error)) from error  # a bitmap with bits beyond the set
    if tree.node_hash(root) != before:
        raise WitnessError(Fault.WRONG_ROOT_BEFORE, f"it leads to {tree.node_hash(root).hex()}")
    if rejected is not None:
        return rejected
    return Honest() if state.root == after else WrongRoot()


class _Recorder(State):
    """A state that keeps note of every leaf that was asked for."""

    __slots__ = ("_seen",)

    def __init__(self, root: tree.Node, seen: dict[bytes, tuple[LeafKind, bytes]]) -> None:
        super().__init__(root)
        self._seen = seen

    @property
    def totals(self) -> Totals:
        self._seen[TOTALS_KEY] = LeafKind.TOTALS, b""
        return super().totals

    def account(self, node: bytes) -> Account | None:
        self._seen[account_key(node)] = LeafKind.ACCOUNT, node
        return super().account(node)

    def task(self, task_id: bytes) -> Task | None:
        self._seen[task_key(task_id)] = LeafKind.TASK, task_id
        return super().task(task_id)

    def _with(self, key: bytes, leaf: Leaf) -> State:
        return _Recorder(super()._with(key, leaf)._tree, self._seen)


class _Partial(State):
    """A state of which only some leaves are known, present or absent."""

    __slots__ = ("_opened",)

    def __init__(self, root: tree.Node, opened: frozenset[bytes]) -> None:
        super().__init__(root)
        self._opened = opened

    def _get(self, key: bytes) -> Leaf | None:
        if key not in self._opened:
            raise WitnessError(Fault.MISSING_LEAF, f"the leaf at {key.hex()} is not opened")
        leaf = super()._get(key)
        if leaf is None and key == TOTALS_KEY:
            raise WitnessError(Fault.MISSING_LEAF, "every state has totals")
        return leaf

    def _with(self, key: bytes, leaf: Leaf) -> State:
        return _Partial(super()._with(key, leaf)._tree, self._opened)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise WitnessError(Fault.TRUNCATED, f"{count} bytes are wanted at {self._at}, {self.left} are left")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        return self.take(1)[0]


def _read_table(reader: _Reader) -> list[_Opened]:
    count = reader.byte()
    if not 1 <= count <= MAX_LEAVES:
        raise WitnessError(Fault.LEAF_COUNT, f"{count} leaves, it must be 1 to {MAX_LEAVES}")
    opened: list[_Opened] = []
    for _ in range(count):
        opened.append(_read_leaf(reader))
        if len(opened) > 1 and opened[-2].key >= opened[-1].key:
            raise WitnessError(Fault.UNSORTED, f"the key {opened[-1].key.hex()} does not follow the one before it")
    return opened


def _read_leaf(reader: _Reader) -> _Opened:
    code = reader.byte()
    if code not in _KINDS:
        raise WitnessError(Fault.BAD_LEAF, f"kind {code} is not known")
    kind, present = _KINDS[code], reader.byte()
    if present not in (0, 1):
        raise WitnessError(Fault.BAD_LEAF, f"present is {present}, it must be 0 or 1")
    name = reader.take(_ID_BYTES[kind])
    key = {LeafKind.ACCOUNT: account_key, LeafKind.TASK: task_key}[kind](name) if name else TOTALS_KEY
    leaf = None
    if present:
        value = reader.take(_VALUE_BYTES[kind])
        try:
            leaf = decode_leaf(kind, value)
        except ValueError as error:
            raise WitnessError(Fault.BAD_LEAF, str(error)) from error
        if isinstance(leaf, Account) and leaf.node != name:
            raise WitnessError(Fault.BAD_LEAF, f"the account of {leaf.node.hex()} stands at node {name.hex()}")
    return _Opened(key, kind, name, leaf)


def _read_tree(reader: _Reader, opened: Sequence[_Opened], depth: int) -> tree.Node:
    """The subtree at `depth` that holds these opened leaves and, besides, hashes."""
    paths = [int.from_bytes(entry.key, "big") for entry in opened]
    agreed = tree.KEY_BITS - (paths[0] ^ paths[-1]).bit_length()
    run: list[tree.Node] = []
    start = depth
    while (token := reader.byte()) in (Token.STEPS, Token.EMPTY_STEPS):
        count = reader.byte()
        if not 1 <= count <= agreed - depth:
            raise WitnessError(
                Fault.BAD_SHAPE, f"{count} steps at depth {depth} from which the leaves agree to {agreed}"
            )
        depth += count
        run += [
            tree.InnerNode.unopened(reader.take(HASH_BYTES)) if token == Token.STEPS else None for _ in range(count)
        ]
    node = _read_fork(reader, opened, depth) if token == Token.FORK else _read_end(reader, token, opened, depth)
    for level in range(depth - 1, start - 1, -1):
        right = paths[0] >> (tree.KEY_BITS - 1 - level) & 1
        sibling = run[level - start]
        node = tree.InnerNode(sibling, node) if right else tree.InnerNode(node, sibling)
    return node


def _read_fork(reader: _Reader, opened: Sequence[_Opened], depth: int) -> tree.Node:
    bit = tree.KEY_BITS - 1 - depth
    right = [entry for entry in opened if bit >= 0 and int.from_bytes(entry.key, "big") >> bit & 1]
    left = opened[: len(opened) - len(right)]
    if not left or not right:
        raise WitnessError(Fault.BAD_SHAPE, f"a fork at depth {depth}, where the leaves do not part")
    return tree.InnerNode(_read_tree(reader, left, depth + 1), _read_tree(reader, right, depth + 1))


def _read_end(reader: _Reader, token: int, opened: Sequence[_Opened], depth: int) -> tree.Node:
    if token not in (Token.EMPTY, Token.LEAF, Token.FOREIGN):
        raise WitnessError(Fault.BAD_TOKEN, f"token {token} is not known")
    present = [entry for entry in opened if entry.leaf is not None]
    if len(present) != (token == Token.LEAF):
        raise WitnessError(Fault.BAD_SHAPE, f"{len(present)} opened leaves are present below one {Token(token).name}")
    if token == Token.EMPTY:
        return None
    if token == Token.LEAF:
        (entry,) = present
        assert entry.leaf is not None
        return tree.LeafNode(entry.key, value_hash(entry.kind, entry.leaf.encode()), entry.leaf)
    key, hashed = reader.take(HASH_BYTES), reader.take(HASH_BYTES)
    shift = tree.KEY_BITS - depth
    if int.from_bytes(key, "big") >> shift != int.from_bytes(opened[0].key, "big") >> shift:
        raise WitnessError(Fault.BAD_SHAPE, f"the leaf at {key.hex()} is not on the path at depth {depth}")
    if any(entry.key == key for entry in opened):
        raise WitnessError(Fault.BAD_SHAPE, f"the leaf at {key.hex()} is opened")
    return tree.LeafNode(key, hashed, None)
