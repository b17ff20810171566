"""Accounts in agave's JSON shapes (solana-account-decoder)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from localnet import zstd
from localnet.base58 import b58encode
from localnet.errors import INVALID_REQUEST, RpcError
from localnet.parse_account import AccountAt, parse_account
from localnet.programs import RENT_EXEMPT_EPOCH

MAX_BASE58_BYTES = 128
_MADE_BY_GENESIS = frozenset(
    Pubkey.from_string(text)
    for text in ("NativeLoader1111111111111111111111111111111", "Sysvar1111111111111111111111111111111111111")
)


@dataclass(frozen=True, slots=True)
class AccountEncoder:
    """How one call wants its accounts. `encoding` is binary (base58 without a label), base58, base64, base64+zstd or
    jsonParsed, which gives base64 for what is not parsable. `data_slice` is (offset, length); a parsed account is
    whole. `account_at` and `unix_time` are of the slot that is read: a token account is shown by its mint's decimals.
    """

    encoding: str
    data_slice: tuple[int, int] | None
    account_at: AccountAt
    unix_time: int

    def json(self, address: Pubkey, account: Account) -> dict[str, Any]:
        """Raises RpcError for base58 of data that is too long."""
        return {
            "data": self._data(address, account),
            "executable": account.executable,
            "lamports": account.lamports,
            "owner": str(account.owner),
            # LiteSVM leaves 0 everywhere; on a cluster only what genesis makes by itself has that.
            "rentEpoch": 0 if account.owner in _MADE_BY_GENESIS else RENT_EXEMPT_EPOCH,
            "space": len(account.data),
        }

    def _data(self, address: Pubkey, account: Account) -> Any:
        if self.encoding == "jsonParsed":
            parsed = parse_account(address, account, self.account_at, self.unix_time)
            if parsed is not None:
                return parsed
        data = bytes(account.data)
        if self.data_slice is not None:
            offset, length = self.data_slice
            data = data[offset : offset + length]
        if self.encoding in ("binary", "base58"):
            if len(data) > MAX_BASE58_BYTES:
                raise RpcError(
                    INVALID_REQUEST,
                    f"Encoded binary (base 58) data should be less than {MAX_BASE58_BYTES} bytes, "
                    "please use Base64 encoding.",
                )
            return b58encode(data) if self.encoding == "binary" else [b58encode(data), "base58"]
        if self.encoding == "base64+zstd":
            return [base64.b64encode(zstd.frame(data)).decode(), "base64+zstd"]
        return [base64.b64encode(data).decode(), "base64"]
