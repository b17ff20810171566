"""`pouw program`: deploys, upgrades and checks the settlement program on a cluster, without the Solana CLI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import settings
from cli.options import OnL1, Paying, SigningOnL1, expanded
from cli.output import emit, emit_rows, note, warn
from cli.program_work import Upkeep, confirmed_by_person, plan_rows, progress_bar
from cli.runtime import CommandError, run
from cli.settings import JsonOption, UrlOption

if TYPE_CHECKING:
    from solders.keypair import Keypair
    from solders.pubkey import Pubkey

    from settlement.client import L1Client
    from settlement.loader_deploy import Plan
    from settlement.loader_program import Keys, Program

program_app = typer.Typer(help="Deploy, upgrade and verify the program on L1.", no_args_is_help=True)

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="The program, as `just program-build --id ID -o FILE` writes it.")
]
ProgramKeyOption = Annotated[
    Path,
    typer.Option("--program-id", help="The new program's key file; its public key is the id that FILE is built for."),
]
ProgramNameOption = Annotated[
    str | None,
    typer.Option(
        "--program-id", help="The program: its id or its key file. (Else POUW_PROGRAM_ID, then the committed build's.)"
    ),
]
PriceOption = Annotated[
    int, typer.Option("--compute-unit-price", help="Priority fee, in micro-lamports a compute unit.", min=0)
]
SuccessorOption = Annotated[
    str | None,
    typer.Option("--upgrade-authority", help="Public key that gets the program in the end, if not --keypair's."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before lamports are spent.")]


@dataclass(frozen=True, kw_only=True)
class OnProgram(OnL1):
    """Reads from L1, about a program that is named by id or key file."""

    program_id: ProgramNameOption = None

    @property
    def program(self) -> Pubkey:
        return program_named(self.program_id)


@dataclass(frozen=True, kw_only=True)
class SigningForProgram(SigningOnL1):
    """As SigningOnL1, about a program that is named by id or key file."""

    program_id: ProgramNameOption = None

    @property
    def program(self) -> Pubkey:
        return program_named(self.program_id)


def program_named(text: str | None) -> Pubkey:
    from settlement.keys import read_keypair

    if text and Path(text).expanduser().is_file():
        return read_keypair(Path(text), warn).pubkey()
    return settings.program_id(text)


def register(app: typer.Typer) -> None:
    app.add_typer(program_app, name="program", rich_help_panel="Set up a network")


@program_app.command("deploy")
@expanded
def deploy(
    file: FileArgument,
    program_id: ProgramKeyOption,
    max_len: Annotated[
        int | None,
        typer.Option("--max-len", help="Bytes of room for later upgrades; as much as FILE has if not given.", min=1),
    ] = None,
    upgrade_authority: SuccessorOption = None,
    compute_unit_price: PriceOption = 0,
    yes: YesOption = False,
    *,
    url: UrlOption = None,
    keypair: settings.KeypairOption = None,
    paid_by: Paying,
    as_json: JsonOption = False,
) -> None:
    """Deploy the program under an id of your own; --keypair becomes its upgrade authority. Run it again to go on where it stopped."""
    from cli.program_trial import check_artifact
    from settlement.client import L1Client
    from settlement.keys import read_keypair
    from settlement.loader_artifact import read_artifact
    from settlement.loader_deploy import plan_deploy
    from settlement.loader_program import Keys

    artifact, program = read_artifact(file), read_keypair(program_id, warn)
    check_artifact(artifact, program.pubkey())
    authority = settings.keypair(keypair)
    keys = Keys(paid_by.or_else(authority), authority)
    successor = settings.public_key(upgrade_authority, "--upgrade-authority") if upgrade_authority else None

    async def command() -> dict[str, Any]:
        async with L1Client(settings.l1_urls(url), program.pubkey()) as client:
            plan = await plan_deploy(client, artifact, keys, max_len, successor, compute_unit_price)
            return await _carry_out(client, plan, keys, program, yes, as_json)

    emit(run(command), as_json)


@program_app.command("upgrade")
@expanded
def upgrade(
    file: FileArgument,
    upgrade_authority: SuccessorOption = None,
    compute_unit_price: PriceOption = 0,
    yes: YesOption = False,
    *,
    at: SigningForProgram,
    paid_by: Paying,
    as_json: JsonOption = False,
) -> None:
    """Replace the program's code by FILE; --keypair is its upgrade authority. Run it again to go on where it stopped."""
    from cli.program_trial import check_artifact
    from settlement.loader_artifact import read_artifact
    from settlement.loader_deploy import plan_upgrade
    from settlement.loader_program import Keys

    artifact = read_artifact(file)
    check_artifact(artifact, at.program)
    keys = Keys(paid_by.or_else(at.signer()), at.signer())
    successor = settings.public_key(upgrade_authority, "--upgrade-authority") if upgrade_authority else None

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            plan = await plan_upgrade(client, artifact, keys, successor, compute_unit_price)
            return await _carry_out(client, plan, keys, None, yes, as_json)

    emit(run(command), as_json)


