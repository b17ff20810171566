"""The accounts of disputes and governance as Python values (docs/settlement.md)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from solders.pubkey import Pubkey

from settlement.accounts import Parameters, decode_as


class DemandKind(IntEnum):
    """What a demand asks for, by its index."""

    CHUNK = 1
    RECORD = 2
    TRACE_ENTRY = 3


@dataclass(frozen=True)
class Demand:
    epoch: int
    kind: int
    index: int
    demander: Pubkey
    bond_lamports: int
    opened_slot: int
    answer_until_slot: int


@dataclass(frozen=True)
class ParameterProposal:
    proposer: Pubkey
    proposed_slot: int
    ready_slot: int
    parameters: Parameters


def decode_demand(address: Pubkey, data: bytes) -> Demand:
    return decode_as("Demand", address, data, Demand)


def decode_parameter_proposal(address: Pubkey, data: bytes) -> ParameterProposal:
    return decode_as("ParameterProposal", address, data, ParameterProposal)
