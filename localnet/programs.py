"""Loads programs into a LiteSVM as the upgradeable loader would have left them, with an upgrade authority to read.

LiteSVM's own `add_program` writes a ProgramData account without an authority; a program that checks who may initialize
it needs the real one. Layouts: `UpgradeableLoaderState` of solana-loader-v3-interface, bincode, little-endian.
"""

from __future__ import annotations

from functools import lru_cache

from solders.account import Account
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

UPGRADEABLE_LOADER_ID = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
RENT_EXEMPT_EPOCH = 2**64 - 1
PROGRAM_DATA_METADATA_LENGTH = 45

_PROGRAM_TAG = (2).to_bytes(4, "little")
_PROGRAM_DATA_TAG = (3).to_bytes(4, "little")


class ProgramLoadError(ValueError):
    """The bytes are not a program that the runtime accepts; the message names the program."""


@lru_cache(maxsize=4096)
def program_data_address(program_id: Pubkey) -> Pubkey:
    """The address of the ProgramData account: the PDA of [program id] under the upgradeable loader."""
    return Pubkey.find_program_address([bytes(program_id)], UPGRADEABLE_LOADER_ID)[0]


def program_account_data(program_id: Pubkey) -> bytes:
    """36 bytes: u32 2, address of the ProgramData account."""
    return _PROGRAM_TAG + bytes(program_data_address(program_id))


def program_data_account_data(elf: bytes, authority: Pubkey | None, slot: int) -> bytes:
    """u32 3, u64 slot of deployment, Option<authority> padded to 33 bytes, then the ELF from byte 45 on."""
    option = b"\x00" * 33 if authority is None else b"\x01" + bytes(authority)
    return _PROGRAM_DATA_TAG + slot.to_bytes(8, "little") + option + elf


def load_upgradeable(svm: LiteSVM, program_id: Pubkey, elf: bytes, authority: Pubkey | None, slot: int) -> None:
    """Writes ProgramData and Program so that transactions run the program and programs can read its authority.

    `authority` None makes the program immutable. `slot` is the slot of deployment that ProgramData states.
    Raises ProgramLoadError when the runtime refuses the ELF.
    """
    data_address = program_data_address(program_id)
    program_data = program_data_account_data(elf, authority, slot)
    program = program_account_data(program_id)
    _set(svm, data_address, program_data, executable=False)
    try:
        # LiteSVM compiles a program when its executable account is written, from the ProgramData that exists by then.
        _set(svm, program_id, program, executable=True)
    except Exception as error:  # LiteSVMError is no public name of solders
        svm.set_account(data_address, Account(0, b"", Pubkey.default()))
        raise ProgramLoadError(
            f"the runtime refuses the program for {program_id} ({len(elf)} bytes): {error}"
        ) from error


def _set(svm: LiteSVM, address: Pubkey, data: bytes, *, executable: bool) -> None:
    lamports = svm.minimum_balance_for_rent_exemption(len(data))
    svm.set_account(address, Account(lamports, data, UPGRADEABLE_LOADER_ID, executable, RENT_EXEMPT_EPOCH))
