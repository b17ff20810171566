"""Fenced code blocks of the project's own documents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """`heading` is the nearest one above."""

    heading: str
    language: str
    text: str


def blocks(path: str) -> list[Block]:
    """The document's blocks from top to bottom; `path` is relative to the root of the repository."""
    document = (ROOT / path).read_text()
    found = []
    for fence in _FENCE.finditer(document):
        headings = [one.group(1) for one in _HEADING.finditer(document[: fence.start()])]
        found.append(Block(headings[-1] if headings else "", fence.group(1), fence.group(2)))
    return found
