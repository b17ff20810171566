"""`pouw slash` and `pouw rewards`: what anybody may report or pay on L1, without anybody's permission."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import SigningOnL1, expanded
from cli.output import emit, emit_rows
from cli.runtime import CommandError
from cli.settings import JsonOption, public_key

if TYPE_CHECKING:
    from solders.keypair import Keypair

    from settlement.client import L1Client
    from settlement.slash_accounts import Offence
    from settlement.slashing import Evidence

slash_app = typer.Typer(help="Report validators that broke the rules.", no_args_is_help=True)
rewards_app = typer.Typer(help="Finality rewards.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    panel = "Run a part of a network"
    app.add_typer(slash_app, name="slash", rich_help_panel=panel)
    app.add_typer(rewards_app, name="rewards", rich_help_panel=panel)


@slash_app.command("report")
@expanded
def report(
    first: Annotated[
        Path, typer.Argument(help="JSON of a signed message: setVersion, message, signers (indexes), signature (hex).")
    ],
    second: Annotated[
        Path | None, typer.Argument(help="The other message; without it, the checkpoint that was posted for the epoch.")
    ] = None,
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Have everybody slashed who signed two messages of one epoch and attempt. --keypair gets the reporter's share. Can be run again."""
    from settlement.slashing import EvidenceError, report_equivocation

    given = _read(first), None if second is None else _read(second)

    async def reported(client: L1Client, reporter: Keypair) -> list[dict[str, Any]]:
        try:
            return [_row(offence) for offence in await report_equivocation(client, reporter, *given)]
        except EvidenceError as error:
            raise CommandError(f"nothing to report: {error}") from None

    emit_rows(at.act(reported), _COLUMNS, as_json, "nobody was slashed")


@slash_app.command("raise")
@expanded
def raise_slash(
    epoch: Annotated[int, typer.Argument(help="The epoch in which it equivocated.", min=1)],
    validator: Annotated[list[str], typer.Argument(help="Validator accounts, as `report` names them.")],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Take what lacks from those found equivocating before others were: who was first loses no less than who was last."""
    from settlement.slashing import fetch_offence, raise_equivocation

    addresses = [public_key(one, "VALIDATOR") for one in validator]

    async def raised(client: L1Client, reporter: Keypair) -> list[dict[str, Any]]:
        for address in addresses:
            await fetch_offence(client, address, epoch)
            await raise_equivocation(client, reporter, address, epoch)
        return [_row(await fetch_offence(client, address, epoch)) for address in addresses]

    emit_rows(at.act(raised), _COLUMNS, as_json, "nobody was slashed")


@slash_app.command("rejected")
@expanded
def rejected(
    epoch: Annotated[int, typer.Argument(help="The rejected epoch.", min=1)],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Have the signers of a rejected checkpoint slashed. --keypair gets the reporter's share. Can be run again."""
    from settlement.slashing import slash_rejected

    async def slashed(client: L1Client, reporter: Keypair) -> dict[str, Any]:
        indexes = await slash_rejected(client, reporter, epoch)
        pending = (await client.fetch_config()).pending_slashes
        return {"epoch": epoch, "slashed_indexes": indexes, "pending_slashes": pending}

    emit(at.act(slashed), as_json)


@rewards_app.command("pay")
@expanded
def pay(
    epoch: Annotated[int, typer.Argument(help="A finalized epoch; those before it are paid first.", min=1)],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Pay the poster and the signers of a finalized epoch from the treasury, and count who was absent. Can be run again."""
    from settlement.slashing import pay_rewards

    async def paid(client: L1Client, payer: Keypair) -> dict[str, Any]:
        return {"epoch": epoch, "rewarded_epochs": await pay_rewards(client, payer, epoch)}

    emit(at.act(paid), as_json)


_COLUMNS = ("validator", "epoch", "attempt", "applied_basis_points", "cut_lamports")


def _row(offence: Offence) -> dict[str, Any]:
    return {"validator": str(offence.validator), **{name: getattr(offence, name) for name in _COLUMNS[1:]}}


def _read(path: Path) -> Evidence:
    from settlement.slashing import Evidence, EvidenceError

    try:
        return Evidence.from_json(json.loads(path.read_text()))
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise CommandError(f"{path} is not JSON") from None
    except EvidenceError as error:
        raise CommandError(f"{path}: {error}") from None
