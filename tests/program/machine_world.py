"""A chain, the model beside it, the people on it and what they know; and one step: an instruction that the model judges first."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from random import Random
from typing import Any

from solders.compute_budget import set_compute_unit_limit
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from settlement import bls, hash_to_curve, idl, messages, pda
from settlement.accounts import LOCALNET_PROFILE, Parameters
from settlement.ledger import State
from settlement.messages import CheckpointMessage
from settlement.validator_set import ValidatorSet
from tests.program.dispute_kit import Batch
from tests.program.kit import GENESIS, LARGEST_COMPUTE, SOL, Chain
from tests.program.machine_disputes import Model
from tests.program.machine_model import ANY, Fields
from tests.settlement import kit

LAMPORTS_PER_SIGNATURE = 5_000
CURVE_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
IGNORED = {"bump", "vault_bump", "stake_vault_bump", "treasury_bump", "aggregate_key"}
"""Fields that the model says nothing of: that they are right shows in what is accepted with them."""
_SLOT = struct.Struct("<32s96sQQQQQII")
_SLOT_NAMES = [
    "authority",
    "bls_public_key",
    "stake_lamports",
    "stake_slot",
    "reward_lamports",
    "reserved",
    "heartbeat_slot",
    "misses",
    "flags",
]
SMALL = Parameters(
    **{
        **LOCALNET_PROFILE.to_mapping(),
        "challenge_window_slots": 8,
        "inclusion_window_slots": 12,
        "max_expiry_slots": 10,
        "min_seal_gap_slots": 10,
        "answer_slots": 30,
        "stall_slots": 24,
        "hatch_slots": 110,
        "unbonding_slots": 50,
        "max_inbox_per_epoch": 6,
        "heartbeat_slots": 20,
        "jail_slots": 12,
        "max_misses": 1,
        "miss_slash_basis_points": 100,
        "governance_delay_slots": 60,
    }
)
"""The machine's: everything may happen within some hundred slots."""


class Violation(AssertionError):
    """The program did what the model, or an invariant, rules out."""


@dataclass(frozen=True)
class Candidate:
    """Somebody who may be a validator."""

    authority: Keypair
    secret: bls.SecretKey
    compressed: bytes
    uncompressed: bytes
    address: Pubkey


@dataclass
class Told:
    """A posted checkpoint as its signers know it. `state` is the state under its state root."""

    batch: Batch
    message: CheckpointMessage
    state: State
    parent: int
    version: int
    lie: str = ""


@dataclass
class Filling:
    """A proof buffer that somebody fills. `judge`: what is wrong with the evidence once it is all there."""

    owner: Keypair
    buffer_id: int
    content: bytes
    purpose: str
    about: Any
    judge: Callable[[], str | None]
    written: int = 0
    is_used: bool = False

    @property
    def is_full(self) -> bool:
        return self.written >= len(self.content)


@dataclass
class Call:
    """An instruction as an actor sends it. `build` is called only when it is sent: signing is dear."""

    name: str
    rule: Callable[[], None]
    build: Callable[[], Sequence[Instruction]]
    payer: Keypair
    signers: tuple[Keypair, ...] = ()
    note: Callable[[], None] = lambda: None


@dataclass
class Tally:
    """What was tried. `errors` counts by code; the runtime's and Anchor's own are under 0."""

    attempts: Counter[str] = field(default_factory=Counter)
    successes: Counter[str] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)
    steps: int = 0

    def add(self, other: Tally) -> None:
        self.attempts.update(other.attempts)
        self.successes.update(other.successes)
        self.errors.update(other.errors)
        self.steps += other.steps


@lru_cache(maxsize=4_096)
def hints_of(digest: bytes) -> bytes:
    return hash_to_curve.hints(digest)


