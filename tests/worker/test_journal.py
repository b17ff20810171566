"""What the journal says it saved is there after a kill, and only that."""

from pathlib import Path

import pytest

from settlement.work import WorkEntry
from worker.job import Trained
from worker.journal import Entry, Journal, JournalError, Stage


def entry(journal: Journal, number: int = 1) -> Entry:
    task = bytes([number]) * 32
    folder = journal.folder_of(task)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").write_bytes(b"state")
    trace = (WorkEntry(0, b"s" * 32, bytes(32), bytes(32), b"m" * 32, 0.1),)
    trained = Trained(trace, {b"s" * 32: folder / "state"}, b"m" * 32, 0.9, 0.30000000000000004)
    return Entry(task, 7, b"x" * 32, b"r" * 32, b"c" * 32, {"threads": 1}, trained)


def test_an_entry_comes_back_in_a_new_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    saved = entry(journal)
    journal.save(saved)
    assert list(Journal(tmp_path).entries()) == [saved]
    journal.save(saved.revealed())
    (again,) = Journal(tmp_path).entries()
    assert again == saved.revealed() and again.stage is Stage.REVEALED


def test_a_run_that_was_never_sealed_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    half = journal.folder_of(b"h" * 32)
    half.mkdir()
    (half / "state").write_bytes(b"half")
    (half / "entry.json.part").write_text("{")
    assert list(Journal(tmp_path).entries()) == []
    assert not half.exists()


def test_clear_forgets_one_task_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    one, two = entry(journal, 1), entry(journal, 2)
    journal.save(one)
    journal.save(two)
    journal.clear(one.task_id)
    journal.clear(one.task_id)
    assert list(journal.entries()) == [two]


def test_a_damaged_entry_is_named_and_not_guessed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    saved = entry(journal)
    journal.save(saved)
    path = journal.folder_of(saved.task_id) / "entry.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(JournalError, match=r"entry\.json is damaged"):
        list(journal.entries())
