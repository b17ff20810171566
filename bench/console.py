"""What a benchmark prints: the result on stdout, all else on stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def note(message: str) -> None:
    Console(stderr=True, highlight=False).print(Text(message), soft_wrap=True)


def print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | int | None]], notes: Sequence[str]) -> None:
    """Markdown, so that a document can hold it as printed; None is shown as a dash. `notes` follow as a list."""
    assert all(len(row) == len(columns) for row in rows), "a cell without a column"
    table = Table(box=box.MARKDOWN)
    for index, column in enumerate(columns):
        is_text = bool(rows) and isinstance(rows[0][index], str)
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_shown(cell) for cell in row))
    # Full width when piped, so that no figure is cut.
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=200)
    with console.capture() as captured:
        console.print(table)
    print(captured.get().strip(), end="\n\n")  # without the blank lines that stand for Markdown's missing borders
    for text in notes:
        console.print(Text(f"- {text}"), soft_wrap=True)


def _shown(cell: str | int | None) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else f"{cell:,}"
