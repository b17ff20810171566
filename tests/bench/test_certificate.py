"""The certificate benchmark on the smallest set: real deployments, real certificates, and a split only where it was measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import certificate, feature_build, phases
from settlement.idl import PROGRAM_PATH

ROW_KEYS = ["set_size", "absent", "hash_to_g2_cu", "keys_cu", "pairing_cu", "total_cu", "floor_cu", "transaction_bytes"]
SPLIT_KEYS = ROW_KEYS[2:5]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which the program was never built and cannot be."""
    monkeypatch.setenv("POUW_TOOLS", str(tmp_path / "tools"))
    monkeypatch.setattr(feature_build, "CACHE", tmp_path / "cache")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def run(*arguments: str) -> tuple[str, str]:
        """stdout and stderr of a run that succeeds."""
        capsys.readouterr()
        assert certificate.main(["--set-size", "4", *arguments]) == 0
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run


def read(out: str) -> dict[str, Any]:
    (line,) = out.splitlines()
    printed = json.loads(line)
    assert list(printed) == ["made_by", "rows", "split_from"]
    assert printed["made_by"] == "./run python -m bench.certificate --set-size 4 --json"
    assert all(certificate.PAIRING_FLOOR_CU < row["floor_cu"] < row["total_cu"] for row in printed["rows"])
    assert all(0 < row["transaction_bytes"] <= 1_232 for row in printed["rows"])
    assert all(list(row) == ROW_KEYS for row in printed["rows"])
    return printed


def test_rows_are_consistent(run) -> None:
    """On a machine with the program's compiler this builds, once; without it the totals alone are measured."""
    out, err = run("--json")
    printed = read(out)
    full, short = printed["rows"]
    assert [(row["set_size"], row["absent"]) for row in (full, short)] == [(4, 0), (4, 1)]
    assert short["total_cu"] > full["total_cu"] > certificate.PAIRING_FLOOR_CU
    if not feature_build.compiler_is_installed():
        assert "scripts/install_tools.sh" in err and printed["split_from"] is None
        return
    assert "scripts/program_build.sh --features cu-log" in printed["split_from"]
    for row in printed["rows"]:
        assert sum(row[key] for key in SPLIT_KEYS) < row["total_cu"]
        assert row["pairing_cu"] >= certificate.PAIRING_FLOOR_CU
        assert row["hash_to_g2_cu"] > row["pairing_cu"]
    # One message, so one hash; one key more to take off.
    assert short["hash_to_g2_cu"] == full["hash_to_g2_cu"]
    assert short["keys_cu"] >= full["keys_cu"] + certificate.SUBTRACTION_CU


@pytest.mark.usefixtures("no_compiler")
def test_without_the_compiler_there_are_totals_and_no_split(run) -> None:
    out, err = run("--json")
    printed = read(out)
    assert printed["split_from"] is None
    assert all(row[key] is None for row in printed["rows"] for key in SPLIT_KEYS)
    assert all(row["total_cu"] > certificate.PAIRING_FLOOR_CU for row in printed["rows"])
    assert "scripts/install_tools.sh" in err


@pytest.mark.usefixtures("no_compiler")
def test_the_table_names_its_command_and_what_was_not_measured(run) -> None:
    out, _ = run()
    header, _, full, short = (line for line in out.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in header.strip("|").split("|")][-3:] == ["whole post", "floor", "bytes"]
    assert [cell.strip() for cell in full.strip("|").split("|")][:5] == ["4", "0", "–", "–", "–"]
    assert [cell.strip() for cell in short.strip("|").split("|")][:2] == ["4", "1"]
    assert "./run python -m bench.certificate --set-size 4" in out and "not measured" in out


def test_two_runs_give_the_same_figures() -> None:
    assert certificate.post(4, 1) == certificate.post(4, 1)


def test_no_quorum_gives_no_figure() -> None:
    with pytest.raises(AssertionError, match="ShortQuorum"):
        certificate.post(4, 2)


