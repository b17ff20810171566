"""The worker: pulls a task, trains, commits, uploads, reveals, and keeps what it revealed until the epoch that pays it is final.

Training runs in a child process, so that the lease is renewed meanwhile and losing it ends the training at once. A worker killed at any point
goes on where its journal says.
"""

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
import trio
from solders.pubkey import Pubkey

from settlement import messages, spec, work
from settlement.client import L1Client
from settlement.keys import read_keypair
from settlement.patience import until_l1_answers
from settlement.records import Mode
from settlement.rpc_codes import Code
from settlement.sequencer_client import (
    BadAnswer,
    RpcError,
    SequencerClient,
    SequencerError,
    SequencerUnreachable,
)
from settlement.signing import Domain
from worker import datasets
from worker.child import Child, ChildDied, ChildError, open_child
from worker.client import Lease, WorkerClient
from worker.config import WorkerConfig
from worker.job import Execute, Job, Trained
from worker.journal import Entry, Journal, JournalError, JournalUnwritable, Stage
from worker.progress import Progress

MAX_PAUSE_SECONDS = 5.0
PROGRESS_SECONDS = 1.0
"""A renewal is a write of the sequencer's: progress is told no more often than this."""
_GONE = (
    Code.LEASE_LOST,
    Code.WRONG_COMMITMENT,
    Code.DEADLINE,
    Code.UNKNOWN_TASK,
    Code.ALREADY_DECIDED,
)

Log = structlog.stdlib.BoundLogger
Executor = Callable[[Job, Execute], Awaitable[Trained]]


class TaskFailed(Exception):
    """The task has no result that could be committed; the lease is left to expire."""


async def honest(job: Job, execute: Execute) -> Trained:
    return await execute(job)


