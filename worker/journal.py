"""What a worker must not forget: the salt and the result behind each commitment. Written and fsynced before the commitment leaves, so that
a worker killed afterwards can still reveal; kept, with the files of the states, until the epoch that pays the task is final.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from worker.job import Trained


class JournalError(Exception):
    """An entry on disk cannot be read; the message names the file."""


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
        """Durable when it returns: the result's files, the entry and the folders' directories are on disk."""
        folder = self.folder_of(entry.task_id)
        folder.mkdir(parents=True, exist_ok=True)
        if entry.stage is Stage.SEALED:
            for path in entry.trained.files.values():
                _fsync(path)
        partial = folder / "entry.json.part"
        with partial.open("w") as file:
            json.dump(_to_json(entry), file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(folder / "entry.json")
        _fsync(folder)
        _fsync(self._folder)

    def entries(self) -> Iterator[Entry]:
        """All entries; folders of runs that never came to one are removed."""
        for folder in sorted(self._folder.iterdir()):
            path = folder / "entry.json"
            if not path.exists():
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                yield _from_json(json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(f"{path} is damaged ({error}); move it away to go on without that result") from error

    def clear(self, task_id: bytes) -> None:
        """Forgets the task and its files."""
        shutil.rmtree(self.folder_of(task_id), ignore_errors=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
