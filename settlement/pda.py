"""Addresses of the program's accounts, derived from the seeds of docs/settlement.md; all seeds stand in this file only.

Derivation tries bumps until an address is off the curve, some hundred microseconds each, so results are remembered.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from solders.pubkey import Pubkey

BPF_LOADER_UPGRADEABLE = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
SYSTEM_PROGRAM = Pubkey.from_string("11111111111111111111111111111111")


def localnet_program_id() -> Pubkey:
    """The id in the committed artifact: sha256("pouw localnet settlement program"), so nobody holds a key for it."""
    return Pubkey(hashlib.sha256(b"pouw localnet settlement program").digest())


@lru_cache(maxsize=65_536)
def _derive(program_id: Pubkey, *seeds: bytes) -> Pubkey:
    return Pubkey.find_program_address(seeds, program_id)[0]


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def config(program_id: Pubkey) -> Pubkey:
    return _derive(program_id, b"config")


def registry(program_id: Pubkey) -> Pubkey:
    return _derive(program_id, b"registry")


def validator_set(program_id: Pubkey, version: int) -> Pubkey:
    return _derive(program_id, b"set", _u64(version))


def validator(program_id: Pubkey, compressed_key: bytes) -> Pubkey:
    """`compressed_key`: the BLS public key, 48 bytes."""
    if len(compressed_key) != 48:
        raise ValueError(f"a compressed BLS public key has 48 bytes, got {len(compressed_key)}")
    return _derive(program_id, b"bls", hashlib.sha256(compressed_key).digest())


def inbox_entry(program_id: Pubkey, index: int) -> Pubkey:
    return _derive(program_id, b"inbox", _u64(index))


def checkpoint(program_id: Pubkey, epoch: int) -> Pubkey:
    return _derive(program_id, b"checkpoint", _u64(epoch))


def claim(program_id: Pubkey, public_key: bytes) -> Pubkey:
    """`public_key`: the L2 account's ed25519 key, 32 bytes."""
    return _derive(program_id, b"claim", public_key)


def proof_buffer(program_id: Pubkey, owner: Pubkey, buffer_id: int) -> Pubkey:
    return _derive(program_id, b"buffer", bytes(owner), _u64(buffer_id))


def receipt(program_id: Pubkey, owner: Pubkey, message_hash: bytes) -> Pubkey:
    """Where `owner` keeps the evidence that somebody signed the message of this hash."""
    return _derive(program_id, b"receipt", bytes(owner), message_hash)


def offence(program_id: Pubkey, validator_address: Pubkey, epoch: int) -> Pubkey:
    return _derive(program_id, b"offence", bytes(validator_address), _u64(epoch))


def tally(program_id: Pubkey, epoch: int) -> Pubkey:
    """The stake found equivocating in an epoch."""
    return _derive(program_id, b"tally", _u64(epoch))


def stake_position(program_id: Pubkey, validator_address: Pubkey, owner: Pubkey) -> Pubkey:
    return _derive(program_id, b"stake", bytes(validator_address), bytes(owner))


def unbonding(program_id: Pubkey, position: Pubkey, unbonding_id: int) -> Pubkey:
    return _derive(program_id, b"unbonding", bytes(position), _u64(unbonding_id))


def demand(program_id: Pubkey, epoch: int, kind: int, index: int) -> Pubkey:
    """Of what lies at this index under a root of the epoch's checkpoint."""
    return _derive(program_id, b"demand", bytes(checkpoint(program_id, epoch)), bytes([kind]) + _u64(index))


def strike(program_id: Pubkey, task_id: bytes, epoch: int) -> Pubkey:
    """Of the result that the epoch's checkpoint holds for the task."""
    return _derive(program_id, b"strike", task_id, _u64(epoch))


def proposal(program_id: Pubkey) -> Pubkey:
    return _derive(program_id, b"proposal")


def vault(program_id: Pubkey) -> Pubkey:
    return _derive(program_id, b"vault")


def stake_vault(program_id: Pubkey) -> Pubkey:
    return _derive(program_id, b"stake_vault")


def treasury(program_id: Pubkey) -> Pubkey:
    """Also the public key of the treasury's L2 account."""
    return _derive(program_id, b"treasury")


def program_data(program_id: Pubkey) -> Pubkey:
    """The upgradeable loader's account that holds the program's upgrade authority."""
    return _derive(BPF_LOADER_UPGRADEABLE, bytes(program_id))
