"""The ledger folder: what makes two runs the same cluster (genesis hash, identity, faucet). Accounts are not kept."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from solders.hash import Hash, ParseHashError
from solders.keypair import Keypair

from localnet.keys import read_keypair, write_keypair

FORMAT = "pouw-localnet"
VERSION = 1
MANIFEST = "localnet.json"
FAUCET_KEYPAIR = "faucet-keypair.json"
IDENTITY_KEYPAIR = "validator-keypair.json"
LOCK = "localnet.lock"


class LedgerError(ValueError):
    """A folder that cannot serve as the ledger; the message names the folder and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Ledger:
    genesis_hash: Hash
    identity: Keypair
    faucet: Keypair


@contextmanager
def open_ledger(folder: Path | None, *, reset: bool) -> Iterator[Ledger]:
    """Opens or makes the ledger of `folder` and holds its lock; None is a ledger that lives in memory only.

    `reset` removes what an earlier run wrote there and nothing else. Raises LedgerError, KeyFileError.
    """
    if folder is None:
        yield Ledger(Hash.from_bytes(os.urandom(32)), Keypair(), Keypair())
        return
    _refuse_strange(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"the ledger {folder} is in use by another localnet; stop it or name another --ledger"
            ) from None
        if reset:
            for name in (MANIFEST, FAUCET_KEYPAIR, IDENTITY_KEYPAIR):
                (folder / name).unlink(missing_ok=True)
        if not (folder / MANIFEST).exists():
            _make(folder)
        yield Ledger(
            _read_genesis(folder), read_keypair(folder / IDENTITY_KEYPAIR), read_keypair(folder / FAUCET_KEYPAIR)
        )


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


def _make(folder: Path) -> None:
    for name in (FAUCET_KEYPAIR, IDENTITY_KEYPAIR):
        (folder / name).unlink(missing_ok=True)
        write_keypair(folder / name, Keypair())
    genesis = {
        "format": FORMAT,
        "version": VERSION,
        "genesis_hash": str(Hash.from_bytes(os.urandom(32))),
        "created_unix": int(time.time()),
    }
    # The manifest comes last and whole: a folder that has one has everything.
    unfinished = folder / (MANIFEST + ".new")
    unfinished.write_text(json.dumps(genesis, indent=1) + "\n")
    unfinished.replace(folder / MANIFEST)


def _read_genesis(folder: Path) -> Hash:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        found = (manifest["format"], manifest["version"])
        if found != (FORMAT, VERSION):
            raise LedgerError(
                f"{path} is of format {found[0]} version {found[1]}; this localnet reads {FORMAT} version {VERSION}; "
                "--reset makes a new ledger"
            )
        return Hash.from_string(manifest["genesis_hash"])
    except (json.JSONDecodeError, KeyError, TypeError, ParseHashError) as error:
        raise LedgerError(f"{path} is damaged ({error!r}); --reset makes a new ledger") from error
