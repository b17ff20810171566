"""A slashing protection whose file the disk has damaged refuses, whichever byte it is: it never signs from rows that are not what was written.

All bytes of the rows by default; those of the whole file: POUW_DAMAGE_STRIDE=1 (CONTRIBUTING.md).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from settlement.signing import Domain
from validator.slashing_protection import ProtectionDamaged, SlashingProtection
from validator.votes import Identity, ProtectionError, SlashableAttestation, Votes

DOMAIN = Domain(b"g" * 32, b"p" * 32)
KEY = b"k" * 48
DIGESTS = [bytes([65 + number]) * 32 for number in range(4)]
PAGE_BYTES = 4096
STRIDE = int(os.environ.get("POUW_DAMAGE_STRIDE", "61"))
BITS = (0x01, 0x80) if STRIDE > 1 else tuple(1 << bit for bit in range(8))


def opened(path: Path) -> SlashingProtection:
    return SlashingProtection(path, DOMAIN, KEY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Four votes above floor 2, one of which knows no digest."""
    made = tmp_path / "protection.sqlite"
    with opened(made) as protection:
        protection.record(3, 0, DIGESTS[0], 1_000)
        protection.record(4, 0, DIGESTS[1], 1_100, final_epoch=2)
        protection.record(4, 7, DIGESTS[2], 1_200)
        contradicting = protection.export()
        protection.record(5, 0, DIGESTS[3], 1_300)
        contradicting["data"][0]["signed_attestations"] = [
            {"epoch": 3, "attempt": 0, "digest": "00" * 32, "expiry_slot": 1_000}
        ]
        protection.import_(contradicting)
    return made


def contents(path: Path) -> dict[str, Any]:
    with opened(path) as protection:
        return protection.export()


def positions(data: bytes) -> Iterator[int]:
    """All bytes of the rows, which stand at the end of a page, and of the pages' and the file's headers; some of the empty ones."""
    for place in range(len(data)):
        around = data[max(place - 2, 0) : place + 3]
        if any(around) or place % PAGE_BYTES < 16 or place % STRIDE == 0:
            yield place


def test_whichever_byte_is_damaged_it_refuses_or_says_what_was_written(path: Path) -> None:
    data, before = path.read_bytes(), contents(path)
    refused = harmless = 0
    for place in positions(data):
        for bits in BITS:
            path.write_bytes(data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :])
            try:
                assert contents(path) == before, f"byte {place} of {len(data)}, bits {bits:#x}"
                harmless += 1
            except ProtectionError as error:
                refused += 1
                assert str(path) in str(error)
            path.write_bytes(data)
    rows = sum(len(part) for part in (DOMAIN.genesis, DOMAIN.program, KEY, *DIGESTS[1:], bytes(32)))
    assert refused >= rows * len(BITS), (refused, harmless)


def test_twin_without_the_seal_damaged_votes_are_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Votes, "seal", lambda self, identity: bytes(32))
    with opened(path.with_name("twin.sqlite")) as protection:
        protection.record(3, 0, DIGESTS[0], 1_000)
    twin = path.with_name("twin.sqlite")
    twin.write_bytes(twin.read_bytes().replace(DIGESTS[0], b"B" + DIGESTS[0][1:]))
    with opened(twin) as protection:
        protection.record(3, 0, b"B" + DIGESTS[0][1:], 1_000)
        with pytest.raises(SlashableAttestation):
            protection.record(3, 0, DIGESTS[0], 1_000)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM attestations WHERE epoch = 5",
        "DELETE FROM attestations",
        "UPDATE attestations SET epoch = 6 WHERE epoch = 5",
        "UPDATE attestations SET attempt = 8 WHERE attempt = 7",
        "UPDATE attestations SET digest = NULL WHERE epoch = 5",
        "UPDATE attestations SET digest = CAST(digest AS TEXT)",
        "UPDATE attestations SET expiry_slot = 0",
        "INSERT INTO attestations VALUES (9, 0, NULL, 5)",
        "UPDATE floor SET epoch = 1",
        "DELETE FROM floor",
        "INSERT INTO floor VALUES (2)",
        "DELETE FROM seal",
        "DROP TABLE seal",
        "DROP TABLE attestations",
        "UPDATE identity SET genesis = zeroblob(32)",
        "DELETE FROM identity",
        "PRAGMA user_version = 1",
        "PRAGMA user_version = 0",
    ],
)
def test_rows_that_are_lost_added_or_changed_are_found(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()
    with pytest.raises(ProtectionDamaged, match=r"is damaged: .* import the newest export"):
        opened(path)


def test_damage_while_it_is_open_is_found_before_the_next_signature(path: Path) -> None:
    with opened(path) as protection:
        protection._db.execute("UPDATE attestations SET digest = ? WHERE epoch = 5", (DIGESTS[0],))
        with pytest.raises(ProtectionDamaged):
            protection.record(6, 0, DIGESTS[0], 1_400)
        with pytest.raises(ProtectionDamaged):
            protection.export()


def test_a_damaged_one_is_moved_away_and_the_newest_export_imported(path: Path) -> None:
    newest = contents(path)
    path.write_bytes(path.read_bytes().replace(DIGESTS[3], bytes(32)))
    with pytest.raises(ProtectionDamaged, match="Move it away"):
        opened(path)
    path.rename(path.with_suffix(".damaged"))
    with opened(path) as protection:
        assert protection.import_(newest) == 4
        assert protection.export() == newest
        with pytest.raises(SlashableAttestation):
            protection.record(5, 0, DIGESTS[0], 1_300)


def test_a_database_of_schema_1_gets_its_seal(path: Path) -> None:
    before = contents(path)
    database = sqlite3.connect(path)
    database.executescript("DROP TABLE seal; PRAGMA user_version = 1;")
    database.close()
    assert contents(path) == before
    database = sqlite3.connect(path)
    (stored,) = database.execute("SELECT digest FROM seal").fetchone()
    database.close()
    with opened(path) as protection:
        assert stored == protection._read().seal(Identity.of(DOMAIN, KEY))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "protection.sqlite"
    path.write_bytes(b"no database at all" * 300)
    with pytest.raises(ProtectionDamaged, match="not a database"):
        opened(path)
