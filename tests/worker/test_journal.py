"""What the journal says it saved is there after a kill, and only that."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from settlement import durable
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


def test_every_damaged_byte_of_an_entry_is_found_by_its_checksum(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    saved = entry(journal)
    journal.save(saved)
    path = journal.folder_of(saved.task_id) / "entry.json"
    data = path.read_bytes()
    damaged = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))]
    for wrong in (*damaged, data[:-20], b"", data + b" "):
        path.write_bytes(wrong)
        with pytest.raises(JournalError, match=r"entry\.json is damaged"):
            list(journal.entries())
    path.write_bytes(data)
    assert list(journal.entries()) == [saved]


def images(folder: Path, change: Callable[[], None]) -> list[Path]:
    """Copies of `folder` at every point of the durable writes that `change` makes, and with each file under way cut in half."""
    taken: list[Path] = []

    def copy() -> Path:
        taken.append(folder.with_name(f"image-{uuid4().hex}"))
        shutil.copytree(folder, taken[-1])
        return taken[-1]

    def hook(point: str, path: Path) -> None:
        image = copy()
        if point == durable.WRITTEN:
            torn = copy() / path.relative_to(folder)
            torn.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            if "entry.json" not in path.name:
                shutil.rmtree(taken.pop())  # nothing may be expected of a state's file before the entry is there
        assert image.exists()

    before = durable.set_hook(hook)
    try:
        change()
    finally:
        durable.set_hook(before)
    return taken


def test_a_kill_at_every_point_leaves_the_old_entry_or_the_new_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "jobs")
    saved = entry(journal)
    first = images(tmp_path / "jobs", lambda: journal.save(saved))
    found = [list(Journal(image).entries()) for image in first]
    at = next(i for i, entries in enumerate(found) if entries)
    assert at >= 4 and found == [[]] * at + [found[-1]] * (len(found) - at)
    second = images(tmp_path / "jobs", lambda: journal.save(saved.revealed()))
    stages = [[one.stage for one in Journal(image).entries()] for image in second]
    at = next(i for i, entries in enumerate(stages) if entries == [Stage.REVEALED])
    assert stages == [[Stage.SEALED]] * at + [[Stage.REVEALED]] * (len(stages) - at) and at >= 3


def test_a_full_disk_refuses_and_keeps_what_was(tmp_path: Path) -> None:
    """The limit on a file's size is the kernel's; the process it is set for is one of its own."""
    program = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from tests.worker.test_journal import entry\nfrom worker.journal import Journal, JournalUnwritable\n"
        "journal = Journal(Path(sys.argv[1]))\nsaved = entry(journal)\njournal.save(saved)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, -1))\n"
        "try:\n    journal.save(saved.revealed())\n"
        "except JournalUnwritable as error:\n    assert 'entry.json cannot be written: File too large' in str(error)\n"
        "else:\n    raise AssertionError('saved')\n"
        "assert list(journal.entries()) == [saved]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))\n"
        "journal.save(saved.revealed())\nassert list(journal.entries()) == [saved.revealed()]\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
