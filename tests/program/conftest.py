"""Chains at the points that most tests start from."""

from __future__ import annotations

import os

import pytest

from tests.program.kit import Chain, validator

collect_ignore = [] if "POUW_OTHER_PROGRAM" in os.environ else ["test_two_ids.py"]


@pytest.fixture
def bare() -> Chain:
    """The program is loaded and not initialised."""
    return Chain.new()


@pytest.fixture
def chain() -> Chain:
    """Four validators of equal stake, the first set sealed and pinned, nothing posted."""
    return Chain.new().bring_up(validator(seed) for seed in range(4))