@program_app.command("write-buffer")
@expanded
def write_buffer(
    file: FileArgument,
    authority: Annotated[
        str, typer.Option("--for", help="Public key of the upgrade authority, a multisig's vault perhaps.")
    ],
    compute_unit_price: PriceOption = 0,
    yes: YesOption = False,
    *,
    at: SigningForProgram,
    paid_by: Paying,
    as_json: JsonOption = False,
) -> None:
    """Write FILE to a buffer and hand it to another upgrade authority, who alone can then upgrade from it."""
    from cli.program_trial import check_artifact
    from settlement.loader_artifact import read_artifact
    from settlement.loader_deploy import carry_out, plan_buffer
    from settlement.loader_program import Keys

    artifact = read_artifact(file)
    check_artifact(artifact, at.program)
    keys = Keys(paid_by.or_else(at.signer()), at.signer())
    successor = settings.public_key(authority, "--for")

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            plan = await plan_buffer(client, artifact, keys, successor, compute_unit_price)
            confirmed_by_person(plan_rows(client, plan, keys), yes, as_json)
            with progress_bar(as_json) as progress:
                done = await carry_out(client, plan, keys, None, progress)
            return {
                "buffer": str(plan.writing.buffer),
                "authority": str(successor),
                "program_id": str(client.program_id),
                "hash": artifact.hash.hex(),
                "program_bytes": len(artifact.elf),
                "signature": done.signature,
            }

    emit(run(command), as_json)


async def _carry_out(
    client: L1Client, plan: Plan | None, keys: Keys, program: Keypair | None, yes: bool, as_json: bool
) -> dict[str, Any]:
    from settlement.loader_deploy import carry_out
    from settlement.loader_program import fetch_program

    signature = None
    if plan is None:
        note(f"{client.program_id} has these bytes already: nothing to do")
    else:
        confirmed_by_person(plan_rows(client, plan, keys), yes, as_json)
        with progress_bar(as_json) as progress:
            signature = (await carry_out(client, plan, keys, program, progress)).signature
    found = await fetch_program(client)
    assert found is not None
    return {**_shown(found), "signature": signature}


def _shown(program: Program) -> dict[str, Any]:
    return {
        "program_id": str(program.program_id),
        "program_data": str(program.program_data),
        "upgrade_authority": None if program.authority is None else str(program.authority),
        "slot": program.slot,
        "hash": program.hash.hex(),
        "program_bytes": program.program_bytes,
        "room_bytes": program.room_bytes,
        "rent_lamports": program.lamports,
    }


@program_app.command("show")
@expanded
def show(
    buffers: Annotated[
        str | None, typer.Option("--buffers", help="List the buffers of this upgrade authority instead.")
    ] = None,
    *,
    at: OnProgram,
    as_json: JsonOption = False,
) -> None:
    """What L1 has of a program: who may upgrade it, when it last changed, the hash of its bytes."""
    from settlement.loader_program import buffers_of, fetch_program

    if buffers is not None:
        authority = settings.public_key(buffers, "--buffers")

        async def listed() -> list[dict[str, Any]]:
            async with at.l1() as client:
                found = await buffers_of(client, authority)
            return [
                {"buffer": str(address), "lamports": lamports, "program_bytes": size}
                for address, lamports, size in found
            ]

        emit_rows(run(listed), ["buffer", "lamports", "program_bytes"], as_json, f"{authority} has no buffers")
        return

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            program = await fetch_program(client)
            if program is None:
                raise CommandError(f"there is no program {client.program_id} on {client.url}")
            return _shown(program)

    emit(run(command), as_json)


