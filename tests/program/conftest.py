"""Chains at the points that most tests start from."""

from __future__ import annotations

import os

import pytest

from tests.program.kit import Chain, validator

# Made by scripts/program_check.sh, by the variable that names the build it needs.
_NEEDS_A_BUILD = {
    "POUW_OTHER_PROGRAM": "test_two_ids.py",
    "POUW_UNPROTECTED_PROGRAM": "test_twins_unprotected.py",
    "POUW_NEXT_PROGRAM": "test_upgrade_path.py",
}
collect_ignore = [module for variable, module in _NEEDS_A_BUILD.items() if variable not in os.environ]


@pytest.fixture
def bare() -> Chain:
    """The program is loaded and not initialised."""
    return Chain.new()


@pytest.fixture
def chain() -> Chain:
    """Four validators of equal stake, the first set sealed and pinned, nothing posted."""
    return Chain.new().bring_up(validator(seed) for seed in range(4))
