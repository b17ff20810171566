"""Random runs of the ledger against the naive one: the same records are taken, the same state comes out, no lamport appears or vanishes."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from settlement.ledger import Context, LedgerRejection, State, TaskStatus, apply
from settlement.records import Event, Kind, Mode, Record, Verdict
from tests.settlement import kit, naive

CLIENTS, WORKERS = ("client 0", "client 1"), ("worker 0", "worker 1")
PEOPLE = (*CLIENTS, *WORKERS)
STAKES = (3, 2, 2, 1)
VALIDATORS = kit.validator_set(*STAKES)
names, clients, workers = (st.sampled_from(of) for of in (PEOPLE, CLIENTS, WORKERS))
# Mostly what fits, sometimes one off.
slips = st.sampled_from([0] * 12 + [1, -1])
amounts = st.sampled_from([0, 1, 500, 1000, 1_000_000, 1_500_000])


class LedgerMachine(RuleBasedStateMachine):
    taken: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.state = State.empty()
        self.epoch, self.base_slot, self.inbox_sum = 1, 0, 0
        self.naive = naive.Ledger(
            kit.DOMAIN.genesis,
            kit.DOMAIN.program,
            list(STAKES),
            [entry.authority for entry in VALIDATORS.entries],
            kit.TREASURY,
        )
        self.tasks: list[bytes] = []
        self.payable: dict[bytes, int] = {}
        self.settled: dict[bytes, TaskStatus] = {}

    def put(self, record: Record) -> bool:
        before, root = self.state, self.state.root
        values: dict[str, Any] = {m.name: getattr(record.payload, m.name) for m in fields(record.payload)}
        try:
            self.naive.apply(self.epoch, self.base_slot, record.op, record.node, record.task, values)
            taken = True
        except naive.Refused:
            taken = False
        try:
            self.state = apply(
                before, record, Context(kit.DOMAIN, self.epoch, self.base_slot, VALIDATORS, kit.TREASURY)
            )
        except LedgerRejection:
            assert not taken, record
        else:
            assert taken, record
            event = getattr(record.payload, "event", None)
            self.taken[record.op.name if event is None else event.name] += 1
        assert before.root == root
        return taken

    def nonce(self, name: str, slip: int) -> int:
        account = self.state.account(kit.node(name))
        return max(0, slip + (account.nonce if account else 0))

    def a_task(self, data: st.DataObject) -> bytes:
        return data.draw(st.sampled_from(self.tasks))

    @initialize()
    def fund(self) -> None:
        for index, name in enumerate(PEOPLE):
            assert self.put(kit.deposit(name, 3_000_000, index))
            self.inbox_sum += 3_000_000
        for name in WORKERS:
            assert self.put(kit.registration(name))

    @rule(name=names, lamports=st.sampled_from([0, 1, 5000, 3_000_000]), slip=slips)
    def deposit(self, name: str, lamports: int, slip: int) -> None:
        if self.put(kit.deposit(name, lamports, max(0, self.state.totals.inbox_cursor + slip))):
            self.inbox_sum += lamports

    @rule(
        name=clients,
        lamports=st.sampled_from([0, 1, 5000, 3_000_000]),
        life=st.integers(-1, 30),
        work=st.sampled_from(
            [(Kind.TRAINING, Mode.REPLAY)] * 4 + [(Kind.SIMULATION, Mode.REPLAY), (Kind.TRAINING, Mode.ZK)]
        ),
        slip=slips,
    )
    def inbox_task(self, name: str, lamports: int, life: int, work: tuple[Kind, Mode], slip: int) -> None:
        index, deadline = max(0, self.state.totals.inbox_cursor + slip), max(0, self.base_slot + life)
        record = kit.inbox_task(name, lamports, index, deadline, kind=work[0], mode=work[1])
        if self.put(record):
            self.inbox_sum += lamports
            made = work == (Kind.TRAINING, Mode.REPLAY) and life > 0
            assert (self.state.task(record.task) is not None) is made
            if made:
                self.tasks.append(record.task)

    @precondition(lambda self: self.tasks)
    @rule(name=names, asked=amounts, data=st.data(), is_named=st.booleans(), is_late=st.booleans(), slip=slips)
    def force_withdrawal(
        self, name: str, asked: int, data: st.DataObject, is_named: bool, is_late: bool, slip: int
    ) -> None:
        task_id = self.a_task(data) if is_named else bytes(32)
        if is_late:
            self.epoch, self.base_slot = self.epoch + 1, self.base_slot + 31
        before = self.state.task(task_id)
        index = max(0, self.state.totals.inbox_cursor + slip)
        if not self.put(kit.forced_withdrawal(name, 5000, index, asked, task_id)):
            return
        self.inbox_sum += 5000
        after = self.state.task(task_id)
        if before != after:
            assert before is not None and after is not None and task_id not in self.settled
            assert before.client == kit.node(name) and before.deadline_slot < self.base_slot
            self.settled[task_id] = TaskStatus.REFUNDED

    @rule(name=clients, fee=amounts, life=st.integers(-1, 30), slip=slips)
    def submit(self, name: str, fee: int, life: int, slip: int) -> None:
        record = kit.submission(name, self.nonce(name, slip), fee, max(0, self.base_slot + life))
        if self.put(record):
            self.tasks.append(record.task)

    @rule(name=workers, stake=amounts, slip=slips)
    def register(self, name: str, stake: int, slip: int) -> None:
        self.put(kit.registration(name, self.nonce(name, slip), stake))

    @rule(name=names, lamports=amounts, slip=slips)
    def withdraw(self, name: str, lamports: int, slip: int) -> None:
        self.put(kit.withdrawal(name, self.nonce(name, slip), lamports))

    @precondition(lambda self: self.tasks)
    @rule(name=names, slip=slips, data=st.data())
    def reveal(self, name: str, slip: int, data: st.DataObject) -> None:
        self.put(kit.result(name, self.nonce(name, slip), self.a_task(data)))

    @precondition(lambda self: self.tasks)
    @rule(index=st.integers(0, 4), verdict=st.sampled_from(Verdict), data=st.data())
    def vote(self, index: int, verdict: Verdict, data: st.DataObject) -> None:
        self.put(kit.vote(index, self.a_task(data), verdict))

    @precondition(lambda self: self.tasks)
    @rule(verdict=st.sampled_from([Verdict.ACCEPT, Verdict.REJECT]), data=st.data())
    def agree(self, verdict: Verdict, data: st.DataObject) -> None:
        task_id = self.a_task(data)
        for index in range(len(STAKES)):
            self.put(kit.vote(index, task_id, verdict))

    @precondition(lambda self: self.tasks)
    @rule(index=st.integers(0, 4), data=st.data())
    def prove(self, index: int, data: st.DataObject) -> None:
        self.put(kit.sample_proof(index, self.a_task(data)))

    @precondition(lambda self: self.tasks)
    @rule(slip=slips, data=st.data())
    def pay(self, slip: int, data: st.DataObject) -> None:
        task_id = self.a_task(data)
        if self.put(self.event(2, task_id, "worker", slip)):
            assert task_id not in self.settled, "paid twice"
            self.settled[task_id] = TaskStatus.PAID

    @precondition(lambda self: self.tasks)
    @rule(slip=slips, data=st.data())
    def refund(self, slip: int, data: st.DataObject) -> None:
        task_id = self.a_task(data)
        if self.put(self.event(3, task_id, "client", slip)):
            assert task_id not in self.settled, "refunded what was settled"
            self.settled[task_id] = TaskStatus.REFUNDED

    @precondition(lambda self: self.tasks)
    @rule(slip=slips, data=st.data())
    def slash(self, slip: int, data: st.DataObject) -> None:
        self.put(self.event(4, self.a_task(data), "worker", slip))

    def event(self, event: int, task_id: bytes, role: str, slip: int) -> Record:
        task = self.state.task(task_id)
        assert task is not None
        name = {kit.node(name): name for name in PEOPLE}.get(getattr(task, role), "worker 0")
        account = self.state.account(task.worker)
        lamports = (account.locked_stake if account else 0) if event == 4 else task.fee_lamports
        make = {2: kit.payment, 3: kit.refund, 4: kit.slash}[event]
        return make(name, task_id, max(0, lamports + slip))

    @rule(
        client=clients,
        worker=workers,
        verdict=st.sampled_from([Verdict.ACCEPT, Verdict.REJECT]),
        fee=amounts,
        steps=st.integers(1, 5),
    )
    def live(self, client: str, worker: str, verdict: Verdict, fee: int, steps: int) -> None:
        """The first steps of a task's life in order, so that the rarer rules find tasks in every status."""
        record = kit.submission(client, self.nonce(client, 0), fee, self.base_slot + 15)
        if not self.put(record):
            return
        self.tasks.append(record.task)
        if steps > 1:
            self.put(kit.result(worker, self.nonce(worker, 0), record.task))
        if steps > 2:
            self.put(kit.sample_proof(0, record.task))
        for index in range(len(STAKES)) if steps > 3 else ():
            self.put(kit.vote(index, record.task, verdict))
        if steps > 4:
            event = 2 if verdict is Verdict.ACCEPT else 4
            if self.put(self.event(event, record.task, "worker", 0)) and verdict is Verdict.ACCEPT:
                self.settled[record.task] = TaskStatus.PAID

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        task_id = self.a_task(data)
        task = self.state.task(task_id)
        assert task is not None
        self.epoch, self.base_slot = self.epoch + 1, max(self.base_slot, task.deadline_slot + 1)
        if self.put(self.event(3, task_id, "client", 0)):
            assert task_id not in self.settled, "refunded what was settled"
            self.settled[task_id] = TaskStatus.REFUNDED

    @rule(slots=st.integers(1, 20))
    def next_epoch(self, slots: int) -> None:
        self.epoch, self.base_slot = self.epoch + 1, self.base_slot + slots

    @invariant()
    def money_is_conserved(self) -> None:
        totals = self.state.totals
        assert totals.balance + totals.locked + totals.payable == self.inbox_sum
        assert (totals.balance, totals.locked, totals.payable) == self.naive.sums()
        assert totals.inbox_cursor == self.naive.cursor

    @invariant()
    def payable_never_falls(self) -> None:
        for name in (*PEOPLE, None):
            node = kit.node(name) if name else kit.node_id(kit.TREASURY)
            account = self.state.account(node)
            if account is not None:
                assert account.payable >= self.payable.get(node, 0)
                self.payable[node] = account.payable

    @invariant()
    def settled_tasks_stay_settled(self) -> None:
        for task_id, status in self.settled.items():
            task = self.state.task(task_id)
            assert task is not None and task.status is status

    @invariant()
    def the_root_is_that_of_the_naive_state(self) -> None:
        assert self.state.root == self.naive.root()

    def teardown(self) -> None:
        assert State.from_leaves(self.state.leaves()).root == self.state.root


def test_random_runs_agree_with_the_naive_ledger_and_reach_everything() -> None:
    LedgerMachine.taken.clear()
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(max_examples=40, stateful_step_count=40, deadline=None, derandomize=True, database=None),
    )
    ops = {"TASK_SUBMISSION", "TASK_RESULT", "WORKER_REGISTRATION", "CONSENSUS_VOTE", "VERIFICATION_PROOF"}
    assert set(LedgerMachine.taken) == {*ops, *(event.name for event in Event)}, LedgerMachine.taken
