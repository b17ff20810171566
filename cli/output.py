"""What a command prints: tables for people, one line of JSON for machines.

With `--json` stdout holds that line and nothing else; notes and warnings always go to stderr. Rich is imported when something is drawn: a
script that reads JSON, or a service, waits for none of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

LAMPORTS_PER_SOL = 1_000_000_000


def note(message: str) -> None:
    _say(message)


def warn(message: str) -> None:
    _say(message, "warning: ", "yellow")


def fail(message: str) -> None:
    _say(message, "error: ", "bold red")


def _say(message: str, kind: str = "", style: str = "") -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, highlight=False).print(Text(kind, style) + Text(message), soft_wrap=True)


def lamports(amount: int) -> str:
    """An amount as people read it, with nothing rounded away."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), LAMPORTS_PER_SOL)
    fraction = f"{rest:09d}".rstrip("0") or "0"
    return f"{sign}{abs(amount):,} lamports (◎{sign}{whole}.{fraction})"


def emit(value: Mapping[str, Any], as_json: bool) -> None:
    """One object: its JSON, or its entries below one another. Names ending in `_lamports` are shown as amounts."""
    if as_json:
        print(json.dumps(value), flush=True)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, item in value.items():
        table.add_row(key.replace("_", " "), Text(_shown(key, item)))
    _console().print(table)


def emit_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool, empty: str) -> None:
    """A list of objects: its JSON in full, or a table of some `columns`; `empty` is said when there are none."""
    if as_json:
        print(json.dumps(list(rows)), flush=True)
        return
    if not rows:
        note(empty)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(column, row.get(column))) for column in columns))
    _console().print(table)


def _console() -> Console:
    """Full width when piped, so that no id is cut or wrapped."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=240)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key.lower().endswith("lamports") and isinstance(value, int):
        return lamports(value)
    if isinstance(value, (Mapping, list)):
        return json.dumps(value)
    return str(value)
