"""Stake: `pouw validator deposit|unbond|withdraw|join|leave|…`, `pouw delegate`, `pouw undelegate`, `pouw stake show|withdraw|close`.

A command of `pouw validator` is about the validator of --keypair, a validator's authority: found by its registry slot, or, once it has none,
named with --validator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.l1_commands import set_app, validator_app
from cli.options import SigningOnL1, expanded
from cli.output import emit, emit_rows
from cli.runtime import CommandError
from cli.settings import JsonOption, public_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from solders.instruction import Instruction
    from solders.keypair import Keypair
    from solders.pubkey import Pubkey

    from settlement.client import L1Client
    from settlement.staking import Waiting, Withdrawn

stake_app = typer.Typer(help="What one owner has staked behind validators.", no_args_is_help=True)

ValidatorOption = Annotated[
    str | None, typer.Option("--validator", help="Address of the Validator account, if not that of --keypair's slot.")
]
ValidatorArgument = Annotated[str, typer.Argument(help="Address of the Validator account (`pouw validator list`).")]


def register(app: typer.Typer) -> None:
    app.command("delegate", rich_help_panel="Move money")(expanded(delegate))
    app.command("undelegate", rich_help_panel="Move money")(expanded(undelegate))
    app.add_typer(stake_app, name="stake", rich_help_panel="Move money")


async def _named(client: L1Client, authority: Pubkey, validator: str | None) -> Pubkey:
    from settlement.staking import address_of

    return public_key(validator, "--validator") if validator else await address_of(client, authority)


async def _shown(client: L1Client, address: Pubkey) -> dict[str, Any]:
    from settlement.stake_accounts import INACTIVE
    from settlement.staking import fetch_validator

    held = await fetch_validator(client, address)
    slot = (await client.fetch_registry()).slot_of(held.authority) if held.has_slot else None
    state = "active" if slot else "without a slot"
    if slot is not None and slot.flags & INACTIVE:
        state = "inactive"
    if held.is_jailed:
        state = "tombstoned" if held.is_tombstoned else "jailed"
    return {
        "validator": str(address),
        "authority": str(held.authority),
        "state": state,
        "slot_index": held.slot_index if held.has_slot else None,
        "active_lamports": held.active_lamports,
        "unbonding_lamports": held.unbonding_lamports,
        "commission_basis_points": held.commission_basis_points,
        "commission_lamports": held.commission_lamports,
        "reward_lamports": held.reward_lamports + (slot.reward_lamports if slot else 0),
        "slashed_lamports": held.slashed_lamports,
        "misses": slot.misses if slot else held.misses,
        "heartbeat_slot": slot.heartbeat_slot if slot else None,
        "jailed_slot": held.jailed_slot if held.is_jailed else None,
    }


def _by_authority(at: SigningOnL1, validator: str | None, name: str, *args: int) -> dict[str, Any]:
    """Sends an instruction that the authority signs and shows the validator afterwards."""
    from settlement import stake_instructions

    async def sent(client: L1Client, authority: Keypair) -> dict[str, Any]:
        key = authority.pubkey()
        address = await _named(client, key, validator)
        built: Instruction = getattr(stake_instructions, name)(client.program_id, key, address, *args)
        await client.send_and_confirm([built], authority)
        return await _shown(client, address)

    return at.act(sent)


@validator_app.command("status")
@expanded
def status(validator: ValidatorOption = None, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Stake, commission, rewards, heartbeat and jail of a validator."""

    async def shown(client: L1Client) -> dict[str, Any]:
        return await _shown(client, public_key(validator, "--validator") if validator else await _own(client, at))

    emit(at.ask(shown), as_json)


async def _own(client: L1Client, at: SigningOnL1) -> Pubkey:
    return await _named(client, at.signer().pubkey(), None)


