"""Evidence and offences as Python values, as settlement.accounts."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from settlement.accounts import decode_as


@dataclass(frozen=True)
class Receipt:
    """That the members `bitmap` of a set signed a message; verified on L1 when it was recorded."""

    owner: Pubkey
    epoch: int
    attempt: int
    set_version: int
    message_hash: bytes
    bitmap: bytes


@dataclass(frozen=True)
class Offence:
    """`applied_basis_points` of the validator's stake was taken for what it did in the epoch, `cut_lamports` in all."""

    validator: Pubkey
    epoch: int
    attempt: int
    applied_basis_points: int
    cut_lamports: int


@dataclass(frozen=True)
class EquivocationTally:
    """Of the validators found equivocating in the epoch: how many, their stake, and that of the whole set."""

    epoch: int
    validators: int
    stake_lamports: int
    total_stake_lamports: int


def decode_receipt(address: Pubkey, data: bytes) -> Receipt:
    return decode_as("Receipt", address, data, Receipt)


def decode_offence(address: Pubkey, data: bytes) -> Offence:
    return decode_as("Offence", address, data, Offence)


def decode_tally(address: Pubkey, data: bytes) -> EquivocationTally:
    return decode_as("EquivocationTally", address, data, EquivocationTally)
