"""`pouw validator protection`: what a validator has signed, from one machine to another, before the second one starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import OnL1, expanded
from cli.output import emit
from cli.runtime import CommandError, run
from cli.settings import BlsOption, JsonOption

if TYPE_CHECKING:
    from validator.slashing_protection import SlashingProtection

protection_app = typer.Typer(help="Take a validator's slashing protection to another machine.", no_args_is_help=True)
DATABASE = "slashing_protection.sqlite"

DataDirArgument = Annotated[
    Path, typer.Option("--data-dir", help="The validator's data directory; the validator must not run.")
]


def register(validator_app: typer.Typer) -> None:
    validator_app.add_typer(protection_app, name="protection")
    protection_app.command("export")(expanded(export))
    protection_app.command("import")(expanded(import_))


def export(
    file: Annotated[Path, typer.Argument(help="The file to write; an existing one is not overwritten.")],
    *,
    data_dir: DataDirArgument,
    bls_keypair: BlsOption,
    at: OnL1,
    as_json: JsonOption = False,
) -> None:
    """Write down all that this BLS key has signed and that is not final on L1. The file is whole and on the disk when the command ends."""
    from settlement import durable

    if not (data_dir / DATABASE).exists():
        raise CommandError(
            f"there is no {DATABASE} in {data_dir}: name the data directory of the validator that signed"
        )
    if file.exists():
        raise CommandError(f"{file} is there already: name another file")
    with _open(data_dir, bls_keypair, at) as protection:
        interchange = protection.export()
    try:
        durable.write(file.with_name(f".{file.name}.partial"), file, json.dumps(interchange, indent=2).encode())
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}") from error
    part = interchange["data"][0]
    emit(
        {"file": str(file), "attestations": len(part["signed_attestations"]), "floor_epoch": part["floor_epoch"]},
        as_json,
    )


def import_(
    file: Annotated[Path, typer.Argument(help="What `pouw validator protection export` wrote, the newest there is.")],
    *,
    data_dir: DataDirArgument,
    bls_keypair: BlsOption,
    at: OnL1,
    as_json: JsonOption = False,
) -> None:
    """Take over what this BLS key has signed elsewhere; before the first start here, and after any backup was restored."""
    try:
        interchange: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        raise CommandError(f"{file} is no JSON: {error}") from error
    with _open(data_dir, bls_keypair, at) as protection:
        added = protection.import_(interchange)
        emit({"data_dir": str(data_dir), "new_attestations": added, "floor_epoch": protection.floor}, as_json)


def _open(data_dir: Path, bls_keypair: Path, at: OnL1) -> SlashingProtection:
    from settlement import bls
    from settlement.keys import read_bls_secret
    from validator.slashing_protection import SlashingProtection

    async def domain() -> Any:
        async with at.l1() as client:
            return await client.domain()

    secret = bls.SecretKey.from_bytes(read_bls_secret(bls_keypair))
    return SlashingProtection(data_dir / DATABASE, run(domain), bytes(secret.public_key))
