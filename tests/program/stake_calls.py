"""A valid call of every instruction of stake, for tests and measurements that go through all of them."""

from __future__ import annotations

from collections.abc import Callable

from solders.instruction import Instruction
from solders.keypair import Keypair

from settlement import pda
from settlement import stake_instructions as build
from settlement.accounts import LOCALNET_PROFILE
from tests.program.kit import STAKE, Chain, validator
from tests.program.slash_kit import reward_all
from tests.program.stake_kit import (
    address,
    delegate,
    free_checkpoint,
    overwrite_misses,
    overwrite_rewards,
    unbond,
    unbonding_of,
    withdrawing,
)

Call = tuple[Chain, Instruction, list[Keypair]]
FIRST = validator(0)


def _up() -> Chain:
    chain = Chain.new().bring_up([FIRST])
    chain.svm.airdrop(FIRST.authority.pubkey(), 10_000_000_000)
    return chain


def _join() -> Call:
    chain, built, signers = _leave()
    chain.send(built, signers=signers)
    return chain, build.join_registry(chain.program_id, FIRST.authority.pubkey(), address(chain, FIRST)), signers


def _leave() -> Call:
    chain = _up()
    built = build.leave_registry(chain.program_id, FIRST.authority.pubkey(), address(chain, FIRST))
    return chain, built, [FIRST.authority]


def _delegate() -> Call:
    chain = _up()
    payer, owner = chain.payer.pubkey(), FIRST.authority.pubkey()
    return chain, build.delegate(chain.program_id, payer, owner, address(chain, FIRST), STAKE), [FIRST.authority]


def _unbond() -> Call:
    chain = _up()
    return chain, unbonding_of(chain, FIRST, FIRST.authority, STAKE), [FIRST.authority]


def _withdraw() -> Call:
    chain = _up()
    delegate(chain, FIRST, FIRST.authority, STAKE)
    unbond(chain, FIRST, FIRST.authority, STAKE)
    epoch = free_checkpoint(chain)
    chain.advance(LOCALNET_PROFILE.unbonding_slots + 1)
    return chain, withdrawing(chain, FIRST, FIRST.authority, epoch), [FIRST.authority]


def _close_position() -> Call:
    chain = _up()
    chain.send(
        build.delegate(chain.program_id, chain.payer.pubkey(), chain.payer.pubkey(), address(chain, FIRST), STAKE)
    )
    unbond(chain, FIRST, chain.payer, STAKE)
    epoch = free_checkpoint(chain)
    chain.advance(LOCALNET_PROFILE.unbonding_slots + 1)
    chain.send(withdrawing(chain, FIRST, chain.payer, epoch))
    return chain, build.close_stake_position(chain.program_id, chain.payer.pubkey(), address(chain, FIRST)), []


def _set_commission() -> Call:
    chain, new = _up(), validator(1)
    chain.send(chain.registration(new, commission_basis_points=100), signers=[new.authority])
    built = build.set_commission(chain.program_id, new.authority.pubkey(), address(chain, new), 1)
    return chain, built, [new.authority]


def _heartbeat() -> Call:
    chain = _up()
    built = build.heartbeat(chain.program_id, FIRST.authority.pubkey(), address(chain, FIRST))
    return chain, built, [FIRST.authority]


def _collect() -> Call:
    chain = _up()
    overwrite_rewards(chain, FIRST, 1_000)
    return chain, build.collect_rewards(chain.program_id, chain.payer.pubkey(), address(chain, FIRST)), []


def _withdraw_commission() -> Call:
    chain, new = _up(), validator(1)
    chain.send(chain.registration(new, commission_basis_points=10_000), signers=[new.authority])
    chain.svm.airdrop(new.authority.pubkey(), 10_000_000_000)
    chain.validators.append(new)
    overwrite_rewards(chain, new, 1_000)
    chain.send(build.collect_rewards(chain.program_id, chain.payer.pubkey(), address(chain, new)))
    built = build.withdraw_commission(chain.program_id, new.authority.pubkey(), address(chain, new))
    return chain, built, [new.authority]


def _jail() -> Call:
    chain = _up()
    overwrite_misses(chain, FIRST, LOCALNET_PROFILE.max_misses)
    return chain, build.jail_validator(chain.program_id, chain.payer.pubkey(), address(chain, FIRST)), []


def _unjail() -> Call:
    chain, built, _ = _jail()
    chain.send(built)
    chain.advance(LOCALNET_PROFILE.jail_slots + 1)
    built = build.unjail(chain.program_id, FIRST.authority.pubkey(), address(chain, FIRST))
    return chain, built, [FIRST.authority]


def _stall() -> Call:
    chain, others = _up(), [validator(seed) for seed in (1, 2)]
    for other in others:
        chain.register(other)
    chain.seal(2)
    chain.post()
    chain.advance(LOCALNET_PROFILE.stall_slots + 1)
    chain.create_set(3)
    return chain, build.stall_step(chain.program_id, chain.payer.pubkey(), 2, 3), []


def _close_set() -> Call:
    chain = _up()
    chain.settle()
    free_checkpoint(chain)
    epoch = free_checkpoint(chain)
    reward_all(chain)
    chain.advance(LOCALNET_PROFILE.unbonding_slots + 1)
    assert chain.lamports(pda.validator_set(chain.program_id, 1)) > 0
    payer = chain.payer.pubkey()
    return chain, build.close_validator_set(chain.program_id, payer, 1, payer, epoch), []


CALLS: dict[str, Callable[[], Call]] = {
    "join_registry": _join,
    "leave_registry": _leave,
    "delegate": _delegate,
    "unbond": _unbond,
    "withdraw_unbonded": _withdraw,
    "close_stake_position": _close_position,
    "set_commission": _set_commission,
    "heartbeat": _heartbeat,
    "collect_rewards": _collect,
    "withdraw_commission": _withdraw_commission,
    "jail_validator": _jail,
    "unjail": _unjail,
    "stall_step": _stall,
    "close_validator_set": _close_set,
}
