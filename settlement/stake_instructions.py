"""Typed builders for the instructions of stake (docs/settlement.md), as settlement/instructions.py has them for the others. `validator` is
a Validator's address: settlement.pda.validator of its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import idl, pda


def _build(
    program_id: Pubkey, name: str, args: Mapping[str, Any], accounts: Mapping[str, Pubkey | None]
) -> Instruction:
    """With the program's own accounts added where the instruction wants them; None leaves an optional account out."""
    own = {
        "config": pda.config(program_id),
        "registry": pda.registry(program_id),
        "stake_vault": pda.stake_vault(program_id),
        "treasury": pda.treasury(program_id),
    }
    wanted = {account.name for account in idl.committed().instruction(name).accounts}
    given = {key: address for key, address in accounts.items() if address is not None}
    held = {key: address for key, address in own.items() if key in wanted}
    return idl.committed().build(program_id, name, args, {**held, **given})


def join_registry(
    program_id: Pubkey, authority: Pubkey, validator: Pubkey, outbid: Pubkey | None = None
) -> Instruction:
    """`outbid` as in register_validator."""
    return _build(program_id, "join_registry", {}, {"authority": authority, "validator": validator, "outbid": outbid})


def leave_registry(program_id: Pubkey, authority: Pubkey, validator: Pubkey) -> Instruction:
    return _build(program_id, "leave_registry", {}, {"authority": authority, "validator": validator})


def delegate(program_id: Pubkey, payer: Pubkey, owner: Pubkey, validator: Pubkey, lamports: int) -> Instruction:
    """`payer` pays the lamports, `owner` has the shares."""
    accounts = {
        "payer": payer,
        "owner": owner,
        "validator": validator,
        "position": pda.stake_position(program_id, validator, owner),
    }
    return _build(program_id, "delegate", {"lamports": lamports}, accounts)


def unbond(
    program_id: Pubkey, payer: Pubkey, owner: Pubkey, validator: Pubkey, unbonding_id: int, shares: int
) -> Instruction:
    """`unbonding_id`: the position's next one."""
    position = pda.stake_position(program_id, validator, owner)
    accounts = {
        "payer": payer,
        "owner": owner,
        "validator": validator,
        "position": position,
        "unbonding": pda.unbonding(program_id, position, unbonding_id),
    }
    return _build(program_id, "unbond", {"shares": shares}, accounts)


def withdraw_unbonded(
    program_id: Pubkey, owner: Pubkey, validator: Pubkey, unbonding_id: int, epoch: int | None
) -> Instruction:
    """`epoch`: a finalized one of a set without that stake; None after the escape."""
    position = pda.stake_position(program_id, validator, owner)
    accounts = {
        "owner": owner,
        "validator": validator,
        "position": position,
        "unbonding": pda.unbonding(program_id, position, unbonding_id),
        "checkpoint": None if epoch is None else pda.checkpoint(program_id, epoch),
    }
    return _build(program_id, "withdraw_unbonded", {"id": unbonding_id}, accounts)


def close_stake_position(program_id: Pubkey, owner: Pubkey, validator: Pubkey) -> Instruction:
    accounts = {
        "owner": owner,
        "validator": validator,
        "position": pda.stake_position(program_id, validator, owner),
    }
    return _build(program_id, "close_stake_position", {}, accounts)


def set_commission(
    program_id: Pubkey, authority: Pubkey, validator: Pubkey, commission_basis_points: int
) -> Instruction:
    args = {"commission_basis_points": commission_basis_points}
    return _build(program_id, "set_commission", args, {"authority": authority, "validator": validator})


def heartbeat(program_id: Pubkey, authority: Pubkey, validator: Pubkey) -> Instruction:
    return _build(program_id, "heartbeat", {}, {"authority": authority, "validator": validator})


def collect_rewards(program_id: Pubkey, payer: Pubkey, validator: Pubkey) -> Instruction:
    return _build(program_id, "collect_rewards", {}, {"payer": payer, "validator": validator})


def withdraw_commission(program_id: Pubkey, authority: Pubkey, validator: Pubkey) -> Instruction:
    return _build(program_id, "withdraw_commission", {}, {"authority": authority, "validator": validator})


def jail_validator(program_id: Pubkey, payer: Pubkey, validator: Pubkey) -> Instruction:
    """`payer` gets the reporter's share."""
    return _build(program_id, "jail_validator", {}, {"payer": payer, "validator": validator})


def unjail(program_id: Pubkey, authority: Pubkey, validator: Pubkey) -> Instruction:
    return _build(program_id, "unjail", {}, {"authority": authority, "validator": validator})


def stall_step(program_id: Pubkey, payer: Pubkey, pinned_version: int, version: int) -> Instruction:
    """`version`: the next one, whose account exists and is large enough."""
    accounts = {
        "payer": payer,
        "pinned_set": pda.validator_set(program_id, pinned_version),
        "validator_set": pda.validator_set(program_id, version),
    }
    return _build(program_id, "stall_step", {"version": version}, accounts)


def close_validator_set(
    program_id: Pubkey, payer: Pubkey, version: int, recipient: Pubkey, epoch: int | None
) -> Instruction:
    """`recipient`: who paid for the set; `epoch`: a finalized one of a later set, None after the escape."""
    accounts = {
        "payer": payer,
        "validator_set": pda.validator_set(program_id, version),
        "recipient": recipient,
        "checkpoint": None if epoch is None else pda.checkpoint(program_id, epoch),
    }
    return _build(program_id, "close_validator_set", {"version": version}, accounts)
