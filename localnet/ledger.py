"""The ledger folder: what makes two runs the same cluster. Genesis hash, identity and faucet in small files, the
accounts and blocks in the database of store.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from solders.hash import Hash, ParseHashError
from solders.keypair import Keypair

from localnet.keys import read_keypair, write_keypair
from localnet.store import DATABASE, DATABASE_FILES, LedgerError, LedgerStore

__all__ = ["Ledger", "LedgerError", "open_ledger"]

FORMAT = "pouw-localnet"
VERSION = 2
MANIFEST = "localnet.json"
FAUCET_KEYPAIR = "faucet-keypair.json"
IDENTITY_KEYPAIR = "validator-keypair.json"
LOCK = "localnet.lock"


@dataclass(frozen=True, slots=True)
class Ledger:
    """`store` None keeps nothing; `slots_per_epoch` is the cluster's for good."""

    genesis_hash: Hash
    identity: Keypair
    faucet: Keypair
    slots_per_epoch: int
    folder: Path | None = None
    store: LedgerStore | None = None


class _Manifest(msgspec.Struct):
    format: str
    version: int
    genesis_hash: str
    slots_per_epoch: int
    created_unix: int


@contextmanager
def open_ledger(folder: Path | None, *, reset: bool, slots_per_epoch: int) -> Iterator[Ledger]:
    """Opens or makes the ledger of `folder` and holds its lock; None is a ledger that lives in memory only.

    `reset` removes what an earlier run wrote there and nothing else; `slots_per_epoch` counts for a new ledger only.
    Who gets the store closes it. Raises LedgerError, KeyFileError.
    """
    if folder is None:
        yield Ledger(Hash.from_bytes(os.urandom(32)), Keypair(), Keypair(), slots_per_epoch)
        return
    _refuse_strange(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise LedgerError(f"cannot make the ledger {folder}: {error.strerror}; name another --ledger") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"the ledger {folder} is in use by another localnet; stop it or name another --ledger"
            ) from None
        try:
            if reset:
                _remove(folder, MANIFEST, FAUCET_KEYPAIR, IDENTITY_KEYPAIR, *DATABASE_FILES)
            if not (folder / MANIFEST).exists():
                _make(folder, slots_per_epoch)
            manifest = _read_manifest(folder)
        except OSError as error:
            raise LedgerError(
                f"cannot use the ledger {folder}: {error}; check the free space and the "
                "permissions there, or name another --ledger"
            ) from error
        identity, faucet = read_keypair(folder / IDENTITY_KEYPAIR), read_keypair(folder / FAUCET_KEYPAIR)
        genesis_hash = Hash.from_string(manifest.genesis_hash)
        store = LedgerStore(folder, genesis_hash)
        yield Ledger(genesis_hash, identity, faucet, manifest.slots_per_epoch, folder, store)


def _refuse_strange(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise LedgerError(f"the ledger {folder} is not a folder")
    if (folder / "genesis.bin").exists():
        raise LedgerError(
            f"{folder} is a ledger of solana-test-validator (it holds genesis.bin); name another --ledger"
        )
    known = {MANIFEST, LOCK}
    names = {entry.name for entry in folder.iterdir()}
    if names and not names & known:
        strangers = ", ".join(sorted(names)[:3])
        raise LedgerError(
            f"{folder} is not a localnet ledger: it lacks {MANIFEST} and holds {strangers}; name an empty or new folder"
        )


def _make(folder: Path, slots_per_epoch: int) -> None:
    if (folder / DATABASE).exists() and not LedgerStore.is_blank(folder):
        raise LedgerError(
            f"{folder} holds {DATABASE} but lacks {MANIFEST}; put {MANIFEST} back or begin anew with --reset"
        )
    _remove(folder, FAUCET_KEYPAIR, IDENTITY_KEYPAIR, *DATABASE_FILES)
    for name in (FAUCET_KEYPAIR, IDENTITY_KEYPAIR):
        write_keypair(folder / name, Keypair())
    genesis_hash = Hash.from_bytes(os.urandom(32))
    LedgerStore.create(folder, genesis_hash)
    genesis = _Manifest(FORMAT, VERSION, str(genesis_hash), slots_per_epoch, int(time.time()))
    # The manifest comes last and whole: a folder that has one has everything.
    unfinished = folder / (MANIFEST + ".new")
    with unfinished.open("w") as file:
        file.write(json.dumps(msgspec.to_builtins(genesis), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / MANIFEST)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    try:
        raw: Any = json.loads(path.read_text())
        found = (raw["format"], raw["version"])
        if found != (FORMAT, VERSION):
            raise LedgerError(
                f"{path} is of format {found[0]} version {found[1]}; this localnet reads {FORMAT} version {VERSION}; "
                "--reset makes a new ledger"
            )
        manifest = msgspec.convert(raw, _Manifest)
        Hash.from_string(manifest.genesis_hash)
        return manifest
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        msgspec.ValidationError,
        ParseHashError,
    ) as e:
        raise LedgerError(f"{path} is damaged ({e!r}); --reset makes a new ledger") from e
