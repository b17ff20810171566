"""jsonParsed for vote and stake accounts (solana-account-decoder, parse_vote and parse_stake). Both are bincode."""

from __future__ import annotations

from typing import Any

from localnet.base58 import b58encode
from localnet.reader import Reader, Truncated

_BLS_KEY_BYTES = 48
_PRIOR_VOTERS = 32
_ALL_REVENUE_BPS = 10_000


def parse_stake(data: bytes) -> dict[str, Any] | None:
    """type and info of a `StakeStateV2`; None for what is none."""
    reader = Reader(data)
    try:
        kind = reader.u32()
        if kind in (0, 3):
            return {"type": ("uninitialized", "", "", "rewardsPool")[kind]}
        if kind not in (1, 2):
            return None
        meta = {
            "rentExemptReserve": str(reader.u64()),
            "authorized": {"staker": reader.key(), "withdrawer": reader.key()},
            "lockup": {"unixTimestamp": reader.i64(), "epoch": reader.u64(), "custodian": reader.key()},
        }
        stake = _stake(reader) if kind == 2 else None
    except Truncated:
        return None
    return {"info": {"meta": meta, "stake": stake}, "type": "initialized" if kind == 1 else "delegated"}


def _stake(reader: Reader) -> dict[str, Any]:
    delegation = {
        "voter": reader.key(),
        "stake": str(reader.u64()),
        "activationEpoch": str(reader.u64()),
        "deactivationEpoch": str(reader.u64()),
    }
    reader.f64()  # the warmup rate, which nothing reads any more
    return {"creditsObserved": reader.u64(), "delegation": delegation}


def parse_vote(address: str, data: bytes) -> dict[str, Any] | None:
    """type and info of a vote state of version 1.14.11, 3 or 4, all shown as version 4; None for what is none."""
    reader = Reader(data)
    try:
        version = reader.u32()
        if version not in (1, 2, 3):
            return None
        info = _head_v4(reader) if version == 3 else _head_before_v4(reader, address)
        info["votes"] = [_vote(reader, has_latency=version > 1) for _ in reader.count(12)]
        info["rootSlot"] = reader.u64() if reader.flag() else None
        info["authorizedVoters"] = [{"epoch": reader.u64(), "authorizedVoter": reader.key()} for _ in reader.count(40)]
        info["priorVoters"] = []
        if version < 3:
            reader.take(_PRIOR_VOTERS * (32 + 8 + 8) + 8 + 1)
        info["epochCredits"] = [
            {"epoch": reader.u64(), "credits": str(reader.u64()), "previousCredits": str(reader.u64())}
            for _ in reader.count(24)
        ]
        info["lastTimestamp"] = {"slot": reader.u64(), "timestamp": reader.i64()}
    except Truncated:
        return None
    return {"info": info, "type": "vote"}


def _head_v4(reader: Reader) -> dict[str, Any]:
    head: dict[str, Any] = {
        "nodePubkey": reader.key(),
        "authorizedWithdrawer": reader.key(),
        "inflationRewardsCollector": reader.key(),
        "blockRevenueCollector": reader.key(),
        "inflationRewardsCommissionBps": reader.u16(),
        "blockRevenueCommissionBps": reader.u16(),
        "pendingDelegatorRewards": str(reader.u64()),
        "blsPubkeyCompressed": b58encode(reader.take(_BLS_KEY_BYTES)) if reader.flag() else None,
    }
    head["commission"] = min(-(-head["inflationRewardsCommissionBps"] // 100), 255)
    return head


def _head_before_v4(reader: Reader, address: str) -> dict[str, Any]:
    node, withdrawer, commission = reader.key(), reader.key(), reader.u8()
    return {
        "nodePubkey": node,
        "authorizedWithdrawer": withdrawer,
        "inflationRewardsCollector": address,
        "blockRevenueCollector": node,
        "inflationRewardsCommissionBps": commission * 100,
        "blockRevenueCommissionBps": _ALL_REVENUE_BPS,
        "pendingDelegatorRewards": "0",
        "blsPubkeyCompressed": None,
        "commission": commission,
    }


def _vote(reader: Reader, *, has_latency: bool) -> dict[str, int]:
    latency = reader.u8() if has_latency else 0
    return {"latency": latency, "slot": reader.u64(), "confirmationCount": reader.u32()}
