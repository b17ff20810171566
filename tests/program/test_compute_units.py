"""What every instruction costs, measured anew against tests/program/compute_units.json, and the documents against both. After a change
of the program: `./run python -m bench.settlement --record` and `./run python -m bench.certificate`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import settlement
from bench.settlement import Cost
from settlement import idl
from tests.program.kit import LARGEST_COMPUTE, TRANSACTION_BYTES

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures.md"


@pytest.fixture(scope="module")
def costs() -> list[Cost]:
    """Some seconds: 256 validators are registered."""
    return settlement.measure()


def test_every_instruction_is_measured(costs: list[Cost]) -> None:
    assert {cost.instruction for cost in costs} == set(idl.committed().instruction_names)
    assert len({cost.name for cost in costs}) == len(costs)
    assert all(cost.compute_units < LARGEST_COMPUTE // 4 for cost in costs)
    assert all(cost.transaction_bytes <= TRANSACTION_BYTES for cost in costs)


def test_no_instruction_costs_more_than_recorded(costs: list[Cost]) -> None:
    grew, shrank = settlement.changes(costs, settlement.recorded())
    assert not grew, (
        f"dearer by more than 5 %; if that is meant: {settlement.RECORD_COMMAND} --accept-growth\n" + "\n".join(grew)
    )
    assert not shrank, f"cheaper by more than 5 %, so record it: {settlement.RECORD_COMMAND}\n" + "\n".join(shrank)


def test_the_record_and_its_table_are_of_the_committed_program(costs: list[Cost]) -> None:
    assert settlement.RECORD.read_text() == settlement.record_text(costs), f"record it: {settlement.RECORD_COMMAND}"
    assert settlement.documented() == settlement.table(costs), f"record it: {settlement.RECORD_COMMAND}"


def test_the_figures_of_a_certificate_are_of_the_committed_program(costs: list[Cost]) -> None:
    text = FIGURES.read_text()
    assert f"(sha256 {settlement.program_sha256()[:16]})" in text, "paste what ./run python -m bench.certificate prints"
    measured = {
        cost.case: (cost.compute_units, cost.transaction_bytes)
        for cost in costs
        if cost.instruction == "post_checkpoint"
    }
    section = text.partition("bench.certificate")[2].partition("\n## ")[0]
    rows = [
        [cell.strip().replace(",", "") for cell in row.split("|")[1:-1]]
        for row in re.findall(r"^\|[ 0-9,|]+$", section, re.M)
    ]
    assert len(rows) == 2 * len(settlement.SET_SIZES)
    for size, absent, _, _, _, whole, _, transaction_bytes in rows:
        shown = (int(whole), int(transaction_bytes))
        assert shown == measured[settlement.post_case(int(size), int(absent))]


def test_the_aim_is_held(costs: list[Cost]) -> None:
    """A post of 256, all signing, in 180,000 units, and at most 200 for each absent one."""
    by_name = {cost.name: cost.compute_units for cost in costs}
    full = by_name["post_checkpoint: 256 validators, 0 absent"]
    assert full <= 180_000
    assert by_name["post_checkpoint: 256 validators, 85 absent"] - full <= 85 * 200


def test_growth_and_shrinking_are_told_apart() -> None:
    record = {"compute_units": {"deposit": 1_000, "claim: 0 siblings": 1_000, "claim: 1 sibling": 1_000}}
    measured = [
        Cost("deposit", "", 1_051, 400),
        Cost("claim", "0 siblings", 949, 400),
        Cost("claim", "1 sibling", 1_050, 400),
    ]
    grew, shrank = settlement.changes([*measured, Cost("claim", "new", 9, 9)], record)
    assert grew == ["deposit: 1,000 -> 1,051 compute units (+5.1 %)"]
    assert shrank == ["claim: 0 siblings: 1,000 -> 949 compute units (-5.1 %)"]


def test_growth_is_not_recorded_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record, document = tmp_path / "compute_units.json", tmp_path / "costs.md"
    monkeypatch.setattr(settlement, "RECORD", record)
    monkeypatch.setattr(settlement, "DOCUMENT", document)
    monkeypatch.setattr(settlement, "measure", lambda: [Cost("deposit", "", 1_100, 400)])
    document.write_text(f"before\n{settlement.BEGIN}old\n{settlement.END}after\n")
    settlement.save([Cost("deposit", "", 1_000, 400)])
    recorded = record.read_text()
    assert settlement.main(["--record"]) == 1 and record.read_text() == recorded
    assert settlement.main(["--record", "--accept-growth"]) == 0
    assert settlement.recorded()["compute_units"] == {"deposit": 1_100}
    assert document.read_text().startswith("before\n") and document.read_text().endswith(f"{settlement.END}after\n")
    assert "1,100" in settlement.documented() and "old" not in document.read_text()
