"""What the benchmark of every instruction prints: its command and its program beside the figures."""

from __future__ import annotations

import json

import pytest

from bench import settlement
from bench.settlement import Cost


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """One figure, made up: tests/program/test_compute_units.py measures."""
    monkeypatch.setattr(settlement, "measure", lambda: [Cost("deposit", "", 7_134, 402)])


def test_the_table_names_its_command_and_its_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert settlement.main([]) == 0
    printed = capsys.readouterr().out
    assert "`deposit`" in printed and "7,134" in printed
    assert "`./run python -m bench.settlement`" in printed and settlement.program_sha256()[:16] in printed
    assert "`./run python -m bench.certificate`" in printed  # where the floor stands


def test_json_names_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert settlement.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "made_by": "./run python -m bench.settlement",
        "program_sha256": settlement.program_sha256(),
        "rows": [{"instruction": "deposit", "case": "", "cu": 7_134, "bytes": 402}],
    }
