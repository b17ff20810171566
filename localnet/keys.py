"""Keypair files as Solana's command line writes them: a JSON array of 64 bytes, readable by their owner only.

`python -m localnet.keys ensure FILE` makes the file if it is missing and prints its public key.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

from solders.keypair import Keypair
from solders.pubkey import Pubkey


class KeyFileError(ValueError):
    """A key file that is missing or is not a keypair; the message names the file and what it should hold."""


def read_keypair(path: Path) -> Keypair:
    """Reads a keypair file. Raises KeyFileError."""
    try:
        numbers = json.loads(path.read_text())
        return Keypair.from_bytes(bytes(numbers))
    except OSError as error:
        raise KeyFileError(f"cannot read the keypair file {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is not a keypair file (a JSON array of 64 bytes): {error}") from error


def write_keypair(path: Path, keypair: Keypair) -> None:
    """Writes a new keypair file with mode 0600, whole and on the disk or not at all.

    Raises FileExistsError rather than overwrite a key, and OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp's files are their owner's only. A link, unlike a rename, does not replace what is there.
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(list(bytes(keypair)), file)
            file.flush()
            os.fsync(file.fileno())
        os.link(unfinished, path)
    finally:
        os.unlink(unfinished)


def ensure_keypair(path: Path) -> Keypair:
    """The keypair of the file, made first if there is none. Raises KeyFileError, OSError."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # of two that make it at once, both use the first one's
            write_keypair(path, Keypair())
    return read_keypair(path)


def parse_address(text: str) -> Pubkey:
    """A base58 public key, or the path of a keypair file, as solana-test-validator takes them. Raises KeyFileError."""
    try:
        return Pubkey.from_string(text)
    except ValueError:
        if not os.path.exists(text):  # unlike Path.exists it takes a text too long for a name, too
            raise KeyFileError(f"{text!r} is neither a base58 public key nor an existing keypair file") from None
        return read_keypair(Path(text)).pubkey()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m localnet.keys", description=__doc__)
    parser.add_argument("command", choices=["ensure"], help="make FILE if it is missing, then print its public key")
    parser.add_argument("file", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        print(ensure_keypair(arguments.file).pubkey())
    except (KeyFileError, OSError) as error:
        sys.exit(f"localnet.keys: {error}")


if __name__ == "__main__":
    main()
