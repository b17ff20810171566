"""What is drawn: stages, curves, the demo's picture and summary, on small terminals and without colour."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, RenderableType
from solders.keypair import Keypair

from cli import curve, demo_display, demo_state, demo_summary, demo_view, stages, task_watch
from cli.demo_report import CheckpointRow, Costs, RejectedRow, Report, RewardRow, Slash, TaskRow
from cli.demo_state import Snapshot
from cli.demo_view import Model
from cli.stages import Stage
from cli.task_watch import Sight
from cli.trace import Point

HONEST, LIAR, *VALIDATORS = [str(Keypair().pubkey()) for _ in range(5)]
NAMES = {HONEST: "worker-0", LIAR: "worker-2"}
CLAIM = frozenset({HONEST})


def drawn(what: RenderableType, width: int = 80, colour: bool = False) -> list[str]:
    system = {"color_system": "truecolor", "force_terminal": True} if colour else {"color_system": None}
    console = Console(file=io.StringIO(), width=width, highlight=False, **system)  # type: ignore[arg-type]
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def task(number: int, status: str, **more: Any) -> dict[str, Any]:
    return {"taskId": f"{number:064x}"[::-1], "status": status, "rejections": [], **more}


def checkpoint(epoch: int, status: str = "finalized") -> dict[str, Any]:
    bitmap = (0b101).to_bytes(32, "little").hex()
    shown = {"epoch": epoch, "status": status, "bitmap": bitmap, "signers": 2, "setSize": 3, "records": 14}
    return {**shown, "slot": 100 + epoch, "computeUnits": 190_000, "signature": "5x"}


def result(*verdicts: str) -> dict[str, Any]:
    given = [
        {"validator": name, "verdict": verdict, "reason": "none", "replayed": 5, "intervals": 16}
        for name, verdict in zip(VALIDATORS, verdicts, strict=False)
    ]
    return {"verdicts": given}


REJECTION = {"worker": LIAR, "reason": "wrong_state"}
PROGRESS = {"steps": 2250, "points": [{"step": 141 * n, "loss": 1 / n, "accuracy": 1 - 0.5 / n} for n in range(1, 9)]}
TASKS = (
    task(1, "paid", worker=HONEST, accuracy=0.992, epoch=2, rejections=[REJECTION]),
    task(2, "paid", worker=HONEST, accuracy=0.989, epoch=3),
    task(3, "revealed", worker=HONEST),
    task(4, "leased", worker=LIAR, progress=PROGRESS),
    task(5, "pending"),
    task(6, "refunded"),
)
INFO = {"slot": 159, "epoch": 4, "records": 12, "postedEpoch": 3, "finalizedEpoch": 2}
SNAPSHOT = Snapshot(
    INFO,
    TASKS,
    {1: checkpoint(1), 2: checkpoint(2), 3: checkpoint(3, "posted")},
    {TASKS[0]["taskId"]: result("accept", "accept", "accept"), TASKS[2]["taskId"]: result("accept", "reject")},
    tuple(VALIDATORS),
    CLAIM,
)


def test_the_way_of_a_task_goes_on_where_l1_takes_over() -> None:
    assert [SNAPSHOT.stage(one) for one in TASKS] == [
        Stage.PAID, Stage.POSTED, Stage.VERIFYING, Stage.LEASED, Stage.QUEUED, None,
    ]  # fmt: skip
    assert stages.stage_of(task(1, "paid"), None, claimed=True) is Stage.ACCEPTED, "L1 does not know of it yet"


@pytest.mark.parametrize("stage", list(Stage))
def test_all_stages_stand_in_one_line(stage: Stage) -> None:
    assert len(stages.line(stage).plain) <= 79
    assert [one.strip() for one in stages.line(stage).plain.split("›")] == [one.title for one in Stage]
    assert stages.dots(stage).plain == "●" * (stage + 1) + "○" * (7 - stage) + f" {stage.title}"


def test_votes_and_signatures_stand_in_the_order_of_the_set() -> None:
    assert stages.votes(result("accept", "reject"), VALIDATORS).plain == "✓✗·"
    assert stages.votes(None, VALIDATORS).plain == "···"
    assert stages.signatures(checkpoint(1)).plain == "✓·✓ 2/3"


def test_a_chart_is_as_large_as_asked_for_and_shows_the_points_where_they_are() -> None:
    lines = curve.chart([(5, 1.0), (10, 0.5)], title="loss", steps=10, low=0, high=1, width=26, height=4)
    assert [len(line) for line in lines] == [26] * 6
    assert lines[1:5] == [
        "1.00 ┤██████████          ",
        "     │██████████          ",
        "     │████████████████████",
        "0.00 ┤████████████████████",
    ]
    assert lines[5].split() == ["step", "0", "10"]
    outside = curve.chart([(1, 7.0), (2, -7.0), (99, 0.5)], title="", steps=2, low=0, high=1, width=20, height=2)
    assert {len(line) for line in outside} == {20}
    with pytest.raises(ValueError, match="needs 14 columns"):
        curve.chart([(1, 1.0)], title="", steps=1, low=0, high=1, width=8)
    assert curve.sparkline([1.0, 0.5, 0.0]) == "█▄▁"
    assert curve.sparkline([]) == ""


def test_what_changed_is_said_once_and_in_words() -> None:
    said = list(demo_state.changes(None, SNAPSHOT, NAMES))
    assert any(one.endswith("false result by worker-2 (wrong_state): no pay, its stake is gone") for one in said)
    assert f"task {TASKS[0]['taskId'][:8]}: accepted, accuracy 0.992; the fee is worker-0's" in said
    assert "checkpoint 3: posted; 2 of 3 signatures verified on L1 in 190,000 compute units" in said
    assert list(demo_state.changes(SNAPSHOT, SNAPSHOT, NAMES)) == []
    later = replace(SNAPSHOT, checkpoints={**SNAPSHOT.checkpoints, 3: checkpoint(3)})
    assert list(demo_state.changes(SNAPSHOT, later, NAMES)) == ["checkpoint 3: finalized"]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 40), (132, 50)])
@pytest.mark.parametrize("count", [6, 60])
def test_the_picture_fits_the_terminal(width: int, height: int, count: int) -> None:
    model = Model("L1 embedded", phase=2, seconds=34, names=NAMES)
    model.snapshot = replace(SNAPSHOT, tasks=(TASKS * 10)[:count])
    for place, sentence in enumerate(demo_state.changes(None, SNAPSHOT, NAMES)):
        model.feed.append((30 + place, sentence))
    lines = drawn(demo_view.screen(model, width, height), width)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for wanted in (
        "pouw demo · 0:34",
        "✓ network   ● train, check",
        "verifying",
        "✓✗·",
        "▁ loss 0.125",
        "checkpoint 3: posted",
    ):
        assert wanted in text, text
    assert "\x1b" not in text
    coloured = "\n".join(drawn(demo_view.screen(model, width, height), width, colour=True))
    assert "\x1b[32m" in coloured


def test_the_screen_is_drawn_while_it_lasts_and_gone_when_it_ends() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
    shown = demo_display.display(console, "L1 embedded")
    assert isinstance(shown, demo_display.Screen)
    shown.names = NAMES
    shown.say("starting L1 (embedded)")
    shown.phase(1)
    shown.see(SNAPSHOT)
    shown.end()
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    last = written[written.rindex("pouw demo") :]
    assert "✓ L1   ● network" in last and "worker-2 lied" in last
    erased = last.rpartition("\n")[2]
    assert erased.count("\x1b[1A") >= 15 and erased.count("\x1b[2K") >= 15, "every line is taken back"


def test_where_nobody_watches_a_line_is_printed_for_each_event() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    shown = demo_display.display(console, "L1 embedded")
    shown.names = NAMES
    shown.see(SNAPSHOT)
    shown.see(SNAPSHOT)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line[8:] for line in lines] == list(demo_state.changes(None, SNAPSHOT, NAMES))


def report() -> Report:
    made = Report("program", "embedded", seconds=46.4, verdicts=6, costs=Costs(55_000, 37_361_280))
    made.tasks = [TaskRow("ab" * 32, "training", "replay", "paid", HONEST, 0.9917, 0.3125)]
    made.rejected = [RejectedRow("ab" * 32, LIAR, "wrong_state")]
    made.slashes = [Slash("ab" * 32, LIAR, 2_000_000, 2, 3)]
    made.checkpoints = [CheckpointRow(1, "00", "5x", 108, 185_463, 3, 3, "finalized")]
    made.rewards = [RewardRow(HONEST, 15_000_000, 0, 15_000_000)]
    return made


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_says_what_it_cost_who_checked_and_who_was_slashed(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    steps = [("./run pouw localnet", "an L1 of your own")]
    arguments = {"fees_lamports": 5_000_000, "next_steps": steps, "files": "Logs are in /x/logs."}
    demo_summary.print_summary(console, report(), [], NAMES, **arguments)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert max(map(len, printed.splitlines())) <= width
    text = " ".join(printed.replace("│", " ").split())
    for wanted in (
        "1 of 1 networks were trained",
        "99.2% of the digits",
        "3 validators with stake on L1 each re-ran 31% of each training",
        "6 signed verdicts",
        "worker-2 handed in a false result for task abababab (wrong_state: re-running it led to other weights)",
        "2 of 3 validators rejected it; it got no pay and lost its stake of 0.002 SOL; worker-0 did the task instead",
        "185,463 compute units in all",
        "0.000055 SOL of L1 fees and 0.03736128 SOL of rent",
        "worker-0 claimed 0.015 SOL on L1: 0 SOL → 0.015 SOL",
        "Logs are in /x/logs.",
        "read back from L1",
        "# an L1 of your own ./run pouw localnet",
    ):
        assert wanted in text, text
    demo_summary.print_summary(console, report(), ["checkpoint 1 is posted"], NAMES, **arguments)  # type: ignore[arg-type]
    assert "Not as it must be" in console.file.getvalue()


def sight(number: int) -> Sight:
    points = tuple(Point(one["step"], one["loss"], one["accuracy"]) for one in PROGRESS["points"])  # type: ignore[index]
    waiting = {"spec": {}, "leaseExpirySlot": 900}
    return [
        Sight(task(1, "pending")),
        Sight({**task(1, "leased", worker=LIAR), **waiting}, points=points[:2], steps=2250),
        Sight(task(1, "pending", rejections=[REJECTION])),
        Sight(
            task(1, "revealed", worker=HONEST, rejections=[REJECTION]),
            result("accept"), None, tuple(VALIDATORS), points, 2250, True,
        ),
        Sight(
            task(1, "paid", worker=HONEST, rejections=[REJECTION], epoch=2),
            result("accept", "accept", "accept"), checkpoint(2), tuple(VALIDATORS), points, 2250, True,
        ),
    ][number]  # fmt: skip


def test_a_watched_task_tells_each_change_once() -> None:
    sights = [sight(number) for number in range(5)]
    told = [list(task_watch.changes(before, now)) for before, now in zip([None, *sights], sights, strict=False)]
    assert [[one["event"] for one in some] for some in told] == [
        ["stage"],
        ["stage", "point", "point"],
        ["rejected", "stage"],
        ["stage", *["point"] * 8, "verdict"],
        ["stage", "verdict", "verdict", "checkpoint"],
    ]
    assert told[1][1] == {
        "event": "point", "step": 141, "steps": 2250, "loss": 1.0, "accuracy": 0.5, "verified": False,
    }  # fmt: skip
    assert told[3][1]["verified"] is True
    assert task_watch.sentence(told[1][1]) == "step 141 of 2,250  loss 1.0000  accuracy 0.5000  (the worker's word)"
    assert "loses its stake" in task_watch.sentence(told[2][0])
    assert list(task_watch.changes(sights[4], sights[4])) == []


def test_a_watch_ends_with_the_payment_or_with_finality() -> None:
    assert [sight(number).ended(final=False) for number in range(5)] == [False, False, False, False, True]
    assert sight(4).ended(final=True)
    assert not replace(sight(4), checkpoint=checkpoint(2, "posted")).ended(final=True)
    assert Sight(task(1, "refunded")).ended(final=True)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("number", range(5))
def test_a_watched_task_fits_the_terminal(number: int, width: int) -> None:
    lines = drawn(task_watch.view(sight(number), width), width)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert ("wrong_state" in text) == (number >= 2)
    assert ("as the worker says" in text) == (number == 1)
    assert ("computed here from its published states" in " ".join(text.split())) == (number >= 3)
