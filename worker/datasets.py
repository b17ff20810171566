"""A folder of downloaded datasets, named by their sha256, that keeps the most recently used ones."""

from hashlib import file_digest
from pathlib import Path

import trio

from settlement.sequencer_client import MAX_BLOB_BYTES, SequencerClient

KEPT = 8


async def fetch(sequencer: SequencerClient, name: str, folder: Path) -> Path:
    """The file of the dataset `name` (sha256 in lower-case hex), downloaded if it is not here, or no longer what it was. Errors as
    SequencerClient.get_blob_to."""
    path = folder / name
    if await trio.to_thread.run_sync(_is_whole, path, name):
        await trio.Path(path).touch()
        return path
    await sequencer.get_blob_to(name, path, MAX_BLOB_BYTES)
    await trio.to_thread.run_sync(_prune, folder)
    return path


def _is_whole(path: Path, name: str) -> bool:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest() == name
    except FileNotFoundError:
        return False


def _prune(folder: Path) -> None:
    newest_first = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[KEPT:]:
        path.unlink(missing_ok=True)
