"""`pouw challenge`: demands on a posted checkpoint, and what follows when it is void. --keypair pays, and gets what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import OnL1, SigningOnL1, expanded
from cli.output import emit, emit_rows
from cli.runtime import CommandError
from cli.settings import JsonOption, sequencer_url

if TYPE_CHECKING:
    from solders.instruction import Instruction
    from solders.keypair import Keypair
    from solders.pubkey import Pubkey

    from settlement.accounts import Checkpoint
    from settlement.client import L1Client
    from settlement.dispute_accounts import Demand

challenge_app = typer.Typer(help="Make a checkpoint's signers show what they signed.", no_args_is_help=True)
Epoch = Annotated[int, typer.Argument(help="The checkpoint's epoch.", min=1)]
Index = Annotated[int, typer.Argument(help="Its index, from 0.", min=0, max=2**64 - 1)]


class What(StrEnum):
    CHUNK = "chunk"
    RECORD = "record"
    TRACE = "trace"


KINDS = {What.CHUNK: 1, What.RECORD: 2, What.TRACE: 3}
Kind = Annotated[What, typer.Argument(help="A chunk of the data, a record with its authorisation, or a trace entry.")]


def register(app: typer.Typer) -> None:
    app.add_typer(challenge_app, name="challenge", rich_help_panel="Run a part of a network")


async def _checkpoint(client: L1Client, epoch: int) -> Checkpoint:
    found = await client.fetch_checkpoint(epoch)
    if found is None:
        raise CommandError(f"L1 has no checkpoint {epoch}")
    return found


async def _demand(client: L1Client, epoch: int, kind: int, index: int) -> Demand:
    from settlement import pda
    from settlement.dispute_accounts import decode_demand

    address = pda.demand(client.program_id, epoch, kind, index)
    held = await client.get_account(address)
    if held is None:
        raise CommandError("there is no such demand")
    return decode_demand(address, bytes(held.data))


def _carry_out(at: Any, as_json: bool, build: Callable[[L1Client, Pubkey], Awaitable[Instruction]], epoch: int) -> None:
    """Sends one instruction, and prints the checkpoint as it is then."""

    async def sent(client: L1Client, signer: Keypair) -> dict[str, Any]:
        confirmed = await client.send_and_confirm([await build(client, signer.pubkey())], signer)
        found = await client.fetch_checkpoint(epoch)
        status = "closed" if found is None else found.status.name.lower()
        demands = 0 if found is None else found.open_demands
        return {"epoch": epoch, "status": status, "open_demands": demands, "signature": confirmed.signature}

    emit(at.act(sent), as_json)


@challenge_app.command("demand")
@expanded
def demand(epoch: Epoch, what: Kind, index: Index, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Demand, against a bond, that something under the checkpoint's roots be shown. Whoever shows it gets the bond."""
    from settlement import dispute_instructions

    async def build(client: L1Client, payer: Pubkey) -> Instruction:
        return dispute_instructions.open_demand(client.program_id, payer, epoch, KINDS[what], index)

    _carry_out(at, as_json, build, epoch)


@challenge_app.command("list")
@expanded
def list_demands(
    epoch: Annotated[int | None, typer.Argument(help="The checkpoint's epoch; without it, all.", min=1)] = None,
    *,
    at: OnL1,
    as_json: JsonOption = False,
) -> None:
    """The open demands, the first that must be answered first."""

    async def listed(client: L1Client) -> list[dict[str, Any]]:
        await client.check_cluster()
        slot = await client.get_slot()
        names = {kind: what.value for what, kind in KINDS.items()}
        return [
            {
                "epoch": found.epoch,
                "kind": names[found.kind],
                "index": found.index,
                "demander": str(found.demander),
                "answer_until_slot": found.answer_until_slot,
                "slots_left": max(found.answer_until_slot - slot, 0),
                "bond_lamports": found.bond_lamports,
            }
            for found in await client.fetch_demands(epoch)
        ]

    columns = ("epoch", "kind", "index", "answer_until_slot", "slots_left", "bond_lamports", "demander")
    where = "" if epoch is None else f" on epoch {epoch}"
    emit_rows(at.ask(listed), columns, as_json, f"no demand is open{where}")


