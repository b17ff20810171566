"""Random instructions of random people on the real program, against the model and the invariants of machine_*.py; and that each invariant can
fail. Longer by hand: tests/program/machine_report.py; hypothesis' part by POUW_MONEY_EXAMPLES and POUW_MONEY_STEPS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from solders.account import Account
from solders.pubkey import Pubkey

from settlement import idl, pda
from settlement import inbox_instructions as hatch
from tests.program.kit import STAKE
from tests.program.machine_actions import ACTIONS, Call, call, registration
from tests.program.machine_invariants import INVARIANTS, check_all, check_changed, view_of
from tests.program.machine_model import FINALIZED, POSTED
from tests.program.machine_run import GIFT, Run, episode
from tests.program.machine_unseen import NEVER_SEEN, SELDOM_SEEN
from tests.program.machine_world import Tally, Violation, World
from tests.program.slash_kit import offset_of

SEEN = Path(__file__).parent / "machine_seen.json"
STEPS, MOST_STEPS = 2_000, 12_000


def test_every_instruction_of_the_idl_has_an_action() -> None:
    missing = set(idl.committed().instruction_names) - set(ACTIONS)
    assert not missing, f"machine_actions.py and machine_batches.py try no {sorted(missing)}"
    assert not set(ACTIONS) - set(idl.committed().instruction_names)


@pytest.fixture(scope="module")
def tally() -> Tally:
    """Thousands of steps, until every instruction has gone through."""
    total, wanted = Tally(), set(ACTIONS)
    for seed in count(1):
        total.add(episode(seed, 900, wanted).tally)
        if total.steps >= STEPS and not wanted:
            return total
        assert total.steps < MOST_STEPS, f"never through: {sorted(wanted)}"
    raise AssertionError


def test_thousands_of_steps_break_nothing_and_every_instruction_goes_through(tally: Tally) -> None:
    assert all(tally.successes[name] for name in ACTIONS)
    assert sum(tally.errors.values()) > 500, "refusals are tried as well"
    assert tally.successes[GIFT] > 0


def test_every_error_is_seen_by_the_machine_or_explained(tally: Tally) -> None:
    """`machine_report --record` writes which were seen in a long run."""
    names = {spec.name for spec in idl.committed().errors.values()}
    seen = set(json.loads(SEEN.read_text()))
    assert names - seen - set(NEVER_SEEN) - set(SELDOM_SEEN) == set(), "neither seen nor explained in machine_unseen.py"
    assert not (seen | set(NEVER_SEEN) | set(SELDOM_SEEN)) - names, "no errors of the program"
    now = {idl.committed().errors[code].name for code in tally.errors if code}
    assert not (seen | now) & set(NEVER_SEEN), "explained as never seen, and seen"


# -- hypothesis, which shrinks ---------------------------------------------------------------------------------------------------------------


def up(validators: int = 4) -> World:
    """A world with a sealed set and something in its inbox."""
    world, random = World(), Random(0)
    run = Run(random, world)
    while not world.is_up:
        run.step("initialize")
    while world.model.sizes[world.model.registry_at] < 45_080:
        run.step("grow_registry")
    for who in world.candidates[:validators]:
        world.play(registration(world, who, STAKE))
    while not world.config.pinned.version:
        run.step("create_validator_set")
        run.step("advance_validator_set")
    while world.config.inbox.count < 2:
        run.step("deposit")
    return world


class Machine(RuleBasedStateMachine):
    run: Run

    @initialize()
    def bring_up(self) -> None:
        self.run = Run(Random(0), up())

    @rule(name=st.sampled_from(sorted(ACTIONS)), random=st.randoms(use_true_random=False))
    def attempt(self, name: str, random: Random) -> None:
        self.run.random = random
        self.run.step(name)

    @rule(slots=st.sampled_from((1, 2, 9, 25, 60, 120)))
    def wait(self, slots: int) -> None:
        self.run.world.warp(slots)

    def teardown(self) -> None:
        if hasattr(self, "run"):
            check_all(self.run.world)


def test_a_shrinking_run_breaks_nothing() -> None:
    chosen = settings(
        max_examples=int(os.environ.get("POUW_MONEY_EXAMPLES", "5")),
        stateful_step_count=int(os.environ.get("POUW_MONEY_STEPS", "60")),
        deadline=None,
        derandomize="POUW_MONEY_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=chosen)  # type: ignore[no-untyped-call]


# -- that it can fail ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lived_in() -> World:
    """A chain on which everything is going on: stake unbonding, epochs posted, final and rejected, a demand, an offence, void ranges, claims."""
    for seed in count(40):
        random = Random(seed)
        world = World()
        run = Run(random, world)
        world.lying = 0.5
        while world.tally.steps < 900:
            run.step()
            if world.is_up and not world.config.escaped and _has_everything(world):
                return world
    raise AssertionError


def _has_everything(world: World) -> bool:
    kinds = set(world.model.kinds.values())
    wanted = {"Unbonding", "Demand", "Offence", "Claim", "StakePosition"}
    statuses = {world.checkpoint(epoch).status for epoch in world.epochs()}
    voids = world.config.voids[0]["first"]
    return wanted <= kinds and {POSTED, FINALIZED} <= statuses and bool(voids) and _live_unbonding(world) is not None


def _live_unbonding(world: World) -> Pubkey | None:
    """An unbonding of a validator that is a member of the set of an epoch that is not final, sealed before it."""
    view = view_of(world)
    for address, (held, sealed) in view.requested.items():
        key = bytes(view.of["Validator"][held.validator].bls_public_key)
        for one in view.checkpoints():
            is_live = one.status == POSTED and not view.is_dead(one.epoch)
            if is_live and one.set_version <= sealed and key in view.members.get(one.set_version, []):
                return address
    return None


def _first(world: World, kind: str, wanted: Callable[[object], bool] = lambda one: True) -> Pubkey:
    view = view_of(world)
    return next(address for address, held in view.of[kind].items() if wanted(held))


Change = Callable[[World], tuple[Pubkey, Account | None]]


def changed(kind: str, name: str, by: int = 1, at: Callable[[World], Pubkey] | None = None, width: int = 8) -> Change:
    """An integer of the first account of this kind, or the one at `at`, raised."""

    def made(world: World) -> tuple[Pubkey, Account | None]:
        address = at(world) if at else _first(world, kind)
        held = world.svm.get_account(address)
        assert held is not None
        data, offset = bytearray(held.data), offset_of(kind, name)
        old = int.from_bytes(data[offset : offset + width], "little")
        data[offset : offset + width] = ((old + by) % (1 << 8 * width)).to_bytes(width, "little")
        return address, Account(held.lamports, bytes(data), held.owner)

    return made


def enriched(at: Callable[[World], Pubkey], by: int) -> Change:
    def made(world: World) -> tuple[Pubkey, Account | None]:
        held = world.svm.get_account(at(world))
        assert held is not None
        return at(world), Account(held.lamports + by, bytes(held.data), held.owner)

    return made


def gone(at: Callable[[World], Pubkey]) -> Change:
    return lambda world: (at(world), Account(0, b"", pda.SYSTEM_PROGRAM))


def _posted(world: World) -> Pubkey:
    return _first(world, "Checkpoint", lambda one: one.status == POSTED)  # type: ignore[attr-defined]


def _unbonding(world: World) -> Pubkey:
    address = _live_unbonding(world)
    assert address is not None
    return address


BROKEN: dict[str, Change] = {
    "lamports_are_conserved": enriched(lambda world: world.model.vault, 1),
    "no_account_is_below_rent": enriched(lambda world: world.model.config_at, -1),
    "the_vault_holds_what_came_in_and_did_not_leave": enriched(lambda world: world.model.vault, -1),
    "the_stake_vault_holds_all_stake": enriched(lambda world: world.model.stake_vault, -1),
    "the_registry_mirrors_the_validators": changed("Validator", "slot_index"),
    "every_share_is_somebodys": changed("StakePosition", "shares"),
    "claims_add_up": changed("Claim", "claimed_lamports"),
    "bonds_are_held_until_they_are_decided": enriched(_posted, -1),
    "stake_leaves_only_out_of_reach": gone(_unbonding),
    "epochs_are_never_used_again": changed("Checkpoint", "hash"),
    "what_is_final_stays": changed(
        "Checkpoint",
        "status",
        POSTED - FINALIZED,
        lambda world: _first(world, "Checkpoint", lambda one: one.status == FINALIZED),  # type: ignore[attr-defined]
        width=1,
    ),
    "void_ranges_are_well_formed": changed("Config", "voids", 1 << 40),
    "heads_are_in_order": changed("Config", "posted", 1 << 20),
    "the_inbox_is_one_chain": changed("Config", "inbox"),
    "every_slash_that_is_due_is_counted": changed("Config", "pending_slashes"),
    "every_demand_holds_its_checkpoint": changed("Checkpoint", "open_demands"),
    "every_offence_is_tallied_and_tombstones": changed("EquivocationTally", "validators"),
}
"""For each invariant one way of breaking the chain behind the program's back."""


