"""jsonParsed for SPL token accounts of both programs (solana-account-decoder, parse_token and parse_token_extension)."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

from localnet.reader import Reader, Truncated
from localnet.token_state import Mint, ui_amount_json, unpack_account, unpack_mint, unpack_multisig

_INTEREST_BEARING = 10
_SCALED = 25
_SECONDS_PER_YEAR = 60.0 * 60.0 * 24.0 * 365.24
_ONE_IN_BASIS_POINTS = 10_000.0
_CIPHERTEXT, _AE_CIPHERTEXT = 64, 36


def parse_token(data: bytes, mint: Mint | None, unix_time: int) -> dict[str, Any] | None:
    """type and info of an account, mint or multisig; None for what is neither, and for an account whose mint is not
    given: its amount has no decimals then.
    """
    account = unpack_account(data)
    if account is not None:
        if mint is None:
            return None
        info: dict[str, Any] = {
            "isNative": account.native_reserve is not None,
            "mint": str(account.mint),
            "owner": str(account.owner),
            "state": account.state,
            "tokenAmount": mint_amount_json(account.amount, mint, unix_time),
        }
        if account.delegate is not None:
            info["delegate"] = str(account.delegate)
            info["delegatedAmount"] = mint_amount_json(account.delegated_amount, mint, unix_time)
        if account.native_reserve is not None:
            info["rentExemptReserve"] = mint_amount_json(account.native_reserve, mint, unix_time)
        if account.close_authority is not None:
            info["closeAuthority"] = str(account.close_authority)
        return {"info": info | _extensions(account.extensions), "type": "account"}
    unpacked = unpack_mint(data)
    if unpacked is not None:
        info = {
            "decimals": unpacked.decimals,
            "freezeAuthority": _text(unpacked.freeze_authority),
            "isInitialized": True,
            "mintAuthority": _text(unpacked.mint_authority),
            "supply": str(unpacked.supply),
        }
        return {"info": info | _extensions(unpacked.extensions), "type": "mint"}
    multisig = unpack_multisig(data)
    if multisig is None:
        return None
    info = {
        "isInitialized": True,
        "numRequiredSigners": multisig.required,
        "numValidSigners": multisig.valid,
        "signers": [str(key) for key in multisig.signers],
    }
    return {"info": info, "type": "multisig"}


def mint_amount_json(amount: int, mint: Mint, unix_time: int) -> dict[str, Any]:
    """As the mint shows its amounts at `unix_time`: with interest, or scaled, where it has that extension."""
    plain = ui_amount_json(amount, mint.decimals)
    extensions = dict(mint.extensions)
    try:
        if _INTEREST_BEARING in extensions:
            shown = amount * (_interest(Reader(extensions[_INTEREST_BEARING]), unix_time) / 10.0**mint.decimals)
        elif _SCALED in extensions:
            scaled = amount * _multiplier(Reader(extensions[_SCALED]), unix_time)
            shown = math.trunc(scaled) / 10.0**mint.decimals if math.isfinite(scaled) else scaled
        else:
            return plain
        text = f"{shown:.{mint.decimals}f}".replace("nan", "NaN")
    except OverflowError:
        shown, text = math.inf, "inf"
    except Truncated:
        return plain
    text = text.rstrip("0").rstrip(".") if mint.decimals and math.isfinite(shown) else text
    # JSON has neither infinity nor NaN; agave writes null for them too.
    return plain | {"uiAmount": float(text) if math.isfinite(shown) else None, "uiAmountString": text}


def _interest(config: Reader, unix_time: int) -> float:
    """Continuously compounded: the average rate until the last change of the rate, the present rate since."""
    config.take(32)
    started, average_rate, changed, rate = config.i64(), config.i16(), config.i64(), config.i16()
    before = average_rate * (changed - started) / _SECONDS_PER_YEAR / _ONE_IN_BASIS_POINTS
    after = rate * (unix_time - changed) / _SECONDS_PER_YEAR / _ONE_IN_BASIS_POINTS
    return math.exp(before) * math.exp(after)


def _multiplier(config: Reader, unix_time: int) -> float:
    config.take(32)
    present, effective, new = config.f64(), config.i64(), config.f64()
    return new if unix_time >= effective else present


def _text(key: object) -> str | None:
    return None if key is None else str(key)


def _extensions(found: tuple[tuple[int, bytes], ...]) -> dict[str, Any]:
    return {"extensions": [_extension(kind, value) for kind, value in found]} if found else {}


def _extension(kind: int, value: bytes) -> dict[str, Any]:
    known = _EXTENSIONS.get(kind)
    if known is None:
        return {"extension": "unparseableExtension"}
    name, read = known
    if read is None:
        return {"extension": name}
    try:
        return {"extension": name, "state": read(Reader(value))}
    except Truncated:
        return {"extension": "unparseableExtension"}


def _base64(length: int) -> Callable[[Reader], str]:
    return lambda reader: base64.b64encode(reader.take(length)).decode()


def _base64_or_none(reader: Reader) -> str | None:
    data = reader.take(32)
    return base64.b64encode(data).decode() if any(data) else None


def _account_state(reader: Reader) -> str:
    states = ("uninitialized", "initialized", "frozen")
    value = reader.u8()
    return states[value] if value < len(states) else states[0]


def _transfer_fee(reader: Reader) -> dict[str, int]:
    return {"epoch": reader.u64(), "maximumFee": reader.u64(), "transferFeeBasisPoints": reader.u16()}


def _metadata(reader: Reader) -> dict[str, Any]:
    return {
        "updateAuthority": reader.key_or_none(),
        "mint": reader.key(),
        "name": reader.text(4),
        "symbol": reader.text(4),
        "uri": reader.text(4),
        "additionalMetadata": [[reader.text(4), reader.text(4)] for _ in range(reader.u32())],
    }


def _fields(**fields: Callable[[Reader], Any]) -> Callable[[Reader], dict[str, Any]]:
    return lambda reader: {name: read(reader) for name, read in fields.items()}


_key, _optional = Reader.key, Reader.key_or_none
# By the number of spl-token-2022's ExtensionType; fields in the order of their bytes.
_EXTENSIONS: dict[int, tuple[str, Callable[[Reader], dict[str, Any]] | None]] = {
    1: (
        "transferFeeConfig",
        _fields(
            transferFeeConfigAuthority=_optional,
            withdrawWithheldAuthority=_optional,
            withheldAmount=Reader.u64,
            olderTransferFee=_transfer_fee,
            newerTransferFee=_transfer_fee,
        ),
    ),
    2: ("transferFeeAmount", _fields(withheldAmount=Reader.u64)),
    3: ("mintCloseAuthority", _fields(closeAuthority=_optional)),
    4: (
        "confidentialTransferMint",
        _fields(authority=_optional, autoApproveNewAccounts=Reader.flag, auditorElgamalPubkey=_base64_or_none),
    ),
    5: (
        "confidentialTransferAccount",
        _fields(
            approved=Reader.flag,
            elgamalPubkey=_base64(32),
            pendingBalanceLo=_base64(_CIPHERTEXT),
            pendingBalanceHi=_base64(_CIPHERTEXT),
            availableBalance=_base64(_CIPHERTEXT),
            decryptableAvailableBalance=_base64(_AE_CIPHERTEXT),
            allowConfidentialCredits=Reader.flag,
            allowNonConfidentialCredits=Reader.flag,
            pendingBalanceCreditCounter=Reader.u64,
            maximumPendingBalanceCreditCounter=Reader.u64,
            expectedPendingBalanceCreditCounter=Reader.u64,
            actualPendingBalanceCreditCounter=Reader.u64,
        ),
    ),
    6: ("defaultAccountState", _fields(accountState=_account_state)),
    7: ("immutableOwner", None),
    8: ("memoTransfer", _fields(requireIncomingTransferMemos=Reader.flag)),
    9: ("nonTransferable", None),
    _INTEREST_BEARING: (
        "interestBearingConfig",
        _fields(
            rateAuthority=_optional,
            initializationTimestamp=Reader.i64,
            preUpdateAverageRate=Reader.i16,
            lastUpdateTimestamp=Reader.i64,
            currentRate=Reader.i16,
        ),
    ),
    11: ("cpiGuard", _fields(lockCpi=Reader.flag)),
    12: ("permanentDelegate", _fields(delegate=_optional)),
    13: ("nonTransferableAccount", None),
    14: ("transferHook", _fields(authority=_optional, programId=_optional)),
    15: ("transferHookAccount", _fields(transferring=Reader.flag)),
    16: (
        "confidentialTransferFeeConfig",
        _fields(
            authority=_optional,
            withdrawWithheldAuthorityElgamalPubkey=_base64_or_none,
            harvestToMintEnabled=Reader.flag,
            withheldAmount=_base64(_CIPHERTEXT),
        ),
    ),
    17: ("confidentialTransferFeeAmount", _fields(withheldAmount=_base64(_CIPHERTEXT))),
    18: ("metadataPointer", _fields(authority=_optional, metadataAddress=_optional)),
    19: ("tokenMetadata", _metadata),
    20: ("groupPointer", _fields(authority=_optional, groupAddress=_optional)),
    21: ("tokenGroup", _fields(updateAuthority=_optional, mint=_key, size=Reader.u64, maxSize=Reader.u64)),
    22: ("groupMemberPointer", _fields(authority=_optional, memberAddress=_optional)),
    23: ("tokenGroupMember", _fields(mint=_key, group=_key, memberNumber=Reader.u64)),
    24: (
        "confidentialMintBurn",
        _fields(
            confidentialSupply=_base64(_CIPHERTEXT),
            decryptableSupply=_base64(_AE_CIPHERTEXT),
            supplyElgamalPubkey=_base64(32),
            pendingBurn=_base64(_CIPHERTEXT),
        ),
    ),
    _SCALED: (
        "scaledUiAmountConfig",
        _fields(
            authority=_optional,
            multiplier=Reader.f64_text,
            newMultiplierEffectiveTimestamp=Reader.i64,
            newMultiplier=Reader.f64_text,
        ),
    ),
    26: ("pausableConfig", _fields(authority=_optional, paused=Reader.flag)),
    27: ("pausableAccount", None),
}
