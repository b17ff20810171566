"""The finalized state on disk (RocksDB): its leaves and the checkpoint that led to it, changed together in one synced write."""

import contextlib
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from rocksdict import AccessType, DBRecoveryMode, Options, Rdict, WriteBatch, WriteOptions

from settlement import durable
from settlement.ledger import LeafKind, State
from settlement.messages import CheckpointMessage
from settlement.signing import Domain
from validator.chain import Link

KEPT_TEXT_LOGS = 4
_HEAD = b"head"
_LEAF = b"leaf/"
_KINDS = {LeafKind.ACCOUNT: b"a", LeafKind.TASK: b"t", LeafKind.TOTALS: b"s"}
_NAMES = {byte: kind for kind, byte in _KINDS.items()}


class StoreError(Exception):
    """The files on disk are damaged or belong to another chain; the message says which and what to do."""


class StoreUnwritable(Exception):
    """The disk refused a link; the one before it is still there."""


class Store:
    """One folder. Raises StoreError when it is damaged, belongs to another chain, or another process has it open."""

    def __init__(self, path: Path, domain: Domain, access: AccessType | None = None) -> None:
        if access is None:
            path.mkdir(parents=True, exist_ok=True)
        self._path, self._domain = path, domain
        self._access = access or AccessType.read_write()
        self._sync = WriteOptions()
        self._sync.sync = True
        self._db: Rdict | None = self._open()
        self._on_disk = Link.genesis()

    @classmethod
    def read(cls, path: Path, domain: Domain) -> Link:
        """The last link in a store that a validator may have open meanwhile; nothing is written. StoreError when there is no store."""
        if not (path / "CURRENT").is_file():
            raise StoreError(f"{path} holds no validator's state")
        store = cls(path, domain, AccessType.read_only())
        try:
            return store.load()
        finally:
            store.close()

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(Exception):  # what was saved is on the disk; there may be no room to tidy up
                self._db.close()
            self._db = None

    def load(self) -> Link:
        """The last link saved, genesis in an empty store."""
        try:
            self._on_disk = self._load()
        except StoreError:
            raise
        except Exception as error:  # rocksdict raises bare Exceptions; what is decoded here was checked before
            raise StoreError(self._damaged(str(error))) from error
        return self._on_disk

    def save(self, link: Link) -> None:
        """Replaces the link on disk by a later one. Durable when it returns; StoreUnwritable when the disk refuses."""
        if link.message is None:
            raise ValueError("genesis needs no saving")
        batch = WriteBatch(raw_mode=True)
        # Genesis is never on disk, so the first save writes everything.
        older = self._on_disk
        changes = link.state.leaves() if older.message is None else link.state.changes_since(older.state)
        for key, kind, value in changes:
            batch.put(_LEAF + key, _KINDS[kind] + value)
        head = json.dumps(
            {
                "genesis": self._domain.genesis.hex(),
                "program": self._domain.program.hex(),
                "message": link.message.to_json(),
            }
        ).encode()
        batch.put(_HEAD, sha256(head).digest() + head)
        durable.reached(durable.COMMITTING, self._path)
        try:
            if self._db is None:
                self._db = self._open()
            self._db.write(batch, self._sync)
        except Exception as error:
            self.close()  # RocksDB takes no more writes after a failed one: it is opened anew for the next
            raise StoreUnwritable(f"{self._path} cannot be written: {error}") from error
        self._on_disk = link
        durable.reached(durable.COMMITTED, self._path)

    def _open(self) -> Rdict:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_paranoid_checks(True)
        options.set_keep_log_file_num(KEPT_TEXT_LOGS)
        options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
        try:
            return Rdict(str(self._path), options, access_type=self._access)
        except Exception as error:
            if "lock" in str(error):
                raise StoreError(
                    f"{self._path} is in use by another process: stop it, or name another folder"
                ) from error
            raise StoreError(self._damaged(str(error))) from error

    def _damaged(self, why: str) -> str:
        return f"{self._path} is damaged: {why}; remove it to follow L1 anew"

    def _load(self) -> Link:
        assert self._db is not None
        raw = self._db.get(_HEAD)
        if raw is None:
            if next(self._leaves(), None) is not None:
                raise StoreError(self._damaged("it has leaves and no checkpoint"))
            return Link.genesis()
        if sha256(raw[32:]).digest() != raw[:32]:
            raise StoreError(self._damaged("the checkpoint in it does not have its checksum"))
        head = json.loads(raw[32:])
        chain = {"genesis": self._domain.genesis.hex(), "program": self._domain.program.hex()}
        for name, ours in chain.items():
            if head[name] != ours:
                raise StoreError(
                    f"{self._path} holds the state of another chain: {name} {head[name]}, this one's is {ours}"
                )
        message = CheckpointMessage.from_json(head["message"])
        state = State.from_leaves(self._leaves())
        if state.root != message.state_root:
            raise StoreError(self._damaged(f"its leaves do not have the root of epoch {message.epoch}"))
        return Link(message, state)

    def _leaves(self) -> Iterator[tuple[bytes, LeafKind, bytes]]:
        assert self._db is not None
        for key, value in self._db.items(from_key=_LEAF):
            assert isinstance(key, bytes) and isinstance(value, bytes)
            if not key.startswith(_LEAF):
                return
            yield key[len(_LEAF) :], _NAMES[value[:1]], value[1:]