def test_every_invariant_is_shown_to_fail() -> None:
    assert set(BROKEN) | {"nothing_is_paid_twice"} == set(INVARIANTS)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_an_invariant_fails_when_it_is_broken(lived_in: World, name: str) -> None:
    world = lived_in
    check_all(world)
    address, broken = BROKEN[name](world)
    right = world.svm.get_account(address)
    world.svm.set_account(address, broken)
    view = view_of(world)
    requested = dict(view.requested)
    view.read(world.known)
    try:
        with pytest.raises(Violation):
            INVARIANTS[name](view)
    finally:
        world.svm.set_account(address, right)
        view.read(world.known)
        view.requested = requested
    check_all(world)


def test_a_refund_paid_twice_is_found() -> None:
    """As a program would that forgot to mark the entry: a thief takes the mark away, in the program's account and the model's."""
    world = up()
    run = Run(Random(1), world)
    world.warp(world.config.parameters.hatch_slots + 1)
    while not world.config.escaped:
        run.step("escape")
    entries = [world.model.entry(index) for index in range(world.config.inbox.count)]
    payer, entry = world.people[0], min((one for one in entries if one is not None), key=lambda one: one.lamports)
    index = entry.index

    def refund() -> Call:
        return call(
            world,
            "escape_refund",
            lambda: world.model.escape_refund(index, entry.beneficiary, True),
            lambda: hatch.escape_refund(world.program, payer.pubkey(), index, entry.beneficiary),
            payer,
        )

    assert world.play(refund()) is None
    check_changed(world)
    at = pda.inbox_entry(world.program, index)
    data = bytearray(world.chain.data(at))
    data[offset_of("InboxEntry", "refunded")] = 0
    world.chain.overwrite(at, bytes(data))
    entry.refunded = 0
    assert world.play(refund()) is None
    with pytest.raises(Violation, match="was paid 2 times"):
        INVARIANTS["nothing_is_paid_twice"](view_of(world))


