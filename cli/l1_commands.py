"""Commands that speak to L1: `airdrop`, `init`, `validator register`, `validator set advance`, `deposit`, `claim`, `balance`; and
`withdraw`, which is their counterpart on L2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import protection_command, service_commands, settings
from cli.options import OnL1, Paying, SigningOnBoth, SigningOnL1, expanded
from cli.output import emit, emit_rows, warn
from cli.runtime import CommandError, run
from cli.settings import BlsOption, JsonOption

validator_app = typer.Typer(help="Register and run validators.", no_args_is_help=True)
set_app = typer.Typer(help="Validator sets: sealed versions of the registry.", no_args_is_help=True)
validator_app.add_typer(set_app, name="set")


def register_money(app: typer.Typer) -> None:
    for command in (airdrop, deposit, withdraw, claim, balance):
        app.command(command.__name__, rich_help_panel="Move money")(expanded(command))


def register(app: typer.Typer) -> None:
    app.add_typer(validator_app, name="validator", rich_help_panel="Run a part of a network")
    validator_app.command("run")(service_commands.run_validator)
    protection_command.register(validator_app)
    app.command("init", rich_help_panel="Set up a network")(expanded(initialize))


def airdrop(
    lamports: Annotated[int, typer.Argument(help="Lamports to get; 1 SOL is 1000000000.", min=1)],
    public_key: Annotated[str | None, typer.Argument(help="Who gets them, if not --keypair's.")] = None,
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Ask the faucet of a localnet (devnet and testnet have one too) for lamports on L1."""

    account = at.account(public_key)

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            await client.request_airdrop(account, lamports)
            return {"public_key": str(account), "l1_lamports": await client.get_balance(account)}

    emit(run(command), as_json)


def initialize(
    authority: Annotated[Path, typer.Option("--authority", help="Key file of the program's upgrade authority.")],
    *,
    paid_by: Paying,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="name=value over the localnet profile, as challenge_window_slots=64."),
    ] = None,
    at: OnL1,
    as_json: JsonOption = False,
) -> None:
    """Initialise the settlement program on a cluster and grow its registry. Can be run again."""
    from settlement.keys import read_keypair
    from settlement.l1_setup import ensure_initialized

    owner = read_keypair(authority, warn)
    paying = paid_by.or_else(owner)
    parameters = _parameters(parameter or [])

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            program = await client.get_account(client.program_id)
            if program is None or not program.executable:
                raise CommandError(
                    f"there is no program {client.program_id} on {client.url}: deploy it there, name it with --program-id, "
                    "or start an L1 that has it with ./localnet.sh"
                )
            config = await ensure_initialized(client, owner, paying, parameters)
            return {
                "program_id": str(client.program_id),
                "genesis_hash": config.genesis_hash.hex(),
                "authority": str(config.authority),
                **config.parameters.to_mapping(),
            }

    emit(run(command), as_json)


def _parameters(given: list[str]) -> Any:
    from settlement.accounts import LOCALNET_PROFILE, Parameters

    values = LOCALNET_PROFILE.to_mapping()
    for item in given:
        name, _, value = item.partition("=")
        if name not in values:
            raise typer.BadParameter(
                f"{name!r} is no parameter; there are {', '.join(values)}", param_hint="--parameter"
            )
        if not value.replace("_", "").isdecimal():
            raise typer.BadParameter(f"{item!r}: expected {name}=NUMBER", param_hint="--parameter")
        values[name] = int(value)
    return Parameters(**values)


@validator_app.command("register")
@expanded
def register_validator(
    stake: Annotated[int, typer.Option("--stake", help="Lamports to stake on L1.", min=1)],
    bls_keypair: BlsOption,
    commission: Annotated[
        int,
        typer.Option(
            "--commission", help="Basis points of rewards that delegators leave you; may only fall.", min=0, max=10_000
        ),
    ] = 0,
    *,
    at: SigningOnL1,
    paid_by: Paying,
    as_json: JsonOption = False,
) -> None:
    """Stake and take a slot of the registry; --keypair is the validator's authority. Can be run again."""
    from settlement.bls import SecretKey
    from settlement.keys import read_bls_secret
    from settlement.l1_setup import register_validator as register_on_l1

    authority = at.signer()
    paying = paid_by.or_else(authority)
    secret = SecretKey.from_bytes(read_bls_secret(bls_keypair, warn))

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            least = (await client.check_cluster()).parameters.min_validator_stake_lamports
            if stake < least:
                raise CommandError(f"a validator stakes at least {least} lamports here, {stake} are too few")
            slot = await register_on_l1(client, paying, authority, secret, stake, commission)
            return {
                "authority": str(slot.authority),
                "bls_public_key": secret.public_key.hex(),
                "slot_index": slot.index,
                "stake_lamports": slot.stake_lamports,
            }

    emit(run(command), as_json)


