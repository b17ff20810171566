"""jsonParsed for the vote program's instructions (solana-transaction-status, parse_vote). Bincode, but for the votes
that agave's validators send: those count their slots from the root in bytes of seven bits.
"""

from __future__ import annotations

import base64
from typing import Any

from localnet.base58 import b58encode
from localnet.instruction_shape import Fields, Shape
from localnet.reader import Reader, Truncated

_BINCODE_LENGTH_BYTES = 8
_BLS_KEY_BYTES, _BLS_PROOF_BYTES = 48, 96
_NO_ROOT = _MAX_SLOT = 2**64 - 1
_MAX_VARINT_BITS = 63


def _one_of(reader: Reader, *names: str) -> str:
    """A unit variant of an enum."""
    kind = reader.u32()
    if kind >= len(names):
        raise Truncated(f"no variant {kind}")
    return names[kind]


def _authority(reader: Reader) -> Any:
    kind = _one_of(reader, "Voter", "Withdrawer", "VoterWithBLS")
    if kind != "VoterWithBLS":
        return kind
    key, proof = list(reader.take(_BLS_KEY_BYTES)), list(reader.take(_BLS_PROOF_BYTES))
    return {kind: {"bls_pubkey": key, "bls_proof_of_possession": proof}}


def _commission(reader: Reader) -> str:
    return _one_of(reader, "InflationRewards", "BlockRevenue")


def _hash(reader: Reader) -> str:
    return b58encode(reader.take(32))


def _timestamp(reader: Reader) -> int | None:
    return reader.i64() if reader.flag() else None


def _vote(reader: Reader) -> dict[str, Any]:
    slots = [reader.u64() for _ in reader.count(8)]
    return {"vote": {"slots": slots, "hash": _hash(reader), "timestamp": _timestamp(reader)}}


def _state(reader: Reader) -> dict[str, Any]:
    lockouts = [{"slot": reader.u64(), "confirmation_count": reader.u32()} for _ in reader.count(12)]
    root = reader.u64() if reader.flag() else None
    update = {"lockouts": lockouts, "root": root, "hash": _hash(reader), "timestamp": _timestamp(reader)}
    return {"voteStateUpdate": update}


def _varint(reader: Reader, max_bits: int = _MAX_VARINT_BITS) -> int:
    value = 0
    for shift in range(0, max_bits + 1, 7):
        byte = reader.u8()
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and (byte or not shift):
            return value
        if byte < 0x80:
            break
    raise Truncated("a number of more bytes than it needs, or than there may be")


def _compact(reader: Reader) -> dict[str, Any]:
    root = reader.u64()
    slot = 0 if root == _NO_ROOT else root
    lockouts = []
    for _ in range(_varint(reader, max_bits=14)):
        slot += _varint(reader)
        if slot > _MAX_SLOT:
            raise Truncated("a slot beyond all slots")
        lockouts.append({"slot": slot, "confirmation_count": reader.u8()})
    known_root = None if root == _NO_ROOT else root
    return {"lockouts": lockouts, "root": known_root, "hash": _hash(reader), "timestamp": _timestamp(reader)}


def _compact_state(reader: Reader) -> dict[str, Any]:
    return {"voteStateUpdate": _compact(reader)}


def _tower(reader: Reader) -> dict[str, Any]:
    return {"towerSync": _compact(reader) | {"blockId": _hash(reader)}}


def _switching(fields: Fields) -> Fields:
    """The same with the hash of a proof that switching forks is allowed."""
    return lambda reader: fields(reader) | {"hash": _hash(reader)}


def _derived(reader: Reader) -> dict[str, Any]:
    return {
        "authorityType": _authority(reader),
        "authorityOwner": reader.key(),
        "authoritySeed": reader.text(_BINCODE_LENGTH_BYTES),
    }


def _initialize(reader: Reader) -> dict[str, Any]:
    reader.key()  # the node, shown as the account that it must be
    return {"authorizedVoter": reader.key(), "authorizedWithdrawer": reader.key(), "commission": reader.u8()}


def _initialize_v2(reader: Reader) -> dict[str, Any]:
    reader.key()
    return {
        "authorizedVoter": reader.key(),
        "authorizedVoterBlsPubkey": base64.b64encode(reader.take(_BLS_KEY_BYTES)).decode(),
        "authorizedVoterBlsProofOfPossession": base64.b64encode(reader.take(_BLS_PROOF_BYTES)).decode(),
        "authorizedWithdrawer": reader.key(),
        "inflationRewardsCommissionBps": reader.u16(),
        "blockRevenueCommissionBps": reader.u16(),
    }


_ACCOUNT, _CLOCK, _WITHDRAWER = "voteAccount", "clockSysvar", "withdrawAuthority"
_VOTED, _STATE = (_ACCOUNT, "slotHashesSysvar", _CLOCK, "voteAuthority"), (_ACCOUNT, "voteAuthority")
VOTE = {
    0: Shape("initialize", (_ACCOUNT, "rentSysvar", _CLOCK, "node"), _initialize),
    1: Shape(
        "authorize",
        (_ACCOUNT, _CLOCK, "authority"),
        lambda r: {"newAuthority": r.key(), "authorityType": _authority(r)},
    ),
    2: Shape("vote", _VOTED, _vote),
    3: Shape("withdraw", (_ACCOUNT, "destination", _WITHDRAWER), lambda r: {"lamports": r.u64()}),
    4: Shape("updateValidatorIdentity", (_ACCOUNT, "newValidatorIdentity", _WITHDRAWER)),
    5: Shape("updateCommission", (_ACCOUNT, _WITHDRAWER), lambda r: {"commission": r.u8()}),
    6: Shape("voteSwitch", _VOTED, _switching(_vote)),
    7: Shape(
        "authorizeChecked",
        (_ACCOUNT, _CLOCK, "authority", "newAuthority"),
        lambda r: {"authorityType": _authority(r)},
    ),
    8: Shape("updatevotestate", _STATE, _state),
    9: Shape("updatevotestateswitch", _STATE, _switching(_state)),
    10: Shape(
        "authorizeWithSeed",
        (_ACCOUNT, _CLOCK, "authorityBaseKey"),
        lambda r: _derived(r) | {"newAuthority": r.key()},
    ),
    11: Shape("authorizeCheckedWithSeed", (_ACCOUNT, _CLOCK, "authorityBaseKey", "newAuthority"), _derived),
    12: Shape("compactupdatevotestate", _STATE, _compact_state),
    13: Shape("compactupdatevotestateswitch", _STATE, _switching(_compact_state)),
    14: Shape("towersync", _STATE, _tower),
    15: Shape("towersyncswitch", _STATE, _switching(_tower)),
    16: Shape("initializeV2", (_ACCOUNT, "node", "inflationRewardsCollector", "blockRevenueCollector"), _initialize_v2),
    17: Shape(
        "updateCommissionCollector",
        (_ACCOUNT, "newCollector", _WITHDRAWER),
        lambda r: {"commissionKind": _commission(r)},
    ),
    18: Shape(
        "updateCommissionBps",
        (_ACCOUNT, _WITHDRAWER),
        lambda r: {"commissionBps": r.u16(), "commissionKind": _commission(r)},
    ),
    19: Shape("depositDelegatorRewards", (_ACCOUNT, "source"), lambda r: {"deposit": r.u64()}),
}
