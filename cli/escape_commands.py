"""`pouw escape`: when nothing was finalized for too long, everybody gets by proof what L2 holds of theirs. No sequencer is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import OnL1, SigningOnBoth, SigningOnL1, expanded
from cli.output import emit, emit_rows
from cli.settings import JsonOption

if TYPE_CHECKING:
    from solders.keypair import Keypair

    from settlement.accounts import InboxEntryAccount
    from settlement.client import L1Client
    from settlement.hatch import Hatch

escape_app = typer.Typer(help="Get everything out when the sequencer is gone.", no_args_is_help=True)
_REFUNDS = ("inbox_index", "beneficiary", "refunded_lamports")
_PAID = ("public_key", "paid_lamports", "signature")


def register(app: typer.Typer) -> None:
    app.add_typer(escape_app, name="escape", rich_help_panel="Move money")


@escape_app.command("status")
@expanded
def status(*, at: OnL1, as_json: JsonOption = False) -> None:
    """Whether the hatch is open, or from which slot on anybody may open it; what it still owes."""
    from settlement.hatch import hatch_of, to_refund

    async def looked(client: L1Client) -> dict[str, Any]:
        config = await client.check_cluster()
        shown = _shown(hatch_of(config, await client.get_slot()))
        if config.escaped:
            entries = await to_refund(client)
            shown |= {
                "entries_to_refund": len(entries),
                "to_refund_lamports": sum(one.lamports for one in entries),
                "to_claim_lamports": config.finalized.inbox_lamports - config.claimed_total,
            }
        return shown

    emit(at.ask(looked), as_json)


@escape_app.command("open")
@expanded
def open_hatch(*, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Open the hatch, for good: posting, deposits and claims are over, refunds and `pouw escape claim` begin. Anybody may; can be run again."""
    from settlement.hatch import open_hatch as open_on_l1

    async def opened(client: L1Client, payer: Keypair) -> dict[str, Any]:
        return _shown(await open_on_l1(client, payer))

    emit(at.act(opened), as_json)


@escape_app.command("refund")
@expanded
def refund(
    index: Annotated[int | None, typer.Argument(help="One inbox entry (`pouw inbox list`).", min=0)] = None,
    mine: Annotated[bool, typer.Option("--mine", help="All that belong to --keypair's account.")] = False,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody's.")] = False,
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Pay inbox entries back that no final epoch has taken, each to its beneficiary. --keypair pays the fee; can be run again."""
    from settlement.hatch import refund as refund_one
    from settlement.hatch import refund_all

    if (index is not None) + mine + everybody != 1:
        raise typer.BadParameter("name one of INDEX, --mine and --all")

    async def refunded(client: L1Client, payer: Keypair) -> list[dict[str, Any]]:
        if index is not None:
            return [_refunded(await refund_one(client, payer, index))]
        return [_refunded(one) for one in await refund_all(client, payer, payer.pubkey() if mine else None)]

    emit_rows(at.act(refunded), _REFUNDS, as_json, "nothing is left to be paid back")


@escape_app.command("claim")
@expanded
def claim(
    public_key: Annotated[str | None, typer.Argument(help="The L2 account, if not --keypair's.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every account of the state; needs --state.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="A validator's data folder: the proof comes from its state, and no sequencer is asked."
        ),
    ] = None,
    batches: Annotated[
        Path | None,
        typer.Option(
            "--batches", help="With --state: a folder with the batches of epochs that it lacks, as a sequencer's blobs."
        ),
    ] = None,
    *,
    at: SigningOnBoth,
    as_json: JsonOption = False,
) -> None:
    """Pay out all that an L2 account has in the last final state: balance, locked fees and stake, and what was not claimed. Anyone may for
    anyone; --keypair pays the fee."""
    from cli.escape_calls import claim_from_sequencer, claim_from_state

    if everybody and (state is None or public_key is not None):
        raise typer.BadParameter("--all goes with --state, and without a public key", param_hint="--all")
    if batches is not None and state is None:
        raise typer.BadParameter("the batches carry a state on: name that with --state", param_hint="--batches")
    account = at.account(public_key)

    async def claimed(client: L1Client, payer: Keypair) -> list[dict[str, Any]]:
        if state is None:
            paid = [await claim_from_sequencer(client, at, payer, account)]
        else:
            paid = await claim_from_state(client, payer, None if everybody else account, state, batches)
        return [
            {"public_key": str(one.public_key), "paid_lamports": one.lamports, "signature": one.signature}
            for one in paid
        ]

    emit_rows(at.act(claimed), _PAID, as_json, "everybody was paid already")


def _shown(hatch: Hatch) -> dict[str, Any]:
    state = "open" if hatch.escape_slot is not None else "may be opened" if hatch.may_open else "shut"
    return {
        "hatch": state,
        "slot": hatch.slot,
        "opens_slot": hatch.opens_slot,
        "escape_slot": hatch.escape_slot,
        "finalized_epoch": hatch.finalized_epoch,
        "finalized_slot": hatch.finalized_slot,
    }


def _refunded(entry: InboxEntryAccount) -> dict[str, Any]:
    return {
        "inbox_index": entry.index,
        "beneficiary": str(entry.beneficiary),
        "refunded_lamports": entry.lamports,
    }
