"""The upgradeable loader (loader-v3): what its accounts hold and the instructions that make, fill, deploy, upgrade and close them.

Pure. Layouts are those of `UpgradeableLoaderState` and `UpgradeableLoaderInstruction` of solana-loader-v3-interface 7, bincode, little-endian.
Accounts are made by transfer, allocate and assign, never by `create_account`, which refuses an address that somebody has sent a
lamport to.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from solders import system_program as system
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK, RENT

from settlement import pda
from settlement.errors import AccountInvalid
from settlement.pda import BPF_LOADER_UPGRADEABLE

LOADER = BPF_LOADER_UPGRADEABLE
BUFFER_HEADER_BYTES = 37  # u32 1, Option<authority>
PROGRAM_BYTES = 36  # u32 2, address of ProgramData
PROGRAM_DATA_HEADER_BYTES = 45  # u32 3, u64 slot, Option<authority>, padded to its longer form
MAX_ACCOUNT_BYTES = 10 * 1024 * 1024  # MAX_PERMITTED_DATA_LENGTH
MAX_PROGRAM_BYTES = MAX_ACCOUNT_BYTES - PROGRAM_DATA_HEADER_BYTES
MIN_EXTENSION_BYTES = 10_240  # SIMD-0431
AUTHORITY_OFFSET = 5  # of the key in a Buffer

_BUFFER, _PROGRAM, _PROGRAM_DATA = 1, 2, 3
_INITIALIZE_BUFFER, _WRITE, _DEPLOY, _UPGRADE, _SET_AUTHORITY, _CLOSE, _EXTEND, _SET_AUTHORITY_CHECKED = range(8)
_SEED_CHARACTERS = 32  # MAX_SEED_LEN of an address made from a seed


@dataclass(frozen=True)
class Buffer:
    """`authority` None: nobody may write or close it any more."""

    authority: Pubkey | None
    data: bytes


@dataclass(frozen=True)
class ProgramData:
    """`slot`: of the last deployment or extension. `authority` None: final. `data`: all the room there is, zeros behind the program."""

    slot: int
    authority: Pubkey | None
    data: bytes


def decode_buffer(address: Pubkey, data: bytes) -> Buffer:
    """AccountInvalid when these are not a buffer's bytes."""
    if len(data) < BUFFER_HEADER_BYTES or _u32_at(data, 0) != _BUFFER or data[4] > 1:
        raise AccountInvalid(str(address), "is no buffer of the upgradeable loader")
    return Buffer(_option(data, 4), data[BUFFER_HEADER_BYTES:])


def decode_program(address: Pubkey, data: bytes) -> Pubkey:
    """The address of its ProgramData; AccountInvalid when these are not a program's bytes."""
    if len(data) < PROGRAM_BYTES or _u32_at(data, 0) != _PROGRAM:
        raise AccountInvalid(str(address), "is no program of the upgradeable loader")
    return Pubkey(data[4:PROGRAM_BYTES])


def decode_program_data(address: Pubkey, data: bytes) -> ProgramData:
    """AccountInvalid when these are not a ProgramData account's bytes."""
    if len(data) < PROGRAM_DATA_HEADER_BYTES or _u32_at(data, 0) != _PROGRAM_DATA or data[12] > 1:
        raise AccountInvalid(str(address), "is no ProgramData account of the upgradeable loader")
    return ProgramData(int.from_bytes(data[4:12], "little"), _option(data, 12), data[PROGRAM_DATA_HEADER_BYTES:])


def program_hash(code: bytes) -> bytes:
    """sha256 of a program's bytes without the zeros at the end, so that a file and an account with room to spare compare."""
    return hashlib.sha256(code.rstrip(b"\0")).digest()


def same_program(code: bytes, held: bytes) -> bool:
    """Whether `held`, an account's room, holds `code` and nothing but zeros behind it."""
    return code.rstrip(b"\0") == held.rstrip(b"\0")


# -- instructions


def buffer_seed(program_id: Pubkey, elf: bytes) -> str:
    """A buffer's address follows from authority, program and bytes: who runs the same command again finds what was written."""
    digest = hashlib.sha256(b"pouw program buffer" + bytes(program_id) + hashlib.sha256(elf).digest())
    return digest.hexdigest()[:_SEED_CHARACTERS]


def buffer_address(authority: Pubkey, seed: str) -> Pubkey:
    return Pubkey.create_with_seed(authority, seed, LOADER)


