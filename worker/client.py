"""The worker's calls to the sequencer, as one method each; every record is built here, so that what is signed is what docs/rpc.md says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

from settlement import work
from settlement.records import Op, Record, TaskResult, WorkerRegistration
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.signing import node_id
from worker.journal import Entry, JournalError

NONCE_ATTEMPTS = 3


@dataclass(frozen=True)
class Lease:
    """A task that is this worker's until expiry_slot."""

    task_id: bytes
    lease_id: int
    expiry_slot: int
    spec: Mapping[str, Any]


class WorkerClient:
    def __init__(self, sequencer: SequencerClient) -> None:
        self._sequencer = sequencer
        self.public_key = sequencer.public_key
        self.address = str(Pubkey(self.public_key))

    async def balance(self) -> dict[str, Any]:
        """The account in the open batch. RpcError UNKNOWN_ACCOUNT before the first deposit is taken."""
        value: dict[str, Any] = await self._sequencer.call(
            "getBalance", {"publicKey": self.address, "commitment": "processed"}
        )
        return value

    async def register(self, stake_lamports: int, environment: Mapping[str, Any]) -> None:
        """Locks `stake_lamports` more of the balance as stake."""
        environment_hash = work.environment_hash(environment)

        def record(nonce: int) -> Record:
            payload = WorkerRegistration(nonce, self.public_key, stake_lamports, environment_hash)
            return Record(Op.WORKER_REGISTRATION, 0, node_id(self.public_key), bytes(32), payload)

        params = {"stakeLamports": stake_lamports, "environment": dict(environment)}
        await self._call_record("registerWorker", params, record)

    async def pull(self) -> Lease | None:
        value = await self._sequencer.call_signed("pullTask")
        if value is None:
            return None
        lease, task = value["lease"], value["task"]
        return Lease(bytes.fromhex(task["taskId"]), lease["leaseId"], lease["expirySlot"], task["spec"])

    async def renew(self, task_id: bytes, lease_id: int, progress: Mapping[str, Any] | None = None) -> int:
        """The slot at which the lease now ends. `progress` is shown to whoever watches the task."""
        params: dict[str, Any] = {"taskId": task_id.hex(), "leaseId": lease_id}
        if progress is not None:
            params["progress"] = progress
        value = await self._sequencer.call_signed("renewLease", params)
        return int(value["expirySlot"])

    async def commit(self, entry: Entry) -> None:
        await self._sequencer.call_signed(
            "commitResult",
            {"taskId": entry.task_id.hex(), "leaseId": entry.lease_id, "commitment": entry.commitment.hex()},
        )

    async def upload(self, entry: Entry) -> str:
        """All blobs that the reveal needs; the sha256 of the entries in hex. JournalError when a file is not what was trained."""
        for state_hash, path in entry.trained.files.items():
            found = await self._sequencer.put_blob(path)
            if found != state_hash.hex():
                raise JournalError(f"{path} is damaged: its sha256 is {found}, trained was {state_hash.hex()}")
        return await self._sequencer.put_blob(entry.trained.entries_blob)

    async def reveal(self, entry: Entry, entries_sha256: str) -> None:
        trained = entry.trained

        def record(nonce: int) -> Record:
            payload = TaskResult(nonce, entry.lease_id, entry.result_hash, entry.salt)
            return Record(Op.TASK_RESULT, 0, node_id(self.public_key), entry.task_id, payload)

        params = {
            "taskId": entry.task_id.hex(),
            "leaseId": entry.lease_id,
            "resultHash": entry.result_hash.hex(),
            "salt": entry.salt.hex(),
            "workRoot": trained.work_root.hex(),
            "entriesSha256": entries_sha256,
            "modelSha256": trained.model_hash.hex(),
            "metrics": {"accuracy": trained.accuracy, "loss": trained.loss},
            "environment": dict(entry.environment),
        }
        await self._call_record("revealResult", params, record)

    async def task(self, task_id: bytes) -> dict[str, Any]:
        value: dict[str, Any] = await self._sequencer.call("getTask", {"taskId": task_id.hex()})
        return value

    async def finalized_epoch(self) -> int:
        return int((await self._sequencer.call("getEpochInfo"))["finalizedEpoch"])

    async def _call_record(self, method: str, params: Mapping[str, Any], record: Callable[[int], Record]) -> None:
        """Calls with the account's nonce; another record of this key that got in between costs a second try."""
        nonce = int((await self.balance())["nonce"])
        for attempt in range(1, NONCE_ATTEMPTS + 1):
            try:
                await self._sequencer.call_record(method, {**params, "nonce": nonce}, record(nonce))
                return
            except RpcError as error:
                if error.code != Code.WRONG_NONCE or attempt == NONCE_ATTEMPTS or "expected" not in error.data:
                    raise
                nonce = int(error.data["expected"])
