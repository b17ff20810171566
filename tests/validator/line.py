"""A real line for tests of worker and validator: embedded L1 with the committed program, a sequencer over HTTP, one registered validator."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
from solders.keypair import Keypair

import sequencer.service
import validator.loop
import worker.loop
from localnet.config import GenesisProgram, LocalnetConfig
from localnet.service import serve
from sequencer.config import SequencerConfig
from settlement import idl, messages, spec
from settlement.bls import SecretKey
from settlement.client import L1Client
from settlement.keys import write_bls_key, write_keypair
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from settlement.money import deposit
from settlement.records import Kind, Mode, Op, Record, TaskSubmission
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.signing import Domain, node_id
from validator.config import ValidatorConfig
from validator.slashing_protection import ProtectionLocked, SlashingProtection
from validator.store import Store
from validator.votes import Attested
from worker.config import WorkerConfig

SLOT_MS = 150  # an attempt lives 64 slots: long enough for a busy machine to attest in
FEE = 50_000


@dataclass
class Line:
    """A running L1 and sequencer, one registered validator, and what else a test needs."""

    l1: L1Client
    rich: Keypair
    nursery: trio.Nursery
    folder: Path
    sequencer_url: str
    secret: SecretKey
    domain: Domain

    async def funded(self, name: str, lamports: int) -> Keypair:
        """A key file with an L2 deposit."""
        keypair = Keypair()
        write_keypair(self.folder / f"{name}.json", keypair)
        await deposit(self.l1, self.rich, lamports, keypair.pubkey())
        return keypair

    def worker_config(self, name: str) -> WorkerConfig:
        return WorkerConfig(
            url=self.l1.url,
            sequencer=self.sequencer_url,
            keypair=self.folder / f"{name}.json",
            data_dir=self.folder / name,
            device="cpu",
            poll_seconds=0.3,
            renew_seconds=1,
        )

    async def start_worker(self, name: str, **options: Any) -> trio.CancelScope:
        return await self._start(partial(worker.loop.run, self.worker_config(name), **options))

    async def start_validator(self) -> trio.CancelScope:
        return await self._start(partial(validator.loop.run, self.validator_config))

    def _protection(self) -> SlashingProtection:
        path = self.validator_config.data_dir / "slashing_protection.sqlite"
        return SlashingProtection(path, self.domain, self.secret.public_key)

    def last_vote(self) -> Attested | None:
        """The last attestation of a validator that has ended."""
        with self._protection() as protection:
            return protection.last()

    def kept_epoch(self) -> int | None:
        """The epoch that the validator has on disk as final, once it has ended; None while it runs."""
        try:
            protection = self._protection()
        except ProtectionLocked:
            return None
        with protection:
            store = Store(self.validator_config.data_dir / "state", self.domain)
            try:
                return store.load().epoch
            finally:
                store.close()

    @property
    def validator_config(self) -> ValidatorConfig:
        return ValidatorConfig(
            url=self.l1.url,
            sequencer=self.sequencer_url,
            keypair=self.folder / "authority.json",
            bls_keypair=self.folder / "bls.json",
            data_dir=self.folder / "validator",
            device="cpu",
            poll_seconds=0.3,
        )

    async def _start(self, service: Callable[..., Awaitable[None]]) -> trio.CancelScope:
        scope = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            with scope:
                await service(task_status=task_status)

        await self.nursery.start(run)
        return scope


@asynccontextmanager
async def open_line(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Line]:
    """Starts everything in `nursery`, which is cancelled at the end."""
    authority, rich, secret, program_id = Keypair(), Keypair(), SecretKey.generate(), idl.committed().address
    program = GenesisProgram(program_id, idl.PROGRAM_PATH, authority.pubkey())
    endpoints = await nursery.start(
        serve, LocalnetConfig(rpc_port=0, programs=(program,), mint=rich.pubkey(), slot_ms=SLOT_MS)
    )
    async with L1Client(endpoints.rpc_url, program_id) as l1:
        await ensure_initialized(l1, authority, rich)
        validator_key = Keypair()
        await register_validator(l1, rich, validator_key, secret, 5_000_000)
        await advance_validator_set(l1, rich, authority)
        write_keypair(tmp_path / "authority.json", validator_key)
        write_bls_key(tmp_path / "bls.json", secret.to_bytes(), secret.public_key)
        write_keypair(tmp_path / "poster.json", rich)
        config = SequencerConfig(
            url=l1.url,
            keypair=tmp_path / "poster.json",
            data_dir=tmp_path / "sequencer",
            port=0,
            epoch_seconds=1.5,
            lease_slots=2_000,
        )
        port = await nursery.start(sequencer.service.run, config)
        yield Line(l1, rich, nursery, tmp_path, f"http://127.0.0.1:{port}", secret, await l1.domain())
    nursery.cancel_scope.cancel()


async def until(what: str, question: Callable[[], Awaitable[Any]], seconds: float = 300) -> Any:
    with trio.move_on_after(seconds):
        while not (answer := await question()):
            await trio.sleep(0.2)
        return answer
    raise AssertionError(f"{what} did not come in {seconds} s")


async def submit(client: SequencerClient, raw: dict[str, Any], nonce: int) -> str:
    hashed = spec.spec_hash(raw)
    deadline = await client.slot() + 5_000
    task_id = messages.task_id(await client.domain(), client.public_key, nonce, hashed)
    payload = TaskSubmission(nonce, FEE, deadline, hashed, Kind.TRAINING, Mode.REPLAY)
    record = Record(Op.TASK_SUBMISSION, 0, node_id(client.public_key), task_id, payload)
    params = {"spec": raw, "feeLamports": FEE, "deadlineSlot": deadline, "nonce": nonce}
    await client.call_record("submitTask", params, record)
    return task_id.hex()


async def deposited(client: SequencerClient, keypair: Keypair) -> bool:
    try:
        await client.call("getBalance", {"publicKey": str(keypair.pubkey()), "commitment": "processed"})
    except RpcError:
        return False
    return True


async def value_of(value: bool) -> bool:
    return value
