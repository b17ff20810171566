"""Where commands find L1, the sequencer, the program and the caller's key, in one order for all: the flag, the environment, Solana's
own configuration file, the default of a localnet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from cli.output import warn

if TYPE_CHECKING:
    from solders.keypair import Keypair
    from solders.pubkey import Pubkey

DEFAULT_URL = "http://127.0.0.1:8899"
DEFAULT_SEQUENCER = "http://127.0.0.1:8910"

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        "-u",
        help="L1's JSON-RPC: a URL, or localhost, devnet, testnet, mainnet-beta; several, with commas between, are asked as one, and a majority"
        " decides. (Else POUW_URL, then Solana's configuration.)",
    ),
]
SequencerOption = Annotated[
    str | None,
    typer.Option("--sequencer", help=f"The sequencer's URL. (Else POUW_SEQUENCER, then {DEFAULT_SEQUENCER}.)"),
]
KeypairOption = Annotated[
    Path | None,
    typer.Option("--keypair", "-k", help="Your Solana key file. (Else POUW_KEYPAIR, then Solana's configuration.)"),
]
ProgramOption = Annotated[
    str | None,
    typer.Option("--program-id", help="The settlement program. (Else POUW_PROGRAM_ID, then the committed build's.)"),
]
PayerOption = Annotated[Path | None, typer.Option("--payer", help="Who pays fees and rent, if not --keypair.")]
BlsOption = Annotated[
    Path, typer.Option("--bls-keypair", help="The validator's BLS key file (`pouw keys new --bls-outfile`).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON to stdout and nothing else.")]


def l1_urls(flag: str | None) -> tuple[str, ...]:
    """All nodes of L1 that were named, each once."""
    from settlement.keys import read_solana_config, resolve_url

    given = flag or os.environ.get("POUW_URL") or read_solana_config().json_rpc_url or DEFAULT_URL
    return tuple(dict.fromkeys(_checked_url(resolve_url(one.strip()), "--url") for one in given.split(",")))


def sequencer_url(flag: str | None) -> str:
    return _checked_url((flag or os.environ.get("POUW_SEQUENCER") or DEFAULT_SEQUENCER).rstrip("/"), "--sequencer")


def _checked_url(url: str, name: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise typer.BadParameter(f"{url!r} is no URL as http://127.0.0.1:8899", param_hint=name)
    return url


def keypair_path(flag: Path | None) -> Path:
    from settlement.keys import DEFAULT_KEYPAIR_PATH, read_solana_config

    if flag is not None:
        return flag
    environment = os.environ.get("POUW_KEYPAIR")
    if environment:
        return Path(environment)
    return read_solana_config().keypair_path or DEFAULT_KEYPAIR_PATH.expanduser()


def keypair(flag: Path | None) -> Keypair:
    from settlement.keys import read_keypair

    return read_keypair(keypair_path(flag), warn)


def program_text(flag: str | None) -> str | None:
    """The program id that was asked for, checked; None where the committed build's is meant."""
    given = flag or os.environ.get("POUW_PROGRAM_ID")
    return str(public_key(given, "--program-id")) if given else None


def program_id(flag: str | None) -> Pubkey:
    from settlement import idl

    given = program_text(flag)
    return public_key(given, "--program-id") if given else idl.committed().address


def public_key(text: str, name: str) -> Pubkey:
    from solders.pubkey import Pubkey

    try:
        return Pubkey.from_string(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a base58 public key of 32 bytes", param_hint=name) from None
