"""Random runs of the ledger against the naive one: the same records are taken, the same state comes out, no lamport appears or vanishes."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
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

from settlement.ledger import (
    MIN_WORKER_STAKE,
    RESULT_HOLD_SLOTS,
    UNSCHEDULED,
    Context,
    LedgerRejection,
    State,
    TaskStatus,
    apply,
)
from settlement.ledger.transition import SUPPORTED_MODES
from settlement.records import Event, Kind, Mode, Record, Verdict
from tests.settlement import kit, naive

CLIENTS, WORKERS = ("client 0", "client 1"), ("worker 0", "worker 1")
PEOPLE = (*CLIENTS, *WORKERS)
STAKES = (3, 2, 2, 1)
VALIDATORS = kit.validator_set(*STAKES)
modes = st.sampled_from([Mode.REPLAY, Mode.EXACT])
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
        self.held_since: dict[bytes, int] = {}

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
            assert self.put(kit.registration(name, stake=2_500_000))

    @rule(name=names, lamports=st.sampled_from([0, 1, 5000, 3_000_000]), slip=slips)
    def deposit(self, name: str, lamports: int, slip: int) -> None:
        if self.put(kit.deposit(name, lamports, max(0, self.state.totals.inbox_cursor + slip))):
            self.inbox_sum += lamports

    @rule(
        name=clients,
        lamports=st.sampled_from([0, 1, 5000, 3_000_000]),
        life=st.integers(-1, 30),
        work=st.sampled_from(
            [(Kind.TRAINING, Mode.REPLAY)] * 3
            + [(Kind.TRAINING, Mode.EXACT), (Kind.SIMULATION, Mode.REPLAY), (Kind.TRAINING, Mode.ZK)]
        ),
        slip=slips,
    )
    def inbox_task(self, name: str, lamports: int, life: int, work: tuple[Kind, Mode], slip: int) -> None:
        index, deadline = max(0, self.state.totals.inbox_cursor + slip), max(0, self.base_slot + life)
        record = kit.inbox_task(name, lamports, index, deadline, kind=work[0], mode=work[1])
        if self.put(record):
            self.inbox_sum += lamports
            made = work[0] is Kind.TRAINING and work[1] in SUPPORTED_MODES and life > 0
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

    @rule(name=clients, fee=amounts, life=st.integers(-1, 30), mode=modes, slip=slips)
    def submit(self, name: str, fee: int, life: int, mode: Mode, slip: int) -> None:
        record = kit.submission(name, self.nonce(name, slip), fee, max(0, self.base_slot + life), mode=mode)
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
        self.try_to_pay(task_id, slip)

    def try_to_pay(self, task_id: bytes, slip: int = 0) -> bool:
        since, task = self.held_since.get(task_id), self.state.task(task_id)
        if not self.put(self.event(2, task_id, "worker", slip)):
            return False
        assert task_id not in self.settled, "paid twice"
        assert task is not None and (task.mode is Mode.EXACT) == (since is not None), "an exact result was never held"
        assert since is None or self.base_slot >= since + RESULT_HOLD_SLOTS, "paid too early"
        self.settled[task_id] = TaskStatus.PAID
        return True

    @precondition(lambda self: self.tasks)
    @rule(slip=slips, data=st.data())
    def hold(self, slip: int, data: st.DataObject) -> None:
        self.try_to_hold(self.a_task(data), slip)

    def try_to_hold(self, task_id: bytes, slip: int = 0) -> None:
        if self.put(self.event(9, task_id, "worker", slip)):
            assert task_id not in self.settled and task_id not in self.held_since
            self.held_since[task_id] = self.base_slot

    @precondition(lambda self: self.held_since)
    @rule(data=st.data(), leap=st.sampled_from([None, -1, 0, 1]), is_new=st.booleans())
    def release(self, data: st.DataObject, leap: int | None, is_new: bool) -> None:
        """A release slot, and the payment in it, one slot before or after it, or at once."""
        task_id = data.draw(st.sampled_from(sorted(self.held_since)))
        self.epoch += is_new
        self.put(self.event(10, task_id, "worker", 0))
        task = self.state.task(task_id)
        assert task is not None
        if leap is not None and task.status is TaskStatus.HELD and task.deadline_slot != UNSCHEDULED:
            self.epoch, self.base_slot = self.epoch + 1, max(self.base_slot, task.deadline_slot + leap)
        self.try_to_pay(task_id)

    @precondition(lambda self: self.tasks)
    @rule(
        challenger=names,
        share=st.sampled_from([0, 1, 3_333, 10_000, 2**64 - 1]),
        data=st.data(),
        is_held=st.booleans(),
        is_right=st.sampled_from([True] * 4 + [False]),
        slip=slips,
    )
    def strike(
        self, challenger: str, share: int, data: st.DataObject, is_held: bool, is_right: bool, slip: int
    ) -> None:
        task_id = self.a_task(data)
        if is_held and self.held_since:
            task_id = data.draw(st.sampled_from(sorted(self.held_since)))
        before = self.state.task(task_id)
        record = kit.strike(challenger, 700, max(0, self.state.totals.inbox_cursor + slip), task_id, share)
        if not is_right:
            record = replace(record, payload=replace(record.payload, spec_hash=kit.filler("other result")))
        if not self.put(record):
            assert slip, "a forced record was refused"
            return
        self.inbox_sum += 700
        after = self.state.task(task_id)
        if before != after:
            assert before is not None and is_right and before.mode is Mode.EXACT and task_id not in self.settled
            self.settled[task_id] = TaskStatus.STRUCK

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
        if event == 10:
            return kit.schedule(name, task_id)
        pledge = MIN_WORKER_STAKE if task.mode is Mode.EXACT else 0
        lamports = (account.free_stake + pledge if account else 0) if event == 4 else task.fee_lamports
        make = {2: kit.payment, 3: kit.refund, 4: kit.slash, 9: kit.hold}[event]
        return make(name, task_id, max(0, lamports + slip))

    @rule(
        client=clients,
        worker=workers,
        verdict=st.sampled_from([Verdict.ACCEPT, Verdict.REJECT]),
        fee=amounts,
        steps=st.integers(1, 5),
        mode=modes,
    )
    def live(self, client: str, worker: str, verdict: Verdict, fee: int, steps: int, mode: Mode) -> None:
        """The first steps of a task's life in order, so that the rarer rules find tasks in every status."""
        record = kit.submission(client, self.nonce(client, 0), fee, self.base_slot + 15, mode=mode)
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
            if verdict is Verdict.REJECT:
                self.put(self.event(4, record.task, "worker", 0))
            elif mode is Mode.EXACT:
                self.try_to_hold(record.task)
            else:
                self.try_to_pay(record.task)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        task_id = self.a_task(data)
        task = self.state.task(task_id)
        assert task is not None
        late = self.base_slot if task.deadline_slot == UNSCHEDULED else task.deadline_slot + 1
        self.epoch, self.base_slot = self.epoch + 1, max(self.base_slot, late)
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
    def what_is_locked_is_behind_something(self) -> None:
        """Every account's locked fees are those of its open tasks, and its pledged stake that of its exact results: nothing is lost in a hold."""
        tasks = [task for task_id in self.tasks if (task := self.state.task(task_id)) is not None]
        open_statuses = (TaskStatus.PENDING, TaskStatus.REVEALED, TaskStatus.HELD)
        for name in PEOPLE:
            account, node = self.state.account(kit.node(name)), kit.node(name)
            if account is None:
                continue
            fees = [task.fee_lamports for task in tasks if task.client == node and task.status in open_statuses]
            shown = [task for task in tasks if task.worker == node and task.status in open_statuses[1:]]
            assert account.locked_fees == sum(fees)
            assert account.pledged_stake == MIN_WORKER_STAKE * sum(task.mode is Mode.EXACT for task in shown)
            assert account.pledged_stake <= account.locked_stake

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