@program_app.command("verify")
@expanded
def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="What it should be; the committed program if not given.")
    ] = None,
    buffer: Annotated[
        str | None, typer.Option("--buffer", help="Check this buffer's bytes instead of the program's.")
    ] = None,
    upgrade_authority: Annotated[
        str | None, typer.Option("--upgrade-authority", help="Fail unless this public key, or `none`, may upgrade it.")
    ] = None,
    *,
    at: OnProgram,
    as_json: JsonOption = False,
) -> None:
    """Compare the bytes on L1, by hash and without the zeros behind them, with a file that you have built yourself."""
    from cli.program_work import check_same
    from settlement import idl
    from settlement.loader_artifact import read_artifact

    artifact = read_artifact(file if file is not None else idl.PROGRAM_PATH)
    named = settings.public_key(buffer, "--buffer") if buffer else None
    expected: Pubkey | None = None
    if upgrade_authority not in (None, "none"):
        expected = settings.public_key(str(upgrade_authority), "--upgrade-authority")

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            return await check_same(client, artifact, named, upgrade_authority is not None, expected)

    emit(run(command), as_json)


@program_app.command("close-buffer")
@expanded
def close_buffer(
    buffer: Annotated[str, typer.Argument(help="The buffer's address, as `deploy` and `show --buffers` print it.")],
    recipient: Annotated[str | None, typer.Option("--recipient", help="Who gets the lamports, if not --payer.")] = None,
    *,
    at: SigningOnL1,
    paid_by: Paying,
    as_json: JsonOption = False,
) -> None:
    """Give up a deployment that was begun: close its buffer and get the rent back. --keypair is the buffer's authority."""
    from settlement.loader_program import Keys
    from settlement.loader_program import close_buffer as close

    address = settings.public_key(buffer, "BUFFER")
    keys = Keys(paid_by.or_else(at.signer()), at.signer())
    to = settings.public_key(recipient, "--recipient") if recipient else keys.payer.pubkey()

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            lamports = await close(client, address, keys, to)
            return {"buffer": str(address), "recipient": str(to), "returned_lamports": lamports}

    emit(run(command), as_json)


@program_app.command("set-authority")
@expanded
def set_authority(
    successor: Annotated[
        str | None,
        typer.Argument(
            metavar="[NEW]", help="The new upgrade authority: a public key, or a key file, which signs too."
        ),
    ] = None,
    final: Annotated[bool, typer.Option("--final", help="Nobody: the program can never be upgraded again.")] = False,
    yes: YesOption = False,
    *,
    at: SigningForProgram,
    paid_by: Paying,
    as_json: JsonOption = False,
) -> None:
    """Hand the right to upgrade to somebody else. --keypair has it now; before `init` whoever has it must sign that too."""
    from settlement.keys import read_keypair
    from settlement.loader_program import Keys, change_authority, fetch_program

    if (successor is None) != final:
        raise typer.BadParameter("name the new authority, or nobody with --final")
    key = read_keypair(Path(successor), warn) if successor and Path(successor).expanduser().is_file() else None
    new = key.pubkey() if key else settings.public_key(successor, "NEW") if successor else None
    keys = Keys(paid_by.or_else(at.signer()), at.signer())

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            if key is None:
                what = f"{new} becomes" if new else "nobody is"
                rows = {
                    "program_id": str(client.program_id),
                    "upgrade_authority": f"{what} the upgrade authority; only they can undo it",
                }
                confirmed_by_person(Upkeep("set-authority", rows), yes, as_json)
            done = await change_authority(client, keys, new, key)
            found = await fetch_program(client)
            assert found is not None
            return {**_shown(found), "signature": done.signature}

    emit(run(command), as_json)
