"""The key never signs two checkpoints of one (epoch, attempt): not after a restart, not in two processes, not from an old copy."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from settlement.signing import Domain
from validator.slashing_protection import ProtectionLocked, SlashingProtection
from validator.votes import Attested, OtherIdentity, ProtectionError, SlashableAttestation

DOMAIN = Domain(b"g" * 32, b"p" * 32)
KEY = b"k" * 48
A, B = b"a" * 32, b"b" * 32


def open_at(folder: Path, domain: Domain = DOMAIN, key: bytes = KEY) -> SlashingProtection:
    return SlashingProtection(folder / "protection.sqlite", domain, key)


def test_within_an_epoch_it_only_moves_forward(tmp_path: Path) -> None:
    with open_at(tmp_path) as protection:
        assert protection.last() is None
        protection.record(3, 0, A, 100)
        protection.record(3, 0, A, 100)
        with pytest.raises(SlashableAttestation, match="asked to attest"):
            protection.record(3, 0, B, 100)
        protection.record(3, 2, B, 170)
        for attempt, digest in ((0, A), (0, B), (1, A), (2, A)):
            with pytest.raises(SlashableAttestation):
                protection.record(3, attempt, digest, 400)
        assert protection.last() == protection.last_of(3) == Attested(3, 2, B, 170)
        assert protection.last_of(2) is None


def test_an_epoch_that_a_fork_dropped_goes_on_after_its_successor_was_attested(tmp_path: Path) -> None:
    with open_at(tmp_path) as protection:
        protection.record(3, 0, A, 100)
        protection.record(4, 0, B, 120)
        with pytest.raises(SlashableAttestation, match="asked to attest"):
            protection.record(3, 0, B, 100)
        protection.record(3, 1, B, 200)
        with pytest.raises(SlashableAttestation, match="older than attempt 1"):
            protection.record(3, 0, A, 100)
        with pytest.raises(SlashableAttestation, match="asked to attest"):
            protection.record(4, 0, A, 230)
        protection.record(4, 1, A, 230)
        assert protection.last_of(3) == Attested(3, 1, B, 200)


def test_what_is_final_on_l1_is_closed_and_forgotten(tmp_path: Path) -> None:
    with open_at(tmp_path) as protection:
        for epoch in range(1, 6):
            protection.record(epoch, 0, A, 100)
        protection.record(6, 0, A, 100, final_epoch=4)
        assert protection.floor == 4
        for epoch in range(1, 5):
            assert protection.last_of(epoch) is None
            with pytest.raises(SlashableAttestation, match="not above epoch 4"):
                protection.record(epoch, 9, B, 900)
        protection.record(7, 0, A, 100, final_epoch=2)
        with pytest.raises(SlashableAttestation, match="not above epoch 9"):
            protection.record(8, 0, A, 100, final_epoch=9)
        assert protection.floor == 4
    with open_at(tmp_path) as protection:
        assert protection.floor == 4
        assert [vote["epoch"] for vote in protection.export()["data"][0]["signed_attestations"]] == [5, 6, 7]


def test_a_database_of_the_older_version_stays_closed_below_its_newest_vote(tmp_path: Path) -> None:
    """It was monotone over all epochs, and may have imported its newest vote without those before."""
    with open_at(tmp_path) as protection:
        protection.record(2, 0, A, 10)
        protection.record(5, 1, A, 50)
    database = sqlite3.connect(tmp_path / "protection.sqlite")
    database.executescript("DROP TABLE floor; DROP TABLE seal; PRAGMA user_version = 0;")
    database.close()
    with open_at(tmp_path) as protection:
        assert protection.floor == 4
        for epoch in (2, 3, 4):
            with pytest.raises(SlashableAttestation):
                protection.record(epoch, 3, B, 99)
        with pytest.raises(SlashableAttestation):
            protection.record(5, 1, B, 99)
        protection.record(5, 2, B, 99)


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    open_at(tmp_path).close()
    database = sqlite3.connect(tmp_path / "protection.sqlite")
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(ProtectionError, match="newer version"):
        open_at(tmp_path)


def test_the_newest_vote_alone_is_a_safe_import(tmp_path: Path) -> None:
    """EIP-3076 calls it minimal. Version 1 has no floor: every epoch before the vote is closed. The twin, a version 2 that claims
    completeness and is not, would sign again what was signed."""
    with open_at(tmp_path / "from") as protection:
        for epoch in (1, 2, 3):
            protection.record(epoch, 0, A, 10 * epoch)
        exported = protection.export()
    data = exported["data"][0]
    data["signed_attestations"] = data["signed_attestations"][-1:]
    with open_at(tmp_path / "twin") as protection:
        protection.import_(exported)
        protection.record(2, 0, B, 20)
    data["floor_epoch"] = 2
    for version in (1, 2):
        exported["metadata"]["interchange_format_version"] = version
        with open_at(tmp_path / str(version)) as protection:
            assert protection.import_(exported) == 1
            for epoch in (1, 2):
                with pytest.raises(SlashableAttestation):
                    protection.record(epoch, 0, B, 20)
            with pytest.raises(SlashableAttestation):
                protection.record(3, 0, B, 30)
            protection.record(3, 1, B, 90)


def test_a_restart_remembers(tmp_path: Path) -> None:
    with open_at(tmp_path) as protection:
        protection.record(3, 0, A, 100)
    with open_at(tmp_path) as protection:
        protection.record(3, 0, A, 100)
        with pytest.raises(SlashableAttestation):
            protection.record(3, 0, B, 100)


def test_what_was_recorded_survives_a_kill(tmp_path: Path) -> None:
    program = f"""