@validator_app.command("heartbeat")
@expanded
def heartbeat(validator: ValidatorOption = None, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Say that the validator is there, which `pouw validator run` does of itself."""
    emit(_by_authority(at, validator, "heartbeat"), as_json)


@validator_app.command("leave")
@expanded
def leave(validator: ValidatorOption = None, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Free the registry slot; the stake stays until it is unbonded."""
    emit(_by_authority(at, validator, "leave_registry"), as_json)


@validator_app.command("unjail")
@expanded
def unjail(validator: ValidatorOption = None, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Come back once the time in jail is over."""
    emit(_by_authority(at, validator, "unjail"), as_json)


@validator_app.command("join")
@expanded
def join(validator: ValidatorArgument, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Take a registry slot again; the lowest stake is outbid when all are taken."""
    from settlement.staking import join_registry

    address = public_key(validator, "VALIDATOR")

    async def joined(client: L1Client, authority: Keypair) -> dict[str, Any]:
        await join_registry(client, authority, address)
        return await _shown(client, address)

    emit(at.act(joined), as_json)


@validator_app.command("commission")
@expanded
def commission(
    lower: Annotated[
        int | None, typer.Option("--set", help="Basis points, lower than now; else what is owed is paid out.", min=0)
    ] = None,
    validator: ValidatorOption = None,
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Pay out the commission that is owed, or lower it."""
    if lower is None:
        emit(_by_authority(at, validator, "withdraw_commission"), as_json)
    else:
        emit(_by_authority(at, validator, "set_commission", lower), as_json)


@validator_app.command("collect")
@expanded
def collect(validator: ValidatorOption = None, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Bring a validator's rewards into its pool. Anybody may."""
    emit(_by_authority(at, validator, "collect_rewards"), as_json)


@validator_app.command("jail")
@expanded
def jail(validator: ValidatorArgument, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Have a validator jailed that missed too many checkpoints in a row; --keypair gets the reporter's share."""
    emit(_by_authority(at, validator, "jail_validator"), as_json)


@validator_app.command("stall")
@expanded
def stall(*, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """After a long time without a post: pin a set without members that are silent. Anybody may; again until the set is live."""
    from settlement.staking import stall_step

    async def stepped(client: L1Client, payer: Keypair) -> dict[str, Any]:
        version = await stall_step(client, payer)
        pinned = await client.fetch_validator_set(version)
        if pinned is None:
            raise CommandError(f"validator set {version} is not there yet: try again")
        return {
            "set_version": version,
            "validators": pinned.count,
            "total_stake_lamports": pinned.total_stake_lamports,
        }

    emit(at.act(stepped), as_json)


@set_app.command("close")
@expanded
def close_set(
    version: Annotated[int, typer.Argument(help="A set that no evidence needs any more.", min=1)],
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Return an old validator set's rent to whoever paid for it. Anybody may."""
    from settlement.staking import close_validator_set

    async def closed(client: L1Client, payer: Keypair) -> dict[str, Any]:
        recipient = await close_validator_set(client, payer, version)
        return {"set_version": version, "recipient": str(recipient)}

    emit(at.act(closed), as_json)


# -- stake of anybody: the authority's own is no other -----------------------------------------------------------------------------------


def _staked(at: SigningOnL1, lamports: int, validator: str | None) -> dict[str, Any]:
    from settlement import staking

    async def staked(client: L1Client, owner: Keypair) -> dict[str, Any]:
        address = await _named(client, owner.pubkey(), validator)
        held = await staking.delegate(client, owner, address, lamports)
        pool = await staking.fetch_validator(client, address)
        return {"validator": str(address), "shares": held.shares, "lamports": pool.active_worth(held.shares)}

    return at.act(staked)


def _unbonded(at: SigningOnL1, lamports: int | None, validator: str | None) -> dict[str, Any]:
    from settlement import staking

    async def unbonded(client: L1Client, owner: Keypair) -> dict[str, Any]:
        address = await _named(client, owner.pubkey(), validator)
        left = await staking.unbond(client, owner, address, lamports)
        pool = await staking.fetch_validator(client, address)
        return {
            "validator": str(address),
            "unbonding_id": left.id,
            "lamports": pool.unbonding_worth(left.shares),
            "first_free_version": left.first_free_version,
        }

    return at.act(unbonded)


def _withdrawn(at: SigningOnL1, validator: str | None) -> list[dict[str, Any]]:
    from settlement import staking

    async def withdrawn(client: L1Client, owner: Keypair) -> Sequence[Withdrawn | Waiting]:
        return await staking.withdraw(client, owner, await _named(client, owner.pubkey(), validator))

    return [
        {
            "unbonding_id": one.unbonding_id,
            "withdrawn": isinstance(one, staking.Withdrawn),
            "waits_for": one.reason if isinstance(one, staking.Waiting) else "",
        }
        for one in at.act(withdrawn)
    ]


LamportsArgument = Annotated[int, typer.Argument(help="Lamports.", min=1)]
PartArgument = Annotated[int | None, typer.Argument(help="Lamports; all of it without.", min=1)]


@validator_app.command("deposit")
@expanded
def deposit_stake(
    lamports: LamportsArgument, validator: ValidatorOption = None, *, at: SigningOnL1, as_json: JsonOption = False
) -> None:
    """Add to the validator's own stake."""
    emit(_staked(at, lamports, validator), as_json)


@validator_app.command("unbond")
@expanded
def unbond_stake(
    lamports: PartArgument = None, validator: ValidatorOption = None, *, at: SigningOnL1, as_json: JsonOption = False
) -> None:
    """Take out of the validator's own stake; `pouw validator withdraw` pays it when nothing can be held against it any more."""
    emit(_unbonded(at, lamports, validator), as_json)


@validator_app.command("withdraw")
@expanded
def withdraw_stake(validator: ValidatorOption = None, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Pay out what was unbonded and waited long enough, and say what the rest waits for."""
    emit_rows(_withdrawn(at, validator), _WITHDRAWN, as_json, "nothing is unbonding")


_WITHDRAWN = ["unbonding_id", "withdrawn", "waits_for"]


def delegate(
    lamports: LamportsArgument, validator: ValidatorArgument, *, at: SigningOnL1, as_json: JsonOption = False
) -> None:
    """Stake behind a validator: its rewards, less its commission, and its slashes are yours by your part."""
    emit(_staked(at, lamports, validator), as_json)


def undelegate(
    validator: ValidatorArgument, lamports: PartArgument = None, *, at: SigningOnL1, as_json: JsonOption = False
) -> None:
    """Take stake back; `pouw stake withdraw` pays it when nothing can be held against it any more."""
    emit(_unbonded(at, lamports, validator), as_json)


@stake_app.command("withdraw")
@expanded
def withdraw_delegation(validator: ValidatorArgument, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Pay out what was undelegated and waited long enough, and say what the rest waits for."""
    emit_rows(_withdrawn(at, validator), _WITHDRAWN, as_json, "nothing is unbonding")


@stake_app.command("close")
@expanded
def close(validator: ValidatorArgument, *, at: SigningOnL1, as_json: JsonOption = False) -> None:
    """Close the account of a stake of which nothing is left; its rent comes back."""
    from settlement.stake_instructions import close_stake_position

    address = public_key(validator, "VALIDATOR")

    async def closed(client: L1Client, owner: Keypair) -> dict[str, Any]:
        key = owner.pubkey()
        confirmed = await client.send_and_confirm([close_stake_position(client.program_id, key, address)], owner)
        return {"validator": str(address), "owner": str(key), "signature": confirmed.signature}

    emit(at.act(closed), as_json)


@stake_app.command("show")
@expanded
def show(
    validator: ValidatorArgument,
    owner: Annotated[str | None, typer.Option("--owner", help="Public key, if not --keypair's.")] = None,
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """What an owner has staked behind a validator, and what is on its way out."""
    from settlement import staking

    key, address = at.account(owner), public_key(validator, "VALIDATOR")

    async def shown(client: L1Client) -> dict[str, Any]:
        pool = await staking.fetch_validator(client, address)
        held = await staking.fetch_position(client, address, key)
        left = await staking.fetch_unbondings(client, address, key)
        shares = held.shares if held else 0
        return {
            "validator": str(address),
            "owner": str(key),
            "shares": shares,
            "lamports": pool.active_worth(shares),
            "unbonding": [
                {
                    "unbonding_id": one.id,
                    "lamports": pool.unbonding_worth(one.shares),
                    "first_free_version": one.first_free_version,
                    "requested_slot": one.requested_slot,
                }
                for one in left
            ],
        }

    emit(at.ask(shown), as_json)
