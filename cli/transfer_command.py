"""`pouw transfer`: lamports from one L1 account to another, so that one key can pay for the rest of a network where faucets are stingy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import settings
from cli.options import SigningOnL1, expanded
from cli.output import emit, warn
from cli.runtime import run
from cli.settings import JsonOption

if TYPE_CHECKING:
    from solders.pubkey import Pubkey


def register(app: typer.Typer) -> None:
    app.command("transfer", rich_help_panel="Move money")(expanded(transfer))


def transfer(
    lamports: Annotated[int, typer.Argument(help="Lamports for each of them; 1 SOL is 1000000000.", min=1)],
    recipients: Annotated[
        list[str], typer.Argument(metavar="RECIPIENT...", help="Who gets them: public keys, or key files.")
    ],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Send lamports of --keypair's on L1 to one or more others, to all of them or to none."""
    from solders.system_program import TransferParams
    from solders.system_program import transfer as system_transfer

    payer = at.signer()
    addresses = [_named(recipient) for recipient in recipients]

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            sends = [
                system_transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports))
                for to in addresses
            ]
            done = await client.send_and_confirm(sends, payer)
            return {
                "recipients": [str(to) for to in addresses],
                "lamports": lamports,
                "signature": done.signature,
                "slot": done.slot,
            }

    emit(run(command), as_json)


def _named(recipient: str) -> Pubkey:
    from settlement.keys import read_keypair

    if Path(recipient).expanduser().is_file():
        return read_keypair(Path(recipient), warn).pubkey()
    return settings.public_key(recipient, "RECIPIENT")