import os, pathlib
from settlement.signing import Domain
from validator.slashing_protection import SlashingProtection
protection = SlashingProtection(pathlib.Path({str(tmp_path)!r}) / "protection.sqlite", Domain({b"g" * 32!r}, {b"p" * 32!r}), {KEY!r})
protection.record(3, 0, {A!r}, 100)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with open_at(tmp_path) as protection:
        assert protection.last() == Attested(3, 0, A, 100)


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    program = f"""
import pathlib
from settlement.signing import Domain
from validator.slashing_protection import *
try:
    SlashingProtection(pathlib.Path({str(tmp_path)!r}) / "protection.sqlite", Domain({b"g" * 32!r}, {b"p" * 32!r}), {KEY!r})
except ProtectionLocked as error:
    print("locked:", error)
"""
    with open_at(tmp_path) as protection:
        protection.record(1, 0, A, 10)
        second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert second.stdout.startswith("locked:") and "another process" in second.stdout
        with pytest.raises(ProtectionLocked):
            open_at(tmp_path)
        protection.record(2, 0, B, 20)
    with open_at(tmp_path) as protection:
        assert protection.last() == Attested(2, 0, B, 20)


def test_a_stale_copy_is_made_safe_by_an_import(tmp_path: Path) -> None:
    """The twin first: from the stale copy alone the second vote would be signed."""
    old, new = tmp_path / "old", tmp_path / "new"
    with open_at(new) as protection:
        protection.record(1, 0, A, 10)
    shutil.copytree(new, old)
    with open_at(new) as protection:
        protection.record(2, 0, A, 20)
        exported = json.loads(json.dumps(protection.export()))
    shutil.copytree(old, tmp_path / "twin")
    with open_at(tmp_path / "twin") as protection:
        protection.record(2, 0, B, 20)
    with open_at(old) as protection:
        assert protection.import_(exported) == 1
        with pytest.raises(SlashableAttestation):
            protection.record(2, 0, B, 20)
        protection.record(2, 0, A, 20)
        assert protection.export() == exported


def test_an_import_that_contradicts_leaves_neither_to_sign(tmp_path: Path) -> None:
    with open_at(tmp_path / "one") as protection:
        protection.record(2, 0, A, 20)
        exported = protection.export()
    with open_at(tmp_path / "two") as protection:
        protection.record(2, 0, B, 25)
        assert protection.import_(exported) == 0
        for digest in (A, B):
            with pytest.raises(SlashableAttestation, match="unknown"):
                protection.record(2, 0, digest, 25)
        assert protection.last() == Attested(2, 0, None, 25)
        protection.record(2, 1, A, 90)


def test_another_chain_or_key_is_refused(tmp_path: Path) -> None:
    others = [(Domain(b"h" * 32, b"p" * 32), KEY), (Domain(b"g" * 32, b"q" * 32), KEY), (DOMAIN, b"l" * 48)]
    with open_at(tmp_path) as protection:
        exported = protection.export()
    for number, (domain, key) in enumerate(others):
        with pytest.raises(OtherIdentity):
            open_at(tmp_path, domain, key)
        with open_at(tmp_path / str(number), domain, key) as other, pytest.raises(OtherIdentity):
            other.import_(exported)


@pytest.mark.parametrize(
    "change",
    [
        lambda interchange: interchange["metadata"].update(interchange_format_version=3),
        lambda interchange: interchange.pop("data"),
        lambda interchange: interchange["data"][0].pop("floor_epoch"),
        lambda interchange: interchange["data"][0].update(floor_epoch=-1),
        lambda interchange: interchange["data"][0]["signed_attestations"].append({"epoch": 9}),
        lambda interchange: interchange["data"][0]["signed_attestations"].append(
            {"epoch": 9, "attempt": 0, "digest": "00", "expiry_slot": 1}
        ),
        lambda interchange: interchange["data"][0]["signed_attestations"].append(
            {"epoch": -1, "attempt": 0, "digest": None, "expiry_slot": 1}
        ),
    ],
)
def test_a_malformed_import_changes_nothing(tmp_path: Path, change: object) -> None:
    with open_at(tmp_path) as protection:
        protection.record(1, 0, A, 10)
        interchange = json.loads(json.dumps(protection.export()))
        interchange["data"][0]["signed_attestations"].append(
            {"epoch": 7, "attempt": 0, "digest": None, "expiry_slot": 70}
        )
        change(interchange)  # type: ignore[operator]
        with pytest.raises(ProtectionError):
            protection.import_(interchange)
        assert protection.last() == Attested(1, 0, A, 10)
