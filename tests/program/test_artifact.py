"""The committed files: what they are, how large, and that each refusal in them has a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from settlement import idl, pda
from tests.program.kit import Chain, Refused

OTHER_ID = Pubkey(b"\x0a" + bytes(range(31)))
# An index that always overflows once made the compiler drop the rest of a program without a word; a jump either way wants a look.
# docs/building.md says where the bytes go.
SMALLEST_BYTES, LARGEST_BYTES = 570_000, 760_000

# Refusals that no transaction can reach, each with the reason.
UNREACHABLE = {
    "BrokenInvariant": "stands behind checks of its own; it is what a bug would meet",
    "UnusableMessage": "no message is known that hashes to infinity",
    "WrongHintCandidate": "needs a message whose field element is zero; tested natively",
}


def test_the_idl_belongs_to_the_localnet_id() -> None:
    assert idl.committed().address == pda.localnet_program_id()


def test_the_program_has_its_size() -> None:
    assert SMALLEST_BYTES < idl.PROGRAM_PATH.stat().st_size < LARGEST_BYTES


def test_every_refusal_is_tested() -> None:
    sources = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = set(re.findall(r'"(\w+)"', sources))
    untested = {spec.name for spec in idl.committed().errors.values()} - named
    assert not untested, f"no test names {sorted(untested)}"


def test_the_program_runs_only_under_its_own_id() -> None:
    chain = Chain.new(program_id=OTHER_ID)
    with pytest.raises(Refused, match="IncorrectProgramId"):
        chain.initialize()
