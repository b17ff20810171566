"""Edits of a copy of the program's source, for builds that tests need and nobody ships: the source itself knows nothing of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CRATE = Path("programs/settlement/src")


@dataclass(frozen=True)
class Edit:
    """`old` is a piece of source, in which any white space stands for any other."""

    file: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """ValueError when `old` stands nowhere in it, or more than once."""
        pattern = r"\s*".join(re.escape(word) for word in re.findall(r"\w+|[^\w\s]", self.old))
        changed, count = re.subn(pattern, lambda _: self.new, text)
        if count != 1:
            raise ValueError(f"{self.file}: {count} places look like this, not one: {self.old}")
        return changed


def apply_all(edits: Iterable[Edit]) -> dict[str, str]:
    """By name under the crate's src/, the text of every file that differs. ValueError names an edit that does not fit exactly once."""
    files: dict[str, str] = {}
    for edit in edits:
        text = files[edit.file] if edit.file in files else (ROOT / CRATE / edit.file).read_text()
        files[edit.file] = edit.apply(text)
    return files


def write_into_copy(files: Mapping[str, str]) -> None:
    """Into the folder that the command line names, which holds a copy of programs/settlement."""
    if len(sys.argv) != 2:
        sys.exit("give the folder that holds a copy of programs/settlement")
    crate = Path(sys.argv[1]) / CRATE
    if not crate.is_dir() or crate.resolve() == (ROOT / CRATE).resolve():
        sys.exit(f"{crate}: give a folder with a copy of the sources, never the sources themselves")
    for name, text in files.items():
        (crate / name).write_text(text)
