"""Short ways to make keys, records and contexts that tests and scripts/make_vectors.py share. Everything follows from names: no randomness."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from solders.keypair import Keypair

from settlement import bls, messages, records, signing
from settlement.bls import SecretKey
from settlement.ledger import BatchRoots, Context, Parent
from settlement.ledger import batch as ledger_batch
from settlement.messages import CheckpointMessage
from settlement.records import (
    ConsensusVote,
    EconomicEvent,
    Event,
    Kind,
    Mode,
    Op,
    Reason,
    Record,
    TaskResult,
    TaskSubmission,
    Verdict,
    VerificationProof,
    WorkerRegistration,
)
from settlement.signing import EMPTY, Authorisation, Domain, node_id
from settlement.validator_set import SetEntry, ValidatorSet

NO_TASK = bytes(32)
TIME = 1_790_000_000


def filler(name: str, width: int = 32) -> bytes:
    """Bytes that mean nothing, the same for the same name."""
    return b"".join(sha256(f"{name}/{i}".encode()).digest() for i in range(-(-width // 32)))[:width]


def keypair(name: str) -> Keypair:
    return Keypair.from_seed(filler(f"keypair {name}"))


def public_key(name: str) -> bytes:
    return bytes(keypair(name).pubkey())


def node(name: str) -> bytes:
    return node_id(public_key(name))


DOMAIN = Domain(filler("genesis"), filler("program"))
SPEC_HASH = filler("spec")
RESULT_HASH = filler("result")
SALT = filler("salt")
TREASURY = filler("treasury")
AUTHORITIES = ("authority 0", "authority 1", "authority 2")


@lru_cache(maxsize=256)
def bls_key(index: int) -> SecretKey:
    return SecretKey.from_seed(filler(f"BLS key {index}"))


@lru_cache(maxsize=256)
def bls_uncompressed(index: int) -> bytes:
    return bls.uncompressed_public_key(bls_key(index).public_key)


def validator_set(*stakes: int, version: int = 1) -> ValidatorSet:
    entries = (SetEntry(public_key(f"authority {i}"), bls_uncompressed(i), stake) for i, stake in enumerate(stakes))
    return ValidatorSet(version, tuple(entries))


def context(epoch: int = 1, base_slot: int = 0, validators: ValidatorSet | None = None) -> Context:
    return Context(DOMAIN, epoch, base_slot, validators or validator_set(100, 100, 100), TREASURY)


def economic(event: Event, name: str, task: bytes = NO_TASK, **fields: object) -> Record:
    return Record(Op.ECONOMIC_EVENT, TIME, node(name), task, EconomicEvent(event, **fields))  # type: ignore[arg-type]


def deposit(name: str, lamports: int, inbox_index: int, slot: int = 7) -> Record:
    return economic(
        Event.DEPOSIT, name, lamports=lamports, inbox_index=inbox_index, slot=slot, public_key=public_key(name)
    )


def inbox_task_id(name: str, inbox_index: int, spec_hash: bytes = SPEC_HASH) -> bytes:
    return messages.inbox_task_id(DOMAIN, public_key(name), inbox_index, spec_hash)


def inbox_task(
    name: str,
    lamports: int,
    inbox_index: int,
    deadline: int = 100,
    *,
    slot: int = 7,
    kind: Kind = Kind.TRAINING,
    mode: Mode = Mode.REPLAY,
) -> Record:
    return economic(
        Event.INBOX_TASK,
        name,
        inbox_task_id(name, inbox_index),
        number=deadline,
        lamports=lamports,
        inbox_index=inbox_index,
        slot=slot,
        public_key=public_key(name),
        spec_hash=SPEC_HASH,
        kind_mode=kind << 4 | mode,
    )


def forced_withdrawal(
    name: str, lamports: int, inbox_index: int, withdraw: int, task: bytes = NO_TASK, slot: int = 7
) -> Record:
    return economic(
        Event.FORCED_WITHDRAWAL,
        name,
        task,
        number=withdraw,
        lamports=lamports,
        inbox_index=inbox_index,
        slot=slot,
        public_key=public_key(name),
    )


def strike(
    challenger: str, lamports: int, inbox_index: int, task: bytes, share_basis_points: int = 1_000, slot: int = 7
) -> Record:
    return economic(
        Event.STRIKE,
        challenger,
        task,
        number=share_basis_points,
        lamports=lamports,
        inbox_index=inbox_index,
        slot=slot,
        public_key=public_key(challenger),
        spec_hash=RESULT_HASH,
    )


def task_id(name: str, nonce: int, spec_hash: bytes = SPEC_HASH) -> bytes:
    return messages.task_id(DOMAIN, public_key(name), nonce, spec_hash)


def submission(
    name: str,
    nonce: int = 0,
    fee: int = 1000,
    deadline: int = 100,
    *,
    spec_hash: bytes = SPEC_HASH,
    kind: Kind = Kind.TRAINING,
    mode: Mode = Mode.REPLAY,
) -> Record:
    payload = TaskSubmission(nonce, fee, deadline, spec_hash, kind, mode)
    return Record(Op.TASK_SUBMISSION, TIME, node(name), task_id(name, nonce, spec_hash), payload)


def registration(name: str, nonce: int = 0, stake: int = 1_000_000) -> Record:
    payload = WorkerRegistration(nonce, public_key(name), stake, filler("environment"))
    return Record(Op.WORKER_REGISTRATION, TIME, node(name), NO_TASK, payload)


def result(name: str, nonce: int, task: bytes, lease_id: int = 1, result_hash: bytes = RESULT_HASH) -> Record:
    return Record(Op.TASK_RESULT, TIME, node(name), task, TaskResult(nonce, lease_id, result_hash, SALT))


def vote(index: int, task: bytes, verdict: Verdict = Verdict.ACCEPT, result_hash: bytes = RESULT_HASH) -> Record:
    reason = {
        Verdict.ACCEPT: Reason.NONE,
        Verdict.REJECT: Reason.WRONG_STATE,
        Verdict.ABSTAIN: Reason.OTHER_ENVIRONMENT,
    }
    payload = ConsensusVote(index, verdict, reason[verdict], result_hash, 5, 16, 972_222)
    return Record(Op.CONSENSUS_VOTE, TIME, node(f"authority {index}"), task, payload)


def sample_proof(index: int, task: bytes, signature: bytes = bytes(96)) -> Record:
    payload = VerificationProof(index, signature)
    return Record(Op.VERIFICATION_PROOF, TIME, node(f"authority {index}"), task, payload)


def payment(worker: str, task: bytes, lamports: int = 1000) -> Record:
    return economic(Event.PAYMENT, worker, task, lamports=lamports)


def slash(worker: str, task: bytes, lamports: int = 1_000_000) -> Record:
    return economic(Event.SLASH, worker, task, lamports=lamports)


def refund(client: str, task: bytes, lamports: int = 1000) -> Record:
    return economic(Event.REFUND, client, task, lamports=lamports)


def hold(worker: str, task: bytes, lamports: int = 1000) -> Record:
    return economic(Event.HOLD, worker, task, lamports=lamports)


def schedule(worker: str, task: bytes) -> Record:
    return economic(Event.SCHEDULE, worker, task)


def withdrawal(name: str, nonce: int, lamports: int) -> Record:
    return economic(Event.WITHDRAWAL, name, number=nonce, lamports=lamports)


def authorise(record: Record, name: str, expiry_slot: int = 600, domain: Domain = DOMAIN) -> Authorisation:
    """The signature that the record needs, by the key of `name`; EMPTY when it needs none."""
    if not records.needs_authorisation(record):
        return EMPTY
    digest = signing.authorisation_digest(domain, expiry_slot, records.encode(record))
    return Authorisation(public_key(name), expiry_slot, signing.sign(keypair(name), digest))


def sample_signature(
    index: int, task: bytes, worker: str, lease_id: int = 1, result_hash: bytes = RESULT_HASH
) -> bytes:
    """Validator `index`'s BLS signature over the sample digest of the result that result() reveals."""
    commitment = messages.commitment(DOMAIN, task, lease_id, public_key(worker), SALT, result_hash)
    return bls_key(index).sign(messages.sample_digest(task, commitment))


def proposal(
    parent: Parent, context: Context, batch: list[Record], signers: dict[bytes, str], attempt: int = 0
) -> tuple[CheckpointMessage, BatchRoots]:
    """What an honest sequencer proposes: `signers` gives the key name behind each node id."""
    roots = ledger_batch.close(
        parent.state, batch, [authorise(record, signers.get(record.node, "")) for record in batch], context
    )
    totals = roots.state.totals
    message = CheckpointMessage(
        epoch=context.epoch,
        attempt=attempt,
        cut_slot=parent.cut_slot + 40,
        expiry_slot=parent.cut_slot + 104,
        parent_hash=parent.hash,
        results_root=roots.results_root,
        state_root=roots.state.root,
        trace_root=roots.trace_root,
        data_root=roots.data_root,
        payable_total=totals.payable,
        inbox_cursor=totals.inbox_cursor,
        inbox_hash=ledger_batch.inbox_hash(parent.inbox_hash, batch),
        set_hash=context.validator_set.hash(context.domain),
    )
    return message, roots
