"""`pouw transfer`: lamports from one L1 account to another, so that one key can pay for the rest of a network where faucets are stingy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import settings
from cli.options import SigningOnL1, expanded
from cli.output import emit, warn
from cli.runtime import run
from cli.settings import JsonOption


def register(app: typer.Typer) -> None:
    app.command("transfer", rich_help_panel="Move money")(expanded(transfer))


def transfer(
    lamports: Annotated[int, typer.Argument(help="Lamports to send on L1; 1 SOL is 1000000000.", min=1)],
    recipient: Annotated[str, typer.Argument(help="Who gets them: a public key, or a key file.")],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Send lamports of --keypair's on L1 to somebody else."""
    from solders.system_program import TransferParams
    from solders.system_program import transfer as system_transfer

    from settlement.keys import read_keypair

    payer = at.signer()
    is_file = Path(recipient).expanduser().is_file()
    to = read_keypair(Path(recipient), warn).pubkey() if is_file else settings.public_key(recipient, "RECIPIENT")

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            send = system_transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports))
            done = await client.send_and_confirm([send], payer)
            return {
                "recipient": str(to),
                "lamports": lamports,
                "recipient_l1_lamports": await client.get_balance(to),
                "signature": done.signature,
                "slot": done.slot,
            }

    emit(run(command), as_json)
