"""What the demo shows while it runs: one look at the sequencer after another, and in words what changed between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli import stages
from cli.stages import Stage
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError, SequencerClient

SHORT = 8  # of a task's id


@dataclass(frozen=True)
class Snapshot:
    """`tasks` in the order of their submission; `results` of those that are revealed or paid; `claimed` are workers, who have their pay."""

    info: dict[str, Any]
    tasks: tuple[dict[str, Any], ...] = ()
    checkpoints: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    results: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    validators: tuple[str, ...] = ()
    claimed: frozenset[str] = frozenset()

    def stage(self, task: Mapping[str, Any]) -> Stage | None:
        checkpoint = self.checkpoints.get(task.get("epoch", 0))
        return stages.stage_of(task, checkpoint, task.get("worker") in self.claimed)


class Spectator:
    """Looks at the sequencer as anybody may; what cannot change any more is not asked for again."""

    def __init__(self, client: SequencerClient, account: str) -> None:
        self._client, self._account = client, account
        self._checkpoints: dict[int, dict[str, Any]] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self.claimed: set[str] = set()

    async def look(self) -> Snapshot:
        info = await self._client.call("getEpochInfo")
        newest_first = (await self._client.call("getTasks", {"client": self._account, "limit": 100}))["tasks"]
        validators = tuple(one["authority"] for one in await self._client.call("getValidators"))
        for epoch in range(1, info["postedEpoch"] + 1):
            if self._checkpoints.get(epoch, {}).get("status") != "finalized":
                self._checkpoints[epoch] = await self._client.call("getCheckpoint", {"epoch": epoch})
        results = {}
        for task in newest_first:
            if task["status"] in ("revealed", "paid") and (result := await self._result(task)) is not None:
                results[task["taskId"]] = result
        return Snapshot(
            info,
            tuple(reversed(newest_first)),
            dict(self._checkpoints),
            results,
            validators,
            frozenset(self.claimed),
        )

    async def _result(self, task: Mapping[str, Any]) -> dict[str, Any] | None:
        task_id = task["taskId"]
        if task_id in self._results:
            return self._results[task_id]
        try:
            result: dict[str, Any] = await self._client.call("getTaskResult", {"taskId": task_id})
        except RpcError as error:
            if error.code != Code.NOT_FOUND:
                raise
            return None  # rejected since the list was made
        if task["status"] == "paid":
            self._results[task_id] = result
        return result


def changes(before: Snapshot | None, now: Snapshot, names: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each thing that happened between two looks."""
    known = {task["taskId"]: task for task in before.tasks} if before else {}
    for task in now.tasks:
        old = known.get(task["taskId"], {"status": "", "rejections": [], "worker": None})
        name = f"task {task['taskId'][:SHORT]}"
        for one in task["rejections"][len(old["rejections"]) :]:
            liar = names.get(one["worker"], one["worker"])
            yield f"{name}: false result by {liar} ({one['reason']}): no pay, its stake is gone"
        if (task["status"], task.get("worker")) != (old["status"], old.get("worker")):
            yield f"{name}: {_became(task, names)}"
    for epoch, checkpoint in now.checkpoints.items():
        was = before.checkpoints.get(epoch) if before else None
        if was is None or was["status"] != checkpoint["status"]:
            yield f"checkpoint {epoch}: {_checkpoint_became(checkpoint)}"


def _became(task: Mapping[str, Any], names: Mapping[str, str]) -> str:
    worker = names.get(task.get("worker", ""), str(task.get("worker", "")))
    match task["status"]:
        case "pending":
            return "queued"
        case "leased":
            return f"{worker} trains"
        case "committed":
            return f"{worker} committed to its result"
        case "revealed":
            return f"{worker} revealed it; the validators re-run samples"
        case "paid":
            return f"accepted, accuracy {task.get('accuracy', 0):.3f}; the fee is {worker}'s"
        case other:
            return str(other)


def _checkpoint_became(checkpoint: Mapping[str, Any]) -> str:
    match checkpoint["status"]:
        case "posted":
            units = checkpoint.get("computeUnits")
            cost = f" in {units:,} compute units" if units else ""
            return f"posted; {checkpoint['signers']} of {checkpoint['setSize']} signatures verified on L1{cost}"
        case other:
            return str(other)