@cache
def candidate(program: Pubkey, index: int) -> Candidate:
    """Numbers 6 and 7 have keys that are each other's negative: together they sign for nothing."""
    secret = bls.SecretKey.from_seed(b"machine validator" + index.to_bytes(32, "little"))
    if index == 7:
        other = int.from_bytes(candidate(program, 6).secret.to_bytes(), "big")
        secret = bls.SecretKey.from_bytes((CURVE_ORDER - other).to_bytes(32, "big"))
    authority = Keypair.from_seed(b"\x0a" + index.to_bytes(31, "little"))
    key = bytes(secret.public_key)
    return Candidate(authority, secret, key, bls.uncompressed_public_key(key), pda.validator(program, key))


@cache
def candidate_at(program: Pubkey, uncompressed: bytes) -> Candidate:
    for index in range(320):
        if candidate(program, index).uncompressed == uncompressed:
            return candidate(program, index)
    raise KeyError(uncompressed.hex())


@lru_cache(maxsize=4_096)
def proof_of_possession(program: Pubkey, index: int) -> tuple[bytes, bytes]:
    """Signature and hints."""
    who = candidate(program, index)
    domain = messages_domain(program)
    digest = messages.proof_of_possession_digest(domain, bytes(who.authority.pubkey()), who.secret.public_key)
    return who.secret.sign(digest), hash_to_curve.hints(digest)


def messages_domain(program: Pubkey) -> Any:
    from settlement.signing import Domain

    return Domain(GENESIS, bytes(program))


