"""`pouw receipt`: proof that a task was paid, checked by anybody with nothing but one L1 read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import text_of
from cli.options import OnL1, OnL2, expanded
from cli.output import emit
from cli.runtime import CommandError, run
from cli.settings import JsonOption
from cli.task_commands import TaskArgument

receipt_app = typer.Typer(help="Receipts: proof that a record is in a checkpoint on L1.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(receipt_app, name="receipt", rich_help_panel="Have work done")


@receipt_app.command("get")
@expanded
def get(
    task_id: TaskArgument,
    outfile: Annotated[Path | None, typer.Option("--outfile", "-o", help="File to write; stdout if not given.")] = None,
    *,
    at: OnL2,
) -> None:
    """Fetch a task's receipt from the sequencer, to be kept."""

    async def command() -> Any:
        async with at.l2() as client:
            return await client.call("getReceipt", {"taskId": task_id})

    text = json.dumps(run(command))
    if outfile is None:
        print(text)
    else:
        outfile.write_text(text + "\n")


@receipt_app.command("verify")
@expanded
def verify(
    receipt: Annotated[str, typer.Argument(help="The receipt's file, or - for stdin.")],
    task_id: Annotated[str | None, typer.Option("--task", help="The task that it must be about.")] = None,
    *,
    at: OnL1,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt against L1. The sequencer is not asked; L1 is read once (Config and the checkpoint in one call)."""
    from settlement import accounts, pda
    from settlement.receipt import Receipt, check_proof, check_settled
    from settlement.signing import Domain

    given = Receipt.from_json(_read(receipt))
    payment = check_proof(given)
    if task_id is not None and payment.task.hex() != task_id:
        raise CommandError(f"the receipt is about task {payment.task.hex()}, not {task_id}")

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            config_address = pda.config(client.program_id)
            address = pda.checkpoint(client.program_id, given.message.epoch)
            _, (config, checkpoint) = await client.get_accounts([config_address, address], "finalized")
            if config is None or config.owner != client.program_id:
                raise CommandError(f"program {client.program_id} is not initialised at `finalized` on {client.url}")
            if checkpoint is None or checkpoint.owner != client.program_id:
                raise CommandError(
                    f"there is no checkpoint of epoch {given.message.epoch} at `finalized` on {client.url}"
                )
            genesis = accounts.decode_config(config_address, config.data).genesis_hash
            domain = Domain(genesis, bytes(client.program_id))
            settled = accounts.decode_checkpoint(address, checkpoint.data)
        check_settled(given, settled, domain)
        return {
            "valid": True,
            "status": settled.status.name.lower(),
            "task_id": payment.task.hex(),
            "worker_node": payment.node.hex(),
            "paid_lamports": payment.lamports,
            "epoch": settled.epoch,
            "checkpoint_hash": settled.hash.hex(),
            "checkpoint_address": str(address),
        }

    emit(run(command), as_json)


def _read(name: str) -> Any:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
    except FileNotFoundError:
        raise CommandError(f"there is no file {name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise text_of(name, error) from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(f"{name} is not JSON: {error}") from None
