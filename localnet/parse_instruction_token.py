"""jsonParsed for the instructions of both SPL token programs (solana-transaction-status, parse_token).

The first byte is the instruction; token-2022's extensions have a second one for theirs, and its metadata interface
begins with eight bytes of a hash instead. A key that may be missing is a byte, 0 or 1, and then the key if it is 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from localnet.instruction_shape import NotParsable, Shape, parse, show, signers_json
from localnet.reader import Reader, Truncated
from localnet.token_state import ui_amount_json

_BORSH_LENGTH_BYTES = 4
_DISCRIMINATOR_BYTES = 8
# Where the signers of a new multisig begin.
_MULTISIG_SIGNERS = {2: 2, 19: 1}
_SET_AUTHORITY = 6
_OF_AN_ACCOUNT = ("accountOwner", "closeAccount")
_STATES = ("uninitialized", "initialized", "frozen")


def parse_token_instruction(data: bytes, accounts: Sequence[str]) -> dict[str, Any]:
    """type and info. Raises NotParsable."""
    if not data:
        raise NotParsable("no data")
    kind, reader = data[0], Reader(data, 1)
    try:
        if kind in _EXTENSIONS:
            sub_kind = reader.u8()
            if (kind, sub_kind) == _WITHDRAW_FROM_ACCOUNTS:
                return _withdraw_from_accounts(reader.u8(), accounts)
            parsed = parse(_EXTENSIONS[kind], sub_kind, reader, accounts)
            shape = _EXTENSIONS[kind][sub_kind]
            if kind != _TRANSFER_FEE and shape.fields is not None and reader.rest():
                raise NotParsable("these are plain structures, whole or not at all")
            if (kind, sub_kind) == _HARVEST:
                parsed["info"]["sourceAccounts"] = list(accounts[1:])
            return parsed
        if kind in _TOKEN:
            parsed = show(_TOKEN[kind], reader, accounts)
            if kind in _MULTISIG_SIGNERS:
                parsed["info"]["signers"] = list(accounts[_MULTISIG_SIGNERS[kind] :])
            if kind == _SET_AUTHORITY and parsed["info"]["authorityType"] in _OF_AN_ACCOUNT:
                parsed["info"]["account"] = parsed["info"].pop("mint")
            return parsed
        interface = _INTERFACES.get(data[:_DISCRIMINATOR_BYTES])
        if interface is None:
            raise NotParsable(f"no instruction {kind}")
        return show(interface, Reader(data, _DISCRIMINATOR_BYTES), accounts)
    except Truncated as error:
        raise NotParsable(str(error)) from None


def _withdraw_from_accounts(source_count: int, accounts: Sequence[str]) -> dict[str, Any]:
    if len(accounts) < 3 + source_count:
        raise NotParsable("too few accounts")
    first = len(accounts) - source_count
    info: dict[str, Any] = {
        "mint": accounts[0],
        "feeRecipient": accounts[1],
        "sourceAccounts": list(accounts[first:]),
    }
    info |= signers_json(_WITHDRAW_AUTHORITY, accounts[2:first])
    return {"info": info, "type": "withdrawWithheldTokensFromAccounts"}


def _option(reader: Reader) -> str | None:
    return reader.option_key()


def _amount(reader: Reader) -> dict[str, Any]:
    return {"amount": str(reader.u64())}


def _checked(reader: Reader) -> dict[str, Any]:
    return {"tokenAmount": ui_amount_json(reader.u64(), reader.u8())}


def _mint(reader: Reader) -> dict[str, Any]:
    info: dict[str, Any] = {"decimals": reader.u8(), "mintAuthority": reader.key()}
    return info | _named("freezeAuthority", _option)(reader)


def _named(name: str, read: Callable[[Reader], str | None]) -> Callable[[Reader], dict[str, Any]]:
    """Shown only when it is there."""

    def fields(reader: Reader) -> dict[str, Any]:
        value = read(reader)
        return {} if value is None else {name: value}

    return fields


def _both(*parts: Callable[[Reader], dict[str, Any]]) -> Callable[[Reader], dict[str, Any]]:
    return lambda reader: {name: value for part in parts for name, value in part(reader).items()}


def _set_authority(reader: Reader) -> dict[str, Any]:
    kind = reader.u8()
    if kind >= len(_AUTHORITIES):
        raise Truncated(f"no authority {kind}")
    return {"authorityType": _AUTHORITIES[kind], "newAuthority": _option(reader)}


def _extension_types(reader: Reader) -> list[str]:
    data = reader.rest()
    numbers = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
    if len(data) % 2 or any(number >= len(_EXTENSION_NAMES) for number in numbers):
        raise Truncated("no such extension")
    return [_EXTENSION_NAMES[number] for number in numbers]


def _account_data_size(reader: Reader) -> dict[str, Any]:
    types = _extension_types(reader)
    return {"extensionTypes": types} if types else {}


def _state(reader: Reader) -> dict[str, Any]:
    state = reader.u8()
    if state >= len(_STATES):
        raise Truncated(f"no state {state}")
    return {"accountState": _STATES[state]}


def _ui_amount(reader: Reader) -> dict[str, Any]:
    try:
        return {"uiAmount": reader.rest().decode()}
    except UnicodeDecodeError as error:
        raise Truncated(str(error)) from None


def _with_fee(reader: Reader) -> dict[str, Any]:
    amount, decimals, fee = reader.u64(), reader.u8(), reader.u64()
    return {"tokenAmount": ui_amount_json(amount, decimals), "feeAmount": ui_amount_json(fee, decimals)}


def _fee(reader: Reader) -> dict[str, Any]:
    return {"transferFeeBasisPoints": reader.u16(), "maximumFee": reader.u64()}


def _string(reader: Reader) -> str:
    return reader.text(_BORSH_LENGTH_BYTES)


def _metadata_field(reader: Reader) -> dict[str, Any]:
    kind = reader.u8()
    names = ("name", "symbol", "uri")
    if kind > len(names):
        raise Truncated(f"no field {kind}")
    return {"field": names[kind] if kind < len(names) else _string(reader), "value": _string(reader)}


def _emitted_range(reader: Reader) -> dict[str, Any]:
    return {name: reader.u64() for name in ("start", "end") if reader.flag()}


_AUTHORITIES = (
    "mintTokens",
    "freezeAccount",
    "accountOwner",
    "closeAccount",
    "transferFeeConfig",
    "withheldWithdraw",
    "closeMint",
    "interestRate",
    "permanentDelegate",
    "confidentialTransferMint",
    "transferHookProgramId",
    "confidentialTransferFeeConfig",
    "metadataPointer",
    "groupPointer",
    "groupMemberPointer",
    "scaledUiAmount",
    "pause",
)
_EXTENSION_NAMES = (
    "uninitialized",
    "transferFeeConfig",
    "transferFeeAmount",
    "mintCloseAuthority",
    "confidentialTransferMint",
    "confidentialTransferAccount",
    "defaultAccountState",
    "immutableOwner",
    "memoTransfer",
    "nonTransferable",
    "interestBearingConfig",
    "cpiGuard",
    "permanentDelegate",
    "nonTransferableAccount",
    "transferHook",
    "transferHookAccount",
    "confidentialTransferFeeConfig",
    "confidentialTransferFeeAmount",
    "metadataPointer",
    "tokenMetadata",
    "groupPointer",
    "tokenGroup",
    "groupMemberPointer",
    "tokenGroupMember",
    "confidentialMintBurn",
    "scaledUiAmount",
    "pausable",
    "pausableAccount",
)
_AUTHORITY, _OWNER = ("authority", "multisigAuthority"), ("owner", "multisigOwner")
_MINT_AUTHORITY = ("mintAuthority", "multisigMintAuthority")
_FREEZE_AUTHORITY = ("freezeAuthority", "multisigFreezeAuthority")
_FEE_AUTHORITY = ("transferFeeConfigAuthority", "multisigtransferFeeConfigAuthority")
_WITHDRAW_AUTHORITY = ("withdrawWithheldAuthority", "multisigWithdrawWithheldAuthority")
_RATE_AUTHORITY = ("rateAuthority", "multisigRateAuthority")
_MOVE, _MOVE_CHECKED = ("source", "destination"), ("source", "mint", "destination")
_TOKEN = {
    0: Shape("initializeMint", ("mint", "rentSysvar"), _mint),
    1: Shape("initializeAccount", ("account", "mint", "owner", "rentSysvar")),
    2: Shape("initializeMultisig", ("multisig", "rentSysvar"), lambda r: {"m": r.u8()}, at_least=3),
    3: Shape("transfer", _MOVE, _amount, _AUTHORITY),
    4: Shape("approve", ("source", "delegate"), _amount, _OWNER),
    5: Shape("revoke", ("source",), None, _OWNER),
    6: Shape("setAuthority", ("mint",), _set_authority, _AUTHORITY),
    7: Shape("mintTo", ("mint", "account"), _amount, _MINT_AUTHORITY),
    8: Shape("burn", ("account", "mint"), _amount, _AUTHORITY),
    9: Shape("closeAccount", ("account", "destination"), None, _OWNER),
    10: Shape("freezeAccount", ("account", "mint"), None, _FREEZE_AUTHORITY),
    11: Shape("thawAccount", ("account", "mint"), None, _FREEZE_AUTHORITY),
    12: Shape("transferChecked", _MOVE_CHECKED, _checked, _AUTHORITY),
    13: Shape("approveChecked", ("source", "mint", "delegate"), _checked, _OWNER),
    14: Shape("mintToChecked", ("mint", "account"), _checked, _MINT_AUTHORITY),
    15: Shape("burnChecked", ("account", "mint"), _checked, _AUTHORITY),
    16: Shape("initializeAccount2", ("account", "mint", "rentSysvar"), lambda r: {"owner": r.key()}),
    17: Shape("syncNative", ("account",)),
    18: Shape("initializeAccount3", ("account", "mint"), lambda r: {"owner": r.key()}),
    19: Shape("initializeMultisig2", ("multisig",), lambda r: {"m": r.u8()}, at_least=2),
    20: Shape("initializeMint2", ("mint",), _mint),
    21: Shape("getAccountDataSize", ("mint",), _account_data_size),
    22: Shape("initializeImmutableOwner", ("account",)),
    23: Shape("amountToUiAmount", ("mint",), _amount),
    24: Shape("uiAmountToAmount", ("mint",), _ui_amount),
    25: Shape("initializeMintCloseAuthority", ("mint",), lambda r: {"newAuthority": _option(r)}),
    29: Shape(
        "reallocate",
        ("account", "payer", "systemProgram"),
        lambda r: {"extensionTypes": _extension_types(r)},
        _OWNER,
    ),
    31: Shape("createNativeMint", ("payer", "nativeMint", "systemProgram")),
    32: Shape("initializeNonTransferableMint", ("mint",)),
    35: Shape("initializePermanentDelegate", ("mint",), lambda r: {"delegate": r.key()}),
    38: Shape("withdrawExcessLamports", _MOVE, None, _AUTHORITY),
}


def _pointer(name: str, target: str) -> dict[int, Shape]:
    """An extension that says where something stands: initialize and update."""
    points_to = _named(target, Reader.key_or_none)
    initialize = _both(_named("authority", Reader.key_or_none), points_to)
    return {
        0: Shape(f"initialize{name}", ("mint",), initialize),
        1: Shape(f"update{name}", ("mint",), points_to, _AUTHORITY),
    }


_TRANSFER_FEE = 26
_WITHDRAW_FROM_ACCOUNTS, _HARVEST = (_TRANSFER_FEE, 3), (_TRANSFER_FEE, 4)
_EXTENSIONS: dict[int, dict[int, Shape]] = {
    _TRANSFER_FEE: {
        0: Shape(
            "initializeTransferFeeConfig",
            ("mint",),
            _both(
                _named("transferFeeConfigAuthority", _option),
                _named("withdrawWithheldAuthority", _option),
                _fee,
            ),
        ),
        1: Shape("transferCheckedWithFee", _MOVE_CHECKED, _with_fee, _AUTHORITY),
        2: Shape("withdrawWithheldTokensFromMint", ("mint", "feeRecipient"), None, _WITHDRAW_AUTHORITY),
        4: Shape("harvestWithheldTokensToMint", ("mint",)),
        5: Shape("setTransferFee", ("mint",), _fee, _FEE_AUTHORITY),
    },
    28: {
        0: Shape("initializeDefaultAccountState", ("mint",), _state),
        1: Shape("updateDefaultAccountState", ("mint",), _state, _FREEZE_AUTHORITY),
    },
    30: {
        0: Shape("enableRequiredMemoTransfers", ("account",), None, _OWNER),
        1: Shape("disableRequiredMemoTransfers", ("account",), None, _OWNER),
    },
    33: {
        0: Shape(
            "initializeInterestBearingConfig",
            ("mint",),
            lambda r: {"rateAuthority": r.key_or_none(), "rate": r.i16()},
        ),
        1: Shape("updateInterestBearingConfigRate", ("mint",), lambda r: {"newRate": r.i16()}, _RATE_AUTHORITY),
    },
    34: {
        0: Shape("enableCpiGuard", ("account",), None, _OWNER),
        1: Shape("disableCpiGuard", ("account",), None, _OWNER),
    },
    36: _pointer("TransferHook", "programId"),
    39: _pointer("MetadataPointer", "metadataAddress"),
    40: _pointer("GroupPointer", "groupAddress"),
    41: _pointer("GroupMemberPointer", "memberAddress"),
    43: {
        0: Shape(
            "initializeScaledUiAmountConfig",
            ("mint",),
            lambda r: {"authority": r.key_or_none(), "multiplier": r.f64_text()},
        ),
        1: Shape(
            "updateMultiplier",
            ("mint",),
            lambda r: {"newMultiplier": r.f64_text(), "newMultiplierTimestamp": r.i64()},
            _AUTHORITY,
        ),
    },
    44: {
        0: Shape("initializePausableConfig", ("mint",), lambda r: {"authority": r.key()}),
        1: Shape("pause", ("mint",), None, _AUTHORITY),
        2: Shape("resume", ("mint",), None, _AUTHORITY),
    },
}


def _interface(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:_DISCRIMINATOR_BYTES]


_INTERFACES = {
    _interface("spl_token_metadata_interface:initialize_account"): Shape(
        "initializeTokenMetadata",
        ("metadata", "updateAuthority", "mint", "mintAuthority"),
        lambda r: {"name": _string(r), "symbol": _string(r), "uri": _string(r)},
    ),
    _interface("spl_token_metadata_interface:updating_field"): Shape(
        "updateTokenMetadataField", ("metadata", "updateAuthority"), _metadata_field
    ),
    _interface("spl_token_metadata_interface:remove_key_ix"): Shape(
        "removeTokenMetadataKey",
        ("metadata", "updateAuthority"),
        lambda r: {"idempotent": r.flag(), "key": _string(r)},
    ),
    _interface("spl_token_metadata_interface:update_the_authority"): Shape(
        "updateTokenMetadataAuthority",
        ("metadata", "updateAuthority"),
        lambda r: {"newAuthority": r.key_or_none()},
    ),
    _interface("spl_token_metadata_interface:emitter"): Shape("emitTokenMetadata", ("metadata",), _emitted_range),
    _interface("spl_token_group_interface:initialize_token_group"): Shape(
        "initializeTokenGroup",
        ("group", "mint", "mintAuthority"),
        lambda r: {"updateAuthority": r.key_or_none(), "maxSize": r.u64()},
    ),
    _interface("spl_token_group_interface:update_group_max_size"): Shape(
        "updateTokenGroupMaxSize", ("group", "updateAuthority"), lambda r: {"maxSize": r.u64()}
    ),
    _interface("spl_token_group_interface:update_authority"): Shape(
        "updateTokenGroupAuthority", ("group", "updateAuthority"), lambda r: {"newAuthority": r.key_or_none()}
    ),
    _interface("spl_token_group_interface:initialize_member"): Shape(
        "initializeTokenGroupMember", ("member", "memberMint", "memberMintAuthority", "group", "groupUpdateAuthority")
    ),
}