class World:
    """`newcomers`: how many candidates there are beside those that were there at the start."""

    def __init__(self, newcomers: int = 9) -> None:
        self.chain = Chain.new()
        svm, program = self.chain.svm, self.chain.program_id
        self.svm, self.program = svm, program
        rents: dict[int, int] = {}

        def rent(size: int) -> int:
            if size not in rents:
                rents[size] = int(svm.minimum_balance_for_rent_exemption(size))
            return rents[size]

        self.model = Model(program, GENESIS, rent)
        self.governors = [self.chain.authority, *(Keypair.from_seed(b"g%d" % i + bytes(30)) for i in range(2))]
        self.clients = [kit.keypair(f"client {i}") for i in range(4)]
        self.names = {one.pubkey(): f"client {i}" for i, one in enumerate(self.clients)}
        self.posters = [self.chain.payer, Keypair.from_seed(b"q" * 32)]
        self.others = [Keypair.from_seed(bytes([60 + i]) * 32) for i in range(4)]
        self.candidates = [candidate(program, i) for i in range(newcomers)]
        self.people = [*self.governors, *self.clients, *self.posters, *self.others]
        for one in [*self.people, *(who.authority for who in self.candidates)]:
            svm.airdrop(one.pubkey(), 1_000 * SOL)
            self.model.lamports[one.pubkey()] = self.chain.lamports(one.pubkey())
        self.by_key = {one.pubkey(): one for one in self.everybody()}
        self.by_address = {who.address: who for who in self.candidates}
        self.total = sum(self.model.lamports.values())
        self.fees = 0
        self.told: dict[int, Told] = {}
        self.evidence: list[CheckpointMessage] = []
        self.receipts: list[tuple[Keypair, CheckpointMessage, int, bytes]] = []
        self.fillings: dict[Pubkey, Filling] = {}
        self.tally = Tally()
        self.wanted_lies: tuple[str, ...] = ()
        self.lying = 0.4
        """How often a batch that is posted lies."""
        self.history = History()
        self.view: Any = None
        self.known: set[Pubkey] = {*self.model.lamports}
        self.written: set[Pubkey] = set()
        self.gifts: Counter[Pubkey] = Counter()
        self.payments: Counter[tuple[object, ...]] = Counter()
        self.last: str = ""

    @property
    def slot(self) -> int:
        return self.chain.slot

    def warp(self, slots: int) -> None:
        self.svm.warp_to_slot(self.slot + slots)
        self.model.slot = self.slot

    @property
    def config(self) -> Fields:
        return self.model.accounts[self.model.config_at]

    @property
    def is_up(self) -> bool:
        return self.model.config_at in self.model.accounts

    def would(self, call: Call) -> str | None:
        self.model.slot = self.slot
        return self.model.would(call.rule)

    def play(self, call: Call) -> str | None:
        """Sends it; what it was refused with. Violation when the program and the model part."""
        model, svm = self.model, self.svm
        model.slot = self.slot
        built = list(call.build())
        blockhash = svm.latest_blockhash()
        message = Message.new_with_blockhash(
            [set_compute_unit_limit(LARGEST_COMPUTE), *built], call.payer.pubkey(), blockhash
        )
        signers = {one.pubkey(): one for one in (call.payer, *call.signers)}
        wanted = message.account_keys[: message.header.num_required_signatures]
        transaction = Transaction([signers[key] for key in wanted], message, blockhash)
        precompiled = sum(bytes(one.program_id)[:3] == ED25519_PREFIX for one in built)
        fee = LAMPORTS_PER_SIGNATURE * (len(wanted) + precompiled)
        writable = writable_in(message)
        before = {key: self._seen(key) for key in writable}
        model.lamports[call.payer.pubkey()] -= fee
        self.fees += fee
        expected = model.guess(call.rule)
        touched = [*model.journal]
        written = {*touched, *writable}
        self.written |= written
        self.known |= written
        done = svm.send_transaction(transaction)
        svm.expire_blockhash()
        self.last = f"{call.name} at slot {model.slot}"
        self.tally.steps += 1
        self.tally.attempts[call.name] += 1
        if isinstance(done, FailedTransactionMetadata):
            name, code = refusal_of(done)
            self.tally.errors[code] += 1
            if expected is None or expected not in (ANY, name):
                logs = "\n".join(done.meta().logs())
                raise Violation(f"{self.last}: refused with {name}, the model says {expected}\n{logs}")
            for key, old in before.items():
                now = self._seen(key)
                if key == call.payer.pubkey():
                    old = (old[0] - fee, *old[1:])
                if now != old:
                    raise Violation(
                        f"{self.last}: refused with {name}, and changed {key}: {old[0]} → {now[0]} lamports"
                    )
            return name
        if expected is not None:
            raise Violation(f"{self.last}: accepted, the model says {expected}")
        self.tally.successes[call.name] += 1
        for address in written:
            self._compare(address)
        self.payments.update(model.new_rights)
        call.note()
        return None

    def _seen(self, address: Pubkey) -> tuple[int, bytes, bytes]:
        held = self.svm.get_account(address)
        return (0, b"", b"") if held is None else (held.lamports, bytes(held.data), bytes(held.owner))

    def _compare(self, address: Pubkey) -> None:
        """The account is what the model says."""
        model = self.model
        lamports, data, owner = self._seen(address)
        if lamports != model.lamports.get(address, 0):
            raise Violation(f"{self.last}: {address} has {lamports} lamports, not {model.lamports.get(address, 0)}")
        kind = model.kinds.get(address)
        if kind is None:
            if data:
                raise Violation(f"{self.last}: {address} holds {len(data)} bytes, and should not be there")
            return
        if owner != bytes(self.program) or len(data) != model.sizes[address]:
            raise Violation(f"{self.last}: {kind} {address} has {len(data)} bytes, not {model.sizes[address]}")
        values, tail = decoded(kind, data)
        for name, value in model.accounts[address].items():
            if name not in IGNORED and values[name] != value:
                raise Violation(f"{self.last}: {kind}.{name} is {values[name]}, not {value}")
        self._compare_tail(kind, address, tail)

    def _compare_tail(self, kind: str, address: Pubkey, tail: bytes) -> None:
        if kind == "Registry":
            for index, slot in enumerate(slots_in(tail)):
                held = self.model.tails[address][index]
                if slot != held:
                    raise Violation(f"{self.last}: registry slot {index} is {slot}, not {held}")
        elif kind == "ValidatorSet":
            entries = b"".join(one.encode() for one in self.model.tails.get(address) or ())
            if tail[: len(entries)] != entries:
                raise Violation(f"{self.last}: the set's entries are not those of the registry")
        elif kind == "ProofBuffer" and tail != self.model.tails[address]:
            raise Violation(f"{self.last}: the buffer's bytes are not those that were written")

    # -- what people know ----------------------------------------------------------------------------------------------------------------

    def keypair(self, address: Pubkey) -> Keypair | None:
        return self.by_key.get(address)

    def everybody(self) -> Iterator[Keypair]:
        yield from self.people
        for who in self.candidates:
            yield who.authority

    def registered(self) -> list[Candidate]:
        return [who for who in self.candidates if who.address in self.model.kinds]

    def epochs(self) -> list[int]:
        return [epoch for epoch in self.told if pda.checkpoint(self.program, epoch) in self.model.accounts]

    def checkpoint(self, epoch: int) -> Fields:
        return self.model.accounts[pda.checkpoint(self.program, epoch)]

    def versions(self) -> list[int]:
        last = self.config.sealed_last.version
        known = range(1, last + 2)
        return [one for one in known if pda.validator_set(self.program, one) in self.model.accounts]

    def validator_set(self, version: int) -> ValidatorSet:
        return ValidatorSet(version, tuple(self.model.entries(version)))

    def state_of(self, epoch: int) -> State:
        return self.told[epoch].state if epoch else State.empty()

    def signature(self, version: int, digest: bytes, indexes: Sequence[int]) -> bytes:
        """Of these members; of what sums to infinity the first one's."""
        entries = self.model.entries(version)
        signed = [
            candidate_at(self.program, entries[index].bls_uncompressed).secret.sign(digest)
            for index in indexes
            if index < len(entries)
        ]
        if not signed:
            return self.candidates[0].secret.sign(digest)
        try:
            return bls.aggregate(signed)
        except bls.BlsError:
            return signed[0]


