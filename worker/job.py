"""What goes into the execution of a task and what comes out of it. Without torch: the worker's loop does not load it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settlement.work import WorkEntry, decode_entries, work_root


@dataclass(frozen=True)
class Job:
    """A spec as the client gave it, the file of its dataset, and a folder for what training leaves behind."""

    task_id: bytes
    spec: Mapping[str, Any]
    dataset: Path
    folder: Path


@dataclass(frozen=True)
class Trained:
    """A finished task: its trace, and the files that the trace names (`files` maps a sha256 to its file; states and the final model)."""

    entries: tuple[WorkEntry, ...]
    files: Mapping[bytes, Path]
    model_hash: bytes
    accuracy: float
    loss: float

    @property
    def work_root(self) -> bytes:
        return work_root(self.entries)

    @property
    def entries_blob(self) -> bytes:
        return b"".join(entry.encode() for entry in self.entries)

    def to_json(self) -> dict[str, Any]:
        return {
            "entries": self.entries_blob.hex(),
            "files": {name.hex(): str(path) for name, path in self.files.items()},
            "modelHash": self.model_hash.hex(),
            "accuracy": self.accuracy,
            "loss": self.loss,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Trained":
        return cls(
            tuple(decode_entries(bytes.fromhex(value["entries"]))),
            {bytes.fromhex(name): Path(path) for name, path in value["files"].items()},
            bytes.fromhex(value["modelHash"]),
            value["accuracy"],
            value["loss"],
        )


Execute = Callable[[Job], Awaitable[Trained]]
"""Runs a job; raises ChildError when the task cannot be done, ChildDied when the process that did it ended."""
