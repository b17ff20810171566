"""The committed program under another id, for tests that need a key for the id and no compiler.

The id's 32 bytes stand once among the constants, and wherever the program compares with it as eight immediates of four bytes; all are
replaced. A build for the other id differs in a few instructions more: scripts/program_check.sh makes one and runs tests/program/test_two_ids.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from solders.pubkey import Pubkey

from settlement import idl


def moved(program_id: Pubkey, elf: bytes | None = None) -> bytes:
    """`elf`: another program for the committed id."""
    code = elf if elf is not None else idl.PROGRAM_PATH.read_bytes()
    old, new = bytes(idl.committed().address), bytes(program_id)
    assert code.count(old) == 1
    for at in range(0, 32, 4):
        assert code.count(old[at : at + 4]) > 1
        code = code.replace(old[at : at + 4], new[at : at + 4])
    assert code.count(new) == 1
    return code


def write_moved(path: Path, program_id: Pubkey) -> None:
    path.write_bytes(moved(program_id))


if __name__ == "__main__":
    write_moved(Path(sys.argv[2]), Pubkey.from_string(sys.argv[1]))
