"""The chain of epochs: pipeline, new attempts, forks of L1, and that a restart at any point finds the same roots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sequencer import database as db
from sequencer import epoch as rules
from sequencer import recovery
from sequencer.lifecycle import CheckpointStatus, IllegalTransition
from sequencer.recovery import WrongStore
from sequencer.rows import AttemptRow
from sequencer.store import StoreCorruption
from settlement import records
from settlement.ledger import LedgerRejection, Rejection
from settlement.messages import highest_attempt
from settlement.signing import Domain, node_id
from tests.sequencer.chain_kit import DOMAIN, Bench, validator_set

MEMORY = Path("/dev/shm")  # what is tested here is logic; hundreds of fsyncs on a busy disk would only take time
ALICE, BOB = b"a" * 32, b"b" * 32


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench.new(tmp_path)
    yield made
    made.database.close()


def test_the_next_epoch_fills_while_one_is_in_flight(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.submit(ALICE, 100)
    first = bench.cut()
    bench.submit(ALICE, 50)
    assert (bench.chain.open.epoch, bench.chain.open.base_slot) == (2, first.row.cut_slot)
    assert bench.chain.open.records == 1
    with pytest.raises(RuntimeError, match="in flight"):
        bench.cut()
    bench.certify()
    bench.post()
    second = bench.cut()
    assert second.row.parent_hash == first.row.hash
    assert second.row.message.payable_total == 0
    bench.check_restart()


def test_a_deposit_stands_before_groups_that_came_earlier(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    group = bench.submit(ALICE, 100)
    bench.deposit(BOB, 500)
    bench.ingest()
    data = bench.cut().data
    events = [records.decode(data[at : at + 160]).op.name for at in range(0, 3 * 160, 160)]
    assert events == ["ECONOMIC_EVENT", "ECONOMIC_EVENT", "TASK_SUBMISSION"]
    assert bench.chain.position.current is not None
    assert bench.chain.position.current.row.seqs == [group.seq]


def test_no_more_inbox_entries_than_l1_allows_and_the_rest_in_the_next_epoch(bench: Bench) -> None:
    for _ in range(6):
        bench.deposit(ALICE, 1_000)
    bench.ingest()
    assert bench.chain.open.records == 4
    assert bench.whole_epoch() == 1
    assert bench.chain.open.records == 2
    assert bench.cut().row.inbox_cursor == 6
    bench.check_restart()


def test_a_new_attempt_takes_the_old_records_and_the_new_ones(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.submit(ALICE, 100)
    first = bench.cut()
    late = bench.submit(ALICE, 50)
    affected = bench.give_up()
    assert first.row.seqs == [0]
    assert len(affected) == 2  # their tasks are looked at again
    bench.check_restart()
    again = bench.cut()
    assert (again.row.epoch, again.row.attempt) == (1, 1)
    assert again.row.seqs == [0, late.seq]
    assert again.row.hash != first.row.hash
    bench.check_restart()


def test_what_does_not_fit_goes_into_the_next_epoch_and_nothing_overtakes_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.submit(ALICE, 10)
    bench.cut()
    bench.submit(ALICE, 20)
    late = bench.submit(ALICE, 30)
    monkeypatch.setattr(rules, "MAX_BATCH_RECORDS", 3)
    bench.give_up()
    assert [g.seq for g in bench.chain.open.groups] == [0, 1]
    assert [g.seq for g in bench.chain.position.beyond] == [late.seq]
    bench.check_restart()
    with pytest.raises(LedgerRejection, match="wait for the next epoch"):
        bench.withdraw(ALICE, 1)
    bench.cut()
    assert [g.seq for g in bench.chain.open.groups] == [late.seq]
    assert bench.chain.position.beyond == ()
    bench.check_restart()


def test_a_dropped_deposit_takes_what_rested_on_it_out_until_it_comes_back(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.deposit(BOB, 500)
    bench.ingest()
    bench.submit(ALICE, 100)
    group = bench.submit(BOB, 300)
    bench.forget_deposits(1)
    assert [g.seq for g in bench.chain.open.groups] == [0]
    assert [g.seq for g in bench.chain.position.waiting] == [group.seq]
    assert bench.chain.open.state.account(node_id(BOB)) is None
    bench.check_restart()
    bench.deposit(BOB, 500)
    bench.ingest()
    assert bench.chain.open.state.task(group.task_id) is not None
    assert bench.chain.position.waiting == ()
    bench.check_restart()


def test_what_waits_is_forgotten_only_when_its_authorisation_has_run_out(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.deposit(BOB, 500)
    bench.ingest()
    bench.submit(BOB, 300, expiry_slot=115)
    bench.forget_deposits(1)
    bench.whole_epoch()  # cut at 110
    assert len(bench.chain.position.waiting) == 1
    bench.submit(ALICE, 10)
    bench.whole_epoch()  # cut at 120
    assert bench.chain.position.waiting == ()
    assert [row for _, row in bench.database.scan(db.GROUPS)] != []
    bench.check_restart()


def test_a_fork_posts_the_same_again_in_its_order(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.whole_epoch()
    bench.submit(ALICE, 10)
    bench.whole_epoch()
    later = bench.submit(ALICE, 20)
    third = bench.cut()
    before = [flight.row for flight in bench.chain.position.posted]
    root = bench.chain.open.state.root
    bench.fork(1)
    position = bench.chain.position
    assert position.posted == ()
    assert [flight.row.status for flight in position.in_flight] == [
        CheckpointStatus.POSTING, CheckpointStatus.POSTING, CheckpointStatus.ATTESTING
    ]  # fmt: skip
    for flight, row in zip(position.in_flight, before, strict=False):
        assert (flight.row.hash, flight.row.aggregate) == (row.hash, row.aggregate)
    assert (position.open.epoch, position.open.state.root) == (4, root)
    bench.check_restart()
    with pytest.raises(RuntimeError, match="in flight"):
        bench.cut()
    bench.post()
    bench.check_restart()
    bench.post()
    assert bench.chain.position.current is not None
    assert bench.chain.position.current.row == third.row
    assert third.row.seqs == [later.seq]
    bench.certify()
    bench.post()
    bench.check_restart()
    assert [flight.row.epoch for flight in bench.chain.position.posted] == [1, 2, 3]


def test_what_is_behind_a_dead_attempt_is_open_again_with_it(bench: Bench) -> None:
    """The parent that it extends never came to be, so its certificate is void."""
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.whole_epoch()
    first = bench.submit(ALICE, 10)
    bench.whole_epoch()
    bench.fork(1)
    bench.give_up()
    assert bench.chain.position.in_flight == ()
    assert [group.seq for group in bench.chain.open.groups] == [first.seq]
    bench.check_restart()
    again = bench.cut()
    assert (again.row.epoch, again.row.attempt) == (1, 1)
    bench.certify()
    bench.post()
    bench.submit(ALICE, 5)
    second = bench.cut()
    assert (second.row.epoch, second.row.attempt) == (2, 1)
    with pytest.raises(RuntimeError, match="not among those posted"):
        bench.fork(2)


def test_a_rejected_epoch_and_those_on_it_come_again_under_new_numbers(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.whole_epoch()
    first = bench.submit(ALICE, 10)
    bench.whole_epoch()
    second = bench.submit(ALICE, 20)
    bench.whole_epoch()
    later = bench.submit(ALICE, 30)
    cut = bench.cut()
    bench.certify()
    root = bench.chain.open.state.root
    tasks = bench.reject(2)
    assert set(tasks) == {first.task_id, second.task_id, later.task_id}
    assert [bench.status_of(epoch) for epoch in (1, 2, 3, 4)] == ["posted", "rejected", "voided", None]
    position = bench.chain.position
    assert [flight.row.epoch for flight in position.posted] == [1] and position.in_flight == ()
    assert [group.seq for group in position.open.groups] == [first.seq, second.seq, later.seq]
    assert (position.open.epoch, position.open.state.root) == (4, root)
    assert position.open.base_slot == position.posted[0].row.cut_slot
    bench.check_restart()
    again = bench.cut().row
    assert again.parent_hash == position.posted[0].row.hash
    # L1 has never taken epoch 4: its number is used, and what was signed for it counts.
    assert (again.epoch, again.attempt) == (4, 1) and cut.row.epoch == 4
    bench.certify()
    bench.post()
    bench.finalize()
    bench.finalize()
    assert bench.chain.position.finalized.epoch == 4
    assert list(bench.database.scan(db.GROUPS)) == [] and list(bench.database.scan(db.DEPOSITS)) == []
    bench.check_restart()


def test_a_post_that_was_rejected_before_it_was_seen_uses_its_number_up(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.whole_epoch()
    bench.submit(ALICE, 10)
    bench.cut()
    bench.certify()
    bench.reject(1, highest_epoch=2)
    assert [bench.status_of(epoch) for epoch in (1, 2)] == ["rejected", "voided"]
    assert bench.chain.open.epoch == 3 and bench.database.get(db.ATTEMPTS, db.u64be(2)) is None
    bench.check_restart()
    assert (bench.cut().row.epoch, bench.chain.open.epoch) == (3, 4)
    bench.give_up()
    bench.check_restart()
    assert (bench.cut().row.epoch, bench.chain.open.epoch) == (3, 4)


def test_the_same_records_rejected_twice_are_noticed(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.submit(ALICE, 10)
    bench.whole_epoch()
    bench.reject(1)
    assert not bench.chain.meta_cell.value.rejected_again
    bench.whole_epoch()
    bench.submit(ALICE, 20)
    bench.whole_epoch()
    bench.reject(3)
    assert not bench.chain.meta_cell.value.rejected_again  # these were never in a rejected epoch, only epoch 2's were
    bench.whole_epoch()
    bench.reject(2)
    assert bench.chain.meta_cell.value.rejected_again
    assert [bench.status_of(epoch) for epoch in (1, 2, 3, 4)] == ["rejected", "rejected", "rejected", "voided"]
    bench.check_restart()


def test_only_a_posted_epoch_can_be_rejected(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.cut()
    with pytest.raises(RuntimeError, match="epoch 1 is not among those posted"):
        bench.reject(1, highest_epoch=1)
    bench.check_restart()


def test_finality_keeps_the_snapshot_and_drops_the_rows(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.submit(ALICE, 100)
    bench.whole_epoch()
    root = bench.chain.position.posted[0].head.state.root
    bench.finalize()
    assert bench.chain.position.finalized.state.root == root
    assert list(bench.database.scan(db.GROUPS)) == []
    assert list(bench.database.scan(db.DEPOSITS)) == []
    bench.withdraw(ALICE, 7)
    bench.whole_epoch()
    bench.finalize()
    bench.check_restart()


def test_an_empty_first_epoch_leaves_a_whole_snapshot(bench: Bench) -> None:
    bench.whole_epoch()
    bench.finalize()
    bench.check_restart()


def test_another_pinned_set_builds_the_open_batch_anew(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.submit(ALICE, 100)
    with bench.database.transaction() as tx:
        bench.chain.pin(tx, validator_set(2, 4))
    assert bench.chain.open.context.validator_set.version == 2
    cut = bench.cut()
    assert cut.row.set_version == 2
    assert cut.row.set_hash == validator_set(2, 4).hash(DOMAIN)
    bench.check_restart()


def test_a_failed_write_leaves_memory_as_the_disk_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    before = bench.chain.open

    def refuse(writes: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.database._store, "commit", refuse)
    with pytest.raises(OSError, match="No space"):
        bench.submit(ALICE, 100)
    monkeypatch.undo()
    assert bench.chain.open is before
    bench.submit(ALICE, 100)
    bench.check_restart()


def test_a_refused_record_leaves_no_trace(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    with pytest.raises(LedgerRejection) as caught:
        bench.submit(ALICE, 2_000)
    assert caught.value.code is Rejection.INSUFFICIENT_BALANCE
    assert list(bench.database.scan(db.GROUPS)) == []
    assert bench.chain.meta_cell.value.next_seq == 0


def test_events_of_the_wrong_moment_are_refused(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    with pytest.raises(RuntimeError, match="no epoch is in flight"):
        bench.certify()
    bench.cut()
    with pytest.raises(IllegalTransition, match="attesting"):
        bench.post()
    bench.check_restart()


@pytest.mark.parametrize("table", ["g", "d", "e", "V", "m"])
def test_a_corrupt_row_is_refused_by_its_name(bench: Bench, table: str) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.submit(ALICE, 100)
    bench.cut()
    raw = bench.database._store._db  # type: ignore[attr-defined]
    key, value = next((k, v) for k, v in raw.items() if k.startswith(table.encode()))
    raw[key] = value[:-1] + bytes([value[-1] ^ 1])
    with pytest.raises(StoreCorruption, match="torn or corrupt") as caught:
        recovery.load(bench.database, DOMAIN)
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize("table", ["g", "d", "V"])
def test_a_missing_row_is_found(bench: Bench, table: str) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.submit(ALICE, 100)
    bench.cut()
    store = bench.database._store
    store.commit({next(k for k, _ in store.scan(table.encode())): None})
    with pytest.raises(StoreCorruption):
        recovery.load(bench.database, DOMAIN)


def test_a_well_formed_but_different_leaf_is_found_by_the_state_root(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.whole_epoch()
    bench.finalize()
    for key, row in list(bench.database.scan(db.LEAVES)):
        if row.kind == "totals":
            continue
        richer = row.value[:32] + (10**9).to_bytes(8, "little") + row.value[40:]
        forged = msgspec.msgpack.encode(msgspec.structs.replace(row, value=richer))
        bench.database._store.commit({b"l" + key: forged})
    with pytest.raises(StoreCorruption, match="snapshot of epoch 1"):
        recovery.load(bench.database, DOMAIN)


def test_another_chains_store_is_refused(bench: Bench) -> None:
    with pytest.raises(WrongStore, match="belongs to genesis"):
        recovery.load(bench.database, Domain(b"x" * 32, DOMAIN.program))


def test_a_store_of_schema_2_is_read_and_becomes_one_of_this_schema(bench: Bench) -> None:
    """It has neither the count of posts that did not land nor whether an attempt had a quorum."""
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    bench.cut()
    bench.give_up()
    store = bench.database._store
    for table, lacking in ((db.META, "posts_unlanded"), (db.ATTEMPTS, "certified")):
        for key, row in list(bench.database.scan(table)):
            old = {
                name: value
                for name, value in msgspec.to_builtins(row, builtin_types=(bytes,)).items()
                if name != lacking
            }
            old |= {"schema": 2} if table is db.META else {}
            store.commit({table.prefix + key: msgspec.msgpack.encode(old)})
    chain = recovery.load(bench.database, DOMAIN)
    assert (chain.meta_cell.value.schema, chain.meta_cell.value.posts_unlanded) == (db.SCHEMA, 0)
    stored = bench.database.get(db.META, b"")
    assert stored is not None and stored.schema == db.SCHEMA
    before = bench.database.get(db.ATTEMPTS, db.u64be(1))
    assert before is not None and before.certified


def test_a_store_of_another_schema_is_refused(bench: Bench) -> None:
    with bench.database.transaction() as tx:
        bench.chain.set_meta(tx, msgspec.structs.replace(bench.chain.meta(tx), schema=9))
    with pytest.raises(WrongStore, match=f"the store has schema 9, this version reads 2 and 3 and {db.SCHEMA}"):
        recovery.load(bench.database, DOMAIN)


def test_an_attempt_that_was_given_up_is_remembered_with_whether_a_quorum_had_signed_it(bench: Bench) -> None:
    bench.deposit(ALICE, 1_000)
    bench.ingest()
    first = bench.cut().row
    bench.give_up()
    unsigned = bench.database.get(db.ATTEMPTS, db.u64be(1))
    assert unsigned == AttemptRow(attempt=0, expiry_slot=first.expiry_slot, certified=False)
    second = bench.cut().row
    bench.certify()
    bench.give_up()
    assert bench.database.get(db.ATTEMPTS, db.u64be(1)) == AttemptRow(
        attempt=1, expiry_slot=second.expiry_slot, certified=True
    )


def test_the_next_attempt_leaps_only_where_no_quorum_had_signed() -> None:
    signed, unsigned = (AttemptRow(attempt=3, expiry_slot=200, certified=certified) for certified in (True, False))
    assert rules.next_attempt(None, 100, 10_000) == 0
    assert rules.next_attempt(signed, 100, 10_000) == 4
    assert rules.next_attempt(unsigned, 100, 10_000) == 9_899
    # A parent that came later than the attempt: 4 is more than time allows yet, and the cut waits for slot 105.
    assert rules.next_attempt(unsigned, 100, 101) == 4 > highest_attempt(100, 104)
    assert rules.next_attempt(unsigned, 100, 105) == 4 == highest_attempt(100, 105)


class RandomChain(RuleBasedStateMachine):
    """Any order of events: after each, a restart finds the same chain, and no accepted group is lost."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.bench = Bench.new(Path(self.folder.name))
        self.accepted: set[int] = set()
        self.final: set[int] = set()
        self.used_up = 0
        self.bench.deposit(ALICE, 10_000)
        self.bench.ingest()

    @rule(key=st.sampled_from([ALICE, BOB]), lamports=st.integers(1, 500))
    def deposit(self, key: bytes, lamports: int) -> None:
        self.bench.deposit(key, lamports)
        self.bench.ingest()

    @rule(key=st.sampled_from([ALICE, BOB]), lamports=st.integers(1, 300), task=st.booleans())
    def group(self, key: bytes, lamports: int, task: bool) -> None:
        try:
            made = self.bench.submit(key, lamports) if task else self.bench.withdraw(key, lamports)
        except LedgerRejection:
            return
        self.accepted.add(made.seq)

    @precondition(lambda self: self.bench.chain.position.current is None)
    @rule()
    def cut(self) -> None:
        self.bench.cut()

    @precondition(lambda self: self.bench.chain.position.current is not None)
    @rule()
    def land(self) -> None:
        if self.bench.chain.position.current.row.status is CheckpointStatus.ATTESTING:
            self.bench.certify()
        self.bench.post()

    @precondition(lambda self: self.bench.chain.position.current is not None)
    @rule()
    def give_up(self) -> None:
        self.bench.give_up()

    @precondition(lambda self: self.bench.chain.position.posted)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        epochs = [flight.row.epoch for flight in self.bench.chain.position.posted]
        self.bench.fork(data.draw(st.sampled_from(epochs)))

    @precondition(lambda self: self.bench.chain.position.posted)
    @rule(data=st.data(), landed_unseen=st.booleans())
    def reject(self, data: st.DataObject, landed_unseen: bool) -> None:
        position = self.bench.chain.position
        epochs = [flight.row.epoch for flight in position.posted]
        highest, current = epochs[-1], position.current
        if landed_unseen and current is not None and current.row.status is CheckpointStatus.POSTING:
            highest = current.row.epoch
        rejected = data.draw(st.sampled_from(epochs))
        self.used_up = max(self.used_up, highest)
        self.bench.reject(rejected, highest)
        assert self.bench.status_of(rejected) == "rejected"
        assert all(self.bench.status_of(epoch) == "voided" for epoch in epochs if epoch > rejected)

    @precondition(lambda self: self.bench.chain.position.posted)
    @rule()
    def finalize(self) -> None:
        self.final |= set(self.bench.chain.position.posted[0].row.seqs)
        self.bench.finalize()

    @precondition(lambda self: len(self.bench.chain.open.deposits) > 0)
    @rule(data=st.data())
    def l1_takes_deposits_back(self, data: st.DataObject) -> None:
        rows = [row for _, row in self.bench.database.scan(db.DEPOSITS)]
        newest = len([row for row in rows if row.index >= self.bench.chain.position.tip.inbox_cursor])
        self.bench.forget_deposits(data.draw(st.integers(1, newest)))

    @rule(version=st.integers(2, 5), size=st.integers(2, 4))
    def pin(self, version: int, size: int) -> None:
        if version not in {row.version for _, row in self.bench.database.scan(db.SETS)}:
            with self.bench.database.transaction() as tx:
                self.bench.chain.pin(tx, validator_set(version, size))

    @invariant()
    def survives(self) -> None:
        if hasattr(self, "bench"):
            self.bench.check_restart()

    @invariant()
    def epochs_follow_each_other_by_hash_and_no_number_is_used_again(self) -> None:
        if not hasattr(self, "bench"):
            return
        position = self.bench.chain.position
        assert position.open.epoch > self.used_up and position.open.epoch > position.tip.epoch
        head = position.finalized
        for flight in (*position.posted, *position.in_flight):
            assert flight.row.parent_hash == head.checkpoint_hash and flight.row.epoch > head.epoch
            head = flight.head
        fallen = [row for _, row in self.bench.database.scan(db.EPOCHS) if row.status in ("rejected", "voided")]
        assert all(row.epoch <= self.used_up for row in fallen)

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "bench"):
            return
        position = self.bench.chain.position
        flights = [*position.posted, *position.in_flight]
        held = {seq for flight in flights for seq in flight.row.seqs}
        held |= {group.seq for group in position.groups}
        assert self.accepted == held | self.final
        assert not held & self.final

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.database.close()
            self.folder.cleanup()


TestRandomChain = RandomChain.TestCase
TestRandomChain.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
