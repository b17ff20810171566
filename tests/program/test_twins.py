"""Attacks on the committed program, each refused by the protection that it is made against (test_twins_unprotected.py: and by nothing else)."""

from __future__ import annotations

import pytest

from settlement import idl
from tests.program import unprotected
from tests.program.kit import Refused
from tests.program.twins import ATTACKS, Attack, World


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_with(attack: Attack) -> None:
    with pytest.raises(Refused) as refused:
        attack.carry_out(World(idl.PROGRAM_PATH))
    assert refused.value.name == attack.refused_with


def test_every_protection_that_can_be_switched_off_is_attacked() -> None:
    assert {attack.protection for attack in ATTACKS} == set(unprotected.PROTECTIONS)


def test_every_edit_fits_the_source() -> None:
    """So that who changes a check sees it here and not in a build of minutes."""
    assert unprotected.edited()
