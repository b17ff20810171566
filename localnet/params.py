"""What the methods' parameters look like, and how raw JSON becomes them. Unknown fields are ignored, as agave does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey
from solders.signature import Signature

from localnet.base58 import b58decode
from localnet.base64_text import b64decode
from localnet.commitment import Commitment
from localnet.errors import RpcError, invalid_params
from localnet.token_state import is_token_account

# msgspec's bounds end at 2^63 - 1, so `convert` looks at the upper one.
U64 = Annotated[int, msgspec.Meta(ge=0)]
MAX_U64 = 2**64 - 1
U8 = Annotated[int, msgspec.Meta(ge=0, le=255)]
AccountEncoding = Literal["binary", "base58", "base64", "base64+zstd", "jsonParsed"]
TransactionEncoding = Literal["binary", "base58", "base64", "json", "jsonParsed"]

MAX_FILTERS = 4
MAX_FILTER_BYTES = 128
MAX_FILTER_TEXT = 175  # base58 of 128 bytes; the base64 form is no longer than 172

# Older clients still name them; agave takes every name that it does not know for the default.
FORMER_COMMITMENTS = ("max", "recent", "root", "single", "singleGossip")

T = TypeVar("T")


class CommitmentConfig(msgspec.Struct, rename="camel"):
    commitment: Commitment | None = None


class ContextConfig(CommitmentConfig, rename="camel"):
    min_context_slot: U64 | None = None


class DataSlice(msgspec.Struct):
    offset: U64
    length: U64


class AccountConfig(ContextConfig, rename="camel"):
    encoding: AccountEncoding | None = None
    data_slice: DataSlice | None = None

    @property
    def slice(self) -> tuple[int, int] | None:
        return None if self.data_slice is None else (self.data_slice.offset, self.data_slice.length)


class Memcmp(msgspec.Struct):
    offset: U64
    bytes: str | list[U8]
    encoding: Literal["binary", "base58", "base64", "bytes"] | None = None


class Filter(msgspec.Struct, rename="camel"):
    data_size: U64 | None = None
    memcmp: Memcmp | None = None


class ProgramAccountsConfig(AccountConfig, rename="camel"):
    filters: list[Filter | Literal["tokenAccountState"]] | None = None
    with_context: bool | None = None
    sort_results: bool | None = None


class TokenAccountsFilter(msgspec.Struct, rename="camel"):
    """Exactly one of the two."""

    mint: str | None = None
    program_id: str | None = None


class SendConfig(msgspec.Struct, rename="camel"):
    skip_preflight: bool = False
    preflight_commitment: Commitment | None = None
    encoding: TransactionEncoding | None = None
    max_retries: U64 | None = None
    min_context_slot: U64 | None = None


class SimulateAccounts(msgspec.Struct):
    addresses: list[str]
    encoding: AccountEncoding | None = None


class SimulateConfig(ContextConfig, rename="camel"):
    sig_verify: bool = False
    replace_recent_blockhash: bool = False
    encoding: TransactionEncoding | None = None
    accounts: SimulateAccounts | None = None
    inner_instructions: bool = False


class StatusConfig(msgspec.Struct, rename="camel"):
    search_transaction_history: bool = False


class SignaturesConfig(ContextConfig, rename="camel"):
    before: str | None = None
    until: str | None = None
    limit: U64 | None = None


class TransactionConfig(ContextConfig, rename="camel"):
    encoding: TransactionEncoding | None = None
    max_supported_transaction_version: U8 | None = None


class BlockConfig(TransactionConfig, rename="camel"):
    transaction_details: Literal["full", "signatures", "none", "accounts"] | None = None
    rewards: bool | None = None


class AirdropConfig(ContextConfig, rename="camel"):
    recent_blockhash: str | None = None


class LeaderScheduleConfig(CommitmentConfig, rename="camel"):
    identity: str | None = None


class SlotRange(msgspec.Struct, rename="camel"):
    first_slot: U64
    last_slot: U64 | None = None


class BlockProductionConfig(CommitmentConfig, rename="camel"):
    identity: str | None = None
    range: SlotRange | None = None


class VoteAccountsConfig(CommitmentConfig, rename="camel"):
    """The one validator is never delinquent, so the options about delinquents change nothing."""

    vote_pubkey: str | None = None
    keep_unstaked_delinquents: bool | None = None
    delinquent_slot_distance: U64 | None = None


class EpochConfig(ContextConfig, rename="camel"):
    epoch: U64 | None = None


class SupplyConfig(CommitmentConfig, rename="camel"):
    exclude_non_circulating_accounts_list: bool = False


class LargestAccountsConfig(CommitmentConfig, rename="camel"):
    filter: Literal["circulating", "nonCirculating"] | None = None
    sort_results: bool | None = None


class SignatureSubscribeConfig(ContextConfig, rename="camel"):
    enable_received_notification: bool | None = None


def convert(raw: Any, wanted: Any) -> Any:
    """Raises RpcError -32602 that says what was expected and where."""
    if isinstance(raw, dict) and raw.get("commitment") in FORMER_COMMITMENTS:
        raw = raw | {"commitment": None}
    beyond = _beyond_u64(raw)
    if beyond is not None:
        raise invalid_params(f"Invalid params: Expected `int` <= {MAX_U64} - at `{beyond}`.")
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as error:
        raise invalid_params(f"Invalid params: {error}.") from error


def _beyond_u64(raw: Any) -> str | None:
    """Where an integer stands that no field can hold. Not recursive: what nobody asked for may be nested deeply."""
    waiting: list[tuple[str, Any]] = [("$", raw)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, int) and value > MAX_U64:
            return path
        if isinstance(value, dict):
            waiting += [(f"{path}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
    return None


def _parsed(text: str, parse: Callable[[str], T], length: int, prefix: str = "Invalid param: ") -> T:
    try:
        return parse(text)
    except (ValueError, ParseHashError):
        raise invalid_params(prefix + _why_not(text, length)) from None


def _why_not(text: str, length: int) -> str:
    try:
        return "WrongSize" if len(text) > 2 * length or len(b58decode(text)) != length else "Invalid"
    except ValueError:
        return "Invalid"


def pubkey(text: str) -> Pubkey:
    return _parsed(text, Pubkey.from_string, 32)


def signature(text: str) -> Signature:
    return _parsed(text, Signature.from_string, 64)


def blockhash(text: str, prefix: str = "Invalid param: ") -> Hash:
    return _parsed(text, Hash.from_string, 32, prefix)


class AccountFilters:
    """getProgramAccounts' filters, checked and decoded once. Raises RpcError -32602."""

    def __init__(self, filters: list[Filter | Literal["tokenAccountState"]] | None) -> None:
        if len(filters or ()) > MAX_FILTERS:
            raise invalid_params(f"Too many filters provided; max {MAX_FILTERS}")
        self.sizes: list[int] = []
        self.patterns: list[tuple[int, bytes]] = []
        self.only_token_accounts = False
        for entry in filters or ():
            if isinstance(entry, str):
                self.only_token_accounts = True
            elif (entry.data_size is None) == (entry.memcmp is None):
                raise invalid_params("Invalid params: invalid value: map, expected map with a single key.")
            elif entry.data_size is not None:
                self.sizes.append(entry.data_size)
            elif entry.memcmp is not None:
                self.patterns.append((entry.memcmp.offset, _memcmp_bytes(entry.memcmp)))

    def allow(self, data: bytes) -> bool:
        return (
            all(len(data) == size for size in self.sizes)
            and all(data[offset : offset + len(pattern)] == pattern for offset, pattern in self.patterns)
            and (not self.only_token_accounts or is_token_account(data))
        )


def _memcmp_bytes(memcmp: Memcmp) -> bytes:
    if isinstance(memcmp.bytes, str):
        if len(memcmp.bytes) > MAX_FILTER_TEXT:
            raise _too_large()
        try:
            is_base64 = memcmp.encoding == "base64"
            pattern = b64decode(memcmp.bytes) if is_base64 else b58decode(memcmp.bytes)
        except ValueError as error:
            kind = "Base64DecodeError" if is_base64 else "Base58DecodeError"
            raise invalid_params(f"Invalid param: {kind}({error})") from None
    else:
        pattern = bytes(memcmp.bytes)
    if len(pattern) > MAX_FILTER_BYTES:
        raise _too_large()
    return pattern


def _too_large() -> RpcError:
    return invalid_params("Invalid param: DataTooLarge")
