"""The key never signs two checkpoints of one (epoch, attempt): not after a restart, not in two processes, not from an old copy."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from settlement.signing import Domain
from validator.slashing_protection import (
    Attested,
    OtherIdentity,
    ProtectionError,
    ProtectionLocked,
    SlashableAttestation,
    SlashingProtection,
)

DOMAIN = Domain(b"g" * 32, b"p" * 32)
KEY = b"k" * 48
A, B = b"a" * 32, b"b" * 32


def open_at(folder: Path, domain: Domain = DOMAIN, key: bytes = KEY) -> SlashingProtection:
    return SlashingProtection(folder / "protection.sqlite", domain, key)


def test_it_only_moves_forward(tmp_path: Path) -> None:
    with open_at(tmp_path) as protection:
        assert protection.last() is None
        protection.record(3, 0, A, 100)
        protection.record(3, 0, A, 100)
        with pytest.raises(SlashableAttestation, match="asked to attest"):
            protection.record(3, 0, B, 100)
        protection.record(3, 1, B, 170)
        protection.record(5, 0, A, 300)
        for epoch, attempt in ((3, 0), (3, 1), (3, 2), (4, 9), (1, 0)):
            with pytest.raises(SlashableAttestation, match="older than"):
                protection.record(epoch, attempt, A, 400)
        assert protection.last() == Attested(5, 0, A, 300)


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
        lambda interchange: interchange["metadata"].update(interchange_format_version=2),
        lambda interchange: interchange.pop("data"),
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
