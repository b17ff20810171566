"""What people on the chain try: validators, delegators, clients, governance. Each action draws one call of one instruction, mostly one that
makes sense, with arguments that often fit; World.play and the model say whether it goes through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import accounts, dispute_instructions, inbox_instructions, instructions, messages, pda
from settlement import stake_instructions as stake
from tests.program import points
from tests.program.kit import GENESIS, STAKE
from tests.program.machine_model import U64_MAX
from tests.program.machine_stake import JAILED, NO_SLOT, V_JAILED, V_TOMBSTONED
from tests.program.machine_world import (
    SMALL,
    Call,
    Candidate,
    World,
    in_turn,
    messages_domain,
    proof_of_possession,
)

Action = Callable[[World, Random], Call | None]
ACTIONS: dict[str, Action] = {}
WRONG_PARAMETERS: tuple[dict[str, int], ...] = (
    {"challenge_window_slots": 0},
    {"inclusion_window_slots": 0},
    {"inclusion_window_slots": 432_000},
    {"max_expiry_slots": 0},
    {"min_seal_gap_slots": 9},
    {"answer_slots": 0},
    {"stall_slots": 10},
    {"hatch_slots": 40},
    {"unbonding_slots": 40},
    {"max_inbox_per_epoch": 0},
    {"min_inbox_lamports": 0},
    {"min_validators": 0},
    {"min_set_stake_lamports": 0},
    {"min_validator_stake_lamports": 0},
    {"heartbeat_slots": 0},
    {"jail_slots": 0},
    {"max_misses": 0},
    {"fraud_slash_basis_points": 10_001},
    {"reporter_basis_points": 5_001},
    {"governance_delay_slots": 50},
    {"poster_reward_basis_points": 10_001},
    {"poster_bond_lamports": 0},
    {"forced_fee_lamports": 0},
    {"challenge_window_slots": U64_MAX},
)
OTHER_PARAMETERS: tuple[dict[str, int], ...] = (
    {},
    {"fraud_slash_basis_points": 10_000},
    {"fraud_slash_basis_points": 1_000},
    {"equivocation_slash_basis_points": 1},
    {"min_validators": 3},
    {"min_set_stake_lamports": 9 * STAKE},
    {"min_validator_stake_lamports": 2 * STAKE},
    {"max_inbox_per_epoch": 2},
    {"reward_lamports_per_epoch": 0},
    {"reward_lamports_per_epoch": 1_000_003, "poster_reward_basis_points": 10_000},
    {"poster_bond_lamports": 1, "demand_bond_lamports": 3},
    {"max_misses": 2, "miss_slash_basis_points": 10_000},
    {"forced_fee_lamports": 7, "min_inbox_lamports": 1},
)


def action(drawn: Action) -> Action:
    ACTIONS[drawn.__name__] = drawn
    return drawn


def call(
    world: World,
    name: str,
    rule: Callable[[], None],
    build: Callable[[], Instruction],
    payer: Keypair,
    *signers: Keypair,
    note: Callable[[], None] = lambda: None,
) -> Call:
    others = tuple(dict.fromkeys(one for one in signers if one != payer))
    return Call(name, rule, lambda: [build()], payer, others, note)


def changed_parameters(random: Random) -> accounts.Parameters:
    wrong = random.random() < 0.25
    return replace(SMALL, **random.choice(WRONG_PARAMETERS if wrong else OTHER_PARAMETERS))


def signing_for(world: World, random: Random, right: Keypair) -> Keypair:
    """The one who may; now and then a thief."""
    return right if random.random() < 0.93 else random.choice(world.people)


# -- the deployment --------------------------------------------------------------------------------------------------------------------------


@action
def initialize(world: World, random: Random) -> Call:
    payer, authority = random.choice(world.people), signing_for(world, random, world.chain.authority)
    genesis = GENESIS if random.random() < 0.9 else bytes(32)
    parameters = changed_parameters(random) if random.random() < 0.5 else SMALL
    if not world.is_up and random.random() < 0.8:
        parameters = SMALL
    is_authority = authority == world.chain.authority
    is_data = random.random() < 0.9

    def build() -> Instruction:
        built = instructions.initialize(world.program, payer.pubkey(), authority.pubkey(), genesis, parameters)
        metas = list(built.accounts)
        if not is_data:
            metas[2] = AccountMeta(world.posters[0].pubkey(), False, False)
        return Instruction(built.program_id, bytes(built.data), metas)

    return call(
        world,
        "initialize",
        lambda: world.model.initialize(
            payer.pubkey(), authority.pubkey(), (is_data, is_authority), genesis, parameters
        ),
        build,
        payer,
        authority,
    )


@action
def grow_registry(world: World, random: Random) -> Call:
    payer = random.choice(world.people)
    return call(
        world,
        "grow_registry",
        lambda: world.model.grow_registry(payer.pubkey()),
        lambda: instructions.grow_registry(world.program, payer.pubkey()),
        payer,
    )


# -- validators ------------------------------------------------------------------------------------------------------------------------------


def _to_outbid(world: World, random: Random) -> Pubkey | None:
    """When the registry is full, mostly the lowest; else sometimes somebody."""
    slots = world.model.tails[world.model.registry_at]
    held = [who for who in world.registered() if world.model.accounts[who.address].slot_index != NO_SLOT]
    if not held:
        return None
    if None not in slots and random.random() < 0.8:
        lowest = world.model.lowest()
        return next(who.address for who in held if world.model.accounts[who.address].slot_index == lowest)
    return random.choice(held).address if random.random() < 0.2 else None


@action
def register_validator(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    new = [who for who in world.candidates if who.address not in world.model.accounts]
    who: Candidate = in_turn(random, new, world.candidates)
    index, payer = world.candidates.index(who), random.choice(world.people)
    authority = who.authority
    if random.random() < 0.06:
        authority = random.choice(world.candidates).authority
    stake_lamports = random.choice((STAKE, STAKE, 2 * STAKE, 5 * STAKE, 3 * STAKE + 1, STAKE - 1))
    commission = random.choice((0, 500, 10_000, 10_001, 333))
    outbid = _to_outbid(world, random)
    outbid = None if outbid == who.address else outbid
    keys, flaw = (who.compressed, who.uncompressed), None
    proof, hints = b"", b""
    spoil = random.random()
    if authority != who.authority:
        # The digest is another one then, and the proof was made for the right one.
        flaw = "BadProofOfPossession"
    elif spoil < 0.04:
        keys, flaw = (points.g1_off_subgroup(), keys[1]), "BadBlsKey"
    elif spoil < 0.08:
        keys, flaw = (points.G1_INFINITY, keys[1]), "BlsKeyAtInfinity"

    def build() -> Instruction:
        nonlocal proof, hints
        proof, hints = proof_of_possession(world.program, index)
        if authority != who.authority or keys[0] != who.compressed:
            domain = messages_domain(world.program)
            digest = proof_digest(domain, bytes(authority.pubkey()), keys[0])
            hints = world_hints(digest)
        return instructions.register_validator(
            world.program,
            payer.pubkey(),
            authority.pubkey(),
            bls_public_key=keys[0],
            proof_of_possession=proof,
            hints=hints,
            stake_lamports=stake_lamports,
            commission_basis_points=commission,
            outbid=outbid,
        )

    return call(
        world,
        "register_validator",
        lambda: world.model.register_validator(
            payer.pubkey(), authority.pubkey(), keys, stake_lamports, commission, outbid, flaw
        ),
        build,
        payer,
        authority,
    )


def registration(world: World, who: Candidate, stake_lamports: int) -> Call:
    """An honest one."""
    payer = world.people[0]
    keys = who.compressed, who.uncompressed

    def build() -> Instruction:
        proof, hints = proof_of_possession(world.program, world.candidates.index(who))
        return instructions.register_validator(
            world.program, payer.pubkey(), who.authority.pubkey(), who.compressed, proof, hints, stake_lamports
        )

    def rule() -> None:
        world.model.register_validator(payer.pubkey(), who.authority.pubkey(), keys, stake_lamports, 0, None, None)

    return call(world, "register_validator", rule, build, payer, who.authority)


def proof_digest(domain: Any, authority: bytes, key: bytes) -> bytes:
    return messages.proof_of_possession_digest(domain, authority, key)


def world_hints(digest: bytes) -> bytes:
    from tests.program.machine_world import hints_of

    return hints_of(digest)


def _authority_action(name: str, wanted: Callable[[World, Candidate], bool]) -> None:
    """Instructions that a validator's authority signs and that take nothing but its Validator."""

    def drawn(world: World, random: Random) -> Call | None:
        known = world.registered()
        who = in_turn(random, [one for one in known if wanted(world, one)], known)
        if who is None:
            return None
        authority = signing_for(world, random, who.authority)
        rule = getattr(world.model, name)
        build = getattr(stake, name)
        return call(
            world,
            name,
            lambda: rule(authority.pubkey(), who.address),
            lambda: build(world.program, authority.pubkey(), who.address),
            authority,
        )

    drawn.__name__ = name
    action(drawn)


