"""Four epochs in which everything happens: the whole-batch vectors and the batch tests are made from them."""

from __future__ import annotations

from dataclasses import dataclass

from settlement.ledger import BatchRoots, Context, Parent
from settlement.messages import CheckpointMessage
from settlement.records import Kind, Record, Verdict
from settlement.tags import U64_MAX
from tests.settlement import kit

NAMES = ("client", "honest", "liar", "authority 0", "authority 1", "authority 2", "newcomer")
SIGNERS = {kit.node(name): name for name in NAMES}
VALIDATORS = kit.validator_set(300, 200, 100)


@dataclass(frozen=True)
class Epoch:
    parent: Parent
    context: Context
    batch: list[Record]
    message: CheckpointMessage
    roots: BatchRoots


def close(parent: Parent, epoch: int, batch: list[Record]) -> Epoch:
    context = kit.context(epoch, parent.cut_slot, VALIDATORS)
    return Epoch(parent, context, batch, *kit.proposal(parent, context, batch, SIGNERS))


def judged(index: int, task: bytes, worker: str, lease: int, verdict: Verdict) -> list[Record]:
    return [
        kit.sample_proof(index, task, kit.sample_signature(index, task, worker, lease)),
        kit.vote(index, task, verdict),
    ]


def first() -> Epoch:
    """Deposits, registrations, two submissions, a withdrawal: 9 records, so that a trace interval is left unfilled."""
    batch = [
        kit.deposit("client", 5_000_000, 0, slot=11),
        kit.deposit("honest", 2_000_000, 1, slot=12),
        kit.deposit("liar", 2_000_000, 2, slot=13),
        kit.deposit("client", 1_000_000, 3, slot=13),
        kit.registration("honest", 0, 1_500_000),
        kit.registration("liar", 0, 1_000_000),
        kit.submission("client", 0, 700_000, 90),
        kit.submission("client", 1, 300_000, 30),
        kit.withdrawal("client", 2, 250_000),
    ]
    return close(Parent.genesis(kit.DOMAIN), 1, batch)


def second(before: Epoch) -> Epoch:
    """The liar's result is refuted and slashed, the honest one paid, the other task refunded after its deadline: 17 records."""
    parent = Parent.of(before.message, kit.DOMAIN, before.roots.state)
    task, late = kit.task_id("client", 0), kit.task_id("client", 1)
    batch = [
        kit.deposit("honest", 10_000, 4, slot=44),
        kit.result("liar", 1, task, lease_id=7),
        *judged(0, task, "liar", 7, Verdict.REJECT),
        *judged(1, task, "liar", 7, Verdict.REJECT),
        kit.slash("liar", task, 1_000_000),
        kit.result("honest", 1, task, lease_id=8),
        *judged(0, task, "honest", 8, Verdict.ACCEPT),
        *judged(2, task, "honest", 8, Verdict.ABSTAIN),
        *judged(1, task, "honest", 8, Verdict.ACCEPT),
        kit.payment("honest", task, 700_000),
        kit.refund("client", late, 300_000),
    ]
    return close(parent, 2, batch)


def third(before: Epoch) -> Epoch:
    """What the inbox forces: tasks, two of which only credit their lamports, and withdrawals within and beyond the balance. 8 records."""
    parent = Parent.of(before.message, kit.DOMAIN, before.roots.state)
    batch = [
        kit.inbox_task("client", 600_000, 5, 110, slot=71),
        kit.forced_withdrawal("honest", 10_000, 6, 300_000, slot=72),
        kit.deposit("client", 50_000, 7, slot=72),
        kit.inbox_task("client", 20_000, 8, before.message.cut_slot, slot=73),
        kit.inbox_task("client", 30_000, 9, 500, slot=73, kind=Kind.INFERENCE),
        kit.forced_withdrawal("liar", 10_000, 10, U64_MAX, slot=74),
        kit.inbox_task("newcomer", 40_000, 11, 500, slot=75),
        kit.withdrawal("honest", 2, 1),
    ]
    return close(parent, 3, batch)


def fourth(before: Epoch) -> Epoch:
    """Forced withdrawals that name a task: the client's overdue one is refunded first, one that still runs or is another's is not."""
    parent = Parent.of(before.message, kit.DOMAIN, before.roots.state)
    batch = [
        kit.forced_withdrawal("newcomer", 10_000, 12, 5_000, kit.inbox_task_id("newcomer", 11), slot=121),
        kit.forced_withdrawal("liar", 10_000, 13, 5_000, kit.inbox_task_id("client", 5), slot=122),
        kit.forced_withdrawal("client", 10_000, 14, U64_MAX, kit.inbox_task_id("client", 5), slot=123),
        kit.forced_withdrawal("client", 10_000, 15, 5_000, kit.inbox_task_id("client", 5), slot=124),
    ]
    return close(parent, 4, batch)
