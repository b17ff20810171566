"""A served embedded L1 with the program set up, a sequencer on it, and scripted workers and validators that call it over HTTP.

What the workers "trained" is made up (real blobs of random bytes with consistent hashes); what the sequencer must judge of it is real.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from localnet.config import GenesisProgram, LocalnetConfig
from localnet.service import Endpoints, serve
from sequencer.config import SequencerConfig
from settlement import idl, messages, pda, spec, work
from settlement.bls import SecretKey
from settlement.client import L1Client
from settlement.keys import write_keypair
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from settlement.ledger import Context, Parent, check_batch
from settlement.messages import CheckpointMessage
from settlement.money import deposit
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
    WorkerRegistration,
)
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.signing import node_id

SOL = 1_000_000_000
ALREADY_DECIDED, WRONG_PROPOSAL, UNKNOWN_ACCOUNT = -33014, -33015, -33005
STAKE = 5_000_000
SLOT_MS = 100
FINALIZED_LAG_SLOTS = 6
ENVIRONMENT = {"torch": "2.9", "safetensors": "0.8", "device": "cpu", "cpu_capability": "AVX2", "threads": 1}
DATASET = b"a dataset, as far as the sequencer looks"
SPEC = {
    "version": 1,
    "kind": "training",
    "model_type": "mlp",
    "architecture": {"input_size": 64, "hidden_sizes": [128], "output_size": 10},
    "optimizer": {"type": "adam", "learning_rate": 0.001},
    "stopping_criterion": {"type": "max_epochs", "max_epochs": 50},
    "metrics": ["accuracy", "loss"],
    "dataset_info": {"sha256": sha256(DATASET).hexdigest(), "batch_size": 32, "size": 1797},
    "performance_requirements": {"gpu": False, "min_accuracy": 0.95},
    "mode": "replay",
    "seed": 1,
}


async def until(what: str, condition: Callable[[], Any], seconds: float = 30.0, pause: float = 0.05) -> Any:
    """The first true value of an async condition."""
    with trio.move_on_after(seconds):
        while True:
            value = await condition()
            if value:
                return value
            await trio.sleep(pause)
    raise AssertionError(f"{what}: not within {seconds} s")


async def unless(code: int, call: Callable[..., Any], *arguments: Any) -> Any:
    """The call's answer, None when it is refused with this code: somebody else was faster."""
    try:
        return await call(*arguments)
    except RpcError as error:
        if error.code != code:
            raise
        return None


@dataclass
class L1:
    """The served chain; `payer` is rich and pays for everything that the tests do on L1."""

    url: str
    client: L1Client
    authority: Keypair
    payer: Keypair
    validators: list[tuple[Keypair, SecretKey]] = field(default_factory=list)


async def start_l1(nursery: trio.Nursery, validators: int) -> tuple[L1Client, L1]:
    """An L1 with the program initialised and a set of `validators` sealed. The client must be closed by the caller."""
    program_id, authority, payer = idl.committed().address, Keypair(), Keypair()
    program = GenesisProgram(program_id, idl.PROGRAM_PATH, authority.pubkey())
    config = LocalnetConfig(
        rpc_port=0,
        programs=(program,),
        mint=payer.pubkey(),
        slot_ms=SLOT_MS,
        finalized_lag_slots=FINALIZED_LAG_SLOTS,
    )
    endpoints: Endpoints = await nursery.start(serve, config)
    client = await L1Client(endpoints.rpc_url, program_id).__aenter__()
    await client.request_airdrop(authority.pubkey(), 100 * SOL)
    await ensure_initialized(client, authority, payer)
    l1 = L1(endpoints.rpc_url, client, authority, payer)
    for _ in range(validators):
        l1.validators.append((Keypair(), SecretKey.generate()))
        await register_validator(client, payer, *l1.validators[-1], STAKE)
    await advance_validator_set(client, payer, authority)
    return client, l1


def config_for(l1: L1, folder: Path, **overrides: Any) -> SequencerConfig:
    """Quick settings on a free port; the payer's key file is made on first use."""
    keypair = folder / "payer.json"
    if not keypair.exists():
        write_keypair(keypair, l1.payer)
    quick = {"epoch_seconds": 0.5, "tick_seconds": 0.05, "poll_seconds": 0.1, "attestation_grace_seconds": 0.3}
    settings = {"url": l1.url, "keypair": keypair, "data_dir": folder / "data", "port": 0, "verdict_grace_slots": 4}
    return SequencerConfig(**{**settings, **quick, **overrides})


