"""Steps of the ledger with their witnesses, honest, false and malformed: tests/vectors/transition.json and the tests of witnesses are made
from them. Everything follows from names and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from settlement import records
from settlement.ledger import (
    Account,
    Context,
    LedgerRejection,
    Rejection,
    State,
    Task,
    TaskStatus,
    Totals,
    apply,
    tree,
    witness,
)
from settlement.ledger.leaves import account_key, task_key
from settlement.ledger.witness import Fault, Token, Verdict, WitnessError
from settlement.records import EconomicEvent, GradientShare, Kind, Mode, NetworkState, Op, Record
from settlement.records import Verdict as Vote
from settlement.tags import U64_MAX
from tests.settlement import kit

FIRST = kit.context()
LATE = kit.context(2, 101)
TASK_ID = kit.task_id("client", 0)
OTHER_ID = kit.task_id("client", 1)


@dataclass(frozen=True)
class Step:
    """A claim with its records and witness, and the context it is judged in; `state` is the whole state before it, where there is one."""

    name: str
    before: bytes
    after: bytes
    records: bytes
    witness: bytes
    context: Context
    state: State | None = None

    def judge(self) -> Verdict | Fault:
        """What Python's judge says; a fault rather than an exception."""
        try:
            return witness.judge(self.before, self.after, self.records, self.witness, self.context)
        except WitnessError as error:
            return error.fault


def run(state: State, *batch: Record, context: Context = FIRST) -> State:
    for record in batch:
        state = apply(state, record, context)
    return state


def step(name: str, state: State, *batch: Record | bytes, context: Context = FIRST) -> Step:
    """The honest step; where a record is rejected, a liar's that ends at the root before that record."""
    encoded = [record if isinstance(record, bytes) else records.encode(record) for record in batch]
    after = state
    try:
        for record in encoded:
            after = apply(after, records.decode(record), context)
    except (LedgerRejection, records.RecordError):
        pass
    made = witness.build(state, encoded, context)
    return Step(name, state.root, after.root, b"".join(encoded), made, context, state)


def funded() -> State:
    """client and worker with 10,000,000 each, the worker's stake locked."""
    state = run(State.empty(), kit.deposit("client", 10_000_000, 0), kit.deposit("worker", 10_000_000, 1))
    return run(state, kit.registration("worker"))


def pending() -> State:
    return run(funded(), kit.submission("client"))


def revealed() -> State:
    return run(pending(), kit.result("worker", 1, TASK_ID))


def voted(*verdicts: Vote) -> State:
    return run(revealed(), *(kit.vote(index, TASK_ID, verdict) for index, verdict in enumerate(verdicts)))


def with_account(state: State, name: str, **changes: int) -> State:
    account = state.account(kit.node(name))
    assert account is not None
    return state.with_account(replace(account, **changes))


