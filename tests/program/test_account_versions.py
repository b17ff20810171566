"""An account of a layout that the program does not know: whatever would write it is refused, and its bytes stay as they are.
test_upgrade_path.py has a program that knows a later one."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from settlement import idl
from tests.program import next_version
from tests.program.hostile_stories import STORIES
from tests.program.kit import refuses

DISCRIMINATOR_BYTES = 8
# An instruction that writes an account of the type, by the account's name in it.
WRITERS = {
    "Config": ("deposit", "config"),
    "Registry": ("grow_registry", "registry"),
    "Validator": ("set_commission", "validator"),
    "ValidatorSet": ("grow_validator_set", "validator_set"),
    "Checkpoint": ("open_demand", "checkpoint"),
    "InboxEntry": ("escape_refund", "inbox_entry"),
    "StakePosition": ("unbond", "position"),
    "Offence": ("raise_equivocation", "offence"),
    "ProofBuffer": ("grow_proof_buffer", "buffer"),
}


def address_of(instruction: str, role: str, keys: list[Pubkey]) -> Pubkey:
    names = [account.name for account in idl.committed().instruction(instruction).accounts]
    return keys[names.index(role)]


@pytest.mark.parametrize("type_name", WRITERS)
def test_an_unknown_version_is_refused(type_name: str) -> None:
    name, role = WRITERS[type_name]
    chain, instruction, signers = STORIES[name]()
    address = address_of(name, role, [meta.pubkey for meta in instruction.accounts])
    later = bytearray(chain.data(address))
    assert later[DISCRIMINATOR_BYTES] == 1
    later[DISCRIMINATOR_BYTES] = 2
    chain.overwrite(address, bytes(later))
    with refuses("UnknownAccountVersion"):
        chain.send(instruction, signers=signers)
    assert chain.data(address) == later
    later[DISCRIMINATOR_BYTES] = 1
    chain.overwrite(address, bytes(later))
    chain.advance(1)
    chain.send(instruction, signers=signers)


def test_an_account_that_is_opened_again_keeps_its_version() -> None:
    """A later delegation finds the position that the first one made; it must not take a later layout for its own."""
    chain, instruction, signers = STORIES["delegate"]()
    chain.send(instruction, signers=signers)
    address = address_of("delegate", "position", [meta.pubkey for meta in instruction.accounts])
    later = bytearray(chain.data(address))
    assert later[DISCRIMINATOR_BYTES] == 1
    later[DISCRIMINATOR_BYTES] = 2
    chain.overwrite(address, bytes(later))
    chain.advance(1)
    with refuses("UnknownAccountVersion"):
        chain.send(instruction, signers=signers)


def test_every_edit_of_the_next_version_fits_the_source() -> None:
    """So that who changes an account sees it here and not in a build of minutes."""
    assert next_version.edited()
