"""`pouw task watch`: one task from the queue to its end, with its training curve, as it happens.

On a terminal it is drawn anew twice a second, elsewhere a line is printed for each change, with `--json` a line of JSON. While the task is
trained the points are the worker's word; once the result is revealed they are those of the trace that the worker committed to.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli import curve, stages, trace
from cli.stages import Stage
from cli.trace import Point
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError, SequencerClient

POLL_SECONDS = 0.5
CHARTS_APART_COLUMNS = 56  # what two charts side by side need


@dataclass(frozen=True)
class Sight:
    """All that is known of the task at one moment; `verified` tells whether the points are the trace's."""

    task: dict[str, Any]
    result: dict[str, Any] | None = None
    checkpoint: dict[str, Any] | None = None
    validators: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    steps: int = 0
    verified: bool = False

    @property
    def stage(self) -> Stage | None:
        return stages.stage_of(self.task, self.checkpoint)

    def ended(self, final: bool) -> bool:
        """Whether there is nothing more to wait for: paid (with `final`, in a checkpoint that is final on L1), or refunded."""
        stage = self.stage
        return stage is None or stage >= (Stage.FINALIZED if final else Stage.ACCEPTED)


class Watcher:
    """Looks at one task again and again; a trace, once fetched and checked, is kept."""

    def __init__(self, client: SequencerClient, task_id: str) -> None:
        self._client, self._task_id = client, task_id
        self._traces: dict[str, tuple[Point, ...]] = {}

    async def look(self) -> Sight:
        """What is there now. RpcError UNKNOWN_TASK; BadAnswer when the trace is not the one committed to."""
        task = await self._client.call("getTask", {"taskId": self._task_id})
        validators = tuple(one["authority"] for one in await self._client.call("getValidators"))
        if task["status"] not in ("revealed", "paid"):
            said = task.get("progress", {"steps": 0, "points": []})
            told = tuple(Point(one["step"], one["loss"], one.get("accuracy")) for one in said["points"])
            return Sight(task, validators=validators, points=told, steps=said["steps"])
        result = await self._result()
        if result is None:
            return Sight(task, validators=validators)
        if result["resultHash"] not in self._traces:
            entries = await trace.fetch_trace(self._client, task, result)
            self._traces[result["resultHash"]] = tuple(await trace.with_accuracies(self._client, task, entries))
        known = self._traces[result["resultHash"]]
        checkpoint = await self._client.call("getCheckpoint", {"epoch": task["epoch"]}) if "epoch" in task else None
        return Sight(task, result, checkpoint, validators, known, known[-1].step, verified=True)

    async def _result(self) -> dict[str, Any] | None:
        """None when it was rejected in this very moment."""
        try:
            found: dict[str, Any] = await self._client.call("getTaskResult", {"taskId": self._task_id})
        except RpcError as error:
            if error.code != Code.NOT_FOUND:
                raise
            return None
        return found


async def watch(client: SequencerClient, task_id: str, *, final: bool, as_json: bool, console: Console) -> bool:
    """Shows the task until it ended; whether it was paid."""
    watcher = Watcher(client, task_id)
    if as_json:
        last = await _follow(watcher, final, lambda sight, lines: [print(json.dumps(one), flush=True) for one in lines])
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            last = await _follow(watcher, final, lambda sight, _: live.update(view(sight, console.width), refresh=True))
    else:
        started = time.monotonic()

        def say(sight: Sight, lines: Sequence[dict[str, Any]]) -> None:
            for one in lines:
                console.print(f"{time.monotonic() - started:5.0f} s  {sentence(one)}", soft_wrap=True)

        last = await _follow(watcher, final, say)
        console.print(view(last, min(console.width, 100)))
    return bool(last.task["status"] == "paid")


async def _follow(watcher: Watcher, final: bool, show: Callable[[Sight, Sequence[dict[str, Any]]], Any]) -> Sight:
    before: Sight | None = None
    while True:
        sight = await watcher.look()
        show(sight, list(changes(before, sight)))
        if sight.ended(final):
            return sight
        before = sight
        await trio.sleep(POLL_SECONDS)


