"""What a worker must not forget: the salt and the result behind each commitment. Written and fsynced before the commitment leaves, so that
a worker killed afterwards can still reveal; kept, with the files of the states, until the epoch that pays the task is final.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from settlement import durable
from worker.job import Trained


class JournalError(Exception):
    """An entry on disk is not what was written; the message names the file."""


class JournalUnwritable(Exception):
    """The disk refused an entry: nothing of it may be promised yet."""


class Stage(StrEnum):
    SEALED = "sealed"  # trained; the commitment may have been sent
    REVEALED = "revealed"  # waiting for the verdict and for finality


@dataclass(frozen=True)
class Entry:
    """One result. Ids and hashes 32 bytes; `commitment` follows from the rest and is kept for people."""

    task_id: bytes
    lease_id: int
    salt: bytes
    result_hash: bytes
    commitment: bytes
    environment: Mapping[str, Any]
    trained: Trained
    stage: Stage = Stage.SEALED

    def revealed(self) -> "Entry":
        return replace(self, stage=Stage.REVEALED)


class Journal:
    """Entries as files in `folder`/<task id>/, beside the files that their results name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def folder_of(self, task_id: bytes) -> Path:
        return self._folder / task_id.hex()

    def save(self, entry: Entry) -> None:
        """Durable when it returns: the result's files, the entry and the folders' directories are on disk. JournalUnwritable otherwise, and then
        the entry before it, if there was one, is still there."""
        folder = self.folder_of(entry.task_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if entry.stage is Stage.SEALED:
                for path in entry.trained.files.values():
                    durable.sync_file(path)
            durable.write(folder / "entry.json.part", folder / "entry.json", _sealed(_to_json(entry)))
            durable.sync_folder(self._folder)
        except OSError as error:
            raise JournalUnwritable(f"{folder / 'entry.json'} cannot be written: {error.strerror}") from error

    def entries(self) -> Iterator[Entry]:
        """All entries; folders of runs that never came to one are removed."""
        for folder in sorted(self._folder.iterdir()):
            path = folder / "entry.json"
            if not path.exists():
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                yield _from_json(_unsealed(path.read_bytes()))
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(f"{path} is damaged ({error}); move it away to go on without that result") from error

    def clear(self, task_id: bytes) -> None:
        """Forgets the task and its files."""
        shutil.rmtree(self.folder_of(task_id), ignore_errors=True)


def _sealed(value: dict[str, Any]) -> bytes:
    """The entry as one line of JSON, after a line with its sha256."""
    text = json.dumps(value).encode()
    return sha256(text).hexdigest().encode() + b"\n" + text


def _unsealed(data: bytes) -> dict[str, Any]:
    checksum, _, text = data.partition(b"\n")
    if sha256(text).hexdigest().encode() != checksum:
        raise ValueError("its checksum does not match")
    value: dict[str, Any] = json.loads(text)
    return value


def _to_json(entry: Entry) -> dict[str, Any]:
    return {
        "taskId": entry.task_id.hex(),
        "leaseId": entry.lease_id,
        "salt": entry.salt.hex(),
        "resultHash": entry.result_hash.hex(),
        "commitment": entry.commitment.hex(),
        "environment": dict(entry.environment),
        "trained": entry.trained.to_json(),
        "stage": entry.stage.value,
    }


def _from_json(value: Mapping[str, Any]) -> Entry:
    return Entry(
        bytes.fromhex(value["taskId"]),
        value["leaseId"],
        bytes.fromhex(value["salt"]),
        bytes.fromhex(value["resultHash"]),
        bytes.fromhex(value["commitment"]),
        value["environment"],
        Trained.from_json(value["trained"]),
        Stage(value["stage"]),
    )
