"""`pouw keys`: new key files, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import SigningOnL1, expanded
from cli.output import emit, warn
from cli.runtime import run
from cli.settings import BlsOption, JsonOption, KeypairOption

keys_app = typer.Typer(help="Make and show key files.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(keys_app, name="keys", rich_help_panel="Set up a network")


@keys_app.command("new")
def new(
    outfile: Annotated[
        Path | None, typer.Option("--outfile", "-o", help="The ed25519 key file to write, as solana-keygen's.")
    ] = None,
    bls_outfile: Annotated[
        Path | None, typer.Option("--bls-outfile", help="The validator's BLS key file to write.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an ed25519 key, a BLS key, or both (mode 0600; nothing is overwritten)."""
    if outfile is None and bls_outfile is None:
        raise typer.BadParameter("name at least one file: --outfile for an ed25519 key, --bls-outfile for a BLS key")
    for path in (outfile, bls_outfile):
        # Before anything is written, so that a refusal leaves no half of a pair.
        if path is not None and (path.exists() or path.is_symlink()):
            raise typer.BadParameter(f"{path} exists already; a key file is never overwritten")
    shown: dict[str, str] = {}
    if outfile is not None:
        from solders.keypair import Keypair

        from settlement.keys import write_keypair

        keypair = Keypair()
        write_keypair(outfile, keypair)
        shown |= {"public_key": str(keypair.pubkey()), "keypair": str(outfile)}
    if bls_outfile is not None:
        from settlement.bls import SecretKey
        from settlement.keys import write_bls_key

        secret = SecretKey.generate()
        write_bls_key(bls_outfile, secret.to_bytes(), secret.public_key)
        shown |= {"bls_public_key": secret.public_key.hex(), "bls_keypair": str(bls_outfile)}
    emit(shown, as_json)


@keys_app.command("show")
def show(
    keypair: KeypairOption = None,
    bls_keypair: Annotated[Path | None, typer.Option("--bls-keypair", help="A BLS key file.")] = None,
    address: Annotated[bool, typer.Option("--address", help="Print --keypair's public key and nothing else.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the public keys of key files."""
    from cli.settings import keypair_path
    from settlement.keys import read_bls_secret, read_keypair
    from settlement.signing import node_id

    if address:
        print(read_keypair(keypair_path(keypair), warn).pubkey())
        return
    shown: dict[str, str] = {}
    if keypair is not None or bls_keypair is None:
        path = keypair_path(keypair)
        public_key = read_keypair(path, warn).pubkey()
        shown |= {"public_key": str(public_key), "node_id": node_id(bytes(public_key)).hex(), "keypair": str(path)}
    if bls_keypair is not None:
        from settlement.bls import SecretKey

        secret = SecretKey.from_bytes(read_bls_secret(bls_keypair, warn))
        shown |= {"bls_public_key": secret.public_key.hex(), "bls_keypair": str(bls_keypair)}
    emit(shown, as_json)


@keys_app.command("prove")
@expanded
def prove(
    bls_keypair: BlsOption,
    authority: Annotated[
        str | None, typer.Argument(help="The validator's authority (base58), if not --keypair's.")
    ] = None,
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Print what `register_validator` takes of a BLS key, in hex, for clients that cannot sign with it.

    The proof of possession holds for this authority, cluster and program only.
    """
    from settlement import pda
    from settlement.bls import SecretKey
    from settlement.hash_to_curve import hints
    from settlement.keys import read_bls_secret
    from settlement.messages import proof_of_possession_digest

    secret = SecretKey.from_bytes(read_bls_secret(bls_keypair, warn))
    account = at.account(authority)

    async def command() -> dict[str, str]:
        async with at.l1() as client:
            digest = proof_of_possession_digest(await client.domain(), bytes(account), secret.public_key)
            return {
                "authority": str(account),
                "bls_public_key": secret.public_key.hex(),
                "proof_of_possession": secret.sign(digest).hex(),
                "hints": hints(digest).hex(),
                "validator": str(pda.validator(client.program_id, secret.public_key)),
            }

    emit(run(command), as_json)
