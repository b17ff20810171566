"""Accounts as `solana account ADDRESS --output json` writes them, for --account and --account-dir."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey

from localnet.base58 import b58decode

MAX_ACCOUNT_BYTES = 10 * 2**20


class AccountFileError(ValueError):
    """A file that holds no account; the message names it and what is wrong."""


class _Content(msgspec.Struct, rename="camel"):
    lamports: int
    data: tuple[str, str]
    owner: str
    executable: bool
    rent_epoch: int = 0


class _File(msgspec.Struct):
    pubkey: str
    account: _Content


def read_account(path: Path) -> tuple[Pubkey, Account]:
    """The address and the account of one file. Raises AccountFileError."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        content = file.account
        data = _decoded(*content.data)
        if len(data) > MAX_ACCOUNT_BYTES:
            raise ValueError(f"its data has {len(data)} bytes; an account has at most {MAX_ACCOUNT_BYTES}")
        owner = Pubkey.from_string(content.owner)
        account = Account(content.lamports, data, owner, content.executable, content.rent_epoch)
        return Pubkey.from_string(file.pubkey), account
    except OSError as error:
        raise AccountFileError(f"cannot read the account file {path}: {error.strerror}") from error
    except (ValueError, OverflowError) as error:
        raise AccountFileError(
            f"{path} is no account file ({error}); `solana account ADDRESS --output json --output-file FILE` makes one"
        ) from error


def read_account_folder(folder: Path) -> Iterator[tuple[Pubkey, Account]]:
    """Every *.json file of a folder. Raises AccountFileError."""
    if not folder.is_dir():
        raise AccountFileError(f"{folder} is not a folder; --account-dir names one with account files")
    for path in sorted(folder.glob("*.json")):
        yield read_account(path)


def _decoded(text: str, encoding: str) -> bytes:
    if encoding == "base64":
        return base64.b64decode(text, validate=True)
    if encoding == "base58":
        return b58decode(text)
    raise ValueError(f"its data is encoded as {encoding!r}; base64 and base58 can be read")
