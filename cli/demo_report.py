"""What the demo reports: the one JSON line for programs, and the judgement whether all of it is true. demo_summary.py tells it to people."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TaskRow:
    id: str
    kind: str
    mode: str
    status: str
    worker: str | None
    accuracy: float | None
    replayed_share: float | None


@dataclass(frozen=True)
class RejectedRow:
    task: str
    worker: str
    reason: str


@dataclass(frozen=True)
class CheckpointRow:
    epoch: int
    hash: str
    signature: str
    slot: int
    compute_units: int
    signers: int
    set_size: int
    status: str


@dataclass(frozen=True)
class RewardRow:
    account: str
    claimed_lamports: int
    balance_before_lamports: int
    balance_after_lamports: int


@dataclass(frozen=True)
class Slash:
    """A SLASH record of a batch on L1, with the verdicts of the same batch that support it."""

    task: str
    worker: str
    lamports: int
    rejecting: int
    validators: int


@dataclass
class Costs:
    """What posting the checkpoints cost on L1: the transactions' fees, and the rent that the checkpoints' accounts hold."""

    fees_lamports: int = 0
    rent_lamports: int = 0


@dataclass
class Report:
    """`slashes`, `verdicts` (in all the batches) and `costs` are for people and not in the JSON."""

    program_id: str
    l1: str
    tasks: list[TaskRow] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    checkpoints: list[CheckpointRow] = field(default_factory=list)
    rewards: list[RewardRow] = field(default_factory=list)
    seconds: float = 0.0
    slashes: list[Slash] = field(default_factory=list)
    verdicts: int = 0
    costs: Costs = field(default_factory=Costs)

    def to_json(self) -> dict[str, Any]:
        body = asdict(self)
        order = ("tasks", "rejected", "checkpoints", "rewards", "program_id", "l1", "seconds")
        return {key: body[key] for key in order}


def judge(
    report: Report, *, fees_lamports: dict[str, int], liar: str, parents: Sequence[tuple[int, bytes, bytes]]
) -> list[str]:
    """What is not as it must be, one line each; none means the demo succeeded.

    ``fees_lamports`` is the fee of each task; ``parents`` is (epoch, hash, parent hash) of each checkpoint as read back from L1 at ``finalized``.
    """
    wrong: list[str] = []
    if len(report.tasks) < 6:
        wrong.append(f"only {len(report.tasks)} tasks; at least 6 are needed")
    wrong += [f"task {row.id[:16]} is {row.status}, not paid" for row in report.tasks if row.status != "paid"]
    wrong += [f"task {row.id[:16]} was paid to the liar" for row in report.tasks if row.worker == liar]
    if not any(row.worker == liar for row in report.rejected):
        wrong.append("the lying worker was never caught")
    rejected = {(row.task, row.worker) for row in report.rejected}
    wrong += [
        f"task {row.id[:16]} went back to a rejected worker" for row in report.tasks if (row.id, row.worker) in rejected
    ]
    if len(report.checkpoints) < 3:
        wrong.append(f"only {len(report.checkpoints)} checkpoints; at least 3 are needed")
    wrong += [f"checkpoint {row.epoch} is {row.status}" for row in report.checkpoints if row.status != "finalized"]
    wrong += [
        f"checkpoint {row.epoch} has no quorum" for row in report.checkpoints if 3 * row.signers < 2 * row.set_size
    ]
    for (epoch, checkpoint_hash, _), (next_epoch, _, parent) in itertools.pairwise(parents):
        if next_epoch != epoch + 1 or parent != checkpoint_hash:
            wrong.append(f"checkpoint {next_epoch} does not extend checkpoint {epoch}")
    earned: dict[str, int] = {}
    for task in report.tasks:
        if task.status == "paid" and task.worker is not None:
            earned[task.worker] = earned.get(task.worker, 0) + fees_lamports[task.id]
    claimed = {row.account: row.claimed_lamports for row in report.rewards}
    if claimed != earned:
        wrong.append(f"claimed {claimed}, but the paid fees are {earned}")
    for reward in report.rewards:
        if reward.balance_after_lamports - reward.balance_before_lamports != reward.claimed_lamports:
            wrong.append(f"{reward.account} received other than it claimed")
    return wrong
