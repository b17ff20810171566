"""Runs of the machine: episodes of random steps, each on a chain of its own, from the deployment to the hatch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from solders.system_program import TransferParams, transfer

from settlement import pda
from tests.program import machine_batches  # noqa: F401
from tests.program.kit import STAKE
from tests.program.machine_actions import ACTIONS, registration
from tests.program.machine_invariants import check_all, check_changed
from tests.program.machine_model import POSTED
from tests.program.machine_stake import REGISTRY_FULL_BYTES, SLOTS
from tests.program.machine_world import Call, Tally, World

EXPENSIVE = {"post_checkpoint", "record_receipt", "create_proof_buffer", "register_validator"}
"""Drawing these takes milliseconds: few draws, whatever comes."""
LIES_PROVED = {
    "prove_malformed_record": "malformed",
    "prove_inbox": "inbox",
    "prove_trace": "trace",
    "prove_totals": "totals",
    "prove_count": "count",
    "prove_data": "data",
    "prove_transition": "transition",
}
LIES_IN_BUFFERS = ("data", "transition", "theft")
RARE = (
    "add_signatures",
    "jail_validator",
    "prove_count",
    "prove_data",
    "prove_inbox",
    "prove_malformed_record",
    "prove_transition",
    "raise_equivocation",
    "return_demand",
    "stall_step",
    "timeout_demand",
    "unjail",
    "join_registry",
    "close_stake_position",
    "answer_demand",
    "answer_absent",
)
CROWDED = ("register_validator", "join_registry", "leave_registry", "grow_validator_set", "advance_validator_set")
CROWDED_EVERY, CROWDED_STEPS, EPISODE_STEPS = 20, 700, 1_200
SWEEP_STEPS = 50
ESCAPE_AFTER_STEPS, STEPS_AFTER_ESCAPE = 700, 150
WEIGHTS: dict[str, float] = {
    "initialize": 0.4,
    "grow_registry": 0.4,
    "register_validator": 3,
    "create_validator_set": 2,
    "grow_validator_set": 0.7,
    "advance_validator_set": 3,
    "deposit": 5,
    "inbox_task": 3,
    "inbox_withdrawal": 3,
    "post_checkpoint": 14,
    "finalize_checkpoint": 9,
    "add_signatures": 1.5,
    "record_receipt": 2.5,
    "slash_equivocation": 4,
    "raise_equivocation": 3,
    "slash_rejected": 6,
    "reward_checkpoint": 7,
    "collect_rewards": 2.5,
    "withdraw_commission": 1.5,
    "jail_validator": 5,
    "delegate": 4,
    "unbond": 4,
    "withdraw_unbonded": 3,
    "close_stake_position": 1,
    "close_validator_set": 2,
    "close_checkpoint": 2,
    "void_checkpoint": 2,
    "open_demand": 7,
    "create_proof_buffer": 5,
    "write_proof_buffer": 5,
    "prove_data": 5,
    "prove_transition": 5,
    "answer_demand": 5,
    "answer_absent": 2.5,
    "timeout_demand": 2.5,
    "return_demand": 2,
    "stall_step": 5,
    "pause": 0.1,
    "unpause": 4,
    "escape": 2,
    "claim": 3,
    "escape_claim": 1,
    "escape_refund": 1,
    "apply_parameters": 2,
    "cancel_parameters": 0.4,
}
"""How often each is drawn; 1 when it is not named."""


@dataclass
class Run:
    """What a run does beside its actions. `after`: called after each step, as the tests' thief."""

    random: Random
    world: World
    after: Callable[[World], None] = lambda world: None
    wanted: set[str] = field(default_factory=set)
    """What has never gone through so far, and is tried whenever it fits."""
    names: list[str] = field(default_factory=lambda: list(ACTIONS))

    def step(self, name: str | None = None) -> bool:
        """One instruction; False when there was nothing to try."""
        random, world = self.random, self.world
        world.wanted_lies = tuple(lie for name, lie in LIES_PROVED.items() if name in self.wanted)
        urgent = self._urgent() if name is None else None
        if urgent is not None and random.random() < 0.75:
            name = urgent
        else:
            self._time(random)
        if name is None and world.is_up and random.random() < 0.01:
            gift(world, random)
            check_changed(world)
        if name is None and world.is_up and world.config.posted.cut_slot >= world.slot and random.random() < 0.5:
            world.warp(1)
        if name is None and world.is_up and random.random() < 0.3:
            name = self._possible()
        chosen = name or random.choices(self.names, [self._weight(one) for one in self.names])[0]
        call = self._draw(chosen)
        if call is None:
            return False
        if world.play(call) is None:
            self.wanted.discard(call.name)
        self.after(world)
        check_changed(world)
        if world.tally.steps % SWEEP_STEPS == 0:
            check_all(world)
        return True

    def _possible(self) -> str | None:
        """One of the instructions that fit seldom, when one fits now."""
        world = self.world
        last = {name for name in self.wanted if name.startswith("escape")}
        if last and not world.config.escaped and world.tally.steps > ESCAPE_AFTER_STEPS:
            world.warp(world.config.parameters.hatch_slots + 1)
            return "escape"
        for name in [*sorted(self.wanted - {"escape"}), *self.random.sample(RARE, 4)]:
            call = ACTIONS[name](world, self.random)
            if call is not None and world.would(call) is None:
                return name
        return None

    def _urgent(self) -> str | None:
        """Whoever has begun to fill a buffer goes on, and uses it."""
        world = self.world
        for address in reversed(world.fillings):
            filling = world.fillings[address]
            if address not in world.model.kinds or filling.is_used:
                continue
            if not filling.is_full:
                return "write_proof_buffer"
            filling.is_used = True
            return filling.purpose
        wanted = any(kind == "Demand" for kind in world.model.kinds.values()) or any(
            world.checkpoint(epoch).status == POSTED and world.told[epoch].lie in LIES_IN_BUFFERS
            for epoch in world.epochs()[-4:]
        )
        return "create_proof_buffer" if wanted and self.random.random() < 0.25 else None

    def _weight(self, name: str) -> float:
        world, weight = self.world, WEIGHTS.get(name, 1.0)
        if not world.is_up:
            return 40 if name == "initialize" else 0.2
        if name == "escape" and world.tally.steps < ESCAPE_AFTER_STEPS:
            return 0.02
        if world.config.escaped:
            return weight * (12 if name in ("escape_claim", "escape_refund", "withdraw_unbonded") else 0.6)
        if world.model.sizes[world.model.registry_at] < 45_080:
            return 30 if name == "grow_registry" else weight
        if not world.config.pinned.version:
            return weight * (
                20 if name in ("register_validator", "create_validator_set", "advance_validator_set") else 0.3
            )
        lie = LIES_PROVED.get(name)
        if lie is not None and any(told.lie == lie for told in list(world.told.values())[-6:]):
            weight *= 4
        return weight

    def _draw(self, name: str) -> Call | None:
        """Mostly one that the model takes, when some draws find one."""
        world, random = self.world, self.random
        call = ACTIONS[name](world, random)
        if call is None or random.random() < 0.2:
            return call
        for _ in range(1 if name in EXPENSIVE else 6):
            if world.would(call) is None:
                return call
            other = ACTIONS[name](world, random)
            call = other or call
        return call

    def _time(self, random: Random) -> None:
        """Mostly none passes; sometimes exactly up to a boundary or one beyond it."""
        world = self.world
        draw = random.random()
        if draw < 0.7 or not world.is_up:
            return
        if draw < 0.93:
            world.warp(random.choice((1, 1, 2, 3)))
            return
        ends = [end for end in boundaries(world) if end >= world.slot]
        if ends and draw < 0.995:
            world.warp(random.choice(ends) - world.slot + random.choice((0, 0, 1)))
        elif random.random() < 0.35:
            world.warp(random.choice((25, 51, 51, 111)) if world.tally.steps > ESCAPE_AFTER_STEPS else 51)


