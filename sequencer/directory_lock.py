"""One process a data directory: a lock that ends with its process, however that ends, and names it while it lives."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class DirectoryInUse(Exception):
    """Another process works in this directory."""


class DirectoryLock:
    """Holds `path` locked (flock) until `release` or the end of the process; the file's text is the holder's process id."""

    def __init__(self, path: Path, what: str) -> None:
        """DirectoryInUse says who holds it, in terms of `what`."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            by = f"process {holder}" if holder.isdigit() else "another process"
            raise DirectoryInUse(f"{what} is in use by {by}: stop it first, or name another data directory") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)
