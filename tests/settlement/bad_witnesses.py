"""Witnesses that prove nothing: each fault, put together by hand on small states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from settlement import records
from settlement.ledger import Account, State, Totals, tree, witness
from settlement.ledger.leaves import account_key, task_key
from settlement.ledger.witness import Fault, LeafKind, Token
from settlement.records import NetworkState, Op, Record
from tests.settlement import kit, steps
from tests.settlement.steps import FIRST, TASK_ID, Step, step

EMPTY, LEAF, FOREIGN, FORK, STEPS, EMPTY_STEPS = (bytes([token]) for token in Token)


def totals(leaf: Totals | None = Totals()) -> witness._Opened:  # noqa: B008
    return witness._Opened(witness.TOTALS_KEY, LeafKind.TOTALS, b"", leaf)


def account(name: str, leaf: Account | None = None) -> witness._Opened:
    return witness._Opened(account_key(kit.node(name)), LeafKind.ACCOUNT, kit.node(name), leaf)


def assembled(*opened: witness._Opened, tokens: bytes) -> bytes:
    """The leaves in the order of their keys, then the tokens."""
    table = b"".join(entry.encode() for entry in sorted(opened, key=lambda entry: entry.key))
    return bytes([len(opened)]) + table + tokens


def agreement(a: bytes, b: bytes) -> int:
    """Leading bits that two keys have in common."""
    return tree.KEY_BITS - (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_length()


def everything() -> Iterator[tuple[Fault, Step]]:
    """Each fault and what has it."""
    good = step("good", State.empty(), kit.deposit("client", 5, 0))
    assert good.witness == assembled(totals(), account("client"), tokens=LEAF)
    # A record that needs no leaf at all, for witnesses that open too few.
    nothing = NetworkState(1, 1, 1, 1, 1, bytes(32))
    needless = step("needless", State.empty(), Record(Op.NETWORK_STATE, 1, bytes(20), bytes(32), nothing))
    assert needless.witness == assembled(totals(), tokens=LEAF)

    def case(fault: Fault, name: str, data: bytes = good.witness, **changes: bytes) -> tuple[Fault, Step]:
        return fault, replace(good, name=f"{fault.name.lower()}: {name}", witness=data, **changes)

    def cut(name: str, data: bytes) -> tuple[Fault, Step]:
        return Fault.TRUNCATED, replace(needless, name=f"truncated: {name}", witness=data)

    yield case(Fault.RECORD_COUNT, "no record", records=b"")
    yield case(Fault.RECORD_COUNT, "half a record", records=good.records[:80])
    yield case(Fault.RECORD_COUNT, "nine records", records=good.records * 9)
    yield cut("nothing", b"")
    yield cut("within the table", good.witness[:30])
    yield cut("no tokens", good.witness[:-1])
    one = assembled(totals(), tokens=b"")
    yield cut("no count of steps", one + STEPS)
    yield cut("within the siblings", one + STEPS + b"\2" + bytes(63))
    yield cut("after the siblings", one + STEPS + b"\1" + bytes(32))
    yield cut("within a foreign leaf", assembled(account("client"), tokens=FOREIGN + bytes(63)))
    yield case(Fault.TRAILING_BYTES, "one byte more", good.witness + b"\0")
    yield case(Fault.LEAF_COUNT, "no leaf", b"\0" + good.witness[1:])
    yield case(Fault.LEAF_COUNT, "35 leaves", b"\43" + good.witness[1:])
    yield from bad_leaves(needless)
    yield case(Fault.UNSORTED, "a leaf twice", b"\2" + totals().encode() * 2 + LEAF)
    table = sorted((totals(), account("client")), key=lambda entry: entry.key)
    yield case(Fault.UNSORTED, "falling keys", b"\2" + b"".join(entry.encode() for entry in reversed(table)) + LEAF)
    for token in (6, 255):
        yield case(Fault.BAD_TOKEN, str(token), good.witness[:-1] + bytes([token]))
    yield from bad_shapes(needless)
    yield case(Fault.MISSING_LEAF, "the totals", assembled(account("client"), tokens=FOREIGN + foreign()))
    yield case(Fault.MISSING_LEAF, "the account", assembled(totals(), tokens=LEAF))
    yield case(
        Fault.MISSING_LEAF, "totals that are not there", assembled(totals(None), account("client"), tokens=EMPTY)
    )
    submission = step("submission", steps.funded(), kit.submission("client"))
    without = replace(
        submission, witness=witness.build(steps.funded(), [records.encode(kit.withdrawal("client", 0, 1))], FIRST)
    )
    yield Fault.MISSING_LEAF, replace(without, name="missing_leaf: the new task's place")
    yield case(Fault.WRONG_ROOT_BEFORE, "another claim", before=kit.filler("elsewhere"))
    yield case(Fault.WRONG_ROOT_BEFORE, "other totals", assembled(totals(Totals(1)), account("client"), tokens=LEAF))
    deep = assembled(totals(), account("client"), tokens=EMPTY_STEPS + b"\1" + LEAF)
    if agreement(witness.TOTALS_KEY, account_key(kit.node("client"))):
        yield case(Fault.WRONG_ROOT_BEFORE, "a leaf further down", deep)
    # A record that would be rejected proves nothing on a state that is not the claim's.
    poor = step("poor", steps.funded(), kit.withdrawal("client", 0, 10_000_001))
    yield Fault.WRONG_ROOT_BEFORE, replace(poor, name="wrong_root_before: a rejected record", before=kit.filler("x"))
    malformed = step("malformed", steps.funded(), bytes(160))
    yield Fault.WRONG_ROOT_BEFORE, replace(malformed, name="wrong_root_before: no record", before=kit.filler("x"))


def foreign() -> bytes:
    return witness.TOTALS_KEY + witness.value_hash(LeafKind.TOTALS, Totals().encode())


def bad_leaves(good: Step) -> Iterator[tuple[Fault, Step]]:
    for name, entry in (("kind 0", b"\0\1"), ("kind 4", b"\4\1"), ("present 2", b"\3\2" + bytes(32))):
        yield Fault.BAD_LEAF, replace(good, name=f"bad_leaf: {name}", witness=b"\1" + entry + LEAF)
    moved = account("client", Account(kit.public_key("worker")))
    yield Fault.BAD_LEAF, replace(good, name="bad_leaf: an account elsewhere", witness=assembled(moved, tokens=LEAF))
    found = steps.pending().task(TASK_ID)
    assert found is not None
    opened = witness._Opened(task_key(TASK_ID), LeafKind.TASK, TASK_ID, found)
    whole = assembled(opened, tokens=LEAF)
    start = len(whole) - 1 - 195
    for offset, name, last in ((20, "kind", 4), (21, "mode", 4), (22, "status", 6)):
        for value in (0, last + 1):
            data = whole[: start + offset] + bytes([value]) + whole[start + offset + 1 :]
            yield Fault.BAD_LEAF, replace(good, name=f"bad_leaf: {name} {value}", witness=data)
    revealed = steps.voted(records.Verdict.ACCEPT, records.Verdict.ACCEPT)
    task = revealed.task(TASK_ID)
    assert task is not None
    beyond = revealed.with_task(TASK_ID, replace(task, accept_bitmap=0b1011))
    data = witness.build(revealed, [records.encode(kit.payment("worker", TASK_ID))], FIRST)
    at = data.index(task.encode())
    data = data[:at] + replace(task, accept_bitmap=0b1011).encode() + data[at + 195 :]
    payment = records.encode(kit.payment("worker", TASK_ID))
    yield Fault.BAD_LEAF, Step("bad_leaf: a bit beyond the set", beyond.root, beyond.root, payment, data, FIRST)


def bad_shapes(good: Step) -> Iterator[tuple[Fault, Step]]:
    # A name whose key agrees with the totals' in the first bits, so that there are levels above their fork.
    name = next(f"near {i}" for i in range(99) if agreement(account_key(kit.node(f"near {i}")), witness.TOTALS_KEY) > 2)
    near, agreed = account(name), agreement(account_key(kit.node(name)), witness.TOTALS_KEY)
    here = account(name, Account(kit.public_key(name)))
    lone = near.key + kit.filler("value hash")
    off_path = bytes([near.key[0] ^ 0x80]) + near.key[1:] + kit.filler("value hash")
    for why, data in (
        ("nothing where a leaf is", assembled(totals(), near, tokens=EMPTY)),
        ("a foreign leaf where an opened one is", assembled(totals(), near, tokens=FOREIGN + foreign())),
        ("a leaf where none is", assembled(totals(None), near, tokens=LEAF)),
        ("one leaf where two are", assembled(totals(), here, tokens=LEAF)),
        ("a fork where leaves agree", assembled(totals(), near, tokens=FORK + LEAF + EMPTY)),
        ("a fork of one leaf", assembled(totals(), tokens=FORK + LEAF + EMPTY)),
        ("steps past the fork", assembled(totals(), near, tokens=EMPTY_STEPS + bytes([agreed + 1]) + LEAF)),
        ("no steps", assembled(totals(), tokens=EMPTY_STEPS + b"\0" + LEAF)),
        ("no siblings", assembled(totals(), tokens=STEPS + b"\0" + LEAF)),
        ("257 levels", assembled(totals(), tokens=EMPTY_STEPS + b"\xff" + EMPTY_STEPS + b"\2" + LEAF)),
        (
            "a fork below 256 levels",
            assembled(totals(), tokens=EMPTY_STEPS + b"\xff" + EMPTY_STEPS + b"\1" + FORK + LEAF),
        ),
        ("a foreign leaf that is opened", assembled(near, tokens=FOREIGN + lone)),
        ("a foreign leaf off the path", assembled(near, tokens=EMPTY_STEPS + b"\1" + FOREIGN + off_path)),
    ):
        yield Fault.BAD_SHAPE, replace(good, name=f"bad_shape: {why}", witness=data)


def mutations(honest: Step, changes: int, seed: int) -> Iterator[Step]:
    """The step with bytes of its witness flipped, cut out, or put in."""
    random = Random(seed)
    for number in range(changes):
        data = bytearray(honest.witness)
        at = random.randrange(len(data))
        match random.randrange(4):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at] = random.choice([0, 1, 2, 3, 4, 5, 6, 255])
            case 2:
                del data[at : at + random.choice([1, 32, 33])]
            case 3:
                data[at:at] = random.choice([b"\0", b"\3", b"\5\1", b"\4\1" + bytes(32)])
        yield replace(honest, name=f"{honest.name}, mutation {number}", witness=bytes(data))