@dataclass
class History:
    """What the invariants remember of the chain itself."""

    finalized: dict[int, bytes] = field(default_factory=dict)
    posted: dict[int, bytes] = field(default_factory=dict)
    highest: int = 0
    inbox: tuple[bytes, int, int] = (b"", 0, 0)
    """Hash, sum and number of the entries that were looked at."""


ED25519_PREFIX = bytes(Pubkey.from_string("Ed25519SigVerify111111111111111111111111111"))[:3]


def writable_in(message: Message) -> list[Pubkey]:
    header, keys = message.header, list(message.account_keys)
    signed = header.num_required_signatures
    unsigned = keys[signed : len(keys) - header.num_readonly_unsigned_accounts]
    return keys[: signed - header.num_readonly_signed_accounts] + unsigned


def slots_in(tail: bytes) -> list[Fields | None]:
    """The registry's 256 slots; a registry that is not grown yet has fewer."""
    usable = tail[: len(tail) // _SLOT.size * _SLOT.size]
    found: list[Fields | None] = []
    for values in _SLOT.iter_unpack(usable[: 256 * _SLOT.size]):
        if values[8] & 1:
            slot = Fields(zip(_SLOT_NAMES, values, strict=True))
            slot.authority = Pubkey(values[0])
            found.append(slot)
        else:
            found.append(None)
    return found


@lru_cache(maxsize=1_024)
def decoded(kind: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    """An account's fields, which nobody changes, and what lies behind them."""
    return idl.committed().decode_account(kind, data)


def refusal_of(failed: FailedTransactionMetadata) -> tuple[str, int]:
    """Name and code of the program's error; the runtime's text and 0."""
    error = failed.err()
    inner = getattr(error, "err", None)
    code = getattr(inner, "code", None)
    if code is not None and code in idl.committed().errors:
        return idl.committed().errors[code].name, int(code)
    return str(inner if inner is not None else error), 0


def in_turn(random: Random, *parts: Sequence[Any]) -> Any:
    """From the first sequence that has something, mostly."""
    full = [part for part in parts if part]
    if not full:
        return None
    chosen = full[0] if random.random() < 0.85 else random.choice(full)
    return random.choice(list(chosen))
