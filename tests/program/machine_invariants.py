"""What must hold on the chain after every step, whatever happened: stated of the accounts as they are, without the model's rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from solders.instruction import Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from settlement import dispute_instructions, evidence, idl, messages, pda, slash_instructions
from settlement.messages import InboxEntry
from tests.program.machine_model import FINALIZED, NO_SLOT, POSTED, REJECTED, VOIDED, Fields, bits, fields_of
from tests.program.machine_stake import JAILED, OCCUPIED, V_JAILED, V_TOMBSTONED
from tests.program.machine_world import Violation, World, candidate_at, decoded, slots_in

Invariant = Callable[["View"], None]
INVARIANTS: dict[str, Invariant] = {}
LOOKS_AT: dict[str, frozenset[str]] = {}


def invariant(*kinds: str) -> Callable[[Invariant], Invariant]:
    """`kinds`: the accounts that it speaks of; it can break only when one of them, or one that is gone, was written. None: always."""

    def named(function: Invariant) -> Invariant:
        INVARIANTS[function.__name__] = function
        LOOKS_AT[function.__name__] = frozenset(kinds)
        return function

    return named


def must(holds: bool, told: str) -> None:
    if not holds:
        raise Violation(told)


class View:
    """The accounts of the chain, decoded; kept up to date by what each transaction may have written."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lamports: dict[Pubkey, int] = {}
        self.sizes: dict[Pubkey, int] = {}
        self.of: dict[str, dict[Pubkey, Fields]] = defaultdict(dict)
        self.kinds: dict[Pubkey, str] = {}
        self.slots: list[Fields | None] = []
        self.written: set[str] = set()
        self.fresh: set[Pubkey] = set()
        self.members: dict[int, list[bytes]] = {}
        self.requested: dict[Pubkey, tuple[Fields, int]] = {}
        self.left: list[tuple[Fields, int]] = []
        self.names = {idl.committed().account_discriminator(name): name for name in idl.committed().account_names}

    @property
    def config(self) -> Fields:
        return self.of["Config"][self.world.model.config_at]

    def read(self, addresses: Iterable[Pubkey]) -> None:
        self.left, self.written, self.fresh = [], set(), set(addresses)
        for address in self.fresh:
            self._read(address)
        if self.left or not self.of["Unbonding"].keys() <= self.requested.keys():
            self._follow()

    def _read(self, address: Pubkey) -> None:
        held = self.world.svm.get_account(address)
        old = self.kinds.pop(address, None)
        if old is not None:
            self.written.add(old)
            fields = self.of[old].pop(address)
            if old == "Unbonding" and (held is None or not held.lamports):
                self.left.append((fields, self.requested.pop(address)[1]))
        data = b"" if held is None else bytes(held.data)
        self.lamports[address] = 0 if held is None else held.lamports
        self.sizes[address] = len(data)
        if held is None or held.owner != self.world.program or not data:
            return
        kind = self.names[data[:8]]
        values, tail = decoded(kind, data)
        self.kinds[address], self.of[kind][address] = kind, fields_of(values)
        self.written.add(kind)
        if kind == "Registry":
            self.slots = slots_in(tail)
        elif kind == "ValidatorSet" and values["sealed"]:
            version = values["set_version"]
            self.members[version] = [tail[136 * at + 32 : 136 * at + 128] for at in range(values["count"])]

    def _follow(self) -> None:
        """Of a new unbonding: the last version sealed before it."""
        for address, fields in self.of["Unbonding"].items():
            if address not in self.requested:
                self.requested[address] = fields, self.config.sealed_last.version

    def checkpoints(self) -> list[Fields]:
        return list(self.of["Checkpoint"].values())

    def is_dead(self, epoch: int) -> bool:
        voids = [(one["first"], one["last"]) for one in self.config.voids if one["first"]]
        return epoch <= self.config.finalized.epoch or any(first <= epoch <= last for first, last in voids)


def view_of(world: World) -> View:
    if world.view is None:
        world.view = View(world)
        world.view.read(world.known)
    found: View = world.view
    return found