@validator_app.command("list")
@expanded
def list_validators(*, at: OnL1, as_json: JsonOption = False) -> None:
    """The registry's slots in use, as L1 has them."""
    from settlement.bls import compressed_public_key
    from settlement.staking import address_of_slot

    async def command() -> list[dict[str, Any]]:
        async with at.l1() as client:
            registry = await client.fetch_registry()
        return [
            {
                "slot_index": slot.index,
                "authority": str(slot.authority),
                "validator": str(address_of_slot(client.program_id, slot)),
                "stake_lamports": slot.stake_lamports,
                "stake_slot": slot.stake_slot,
                "bls_public_key": compressed_public_key(slot.bls_public_key).hex(),
            }
            for slot in registry.slots
        ]

    emit_rows(
        run(command), ["slot_index", "authority", "stake_lamports", "stake_slot"], as_json, "nobody is registered"
    )


@set_app.command("advance")
@expanded
def advance_set(
    force: Annotated[
        bool, typer.Option("--force", help="Seal a version even if the newest holds the registry already.")
    ] = False,
    *,
    at: SigningOnL1,
    paid_by: Paying,
    as_json: JsonOption = False,
) -> None:
    """Seal the registry as the next validator set. Before the first post --keypair must be init's authority. Can be run again."""
    from settlement.l1_setup import advance_validator_set

    sealer = at.signer()
    paying = paid_by.or_else(sealer)

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            await client.check_cluster()
            sealed = await advance_validator_set(client, paying, sealer, force)
            return {
                "set_version": sealed.set_version,
                "validators": sealed.count,
                "total_stake_lamports": sealed.total_stake_lamports,
                "sealed_slot": sealed.sealed_slot,
                "set_hash": sealed.set_hash.hex(),
            }

    emit(run(command), as_json)


def deposit(
    lamports: Annotated[int, typer.Argument(help="Lamports to move from L1 to L2.", min=1)],
    beneficiary: Annotated[
        str | None, typer.Option("--for", help="Public key of the L2 account, if not your own.")
    ] = None,
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Pay into the vault on L1; the L2 balance grows when an epoch takes the inbox entry."""
    from settlement.money import deposit as deposit_on_l1

    depositor = at.signer()
    receiver = settings.public_key(beneficiary, "--for") if beneficiary else depositor.pubkey()

    async def command() -> dict[str, Any]:
        async with at.l1() as client:
            least = (await client.check_cluster()).parameters.min_inbox_lamports
            if lamports < least:
                raise CommandError(f"a deposit is at least {least} lamports here, {lamports} are too few")
            done = await deposit_on_l1(client, depositor, lamports, receiver)
            return {
                "inbox_index": done.index,
                "beneficiary": str(done.beneficiary),
                "lamports": done.lamports,
                "signature": done.signature,
                "slot": done.slot,
            }

    emit(run(command), as_json)


def withdraw(
    lamports: Annotated[int, typer.Argument(help="Lamports to move from your L2 balance to what L1 owes you.", min=1)],
    *,
    at: SigningOnBoth,
    as_json: JsonOption = False,
) -> None:
    """Ask for a withdrawal; `pouw claim` pays it out once its epoch is final on L1."""
    from cli.calls import withdraw as ask

    async def command() -> dict[str, Any]:
        async with at.calls() as calls:
            return await ask(calls, lamports)

    emit(run(command), as_json)


def claim(
    public_key: Annotated[str | None, typer.Argument(help="The L2 account, if not --keypair's.")] = None,
    wait: Annotated[float, typer.Option("--wait", help="Seconds to wait for something to claim.", min=0)] = 0,
    *,
    at: SigningOnBoth,
    as_json: JsonOption = False,
) -> None:
    """Pay out on L1 what the finalized state owes an L2 account. --keypair pays the fee; anyone may claim for anyone."""
    from cli.calls import claim as claim_on_l1

    payer = at.signer()
    account = settings.public_key(public_key, "PUBLIC_KEY") if public_key else payer.pubkey()

    async def command() -> dict[str, Any]:
        return await claim_on_l1(at.l1_urls, settings.sequencer_url(at.sequencer), at.program, payer, account, wait)

    emit(run(command), as_json)


def balance(
    public_key: Annotated[str | None, typer.Argument(help="The account, if not --keypair's.")] = None,
    *,
    at: SigningOnBoth,
    as_json: JsonOption = False,
) -> None:
    """What an account has on L1, on L2, and may claim."""
    from cli.calls import balances

    account = at.account(public_key)

    async def command() -> dict[str, Any]:
        return await balances(at.l1_urls, settings.sequencer_url(at.sequencer), at.program, account)

    emit(run(command), as_json)
