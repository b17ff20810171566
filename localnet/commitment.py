"""Commitment levels and how far each lags behind the slot that is being built."""

from __future__ import annotations

from enum import StrEnum


class Commitment(StrEnum):
    """As in Solana's JSON-RPC: newest state, voted by the cluster, rooted."""

    PROCESSED = "processed"
    CONFIRMED = "confirmed"
    FINALIZED = "finalized"


CONFIRMED_LAG_SLOTS = 1
# A root needs a lockout of 2^32 slots, that is 32 votes, one a slot: MAX_LOCKOUT_HISTORY + 1.
FINALIZED_LAG_SLOTS = 32
