"""`pouw task example`: files that `pouw task submit` takes as they are."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from settlement import spec


def test_the_example_is_a_spec_and_its_dataset(pouw, tmp_path) -> None:
    shown = pouw("task", "example", tmp_path / "new" / "example", "--json").json
    described = json.loads((tmp_path / "new" / "example" / "spec.json").read_text())
    parsed = spec.parse(described)
    assert parsed.dataset_info.sha256 == sha256(Path(shown["dataset"]).read_bytes()).hexdigest()


def test_nothing_is_overwritten(pouw, tmp_path) -> None:
    (tmp_path / "spec.json").write_text("mine")
    ran = pouw("task", "example", tmp_path)
    assert ran.code == 1
    assert "spec.json exists already; name another folder" in ran.err
    assert (tmp_path / "spec.json").read_text() == "mine"
    assert not (tmp_path / "digits.safetensors").exists()


@pytest.mark.parametrize("given", ["1234", "G" * 64, "A" * 64])
def test_a_task_id_is_64_hex_digits(pouw, given) -> None:
    for command in (("task", "status"), ("task", "result"), ("receipt", "get")):
        ran = pouw(*command, given)
        assert ran.code == 2
        assert "64 lower-case hex digits" in " ".join(ran.err.split())


def test_a_validator_without_its_bls_key_is_told_so(pouw, tmp_path) -> None:
    ran = pouw("validator", "run", "--data-dir", tmp_path)
    assert ran.code == 1
    assert "bls_keypair is missing: give --bls-keypair" in ran.err