def every_rule() -> Iterator[Step]:
    """Every op and event once taken, with the corners of each rule."""
    accepted, refuted = voted(Vote.ACCEPT, Vote.ACCEPT), voted(Vote.REJECT, Vote.REJECT)
    yield step("a deposit opens an account", State.empty(), kit.deposit("client", 5, 0))
    yield step("a deposit credits an account", funded(), kit.deposit("client", 6, 2))
    yield step("eight deposits", State.empty(), *(kit.deposit(f"a{i}", 5 + i, i) for i in range(8)))
    yield step("a submission", funded(), kit.submission("client"))
    yield step("a registration of the whole balance", funded(), kit.registration("worker", 1, 9_000_000))
    yield step("a result", pending(), kit.result("worker", 1, TASK_ID))
    yield step("a result in the last slot", pending(), kit.result("worker", 1, TASK_ID), context=kit.context(2, 100))
    yield step("a sample proof", revealed(), kit.sample_proof(2, TASK_ID, kit.filler("signature", 96)))
    votes = [kit.vote(i, TASK_ID, verdict) for i, verdict in enumerate((Vote.ACCEPT, Vote.ABSTAIN, Vote.REJECT))]
    yield step("votes of three kinds", revealed(), *votes)
    yield step("a vote of a new epoch", accepted, kit.vote(2, TASK_ID, Vote.REJECT), context=kit.context(2, 50))
    yield step("an abstention of a new epoch", accepted, kit.vote(0, TASK_ID, Vote.ABSTAIN), context=kit.context(2, 50))
    yield step("a payment", accepted, kit.payment("worker", TASK_ID))
    yield step("a slash", refuted, kit.slash("worker", TASK_ID))
    to_worker = replace(FIRST, treasury=kit.public_key("worker"))
    yield step("a slash to the worker itself", refuted, kit.slash("worker", TASK_ID), context=to_worker)
    two = run(
        pending(), kit.submission("client", 1), kit.result("worker", 1, TASK_ID), kit.result("worker", 2, OTHER_ID)
    )
    two = run(two, *(kit.vote(i, one, Vote.REJECT) for i in (0, 1) for one in (TASK_ID, OTHER_ID)))
    slashes = (kit.slash("worker", TASK_ID), kit.slash("worker", OTHER_ID, 0))
    yield step("two slashes of one stake", two, *slashes)
    none_left = with_account(two, "worker", locked_stake=0)
    none_left = none_left.with_totals(replace(none_left.totals, locked=none_left.totals.locked - 1_000_000))
    yield step("a slash of nothing opens the treasury's account", none_left, kit.slash("worker", OTHER_ID, 0))
    yield step("a refund of a pending task", pending(), kit.refund("client", TASK_ID), context=LATE)
    yield step("a refund of a revealed task", accepted, kit.refund("client", TASK_ID), context=LATE)
    yield step("a withdrawal", funded(), kit.withdrawal("client", 0, 4_000_000))
    whole = (
        kit.deposit("late", 7, 2),
        kit.submission("client"),
        kit.result("worker", 1, TASK_ID),
        *(kit.vote(i, TASK_ID) for i in range(3)),
        kit.payment("worker", TASK_ID),
        kit.withdrawal("client", 1, 1),
    )
    yield step("a task's whole life in one step", funded(), *whole)
    uneven = replace(FIRST, validator_set=kit.validator_set(2**63, 2**62, 2**62 - 1))
    paid = (kit.vote(0, TASK_ID), kit.vote(1, TASK_ID), kit.payment("worker", TASK_ID))
    yield step("a quorum of a set with 2^64 - 1 lamports", revealed(), *paid, context=uneven)
    wide = replace(FIRST, validator_set=kit.validator_set(*[1] * 9))
    votes = [kit.vote(i, TASK_ID) for i in range(3, 9)]
    yield step(
        "a quorum of exactly two thirds", run(revealed(), *votes[:-1], context=wide), votes[-1], paid[2], context=wide
    )


def forced() -> Iterator[Step]:
    """What the inbox forces: taken whatever the entry says."""
    task_id = kit.inbox_task_id("client", 2)
    task = kit.inbox_task("client", 50_000, 2)
    made = run(funded(), task)
    shown = run(made, kit.result("worker", 1, task_id))
    paid = run(shown, kit.vote(0, task_id), kit.vote(1, task_id), kit.payment("worker", task_id, 50_000))
    yield step("a forced task", funded(), task)
    yield step("a forced task opens an account", State.empty(), kit.inbox_task("stranger", 7, 0))
    yield step("two forced tasks and a withdrawal", funded(), task, kit.inbox_task("client", 5, 3), withdrawal(4, 10))
    others = [(kind, Mode.REPLAY) for kind in Kind if kind is not Kind.TRAINING]
    for kind, mode in [*others, *((Kind.TRAINING, mode) for mode in (Mode.REDUNDANT, Mode.ZK))]:
        credited = kit.inbox_task("client", 50_000, 2, kind=kind, mode=mode)
        yield step(f"a forced task of kind {kind} and mode {mode} is credited", funded(), credited)
    for deadline in (0, 100, 101, 102):
        late = kit.inbox_task("client", 5, 2, deadline=deadline)
        yield step(f"a forced task until {deadline} at 101", funded(), late, context=LATE)
    turned_back = shown.with_totals(replace(shown.totals, inbox_cursor=2))
    yield step("a forced task that is there", turned_back, task)
    for lamports in (0, 1, 10_000_010, U64_MAX):
        yield step(f"a forced withdrawal of {lamports}", funded(), withdrawal(2, lamports))
    yield step("a forced withdrawal by a stranger", funded(), kit.forced_withdrawal("stranger", 5, 2, U64_MAX))
    for name, state in (("pending", made), ("revealed", shown), ("paid", paid)):
        for slot in (100, 101):
            yield step(
                f"a forced withdrawal that names a {name} task at {slot}",
                state,
                withdrawal(3, U64_MAX, task_id),
                context=kit.context(2, slot),
            )
    again = run(made, kit.refund("client", task_id, 50_000), context=LATE)
    yield step("a forced withdrawal that names a refunded task", again, withdrawal(3, 9, task_id), context=LATE)
    other = kit.forced_withdrawal("worker", 10, 3, 5, task_id)
    yield step("a forced withdrawal that names another's task", made, other, context=LATE)
    yield step("a forced withdrawal that names no task", made, withdrawal(3, 5, kit.filler("no task")), context=LATE)