def changes(before: Sight | None, now: Sight) -> Iterator[dict[str, Any]]:
    """What is new since `before`, oldest first, each as the object that `--json` prints."""
    task = now.task
    rejections = task["rejections"]
    for one in rejections[len(before.task["rejections"]) if before else 0 :]:
        yield {"event": "rejected", "worker": one["worker"], "reason": one["reason"]}
    known = {point for point in before.points if before.verified == now.verified} if before else set()
    new = [point for point in now.points if point not in known]
    stage = now.stage
    if before is None or stage != before.stage or task.get("worker") != before.task.get("worker"):
        worker = {"worker": task["worker"]} if "worker" in task else {}
        attempt = len(rejections) + 1
        yield {
            "event": "stage",
            "stage": stage.title if stage is not None else "refunded",
            "attempt": attempt,
            **worker,
        }
    for point in new:
        accuracy = {} if point.accuracy is None else {"accuracy": point.accuracy}
        yield {
            "event": "point",
            "step": point.step,
            "steps": now.steps,
            "loss": point.loss,
            **accuracy,
            "verified": now.verified,
        }
    given = {} if before is None or before.result is None else {one["validator"] for one in before.result["verdicts"]}
    for one in now.result["verdicts"] if now.result else []:
        if one["validator"] not in given:
            yield {"event": "verdict", **{key: one[key] for key in ("validator", "verdict", "reason")}}
    if now.checkpoint and (before is None or before.checkpoint != now.checkpoint):
        shown = {key: now.checkpoint.get(key) for key in ("epoch", "status", "signers", "signature")}
        yield {"event": "checkpoint", **shown}


def sentence(change: dict[str, Any]) -> str:
    """The same for people, without a terminal to draw on."""
    match change["event"]:
        case "stage":
            by = f" (worker {change['worker']}, attempt {change['attempt']})" if "worker" in change else ""
            return f"{change['stage']}{by}"
        case "point":
            accuracy = f"  accuracy {change['accuracy']:.4f}" if "accuracy" in change else ""
            whose = "" if change["verified"] else "  (the worker's word)"
            return f"step {change['step']:,} of {change['steps']:,}  loss {change['loss']:.4f}{accuracy}{whose}"
        case "verdict":
            why = "" if change["reason"] == "none" else f", {change['reason']}"
            return f"validator {change['validator']}: {change['verdict']}{why}"
        case "rejected":
            return f"rejected: {change['reason']}; worker {change['worker']} is not paid and loses its stake"
        case _:
            return f"epoch {change['epoch']}: {change['status']}, {change['signers']} signatures"


def view(sight: Sight, width: int) -> RenderableType:
    """The whole picture, from 80 columns on."""
    task = sight.task
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("task", f"{task['taskId']}")
    if "worker" in task:
        attempt = f"attempt {len(task['rejections']) + 1}"
        lease = f", lease ends at slot {task['leaseExpirySlot']}" if "leaseExpirySlot" in task else ""
        facts.add_row("worker", f"{task['worker']} ({attempt}{lease})")
    for one in task["rejections"]:
        facts.add_row("rejected", Text(f"{one['reason']} by {one['worker']}: not paid, its stake lost", "red"))
    if sight.result is not None:
        facts.add_row("verdicts", Text.assemble(stages.votes(sight.result, sight.validators), _replayed(sight.result)))
    if sight.checkpoint is not None:
        number = f"epoch {sight.checkpoint['epoch']} {sight.checkpoint['status']}, signed "
        facts.add_row("checkpoint", Text.assemble(number, stages.signatures(sight.checkpoint)))
    return Group(stages.line(sight.stage), Text(), facts, Text(), *_charts(sight, width))


def _replayed(result: dict[str, Any]) -> str:
    shares = [f"{one['replayed']} of {one['intervals']}" for one in result["verdicts"] if one["intervals"]]
    return (
        f"  each re-ran its own sample of the training's intervals ({', '.join(sorted(set(shares)))})" if shares else ""
    )


def _charts(sight: Sight, width: int) -> list[RenderableType]:
    if not sight.points:
        return [Text("no training to show yet", "dim")]
    losses = [(point.step, point.loss) for point in sight.points]
    accuracies = [(point.step, point.accuracy) for point in sight.points if point.accuracy is not None]
    beside = width >= CHARTS_APART_COLUMNS
    each = min(48, (width - 4) // 2) if beside else max(24, min(width, 60))
    high = max(loss for _, loss in losses)
    drawn = [curve.chart(losses, title=f"loss {losses[-1][1]:.4f}", steps=sight.steps, low=0, high=high, width=each)]
    if accuracies:
        title = f"accuracy {accuracies[-1][1]:.4f}"
        low = min(math.floor(10 * accuracy) for _, accuracy in accuracies) / 10
        low = min(low, 0.9)
        drawn.append(curve.chart(accuracies, title=title, steps=sight.steps, low=low, high=1, width=each))
    lines = ["    ".join(row) for row in zip(*drawn, strict=True)] if beside else [row for one in drawn for row in one]
    whose = (
        "losses from the trace that the worker committed to; accuracies computed here from its published states"
        if sight.verified and accuracies
        else "losses from the trace that the worker committed to; its states are not at hand for accuracies"
        if sight.verified
        else "as the worker says; checked once the result is revealed"
    )
    return [Text("\n".join(lines), "cyan", no_wrap=True), Text(whose, "dim")]
