"""The finalized state on disk (RocksDB): its leaves and the checkpoint that led to it, changed together in one synced write."""

import json
from collections.abc import Iterator
from pathlib import Path

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from settlement.ledger import LeafKind, State
from settlement.messages import CheckpointMessage
from settlement.signing import Domain
from validator.chain import Link

_HEAD = b"head"
_LEAF = b"leaf/"
_KINDS = {LeafKind.ACCOUNT: b"a", LeafKind.TASK: b"t", LeafKind.TOTALS: b"s"}
_NAMES = {byte: kind for kind, byte in _KINDS.items()}


class StoreError(Exception):
    """The files on disk are damaged or belong to another chain; the message says which and what to do."""


class Store:
    """One folder. Raises StoreError when it belongs to another chain."""

    def __init__(self, path: Path, domain: Domain) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path, self._domain = path, domain
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        self._db = Rdict(str(path), options)
        self._sync = WriteOptions()
        self._sync.sync = True

    def close(self) -> None:
        self._db.close()

    def load(self) -> Link:
        """The last link saved, genesis in an empty store."""
        raw = self._db.get(_HEAD)
        if raw is None:
            return Link.genesis()
        head = json.loads(raw)
        chain = {"genesis": self._domain.genesis.hex(), "program": self._domain.program.hex()}
        for name, ours in chain.items():
            if head[name] != ours:
                raise StoreError(
                    f"{self._path} holds the state of another chain: {name} {head[name]}, this one's is {ours}"
                )
        message = CheckpointMessage.from_json(head["message"])
        state = State.from_leaves(self._leaves())
        if state.root != message.state_root:
            raise StoreError(
                f"{self._path} is damaged: its leaves do not have the root of epoch {message.epoch}; remove it to follow L1 anew"
            )
        return Link(message, state)

    def _leaves(self) -> Iterator[tuple[bytes, LeafKind, bytes]]:
        for key, value in self._db.items(from_key=_LEAF):
            assert isinstance(key, bytes) and isinstance(value, bytes)
            if not key.startswith(_LEAF):
                return
            yield key[len(_LEAF) :], _NAMES[value[:1]], value[1:]

    def save(self, older: Link, link: Link) -> None:
        """Replaces `older`, the link that is on disk, by a later one. Durable when it returns."""
        if link.message is None:
            raise ValueError("genesis needs no saving")
        batch = WriteBatch(raw_mode=True)
        # Genesis is never on disk, so the first save writes everything.
        changes = link.state.leaves() if older.message is None else link.state.changes_since(older.state)
        for key, kind, value in changes:
            batch.put(_LEAF + key, _KINDS[kind] + value)
        head = {
            "genesis": self._domain.genesis.hex(),
            "program": self._domain.program.hex(),
            "message": link.message.to_json(),
        }
        batch.put(_HEAD, json.dumps(head).encode())
        self._db.write(batch, self._sync)