def withdrawal(inbox_index: int, lamports: int, task: bytes = kit.NO_TASK) -> Record:
    """The client's, forced, with 10 lamports for the entry."""
    return kit.forced_withdrawal("client", 10, inbox_index, lamports, task)


def every_rejection() -> Iterator[tuple[Rejection, Step]]:
    """Every code that a transition can give, for every rule that can give it, in the order of the codes."""
    accepted, refuted = voted(Vote.ACCEPT, Vote.ACCEPT), voted(Vote.REJECT, Vote.REJECT)
    no_task, late = kit.filler("no task"), LATE
    paid = run(accepted, kit.payment("worker", TASK_ID))

    def refused(
        code: Rejection, state: State, *batch: Record | bytes, context: Context = FIRST
    ) -> tuple[Rejection, Step]:
        return code, step(f"{code.name.lower()} {next(numbers)}", state, *batch, context=context)

    numbers = iter(range(1000))
    broken = bytearray(records.encode(kit.deposit("client", 6, 2)))
    broken[80] ^= 1
    yield refused(Rejection.MALFORMED_RECORD, funded(), bytes(broken))
    yield refused(Rejection.MALFORMED_RECORD, funded(), kit.withdrawal("client", 0, 5), bytes(160))
    share = Record(Op.GRADIENT_SHARE, 1, kit.node("worker"), TASK_ID, GradientShare(1, bytes(32), bytes(32)))
    network = Record(Op.NETWORK_STATE, 1, bytes(20), bytes(32), NetworkState(1, 1, 1, 1, 1, bytes(32)))
    yield refused(Rejection.OP_NOT_ACCEPTED, revealed(), share)
    yield refused(Rejection.OP_NOT_ACCEPTED, revealed(), kit.sample_proof(0, TASK_ID), network)
    yield refused(Rejection.UNKNOWN_ACCOUNT, funded(), kit.submission("stranger"))
    yield refused(Rejection.UNKNOWN_ACCOUNT, State.empty(), kit.registration("worker"))
    yield refused(Rejection.UNKNOWN_ACCOUNT, pending(), kit.result("stranger", 0, TASK_ID))
    yield refused(Rejection.UNKNOWN_ACCOUNT, funded(), kit.withdrawal("stranger", 0, 1))
    yield refused(Rejection.WRONG_NONCE, funded(), kit.submission("client", nonce=1))
    yield refused(Rejection.WRONG_NONCE, pending(), kit.submission("client"))
    yield refused(Rejection.WRONG_NONCE, funded(), kit.registration("worker", 0))
    yield refused(Rejection.WRONG_NONCE, pending(), kit.result("worker", 0, TASK_ID))
    yield refused(Rejection.WRONG_NONCE, funded(), kit.withdrawal("client", 0, 1), kit.withdrawal("client", 0, 1))
    yield refused(Rejection.INSUFFICIENT_BALANCE, funded(), kit.submission("client", fee=10_000_001))
    yield refused(Rejection.INSUFFICIENT_BALANCE, funded(), kit.registration("worker", 1, stake=9_000_001))
    yield refused(Rejection.INSUFFICIENT_BALANCE, funded(), kit.withdrawal("client", 0, 10_000_001))
    yield refused(Rejection.ZERO_AMOUNT, State.empty(), kit.deposit("a", 0, 0))
    yield refused(Rejection.ZERO_AMOUNT, funded(), kit.submission("client", fee=0))
    yield refused(Rejection.ZERO_AMOUNT, funded(), kit.registration("worker", 1, stake=0))
    yield refused(Rejection.ZERO_AMOUNT, funded(), kit.withdrawal("client", 0, 0))
    rich = run(State.empty(), kit.deposit("a", U64_MAX, 0))
    yield refused(Rejection.OVERFLOW, rich, kit.deposit("a", 1, 1))
    yield refused(Rejection.OVERFLOW, rich, kit.deposit("b", 1, 1))
    for field in ("nonce", "payable"):
        last = with_account(funded(), "client", **{field: U64_MAX})
        yield refused(Rejection.OVERFLOW, last, kit.withdrawal("client", U64_MAX if field == "nonce" else 0, 1))
    for field in ("locked_fees", "nonce"):
        last = with_account(funded(), "client", **{field: U64_MAX})
        yield refused(Rejection.OVERFLOW, last, kit.submission("client", U64_MAX if field == "nonce" else 0))
    last = with_account(pending(), "worker", nonce=U64_MAX)
    yield refused(Rejection.OVERFLOW, last, kit.result("worker", U64_MAX, TASK_ID))
    last = with_account(accepted, "client", locked_fees=999)
    yield refused(Rejection.OVERFLOW, last, kit.payment("worker", TASK_ID))
    yield refused(Rejection.OVERFLOW, accepted.with_totals(Totals(locked=999)), kit.payment("worker", TASK_ID))
    yield refused(Rejection.OVERFLOW, last, kit.refund("client", TASK_ID), context=late)
    last = run(State.empty(), kit.deposit("worker", 5, 0)).with_totals(Totals(5, U64_MAX, 0, 1))
    yield refused(Rejection.OVERFLOW, last, kit.registration("worker", stake=1))
    yield refused(Rejection.WRONG_NODE, State.empty(), replace(kit.deposit("a", 5, 0), node=kit.node("b")))
    yield refused(Rejection.WRONG_NODE, accepted, kit.payment("client", TASK_ID))
    yield refused(Rejection.WRONG_NODE, refuted, kit.slash("client", TASK_ID))
    yield refused(Rejection.WRONG_NODE, pending(), kit.refund("worker", TASK_ID), context=late)
    other = replace(kit.registration("worker", 1).payload, public_key=kit.public_key("other"))
    yield refused(Rejection.WRONG_PUBLIC_KEY, funded(), replace(kit.registration("worker"), payload=other))
    yield refused(Rejection.WRONG_AMOUNT, accepted, kit.payment("worker", TASK_ID, 1001))
    yield refused(Rejection.WRONG_AMOUNT, refuted, kit.slash("worker", TASK_ID, 999_999))
    yield refused(Rejection.WRONG_AMOUNT, pending(), kit.refund("client", TASK_ID, 999), context=late)
    for kind in (Kind.INFERENCE, Kind.ZK_PROOF, Kind.SIMULATION):
        yield refused(Rejection.UNSUPPORTED_KIND, funded(), kit.submission("client", kind=kind))
    for mode in (Mode.REDUNDANT, Mode.ZK):
        yield refused(Rejection.UNSUPPORTED_MODE, funded(), kit.submission("client", mode=mode))
    yield refused(Rejection.WRONG_TASK_ID, funded(), replace(kit.submission("client"), task=no_task))
    turned_back = with_account(pending(), "client", nonce=0)
    yield refused(Rejection.TASK_EXISTS, turned_back, kit.submission("client"))
    for record in (kit.result("worker", 1, no_task), kit.sample_proof(0, no_task), kit.vote(0, no_task)):
        yield refused(Rejection.UNKNOWN_TASK, pending(), record)
    for record in (kit.payment("worker", no_task), kit.slash("worker", no_task), kit.refund("client", no_task)):
        yield refused(Rejection.UNKNOWN_TASK, pending(), record)
    yield refused(Rejection.WRONG_STATUS, revealed(), kit.result("worker", 2, TASK_ID))
    for record in (
        kit.sample_proof(0, TASK_ID),
        kit.vote(0, TASK_ID),
        kit.payment("worker", TASK_ID),
        kit.slash("worker", TASK_ID),
    ):
        yield refused(Rejection.WRONG_STATUS, pending(), record)
    yield refused(Rejection.WRONG_STATUS, paid, kit.refund("client", TASK_ID), context=late)
    yield refused(Rejection.WRONG_STATUS, paid, kit.payment("worker", TASK_ID))
    yield refused(
        Rejection.DEADLINE_PASSED, funded(), kit.submission("client", deadline=50), context=kit.context(2, 50)
    )
    yield refused(Rejection.DEADLINE_PASSED, pending(), kit.result("worker", 1, TASK_ID), context=late)
    yield refused(Rejection.DEADLINE_NOT_PASSED, pending(), kit.refund("client", TASK_ID), context=kit.context(2, 100))
    poor = with_account(pending(), "worker", locked_stake=999_999)
    yield refused(Rejection.STAKE_TOO_LOW, poor, kit.result("worker", 1, TASK_ID))
    own = run(pending(), kit.registration("client", nonce=1))
    yield refused(Rejection.WORKER_IS_CLIENT, own, kit.result("client", 2, TASK_ID))
    yield refused(Rejection.WRONG_RESULT_HASH, revealed(), kit.vote(2, TASK_ID, result_hash=kit.filler("other result")))
    for make in (kit.sample_proof, kit.vote):
        yield refused(Rejection.NOT_A_VALIDATOR, revealed(), make(3, TASK_ID))
        yield refused(Rejection.NOT_A_VALIDATOR, revealed(), make(0xFFFF, TASK_ID))
        yield refused(Rejection.NOT_A_VALIDATOR, revealed(), replace(make(0, TASK_ID), node=kit.node("authority 1")))
    yield refused(Rejection.DUPLICATE_VOTE, accepted, kit.vote(0, TASK_ID))
    yield refused(Rejection.DUPLICATE_VOTE, accepted, kit.vote(2, TASK_ID), kit.vote(2, TASK_ID, Vote.REJECT))
    yield refused(Rejection.STALE_VERDICTS, accepted, kit.payment("worker", TASK_ID), context=kit.context(2, 50))
    yield refused(Rejection.STALE_VERDICTS, refuted, kit.slash("worker", TASK_ID), context=kit.context(2, 50))
    yield refused(Rejection.NO_QUORUM, voted(Vote.ACCEPT, Vote.ABSTAIN), kit.payment("worker", TASK_ID))
    yield refused(Rejection.NO_QUORUM, refuted, kit.payment("worker", TASK_ID))
    yield refused(Rejection.NO_QUORUM, accepted, kit.slash("worker", TASK_ID))
    short = replace(FIRST, validator_set=kit.validator_set(2**63, 2**62, 2**62 - 1))
    yield refused(Rejection.NO_QUORUM, revealed(), kit.vote(0, TASK_ID), kit.payment("worker", TASK_ID), context=short)
    yield refused(Rejection.WRONG_INBOX_INDEX, State.empty(), kit.deposit("a", 5, 1))
    yield refused(Rejection.WRONG_INBOX_INDEX, State.empty(), kit.deposit("a", 5, 0), kit.deposit("a", 5, 0))
    for record in (kit.inbox_task("client", 50, 2), withdrawal(2, 5)):
        nothing = replace(record, payload=replace(record.payload, lamports=0))
        yield refused(Rejection.WRONG_INBOX_INDEX, pending(), record, record)
        yield refused(Rejection.ZERO_AMOUNT, funded(), nothing)
        yield refused(Rejection.WRONG_NODE, funded(), replace(record, node=kit.node("worker")))
        yield refused(Rejection.OVERFLOW, with_account(funded(), "client", balance=U64_MAX), record)
        last = funded().with_totals(replace(funded().totals, inbox_cursor=U64_MAX))
        end = replace(record, payload=replace(record.payload, inbox_index=U64_MAX))
        yield refused(Rejection.OVERFLOW, last, end)
    for wrong in (kit.inbox_task_id("client", 3), kit.task_id("client", 0), kit.NO_TASK):
        yield refused(Rejection.WRONG_TASK_ID, funded(), replace(kit.inbox_task("client", 50, 2), task=wrong))