def check_changed(world: World) -> None:
    """After a step, from what it wrote."""
    view = view_of(world)
    view.read(world.written)
    world.written = set()
    check(view)


def check_all(world: World) -> None:
    """Everything read anew, and a slash tried."""
    view = view_of(world)
    view.read(world.known)
    check(view)
    if world.is_up:
        slashes_reach(world)


def check(view: View) -> None:
    if not view.of["Config"]:
        return
    for name, function in INVARIANTS.items():
        if LOOKS_AT[name] and not LOOKS_AT[name] & view.written:
            continue
        try:
            function(view)
        except Violation as violation:
            raise Violation(f"{name}: {violation} (after {view.world.last})") from violation


@invariant()
def lamports_are_conserved(view: View) -> None:
    world = view.world
    there = sum(view.lamports.values())
    must(there + world.fees == world.total, f"{there} lamports and {world.fees} of fees, not {world.total}")


@invariant()
def no_account_is_below_rent(view: View) -> None:
    rent = view.world.model.rent
    for address in view.fresh:
        lamports = view.lamports[address]
        must(lamports == 0 or lamports >= rent(view.sizes[address]), f"{address} has {lamports} lamports")


@invariant()
def the_vault_holds_what_came_in_and_did_not_leave(view: View) -> None:
    world, config = view.world, view.config
    refunded = 0
    if config.escaped:
        refunded = sum(one.lamports for one in view.of["InboxEntry"].values() if one.refunded)
    expected = world.model.floor + config.inbox.lamports - config.claimed_total - refunded
    expected += world.gifts[world.model.vault]
    must(view.lamports[world.model.vault] == expected, f"{view.lamports[world.model.vault]}, not {expected}")


@invariant()
def the_stake_vault_holds_all_stake(view: View) -> None:
    world = view.world
    names = ("active_lamports", "unbonding_lamports", "commission_lamports", "reward_lamports")
    stake = sum(one[name] for one in view.of["Validator"].values() for name in names)
    stake += sum(slot.reward_lamports for slot in view.slots if slot is not None)
    expected = world.model.floor + stake + world.gifts[world.model.stake_vault]
    must(
        view.lamports[world.model.stake_vault] == expected, f"{view.lamports[world.model.stake_vault]}, not {expected}"
    )


@invariant("Registry", "Validator")
def the_registry_mirrors_the_validators(view: View) -> None:
    keys = {bytes(one.bls_public_key): one for one in view.of["Validator"].values()}
    taken = [(index, slot) for index, slot in enumerate(view.slots) if slot is not None]
    for index, slot in taken:
        validator = keys.get(bytes(slot.bls_public_key))
        must(validator is not None and validator.slot_index == index, f"slot {index} is nobody's")
        assert validator is not None
        must(slot.stake_lamports == validator.active_lamports, f"slot {index} has another stake than its validator")
        must(bool(slot.flags & JAILED) == bool(validator.flags & V_JAILED), f"slot {index} is jailed or its validator")
        must(bool(slot.flags & OCCUPIED), f"slot {index} is not taken")
    must(len({slot.authority for _, slot in taken}) == len(taken), "an authority has two slots")
    holding = sum(one.slot_index != NO_SLOT for one in keys.values())
    must(
        holding == len(taken) == next(iter(view.of["Registry"].values())).count,
        "not as many slots as validators in them",
    )


@invariant("Validator", "StakePosition", "Unbonding")
def every_share_is_somebodys(view: View) -> None:
    """All stake behind a validator is shares of its two pools: one write slashes it all."""
    active: Counter[Pubkey] = Counter()
    unbonding: Counter[Pubkey] = Counter()
    leaving: Counter[tuple[Pubkey, Pubkey]] = Counter()
    for position in view.of["StakePosition"].values():
        active[position.validator] += position.shares
    for one in view.of["Unbonding"].values():
        unbonding[one.validator] += one.shares
        leaving[one.validator, one.owner] += 1
    for address, validator in view.of["Validator"].items():
        must(validator.active_shares == active[address], f"{address} has shares that nobody holds, or too few")
        must(validator.unbonding_shares == unbonding[address], f"{address} has unbonding shares that are nobody's")
    for position in view.of["StakePosition"].values():
        counted = leaving[position.validator, position.owner]
        must(position.open_unbondings == counted, f"{position.open_unbondings} open unbondings, there are {counted}")


