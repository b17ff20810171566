"""The demo's picture on a terminal, from 80 columns and 24 rows on. Pure: a model and a size in, something to draw out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import stages
from cli.curve import sparkline
from cli.demo_state import SHORT, Snapshot

PHASES = ("L1", "network", "train, check", "settle", "claim")
FEED_ROWS = 12
FEED_MARGIN = 8  # the seconds before each sentence
_FIXED_ROWS = 4 + 2 + 2 + 1  # the panel, the two tables' headings, a blank line


@dataclass
class Model:
    """What is known: `phase` counts the phases that are done; `feed` holds (seconds, sentence), newest last."""

    where: str = ""
    phase: int = 0
    seconds: float = 0.0
    snapshot: Snapshot | None = None
    feed: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=FEED_ROWS))
    names: Mapping[str, str] = field(default_factory=dict)


def screen(model: Model, width: int, height: int) -> RenderableType:
    """All of it in `width` columns and `height` rows: where they do not suffice, settled tasks and old epochs go first."""
    room = max(4, height - _FIXED_ROWS - 1)
    parts: list[RenderableType] = [_head(model)]
    if model.snapshot is not None and model.snapshot.tasks:
        task_rows = min(len(model.snapshot.tasks), max(2, room * 2 // 4))
        epoch_rows = min(len(model.snapshot.checkpoints), max(1, room // 5))
        parts += [_tasks(model, model.snapshot, task_rows), _epochs(model.snapshot, epoch_rows), Text()]
        room -= task_rows + epoch_rows
    return Group(*parts, *_feed(list(model.feed), width, room))


def _head(model: Model) -> Panel:
    done = Text()
    for place, phase in enumerate(PHASES):
        sign, style = ("✓", "green") if place < model.phase else ("●", "bold") if place == model.phase else ("○", "dim")
        done.append(f"{sign} {phase}   ", style)
    info = model.snapshot.info if model.snapshot else None
    now = Text(model.where)
    if info is not None:
        now.append(f" slot {info['slot']} · epoch {info['epoch']} open with {info['records']} records · ")
        now.append(f"{info['postedEpoch']} posted, {info['finalizedEpoch']} final")
    done.no_wrap = now.no_wrap = True
    minutes, seconds = divmod(int(model.seconds), 60)
    return Panel(Group(done, now), title=f"pouw demo · {minutes}:{seconds:02d}", title_align="left")


def _tasks(model: Model, snapshot: Snapshot, rows: int) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    table.add_column("task", no_wrap=True, width=SHORT)
    table.add_column("its way", no_wrap=True, width=18)
    table.add_column("worker", no_wrap=True, width=8)
    table.add_column("votes", no_wrap=True, width=5)
    table.add_column("training", no_wrap=True, ratio=1, min_width=16)
    for task in _most_alive(snapshot, rows):
        result = snapshot.results.get(task["taskId"])
        worker = task.get("worker", "")
        table.add_row(
            task["taskId"][:SHORT],
            stages.dots(snapshot.stage(task)),
            model.names.get(worker, worker[:8]),
            stages.votes(result, snapshot.validators) if result else "",
            _training(task, model.names),
        )
    return table


def _most_alive(snapshot: Snapshot, rows: int) -> list[dict[str, Any]]:
    """The `rows` tasks to show, in their own order: those still on their way before those that are settled."""
    if len(snapshot.tasks) <= rows:
        return list(snapshot.tasks)
    settled = [snapshot.stage(task) in (None, stages.Stage.FINALIZED, stages.Stage.PAID) for task in snapshot.tasks]
    chosen = sorted(range(len(settled)), key=lambda place: (settled[place], place))[:rows]
    return [snapshot.tasks[place] for place in sorted(chosen)]


def _training(task: Mapping[str, Any], names: Mapping[str, str]) -> Text:
    shown = Text()
    if (accuracy := task.get("accuracy")) is not None:
        shown.append(f"accuracy {accuracy:.3f}")
    elif progress := task.get("progress"):
        losses = [point["loss"] for point in progress["points"]]
        shown.append(sparkline(losses), "cyan")
        shown.append(f" loss {losses[-1]:.3f}")
    for one in task["rejections"]:
        shown.append(f" {names.get(one['worker'], one['worker'][:8])} lied", "red")
    return shown


def _epochs(snapshot: Snapshot, rows: int) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    table.add_column("epoch", no_wrap=True, width=SHORT)
    table.add_column("on L1", no_wrap=True, width=18)
    for heading in ("signed by", "records", "L1 slot", "compute units"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "signed by" else "right")
    for epoch in sorted(snapshot.checkpoints)[-rows:]:
        one = snapshot.checkpoints[epoch]
        final = one["status"] == "finalized"
        units = one.get("computeUnits")
        table.add_row(
            str(epoch),
            Text(one["status"], "green" if final else "cyan"),
            stages.signatures(one),
            str(one["records"]),
            str(one.get("slot", "")),
            f"{units:,}" if units else "",
        )
    return table


def _feed(feed: Sequence[tuple[float, str]], width: int, rows: int) -> list[Text]:
    """The newest sentences that fit, oldest first, wrapped behind their times."""
    lines: list[Text] = []
    for at, said in reversed(feed):
        wrapped = wrap(said, width - FEED_MARGIN)
        if lines and len(lines) + len(wrapped) > rows:
            break
        style = "red" if "false result" in said else ""
        times = [f"{at:4.0f} s  ", *(" " * FEED_MARGIN for _ in wrapped[1:])]
        lines[:0] = [Text.assemble((time, "dim"), (part, style)) for time, part in zip(times, wrapped, strict=True)]
    return lines
