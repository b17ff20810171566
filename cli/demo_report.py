"""What the demo reports: the one JSON line for programs, the tables for people, and the judgement whether all of it is true."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table

LAMPORTS_PER_SOL = 1_000_000_000
_COLOURS = {"paid": "green", "finalized": "green", "rejected": "red", "refunded": "yellow"}


@dataclass(frozen=True)
class TaskRow:
    id: str
    kind: str
    mode: str
    status: str
    worker: str | None
    accuracy: float | None
    replayed_share: float | None


@dataclass(frozen=True)
class RejectedRow:
    task: str
    worker: str
    reason: str


@dataclass(frozen=True)
class CheckpointRow:
    epoch: int
    hash: str
    signature: str
    slot: int
    compute_units: int
    signers: int
    set_size: int
    status: str


@dataclass(frozen=True)
class RewardRow:
    account: str
    claimed_lamports: int
    balance_before_lamports: int
    balance_after_lamports: int


@dataclass
class Report:
    program_id: str
    l1: str
    tasks: list[TaskRow] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    checkpoints: list[CheckpointRow] = field(default_factory=list)
    rewards: list[RewardRow] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        body = asdict(self)
        order = ("tasks", "rejected", "checkpoints", "rewards", "program_id", "l1", "seconds")
        return {key: body[key] for key in order}


def judge(
    report: Report, *, fees_lamports: dict[str, int], liar: str, parents: Sequence[tuple[int, bytes, bytes]]
) -> list[str]:
    """What is not as it must be, one line each; none means the demo succeeded.

    ``fees_lamports`` is the fee of each task; ``parents`` is (epoch, hash, parent hash) of each checkpoint as read back from L1 at ``finalized``.
    """
    wrong: list[str] = []
    if len(report.tasks) < 6:
        wrong.append(f"only {len(report.tasks)} tasks; at least 6 are needed")
    wrong += [f"task {row.id[:16]} is {row.status}, not paid" for row in report.tasks if row.status != "paid"]
    wrong += [f"task {row.id[:16]} was paid to the liar" for row in report.tasks if row.worker == liar]
    if not any(row.worker == liar for row in report.rejected):
        wrong.append("the lying worker was never caught")
    rejected = {(row.task, row.worker) for row in report.rejected}
    wrong += [
        f"task {row.id[:16]} went back to a rejected worker" for row in report.tasks if (row.id, row.worker) in rejected
    ]
    if len(report.checkpoints) < 3:
        wrong.append(f"only {len(report.checkpoints)} checkpoints; at least 3 are needed")
    wrong += [f"checkpoint {row.epoch} is {row.status}" for row in report.checkpoints if row.status != "finalized"]
    wrong += [
        f"checkpoint {row.epoch} has no quorum" for row in report.checkpoints if 3 * row.signers < 2 * row.set_size
    ]
    for (epoch, checkpoint_hash, _), (next_epoch, _, parent) in itertools.pairwise(parents):
        if next_epoch != epoch + 1 or parent != checkpoint_hash:
            wrong.append(f"checkpoint {next_epoch} does not extend checkpoint {epoch}")
    earned: dict[str, int] = {}
    for task in report.tasks:
        if task.status == "paid" and task.worker is not None:
            earned[task.worker] = earned.get(task.worker, 0) + fees_lamports[task.id]
    claimed = {row.account: row.claimed_lamports for row in report.rewards}
    if claimed != earned:
        wrong.append(f"claimed {claimed}, but the paid fees are {earned}")
    for reward in report.rewards:
        if reward.balance_after_lamports - reward.balance_before_lamports != reward.claimed_lamports:
            wrong.append(f"{reward.account} received other than it claimed")
    return wrong


def sol(lamports: int) -> str:
    return f"{lamports / LAMPORTS_PER_SOL:.6f}".rstrip("0").rstrip(".") + " SOL"


def _status(text: str) -> str:
    colour = _COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else text


def live_view(
    headline: str, tasks: Sequence[dict[str, Any]], checkpoints: Sequence[dict[str, Any]], names: dict[str, str]
) -> RenderableType:
    """The picture shown while the demo runs: tasks as the sequencer sees them, checkpoints as they move towards L1."""
    task_table = Table(title="tasks", expand=True)
    for column in ("task", "status", "worker", "accuracy", "rejected before"):
        task_table.add_column(column)
    for task in tasks:
        accuracy = task.get("accuracy")
        rejections = ", ".join(
            f"{names.get(r['worker'], r['worker'][:8])}: {r['reason']}" for r in task.get("rejections", [])
        )
        worker = task.get("worker") or ""
        task_table.add_row(
            task["taskId"][:12],
            _status(task["status"]),
            names.get(worker, worker[:8]),
            "" if accuracy is None else f"{accuracy:.3f}",
            f"[red]{rejections}[/]" if rejections else "",
        )
    checkpoint_table = Table(title="checkpoints", expand=True)
    for column in ("epoch", "status", "records", "signers", "L1 slot", "compute units"):
        checkpoint_table.add_column(column)
    for checkpoint in checkpoints:
        checkpoint_table.add_row(
            str(checkpoint["epoch"]),
            _status(checkpoint["status"]),
            str(checkpoint.get("records", "")),
            f"{checkpoint.get('signers', 0)}/{checkpoint.get('setSize', 0)}",
            str(checkpoint.get("slot") or ""),
            f"{checkpoint.get('computeUnits') or 0:,}" if checkpoint.get("computeUnits") else "",
        )
    return Group(Panel(headline, expand=True), task_table, checkpoint_table)


def print_summary(console: Console, report: Report, wrong: Sequence[str], names: dict[str, str]) -> None:
    """What happened, for somebody who has not read the docs."""
    paid = [row for row in report.tasks if row.status == "paid"]
    lines = [
        f"{len(paid)} of {len(report.tasks)} training tasks were done, checked and paid, in {report.seconds:.0f} s, on {report.l1}.",
    ]
    for row in report.rejected:
        lines.append(
            f"{names.get(row.worker, row.worker)} handed in a false result for task {row.task[:12]}: the validators found {row.reason}, "
            "it was not paid, lost its stake, and the task went to another worker."
        )
    for checkpoint in report.checkpoints:
        lines.append(
            f"Epoch {checkpoint.epoch}: {checkpoint.signers} of {checkpoint.set_size} validators signed; the program on Solana "
            f"checked the one aggregate signature in {checkpoint.compute_units:,} compute units (slot {checkpoint.slot}); "
            f"{checkpoint.status}."
        )
    for reward in report.rewards:
        lines.append(
            f"{names.get(reward.account, reward.account)} claimed {sol(reward.claimed_lamports)} on L1: "
            f"{sol(reward.balance_before_lamports)} → {sol(reward.balance_after_lamports)}."
        )
    lines.append("[bold green]All of it was read back from L1.[/]" if not wrong else "[bold red]Not as it must be:[/]")
    lines += [f"[red]• {line}[/]" for line in wrong]
    console.print(Panel("\n".join(lines), title="what happened"))
