"""The demo's last word, for somebody who has read nothing: what was done, who checked it, who lied, what it cost, where it lies, what to try next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.demo_report import Report

LAMPORTS_PER_SOL = 1_000_000_000
_REASONS = {
    "wrong_state": "re-running it led to other weights",
    "wrong_result": "the result is not the one committed to",
    "wrong_metrics": "the model does not have the accuracy it claimed",
    "wrong_work_root": "its trace is not the one committed to",
}


def sol(lamports: int) -> str:
    return f"{lamports / LAMPORTS_PER_SOL:.9f}".rstrip("0").rstrip(".") + " SOL"


def print_summary(
    console: Console,
    report: Report,
    wrong: Sequence[str],
    names: Mapping[str, str],
    *,
    fees_lamports: int,
    next_steps: Sequence[tuple[str, str]],
    files: str,
) -> None:
    """`wrong` is what the judgement found; `next_steps` are commands and what they are good for."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in _facts(report, names, fees_lamports):
        table.add_row(title, text)
    table.add_row("files", files)
    verdict = Text("All of it was read back from L1 at `finalized`.", "bold green")
    if wrong:
        verdict = Text("Not as it must be:\n" + "\n".join(f"- {line}" for line in wrong), "bold red")
    parts: list[RenderableType] = [table, Text(), verdict]
    console.print(Panel(Group(*parts), title="what happened", padding=(1, 1)))
    if next_steps:
        console.print(Text("Try next:", "bold"))
        for command, purpose in next_steps:
            console.print(Text(f"  # {purpose}", "dim"), soft_wrap=True)
            console.print(Text(f"  {command}"), soft_wrap=True)


def _facts(report: Report, names: Mapping[str, str], fees_lamports: int) -> list[tuple[str, Text]]:
    paid = [task for task in report.tasks if task.status == "paid"]
    facts = [("done", Text(_done(report, len(paid), fees_lamports)))]
    if paid:
        facts.append(("checked", Text(_checked(report))))
    facts += [("caught", Text(line, "red")) for line in _caught(report, names)]
    if report.checkpoints:
        facts += [("settled", Text(_settled(report))), ("cost", Text(_cost(report)))]
    for reward in report.rewards:
        before, after = sol(reward.balance_before_lamports), sol(reward.balance_after_lamports)
        name = names.get(reward.account, reward.account)
        facts.append(("paid", Text(f"{name} claimed {sol(reward.claimed_lamports)} on L1: {before} → {after}.")))
    return facts


def _done(report: Report, paid: int, fees_lamports: int) -> str:
    accuracies = [task.accuracy for task in report.tasks if task.accuracy is not None]
    told = ""
    if accuracies:
        low, high = f"{min(accuracies):.1%}", f"{max(accuracies):.1%}"
        told = f" They recognise {low if low == high else f'{low} to {high}'} of the digits that they had not seen."
    return (
        f"{paid} of {len(report.tasks)} networks were trained on handwritten digits, checked and paid in {report.seconds:.0f} s, "
        f"for {sol(fees_lamports)} of fees.{told}"
    )


def _checked(report: Report) -> str:
    shares = [task.replayed_share for task in report.tasks if task.replayed_share is not None]
    size = max((row.set_size for row in report.checkpoints), default=0)
    share = f"{sum(shares) / len(shares):.0%} of each training" if shares else "a sample of each training"
    return (
        f"{size} validators with stake on L1 each re-ran {share}, a sample that nobody knew before the worker had committed to its "
        f"result, and compared every bit. {report.verdicts} signed verdicts are in the batches."
    )


def _caught(report: Report, names: Mapping[str, str]) -> list[str]:
    lines = []
    for row in report.rejected:
        slash = next((one for one in report.slashes if (one.task, one.worker) == (row.task, row.worker)), None)
        lost = (
            f"{slash.rejecting} of {slash.validators} validators rejected it; it got no pay and lost its stake of {sol(slash.lamports)}"
            if slash
            else "it got no pay"
        )
        done_by = next((task.worker for task in report.tasks if task.id == row.task), None)
        again = f"; {names.get(done_by, done_by)} did the task instead" if done_by else ""
        lines.append(
            f"{names.get(row.worker, row.worker)} handed in a false result for task {row.task[:8]} "
            f"({row.reason}: {_REASONS.get(row.reason, 'see docs/protocol.md')}). {lost}{again}."
        )
    return lines


def _settled(report: Report) -> str:
    units = [row.compute_units for row in report.checkpoints]
    signed = sorted({f"{row.signers} of {row.set_size}" for row in report.checkpoints})
    final = sum(row.status == "finalized" for row in report.checkpoints)
    first, last = report.checkpoints[0], report.checkpoints[-1]
    return (
        f"{len(units)} epochs, each one transaction with one BLS signature of {' or '.join(signed)} validators, which the program on "
        f"Solana verified itself: {min(units):,} to {max(units):,} compute units each (a transaction may use 1,400,000). "
        f"L1 slots {first.slot} to {last.slot}; {final} final."
    )


def _cost(report: Report) -> str:
    units = sum(row.compute_units for row in report.checkpoints)
    each = units // max(len(report.tasks), 1)
    return (
        f"{units:,} compute units in all, {each:,} a task; {sol(report.costs.fees_lamports)} of L1 fees and "
        f"{sol(report.costs.rent_lamports)} of rent for the checkpoints' accounts, both paid by the sequencer."
    )