async def run(
    config: WorkerConfig,
    *,
    execute: Executor = honest,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Works until cancelled. `execute` is given each job and the honest way to run it; tests of lies give another.

    Raises WrongChain when sequencer and L1 disagree on what chain this is; whatever may pass is waited for.
    """
    keypair = read_keypair(config.keypair)
    program = Pubkey.from_string(config.program_id) if config.program_id else None
    async with L1Client(config.l1_urls, program) as l1:
        domain = await until_l1_answers(l1.domain, structlog.get_logger(room="worker"))
    arguments = ["--device", config.device, "--threads", str(config.threads)]
    async with (
        SequencerClient(config.sequencer, keypair, genesis=domain.genesis, program=domain.program) as sequencer,
        open_child("worker.executor", arguments) as child,
    ):
        worker = _Worker(config, domain, WorkerClient(sequencer), sequencer, child, execute)
        task_status.started()
        await worker.forever()


class _Worker:
    def __init__(
        self,
        config: WorkerConfig,
        domain: Domain,
        client: WorkerClient,
        sequencer: SequencerClient,
        child: Child,
        execute: Executor,
    ) -> None:
        self._config, self._domain = config, domain
        self._client, self._sequencer, self._child = client, sequencer, child
        self._execute = execute
        self._journal = Journal(config.data_dir / "jobs")
        self._datasets = config.data_dir / "datasets"
        self._datasets.mkdir(parents=True, exist_ok=True)
        self._environment: dict[str, Any] = {}
        self._entries: dict[bytes, Entry] = {}
        self._finalized_epoch = -1
        self._said = ""
        self._progress = Progress()
        self._given_up: set[tuple[bytes, int]] = set()
        self._log: Log = structlog.get_logger(room="worker", key=client.address)

    async def forever(self) -> None:
        loaded = await trio.to_thread.run_sync(lambda: list(self._journal.entries()))
        self._entries = {entry.task_id: entry for entry in loaded}
        self._environment = await self._child.call("environment")
        pause = self._config.poll_seconds
        while True:
            try:
                worked = await self._once()
                pause = self._config.poll_seconds
            except (SequencerUnreachable, BadAnswer, RpcError) as error:
                self._log.warning("sequencer", error=str(error))
                worked, pause = False, min(2 * pause, MAX_PAUSE_SECONDS)
            if not worked:
                await trio.sleep(pause)

    async def _once(self) -> bool:
        """One turn: what the journal holds, then a task if there is one. True when a task was worked on."""
        await self._forget_settled()
        if not await self._ensure_stake():
            return False
        for entry in [entry for entry in self._entries.values() if entry.stage is Stage.SEALED]:
            await self._finish(entry)
        lease = await self._client.pull()
        if lease is None or (lease.task_id, lease.lease_id) in self._given_up:
            return False
        await self._work(lease)
        return True

    async def _ensure_stake(self) -> bool:
        """Whether the locked stake suffices, after locking what is missing. Waiting for a deposit is not an error."""
        try:
            balance = await self._client.balance()
        except RpcError as error:
            if error.code != Code.UNKNOWN_ACCOUNT:
                raise
            self._say_once(f"waiting for a deposit to {self._client.address}")
            return False
        missing = self._config.stake_lamports - balance["lockedStakeLamports"]
        if missing <= 0:
            return True
        if balance["balanceLamports"] < missing:
            self._say_once(f"{missing} lamports are missing for the stake, the balance is {balance['balanceLamports']}")
            return False
        await self._client.register(missing, self._environment)
        self._log.info("registered", stake_lamports=missing)
        return True

    def _say_once(self, reason: str) -> None:
        if reason != self._said:
            self._log.warning("waiting", reason=reason)
        self._said = reason

    async def _work(self, lease: Lease) -> None:
        log = self._log.bind(task=lease.task_id.hex(), lease=lease.lease_id)
        log.info("leased")
        self._progress = Progress()
        failure: SequencerError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_lease, lease, nursery.cancel_scope, log)
            try:
                await self._finish(await self._seal(lease))
            except (TaskFailed, ChildError, ChildDied, spec.SpecError) as error:
                log.warning("gave the task up", error=str(error))
                self._given_up.add((lease.task_id, lease.lease_id))
                await self._forget(lease.task_id)
            except SequencerError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _keep_lease(self, lease: Lease, working: trio.CancelScope, log: Log) -> None:
        while True:
            with trio.move_on_after(self._config.renew_seconds):
                await trio.sleep(PROGRESS_SECONDS)
                await self._progress.news()
            try:
                await self._client.renew(lease.task_id, lease.lease_id, self._progress.take())
            except RpcError as error:
                if error.code not in _GONE:
                    log.warning("lease not renewed", error=str(error))
                    continue
                # After the reveal there is no lease to renew: only what is not sealed yet is given up.
                if lease.task_id not in self._entries:
                    log.warning("lost the lease", error=str(error))
                    working.cancel()
                return
            except (SequencerUnreachable, BadAnswer) as error:
                log.warning("lease not renewed", error=str(error))

    async def _seal(self, lease: Lease) -> Entry:
        """Trains, and puts the result into the journal. Nothing has left this machine when it returns."""
        task = spec.parse(lease.spec)
        dataset = await self._fetch(task.dataset_info.sha256)
        folder = self._journal.folder_of(lease.task_id)
        await self._forget(lease.task_id)
        trained = await self._execute(Job(lease.task_id, lease.spec, dataset, folder), self._train)
        if trained.accuracy < task.performance_requirements.min_accuracy:
            raise TaskFailed(f"accuracy {trained.accuracy} is below {task.performance_requirements.min_accuracy}")
        salt = secrets.token_bytes(32)
        result_hash = messages.result_hash(
            lease.task_id,
            self._client.public_key,
            Mode.REPLAY,
            work.environment_hash(self._environment),
            trained.work_root,
            trained.model_hash,
            work.metrics_hash(trained.accuracy, trained.loss),
        )
        commitment = messages.commitment(
            self._domain, lease.task_id, lease.lease_id, self._client.public_key, salt, result_hash
        )
        entry = Entry(lease.task_id, lease.lease_id, salt, result_hash, commitment, self._environment, trained)
        await self._remember(entry)
        return entry

    async def _remember(self, entry: Entry) -> None:
        """Waits for room on a full disk: what is not in the journal must not be promised."""
        pause = self._config.poll_seconds
        while True:
            try:
                await trio.to_thread.run_sync(self._journal.save, entry)
                break
            except JournalUnwritable as error:
                self._log.error("waiting for room on the disk", error=str(error))
            await trio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        self._entries[entry.task_id] = entry

    async def _forget(self, task_id: bytes) -> None:
        self._entries.pop(task_id, None)
        await trio.to_thread.run_sync(self._journal.clear, task_id)

    async def _train(self, job: Job) -> Trained:
        arguments = {"spec": dict(job.spec), "dataset": str(job.dataset), "folder": str(job.folder)}
        return Trained.from_json(await self._child.call("train", on_progress=self._progress.note, **arguments))

    async def _fetch(self, name: str) -> Path:
        try:
            return await datasets.fetch(self._sequencer, name, self._datasets)
        except RpcError as error:
            if error.code != Code.NOT_FOUND:
                raise
            raise TaskFailed(f"the dataset {name} is not to be had") from error
        except OSError as error:
            raise TaskFailed(f"the dataset {name} cannot be kept: {error.strerror}") from error

    async def _finish(self, entry: Entry) -> None:
        """Commits and reveals a sealed result; after a restart, whatever of that is still to be done. Forgets one that nobody wants any more."""
        log = self._log.bind(task=entry.task_id.hex(), lease=entry.lease_id)
        try:
            if not await self._is_revealed(entry):
                await self._client.commit(entry)
                log.info("committed", commitment=entry.commitment.hex())
                await self._client.reveal(entry, await self._client.upload(entry))
        except RpcError as error:
            if error.code not in _GONE:
                raise
            log.warning("the result is not wanted any more", error=str(error))
            await self._give_up(entry)
            return
        except JournalError as error:
            log.error("the result is lost", error=str(error))
            await self._give_up(entry)
            return
        log.info("revealed", accuracy=entry.trained.accuracy)
        await self._remember(entry.revealed())

    async def _give_up(self, entry: Entry) -> None:
        self._given_up.add((entry.task_id, entry.lease_id))
        await self._forget(entry.task_id)

    async def _is_revealed(self, entry: Entry) -> bool:
        task = await self._client.task(entry.task_id)
        return task["status"] in ("revealed", "paid") and task.get("worker") == self._client.address

    async def _forget_settled(self) -> None:
        """Drops the states of tasks whose epoch is final: nobody can dispute those any more."""
        revealed = [entry for entry in self._entries.values() if entry.stage is Stage.REVEALED]
        if not revealed or (finalized := await self._client.finalized_epoch()) == self._finalized_epoch:
            return
        for entry in revealed:
            task = await self._client.task(entry.task_id)
            epoch = task.get("epoch")
            if task["status"] in ("paid", "refunded") and epoch is not None and epoch <= finalized:
                self._log.info("settled", task=entry.task_id.hex(), status=task["status"], epoch=epoch)
                await self._forget(entry.task_id)
        self._finalized_epoch = finalized
