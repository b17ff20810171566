"""Attacks, each against one protection of the program. An attack brings up a chain of its own, tries, and returns when it has got what it
wanted; where it is refused it raises Refused. test_twins.py carries it out with the protection, test_twins_unprotected.py without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from solders.account import Account as L1Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import bls, evidence, idl, inbox_instructions, instructions, messages, pda, signing
from settlement import dispute_instructions as build
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus
from settlement.dispute_accounts import DemandKind
from settlement.hash_to_curve import hash_to_g2, hints
from settlement.signing import Domain
from tests.program import dispute_kit, inbox_kit, slash_kit, stake_kit
from tests.program.dispute_kit import WRONG_TRACE, honest, liar_proof, post, post_liar, reject_liar
from tests.program.hostile_kit import ANOTHER_PROGRAM, ELSEWHERE, _lower_bump
from tests.program.kit import GENESIS, SOL, STAKE, Chain, Refused, Validator, instruction_name, refuses, validator
from tests.program.points import G1_INFINITY, G2_INFINITY
from tests.program.test_claims import account, claiming, owing, path, root_of
from tests.program.test_dispute_demands import (
    DEMANDER,
    SIGNED,
    answer,
    authorisation_of,
    demand,
    record_answer,
    with_authorisation,
)
from tests.settlement import kit

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
OTHER_GENESIS = bytes(range(32, 64))
HINT_NUMBERS = 288  # what stands before the point among the hints
NOTHING_GAINED = "nothing gained"


@dataclass(frozen=True)
class World:
    """`elf` is the program under attack; `is_off` says whether it lacks the protection, which changes what honest signers sign."""

    elf: Path
    is_off: bool = False

    def bare(self) -> Chain:
        return Chain.new(elf=self.elf)

    def chain(self, count: int = 4) -> Chain:
        """Validators of equal stake, their set pinned, nothing posted."""
        return self.bare().bring_up(validator(seed) for seed in range(count))

    def dispute(self) -> Chain:
        """The same, with the deposits that dispute_kit's honest batch takes."""
        chain = self.chain()
        for name in (dispute_kit.ALICE, dispute_kit.BOB):
            chain.deposit(dispute_kit.DEPOSIT_LAMPORTS, Pubkey(kit.public_key(name)))
        chain.advance(1)
        chain.svm.airdrop(DEMANDER.pubkey(), SOL)
        return chain


@dataclass(frozen=True)
class Attack:
    protection: str
    refused_with: str
    carry_out: Callable[[World], None]

    @property
    def name(self) -> str:
        return self.carry_out.__name__.replace("_", " ")


ATTACKS: list[Attack] = []