def create_buffer(payer: Pubkey, authority: Pubkey, seed: str, elf_bytes: int, lamports: int) -> list[Instruction]:
    """`lamports`: what its rent lacks. Signed by payer and authority; all in one transaction, or somebody else may claim the account."""
    address = buffer_address(authority, seed)
    space = BUFFER_HEADER_BYTES + elf_bytes
    allocation = system.AllocateWithSeedParams(address=address, base=authority, seed=seed, space=space, owner=LOADER)
    return [
        *_funded(payer, address, lamports),
        system.allocate_with_seed(allocation),
        _instruction(_u32(_INITIALIZE_BUFFER), _writable(address), _readonly(authority)),
    ]


def write(buffer: Pubkey, authority: Pubkey, offset: int, chunk: bytes) -> Instruction:
    data = _u32(_WRITE) + _u32(offset) + _u64(len(chunk)) + chunk
    return _instruction(data, _writable(buffer), _signer(authority))


def deploy(
    payer: Pubkey, program_id: Pubkey, buffer: Pubkey, authority: Pubkey, lamports: int, max_bytes: int
) -> list[Instruction]:
    """`lamports`: what the program account's rent lacks. The buffer's go to the payer, who pays for the ProgramData. Signed by payer,
    program and authority."""
    return [
        *_funded(payer, program_id, lamports),
        system.allocate(system.AllocateParams(pubkey=program_id, space=PROGRAM_BYTES)),
        system.assign(system.AssignParams(pubkey=program_id, owner=LOADER)),
        _instruction(
            _u32(_DEPLOY) + _u64(max_bytes),
            AccountMeta(payer, is_signer=True, is_writable=True),
            _writable(pda.program_data(program_id)),
            _writable(program_id),
            _writable(buffer),
            _readonly(RENT),
            _readonly(CLOCK),
            _readonly(system.ID),
            _signer(authority),
        ),
    ]


def upgrade(program_id: Pubkey, buffer: Pubkey, authority: Pubkey, spill: Pubkey) -> Instruction:
    """The buffer's lamports beyond the ProgramData's rent go to `spill`."""
    return _instruction(
        _u32(_UPGRADE),
        _writable(pda.program_data(program_id)),
        _writable(program_id),
        _writable(buffer),
        _writable(spill),
        _readonly(RENT),
        _readonly(CLOCK),
        _signer(authority),
    )


def extend(payer: Pubkey, program_id: Pubkey, additional_bytes: int) -> Instruction:
    """Anybody may; `extension_bytes` tells by how much."""
    return _instruction(
        _u32(_EXTEND) + _u32(additional_bytes),
        _writable(pda.program_data(program_id)),
        _writable(program_id),
        _readonly(system.ID),
        AccountMeta(payer, is_signer=True, is_writable=True),
    )


def set_authority(account: Pubkey, authority: Pubkey, successor: Pubkey | None, checked: bool = False) -> Instruction:
    """Of a buffer or a ProgramData account. `checked`: the successor signs too. None makes a program final."""
    metas = [_writable(account), _signer(authority)]
    if checked:
        if successor is None:
            raise ValueError("nobody cannot sign: a checked change of authority needs a successor")
        return _instruction(_u32(_SET_AUTHORITY_CHECKED), *metas, _signer(successor))
    return _instruction(_u32(_SET_AUTHORITY), *metas, *([] if successor is None else [_readonly(successor)]))


def close_buffer(buffer: Pubkey, recipient: Pubkey, authority: Pubkey) -> Instruction:
    return _instruction(_u32(_CLOSE), _writable(buffer), _writable(recipient), _signer(authority))


def extension_bytes(room_bytes: int, elf_bytes: int) -> int:
    """By how much a ProgramData account with `room_bytes` for the program must grow for `elf_bytes`; 0 when it need not. SIMD-0431: at
    least 10,240, or all that is left up to 10 MiB. ValueError when no account can hold it."""
    if elf_bytes > MAX_PROGRAM_BYTES:
        raise ValueError(f"the program has {elf_bytes:,} bytes, an account holds {MAX_PROGRAM_BYTES:,}")
    if elf_bytes <= room_bytes:
        return 0
    return min(max(elf_bytes - room_bytes, MIN_EXTENSION_BYTES), MAX_PROGRAM_BYTES - room_bytes)


def _funded(payer: Pubkey, address: Pubkey, lamports: int) -> list[Instruction]:
    if lamports == 0:
        return []
    return [system.transfer(system.TransferParams(from_pubkey=payer, to_pubkey=address, lamports=lamports))]


def _instruction(data: bytes, *metas: AccountMeta) -> Instruction:
    return Instruction(LOADER, data, list(metas))


def _writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)


def _readonly(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=False)


def _signer(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=True, is_writable=False)


def _option(data: bytes, offset: int) -> Pubkey | None:
    return Pubkey(data[offset + 1 : offset + 33]) if data[offset] else None


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _u32_at(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")