@challenge_app.command("answer")
@expanded
def answer(
    epoch: Epoch,
    what: Kind,
    index: Index,
    *,
    batch: Annotated[
        Path | None,
        typer.Option(help="A file with the bytes under the data root: the blob dataSha256 of getProposal."),
    ] = None,
    sequencer: Annotated[
        str | None, typer.Option(help="The sequencer that has the batch and its trace, if not --batch.")
    ] = None,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Answer a demand from the batch's bytes; --keypair gets the demand's bond. Only --sequencer has what lies under the trace root."""
    from settlement.answering import answer as carry_out

    if batch is not None and (sequencer is not None or what is What.TRACE):
        raise CommandError("a trace entry needs --sequencer, the rest either --batch or --sequencer")
    try:
        given = None if batch is None else batch.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {batch}: {error.strerror}") from None

    async def answered(client: L1Client, payer: Keypair) -> dict[str, Any]:
        found = await _demand(client, epoch, KINDS[what], index)
        checkpoint = await _checkpoint(client, epoch)
        data, trace = (given, None) if given is not None else await _fetch(sequencer, epoch, what is What.TRACE)
        confirmed = await carry_out(client, payer, checkpoint, found, data, trace)
        if confirmed is None:
            raise CommandError("somebody else has answered this demand")
        after = await _checkpoint(client, epoch)
        return {"epoch": epoch, "open_demands": after.open_demands, "signature": confirmed.signature}

    emit(at.act(answered), as_json)


async def _fetch(sequencer: str | None, epoch: int, traced: bool) -> tuple[bytes, list[bytes] | None]:
    """The bytes under the epoch's data root, and its state roots if `traced`. Whether they are is checked against L1."""
    from settlement.sequencer_client import SequencerClient

    async with SequencerClient(sequencer_url(sequencer)) as client:
        checkpoint = await client.call("getCheckpoint", {"epoch": epoch})
        data = await client.get_blob(checkpoint["dataSha256"])
        if not traced:
            return data, None
        return data, [bytes.fromhex(root) for root in (await client.call("getTrace", {"epoch": epoch}))["stateRoots"]]


@challenge_app.command("timeout")
@expanded
def timeout(epoch: Epoch, what: Kind, index: Index, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Have a checkpoint rejected whose demand nobody answered in time."""
    from settlement import dispute_instructions

    async def build(client: L1Client, payer: Pubkey) -> Instruction:
        found = await _demand(client, epoch, KINDS[what], index)
        checkpoint, place = await _checkpoint(client, epoch), (found.kind, index)
        return dispute_instructions.timeout_demand(client.program_id, payer, checkpoint, place, found.demander)

    _carry_out(at, as_json, build, epoch)


@challenge_app.command("return")
@expanded
def give_back(epoch: Epoch, what: Kind, index: Index, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Give a demand's bond back when its checkpoint fell for another reason, or after the escape."""
    from settlement import dispute_instructions

    async def build(client: L1Client, payer: Pubkey) -> Instruction:
        found = await _demand(client, epoch, KINDS[what], index)
        place = (found.kind, index)
        return dispute_instructions.return_demand(client.program_id, payer, epoch, place, found.demander)

    _carry_out(at, as_json, build, epoch)


@challenge_app.command("void")
@expanded
def void(epoch: Epoch, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Give the poster's bond back for a checkpoint that can never be final."""
    from settlement import dispute_instructions

    async def build(client: L1Client, payer: Pubkey) -> Instruction:
        poster = (await _checkpoint(client, epoch)).poster
        return dispute_instructions.void_checkpoint(client.program_id, payer, epoch, poster)

    _carry_out(at, as_json, build, epoch)


@challenge_app.command("close")
@expanded
def close(epoch: Epoch, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Close a checkpoint that nothing needs any more; its rent goes back to the poster."""
    from settlement import dispute_instructions

    async def build(client: L1Client, payer: Pubkey) -> Instruction:
        poster = (await _checkpoint(client, epoch)).poster
        return dispute_instructions.close_checkpoint(client.program_id, payer, epoch, poster)

    _carry_out(at, as_json, build, epoch)