def attack(protection: str, refused_with: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    def add(carry_out: Callable[[World], None]) -> Callable[[World], None]:
        ATTACKS.append(Attack(protection, refused_with, carry_out))
        return carry_out

    return add


def _bits(*members: int) -> bytes:
    return sum(1 << member for member in members).to_bytes(32, "little")


def _negated(secret: bls.SecretKey) -> bls.SecretKey:
    number = ORDER - int.from_bytes(secret.to_bytes(), "big")
    return bls.SecretKey.from_bytes(number.to_bytes(32, "big"))


def _proof_digest(authority: Keypair, key: bytes) -> bytes:
    return messages.proof_of_possession_digest(
        Domain(GENESIS, bytes(idl.committed().address)), bytes(authority.pubkey()), key
    )


def _instead(built: Instruction, role: str, address: Pubkey, is_signer: bool | None = None) -> Instruction:
    """The instruction with another account in that role."""
    name = instruction_name(built)
    assert name is not None
    roles = [spec.name for spec in idl.committed().instruction(name).accounts]
    metas = list(built.accounts)
    old = metas[roles.index(role)]
    metas[roles.index(role)] = AccountMeta(address, old.is_signer if is_signer is None else is_signer, old.is_writable)
    return Instruction(built.program_id, bytes(built.data), metas)


# -- keys and signatures ---------------------------------------------------------------------------------------------------------------


@attack("proof of possession", "BadProofOfPossession")
def a_rogue_key_signs_for_its_victim(world: World) -> None:
    """The key is the attacker's less the victim's, so what the attacker signs alone passes for both."""
    chain, victim, attacker = world.bare(), validator(0), validator(1)
    chain.initialize()
    chain.grow_registry()
    chain.register(victim)
    rogue = bytes(bls.aggregate_public_keys([attacker.secret.public_key, _negated(victim.secret).public_key]))
    digest = _proof_digest(attacker.authority, rogue)
    proof = attacker.secret.sign(digest)
    built = chain.registration(attacker, bls_public_key=rogue, proof_of_possession=proof, hints=hints(digest))
    chain.send(built, signers=[attacker.authority])
    chain.validators.append(attacker)
    chain.seal(1)
    forged = chain.certificate(chain.message(), [1])
    chain.send(chain.posting(replace(forged, bitmap=_bits(0, 1))))


@attack("the proof's authority", "BadProofOfPossession")
def a_thief_replays_a_proof_of_possession(world: World) -> None:
    """And the key's owner can never register it."""
    chain, owner, thief = world.bare(), validator(0), Keypair.from_seed(b"t" * 32)
    chain.initialize()
    chain.grow_registry()
    key = bytes(owner.secret.public_key)
    digest = messages.proof_of_possession_digest(chain.domain, bytes(32), key)
    published = owner.secret.sign(digest if world.is_off else _proof_digest(owner.authority, key))
    judged = digest if world.is_off else _proof_digest(thief, key)
    stolen = chain.registration(Validator(thief, owner.secret), proof_of_possession=published, hints=hints(judged))
    chain.send(stolen, signers=[thief])
    with refuses("BlsKeyRegistered"):
        chain.send(chain.registration(owner), signers=[owner.authority])


@attack("no infinity", "AggregateKeyAtInfinity")
def keys_that_cancel_out_certify_what_nobody_signed(world: World) -> None:
    chain = world.bare()
    negated = Validator(validator(1).authority, _negated(validator(0).secret))
    chain.bring_up([validator(0), negated, validator(2)])
    unsigned = replace(chain.certificate(chain.message(), [2]), bitmap=_bits(0, 1), signature=G2_INFINITY)
    chain.send(chain.posting(unsigned))


@attack("no infinity", "BlsKeyAtInfinity")
def nobodys_key_is_registered(world: World) -> None:
    """Infinity as key and as proof: everything verifies under it."""
    chain = world.bare()
    chain.initialize()
    chain.grow_registry()
    digest = _proof_digest(validator(0).authority, G1_INFINITY)
    built = chain.registration(
        validator(0), bls_public_key=G1_INFINITY, proof_of_possession=G2_INFINITY, hints=hints(digest)
    )
    chain.send(built, signers=[validator(0).authority])


@attack("hints are only checked", "WrongHintMultiple")
def a_signature_is_moved_to_another_message(world: World) -> None:
    """By telling the program that the message hashes to the point that another one hashes to."""
    chain = world.bare()
    chain.initialize()
    chain.grow_registry()
    for one in (validator(0), validator(1)):
        digest = _proof_digest(one.authority, bytes(one.secret.public_key))
        told = bytes(HINT_NUMBERS) + hash_to_g2(digest) if world.is_off else hints(digest)
        chain.send(chain.registration(one, hints=told), signers=[one.authority])
        chain.validators.append(one)
    chain.seal(1)
    signed = chain.message()
    forged = replace(signed, state_root=b"\x99" * 32)
    args = replace(chain.certificate(forged), signature=chain.certificate(signed).signature)
    told = args.hints[:HINT_NUMBERS] + hash_to_g2(signed.hash(chain.domain))
    chain.send(chain.posting(replace(args, hints=told)))


# -- who certifies ---------------------------------------------------------------------------------------------------------------------


@attack("a quorum", "ShortQuorum")
def a_minority_posts(world: World) -> None:
    world.chain().post([0, 1])


@attack("stake, not heads", "ShortQuorum")
def many_small_validators_outvote_the_stake(world: World) -> None:
    chain = world.bare().bring_up([validator(0, 100 * STAKE), *(validator(seed) for seed in (1, 2, 3))])
    chain.post([1, 2, 3])


@attack("the pinned set", "UnpinnedSet")
def a_replaced_set_posts(world: World) -> None:
    """Whose members may have taken their stake out."""
    chain = world.chain()
    chain.post()
    chain.register(validator(9, 100 * STAKE))
    chain.advance(chain.config.parameters.min_seal_gap_slots)
    chain.seal(2, chain.payer)
    chain.advance(1)
    chain.post([0, 1, 2, 3])
    assert chain.config.pinned.version == 2
    chain.advance(1)
    message = chain.message(set_hash=chain.set_account(1).set_hash)
    chain.send(chain.posting(chain.certificate(message, [0, 1, 2, 3]), set_version=1))


@dataclass
class _Elsewhere(Chain):
    """A deployment that signs for another cluster, or, without the protection, for any."""

    genesis: bytes = GENESIS

    @property
    def domain(self) -> Domain:
        return Domain(self.genesis, bytes(self.program_id))

    def up(self, genesis: bytes, told: bytes) -> _Elsewhere:
        self.genesis = told
        payer, authority = self.payer.pubkey(), self.authority
        built = instructions.initialize(self.program_id, payer, authority.pubkey(), genesis, LOCALNET_PROFILE)
        self.send(built, signers=[authority])
        self.grow_registry()
        self.bring_up_registered(validator(seed) for seed in range(3))
        return self


@attack("the cluster", "PairingNotOne")
def a_certificate_is_replayed_on_another_cluster(world: World) -> None:
    clusters = [
        _Elsewhere.new(elf=world.elf).up(genesis, bytes(32) if world.is_off else genesis)  # type: ignore[attr-defined]
        for genesis in (GENESIS, OTHER_GENESIS)
    ]
    here, there = ((one, one.certificate(one.message())) for one in clusters)
    assert not world.is_off or here[1] == there[1]
    here[0].send(here[0].posting(replace(here[1], signature=there[1].signature)))


@attack("the epoch", "PairingNotOne")
def the_certificate_of_a_rejected_epoch_is_posted_as_the_next(world: World) -> None:
    chain = world.chain()
    chain.advance(1)
    first = chain.message(trace_root=WRONG_TRACE)

    def certificate(message: messages.CheckpointMessage) -> instructions.CheckpointArgs:
        signed = replace(message, epoch=0) if world.is_off else message
        return replace(chain.certificate(signed), epoch=message.epoch)

    posted = certificate(first)
    chain.send(chain.posting(posted))
    chain.send(liar_proof(chain, chain.checkpoint(1)))
    again = replace(certificate(replace(first, epoch=2)), signature=posted.signature)
    chain.send(chain.posting(again))


# -- censorship ------------------------------------------------------------------------------------------------------------------------


@attack("every entry in time", "OverdueInboxEntry")
def an_entry_is_left_out_for_ever(world: World) -> None:
    chain = world.chain()
    chain.deposit(10_000, chain.payer.pubkey())
    chain.advance(LOCALNET_PROFILE.inclusion_window_slots + 1)
    chain.post(inbox_cursor=0)


def _with_an_overdue_entry(world: World) -> tuple[Chain, Instruction]:
    """Epoch 1 took entry 0; the post of epoch 2 leaves out entry 1."""
    chain = world.dispute()
    chain.post(inbox_cursor=1)
    demand(chain, DemandKind.CHUNK, 2**63)
    chain.advance(LOCALNET_PROFILE.inclusion_window_slots + 1)
    return chain, chain.posting(chain.certificate(chain.message(inbox_cursor=1)))


@attack("owner and type of an account", "WrongNextEntry")
def an_account_of_another_program_hides_an_overdue_entry(world: World) -> None:
    """The bytes of an entry that has just come in."""
    chain, posting = _with_an_overdue_entry(world)
    entry = bytearray(chain.data(pda.inbox_entry(chain.program_id, 1)))
    slot = slash_kit.offset_of("InboxEntry", "slot")
    entry[slot : slot + 8] = chain.slot.to_bytes(8, "little")
    chain.svm.set_account(ELSEWHERE, L1Account(SOL, bytes(entry), ANOTHER_PROGRAM))
    chain.send(_instead(posting, "next_entry", ELSEWHERE))


@attack("owner and type of an account", "WrongNextEntry")
def a_demand_plays_an_inbox_entry(world: World) -> None:
    """Type cosplay: where an entry has index and slot a Demand has its checkpoint's epoch and whatever index its author chose."""
    chain, posting = _with_an_overdue_entry(world)
    chain.send(_instead(posting, "next_entry", pda.demand(chain.program_id, 1, DemandKind.CHUNK, 2**63)))


# -- slashing --------------------------------------------------------------------------------------------------------------------------


def _stake(chain: Chain, member: int) -> int:
    return slash_kit.held(chain, member)["active_lamports"]


def _evidence(chain: Chain, *signers: int) -> tuple[Pubkey, Pubkey]:
    first, second = slash_kit.two_messages(chain)
    return slash_kit.record(chain, chain.payer, first, signers), slash_kit.record(chain, chain.payer, second, signers)


@attack("an offence once", "OffencePunished")
def the_same_evidence_slashes_twice(world: World) -> None:
    chain = world.chain()
    slashing = slash_kit.slashing(chain, chain.payer, 0, _evidence(chain, 0))
    chain.send(slashing)
    once = _stake(chain, 0)
    chain.send(slashing)
    assert _stake(chain, 0) < once < STAKE


@attack("the canonical bump", "WrongAddress")
def an_offence_is_punished_again_under_a_lower_bump(world: World) -> None:
    chain = world.chain()
    slashing = slash_kit.slashing(chain, chain.payer, 0, _evidence(chain, 0))
    chain.send(slashing)
    once = _stake(chain, 0)
    seeds = (b"offence", bytes(slash_kit.validator_address(chain, 0)), (1).to_bytes(8, "little"))
    chain.send(_instead(slashing, "offence", _lower_bump(seeds, chain.program_id)))
    assert _stake(chain, 0) < once < STAKE


@attack("two different messages", "SameMessage")
def who_signed_once_is_slashed(world: World) -> None:
    chain = world.chain()
    receipt = slash_kit.record(chain, chain.payer, chain.message(), [0])
    chain.send(slash_kit.slashing(chain, chain.payer, 0, (receipt, receipt)))
    assert _stake(chain, 0) < STAKE


@attack("who signed", "NotASigner")
def who_did_not_sign_is_slashed(world: World) -> None:
    chain = world.chain()
    chain.send(slash_kit.slashing(chain, chain.payer, 0, _evidence(chain, 1)))
    assert _stake(chain, 0) < STAKE


@attack("whose stake is slashed", "WrongValidator")
def another_pays_for_the_offender(world: World) -> None:
    chain = world.chain()
    innocent = slash_kit.validator_address(chain, 0)
    chain.send(slash_kit.slashing(chain, chain.payer, 1, _evidence(chain, 1), validator=innocent))
    assert _stake(chain, 0) < STAKE == _stake(chain, 1)


@attack("the unbonding clock", "UnbondingNotOver")
def stake_leaves_before_its_slash(world: World) -> None:
    chain, offender = world.chain(), validator(3)
    wallet = stake_kit.owner(chain, 1)
    stake_kit.delegate(chain, offender, wallet, 10 * STAKE)
    contradicting = slash_kit.two_messages(chain)
    stake_kit.unbond(chain, offender, wallet, 10 * STAKE)
    epoch = stake_kit.free_checkpoint(chain)
    assert stake_kit.withdraw(chain, offender, wallet, epoch) == 10 * STAKE
    first, second = (slash_kit.record(chain, chain.payer, message, [3]) for message in contradicting)
    chain.send(slash_kit.slashing(chain, chain.payer, 3, (first, second)))
    assert STAKE - _stake(chain, 3) <= STAKE, "only what was left is cut"


@attack("slashes come first", "SlashesPending")
def a_signer_of_what_was_rejected_takes_its_stake_out(world: World) -> None:
    chain, signer = world.chain(), validator(3)
    wallet = stake_kit.owner(chain, 1)
    stake_kit.delegate(chain, signer, wallet, 10 * STAKE)
    stake_kit.unbond(chain, signer, wallet, 10 * STAKE)
    epoch = stake_kit.free_checkpoint(chain)
    stake_kit.wait_for_unbonding(chain, epoch)
    chain.advance(1)
    reject_liar(chain, post_liar(chain))
    assert stake_kit.withdraw(chain, signer, wallet, epoch) == 10 * STAKE


# -- disputes --------------------------------------------------------------------------------------------------------------------------


@attack("a proof shows fraud", "NoFraud")
def a_right_checkpoint_is_rejected(world: World) -> None:
    """And all who signed it are to be slashed."""
    chain = world.dispute()
    told = honest(chain)
    checkpoint = post(chain, told)
    place = evidence.prove(told.trace, 0)
    chain.send(build.prove_trace(chain.program_id, chain.payer.pubkey(), checkpoint, told.trace[0], place))
    assert chain.checkpoint(1).status is CheckpointStatus.REJECTED
    assert chain.config.pending_slashes == 4


@attack("a demand holds finality", "DemandsOpen")
def a_checkpoint_that_was_challenged_in_the_last_slot_is_final(world: World) -> None:
    chain = world.dispute()
    checkpoint = post(chain, honest(chain))
    chain.svm.warp_to_slot(checkpoint.challenge_until_slot)
    demand(chain, DemandKind.CHUNK, 0)
    chain.advance(1)
    chain.finalize(1)


@attack("the challenge window", "ChallengeWindowOpen")
def a_lying_quorum_pays_itself_before_anyone_can_look(world: World) -> None:
    chain, thief = world.chain(), account(SOL)
    chain.deposit(SOL, chain.payer.pubkey())
    chain.post(state_root=root_of(thief, path(2)), payable_total=SOL)
    chain.finalize(1)
    chain.send(claiming(chain, thief, path(2)))
    assert chain.lamports(Pubkey(thief.public_key)) == SOL


@attack("the sysvar's address", "NoEd25519Instruction")
def an_authorisation_that_nobody_signed_is_shown(world: World) -> None:
    """With an account of the attacker's in place of the instructions sysvar, which tells of an ed25519 instruction that never ran."""
    chain = world.dispute()
    right = honest(chain)
    forged = replace(authorisation_of(right, SIGNED), signature=bytes(64))
    told = with_authorisation(right, SIGNED, forged.encode())
    checkpoint = post(chain, told)
    what = demand(chain, DemandKind.RECORD, SIGNED)
    digest = signing.authorisation_digest(chain.domain, forged.expiry_slot, told.encoded[SIGNED])
    never_ran = build.ed25519(forged.public_key, bytes(64), digest)
    chain.svm.set_account(ELSEWHERE, L1Account(SOL, _instructions_sysvar([never_ran, never_ran]), ANOTHER_PROGRAM))
    chain.send(_instead(answer(chain, checkpoint, what, record_answer(told, SIGNED)), "instructions", ELSEWHERE))
    assert chain.checkpoint(1).open_demands == 0


def _instructions_sysvar(told: Sequence[Instruction]) -> bytes:
    """As the runtime lays it out, the last one being the current: count, offsets, for each its accounts, program and data, the index."""
    head, body = len(told).to_bytes(2, "little"), b""
    start = 2 + 2 * len(told)
    for one in told:
        head += (start + len(body)).to_bytes(2, "little")
        metas = b"".join(bytes([meta.is_signer | meta.is_writable << 1]) + bytes(meta.pubkey) for meta in one.accounts)
        body += len(one.accounts).to_bytes(2, "little") + metas + bytes(one.program_id)
        body += len(one.data).to_bytes(2, "little") + bytes(one.data)
    return head + body + (len(told) - 1).to_bytes(2, "little")


# -- money -----------------------------------------------------------------------------------------------------------------------------


@attack("one claim for all epochs", "NothingToClaim")
def a_claim_is_paid_twice(world: World) -> None:
    """Out of what others are owed."""
    chain, greedy = world.chain(), account(SOL)
    owing(chain, greedy, path(2), payable_total=2 * SOL)
    for _ in range(2):
        chain.send(claiming(chain, greedy, path(2)))
    assert chain.lamports(Pubkey(greedy.public_key)) == 2 * SOL


@attack("a refund once", "EntryRefunded")
def an_entry_is_refunded_twice(world: World) -> None:
    chain = world.chain()
    greedy, robbed = (inbox_kit.person(chain, seed) for seed in (1, 2))
    for one in (greedy, robbed):
        chain.deposit(10_000, one.pubkey())
    inbox_kit.escape(chain)
    for _ in range(2):
        chain.send(inbox_kit.refunding(chain, 0))
    with refuses("VaultBelowRent"):
        chain.send(inbox_kit.refunding(chain, 1))


@attack("the hatch's clock", "HatchClosed")
def anybody_ends_a_chain_that_lives(world: World) -> None:
    chain = world.chain()
    chain.send(inbox_instructions.escape(chain.program_id, chain.payer.pubkey()))
    with refuses("Escaped"):
        chain.post()


@attack("rounding down", NOTHING_GAINED)
def small_change_is_rounded_out_of_others_stake(world: World) -> None:
    chain, where = world.chain(), validator(0)
    wallet = stake_kit.owner(chain, 1)
    stake_kit.delegate(chain, where, wallet, STAKE)
    for number in range(10):
        stake_kit.unbond(chain, where, wallet, 1, number)
    held = stake_kit.validator_of(chain, where)
    if held.active_worth(STAKE) >= STAKE:
        raise Refused(NOTHING_GAINED, [])


# -- who may -----------------------------------------------------------------------------------------------------------------------------


@attack("a signer signs", "InstructionErrorFieldless.MissingRequiredSignature")
def somebody_names_governance_and_pauses(world: World) -> None:
    chain = world.chain()
    governance = chain.config.governance
    chain.send(_instead(build.pause(chain.program_id, governance), "governance", governance, is_signer=False))
    with refuses("Paused"):
        chain.post()


@attack("the upgrade authority", "NotUpgradeAuthority")
def whoever_is_first_owns_the_deployment(world: World) -> None:
    chain, thief = world.bare(), Keypair.from_seed(b"t" * 32)
    arguments: Any = (chain.program_id, chain.payer.pubkey(), thief.pubkey(), GENESIS, LOCALNET_PROFILE)
    chain.send(instructions.initialize(*arguments), signers=[thief])
    assert chain.config.governance == thief.pubkey()