@invariant("Claim", "Config", "InboxEntry")
def claims_add_up(view: View) -> None:
    config = view.config
    claimed = sum(one.claimed_lamports for one in view.of["Claim"].values())
    must(claimed == config.claimed_total, f"{claimed} lamports claimed, Config counts {config.claimed_total}")
    bound = config.finalized.inbox_lamports if config.escaped else config.finalized.payable_total
    must(claimed <= bound, f"{claimed} lamports claimed of {bound}")
    for one in view.of["InboxEntry"].values():
        must(not one.refunded or one.index >= config.finalized.inbox_cursor, f"entry {one.index} is taken and refunded")


@invariant()
def nothing_is_paid_twice(view: View) -> None:
    """A right of which the money has left (a bond, an entry, a claim, a reward, an unbonding) leaves but once: counted by what the vaults
    and accounts lost in each step."""
    world = view.world
    for right, paid in world.payments.items():
        must(paid <= 1, f"{right} was paid {paid} times")


@invariant("Checkpoint", "Demand")
def bonds_are_held_until_they_are_decided(view: View) -> None:
    rent = view.world.model.rent
    for address, one in view.of["Checkpoint"].items():
        need = rent(view.sizes[address]) + one.bond_lamports
        must(
            (one.status == POSTED) == (one.bond_lamports > 0),
            f"epoch {one.epoch} in status {one.status} has a bond or none",
        )
        must(need <= view.lamports[address], f"epoch {one.epoch} holds less than its bond")
    for address, one in view.of["Demand"].items():
        must(
            view.lamports[address] >= rent(view.sizes[address]) + one.bond_lamports, "a demand holds less than its bond"
        )


@invariant("Unbonding")
def stake_leaves_only_out_of_reach(view: View) -> None:
    """What was withdrawn had signed nothing that can still be rejected, and nothing rejected that is not slashed."""
    config = view.config
    for unbonding, sealed in view.left:
        key = bytes(view.of["Validator"][unbonding.validator].bls_public_key)
        for one in view.checkpoints():
            if one.set_version > sealed or key not in view.members.get(one.set_version, []):
                continue
            is_live = one.status == POSTED and not view.is_dead(one.epoch) and not config.escaped
            must(not is_live, f"stake that certified epoch {one.epoch}, which is not final, has left")
            unslashed = one.status == REJECTED and one.slashed_bitmap != one.bitmap
            must(not unslashed, f"stake has left before all who signed epoch {one.epoch} were slashed")
        since = [config.escape_slot] if config.escaped else []
        since += [
            one.posted_slot
            for one in view.checkpoints()
            if one.status == FINALIZED and one.set_version >= unbonding.first_free_version
        ]
        age = view.world.slot - min(since, default=view.world.slot)
        must(age > config.parameters.unbonding_slots, f"stake has left {age} slots after it could last be slashed")


@invariant("Checkpoint", "Config")
def epochs_are_never_used_again(view: View) -> None:
    history, highest = view.world.history, view.config.highest_epoch
    must(highest in (history.highest, history.highest + 1), f"from epoch {history.highest} to {highest}")
    for one in view.checkpoints():
        must(one.epoch <= highest, f"epoch {one.epoch} above {highest}")
        known = history.posted.setdefault(one.epoch, one.hash)
        must(known == one.hash, f"epoch {one.epoch} has become another checkpoint")
    history.highest = highest


