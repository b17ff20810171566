"""Bytes that outlive a crash: the one way in which files are made durable, and the hook that every durable write of every process passes.

A file is written beside its place, synced, renamed over it, and its folder synced: a name that exists always has all its bytes. Databases
sync by themselves; they announce their commits here all the same, so that a test can stop, copy or kill the process around each.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

COMMITTING: Final = "committing"
COMMITTED: Final = "committed"
WRITING: Final = "writing"
WRITTEN: Final = "written"
SYNCED: Final = "synced"
RENAMED: Final = "renamed"
DURABLE: Final = "durable"

Hook = Callable[[str, Path], None]
"""Called with a point and the path that is written, in the thread that writes. What it raises goes to the writer."""

_hook: Hook | None = None


def set_hook(hook: Hook | None) -> Hook | None:
    """For tests only; returns the hook before it."""
    global _hook
    before, _hook = _hook, hook
    return before


def reached(point: str, path: Path) -> None:
    """COMMITTING and COMMITTED around a database's commit; WRITING, WRITTEN, SYNCED, RENAMED, DURABLE in the life of a file."""
    if _hook is not None:
        _hook(point, path)


def sync_file(path: Path) -> None:
    """The bytes of a file that is there are on the disk when this returns."""
    reached(WRITTEN, path)
    _fsync(path, os.O_RDONLY)
    reached(SYNCED, path)


def sync_folder(path: Path) -> None:
    """The names in a folder are on the disk when this returns."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def publish(temporary: Path, target: Path) -> None:
    """Renames a synced file to its place, for good."""
    temporary.rename(target)
    reached(RENAMED, target)
    sync_folder(target.parent)
    reached(DURABLE, target)


def write(temporary: Path, target: Path, data: bytes) -> None:
    """`target` holds `data` when this returns, and held what it held before when it raises OSError. Both lie in one file system."""
    reached(WRITING, temporary)
    try:
        temporary.write_bytes(data)
        sync_file(temporary)
        publish(temporary, target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
