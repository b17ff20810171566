"""The twins of test_twins.py: the same attacks where their protection is switched off, and so they succeed. POUW_UNPROTECTED_PROGRAM is a build
as tests/program/unprotected.py describes it; scripts/program_check.sh makes it and runs this. Without that variable it is not collected.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.program.kit import Refused
from tests.program.twins import ATTACKS, Attack, World
from tests.program.unprotected import without


def built() -> Path:
    return Path(os.environ["POUW_UNPROTECTED_PROGRAM"])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_without(attack: Attack) -> None:
    with without(built(), attack.protection) as elf:
        attack.carry_out(World(elf, is_off=True))


@pytest.mark.parametrize("attack", ATTACKS[::6], ids=lambda attack: attack.name)
def test_this_build_with_all_its_protections_refuses(attack: Attack) -> None:
    with without(built()) as elf, pytest.raises(Refused):
        attack.carry_out(World(elf))