def test_a_thief_between_two_steps_is_found() -> None:
    """Lamports that go from one vault to another add up all the same; the vaults' equations do not."""
    world = up()

    def thief(robbed: World) -> None:
        if robbed.tally.steps == 40:
            for vault, by in ((robbed.model.vault, -1), (robbed.model.stake_vault, 1)):
                held = robbed.svm.get_account(vault)
                assert held is not None
                robbed.svm.set_account(vault, Account(held.lamports + by, b"", held.owner))
                robbed.written.add(vault)

    run = Run(Random(7), world, after=thief)
    with pytest.raises(Violation, match="the_vault_holds"):
        while world.tally.steps < 80:
            run.step()


def test_a_program_that_answers_otherwise_than_the_model_is_found() -> None:
    """Here it is the model that is changed: it thinks that the challenge window is a slot shorter."""
    world = up()
    run = Run(Random(3), world)
    while not world.epochs():
        run.step("post_checkpoint")
    epoch = world.epochs()[0]
    world.lying = 0
    world.warp(world.checkpoint(epoch).challenge_until_slot - world.slot)
    world.checkpoint(epoch).challenge_until_slot -= 1
    with pytest.raises(Violation, match="refused with ChallengeWindowOpen, the model says None"):
        for _ in range(100):
            drawn = ACTIONS["finalize_checkpoint"](world, run.random)
            assert drawn is not None
            world.play(drawn)


def test_stake_that_a_slash_does_not_reach_is_found() -> None:
    """A validator whose account says that it has no registry slot any more, while it is in the set that certified a lie."""
    world = up()
    run = Run(Random(5), world)
    world.lying = 1
    while not any(world.told[epoch].lie == "trace" for epoch in world.epochs()):
        run.step("post_checkpoint")
        world.warp(1)
        if len(world.epochs()) > 40:
            raise AssertionError("no such lie")
    check_all(world)
    at = _first(world, "Validator")
    held = world.svm.get_account(at)
    assert held is not None
    world.svm.set_account(at, Account(held.lamports, bytes(held.data), pda.SYSTEM_PROGRAM))
    with pytest.raises(Violation):
        check_all(world)
