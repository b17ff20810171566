"""Random steps of a random ledger: mostly what fits, sometimes one off, so that every rule is taken and refused. The same seed gives the
same steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from settlement.ledger import (
    MIN_WORKER_STAKE,
    UNSCHEDULED,
    Context,
    LedgerRejection,
    State,
    Task,
    TaskStatus,
    apply,
    witness,
)
from settlement.ledger.witness import Verdict
from settlement.records import Event, Mode, Op, Record
from settlement.records import Verdict as Vote
from tests.settlement import bad_witnesses, kit
from tests.settlement.steps import Step, step

CLIENTS, WORKERS = ("client 0", "client 1"), ("worker 0", "worker 1", "worker 2")
PEOPLE = (*CLIENTS, *WORKERS, "stranger")
VALIDATORS = kit.validator_set(3, 2, 2, 1)
LIFE_SLOTS = 15


class Walk:
    """A ledger that records are thrown at."""

    def __init__(self, seed: int, context: Context | None = None) -> None:
        """With a context all steps are of its epoch, of which alone the time moves on."""
        self.random = Random(seed)
        self.is_one_epoch = context is not None
        self.context = context or replace(kit.context(1, 0, VALIDATORS), treasury=kit.public_key("treasury"))
        self.state = State.empty()
        self.tasks: list[bytes] = [kit.filler("no task")]
        self.in_hand = self.tasks[0]
        self.later: int | None = None
        for index, name in enumerate(PEOPLE[:-1]):
            self.state = apply(self.state, kit.deposit(name, 90_000_000, index), self.context)
        for name in WORKERS:
            self.state = apply(self.state, kit.registration(name, stake=3_000_000), self.context)

    def slip(self, value: int) -> int:
        return max(0, value + self.random.choice([0] * 15 + [1, -1]))

    def nonce(self, name: str) -> int:
        account = self.state.account(kit.node(name))
        return self.slip(account.nonce if account else 0)

    def record(self) -> Record:
        """A record that may follow."""
        in_hand = self.state.task(self.in_hand)
        is_over = in_hand is None or in_hand.status in (TaskStatus.PAID, TaskStatus.REFUNDED, TaskStatus.STRUCK)
        if self.random.random() < (0.6 if is_over else 0.05):
            self.in_hand = self.random.choice(self.tasks[-4:])
        task_id = self.in_hand
        task = self.state.task(task_id)
        if task is not None and self.random.random() < 0.7:
            return self.due(task_id, task)
        return self.any(task_id, task)

    def due(self, task_id: bytes, task: Task) -> Record:
        """What a task waits for: its result, verdicts, payment or slash, or its refund."""
        random, context = self.random, self.context
        name = {kit.node(name): name for name in PEOPLE}
        is_open = task.status in (TaskStatus.PENDING, TaskStatus.REVEALED)
        if task.status is TaskStatus.HELD:
            return self.held(task_id, task, name[task.worker])
        if not is_open or task.deadline_slot < context.base_slot:
            return kit.refund(name[task.client], task_id, self.slip(task.fee_lamports))
        if task.status is TaskStatus.PENDING:
            worker = random.choice(WORKERS)
            account = self.state.account(kit.node(worker))
            if account is not None and account.free_stake < 2 * MIN_WORKER_STAKE and random.random() < 0.7:
                return kit.registration(worker, self.nonce(worker), 2_500_000)
            return kit.result(worker, self.nonce(worker), task_id)
        worker = name[task.worker]
        is_fresh = task.verdict_epoch == context.epoch
        if is_fresh and VALIDATORS.is_quorum(task.accept_bitmap):
            make = kit.hold if task.mode is Mode.EXACT else kit.payment
            return make(worker, task_id, self.slip(task.fee_lamports))
        if is_fresh and VALIDATORS.is_quorum(task.reject_bitmap):
            account = self.state.account(task.worker)
            stake = account.free_stake + (MIN_WORKER_STAKE if task.mode is Mode.EXACT else 0) if account else 0
            return kit.slash(worker, task_id, self.slip(stake))
        voted = task.accept_bitmap | task.reject_bitmap if is_fresh else 0
        index = next((i for i in range(len(VALIDATORS)) if not voted >> i & 1), 0)
        if random.random() < 0.2:
            return kit.sample_proof(index, task_id)
        return kit.vote(index, task_id, Vote.ACCEPT if task_id[0] & 3 else Vote.REJECT)

    def held(self, task_id: bytes, task: Task, worker: str) -> Record:
        """What a held result waits for: its release slot, its payment, or a strike. Time leaps after the step, to where the next can be taken."""
        if self.random.random() < 0.2:
            return self.strike(task_id)
        if task.deadline_slot == UNSCHEDULED:
            if task.verdict_epoch == self.context.epoch:
                self.later = self.context.base_slot
            return kit.schedule(worker, task_id)
        if task.deadline_slot > self.context.base_slot:
            self.later = self.slip(task.deadline_slot)
        return kit.payment(worker, task_id, self.slip(task.fee_lamports))

    def strike(self, task_id: bytes) -> Record:
        share = self.random.choice([0, 1_000, 5_000, 10_000, 10_001])
        cursor = self.slip(self.state.totals.inbox_cursor)
        struck = kit.strike(self.random.choice(PEOPLE), self.random.choice([0, 5, 500]), cursor, task_id, share)
        if self.random.random() < 0.9:
            return struck
        return replace(struck, payload=replace(struck.payload, spec_hash=kit.filler("other result")))

    def any(self, task_id: bytes, task: Task | None) -> Record:
        """Anything, mostly well-formed."""
        random, state = self.random, self.state
        name = random.choice(PEOPLE)
        amount = random.choice([0, 1, 500, 1000, 1_000_000, 2_500_000])
        cursor = self.slip(state.totals.inbox_cursor)
        match random.randrange(10):
            case 0:
                return kit.deposit(name, amount, cursor)
            case 1:
                deadline = self.context.base_slot + random.choice([0, LIFE_SLOTS])
                return kit.inbox_task(name, amount, cursor, deadline, mode=random.choice([Mode.REPLAY, Mode.EXACT]))
            case 2:
                client = {kit.node(name): name for name in PEOPLE}[task.client] if task else name
                return kit.forced_withdrawal(client, amount, cursor, amount // 2, task_id if task else kit.NO_TASK)
            case 3 | 4:
                client = random.choice(CLIENTS)
                deadline = self.context.base_slot + random.choice([0, *[LIFE_SLOTS] * 5])
                mode = random.choice([Mode.REPLAY, Mode.EXACT])
                return kit.submission(client, self.nonce(client), amount, deadline, mode=mode)
            case 5:
                return kit.registration(name, self.nonce(name), amount)
            case 6:
                return kit.withdrawal(name, self.nonce(name), amount)
            case 7:
                return kit.vote(random.randrange(5), task_id, random.choice(list(Vote)))
            case 8 if random.random() < 0.5:
                return self.strike(task_id)
        make = random.choice([kit.payment, kit.slash, kit.refund, kit.hold])
        return make(name, task_id, amount)

    def next_step(self) -> list[Record]:
        """1 to 8 records, each meant for the state after the one before; of a rejected one the state stays."""
        start, batch = self.state, []
        for _ in range(self.random.randint(1, 8)):
            record = self.record()
            try:
                self.state = apply(self.state, record, self.context)
                batch.append(record)
                if record.op is Op.TASK_SUBMISSION or getattr(record.payload, "event", None) is Event.INBOX_TASK:
                    self.tasks.append(record.task)
            except LedgerRejection:
                if self.random.random() < 0.3:
                    batch.append(record)
                    break
        self.start = start
        return batch

    def steps(self) -> Iterator[Step]:
        number = 0
        while True:
            batch = self.next_step()
            if batch:
                yield step(f"random {number}", self.start, *batch, context=self.context)
                number += 1
            later, self.later = self.later, None
            if later is None and self.random.random() < 0.1:
                later = self.context.base_slot + self.random.randint(1, LIFE_SLOTS)
            if later is not None:
                epoch = self.context.epoch + (0 if self.is_one_epoch else 1)
                self.context = replace(self.context, epoch=epoch, base_slot=later)


def steps(seed: int, count: int, context: Context | None = None) -> Iterator[Step]:
    """`count` steps, and as many whose claim or witness was tampered with."""
    walk = Walk(seed, context).steps()
    for number in range(count):
        honest = next(walk)
        yield honest
        if number % 4 == 3:
            yield replace(honest, name=f"{honest.name}, left out", after=honest.before)
        else:
            yield from bad_witnesses.mutations(honest, 1, seed + number)


def truth(made: Step) -> Verdict:
    """What an untampered witness would prove of the same claim."""
    assert made.state is not None
    encoded = [made.records[at : at + 160] for at in range(0, len(made.records), 160)]
    whole = replace(made, witness=witness.build(made.state, encoded, made.context)).judge()
    assert not isinstance(whole, witness.Fault)
    return whole
