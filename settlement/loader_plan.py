"""What a deployment or an upgrade will do and cost, worked out from accounts that were read, before anything is spent.

Pure. All sums are lamports. Whoever cannot pay is refused with the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solders.pubkey import Pubkey

from settlement import loader
from settlement.errors import DeployError

SIGNATURE_FEE_LAMPORTS = 5_000
OTHER_COMPUTE_UNITS = (
    10_000  # asked for each transaction that is no write; the dearest, a deployment, takes about 3,500
)
MICRO_LAMPORTS = 1_000_000

Rent = Callable[[int], int]
"""Lamports that make an account of so many bytes rent-exempt."""


@dataclass(frozen=True)
class Held:
    """The lamports of the accounts that matter; 0 where there is none."""

    payer_lamports: int
    program_lamports: int
    program_data_lamports: int
    buffer_lamports: int


@dataclass(frozen=True)
class Work:
    """The transactions that are left to be sent. `writes` of buffer chunks; the others by kind."""

    writes: int
    creates: bool
    writer_signatures: int  # one when payer and authority are the same key, else two
    compute_unit_price: int = 0  # micro-lamports
    write_compute_units: int = 0

    def fees(self, others: int, more_signatures: int = 0) -> int:
        """`others`: transactions that are no writes beside the buffer's creation, with `more_signatures` in all of them."""
        rest = others + self.creates
        signatures = (self.writes + rest) * self.writer_signatures + more_signatures
        units = self.writes * self.write_compute_units + rest * OTHER_COMPUTE_UNITS
        return signatures * SIGNATURE_FEE_LAMPORTS + -(-units * self.compute_unit_price // MICRO_LAMPORTS)


@dataclass(frozen=True)
class Cost:
    """`rent_lamports` stay in the program's accounts, `fee_lamports` are gone, `needed_lamports` the payer must have at one moment
    (`returned_lamports` of them come back), beside `kept_lamports`, below which no account may fall."""

    rent_lamports: int
    fee_lamports: int
    returned_lamports: int
    needed_lamports: int
    kept_lamports: int
    balance_lamports: int

    @property
    def missing_lamports(self) -> int:
        return max(0, self.needed_lamports + self.kept_lamports - self.balance_lamports)


def buffer_cost(
    held: Held, work: Work, rent: Rent, elf_bytes: int, room_bytes: int = 0, extension_bytes: int = 0
) -> Cost:
    """For the buffer alone, which somebody else is to use, so that its rent stays; and for the program's room, if that is too small."""
    lacking = max(0, rent(loader.BUFFER_HEADER_BYTES + elf_bytes) - held.buffer_lamports)
    if extension_bytes:
        data_rent = rent(loader.PROGRAM_DATA_HEADER_BYTES + room_bytes + extension_bytes)
        lacking += max(0, data_rent - held.program_data_lamports)
    fees = work.fees(1 + bool(extension_bytes), _payer_alone(work, extension_bytes))
    return Cost(lacking, fees, 0, lacking + fees, rent(0), held.payer_lamports)


def deploy_cost(held: Held, work: Work, rent: Rent, elf_bytes: int, max_bytes: int, hands_over: bool) -> Cost:
    """The buffer's lamports go to the payer in the instruction that takes the ProgramData's from them."""
    buffer_rent = rent(loader.BUFFER_HEADER_BYTES + elf_bytes)
    buffer_lacks = max(0, buffer_rent - held.buffer_lamports)
    program_lacks = max(0, rent(loader.PROGRAM_BYTES) - held.program_lamports)
    data_rent = rent(loader.PROGRAM_DATA_HEADER_BYTES + max_bytes)
    fees = work.fees(1 + hands_over, 1)
    filled = buffer_lacks + fees
    deployed = filled + program_lacks + data_rent - (held.buffer_lamports + buffer_lacks)
    return Cost(program_lacks + data_rent, fees, 0, max(filled + program_lacks, deployed), rent(0), held.payer_lamports)


def upgrade_cost(
    held: Held, work: Work, rent: Rent, elf_bytes: int, room_bytes: int, extension_bytes: int, hands_over: bool
) -> Cost:
    """The buffer's lamports come back but for what the ProgramData lacks."""
    buffer_lacks = max(0, rent(loader.BUFFER_HEADER_BYTES + elf_bytes) - held.buffer_lamports)
    data_rent = rent(loader.PROGRAM_DATA_HEADER_BYTES + room_bytes + extension_bytes)
    data_lacks = max(0, data_rent - held.program_data_lamports)
    # The extension pays what it makes lacking; where there is none, the buffer's lamports do.
    paid_by_extension = data_lacks if extension_bytes else 0
    fees = work.fees(1 + bool(extension_bytes) + hands_over, _payer_alone(work, extension_bytes))
    needed = buffer_lacks + fees + paid_by_extension
    held_at_end = held.program_data_lamports + paid_by_extension + held.buffer_lamports + buffer_lacks
    return Cost(data_lacks, fees, held_at_end - data_rent, needed, rent(0), held.payer_lamports)


def _payer_alone(work: Work, extension_bytes: int) -> int:
    """Signatures that an extension does without: nobody but the payer signs it."""
    return 1 - work.writer_signatures if extension_bytes else 0


def check_balance(cost: Cost, payer: Pubkey) -> None:
    """DeployError, with the numbers, when the payer cannot carry it to the end."""
    if cost.missing_lamports:
        raise DeployError(
            f"{payer} has {cost.balance_lamports:,} lamports; {cost.needed_lamports:,} are needed and {cost.kept_lamports:,} must be "
            f"left: {cost.missing_lamports:,} are missing. Nothing was spent (`pouw airdrop` gets lamports where there is a faucet)"
        )
