"""Key files and Solana's own configuration file.

A key file is what `solana-keygen` writes: a JSON array of 64 numbers, the ed25519 seed and then the public key. BLS keys have no
such custom, so ours is a JSON object with the scheme's name, the secret scalar and the public key. New files are made with mode
0600 and never overwrite anything.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from solders.keypair import Keypair

from settlement.errors import KeyFileError

SOLANA_CONFIG_PATH = Path("~/.config/solana/cli/config.yml")
DEFAULT_KEYPAIR_PATH = Path("~/.config/solana/id.json")
BLS_SCHEME = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
MONIKERS = {
    "localhost": "http://127.0.0.1:8899",
    "localnet": "http://127.0.0.1:8899",
    "devnet": "https://api.devnet.solana.com",
    "testnet": "https://api.testnet.solana.com",
    "mainnet-beta": "https://api.mainnet-beta.solana.com",
}

Warn = Callable[[str], None]


@dataclass(frozen=True)
class SolanaConfig:
    """The two settings of Solana's CLI configuration that we honour; None where the file has none."""

    keypair_path: Path | None = None
    json_rpc_url: str | None = None


def read_keypair(path: Path, warn: Warn | None = None) -> Keypair:
    """The ed25519 keypair in `path`. `warn` is told when others may read the file. KeyFileError when it is no key file."""
    text = _read_secret(path, warn)
    try:
        numbers = json.loads(text)
    except json.JSONDecodeError:
        raise KeyFileError(f"{path} is not a Solana key file: expected a JSON array of 64 numbers") from None
    if not isinstance(numbers, list) or len(numbers) != 64 or not all(_is_byte(n) for n in numbers):
        raise KeyFileError(f"{path} is not a Solana key file: expected a JSON array of 64 numbers from 0 to 255")
    try:
        return Keypair.from_bytes(bytes(numbers))
    except ValueError:
        raise KeyFileError(f"{path}: the second 32 numbers are not the public key of the first 32") from None


def write_keypair(path: Path, keypair: Keypair) -> None:
    """Writes a new key file, mode 0600; KeyFileError if `path` exists."""
    _write_secret(path, json.dumps(list(bytes(keypair)), separators=(",", ":")))


def read_bls_secret(path: Path, warn: Warn | None = None) -> bytes:
    """The 32-byte big-endian secret scalar in `path`. Whether it is below the group's order is for settlement.bls to judge."""
    text = _read_secret(path, warn)
    wanted = f'a JSON object with "scheme": "{BLS_SCHEME}", "secret" and "public"'
    try:
        content = json.loads(text)
        scheme, secret = content["scheme"], bytes.fromhex(content["secret"])
    except (json.JSONDecodeError, TypeError, KeyError, ValueError):
        raise KeyFileError(f"{path} is not a BLS key file: expected {wanted}") from None
    if scheme != BLS_SCHEME:
        raise KeyFileError(f"{path}: scheme {scheme!r}, expected {BLS_SCHEME}")
    if len(secret) != 32:
        raise KeyFileError(f"{path}: the secret has {len(secret)} bytes, expected 32")
    return secret


def write_bls_key(path: Path, secret: bytes, public_key: bytes) -> None:
    """`secret`: 32 bytes; `public_key`: 48 bytes compressed. Mode 0600; KeyFileError if `path` exists."""
    _write_secret(path, json.dumps({"scheme": BLS_SCHEME, "secret": secret.hex(), "public": public_key.hex()}))


def read_solana_config(path: Path | None = None) -> SolanaConfig:
    """Solana's CLI configuration; an empty one when there is no file. KeyFileError for what is not flat `key: value` YAML."""
    path = (path or SOLANA_CONFIG_PATH).expanduser()
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return SolanaConfig()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} cannot be read: {error}") from None
    values: dict[str, str] = {}
    section = ""
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.strip() in ("---", "...") or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t-":
            if not section:
                raise KeyFileError(f"{path}, line {number}: indented, but below no key")
            continue  # address_labels is a mapping of its own; nothing in it concerns us
        key, separator, value = line.partition(":")
        if not separator or not key.strip() or (value and value[0] not in " \t"):
            raise KeyFileError(f"{path}, line {number}: expected `key: value`, got {line!r}")
        values[key.strip()] = _scalar(value.strip(), path, number)
        section = "" if value.strip() else key.strip()
    keypair_path = values.get("keypair_path")
    return SolanaConfig(Path(keypair_path).expanduser() if keypair_path else None, values.get("json_rpc_url") or None)


def _scalar(value: str, path: Path, number: int) -> str:
    if value[:1] in ("'", '"'):
        quote = value[0]
        if len(value) < 2 or value[-1] != quote or quote in value[1:-1] or "\\" in value:
            raise KeyFileError(f"{path}, line {number}: quoting that is not understood: {value}")
        return value[1:-1]
    if value[:1] in ("|", ">", "&", "*", "!", "[", "%", "@", "`"):
        raise KeyFileError(f"{path}, line {number}: only plain and quoted values are understood, got {value}")
    return value.split(" #", 1)[0].rstrip()


def resolve_url(url: str) -> str:
    """A JSON-RPC URL from a URL or one of the Solana CLI's monikers or their first letters (l, d, t, m)."""
    if "://" in url:
        return url
    for moniker, address in MONIKERS.items():
        if url in (moniker, moniker[0]):
            return address
    raise KeyFileError(f"{url!r} is neither a URL (http://…) nor one of {', '.join(MONIKERS)}")


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _read_secret(path: Path, warn: Warn | None) -> str:
    path = path.expanduser()
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except FileNotFoundError:
        raise KeyFileError(f"there is no key file {path}; `pouw keys new` makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} cannot be read: {error}") from None
    if warn is not None and mode & (stat.S_IRGRP | stat.S_IROTH):
        warn(f"{path} holds a secret and has mode {stat.S_IMODE(mode):04o}: others can read it; chmod 600 it")
    return text


def _write_secret(path: Path, text: str) -> None:
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} exists already; a key file is never overwritten") from None
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)  # a umask cannot widen the mode, but a default ACL can
        file.write(text)
        file.flush()
        os.fsync(descriptor)