@dataclass
class Party:
    """A keypair with a client; records carry its nonce, which it keeps itself."""

    keypair: Keypair
    client: SequencerClient
    nonce: int = 0
    random_bytes: Callable[[int], bytes] = os.urandom

    @property
    def key(self) -> bytes:
        return bytes(self.keypair.pubkey())

    @property
    def name(self) -> str:
        return str(self.keypair.pubkey())

    async def _record(self, method: str, params: dict[str, Any], record: Record) -> Any:
        answer = await self.client.call_record(method, params, record)
        self.nonce += 1
        return answer

    def submission(self, params: dict[str, Any], task_id: bytes, spec_hash: bytes) -> Record:
        payload = TaskSubmission(
            params["nonce"], params["feeLamports"], params["deadlineSlot"], spec_hash, Kind.TRAINING, Mode.REPLAY
        )
        return Record(Op.TASK_SUBMISSION, 0, node_id(self.key), task_id, payload)

    async def submit(self, fee_lamports: int, deadline_slots: int = 5_000, seed: int = 1) -> str:
        """Submits a task; its id."""
        domain, described = await self.client.domain(), {**SPEC, "seed": seed}
        deadline = await self.client.slot() + deadline_slots
        params = {"spec": described, "feeLamports": fee_lamports, "deadlineSlot": deadline, "nonce": self.nonce}
        spec_hash = spec.spec_hash(described)
        task_id = messages.task_id(domain, self.key, self.nonce, spec_hash)
        answer = await self._record("submitTask", params, self.submission(params, task_id, spec_hash))
        assert answer["taskId"] == task_id.hex()
        return task_id.hex()

    async def withdraw(self, lamports: int) -> Any:
        payload = EconomicEvent(Event.WITHDRAWAL, number=self.nonce, lamports=lamports)
        record = Record(Op.ECONOMIC_EVENT, 0, node_id(self.key), bytes(32), payload)
        return await self._record("withdraw", {"lamports": lamports, "nonce": self.nonce}, record)

    async def register(self, stake_lamports: int = 2_000_000) -> Any:
        environment_hash = work.environment_hash(ENVIRONMENT)
        payload = WorkerRegistration(self.nonce, self.key, stake_lamports, environment_hash)
        record = Record(Op.WORKER_REGISTRATION, 0, node_id(self.key), bytes(32), payload)
        params = {"stakeLamports": stake_lamports, "environment": ENVIRONMENT, "nonce": self.nonce}
        return await self._record("registerWorker", params, record)

    async def pull(self) -> Any:
        return await self.client.call_signed("pullTask")

    async def prepare(self, granted: dict[str, Any], intervals: int = 4) -> Work:
        """Makes a result up and uploads its blobs."""
        states = [self.random_bytes(64) for _ in range(intervals + 1)]
        model = self.random_bytes(64)
        entries = [
            work.WorkEntry(i, sha256(state).digest(), bytes(32), bytes(32), sha256(model).digest(), 0.5)
            for i, state in enumerate(states)
        ]
        trace = b"".join(entry.encode() for entry in entries)
        for blob in (*states, model, trace):
            await self.client.put_blob(blob)
        task_id, lease_id, salt = granted["task"]["taskId"], granted["lease"]["leaseId"], self.random_bytes(32)
        metrics = {"accuracy": 0.97, "loss": 0.125}
        root = work.work_root(entries)
        result_hash = messages.result_hash(
            bytes.fromhex(task_id),
            self.key,
            Mode.REPLAY,
            work.environment_hash(ENVIRONMENT),
            root,
            sha256(model).digest(),
            work.metrics_hash(**metrics),
        )
        domain = await self.client.domain()
        commitment = messages.commitment(domain, bytes.fromhex(task_id), lease_id, self.key, salt, result_hash)
        reveal = {
            "taskId": task_id,
            "leaseId": lease_id,
            "resultHash": result_hash.hex(),
            "salt": salt.hex(),
            "workRoot": root.hex(),
            "entriesSha256": sha256(trace).hexdigest(),
            "modelSha256": sha256(model).hexdigest(),
            "metrics": metrics,
            "environment": ENVIRONMENT,
        }
        return Work(self, reveal, commitment.hex())

    async def do(self) -> str:
        """Pulls a task, commits and reveals; its id."""
        granted = await until("a task", self.pull)
        done = await self.prepare(granted)
        await done.commit()
        await done.reveal()
        return str(granted["task"]["taskId"])


@dataclass
class Work:
    """A prepared result."""

    worker: Party
    params: dict[str, Any]
    commitment: str

    async def commit(self) -> Any:
        named = {key: self.params[key] for key in ("taskId", "leaseId")}
        return await self.worker.client.call_signed("commitResult", {**named, "commitment": self.commitment})

    async def reveal(self) -> Any:
        params = {**self.params, "nonce": self.worker.nonce}
        payload = TaskResult(
            params["nonce"], params["leaseId"], bytes.fromhex(params["resultHash"]), bytes.fromhex(params["salt"])
        )
        record = Record(Op.TASK_RESULT, 0, node_id(self.worker.key), bytes.fromhex(params["taskId"]), payload)
        return await self.worker._record("revealResult", params, record)