def _held(world: World, who: Candidate) -> Any:
    return world.model.accounts[who.address]


def _slot(world: World, who: Candidate) -> Any:
    index = _held(world, who).slot_index
    return None if index == NO_SLOT else world.model.tails[world.model.registry_at][index]


_authority_action("leave_registry", lambda world, who: _slot(world, who) is not None)
_authority_action("heartbeat", lambda world, who: _slot(world, who) is not None)
_authority_action("unjail", lambda world, who: bool(_held(world, who).flags & V_JAILED))
_authority_action("withdraw_commission", lambda world, who: _held(world, who).commission_lamports > 0)


@action
def join_registry(world: World, random: Random) -> Call | None:
    known = world.registered()
    who = in_turn(random, [one for one in known if _slot(world, one) is None], known)
    if who is None:
        return None
    authority, outbid = signing_for(world, random, who.authority), _to_outbid(world, random)
    outbid = None if outbid == who.address else outbid
    return call(
        world,
        "join_registry",
        lambda: world.model.join_registry(authority.pubkey(), who.address, outbid),
        lambda: stake.join_registry(world.program, authority.pubkey(), who.address, outbid),
        authority,
    )


@action
def set_commission(world: World, random: Random) -> Call | None:
    known = world.registered()
    who = in_turn(random, [one for one in known if _held(world, one).commission_basis_points], known)
    if who is None:
        return None
    authority = signing_for(world, random, who.authority)
    held = _held(world, who).commission_basis_points
    share = random.choice((held - 1 if held else 0, held // 2, held, 0))
    return call(
        world,
        "set_commission",
        lambda: world.model.set_commission(authority.pubkey(), who.address, share),
        lambda: stake.set_commission(world.program, authority.pubkey(), who.address, share),
        authority,
    )


@action
def collect_rewards(world: World, random: Random) -> Call | None:
    known = world.registered()

    def has(one: Candidate) -> bool:
        slot = _slot(world, one)
        return bool(_held(world, one).reward_lamports or (slot is not None and slot.reward_lamports))

    who = in_turn(random, [one for one in known if has(one)], known)
    if who is None:
        return None
    payer = random.choice(world.people)
    return call(
        world,
        "collect_rewards",
        lambda: world.model.collect_rewards(who.address),
        lambda: stake.collect_rewards(world.program, payer.pubkey(), who.address),
        payer,
    )


@action
def delegate(world: World, random: Random) -> Call | None:
    known = world.registered()
    who = in_turn(random, [one for one in known if not _held(world, one).flags & V_TOMBSTONED], known)
    if who is None:
        return None
    owner = random.choice([*world.others, *world.clients, who.authority])
    payer = owner if random.random() < 0.7 else random.choice(world.people)
    lamports = random.choice((STAKE, 12_345, 999_999, 3 * STAKE, 7, 1, 0, 1 << 62))
    return call(
        world,
        "delegate",
        lambda: world.model.delegate(payer.pubkey(), owner.pubkey(), who.address, lamports),
        lambda: stake.delegate(world.program, payer.pubkey(), owner.pubkey(), who.address, lamports),
        payer,
        owner,
    )


def _positions(world: World) -> list[tuple[Candidate, Keypair, Any]]:
    found = []
    for address, kind in world.model.kinds.items():
        if kind == "StakePosition":
            position = world.model.accounts[address]
            who = world.by_address[position.validator]
            found.append((who, world.by_key[position.owner], position))
    return found


@action
def unbond(world: World, random: Random) -> Call | None:
    known = _positions(world)
    drawn = in_turn(random, [one for one in known if one[2].shares], known)
    if drawn is None:
        return None
    who, owner, position = drawn
    shares = random.choice((position.shares, position.shares // 2, 1, 1_000, position.shares + 1, 0))
    unbonding_id = position.next_unbonding_id - (random.random() < 0.04)
    if unbonding_id < 0:
        return None
    payer = random.choice((owner, random.choice(world.people)))
    return call(
        world,
        "unbond",
        lambda: world.model.unbond(payer.pubkey(), owner.pubkey(), who.address, unbonding_id, shares),
        lambda: stake.unbond(world.program, payer.pubkey(), owner.pubkey(), who.address, unbonding_id, shares),
        payer,
        owner,
    )


def _old_epoch(world: World, random: Random) -> int | None:
    """The last finalized one mostly; None after the escape."""
    config = world.config
    if config.escaped and random.random() < 0.9:
        return None
    epochs = world.epochs()
    if not epochs or random.random() < 0.03:
        return None
    finalized = [epoch for epoch in epochs if world.checkpoint(epoch).status == 2]
    return in_turn(random, finalized, epochs)


@action
def withdraw_unbonded(world: World, random: Random) -> Call | None:
    drawn = in_turn(random, [one for one in _positions(world) if one[2].open_unbondings])
    if drawn is None:
        return None
    who, owner, position = drawn
    at = pda.stake_position(world.program, who.address, owner.pubkey())
    newest_first = range(position.next_unbonding_id - 1, -1, -1)
    open_ids = [one for one in newest_first if pda.unbonding(world.program, at, one) in world.model.accounts]
    unbonding_id, epoch = random.choice(open_ids), _old_epoch(world, random)
    return call(
        world,
        "withdraw_unbonded",
        lambda: world.model.withdraw_unbonded(owner.pubkey(), who.address, unbonding_id, epoch),
        lambda: stake.withdraw_unbonded(world.program, owner.pubkey(), who.address, unbonding_id, epoch),
        owner,
    )


@action
def close_stake_position(world: World, random: Random) -> Call | None:
    known = _positions(world)
    drawn = in_turn(random, [one for one in known if not one[2].shares and not one[2].open_unbondings], known)
    if drawn is None:
        return None
    who, owner, _ = drawn
    return call(
        world,
        "close_stake_position",
        lambda: world.model.close_stake_position(owner.pubkey(), who.address),
        lambda: stake.close_stake_position(world.program, owner.pubkey(), who.address),
        owner,
    )


# -- sets ------------------------------------------------------------------------------------------------------------------------------------


def _version(world: World, random: Random) -> int:
    following = world.config.sealed_last.version + 1
    return int(following if random.random() < 0.9 else random.choice((following - 1, following + 1, 1)))


def _set_action(name: str, aside: Callable[[World], Sequence[Keypair]]) -> None:
    def drawn(world: World, random: Random) -> Call | None:
        if not world.is_up:
            return None
        version, payer = _version(world, random), random.choice(aside(world))
        rule = getattr(world.model, name)
        build = getattr(instructions, name)
        return call(
            world,
            name,
            lambda: rule(payer.pubkey(), version),
            lambda: build(world.program, payer.pubkey(), version),
            payer,
        )

    drawn.__name__ = name
    action(drawn)


_set_action("create_validator_set", lambda world: world.people)
_set_action("grow_validator_set", lambda world: world.people)
_set_action("advance_validator_set", lambda world: [world.chain.authority] * 3 + [world.posters[1]])


@action
def stall_step(world: World, random: Random) -> Call | None:
    if not world.is_up or not world.config.pinned.version:
        return None
    version, payer = _version(world, random), random.choice(world.people)
    pinned = world.config.pinned.version
    return call(
        world,
        "stall_step",
        lambda: world.model.stall_step(version),
        lambda: stake.stall_step(world.program, payer.pubkey(), pinned, version),
        payer,
    )


@action
def close_validator_set(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    known = world.versions()
    before = world.config.sealed_before.version
    version = in_turn(random, [one for one in known if one < before and one != world.config.pinned.version], known)
    if version is None:
        return None
    held = world.model.accounts[pda.validator_set(world.program, version)]
    recipient = held.payer if random.random() < 0.9 else random.choice(world.people).pubkey()
    payer, epoch = random.choice(world.people), _old_epoch(world, random)
    return call(
        world,
        "close_validator_set",
        lambda: world.model.close_validator_set(version, recipient, epoch),
        lambda: stake.close_validator_set(world.program, payer.pubkey(), version, recipient, epoch),
        payer,
    )


@action
def jail_validator(world: World, random: Random) -> Call | None:
    known = world.registered()

    def missing(one: Candidate) -> bool:
        slot = _slot(world, one)
        return slot is not None and slot.misses > 0 and not slot.flags & JAILED

    who = in_turn(random, [one for one in known if missing(one)], known)
    if who is None:
        return None
    payer = random.choice([*world.people, who.authority])
    return call(
        world,
        "jail_validator",
        lambda: world.model.jail_validator(payer.pubkey(), who.address),
        lambda: stake.jail_validator(world.program, payer.pubkey(), who.address),
        payer,
    )


# -- the inbox -------------------------------------------------------------------------------------------------------------------------------


def _inbox_index(world: World, random: Random) -> int:
    count = world.config.inbox.count
    return int(count if random.random() < 0.95 else random.choice((max(0, count - 1), count + 1)))


def _entry_lamports(world: World, random: Random) -> int:
    least = world.config.parameters.min_inbox_lamports
    return int(random.choice((least, least, 50_000, 3_000_000, 20_000_001, least - 1)))


@action
def deposit(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    depositor, index = random.choice(world.people), _inbox_index(world, random)
    lamports = _entry_lamports(world, random) if random.random() < 0.97 else 1 << 62
    to = random.choice(world.clients).pubkey()
    if random.random() < 0.1:
        to = random.choice((world.model.registry_at, world.model.treasury, world.others[0].pubkey()))
    return call(
        world,
        "deposit",
        lambda: world.model.deposit(depositor.pubkey(), index, lamports, to),
        lambda: instructions.deposit(world.program, depositor.pubkey(), index, lamports, to),
        depositor,
    )


@action
def inbox_task(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    client, index = random.choice(world.clients), _inbox_index(world, random)
    lamports, spec_hash = _entry_lamports(world, random), bytes([random.randrange(4)]) * 32
    kind, mode = random.choice((1, 1, 1, 2, 4, 0, 5)), random.choice((2, 2, 2, 1, 4, 0, 5))
    deadline = world.slot + random.choice((1, 5, 40, 0))
    most = random.choice((U64_MAX, U64_MAX, 10_000, 0))
    return call(
        world,
        "inbox_task",
        lambda: world.model.inbox_task(client.pubkey(), index, lamports, spec_hash, (kind, mode), deadline, most),
        lambda: inbox_instructions.inbox_task(
            world.program,
            client.pubkey(),
            index,
            lamports=lamports,
            spec_hash=spec_hash,
            deadline_slot=deadline,
            max_fee_lamports=most,
            kind=kind,
            mode=mode,
        ),
        client,
    )


@action
def inbox_withdrawal(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    owner, index = random.choice(world.clients), _inbox_index(world, random)
    lamports, asked = _entry_lamports(world, random), random.choice((U64_MAX, 10_000, 1_000_000, 0))
    task, most = bytes(32), random.choice((U64_MAX, U64_MAX, U64_MAX, 0))
    tasks = [entry for entry in map(world.model.entry, range(world.config.inbox.count)) if entry and entry.kind == 2]
    if tasks and random.random() < 0.5:
        one = random.choice(tasks)
        domain = messages_domain(world.program)
        task = messages.inbox_task_id(domain, bytes(one.beneficiary), one.index, one.reference)
    return call(
        world,
        "inbox_withdrawal",
        lambda: world.model.inbox_withdrawal(owner.pubkey(), index, lamports, asked, task, most),
        lambda: inbox_instructions.inbox_withdrawal(
            world.program,
            owner.pubkey(),
            index,
            lamports=lamports,
            withdraw_lamports=asked,
            task_id=task,
            max_fee_lamports=most,
        ),
        owner,
    )


# -- governance ------------------------------------------------------------------------------------------------------------------------------


def governing(world: World, random: Random) -> Keypair:
    right = world.keypair(world.config.governance)
    return signing_for(world, random, right) if right is not None else random.choice(world.people)


def _pause_action(name: str) -> None:
    def drawn(world: World, random: Random) -> Call | None:
        if not world.is_up:
            return None
        signer = governing(world, random)
        rule, build = getattr(world.model, name), getattr(dispute_instructions, name)
        return call(world, name, lambda: rule(signer.pubkey()), lambda: build(world.program, signer.pubkey()), signer)

    drawn.__name__ = name
    action(drawn)


_pause_action("pause")
_pause_action("unpause")


@action
def grant(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    payer, signer, index = random.choice(world.people), governing(world, random), _inbox_index(world, random)
    spare = max(0, world.model.lamports[world.model.treasury] - world.model.floor)
    least = world.config.parameters.min_inbox_lamports
    lamports, to = (
        random.choice((least, spare, spare + 1, spare // 3, least - 1)),
        random.choice(world.clients).pubkey(),
    )
    return call(
        world,
        "grant",
        lambda: world.model.grant(payer.pubkey(), signer.pubkey(), index, lamports, to),
        lambda: dispute_instructions.grant(world.program, payer.pubkey(), signer.pubkey(), index, lamports, to),
        payer,
        signer,
    )


@action
def offer_governance(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    signer = governing(world, random)
    to = random.choice([one.pubkey() for one in world.governors] + [Pubkey(bytes(32))])
    return call(
        world,
        "offer_governance",
        lambda: world.model.offer_governance(signer.pubkey(), to),
        lambda: dispute_instructions.offer_governance(world.program, signer.pubkey(), to),
        signer,
    )


@action
def accept_governance(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    named = world.keypair(world.config.next_governance)
    signer = named if named is not None and random.random() < 0.9 else random.choice(world.people)
    return call(
        world,
        "accept_governance",
        lambda: world.model.accept_governance(signer.pubkey()),
        lambda: dispute_instructions.accept_governance(world.program, signer.pubkey()),
        signer,
    )


@action
def propose_parameters(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    payer, signer, parameters = random.choice(world.people), governing(world, random), changed_parameters(random)
    return call(
        world,
        "propose_parameters",
        lambda: world.model.propose_parameters(payer.pubkey(), signer.pubkey(), parameters),
        lambda: dispute_instructions.propose_parameters(world.program, payer.pubkey(), signer.pubkey(), parameters),
        payer,
        signer,
    )


def _proposer(world: World, random: Random) -> Pubkey | None:
    proposal = world.model.accounts.get(pda.proposal(world.program))
    if proposal is None:
        return None
    return proposal.proposer if random.random() < 0.93 else random.choice(world.people).pubkey()


@action
def apply_parameters(world: World, random: Random) -> Call | None:
    proposer, signer = _proposer(world, random), random.choice(world.people)
    if proposer is None:
        return None
    return call(
        world,
        "apply_parameters",
        lambda: world.model.apply_parameters(proposer),
        lambda: dispute_instructions.apply_parameters(world.program, signer.pubkey(), proposer),
        signer,
    )


@action
def cancel_parameters(world: World, random: Random) -> Call | None:
    proposer = _proposer(world, random)
    if proposer is None:
        return None
    signer = governing(world, random)
    return call(
        world,
        "cancel_parameters",
        lambda: world.model.cancel_parameters(signer.pubkey(), proposer),
        lambda: dispute_instructions.cancel_parameters(world.program, signer.pubkey(), proposer),
        signer,
    )
