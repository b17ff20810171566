"""jsonParsed for sysvar accounts (solana-account-decoder, parse_sysvar). All of them are bincode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localnet.base58 import b58encode
from localnet.reader import Reader, Truncated

_SLOT_HISTORY_BITS = 1024 * 1024


def parse_sysvar(address: str, data: bytes) -> dict[str, Any] | None:
    """type and info; None for an address that is no sysvar or data that is not its own."""
    known = _SYSVARS.get(address)
    if known is None:
        return None
    name, read = known
    try:
        return {"info": read(Reader(data)), "type": name}
    except Truncated:
        return None


def _clock(reader: Reader) -> dict[str, int]:
    return {
        "slot": reader.u64(),
        "epochStartTimestamp": reader.i64(),
        "epoch": reader.u64(),
        "leaderScheduleEpoch": reader.u64(),
        "unixTimestamp": reader.i64(),
    }


def _epoch_schedule(reader: Reader) -> dict[str, Any]:
    return {
        "slotsPerEpoch": reader.u64(),
        "leaderScheduleSlotOffset": reader.u64(),
        "warmup": reader.flag(),
        "firstNormalEpoch": reader.u64(),
        "firstNormalSlot": reader.u64(),
    }


def _epoch_rewards(reader: Reader) -> dict[str, Any]:
    return {
        "distributionStartingBlockHeight": reader.u64(),
        "numPartitions": reader.u64(),
        "parentBlockhash": b58encode(reader.take(32)),
        "totalPoints": str(reader.uint(16)),
        "totalRewards": str(reader.u64()),
        "distributedRewards": str(reader.u64()),
        "active": reader.flag(),
    }


def _fee_calculator(reader: Reader) -> dict[str, str]:
    return {"lamportsPerSignature": str(reader.u64())}


def _recent_blockhashes(reader: Reader) -> list[dict[str, Any]]:
    return [
        {"blockhash": b58encode(reader.take(32)), "feeCalculator": _fee_calculator(reader)} for _ in reader.count(40)
    ]


def _slot_hashes(reader: Reader) -> list[dict[str, Any]]:
    return [{"slot": reader.u64(), "hash": b58encode(reader.take(32))} for _ in reader.count(40)]


def _slot_history(reader: Reader) -> dict[str, Any]:
    words = b""
    if reader.flag():
        words = b"".join(reader.take(8) for _ in reader.count(8))
    reader.u64()  # the length in bits
    bits = format(int.from_bytes(words, "little"), "b").zfill(_SLOT_HISTORY_BITS)[::-1]
    return {"bits": bits[:_SLOT_HISTORY_BITS], "nextSlot": reader.u64()}


def _stake_history(reader: Reader) -> list[dict[str, Any]]:
    return [
        {
            "epoch": reader.u64(),
            "stakeHistory": {
                "effective": reader.u64(),
                "activating": reader.u64(),
                "deactivating": reader.u64(),
            },
        }
        for _ in reader.count(32)
    ]


_SYSVARS: dict[str, tuple[str, Callable[[Reader], Any]]] = {
    "SysvarC1ock11111111111111111111111111111111": ("clock", _clock),
    "SysvarEpochSchedu1e111111111111111111111111": ("epochSchedule", _epoch_schedule),
    "SysvarEpochRewards1111111111111111111111111": ("epochRewards", _epoch_rewards),
    "SysvarFees111111111111111111111111111111111": ("fees", lambda reader: {"feeCalculator": _fee_calculator(reader)}),
    "SysvarLastRestartS1ot1111111111111111111111": (
        "lastRestartSlot",
        lambda reader: {"lastRestartSlot": reader.u64()},
    ),
    "SysvarRecentB1ockHashes11111111111111111111": ("recentBlockhashes", _recent_blockhashes),
    "SysvarRent111111111111111111111111111111111": ("rent", lambda reader: {"lamportsPerByte": str(reader.u64())}),
    "SysvarRewards111111111111111111111111111111": (
        "rewards",
        lambda reader: {"validatorPointValue": reader.f64()},
    ),
    "SysvarS1otHashes111111111111111111111111111": ("slotHashes", _slot_hashes),
    "SysvarS1otHistory11111111111111111111111111": ("slotHistory", _slot_history),
    "SysvarStakeHistory1111111111111111111111111": ("stakeHistory", _stake_history),
}
