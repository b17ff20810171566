"""What people try with checkpoints: posting batches that are right and batches that lie, proofs, demands and answers, evidence and slashes,
rewards, claims and the hatch. Batches are real, records and authorisations signed, certificates too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import dispute_instructions as dispute
from settlement import evidence, inbox, inbox_instructions, instructions, messages, pda, records, signing
from settlement import slash_instructions as slashing
from settlement.accounts import Checkpoint, CheckpointStatus, InboxEntryAccount
from settlement.hash_to_curve import P
from settlement.instructions import CheckpointArgs
from settlement.ledger import (
    TOTALS_KEY,
    BatchBuilder,
    Context,
    LedgerRejection,
    State,
    account_key,
    apply,
    witness,
)
from settlement.ledger import batch as ledger_batch
from settlement.ledger.witness import Fault, Honest, WitnessError
from settlement.messages import CheckpointMessage
from settlement.records import Record, RecordError
from settlement.signing import Authorisation, node_id
from settlement.validator_set import bitmap_to_bytes
from tests.program import points
from tests.program.dispute_kit import FIRST_ENTRY, Batch
from tests.program.kit import GENESIS
from tests.program.machine_actions import action, call
from tests.program.machine_model import ANY, FINALIZED, POSTED, REJECTED, Fields, bits
from tests.program.machine_world import Call, Filling, Told, World, candidate_at, hints_of, in_turn
from tests.settlement import kit

LIES = ("malformed", "inbox", "trace", "totals", "count", "data", "transition", "theft", "authorisation")
PIECE_BYTES = 900
SHOWN = 10_000
CHUNK, RECORD, TRACE_ENTRY = 1, 2, 3


# -- signatures and hints that lie -----------------------------------------------------------------------------------------------------------


def spoilt_hints(hints: bytes, kind: str) -> bytes:
    def number(value: int) -> bytes:
        return value.to_bytes(48, "big")

    flag = hints[0] & 0x80
    c1 = int.from_bytes(bytes([hints[0] ^ flag]) + hints[1:48], "big")
    c0 = int.from_bytes(hints[48:96], "big")
    if kind == "NonCanonicalHint":
        return hints[:192] + b"\xff" * 48 + hints[240:]
    if kind == "WrongHintInverse":
        return hints[:192] + bytes(48) + hints[240:]
    if kind == "WrongHintMultiple":
        return hints[:288] + bytes(192)
    turned = number((P - c1) % P)
    turned = bytes([turned[0] | flag]) + turned[1:]
    if kind == "WrongHintSign":
        return turned + number((P - c0) % P) + hints[96:]
    assert kind == "WrongHintRoot"
    return turned + hints[48:]


FLAWS = (
    "NonCanonicalHint",
    "WrongHintInverse",
    "WrongHintMultiple",
    "WrongHintSign",
    "WrongHintRoot",
    "BadSignature",
    "SignatureAtInfinity",
    "PairingNotOne",
)


def draw_flaw(random: Random, share: float = 0.06) -> str | None:
    return random.choice(FLAWS) if random.random() < share else None


def sealed_with(world: World, flaw: str | None, digest: bytes, signature: Callable[[], bytes]) -> tuple[bytes, bytes]:
    """Signature and hints with this flaw."""
    hints = hints_of(digest)
    if flaw == "BadSignature":
        return points.g2_off_subgroup(), hints
    if flaw == "SignatureAtInfinity":
        return points.G2_INFINITY, hints
    if flaw == "PairingNotOne":
        return world.candidates[0].secret.sign(bytes(32)), hints
    return signature(), hints if flaw is None else spoilt_hints(hints, flaw)


# -- posting ---------------------------------------------------------------------------------------------------------------------------------


def account_of(fields: Fields) -> Checkpoint:
    """As the builders of instructions want it."""
    names = Checkpoint.__dataclass_fields__
    values = {name: fields[name] for name in names if name != "status"}
    return Checkpoint(**values, status=CheckpointStatus(fields.status))


def entry_of(fields: Fields) -> InboxEntryAccount:
    return InboxEntryAccount(
        **{name: fields[name] for name in InboxEntryAccount.__dataclass_fields__ if name in fields}
    )


def context_of(world: World) -> Context:
    config = world.config
    members = world.validator_set(config.pinned.version)
    treasury = bytes(world.model.treasury)
    return Context(world.model.domain, config.highest_epoch + 1, config.posted.cut_slot, members, treasury)


def _wish(world: World, random: Random, state: State) -> tuple[Record, str] | None:
    """A record of some client's, with who signs it."""
    owner = random.choice(world.clients)
    name = world.names[owner.pubkey()]
    account = state.account(node_id(bytes(owner.pubkey())))
    if account is None:
        return None
    choice = random.random()
    if choice < 0.6:
        return kit.withdrawal(name, account.nonce, max(1, account.balance // random.choice((1, 2, 7)))), name
    if choice < 0.85:
        submitted = kit.submission(name, account.nonce, max(1, account.balance // 9), world.slot + 20)
        task = messages.task_id(world.model.domain, bytes(owner.pubkey()), account.nonce, kit.SPEC_HASH)
        return replace(submitted, task=task), name
    return kit.registration(name, account.nonce, max(1, account.balance // 5)), name


def build_batch(world: World, random: Random, cursor: int) -> Batch:
    """An honest batch on the posted head; an empty one when the state that the head left does not go with its cursor."""
    config, context = world.config, context_of(world)
    before = world.state_of(config.posted.epoch)
    builder = BatchBuilder(before, context)
    expiry = world.slot + 10_000
    try:
        for index in range(config.posted.inbox_cursor, cursor):
            entry = world.model.entry(index)
            assert entry is not None
            builder.add(inbox.record_of(world.model.domain, entry_of(entry), 0))
    except LedgerRejection:
        builder = BatchBuilder(before, context)
    else:
        for _ in range(random.choice((0, 1, 2, 5, 9))):
            wish = _wish(world, random, builder.state)
            if wish is None:
                continue
            record, name = wish
            try:
                builder.add(record, kit.authorise(record, name, expiry, world.model.domain))
            except LedgerRejection:
                continue
    roots = builder.close()
    encoded = tuple(
        roots.data[at * records.RECORD_BYTES : (at + 1) * records.RECORD_BYTES] for at in range(len(builder))
    )
    payable = max(config.posted.payable_total, roots.state.totals.payable)
    return Batch(context, before, roots.state, encoded, roots.data, roots.trace, roots.state.root, cursor, payable)


def lie(told: Batch, kind: str, random: Random) -> Batch:
    """The same with a lie in it; unchanged where there is nothing to lie about."""
    count = len(told.encoded)
    if kind == "malformed" and count:
        return told.with_record(random.randrange(count), bytes(160))
    if kind == "inbox" and count > 1:
        return told.with_record(*random.choice(((0, told.encoded[1]), (count - 1, told.encoded[0]))))
    if kind == "trace":
        return told.with_trace(random.choice((0, len(told.trace) - 1)), FIRST_ENTRY)
    if kind == "totals":
        return replace(told, payable_total=told.payable_total + 1)
    if kind == "count":
        return replace(told, trace=(*told.trace, told.trace[-1]))
    if kind == "data" and told.data:
        at = random.choice((0, len(told.data) - 1))
        return replace(told, data=told.data[:at] + bytes([told.data[at] ^ 1]) + told.data[at + 1 :])
    if kind == "authorisation" and count:
        at = 160 * count + signing.AUTHORISATION_BYTES * random.randrange(count)
        held = told.data[at : at + signing.AUTHORISATION_BYTES]
        wrong = random.choice((b"\x07" * 32 + held[32:], held[:32] + bytes(8) + held[40:], held[:40] + b"\x01" * 64))
        return replace(told, data=told.data[:at] + wrong + told.data[at + signing.AUTHORISATION_BYTES :])
    if kind == "transition" and len(told.trace) > 1:
        return told.with_trace(random.randrange(1, len(told.trace)), b"\x01" * 32)
    if kind == "theft" and count:
        owners = [leaf for leaf in told.after.leaves() if leaf[1] == "account"]
        if owners:
            thief = told.after.account(node_id(random.choice(owners)[2][:32]))
            assert thief is not None
            loot = random.choice((1, 10**7, 10**10))
            state = told.after.with_account(replace(thief, payable=thief.payable + loot))
            changed = replace(told, after=state, state_root=state.root)
            return changed.with_trace(len(told.trace) - 1, state.root)
    return told


def message_of(world: World, told: Batch, random: Random) -> CheckpointMessage:
    config, cursor = world.config, told.inbox_cursor
    inbox_hash = config.posted.inbox_hash
    if cursor > config.posted.inbox_cursor:
        last = world.model.entry(cursor - 1)
        assert last is not None
        inbox_hash = last.hash_after
    cut_slot = max(config.posted.cut_slot + 1, world.slot - random.choice((0, 0, 1, 3)))
    parts: dict[str, Any] = told.message_parts()
    return CheckpointMessage(
        epoch=config.highest_epoch + 1,
        attempt=random.choice((0, 0, 0, 1)),
        cut_slot=cut_slot,
        expiry_slot=cut_slot + config.parameters.max_expiry_slots,
        parent_hash=config.posted.hash,
        inbox_hash=inbox_hash,
        set_hash=config.pinned.hash,
        **parts,
    )


def _twisted(world: World, message: CheckpointMessage, random: Random) -> CheckpointMessage:
    """With something about it that the program must refuse, or may."""
    config, parameters = world.config, world.config.parameters
    changes: tuple[dict[str, int], ...] = (
        {"epoch": config.highest_epoch},
        {"epoch": config.highest_epoch + 2},
        {"cut_slot": world.slot + 1, "expiry_slot": world.slot + 2},
        {"cut_slot": config.posted.cut_slot},
        {"expiry_slot": world.slot - 1},
        {"expiry_slot": message.cut_slot + parameters.max_expiry_slots + 1},
        {"inbox_cursor": config.posted.inbox_cursor - 1},
        {"inbox_cursor": config.inbox.count + 1},
        {"inbox_cursor": config.posted.inbox_cursor + parameters.max_inbox_per_epoch + 1},
        {"payable_total": config.posted.payable_total - 1},
        {"payable_total": config.inbox.lamports + 1},
    )
    change = random.choice(changes)
    return replace(message, **change) if min(change.values()) >= 0 else message  # type: ignore[arg-type]


def draw_signers(world: World, version: int, random: Random) -> list[int]:
    """All, a few less, or too few."""
    entries = world.model.entries(version)
    everybody = list(range(len(entries)))
    lazy = {who.uncompressed for who in world.candidates[1:5:3]}
    there = [one for one in everybody if entries[one].bls_uncompressed not in lazy]
    stake = sum(entries[one].stake_lamports for one in there)
    is_quorum = 3 * stake >= 2 * sum(one.stake_lamports for one in entries)
    if is_quorum and random.random() < 0.85:
        return there
    absent = random.choice((0, 0, 0, 1, 1, 2, len(everybody) // 2))
    random.shuffle(everybody)
    return sorted(everybody[absent:]) or [0]


def _bitmap(signers: Sequence[int], random: Random, members: int) -> bytes:
    """Now and then with a bit of somebody whom the set does not have."""
    beyond = [255] if members < 256 and random.random() < 0.02 else []
    return bitmap_to_bytes(sum(1 << index for index in [*signers, *beyond]))


@action
def post_checkpoint(world: World, random: Random) -> Call | None:
    if not world.is_up or not world.config.pinned.version:
        return None
    config = world.config
    waiting = config.inbox.count - config.posted.inbox_cursor
    most = min(waiting, config.parameters.max_inbox_per_epoch)
    cursor = config.posted.inbox_cursor + (most if random.random() < 0.8 else random.randrange(most + 1))
    right = told = build_batch(world, random, cursor)
    lied = ""
    if random.random() < max(world.lying, 0.4 * bool(world.wanted_lies)):
        lied = random.choice(world.wanted_lies or LIES)
        told = lie(right, lied, random)
        lied = "" if told == right else lied
    message = message_of(world, told, random)
    if random.random() < 0.12:
        message = _twisted(world, message, random)
    version = config.pinned.version
    if random.random() < 0.03:
        version = random.choice(world.versions())
    if not world.model.entries(version):
        version = config.pinned.version
    signers, flaw, payer = draw_signers(world, version, random), draw_flaw(random, 0.04), random.choice(world.posters)
    bitmap = _bitmap(signers, random, len(world.model.entries(version)))
    wrong_entry = random.choice(("", "") if random.random() < 0.95 else ("WrongLastEntry", "WrongNextEntry"))
    parent = config.posted.epoch

    def build() -> Instruction:
        digest = message.hash(world.model.domain)
        signature, hints = sealed_with(world, flaw, digest, lambda: world.signature(version, digest, signers))
        names = ("epoch", "attempt", "cut_slot", "expiry_slot", "results_root", "state_root", "trace_root")
        args = CheckpointArgs(
            **{name: getattr(message, name) for name in (*names, "data_root", "payable_total", "inbox_cursor")},
            bitmap=bitmap,
            signature=signature,
            hints=hints,
        )
        built = instructions.post_checkpoint(world.program, payer.pubkey(), version, config.posted.inbox_cursor, args)
        return _other_entry(world, built, wrong_entry) if wrong_entry else built

    def note() -> None:
        world.told[message.epoch] = Told(told, message, told.after, parent, version, lied)

    return call(
        world,
        "post_checkpoint",
        lambda: world.model.post_checkpoint(payer.pubkey(), version, message, bitmap, flaw, wrong_entry),
        build,
        payer,
        note=note,
    )


def _other_entry(world: World, built: Instruction, which: str) -> Instruction:
    """With the registry in the place of the inbox entry before, or at, the cursor."""
    metas = list(built.accounts)
    index = 4 if which == "WrongLastEntry" else 5
    metas[index] = AccountMeta(world.model.registry_at, False, False)
    return Instruction(built.program_id, bytes(built.data), metas)


# -- the life of a checkpoint ----------------------------------------------------------------------------------------------------------------


def _poster(world: World, epoch: int, random: Random) -> Pubkey:
    poster: Pubkey = world.checkpoint(epoch).poster
    return poster if random.random() < 0.95 else random.choice(world.others).pubkey()


def _on_epoch(name: str, build: Callable[..., Instruction], wanted: Callable[[World, Fields], bool]) -> None:
    """finalize, void, close: an epoch and its poster."""

    def drawn(world: World, random: Random) -> Call | None:
        epochs = world.epochs()
        epoch = in_turn(random, [one for one in epochs if wanted(world, world.checkpoint(one))], epochs)
        if epoch is None:
            return None
        poster, payer = _poster(world, epoch, random), random.choice(world.people)
        rule = getattr(world.model, name)
        return call(
            world,
            name,
            lambda: rule(epoch, poster),
            lambda: build(world.program, payer.pubkey(), epoch, poster),
            payer,
        )

    drawn.__name__ = name
    action(drawn)


def _can_be_final(world: World, one: Fields) -> bool:
    return bool(one.status == POSTED and one.parent_hash == world.config.finalized.hash)


_on_epoch("finalize_checkpoint", instructions.finalize_checkpoint, _can_be_final)
_on_epoch(
    "void_checkpoint",
    dispute.void_checkpoint,
    lambda world, one: one.status == POSTED and (world.model.is_dead(one.epoch) or bool(world.config.escaped)),
)
_on_epoch(
    "close_checkpoint",
    dispute.close_checkpoint,
    lambda world, one: one.epoch < world.config.finalized.epoch and one.status != POSTED,
)


@action
def reward_checkpoint(world: World, random: Random) -> Call | None:
    epochs = world.epochs()
    due = [one for one in epochs if world.checkpoint(one).status == FINALIZED and not world.checkpoint(one).rewarded]
    epoch = in_turn(random, due[:1], due, epochs)
    if epoch is None:
        return None
    held, payer = world.checkpoint(epoch), random.choice(world.people)
    poster, version = _poster(world, epoch, random), held.set_version
    if random.random() < 0.03:
        version = random.choice(world.versions())
    parent = held.parent_epoch if random.random() < 0.97 else epoch + 1
    return call(
        world,
        "reward_checkpoint",
        lambda: world.model.reward_checkpoint(epoch, parent, version, poster),
        lambda: slashing.reward_checkpoint(world.program, payer.pubkey(), epoch, parent, version, poster),
        payer,
    )


@action
def add_signatures(world: World, random: Random) -> Call | None:
    epochs = world.epochs()

    def is_open(one: int) -> bool:
        held = world.checkpoint(one)
        missing = len(bits(held.bitmap)) < len(world.model.entries(held.set_version))
        return bool(held.status == POSTED and missing and held.challenge_until_slot >= world.slot)

    epoch = in_turn(random, [one for one in epochs if is_open(one)], epochs)
    if epoch is None:
        return None
    held, payer = world.checkpoint(epoch), random.choice(world.people)
    version = held.set_version if random.random() < 0.97 else random.choice(world.versions())
    signed = bits(held.bitmap)
    absent = [one for one in range(len(world.model.entries(held.set_version))) if one not in signed]
    signers = sorted(random.sample(absent, random.randrange(1, len(absent) + 1))) if absent else []
    if random.random() < 0.1 and signed:
        signers = sorted({*signers, random.choice(signed)})
    flaw, bitmap = draw_flaw(random), _bitmap(signers, random, len(world.model.entries(held.set_version)))
    digest = held.hash

    def build() -> Instruction:
        signature, hints = sealed_with(world, flaw, digest, lambda: world.signature(held.set_version, digest, signers))
        built = slashing.add_signatures(world.program, payer.pubkey(), epoch, version, digest, 0, signature)
        data = bytes(built.data)
        at = len(data) - 480 - 96 - 32
        return Instruction(built.program_id, data[:at] + bitmap + signature + hints, built.accounts)

    return call(
        world,
        "add_signatures",
        lambda: world.model.add_signatures(epoch, version, bitmap, flaw),
        build,
        payer,
    )


# -- evidence and slashes --------------------------------------------------------------------------------------------------------------------


@action
def record_receipt(world: World, random: Random) -> Call | None:
    """Evidence of an epoch that was posted, or of another message of the same epoch and attempt."""
    if not world.is_up or not world.config.pinned.version:
        return None
    epochs = [one for one in world.epochs() if world.told[one].version in world.versions()]
    epoch = in_turn(random, epochs[-4:])
    if epoch is None:
        return None
    told, owner = world.told[epoch], random.choice([*world.others, world.clients[0]])
    message = told.message
    if random.random() < 0.8:
        message = replace(message, results_root=bytes([random.randrange(3)]) * 32)
    if random.random() < 0.05:
        message = replace(message, attempt=message.attempt + 1)
    version = told.version
    others = [one for one in world.versions() if world.model.entries(one) and one != version]
    if others and random.random() < 0.1:
        version = random.choice(others)
    elif random.random() < 0.03:
        version = world.config.sealed_last.version + 1
    held = world.model.accounts.get(pda.validator_set(world.program, version))
    if held is None:
        return None
    message = replace(message, set_hash=held.set_hash)
    count = len(world.model.entries(version))
    signers = sorted(random.sample(range(count), random.randrange(1, count + 1))) if count else [0]
    pair = _infinite_pair(world, version)
    if pair and random.random() < 0.1:
        signers = pair
    if random.random() < 0.03:
        signers = []
    flaw, bitmap = draw_flaw(random), _bitmap(signers, random, count)
    digest = message.hash(world.model.domain)

    def build() -> Instruction:
        signature, hints = sealed_with(world, flaw, digest, lambda: world.signature(version, digest, signers))
        built = slashing.record_receipt(world.program, owner.pubkey(), GENESIS, version, message, 0, signature)
        data = bytes(built.data)
        at = len(data) - 480 - 96 - 32
        return Instruction(built.program_id, data[:at] + bitmap + signature + hints, built.accounts)

    return call(
        world,
        "record_receipt",
        lambda: world.model.record_receipt(owner.pubkey(), version, message, digest, bitmap, flaw),
        build,
        owner,
        note=lambda: world.receipts.append((owner, message, version, digest)),
    )


def _infinite_pair(world: World, version: int) -> list[int]:
    """The members of the set whose keys are each other's negative."""
    keys = [entry.bls_uncompressed for entry in world.model.entries(version)]
    halves = [index for index, key in enumerate(keys) if sum(other[:48] == key[:48] for other in keys) == 2]
    return halves if len(halves) == 2 else []


def _receipts(world: World) -> list[tuple[Keypair, CheckpointMessage, int, bytes]]:
    return [
        one for one in world.receipts if pda.receipt(world.program, one[0].pubkey(), one[3]) in world.model.accounts
    ]


@action
def close_receipt(world: World, random: Random) -> Call | None:
    known = _receipts(world)
    if not known:
        return None
    owner, _, _, digest = random.choice(known[: max(1, len(known) - 6)])
    signer = owner if random.random() < 0.93 else random.choice(world.people)
    address = pda.receipt(world.program, owner.pubkey(), digest)

    def build() -> Instruction:
        built = slashing.close_receipt(world.program, signer.pubkey(), digest)
        metas = [built.accounts[0], AccountMeta(address, False, True), *built.accounts[2:]]
        return Instruction(built.program_id, bytes(built.data), metas)

    return call(world, "close_receipt", lambda: world.model.close_receipt(signer.pubkey(), address), build, signer)


Named = tuple[Pubkey, int]
"""Evidence, and the version of the set that signed it."""


def _two_messages(
    world: World, random: Random, known: list[tuple[Keypair, CheckpointMessage, int, bytes]]
) -> tuple[Keypair, CheckpointMessage, Named, Named, bool]:
    """A receipt's owner and message, two pieces of evidence, and whether they show somebody who is not punished yet."""
    found = {one[2] for one in world.model.rights if one[0] == "offence"}
    owner, message, version, digest = in_turn(random, [one for one in known if one[1].epoch in found], known)
    first = (pda.receipt(world.program, owner.pubkey(), digest), version)
    rest = [one for one in known if one[0] == owner and one[1].epoch == message.epoch and one[3] != digest]
    second: Named
    if rest and random.random() < 0.5:
        other = random.choice(rest)
        second = (pda.receipt(world.program, owner.pubkey(), other[3]), other[2])
    elif message.epoch in world.epochs() and random.random() < 0.95:
        second = (pda.checkpoint(world.program, message.epoch), world.told[message.epoch].version)
    else:
        other = random.choice(known)
        second = (pda.receipt(world.program, other[0].pubkey(), other[3]), other[2])
    if random.random() < 0.02:
        second = (world.model.config_at, second[1])
    signed = []
    for at, of in (first, second):
        held, entries = world.model.accounts.get(at) or Fields(), world.model.entries(of)
        signed.append({entries[i].bls_uncompressed for i in bits(held.get("bitmap", b"")) if i < len(entries)})
    shows = any(
        ("offence", candidate_at(world.program, key).address, message.epoch) not in world.model.rights
        for key in signed[0] & signed[1]
    )
    return owner, message, first, second, shows


@action
def slash_equivocation(world: World, random: Random) -> Call | None:
    known = _receipts(world)
    if not known:
        return None
    drawn = None
    for _ in range(5):
        drawn = _two_messages(world, random, known)
        if drawn[4]:
            break
    assert drawn is not None
    owner, message, first, second, _ = drawn
    reporter = owner if random.random() < 0.95 else random.choice(world.people)
    held = [world.model.accounts.get(at) for at, _ in (first, second)]
    signed = [bits(one.get("bitmap", b"")) if one else [] for one in held]
    versions = first[1], second[1]
    entries = [world.model.entries(one) for one in versions]
    if not all(entries):
        return None
    keys = [{entries[at][i].bls_uncompressed: i for i in signed[at] if i < len(entries[at])} for at in (0, 1)]
    both = sorted(set(keys[0]) & set(keys[1]))
    free = [
        key
        for key in both
        if ("offence", candidate_at(world.program, key).address, message.epoch) not in world.model.rights
    ]
    both = free or both
    if both and random.random() < 0.92:
        key = random.choice(both)
        indexes = keys[0][key], keys[1][key]
    else:
        indexes = random.randrange(len(entries[0])), random.randrange(len(entries[1]))
    who = candidate_at(world.program, entries[0][indexes[0]].bls_uncompressed)
    if random.random() < 0.03:
        who = random.choice(world.registered())
    if random.random() < 0.03:
        versions = random.choice(world.versions()), versions[1]
    epoch = message.epoch + (random.random() < 0.02)
    pair = first[0], second[0]
    return call(
        world,
        "slash_equivocation",
        lambda: world.model.slash_equivocation(reporter.pubkey(), who.address, epoch, pair, versions, indexes),
        lambda: slashing.slash_equivocation(
            world.program, reporter.pubkey(), who.address, epoch, pair, versions, indexes
        ),
        reporter,
    )


@action
def raise_equivocation(world: World, random: Random) -> Call | None:
    known = [one for one in world.model.rights if one[0] == "offence"]
    if not known:
        return None

    def can_rise(one: tuple[Any, ...]) -> bool:
        held = world.model.accounts[pda.offence(world.program, one[1], one[2])]
        tally = world.model.accounts[pda.tally(world.program, one[2])]
        return bool(held.applied_basis_points < world.model.equivocation_target(tally))

    ordered = sorted(known, key=lambda one: (one[2], bytes(one[1])))  # type: ignore[call-overload]
    _, address, epoch = in_turn(random, [one for one in ordered if can_rise(one)], ordered)
    reporter = random.choice(world.people)
    return call(
        world,
        "raise_equivocation",
        lambda: world.model.raise_equivocation(reporter.pubkey(), address, epoch),
        lambda: slashing.raise_equivocation(world.program, reporter.pubkey(), address, epoch),
        reporter,
    )


@action
def slash_rejected(world: World, random: Random) -> Call | None:
    epochs = world.epochs()

    def due(epoch: int) -> bool:
        held = world.checkpoint(epoch)
        return bool(held.status == REJECTED and held.bitmap != held.slashed_bitmap)

    epoch = in_turn(random, [one for one in epochs if due(one)], epochs[-3:])
    if epoch is None:
        return None
    held, version = world.checkpoint(epoch), world.told[epoch].version
    entries = world.model.entries(version)
    open_bits = [one for one in bits(held.bitmap) if one not in bits(held.slashed_bitmap)]
    index = in_turn(random, open_bits, range(len(entries) or 1))
    if not entries:
        return None
    who = candidate_at(world.program, entries[index].bls_uncompressed)
    if random.random() < 0.03:
        who = random.choice(world.registered())
    if random.random() < 0.03:
        version = random.choice(world.versions())
    reporter = random.choice([*world.people, who.authority])
    return call(
        world,
        "slash_rejected",
        lambda: world.model.slash_rejected(reporter.pubkey(), who.address, epoch, version, index),
        lambda: slashing.slash_rejected(world.program, reporter.pubkey(), who.address, epoch, version, index),
        reporter,
    )


# -- proofs ----------------------------------------------------------------------------------------------------------------------------------


def _challenged(world: World, random: Random, *lies: str) -> int | None:
    """Mostly a live one, and rather one that lies so."""
    epochs = world.epochs()
    live = [one for one in epochs if world.checkpoint(one).status == POSTED and not world.model.is_dead(one)]
    liars = [one for one in live if world.told[one].lie in lies]
    found: int | None = in_turn(random, liars, live, epochs[-4:])
    return found


def _parent(world: World, epoch: int, random: Random) -> int | None:
    """The parent's epoch as it is named; None for none."""
    parent = world.checkpoint(epoch).parent_epoch or None
    if random.random() < 0.03:
        parent = random.choice([None, *(one for one in world.epochs() if one != epoch)])
    if parent is not None and parent not in world.epochs():
        return None
    return parent


def _shown_to(world: World, epoch: int, parent: int | None) -> Checkpoint:
    return replace(account_of(world.checkpoint(epoch)), parent_epoch=parent or 0)


def _parent_root(world: World, epoch: int) -> bytes:
    return world.state_of(world.told[epoch].parent).root


def _challenge(
    world: World,
    random: Random,
    name: str,
    epoch: int,
    judge: Callable[[], str | None],
    build: Callable[[Pubkey, Checkpoint], Instruction],
) -> Call:
    challenger, parent = random.choice(world.people), _parent(world, epoch, random)
    return call(
        world,
        name,
        lambda: world.model.prove(challenger.pubkey(), epoch, parent, judge),
        lambda: build(challenger.pubkey(), _shown_to(world, epoch, parent)),
        challenger,
    )


def _fraud(is_wrong: bool) -> str | None:
    return None if is_wrong else "NoFraud"


def _bad_place(place: dispute.Proven, random: Random) -> tuple[dispute.Proven, str | None]:
    """Now and then with a sibling that is wrong."""
    if place.siblings and random.random() < 0.05:
        return replace(place, siblings=[bytes(32), *place.siblings[1:]]), "BadMerkleProof"
    return place, None


def _decoded(encoded: bytes) -> Record | None:
    try:
        return records.decode(encoded)
    except RecordError:
        return None


@action
def prove_malformed_record(world: World, random: Random) -> Call | None:
    epoch = _challenged(world, random, "malformed")
    if epoch is None or not world.told[epoch].batch.encoded:
        return None
    encoded = world.told[epoch].batch.encoded
    wrong = [index for index, one in enumerate(encoded) if _decoded(one) is None]
    index = in_turn(random, wrong, range(len(encoded)))
    place, flaw = _bad_place(evidence.prove(encoded, index), random)
    return _challenge(
        world,
        random,
        "prove_malformed_record",
        epoch,
        lambda: flaw or _fraud(_decoded(encoded[index]) is None),
        lambda by, shown: dispute.prove_malformed_record(world.program, by, shown, encoded[index], place),
    )


@action
def prove_inbox(world: World, random: Random) -> Call | None:
    epoch = _challenged(world, random, "inbox")
    if epoch is None or not world.told[epoch].batch.encoded:
        return None
    told = world.told[epoch]
    encoded, cursor = told.batch.encoded, _parent_cursor(world, epoch)
    taken = world.checkpoint(epoch).inbox_cursor - cursor

    def is_wrong(index: int) -> bool:
        record = _decoded(encoded[index])
        if index >= taken:
            return record is not None and records.inbox_event(record) is not None
        entry = world.model.entry(cursor + index)
        assert entry is not None
        return record is None or ledger_batch.inbox_entry(record) != entry_of(entry).entry

    index = in_turn(random, [one for one in range(len(encoded)) if is_wrong(one)], range(len(encoded)))
    place, flaw = _bad_place(evidence.prove(encoded, index), random)
    entry_index = cursor + index if index < taken else None
    if flaw is None and entry_index is not None and random.random() < 0.05:
        entry_index, flaw = None, "WrongEntryForRecord"
    return _challenge(
        world,
        random,
        "prove_inbox",
        epoch,
        lambda: flaw or _fraud(is_wrong(index)),
        lambda by, shown: dispute.prove_inbox(world.program, by, shown, encoded[index], place, entry_index),
    )


def _parent_cursor(world: World, epoch: int) -> int:
    parent = world.told[epoch].parent
    return world.told[parent].message.inbox_cursor if parent else 0


@action
def prove_trace(world: World, random: Random) -> Call | None:
    epoch = _challenged(world, random, "trace")
    if epoch is None:
        return None
    trace, root = world.told[epoch].batch.trace, world.checkpoint(epoch).state_root
    first = _parent_root(world, epoch)

    def is_wrong(index: int) -> bool:
        return (index == 0 and trace[0] != first) or (index == len(trace) - 1 and trace[-1] != root)

    index = in_turn(random, [one for one in range(len(trace)) if is_wrong(one)], range(len(trace)))
    place, flaw = _bad_place(evidence.prove(trace, index), random)
    return _challenge(
        world,
        random,
        "prove_trace",
        epoch,
        lambda: flaw or _fraud(is_wrong(index)),
        lambda by, shown: dispute.prove_trace(world.program, by, shown, trace[index], place),
    )


@action
def prove_totals(world: World, random: Random) -> Call | None:
    epoch = _challenged(world, random, "totals")
    if epoch is None:
        return None
    told = world.told[epoch]
    value, siblings = told.state.proof(TOTALS_KEY)
    held, totals = world.checkpoint(epoch), told.state.totals
    flaw = None
    if random.random() < 0.05:
        siblings, flaw = [*siblings, bytes(32)], "BadMerkleProof"
    is_wrong = totals.payable != held.payable_total or totals.inbox_cursor != held.inbox_cursor
    return _challenge(
        world,
        random,
        "prove_totals",
        epoch,
        lambda: flaw or _fraud(is_wrong),
        lambda by, shown: dispute.prove_totals(world.program, by, shown, value, siblings),
    )


@action
def prove_count(world: World, random: Random) -> Call | None:
    epoch = _challenged(world, random, "count")
    if epoch is None:
        return None
    told = world.told[epoch].batch
    counts = [evidence.count(one) for one in (told.encoded, told.trace, told.chunks)]
    steps = -(-len(told.encoded) // 8)
    wrong = counts[1].count != steps + 1 or counts[2].count != -(-264 * len(told.encoded) // 1_024)
    flaw = None
    if random.random() < 0.05:
        counts[0], flaw = replace(counts[0], tree=b"\x09" * 32), "BadCountProof"
    return _challenge(
        world,
        random,
        "prove_count",
        epoch,
        lambda: flaw or _fraud(wrong),
        lambda by, shown: dispute.prove_count(world.program, by, shown, *counts),
    )


def _full(world: World, random: Random, purpose: str) -> tuple[Pubkey, Filling] | None:
    """A buffer that holds all the evidence of this kind."""
    full = [
        (address, one)
        for address, one in world.fillings.items()
        if one.purpose == purpose and one.is_full and address in world.model.accounts
    ]
    newest = full[-1:] if random.random() < 0.8 else full
    found: tuple[Pubkey, Filling] | None = random.choice(newest) if newest else None
    return found


def _with_buffer(name: str, build: Callable[..., Instruction]) -> None:
    def drawn(world: World, random: Random) -> Call | None:
        full = _full(world, random, name)
        if full is None or full[1].about not in world.epochs():
            return None
        address, filling = full
        if world.checkpoint(filling.about).status != POSTED and random.random() < 0.85:
            return None
        buffer: Pubkey | None = address
        judge = filling.judge
        if random.random() < 0.04:
            buffer, judge = None, lambda: "BufferMissing"
        short = [at for at, one in _buffers(world) if one.length == 32]
        version = world.told[filling.about].version
        if name == "prove_transition" and short and random.random() < 0.03:
            buffer, judge = short[0], lambda: "BadEvidence"
        elif name == "prove_transition" and buffer is not None and random.random() < 0.04:
            version = random.choice([one for one in world.versions() if one != version] or [version])
            if version != world.told[filling.about].version and judge() in (None, "NoFraud"):
                judge = lambda: "WrongCertifyingSet"  # noqa: E731
            else:
                version = world.told[filling.about].version
        epoch, challenger = filling.about, random.choice(world.people)
        parent = _parent(world, epoch, random)

        def built() -> Instruction:
            made = build(world.program, challenger.pubkey(), _shown_to(world, epoch, parent), address)
            right = pda.validator_set(world.program, world.told[epoch].version)
            instead = {address: buffer or world.program, right: pda.validator_set(world.program, version)}
            metas = [
                AccountMeta(instead.get(one.pubkey, one.pubkey), one.is_signer, one.is_writable)
                for one in made.accounts
            ]
            return Instruction(made.program_id, bytes(made.data), metas)

        def rule() -> None:
            if name == "prove_transition":
                world.model.set_of(version)
            world.model.prove(challenger.pubkey(), epoch, parent, judge)

        return call(
            world,
            name,
            rule,
            built,
            challenger,
        )

    drawn.__name__ = name
    action(drawn)


_with_buffer("prove_data", dispute.prove_data)
_with_buffer("prove_transition", dispute.prove_transition)


def data_evidence(world: World, epoch: int, random: Random) -> tuple[bytes, Callable[[], str | None]] | None:
    told = world.told[epoch].batch
    if not told.encoded:
        return None
    index = random.randrange(len(told.encoded))
    at = index * records.RECORD_BYTES
    wrong = [one for one, encoded in enumerate(told.encoded) if told.data[160 * one : 160 * one + 160] != encoded]
    if wrong and random.random() < 0.9:
        index = wrong[0]
        at = index * records.RECORD_BYTES
    chunk = at >> 10
    overlap = told.encoded[index][: (chunk + 1) * 1_024 - at] if at + 160 > (chunk + 1) * 1_024 else told.encoded[index]
    is_wrong = told.data[at : at + len(overlap)] != overlap
    return evidence.data(told.chunks, chunk, told.encoded, index), lambda: _fraud(is_wrong)


def transition_evidence(world: World, epoch: int, random: Random) -> tuple[bytes, Callable[[], str | None]] | None:
    told = world.told[epoch].batch
    steps = -(-len(told.encoded) // 8)
    if not steps or len(told.trace) != steps + 1:
        return None
    step = random.randrange(steps)
    before = told.before
    try:
        for encoded in told.encoded[: 8 * step]:
            before = apply(before, records.decode(encoded), told.context)
    except (RecordError, LedgerRejection):
        return None
    group = list(told.encoded[8 * step : 8 * step + 8])
    if random.random() < 0.05:
        before = State.empty()
    whole = witness.build(before, group[:1] if random.random() < 0.06 else group, told.context)
    opened = whole[:-1] if random.random() < 0.05 else whole
    names = {Fault.MISSING_LEAF: "WitnessIncomplete", Fault.WRONG_ROOT_BEFORE: "WitnessRoot"}

    def judged(shown: bytes) -> str | None:
        try:
            verdict = witness.judge(told.trace[step], told.trace[step + 1], b"".join(group), shown, told.context)
        except WitnessError as error:
            return names.get(error.fault, "BadWitness")
        return _fraud(verdict != Honest())

    def judge() -> str | None:
        # The program asks for the records' leaves before it reads the tree: of what is cut short as well, a missing leaf is the first fault.
        missing = names[Fault.MISSING_LEAF]
        return missing if judged(whole) == missing else judged(opened)

    return evidence.step_evidence(told.trace, told.encoded, step, opened), judge


# -- demands ---------------------------------------------------------------------------------------------------------------------------------


@action
def open_demand(world: World, random: Random) -> Call | None:
    epoch = _challenged(world, random)
    if epoch is None:
        return None
    posted = [one for one in world.epochs() if world.checkpoint(one).challenge_until_slot >= world.slot]
    if posted and random.random() < 0.85:
        epoch = random.choice(posted)
    told, demander = world.told[epoch].batch, random.choice(world.others)
    kind = random.choice((CHUNK, RECORD, TRACE_ENTRY)) if random.random() < 0.96 else random.choice((0, 4))
    index = random.choice((0, 0, 1, max(0, len(told.encoded) - 1), 77))
    return call(
        world,
        "open_demand",
        lambda: world.model.open_demand(demander.pubkey(), epoch, kind, index),
        lambda: dispute.open_demand(world.program, demander.pubkey(), epoch, kind, index),
        demander,
    )


def demands(world: World) -> list[tuple[Pubkey, Fields]]:
    return [(at, world.model.accounts[at]) for at, kind in world.model.kinds.items() if kind == "Demand"]


def _demand(
    world: World, random: Random, wanted: Callable[[Fields], bool]
) -> tuple[Pubkey, Fields, int, Pubkey] | None:
    """A demand, the epoch that it is said to be of, and who is said to have opened it."""
    known = demands(world)
    drawn = in_turn(random, [one for one in known if wanted(one[1])], known)
    if drawn is None:
        return None
    at, demand = drawn
    epoch = demand.epoch if random.random() < 0.97 else random.choice(world.epochs())
    demander = demand.demander if random.random() < 0.96 else random.choice(world.people).pubkey()
    return at, demand, epoch, demander


def _as_demand(built: Instruction, right: Pubkey, at: Pubkey) -> Instruction:
    """With the demand at `at`, whatever epoch the instruction names."""
    metas = [AccountMeta(at, False, True) if one.pubkey == right else one for one in built.accounts]
    return Instruction(built.program_id, bytes(built.data), metas)


def leaves_of(told: Batch, kind: int) -> Sequence[bytes]:
    return {CHUNK: told.chunks, RECORD: told.encoded, TRACE_ENTRY: told.trace}[kind]


def answer_evidence(world: World, demand: Fields) -> tuple[bytes, Callable[[], str | None], Instruction | None] | None:
    """What is shown, what is wrong with it, and the ed25519 program's instruction when there must be one."""
    told = world.told[demand.epoch].batch
    leaves = leaves_of(told, demand.kind)
    if demand.index >= len(leaves):
        return None
    if demand.kind != RECORD:
        return evidence.leaf_answer(leaves, demand.index), lambda: None, None
    count = len(told.encoded)
    # What the data says may differ from what the results say: shown is the record under the results root.
    honest = b"".join(told.encoded) + told.data[count * 160 :]
    whole = evidence.record_answer(told.data, count, demand.index)
    if honest != told.data:
        return None
    record = _decoded(told.encoded[demand.index])
    if record is None:
        return whole, lambda: None, None
    at = count * 160 + demand.index * signing.AUTHORISATION_BYTES
    encoded = told.data[at : at + signing.AUTHORISATION_BYTES]
    if not records.needs_authorisation(record):
        return whole, lambda: None if not any(encoded) else "AuthorisationNotEmpty", None
    expiry = int.from_bytes(encoded[32:40], "little")
    if node_id(encoded[:32]) != record.node:
        return whole, lambda: "WrongSigner", None
    if expiry < told.context.base_slot:
        return whole, lambda: "AuthorisationExpired", None
    digest = signing.authorisation_digest(world.model.domain, expiry, told.encoded[demand.index])
    signed = Authorisation(encoded[:32], expiry, encoded[40:])
    if not signing.verify(signed.public_key, digest, signed.signature):
        return whole, lambda: ANY, dispute.ed25519(signed.public_key, signed.signature, digest)
    return whole, lambda: None, dispute.ed25519(signed.public_key, signed.signature, digest)


@action
def answer_demand(world: World, random: Random) -> Call | None:
    full = _full(world, random, "answer_demand")
    if full is None:
        return None
    buffer, filling = full
    at, proof, wrong = filling.about
    demand = world.model.accounts.get(at)
    if demand is None or demand.epoch not in world.epochs() or filling.judge() == "stale":
        return None
    epoch, demander = demand.epoch, demand.demander
    if random.random() < 0.05:
        demander = random.choice(world.people).pubkey()
    answerer, parent = random.choice(world.people), _parent(world, epoch, random)
    key = demand.kind, demand.index
    judge: Callable[[], str | None] = lambda: wrong  # noqa: E731
    before = [proof] if proof is not None else []
    slip = random.random()
    if proof is not None and slip < 0.06:
        before, judge = [], lambda: "NoEd25519Instruction"
    elif proof is not None and slip < 0.12:
        other = world.people[0]
        signed = dispute.ed25519(bytes(other.pubkey()), bytes(other.sign_message(bytes(32))), bytes(32))
        before, judge = [signed], lambda: "WrongEd25519Instruction"

    def build() -> Instruction:
        shown = _shown_to(world, epoch, parent)
        return dispute.answer_demand(world.program, answerer.pubkey(), shown, key, demander, buffer)

    made = call(
        world,
        "answer_demand",
        lambda: world.model.answer(answerer.pubkey(), epoch, parent, at, demander, judge),
        build,
        answerer,
    )
    return replace(made, build=lambda: [*before, build()])


@action
def answer_absent(world: World, random: Random) -> Call | None:
    def is_absent(demand: Fields) -> bool:
        return bool(demand.index >= len(leaves_of(world.told[demand.epoch].batch, demand.kind)))

    drawn = _demand(world, random, is_absent)
    if drawn is None or drawn[1].epoch not in world.told:
        return None
    at, demand, epoch, demander = drawn
    if epoch not in world.told:
        return None
    count = evidence.count(leaves_of(world.told[demand.epoch].batch, demand.kind))
    flaw = None if is_absent(demand) else "IndexExists"
    if random.random() < 0.05:
        count, flaw = replace(count, count=count.count + 1), "BadCountProof"
    answerer, parent = random.choice(world.people), _parent(world, epoch, random)
    right = pda.demand(world.program, epoch, demand.kind, demand.index)
    key = demand.kind, demand.index
    return call(
        world,
        "answer_absent",
        lambda: world.model.answer(answerer.pubkey(), epoch, parent, at, demander, lambda: flaw),
        lambda: _as_demand(
            dispute.answer_absent(
                world.program, answerer.pubkey(), _shown_to(world, epoch, parent), key, demander, count
            ),
            right,
            at,
        ),
        answerer,
    )


@action
def timeout_demand(world: World, random: Random) -> Call | None:
    drawn = _demand(world, random, lambda demand: demand.answer_until_slot < world.slot)
    if drawn is None:
        return None
    at, demand, epoch, demander = drawn
    payer, parent, key = random.choice(world.people), _parent(world, epoch, random), (demand.kind, demand.index)
    right = pda.demand(world.program, epoch, *key)
    return call(
        world,
        "timeout_demand",
        lambda: world.model.timeout_demand(epoch, parent, at, demander),
        lambda: _as_demand(
            dispute.timeout_demand(world.program, payer.pubkey(), _shown_to(world, epoch, parent), key, demander),
            right,
            at,
        ),
        payer,
    )


@action
def return_demand(world: World, random: Random) -> Call | None:
    def is_due(demand: Fields) -> bool:
        held = world.checkpoint(demand.epoch)
        return bool(world.config.escaped or held.status != POSTED or world.model.is_dead(demand.epoch))

    drawn = _demand(world, random, is_due)
    if drawn is None:
        return None
    at, demand, epoch, demander = drawn
    payer, key = random.choice(world.people), (demand.kind, demand.index)
    right = pda.demand(world.program, epoch, *key)
    return call(
        world,
        "return_demand",
        lambda: world.model.return_demand(epoch, at, demander),
        lambda: _as_demand(dispute.return_demand(world.program, payer.pubkey(), epoch, key, demander), right, at),
        payer,
    )


# -- proof buffers ---------------------------------------------------------------------------------------------------------------------------


def _new_filling(world: World, owner: Keypair, buffer_id: int, random: Random) -> Filling | None:
    """Evidence that somebody wants to show: of a checkpoint, for a demand, or an account's proof."""
    if not world.is_up:
        return None
    open_demands = [one for one in demands(world) if one[1].epoch in world.told]
    if open_demands and random.random() < 0.7:
        at, demand = random.choice(open_demands)
        shown = answer_evidence(world, demand)
        if shown is not None:
            opened, epoch = demand.opened_slot, demand.epoch

            def stale() -> str | None:
                now = world.model.accounts.get(at)
                return None if now is not None and (now.opened_slot, now.epoch) == (opened, epoch) else "stale"

            return Filling(owner, buffer_id, shown[0], "answer_demand", (at, shown[2], shown[1]()), stale)
    if random.random() < 0.25:
        leaves = _account_leaves(world)
        if leaves:
            value = random.choice(leaves)
            _, siblings = world.state_of(world.config.finalized.epoch).proof(account_key(node_id(value[:32])))
            root = world.config.finalized.state_root
            if siblings:
                judge = lambda: None if world.config.finalized.state_root == root else "BadProof"  # noqa: E731
                return Filling(owner, buffer_id, b"".join(siblings), "claim", value, judge)
    name = random.choice(("prove_data", "prove_transition"))
    lies = ("data",) if name == "prove_data" else ("transition", "theft")
    epoch = _challenged(world, random, *lies)
    if epoch is None:
        return None
    made = (data_evidence if name == "prove_data" else transition_evidence)(world, epoch, random)
    if made is None:
        return None
    return Filling(owner, buffer_id, made[0], name, epoch, made[1])


def _claimable(world: World) -> int:
    return int(world.config.finalized.epoch)


def _account_leaves(world: World) -> list[bytes]:
    state = world.state_of(world.config.finalized.epoch)
    return [value for _, kind, value in state.leaves() if kind == "account"]


@action
def create_proof_buffer(world: World, random: Random) -> Call:
    owner, buffer_id = random.choice(world.others), random.randrange(12)
    address = pda.proof_buffer(world.program, owner.pubkey(), buffer_id)
    filling = _new_filling(world, owner, buffer_id, random) if address not in world.model.accounts else None
    length = random.choice((32, 64, 8_192, 8_224, 33, 0))
    if filling is not None:
        length = min(8_192, -(-len(filling.content) // 32) * 32)

    def note() -> None:
        world.fillings.pop(address, None)
        if filling is not None:
            world.fillings[address] = filling

    return call(
        world,
        "create_proof_buffer",
        lambda: world.model.create_proof_buffer(owner.pubkey(), buffer_id, length),
        lambda: instructions.create_proof_buffer(world.program, owner.pubkey(), buffer_id, length),
        owner,
        note=note,
    )


def _buffers(world: World) -> list[tuple[Pubkey, Fields]]:
    return [(at, world.model.accounts[at]) for at, kind in world.model.kinds.items() if kind == "ProofBuffer"]


def _at_buffer(built: Instruction, address: Pubkey) -> Instruction:
    metas = [built.accounts[0], AccountMeta(address, False, True), *built.accounts[2:]]
    return Instruction(built.program_id, bytes(built.data), metas)


@action
def write_proof_buffer(world: World, random: Random) -> Call | None:
    waiting = [(at, world.fillings[at]) for at, _ in _buffers(world) if at in world.fillings]
    waiting = [one for one in waiting if not one[1].is_full]
    if waiting and random.random() < 0.92:
        address, filling = waiting[-1] if random.random() < 0.8 else random.choice(waiting)
        owner, buffer_id, offset = filling.owner, filling.buffer_id, filling.written
        data = filling.content[offset : offset + PIECE_BYTES]

        def note() -> None:
            filling.written += len(data)

    else:
        known = [one for one in _buffers(world) if one[0] not in world.fillings]
        drawn = in_turn(random, known)
        if drawn is None:
            return None
        address, buffer = drawn
        buffer_id = buffer.id if random.random() < 0.9 else buffer.id + 1
        owner = world.keypair(buffer.owner) or world.others[0]
        offset, data = random.choice((0, 16, buffer.length - 1)), random.choice((b"x", b"y" * 40, b""))

        def note() -> None:
            return None

    signer = owner if random.random() < 0.95 else random.choice(world.people)
    return call(
        world,
        "write_proof_buffer",
        lambda: world.model.write_proof_buffer(signer.pubkey(), address, buffer_id, offset, data),
        lambda: _at_buffer(
            instructions.write_proof_buffer(world.program, signer.pubkey(), buffer_id, offset, data), address
        ),
        signer,
        note=note,
    )


@action
def grow_proof_buffer(world: World, random: Random) -> Call | None:
    drawn = in_turn(random, _buffers(world))
    if drawn is None:
        return None
    address, buffer = drawn
    owner = world.keypair(buffer.owner) or world.others[0]
    signer = owner if random.random() < 0.95 else random.choice(world.people)
    buffer_id = buffer.id if random.random() < 0.95 else buffer.id + 1
    length = buffer.length + random.choice((32, 64, 320, 10_240, 10_272, 0, 31))
    return call(
        world,
        "grow_proof_buffer",
        lambda: world.model.grow_proof_buffer(signer.pubkey(), address, buffer_id, length),
        lambda: _at_buffer(dispute.grow_proof_buffer(world.program, signer.pubkey(), buffer_id, length), address),
        signer,
    )


@action
def close_proof_buffer(world: World, random: Random) -> Call | None:
    known = _buffers(world)
    spent = [one for one in known if one[0] not in world.fillings or world.fillings[one[0]].is_full]
    drawn = in_turn(random, spent, known)
    if drawn is None:
        return None
    address, buffer = drawn
    owner = world.keypair(buffer.owner) or world.others[0]
    signer = owner if random.random() < 0.95 else random.choice(world.people)
    buffer_id = buffer.id if random.random() < 0.95 else buffer.id + 1
    return call(
        world,
        "close_proof_buffer",
        lambda: world.model.close_proof_buffer(signer.pubkey(), address, buffer_id),
        lambda: _at_buffer(instructions.close_proof_buffer(world.program, signer.pubkey(), buffer_id), address),
        signer,
        note=lambda: world.fillings.pop(address, None) and None,
    )


# -- claims and the hatch --------------------------------------------------------------------------------------------------------------------


def _claiming(name: str, build: Callable[..., Instruction], bytes_wanted: tuple[int, ...]) -> None:
    def drawn(world: World, random: Random) -> Call | None:
        if not world.is_up:
            return None
        leaves = _account_leaves(world)
        open_leaves = [one for one in leaves if any(any(one[at : at + 8]) for at in bytes_wanted)]
        value = in_turn(random, open_leaves, leaves)
        if value is None:
            return None
        state, payer = world.state_of(_claimable(world)), random.choice(world.people)
        _, siblings = state.proof(account_key(node_id(value[:32])))
        flaw, buffer = None, None
        full = _full(world, random, "claim")
        if full is not None and random.random() < 0.5:
            buffer, filling = full
            value, flaw = filling.about, filling.judge()
            # A buffer is proof for the length it has: padding would be siblings.
            if len(world.model.tails[buffer]) != len(filling.content):
                flaw = "BadProof"
            if len(world.model.tails[buffer]) > 256 * 32:
                flaw = "ProofTooLong"
            siblings = []
        slip = random.random()
        if slip < 0.04 and flaw is None:
            value, flaw = value[:72] + (10**12).to_bytes(8, "little"), "BadProof"
        elif slip < 0.07 and siblings and full is not None:
            buffer, flaw = full[0], "TwoProofs"
        is_system = Pubkey(value[:32]) not in world.model.kinds
        return call(
            world,
            name,
            lambda: getattr(world.model, name)(payer.pubkey(), value, is_system, flaw),
            lambda: build(world.program, payer.pubkey(), value, siblings, buffer),
            payer,
        )

    drawn.__name__ = name
    action(drawn)


_claiming("claim", instructions.claim, (72,))
_claiming("escape_claim", inbox_instructions.escape_claim, (32, 40, 48, 72))


@action
def escape(world: World, random: Random) -> Call | None:
    if not world.is_up:
        return None
    payer = random.choice(world.people)
    return call(
        world,
        "escape",
        lambda: world.model.escape(),
        lambda: inbox_instructions.escape(world.program, payer.pubkey()),
        payer,
    )


@action
def escape_refund(world: World, random: Random) -> Call | None:
    if not world.is_up or not world.config.inbox.count:
        return None
    cursor, count = world.config.finalized.inbox_cursor, world.config.inbox.count
    index = in_turn(random, range(cursor, count), range(count))
    entry = world.model.entry(index)
    assert entry is not None
    to = entry.beneficiary if random.random() < 0.95 else random.choice(world.people).pubkey()
    payer = random.choice(world.people)
    return call(
        world,
        "escape_refund",
        lambda: world.model.escape_refund(index, to, True),
        lambda: inbox_instructions.escape_refund(world.program, payer.pubkey(), index, to),
        payer,
    )
