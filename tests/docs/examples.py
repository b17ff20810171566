"""The examples of docs/rpc.md: a request and its answer below each heading of the section "Examples"."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.docs.markdown import ROOT, blocks

DOCUMENT = "docs/rpc.md"


@dataclass(frozen=True)
class Example:
    """`request` is {"method", "params"}, `answer` {"value"} or {"error"}."""

    name: str
    request: dict[str, Any]
    answer: dict[str, Any]


@dataclass(frozen=True)
class HttpExample:
    """A request over plain HTTP and its answer, each as (first line, headers, JSON body or None)."""

    name: str
    request: tuple[str, dict[str, str], Any]
    answer: tuple[str, dict[str, str], Any]


@dataclass(frozen=True)
class Row:
    """A method's line in one of the tables."""

    method: str
    kind: str
    params: str


def rpc_examples() -> dict[str, Example]:
    """By heading."""
    found = {}
    for name, (asked, answered) in _pairs("json").items():
        found[name] = Example(name, json.loads(asked), json.loads(answered))
    return found


def http_examples() -> dict[str, HttpExample]:
    return {
        name: HttpExample(name, _http(asked), _http(answered)) for name, (asked, answered) in _pairs("http").items()
    }


def _pairs(language: str) -> dict[str, tuple[str, str]]:
    by_heading: dict[str, list[str]] = {}
    for block in blocks(DOCUMENT):
        if block.language == language:
            by_heading.setdefault(block.heading, []).append(block.text)
    for heading, texts in by_heading.items():
        assert len(texts) == 2, f"{heading}: an example is a request and its answer, here are {len(texts)} blocks"
    return {heading: (texts[0], texts[1]) for heading, texts in by_heading.items()}


def _http(text: str) -> tuple[str, dict[str, str], Any]:
    head, _, body = text.strip().partition("\n\n")
    first, *lines = head.splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    return first, headers, json.loads(body) if body else None


def rows() -> list[Row]:
    """The lines of the method tables."""
    lines = [line for line in (ROOT / DOCUMENT).read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [
        Row(*row[:3])
        for row in cells
        if len(row) == 4 and row[0].replace(".", "").isidentifier() and row[0] != "method"
    ]


def error_rows() -> dict[str, tuple[int, str]]:
    """Names of the error table with code and occasion, JSON-RPC's own left out."""
    text = (ROOT / DOCUMENT).read_text()
    found = re.findall(r"^\| −(\d+) \| ([A-Z0-9_]+) \| (.*) \|$", text, re.MULTILINE)
    return {name: (-int(code), when) for code, name, when in found}
