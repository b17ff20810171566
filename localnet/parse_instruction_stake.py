"""jsonParsed for the stake program's instructions (solana-transaction-status, parse_stake). Bincode."""

from __future__ import annotations

from typing import Any

from localnet.instruction_shape import Shape
from localnet.reader import Reader, Truncated

_AUTHORITIES = ("Staker", "Withdrawer")
_BINCODE_LENGTH_BYTES = 8
# The new custodian of this one is an account, and signs.
SET_LOCKUP_CHECKED = 12


def _authority(reader: Reader) -> str:
    kind = reader.u32()
    if kind >= len(_AUTHORITIES):
        raise Truncated(f"no authority {kind}")
    return _AUTHORITIES[kind]


def _initialize(reader: Reader) -> dict[str, Any]:
    return {
        "authorized": {"staker": reader.key(), "withdrawer": reader.key()},
        "lockup": {"unixTimestamp": reader.i64(), "epoch": reader.u64(), "custodian": reader.key()},
    }


def _lockup(reader: Reader, *, with_custodian: bool) -> dict[str, Any]:
    lockup: dict[str, Any] = {}
    if reader.flag():
        lockup["unixTimestamp"] = reader.i64()
    if reader.flag():
        lockup["epoch"] = reader.u64()
    if with_custodian and reader.flag():
        lockup["custodian"] = reader.key()
    return {"lockup": lockup}


def _seeded(reader: Reader) -> dict[str, Any]:
    return {
        "authorityType": _authority(reader),
        "authoritySeed": reader.text(_BINCODE_LENGTH_BYTES),
        "authorityOwner": reader.key(),
    }


_CLOCK, _HISTORY, _STAKE_AUTHORITY = "clockSysvar", "stakeHistorySysvar", "stakeAuthority"
_MOVED = ("source", "destination", _STAKE_AUTHORITY)
STAKE = {
    0: Shape("initialize", ("stakeAccount", "rentSysvar"), _initialize),
    1: Shape(
        "authorize",
        ("stakeAccount", _CLOCK, "authority"),
        lambda r: {"newAuthority": r.key(), "authorityType": _authority(r)},
        optional=("custodian",),
    ),
    2: Shape("delegate", ("stakeAccount", "voteAccount", _CLOCK, _HISTORY, "stakeConfigAccount", _STAKE_AUTHORITY)),
    3: Shape("split", ("stakeAccount", "newSplitAccount", _STAKE_AUTHORITY), lambda r: {"lamports": r.u64()}),
    4: Shape(
        "withdraw",
        ("stakeAccount", "destination", _CLOCK, _HISTORY, "withdrawAuthority"),
        lambda r: {"lamports": r.u64()},
        optional=("custodian",),
    ),
    5: Shape("deactivate", ("stakeAccount", _CLOCK, _STAKE_AUTHORITY)),
    6: Shape("setLockup", ("stakeAccount", "custodian"), lambda r: _lockup(r, with_custodian=True)),
    7: Shape("merge", ("destination", "source", _CLOCK, _HISTORY, _STAKE_AUTHORITY)),
    8: Shape(
        "authorizeWithSeed",
        ("stakeAccount", "authorityBase"),
        lambda r: {"newAuthorized": r.key()} | _seeded(r),
        optional=(_CLOCK, "custodian"),
    ),
    9: Shape("initializeChecked", ("stakeAccount", "rentSysvar", "staker", "withdrawer")),
    10: Shape(
        "authorizeChecked",
        ("stakeAccount", _CLOCK, "authority", "newAuthority"),
        lambda r: {"authorityType": _authority(r)},
        optional=("custodian",),
    ),
    11: Shape(
        "authorizeCheckedWithSeed",
        ("stakeAccount", "authorityBase", _CLOCK, "newAuthorized"),
        _seeded,
        optional=("custodian",),
    ),
    SET_LOCKUP_CHECKED: Shape(
        "setLockupChecked", ("stakeAccount", "custodian"), lambda r: _lockup(r, with_custodian=False)
    ),
    13: Shape("getMinimumDelegation"),
    14: Shape("deactivateDelinquent", ("stakeAccount", "voteAccount", "referenceVoteAccount")),
    15: Shape("redelegate", ("stakeAccount", "newStakeAccount", "voteAccount", "stakeConfigAccount", _STAKE_AUTHORITY)),
    16: Shape("moveStake", _MOVED, lambda r: {"lamports": r.u64()}),
    17: Shape("moveLamports", _MOVED, lambda r: {"lamports": r.u64()}),
}
