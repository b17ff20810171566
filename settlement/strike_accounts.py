"""The account that says that a result was proved wrong, decoded (docs/settlement.md)."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from settlement.accounts import decode_as


@dataclass(frozen=True)
class Strike:
    """`epoch` is the one whose checkpoint holds the result, `worker` a node id, `inbox_index` the entry by which L2 reverses it."""

    task_id: bytes
    result_hash: bytes
    epoch: int
    worker: bytes
    challenger: Pubkey
    share_basis_points: int
    inbox_index: int
    slot: int


def decode_strike(address: Pubkey, data: bytes) -> Strike:
    return decode_as("Strike", address, data, Strike)