def test_a_program_of_other_cost_is_shown_beside_the_split() -> None:
    split = phases.Split(10, 20, 30)
    rows = [certificate.Row(4, 0, 100, 900, split, -3), certificate.Row(4, 1, 100, 900, split, 2)]
    source = certificate.split_source("a" * 64, rows)
    assert source is not None and "costs -3 CU against the committed program's" in source


@pytest.mark.parametrize("text", ["0", "257", "four", "-4"])
def test_a_set_size_out_of_range_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        certificate.main([f"--set-size={text}"])
    assert f"a set has 1 to 256 validators, not '{text}'" in capsys.readouterr().err


def log(*marks: tuple[str, int]) -> list[str]:
    lines = ["Program log: Instruction: post_checkpoint"]
    for name, remaining in marks:
        lines += [f"Program log: {name}", f"Program consumption: {remaining} units remaining"]
    return [*lines, "Program 11111111111111111111111111111111 invoke [2]"]


def test_phases_are_differences_less_the_marks_in_them() -> None:
    logs = log(
        ("certificate: keys", 100_000),
        ("certificate: keys done", 99_000),
        ("hash_to_g2: expand", 95_000),
        ("hash_to_g2: map", 90_000),
        ("verify: pairing", 60_000),
        ("verify: done", 21_000),
    )
    cost = phases.MARK_CU
    assert phases.split(logs) == phases.Split(35_000 - 2 * cost, 1_000 - cost, 39_000 - cost)
    assert len(phases.marks(logs)) == 6


def test_a_log_without_marks_has_no_split() -> None:
    with pytest.raises(phases.PhasesMissing, match="no mark 'verify: pairing'"):
        phases.split(log(("hash_to_g2: expand", 5)))
    with pytest.raises(phases.PhasesMissing, match="no mark 'hash_to_g2: '"):
        phases.split(certificate.post(4, 0).logs)


@pytest.mark.usefixtures("no_compiler")
def test_a_kept_build_needs_no_compiler(tmp_path: Path) -> None:
    digest = feature_build.sources_digest()
    with pytest.raises(feature_build.CompilerMissing, match=r"scripts/install_tools\.sh"):
        feature_build.program(digest)
    kept = tmp_path / "cache" / digest[:16] / "settlement.so"
    kept.parent.mkdir(parents=True)
    shutil.copy(PROGRAM_PATH, kept)
    assert feature_build.program(digest) == kept


def test_another_source_is_another_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = feature_build.sources_digest()
    ignored = shutil.ignore_patterns("target")
    crate = shutil.copytree(feature_build.CRATE, tmp_path / "programs" / "settlement", ignore=ignored)
    scripts = shutil.copytree(feature_build.SCRIPTS, tmp_path / "scripts")
    for name, path in (("ROOT", tmp_path), ("CRATE", crate), ("SCRIPTS", scripts)):
        monkeypatch.setattr(feature_build, name, path)
    assert feature_build.sources_digest() == before
    changed = crate / "src" / "bls" / "mod.rs"
    changed.write_text(changed.read_text() + "\n")
    assert feature_build.sources_digest() != before


def test_a_fake_build_that_fails_is_an_error_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = tmp_path / "program_build.sh"
    build.write_text("#!/bin/sh\necho 'error[E0425]: cannot find value' >&2\nexit 101\n")
    build.chmod(0o755)
    digest = feature_build.sources_digest()
    monkeypatch.setattr(feature_build, "sources_digest", lambda: digest)
    monkeypatch.setattr(feature_build, "compiler_is_installed", lambda: True)
    monkeypatch.setattr(feature_build, "SCRIPTS", tmp_path)
    monkeypatch.setattr(feature_build, "CACHE", tmp_path / "cache")
    assert certificate.main(["--json", "--set-size", "4"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and "exit code 101" in printed.err and "error[E0425]: cannot find value" in printed.err