@cache
def neighbours() -> tuple[bytes, bytes, bytes]:
    """Three public keys of 16,384: the two whose account keys share the longest prefix, and the next one to them."""
    made = sorted((account_key(kit.node_id(key)), key) for key in (kit.filler(f"ground {i}") for i in range(16_384)))
    paths = [int.from_bytes(key, "big") for key, _ in made]
    at = min(range(1, len(made) - 1), key=lambda i: paths[i] ^ paths[i + 1])
    return made[at][1], made[at + 1][1], made[at - 1][1]


def raw_deposit(public_key: bytes, lamports: int, inbox_index: int) -> Record:
    payload = EconomicEvent(records.Event.DEPOSIT, lamports=lamports, inbox_index=inbox_index, public_key=public_key)
    return Record(Op.ECONOMIC_EVENT, kit.TIME, kit.node_id(public_key), kit.NO_TASK, payload)


def splits() -> Iterator[Step]:
    """Leaves that come to stand beside each other below long common prefixes."""
    one, two, near = neighbours()
    both = [raw_deposit(one, 5, 0), raw_deposit(two, 6, 1)]
    held = run(State.empty(), *both)
    yield step("a leaf beside a foreign one", run(State.empty(), both[0]), raw_deposit(two, 6, 1))
    yield step(
        "a leaf beside an opened one", run(State.empty(), both[0]), raw_deposit(two, 6, 1), raw_deposit(one, 1, 2)
    )
    yield step("two leaves in an empty subtree", State.empty(), *both)
    yield step("three leaves in an empty subtree", State.empty(), *both, raw_deposit(near, 7, 2))
    yield step(
        "two leaves beside a foreign one",
        run(State.empty(), raw_deposit(near, 7, 0)),
        *(raw_deposit(key, 1, 1 + i) for i, key in enumerate((two, one))),
    )
    yield step("a leaf above a long prefix", held, raw_deposit(near, 7, 2))
    yield step("below a long prefix", held, raw_deposit(two, 7, 2))


