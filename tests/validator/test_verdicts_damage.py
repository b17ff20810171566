"""A database of verdicts that the disk has damaged is refused when it is opened, whichever byte it is; the validator then judges anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from settlement.records import Verdict
from validator import verdicts
from validator.claim import Judgement, Reason
from validator.verdicts import Verdicts, VerdictsDamaged, VerdictsError

ACCEPTED = Judgement(Verdict.ACCEPT, Reason.NONE, (0, 3), 16, 990_000)
REJECTED = Judgement(Verdict.REJECT, Reason.WRONG_STATE, (1,), 16, 0, 1, "another state")
RESULTS = {(bytes([number]) * 32, b"r" * 32): said for number, said in ((65, ACCEPTED), (66, REJECTED))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "verdicts.sqlite"
    written = Verdicts(made)
    for key, said in RESULTS.items():
        written.put(*key, b"c" * 32, said)
    written.close()
    return made


def contents(path: Path) -> dict[tuple[bytes, bytes], Judgement]:
    read = Verdicts(path)
    try:
        return dict(read)
    finally:
        read.close()


def test_whichever_byte_is_damaged_it_refuses_or_says_what_was_written(path: Path) -> None:
    data = path.read_bytes()
    assert contents(path) == RESULTS
    refused = 0
    for place in range(len(data)):
        if not any(data[max(place - 2, 0) : place + 3]) and place % 61:
            continue
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            assert contents(path) == RESULTS, f"byte {place} of {len(data)}"
        except VerdictsError as error:
            refused += 1
            assert str(path) in str(error)
        path.write_bytes(data)
    assert refused >= len(RESULTS) * 3 * 32


def test_twin_without_the_seal_a_flipped_verdict_is_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flipped = path.read_bytes().replace(b'"verdict": 1', b'"verdict": 2')
    assert flipped != path.read_bytes()
    path.write_bytes(flipped)
    with pytest.raises(VerdictsDamaged):
        contents(path)
    path.unlink()
    monkeypatch.setattr(verdicts, "_seal", lambda rows: bytes(32))
    twin = Verdicts(path)
    twin.put(*next(iter(RESULTS)), b"c" * 32, ACCEPTED)
    twin.close()
    path.write_bytes(path.read_bytes().replace(b'"verdict": 1', b'"verdict": 2'))
    (believed,) = contents(path).values()
    assert believed.verdict is Verdict.REJECT


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM judgements WHERE task_id = zeroblob(0) OR judgement LIKE '%another%'",
        "DELETE FROM judgements",
        "UPDATE judgements SET commitment = zeroblob(32)",
        "UPDATE judgements SET task_id = CAST(task_id AS TEXT)",
        "INSERT INTO judgements SELECT zeroblob(32), result_hash, commitment, judgement FROM judgements LIMIT 1",
        "DELETE FROM seal",
        "DROP TABLE seal",
        "DROP TABLE judgements",
        "PRAGMA user_version = 0",
    ],
)
def test_rows_that_are_lost_added_or_changed_are_found(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()
    with pytest.raises(VerdictsDamaged, match=r"is damaged: .* Delete it"):
        contents(path)


def test_damage_while_it_is_open_changes_nothing_that_is_said(path: Path) -> None:
    read = Verdicts(path)
    read._db.execute("DELETE FROM judgements")
    assert dict(read) == RESULTS
    read.close()
    with pytest.raises(VerdictsDamaged):
        contents(path)


def test_a_database_without_a_seal_gets_one(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript("DROP TABLE seal; PRAGMA user_version = 0;")
    database.close()
    assert contents(path) == RESULTS
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    assert len(database.execute("SELECT digest FROM seal").fetchall()) == 1
    database.close()


def test_a_newer_one_and_what_is_none_are_refused(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(VerdictsError, match="newer version"):
        contents(path)
    path.write_bytes(b"no database at all" * 300)
    with pytest.raises(VerdictsDamaged, match="Delete it"):
        contents(path)
