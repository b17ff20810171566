"""`pouw governance`: pause, parameters after their delay, grants from the treasury, and the hand-over in two steps. --keypair signs as governance."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import SigningOnL1, expanded
from cli.output import emit
from cli.runtime import CommandError
from cli.settings import JsonOption, public_key

if TYPE_CHECKING:
    from solders.instruction import Instruction
    from solders.keypair import Keypair

    from settlement.accounts import Parameters
    from settlement.client import L1Client

governance_app = typer.Typer(help="Change parameters, pause posting, hand governance over.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(governance_app, name="governance", rich_help_panel="Run a part of a network")


def _carry_out(
    at: Any, as_json: bool, build: Callable[[L1Client, Keypair], Awaitable[Instruction]], **told: object
) -> None:
    """Sends one instruction and prints its slot and signature."""

    async def sent(client: L1Client, signer: Keypair) -> dict[str, Any]:
        confirmed = await client.send_and_confirm([await build(client, signer)], signer)
        return {**told, "slot": confirmed.slot, "signature": confirmed.signature}

    emit(at.act(sent), as_json)


@governance_app.command("pause")
@expanded
def pause(*, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Stop posting. Claims, withdrawals, finalization and proofs go on."""
    from settlement import dispute_instructions

    async def build(client: L1Client, signer: Keypair) -> Instruction:
        return dispute_instructions.pause(client.program_id, signer.pubkey())

    _carry_out(at, as_json, build, paused=True)


@governance_app.command("unpause")
@expanded
def unpause(*, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Let posting go on."""
    from settlement import dispute_instructions

    async def build(client: L1Client, signer: Keypair) -> Instruction:
        return dispute_instructions.unpause(client.program_id, signer.pubkey())

    _carry_out(at, as_json, build, paused=False)


@governance_app.command("propose")
@expanded
def propose(
    changes: Annotated[Path, typer.Argument(help="JSON object of the parameters that change.")],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Propose parameters; they can be applied after governance_delay_slots."""
    from settlement import dispute_instructions

    async def build(client: L1Client, signer: Keypair) -> Instruction:
        parameters = _changed((await client.fetch_config()).parameters, changes)
        key = signer.pubkey()
        return dispute_instructions.propose_parameters(client.program_id, key, key, parameters)

    _carry_out(at, as_json, build)


@governance_app.command("apply")
@expanded
def apply(*, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Put proposed parameters into effect, once their delay is over. Anyone may."""
    _close(at, as_json, "apply_parameters")


@governance_app.command("cancel")
@expanded
def cancel(*, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Drop proposed parameters."""
    _close(at, as_json, "cancel_parameters")


def _close(at: Any, as_json: bool, name: str) -> None:
    from settlement import dispute_instructions, pda
    from settlement.dispute_accounts import decode_parameter_proposal

    async def build(client: L1Client, signer: Keypair) -> Instruction:
        address = pda.proposal(client.program_id)
        held = await client.get_account(address)
        if held is None:
            raise CommandError("no parameters are proposed")
        proposer = decode_parameter_proposal(address, bytes(held.data)).proposer
        built: Instruction = getattr(dispute_instructions, name)(client.program_id, signer.pubkey(), proposer)
        return built

    _carry_out(at, as_json, build)


@governance_app.command("offer")
@expanded
def offer(
    next_governance: Annotated[str, typer.Argument(help="Who may accept; 1111…1111 takes an offer back.")],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Name who may become governance."""
    from settlement import dispute_instructions

    named = public_key(next_governance, "NEXT_GOVERNANCE")

    async def build(client: L1Client, signer: Keypair) -> Instruction:
        return dispute_instructions.offer_governance(client.program_id, signer.pubkey(), named)

    _carry_out(at, as_json, build, next_governance=str(named))


@governance_app.command("accept")
@expanded
def accept(*, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Become governance, having been named."""
    from settlement import dispute_instructions

    async def build(client: L1Client, signer: Keypair) -> Instruction:
        return dispute_instructions.accept_governance(client.program_id, signer.pubkey())

    _carry_out(at, as_json, build)


@governance_app.command("grant")
@expanded
def grant(
    lamports: Annotated[int, typer.Argument(help="Lamports to pay from the treasury.", min=1)],
    beneficiary: Annotated[str, typer.Option("--for", help="Public key of the L2 account.")],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Pay an L2 account from the treasury, as a deposit; its balance grows when an epoch takes the inbox entry."""
    from settlement import dispute_instructions

    named = public_key(beneficiary, "--for")

    async def build(client: L1Client, signer: Keypair) -> Instruction:
        config = await client.fetch_config()
        least = config.parameters.min_inbox_lamports
        if lamports < least:
            raise CommandError(f"a grant is at least {least} lamports here, {lamports} are too few")
        key = signer.pubkey()
        return dispute_instructions.grant(client.program_id, key, key, config.inbox.count, lamports, named)

    _carry_out(at, as_json, build, beneficiary=str(named), lamports=lamports)


def _changed(parameters: Parameters, path: Path) -> Parameters:
    from dataclasses import replace

    try:
        changes = json.loads(path.read_text())
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise CommandError(f"{path} is not JSON") from None
    known = parameters.to_mapping()
    if not isinstance(changes, dict) or not changes:
        raise CommandError(f"{path} must hold an object of parameters")
    for name, value in changes.items():
        if name not in known:
            raise CommandError(f"there is no parameter {name}; there are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
            raise CommandError(f"{name} must be an integer from 0 to 2^64 - 1, not {value!r}")
    return replace(parameters, **changes)