@dataclass
class Voter:
    """A scripted validator: its verdict on everything is that of `judge` (accept by default), and it signs every proposal once,
    after it has recomputed it from the batch's bytes."""

    party: Party
    secret: SecretKey
    l1: L1Client
    judge: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    signs: bool = True
    signed: dict[tuple[int, int], str] = field(default_factory=dict)
    parents: dict[int, tuple[str, Parent]] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            await self.once()
            await trio.sleep(0.05)

    async def once(self) -> None:
        duties = await self.party.client.call("getDuties", {"validator": self.party.name})
        for duty in duties["results"]:
            if not duty["verdictGiven"]:
                await unless(ALREADY_DECIDED, self.vote, duty, duties["setIndex"])
        if duties["proposal"] and self.signs:
            await unless(WRONG_PROPOSAL, self.attest, duties["proposal"], duties["setIndex"])

    async def vote(self, duty: dict[str, Any], set_index: int, **fields: Any) -> Any:
        given = self.judge(duty) if self.judge else {}
        params = verdict_params(duty, set_index, self.secret, **{**given, **fields})
        return await self.party.client.call_record("submitVerdict", params, vote_record(self.party.key, params))

    async def attest(self, proposal: dict[str, Any], set_index: int) -> Any:
        found = await self.party.client.call("getProposal", proposal)
        message = CheckpointMessage.from_json(found)
        digest = message.hash(await self.party.client.domain())
        assert digest.hex() == found["hash"]
        await self.check(found)
        key = (message.epoch, message.attempt)
        assert self.signed.setdefault(key, found["hash"]) == found["hash"], "two proposals for one (epoch, attempt)"
        params = {
            "epoch": message.epoch,
            "attempt": message.attempt,
            "hash": found["hash"],
            "setIndex": set_index,
            "signature": self.secret.sign(digest).hex(),
        }
        return await self.party.client.call_signed("submitAttestation", params)

    async def check(self, found: dict[str, Any]) -> Parent:
        """Recomputes a checkpoint from its parent and its batch; what the next one extends."""
        domain, epoch = await self.party.client.domain(), found["epoch"]
        known = self.parents.get(epoch)
        if known is not None and known[0] == found["hash"]:
            return known[1]
        parent = Parent.genesis(domain)
        if epoch > 1:
            parent = await self.check(await self.party.client.call("getCheckpoint", {"epoch": epoch - 1}))
        data = await self.party.client.get_blob(found["dataSha256"])
        account = await self.l1.fetch_validator_set(found["setVersion"])
        assert account is not None
        treasury = bytes(pda.treasury(self.l1.program_id))
        context = Context(domain, epoch, parent.cut_slot, account.validator_set, treasury)
        message = CheckpointMessage.from_json(found)
        roots = check_batch(parent, message, data, context)
        made = Parent.of(message, domain, roots.state)
        self.parents[epoch] = (found["hash"], made)
        return made


def verdict_params(duty: dict[str, Any], set_index: int, secret: SecretKey, **fields: Any) -> dict[str, Any]:
    """The params of submitVerdict without auth: an acceptance of the last interval and all disputed ones unless `fields` say otherwise."""
    digest = messages.sample_digest(bytes.fromhex(duty["taskId"]), bytes.fromhex(duty["commitment"]))
    checked = sorted({3, *duty["disputedIntervals"]})
    params = {
        "taskId": duty["taskId"],
        "resultHash": duty["resultHash"],
        "setIndex": set_index,
        "verdict": "accept",
        "reason": "none",
        "intervals": 4,
        "accuracyPpm": 970_000,
        "sampleSignature": secret.sign(digest).hex(),
        "checkedIntervals": checked,
        **fields,
    }
    return {**params, "replayed": len(params["checkedIntervals"])}


def vote_record(authority: bytes, params: dict[str, Any]) -> Record:
    payload = ConsensusVote(
        params["setIndex"],
        Verdict[params["verdict"].upper()],
        Reason[params["reason"].upper()],
        bytes.fromhex(params["resultHash"]),
        params["replayed"],
        params["intervals"],
        params["accuracyPpm"],
    )
    return Record(Op.CONSENSUS_VOTE, 0, node_id(authority), bytes.fromhex(params["taskId"]), payload)


def reject(duty: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": "reject", "reason": "wrong_state", "checkedIntervals": [3], "disputedInterval": 3}


@dataclass
class Network:
    """A sequencer on an L1 and what the tests do with both."""

    l1: L1
    url: str
    nursery: trio.Nursery
    attempts: int = 6

    async def party(self, deposit_lamports: int = 0, keypair: Keypair | None = None) -> Party:
        """A new party; with a deposit it has an L2 account as soon as this returns."""
        keypair = keypair or Keypair()
        party = Party(keypair, await SequencerClient(self.url, keypair, attempts=self.attempts).__aenter__())
        if deposit_lamports:
            await deposit(self.l1.client, self.l1.payer, deposit_lamports, keypair.pubkey())
            await until("the deposit", lambda: self.has_account(keypair.pubkey()))
        return party

    async def has_account(self, key: Pubkey) -> Any:
        async with SequencerClient(self.url, attempts=self.attempts) as client:
            params = {"publicKey": str(key), "commitment": "processed"}
            return await unless(UNKNOWN_ACCOUNT, client.call, "getBalance", params)

    def start_voters(self, parties: list[Voter]) -> None:
        for voter in parties:
            self.nursery.start_soon(voter.run)

    async def voters(self) -> list[Voter]:
        return [
            Voter(await self.party(keypair=authority), secret, self.l1.client)
            for authority, secret in self.l1.validators
        ]