@invariant("Checkpoint", "Config")
def what_is_final_stays(view: View) -> None:
    history, head = view.world.history, view.config.finalized
    by_hash = {one.hash: one for one in view.checkpoints()}
    if head.epoch and head.epoch not in history.finalized:
        must(head.epoch > max(history.finalized, default=0), f"epoch {head.epoch} is final after a later one")
        one = by_hash.get(head.hash)
        must(one is not None and one.status == FINALIZED, f"the finalized head, epoch {head.epoch}, is not final")
        assert one is not None
        last = max(history.finalized, default=0)
        must(
            not last or one.parent_hash == history.finalized[last], f"epoch {head.epoch} does not extend what is final"
        )
        history.finalized[head.epoch] = head.hash
    must(
        not history.finalized or head.hash == history.finalized[max(history.finalized)],
        "the finalized head has changed",
    )
    for one in view.checkpoints():
        is_final = history.finalized.get(one.epoch) == one.hash
        must(is_final == (one.status == FINALIZED), f"epoch {one.epoch} has status {one.status}")
        must(one.status in (POSTED, FINALIZED, REJECTED, VOIDED), f"epoch {one.epoch} has status {one.status}")


@invariant("Checkpoint", "Config")
def void_ranges_are_well_formed(view: View) -> None:
    config = view.config
    ranges = [(one["first"], one["last"]) for one in config.voids]
    used = [one for one in ranges if one != (0, 0)]
    must(ranges == used + [(0, 0)] * (8 - len(used)), "ranges have a hole")
    for first, last in used:
        must(0 < first <= last <= config.highest_epoch, f"{first} to {last} of {config.highest_epoch}")
        must(last > config.finalized.epoch, f"{first} to {last} lies behind what is final")
        must(not first <= config.posted.epoch <= last or not config.posted.epoch, "the posted head is void")
    for (_, last), (first, _) in pairwise(used):
        must(last + 1 < first, "ranges overlap, meet or are not in order")
    for one in view.checkpoints():
        if one.status == REJECTED:
            must(view.is_dead(one.epoch), f"epoch {one.epoch} was rejected and is live")


@invariant("Config")
def heads_are_in_order(view: View) -> None:
    config = view.config
    inbox, posted, final = config.inbox, config.posted, config.finalized
    must(final.epoch <= posted.epoch <= config.highest_epoch, "the heads' epochs are out of order")
    must(
        final.payable_total <= posted.payable_total <= posted.inbox_lamports <= inbox.lamports,
        "payable is out of order",
    )
    must(final.inbox_cursor <= posted.inbox_cursor <= inbox.count, "cursors are out of order")
    must(final.inbox_lamports <= posted.inbox_lamports, "the inbox's sums are out of order")
    must(config.pinned.version <= config.sealed_last.version, "an unsealed set is pinned")
    must(config.sealed_before.version <= config.sealed_last.version, "sets are sealed out of order")


@invariant("InboxEntry", "Config")
def the_inbox_is_one_chain(view: View) -> None:
    world, config = view.world, view.config
    entries = view.of["InboxEntry"]
    must(len(entries) == config.inbox.count, f"{len(entries)} entries, Config counts {config.inbox.count}")
    digest, total, start = world.history.inbox
    for index in range(start, config.inbox.count):
        one = entries.get(pda.inbox_entry(world.program, index))
        must(one is not None and one.index == index, f"entry {index} is missing")
        assert one is not None
        entry = InboxEntry(one.index, one.slot, one.kind, one.lamports, one.payload_hash)
        digest, total = (
            messages.next_inbox_hash(digest or messages.genesis_inbox_hash(world.model.domain), entry),
            total + one.lamports,
        )
        must(
            (one.hash_after, one.lamports_after) == (digest, total), f"entry {index} does not follow from those before"
        )
    world.history.inbox = digest, total, config.inbox.count
    must(config.inbox.lamports == total, "Config's sum is not that of the entries")
    must(not digest or config.inbox.hash == digest, "Config's hash is not that of the entries")


@invariant("Checkpoint", "Config")
def every_slash_that_is_due_is_counted(view: View) -> None:
    due = 0
    for one in view.checkpoints():
        slashed, signed = bits(one.slashed_bitmap), bits(one.bitmap)
        must(set(slashed) <= set(signed), f"epoch {one.epoch}: slashed without having signed")
        must(one.status == REJECTED or not slashed, f"epoch {one.epoch} was not rejected, and its signers are slashed")
        due += (len(signed) - len(slashed)) * (one.status == REJECTED)
    must(view.config.pending_slashes == due, f"{view.config.pending_slashes} slashes pending, {due} are due")