def boundaries(world: World) -> list[int]:
    """The last slots in which something is still so, among those not far off."""
    config, parameters = world.config, world.config.parameters
    ends = [config.posted.expiry_slot, config.sealed_last.slot + parameters.min_seal_gap_slots - 1]
    for epoch in world.epochs()[-6:]:
        held = world.checkpoint(epoch)
        ends += [held.challenge_until_slot, held.posted_slot + parameters.unbonding_slots]
    for address, kind in world.model.kinds.items():
        if kind == "Demand":
            ends.append(world.model.accounts[address].answer_until_slot)
        elif kind == "ParameterProposal":
            ends.append(world.model.accounts[address].ready_slot)
    for who in world.registered():
        ends.append(world.model.accounts[who.address].jailed_slot + parameters.jail_slots)
    return ends


GIFT = "a gift"


def gift(world: World, random: Random) -> None:
    """Somebody sends lamports to an account of the program, or to where one will be, without being asked."""
    config, giver = world.config, random.choice(world.people)
    to = random.choice(
        (
            world.model.vault,
            world.model.stake_vault,
            world.model.treasury,
            pda.checkpoint(world.program, config.highest_epoch + 1),
            pda.inbox_entry(world.program, config.inbox.count),
            pda.validator_set(world.program, config.sealed_last.version + 1),
            pda.proposal(world.program),
        )
    )
    lamports = random.choice((1_000_000, 2_000_003))
    parts = TransferParams(from_pubkey=giver.pubkey(), to_pubkey=to, lamports=lamports)
    call = Call(GIFT, lambda: world.model.move(giver.pubkey(), to, lamports), lambda: [transfer(parts)], giver)
    if world.play(call) is None:
        world.gifts[to] += lamports