def deep(levels: int, count: int, seed: int = 1, epoch: int = 1) -> Step:
    """A step of `count` payments whose leaves stand `levels` levels down in a tree of which nothing but hashes is known.

    Two accounts and a task for each payment, and the totals: with 8 payments 25 leaves.
    """
    random = Random(seed)
    validators = kit.validator_set(*[1] * 256) if levels == 64 else kit.validator_set(100, 100, 100)
    context = replace(FIRST, epoch=epoch, validator_set=validators)
    leaves: dict[bytes, witness._Opened] = {}

    def open_leaf(key: bytes, kind: witness.LeafKind, name: bytes, leaf: witness.Leaf) -> None:
        leaves[key] = witness._Opened(key, kind, name, leaf)

    batch = []
    voters = (1 << len(validators)) - 1
    for index in range(count):
        client, worker, task_id = (
            kit.filler(f"client {index}"),
            kit.filler(f"worker {index}"),
            kit.filler(f"task {index}"),
        )
        for public_key in (client, worker):
            node = kit.node_id(public_key)
            open_leaf(account_key(node), witness.LeafKind.ACCOUNT, node, Account(public_key, locked_fees=1000))
        task = Task(kit.node_id(client), Kind.TRAINING, Mode.REPLAY, TaskStatus.REVEALED, 1000, 77, kit.node_id(worker))
        task = replace(task, result_hash=kit.RESULT_HASH, verdict_epoch=epoch, accept_bitmap=voters)
        open_leaf(task_key(task_id), witness.LeafKind.TASK, task_id, task)
        payment = EconomicEvent(records.Event.PAYMENT, lamports=1000)
        batch.append(Record(Op.ECONOMIC_EVENT, kit.TIME, kit.node_id(worker), task_id, payment))
    open_leaf(witness.TOTALS_KEY, witness.LeafKind.TOTALS, b"", Totals(locked=10_000 * count))
    opened = [leaves[key] for key in sorted(leaves)]
    tokens = bytearray()

    def grow(below: Sequence[witness._Opened], depth: int) -> None:
        paths = [int.from_bytes(entry.key, "big") for entry in below]
        fork = levels if len(below) == 1 else tree.KEY_BITS - (paths[0] ^ paths[-1]).bit_length()
        witness._write_steps(tokens, [random.randbytes(32) for _ in range(depth, fork)])
        if len(below) == 1:
            tokens.append(Token.LEAF)
            return
        tokens.append(Token.FORK)
        right = [entry for entry, path in zip(below, paths, strict=True) if path >> (tree.KEY_BITS - 1 - fork) & 1]
        grow(below[: len(below) - len(right)], fork + 1)
        grow(right, fork + 1)

    grow(opened, 0)
    root = witness._read_tree(witness._Reader(bytes(tokens)), opened, 0)
    after = run(witness._Partial(root, frozenset(leaves)), *batch, context=context)
    table = bytes([len(opened)]) + b"".join(entry.encode() for entry in opened)
    data = b"".join(map(records.encode, batch))
    return Step(
        f"{count} payments {levels} deep", tree.node_hash(root), after.root, data, table + bytes(tokens), context
    )


def lies() -> Iterator[tuple[Verdict, Step]]:
    """Claims that end elsewhere than their records lead."""
    for honest in (
        step("deposit", funded(), kit.deposit("client", 6, 2)),
        step("proof", revealed(), kit.sample_proof(0, TASK_ID)),
    ):
        yield (
            witness.WrongRoot(),
            replace(honest, name=f"a {honest.name} that ends elsewhere", after=kit.filler("elsewhere")),
        )
    idle = step("a deposit that is left out", funded(), kit.deposit("client", 6, 2))
    yield witness.WrongRoot(), replace(idle, after=idle.before)