@invariant("Checkpoint", "Demand")
def every_demand_holds_its_checkpoint(view: View) -> None:
    opened = Counter(one.epoch for one in view.of["Demand"].values())
    for one in view.checkpoints():
        must(
            one.open_demands == opened[one.epoch],
            f"epoch {one.epoch}: {one.open_demands} demands, there are {opened[one.epoch]}",
        )
        must(one.status != FINALIZED or not one.open_demands, f"epoch {one.epoch} is final with open demands")
    must(set(opened) <= {one.epoch for one in view.checkpoints()}, "a demand without a checkpoint")


@invariant("Offence", "EquivocationTally", "Validator")
def every_offence_is_tallied_and_tombstones(view: View) -> None:
    offences = Counter(one.epoch for one in view.of["Offence"].values())
    tallies = {one.epoch: one.validators for one in view.of["EquivocationTally"].values()}
    must(dict(offences) == tallies, f"offences {dict(offences)}, tallies {tallies}")
    guilty = {one.validator for one in view.of["Offence"].values()}
    for address, validator in view.of["Validator"].items():
        must(
            (address in guilty) == bool(validator.flags & V_TOMBSTONED),
            f"{address} is tombstoned without an offence, or not",
        )


def slashes_reach(world: World) -> None:
    """Of the last live checkpoint that a single proof rejects: in one simulated transaction it is rejected and every signer slashed by its
    full share, out of everything behind it."""
    view = view_of(world)
    for epoch in sorted(world.epochs(), reverse=True):
        told, held = world.told[epoch], view.of["Checkpoint"][pda.checkpoint(world.program, epoch)]
        is_live = held.status == POSTED and not view.is_dead(epoch) and not view.config.escaped
        if told.lie == "trace" and is_live:
            _try_slashes(world, view, epoch)
            return


def _try_slashes(world: World, view: View, epoch: int) -> None:
    from tests.program.machine_batches import account_of

    told, reporter = world.told[epoch], world.posters[0]
    held = view.of["Checkpoint"][pda.checkpoint(world.program, epoch)]
    trace, first = told.batch.trace, world.state_of(told.parent).root
    wrong = 0 if trace[0] != first else len(trace) - 1
    must(trace[0] != first or trace[-1] != held.state_root, "this checkpoint does not lie")
    members = view.members.get(told.version)
    must(members is not None, f"the set that certified epoch {epoch}, which is not final, is gone")
    assert members is not None
    signers = [candidate_at(world.program, members[index]) for index in bits(held.bitmap)]
    shown = account_of(held)
    parent_gone = shown.parent_epoch and shown.parent_epoch not in world.epochs()
    must(not parent_gone, f"the parent of epoch {epoch}, which is not final, is gone")
    place = evidence.prove(trace, wrong)
    batch: list[Instruction] = [
        dispute_instructions.prove_trace(world.program, reporter.pubkey(), shown, trace[wrong], place)
    ]
    for index, who in zip(bits(held.bitmap), signers, strict=True):
        batch.append(
            slash_instructions.slash_rejected(world.program, reporter.pubkey(), who.address, epoch, told.version, index)
        )
    blockhash = world.svm.latest_blockhash()
    message = Message.new_with_blockhash(batch, reporter.pubkey(), blockhash)
    done = world.svm.simulate_transaction(Transaction([reporter], message, blockhash))
    if isinstance(done, FailedTransactionMetadata):
        raise Violation(f"a slash does not reach the signers of epoch {epoch}: {done.err()}")
    after: dict[Pubkey, Any] = dict(done.post_accounts())
    share = view.config.parameters.fraud_slash_basis_points
    for who in signers:
        before = view.of["Validator"][who.address]
        now, _ = idl.committed().decode_account("Validator", bytes(after[who.address].data))
        for name in ("active_lamports", "unbonding_lamports"):
            cut = before[name] * share // 10_000
            must(now[name] == before[name] - cut, f"{who.address}: {name} was not slashed")
