"""The localnet benchmark at its smallest, on the embedded L1; and what it says where there is no real validator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import l1_process, localnet

TINY = ("--transfers", "6", "--in-flight", "2", "--latency-samples", "1", "--starts", "1")


@pytest.fixture(autouse=True)
def no_validator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a solana-test-validator."""
    monkeypatch.setenv("POUW_TOOLS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_json_has_the_embedded_l1_and_the_floor(capsys: pytest.CaptureFixture[str]) -> None:
    assert localnet.main(["--json", *TINY]) == 0
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    result = json.loads(line)
    assert result["made_by"] == "./run python -m bench.localnet --json " + " ".join(TINY)
    assert result["cores"] >= 1 and result["sizes"] == {
        "transfers": 6,
        "in_flight": 2,
        "latency_samples": 1,
        "starts": 1,
    }
    (row,) = result["rows"]
    assert row.pop("l1") == "embedded"
    assert row.pop("cpu_us_per_transfer") >= 0  # the clock's tick is longer than six transfers take
    assert all(value > 0 for value in (*row.values(), *result["floor"].values()))
    # It cannot be faster than the runtime alone, nor be seen as confirmed before it was processed.
    assert row["transfers_per_s"] < result["floor"]["litesvm_transfers_per_s"]
    assert row["processed_ms"] <= row["confirmed_ms"]
    assert "scripts/install_tools.sh" in printed.err


def test_the_table_names_its_command_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    floor = localnet.Floor(1000.4, 2000.6, 3000.1, 4000.1)
    row = localnet.Row("embedded", 1000, 2, 3, 4, 5, 6, 7, 8)
    localnet._print_table([row], floor, "no validator", localnet.Sizes(1, 1, 1, 1), ["--starts", "1"])
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    assert rows[2] == ["embedded", "1,000", "2", "3", "4", "5", "6", "7", "8"]
    assert [line[3] for line in rows[3:]] == ["3,000", "1,000", "2,001"]
    assert rows[3][4] == "4,000"
    assert "./run python -m bench.localnet --starts 1" in printed and "Not measured: no validator." in printed


@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_a_size_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        localnet.main([f"--transfers={text}"])
    assert f"a number of at least 1, not {text!r}" in capsys.readouterr().err


def test_a_proxy_for_the_world_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nothing listens on port 9
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with l1_process.embedded("--quiet") as l1:
        assert l1.call("getHealth") == "ok"


def test_a_process_that_does_not_come_up_is_an_error_with_its_own_words() -> None:
    with (
        pytest.raises(l1_process.L1NotStarted, match="must be at least 1"),
        l1_process.embedded("--finalized-lag", "0"),
    ):
        pass
