"""README's walk-through, pasted into a shell as a newcomer would, and then the snippet of docs/results.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localnet.real_validator import free_ports
from tests.docs.markdown import ROOT, blocks
from tests.docs.shell import logs, pasting

SLOT_MS = 200  # half a cluster's
SNIPPETS = ("docs/results.md", "README.md")  # the same in both


def commands() -> list[str]:
    return [
        block.text for block in blocks("README.md") if block.heading == "Run it yourself" and block.language == "sh"
    ]


def adapted(script: str, l1_port: int, sequencer_port: int) -> str:
    """The commands on ports and in a folder of the test's own, always on the embedded L1; nothing else is changed."""
    localnet = f"{ROOT}/localnet.sh --embedded --rpc-port {l1_port} --slot-ms {SLOT_MS}"
    changes = {
        "./localnet.sh": localnet,
        "./run ": f"{ROOT}/run ",
        "pouw sequencer run": f"pouw sequencer run --port {sequencer_port}",
    }
    for written, run in changes.items():
        assert written in script
        script = script.replace(written, run)
    return script


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[[str], tuple[int, str]]]:
    l1_port, sequencer_port = free_ports(2), free_ports(1)
    environment = {"POUW_URL": f"http://127.0.0.1:{l1_port}", "POUW_SEQUENCER": f"http://127.0.0.1:{sequencer_port}"}
    with pasting(tmp_path, environment) as run:
        yield lambda script: run(adapted(script, l1_port, sequencer_port))


def test_the_walk_through_and_its_result(shell, tmp_path: Path) -> None:
    script = "".join(commands())
    script, end = script.split("kill $(jobs -p)")
    code, out = shell(f"{script}echo TASK=$TASK\npids=$(jobs -p)\nkill $pids\nwait $pids || true{end}")
    assert code == 0, out + logs(tmp_path / "data")

    # The command asks once a second, so it may see the task accepted, or already posted with its checkpoint.
    assert re.search(r"s  (accepted|posted|finalized|paid) \(worker \w+, attempt 1\)$", out, re.MULTILINE), out
    assert re.search(r"step 2,250 of 2,250  loss 0\.\d{4}  accuracy (0\.9\d{3}|1\.0000)$", out, re.MULTILINE), out
    assert re.search(r"^tasks +1 paid", out, re.MULTILINE), out
    assert re.search(r"^valid +True", out, re.MULTILINE), out
    claimed = [int(amount.replace(",", "")) for amount in re.findall(r"^claimed lamports +([\d,]+)", out, re.MULTILINE)]
    assert claimed[:2] == [100_000, 5_000_000], out
    for name in ("sequencer", "validator", "worker"):
        last = (tmp_path / "data" / f"{name}.log").read_text().splitlines()[-1]
        assert json.loads(last)["event"] == "shutting down", last

    (snippet,) = {block.text for name in SNIPPETS for block in blocks(name) if block.language == "python"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    shown = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert shown.returncode == 0, shown.stderr
    measured = float(shown.stdout.split()[-1])
    (claimed_accuracy,) = {json.loads(found)["accuracy"] for found in re.findall(r"^metrics +(.+)$", out, re.MULTILINE)}
    (signed_ppm,) = {int(found) for found in re.findall(r'"accuracy_?[pP]pm": (\d+)', out)}
    assert measured >= 0.95
    assert measured == round(claimed_accuracy, 6)
    assert signed_ppm == int(claimed_accuracy * 1_000_000)


def test_every_command_of_pouw_that_the_documents_name_exists() -> None:
    """What stands after `pouw` in any document leads to a command: `--help` is taken by each."""
    import typer.main

    from cli.main import app

    root = typer.main.get_command(app)
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = {
        match
        for path in documents
        for match in re.findall(r"(?:`|run )pouw ((?:[a-z]+(?:-[a-z]+)* ?)+)", path.read_text())
    }
    assert named
    for words in named:
        command = root
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, f"pouw {words}: there is no {word!r}, only {sorted(command.commands)}"
            command = command.commands[word]