def episode(seed: int, steps: int, wanted: set[str] | None = None) -> World:
    """A run on a chain of its own."""
    random = Random(seed)
    world = World()
    run = Run(random, world, wanted=set() if wanted is None else wanted)
    world.lying = random.choice((0.05, 0.2, 0.5, 0.7))
    ends, escaped_at = steps, 0
    while world.tally.steps < ends:
        run.step()
        if world.is_up and world.config.escaped:
            escaped_at = escaped_at or world.tally.steps
            ends = min(ends, escaped_at + STEPS_AFTER_ESCAPE)
    check_all(world)
    return world


def long_run(seed: int, steps: int, progress: Callable[[int, Tally], None] = lambda done, tally: None) -> Tally:
    """Episodes until so many steps are done. In one of twenty the registry is full."""
    total, number = Tally(), 0
    while total.steps < steps:
        crowded = number % CROWDED_EVERY == CROWDED_EVERY - 1
        own = seed * 1_000_003 + number
        done = crowded_episode(own, CROWDED_STEPS) if crowded else episode(own, min(EPISODE_STEPS, steps - total.steps))
        total.add(done.tally)
        progress(total.steps, done.tally)
        number += 1
    return total


def crowded_episode(seed: int, steps: int) -> World:
    """Every slot of the registry is taken by a registration before the run begins: who comes has to outbid."""
    random = Random(seed)
    world = World(SLOTS + 6)
    run = Run(random, world)
    while not world.is_up:
        run.step("initialize")
    while world.model.sizes[world.model.registry_at] < REGISTRY_FULL_BYTES:
        run.step("grow_registry")
    for who in world.candidates[:SLOTS]:
        world.play(registration(world, who, STAKE))
        check_changed(world)
    while world.tally.steps < steps:
        run.step(random.choice((*CROWDED, None, None)))
    check_all(world)
    return world
