"""The validator's own copy of L2: what was final is on disk, what was not is cut back when L1 says otherwise."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from settlement import durable
from settlement.ledger import Account, State, Task, TaskStatus
from settlement.messages import CheckpointMessage
from settlement.records import Kind, Mode, Reason, Verdict
from settlement.signing import Domain
from tests.settlement import kit
from validator.chain import Chain, Link
from validator.claim import Judgement
from validator.slashing_protection import SlashingProtection
from validator.store import Store, StoreError
from validator.verdicts import Verdicts

BLANK = CheckpointMessage(1, 0, 1, 2, *[bytes(32)] * 5, 0, 0, bytes(32), bytes(32))


def next_link(link: Link, **accounts: int) -> Link:
    """A link that extends `link` with these balances; only what chain and store look at is real."""
    state: State = link.state
    for name, lamports in accounts.items():
        state = state.with_account(Account(kit.public_key(name), lamports))
    parent = link.parent(kit.DOMAIN)
    message = replace(
        BLANK,
        epoch=link.epoch + 1,
        cut_slot=parent.cut_slot + 1,
        expiry_slot=99,
        parent_hash=parent.hash,
        state_root=state.root,
    )
    return Link(message, state)


def links() -> list[Link]:
    first = next_link(Link.genesis(), alice=5, bob=7)
    second = next_link(first, alice=4, carol=1)
    return [Link.genesis(), first, second, next_link(second, bob=1)]


def test_the_finalized_state_is_there_after_a_restart(tmp_path: Path) -> None:
    _, first, second, third = links()
    store = Store(tmp_path, kit.DOMAIN)
    assert store.load().epoch == 0
    store.save(first)
    store.save(third)
    store.close()
    store = Store(tmp_path, kit.DOMAIN)
    loaded = store.load()
    store.close()
    assert loaded.message == third.message and loaded.state.root == third.state.root
    assert list(loaded.state.leaves()) == list(third.state.leaves())
    assert second.epoch == 2


def test_another_chain_or_a_damaged_leaf_is_refused(tmp_path: Path) -> None:
    _, first, *_ = links()
    store = Store(tmp_path, kit.DOMAIN)
    store.save(first)
    store.close()
    other = Store(tmp_path, Domain(b"x" * 32, kit.DOMAIN.program))
    with pytest.raises(StoreError, match="another chain: genesis"):
        other.load()
    other.close()

    raw = Rdict(str(tmp_path), Options(raw_mode=True))
    key, value = next((k, v) for k, v in raw.items(from_key=b"leaf/") if v[:1] == b"a")
    raw[key] = value[:33] + bytes([value[33] ^ 1]) + value[34:]
    raw.close()
    store = Store(tmp_path, kit.DOMAIN)
    with pytest.raises(StoreError, match=r"damaged.*remove it to follow L1 anew"):
        store.load()
    store.close()


@pytest.mark.parametrize("at", [0, 31, 32, 60, -1])
def test_a_damaged_checkpoint_is_found_by_its_checksum(tmp_path: Path, at: int) -> None:
    _, first, *_ = links()
    store = Store(tmp_path, kit.DOMAIN)
    store.save(first)
    store.close()
    raw = Rdict(str(tmp_path), Options(raw_mode=True))
    head = bytearray(raw[b"head"])
    head[at] ^= 1
    raw[b"head"] = bytes(head)
    raw.close()
    store = Store(tmp_path, kit.DOMAIN)
    with pytest.raises(StoreError, match="does not have its checksum"):
        store.load()
    store.close()


def test_a_store_in_use_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path, kit.DOMAIN)
    with pytest.raises(StoreError, match="in use by another process"):
        Store(tmp_path, kit.DOMAIN)
    store.close()


def test_a_kill_around_every_commit_leaves_what_was_or_what_is(tmp_path: Path) -> None:
    """Images of the folder, as a killed process would leave it, before and after each commit of all three databases."""
    _, first, second, _ = links()
    folder = tmp_path / "data"
    said = Judgement(Verdict.ACCEPT, Reason.NONE, (0, 3), 16, 990_000)
    store, verdicts = Store(folder / "state", kit.DOMAIN), Verdicts(folder / "verdicts.sqlite")
    protection = SlashingProtection(folder / "protection.sqlite", kit.DOMAIN, bytes(48))
    images: list[tuple[str, str]] = []

    def photograph(point: str, path: Path) -> None:
        images.append((point, path.name))
        shutil.copytree(folder, tmp_path / f"image-{len(images) - 1}")

    before = durable.set_hook(photograph)
    try:
        store.save(first)
        verdicts.put(b"t", b"r", b"c", said)
        protection.record(1, 0, b"1" * 32, 9)
        store.save(second)
        protection.record(2, 0, b"2" * 32, 9)
    finally:
        durable.set_hook(before)
    for opened in (store, verdicts, protection):
        opened.close()
    assert len(images) == 10
    found = []
    for index in range(len(images)):
        image = tmp_path / f"image-{index}"
        store, verdicts = Store(image / "state", kit.DOMAIN), Verdicts(image / "verdicts.sqlite")
        protection = SlashingProtection(image / "protection.sqlite", kit.DOMAIN, bytes(48))
        vote = protection.last()
        found.append((store.load().epoch, len(verdicts), vote.epoch if vote else 0))
        for opened in (store, verdicts, protection):
            opened.close()
    done = [(1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 1), (2, 1, 2)]
    assert found == [pair for ends in zip([(0, 0, 0), *done], done, strict=False) for pair in ends]


FULL_DISK = """
import resource, sys
from pathlib import Path
from settlement.records import Kind, Mode, Reason, Verdict
from settlement.signing import Domain
from tests.settlement import kit
from tests.validator.test_chain_store import links
from validator.claim import Judgement
from validator.slashing_protection import ProtectionUnwritable, SlashingProtection
from validator.store import Store, StoreUnwritable
from validator.verdicts import Verdicts, VerdictsUnwritable

def refused(kind, call, *arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, -1))
    try:
        call(*arguments)
    except kind:
        return
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    raise AssertionError(f"{call} was not refused")

folder = Path(sys.argv[1])
_, first, second, third = links()
store = Store(folder / "state", kit.DOMAIN)
store.load()
store.save(first)
refused(StoreUnwritable, store.save, second)
store.save(third)
store.close()
store = Store(folder / "state", kit.DOMAIN)
assert store.load().message == third.message
store.close()

verdicts = Verdicts(folder / "verdicts.sqlite")
said = Judgement(Verdict.ACCEPT, Reason.NONE, (0, 3), 16, 990_000)
refused(VerdictsUnwritable, verdicts.put, b"t", b"r", b"c", said)
assert len(verdicts) == 0
verdicts.put(b"t", b"r", b"c", said)
assert len(verdicts) == 1
verdicts.close()

with SlashingProtection(folder / "protection.sqlite", kit.DOMAIN, bytes(48)) as protection:
    refused(ProtectionUnwritable, protection.record, 1, 0, bytes(32), 9)
    assert protection.last() is None
    protection.record(1, 0, b"1" * 32, 9)
    assert protection.last().digest == b"1" * 32
"""


def test_a_full_disk_refuses_all_three_and_room_makes_them_go_on(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_judgements_of_settled_tasks_are_forgotten_with_finality(tmp_path: Path) -> None:
    said = Judgement(Verdict.ACCEPT, Reason.NONE, (0, 3), 16, 990_000)
    verdicts = Verdicts(tmp_path / "verdicts.sqlite")
    state = State.empty()
    for name, status in (("paid", TaskStatus.PAID), ("refunded", TaskStatus.REFUNDED), ("open", TaskStatus.REVEALED)):
        task_id = name.ljust(32).encode()
        verdicts.put(task_id, b"r", b"c", said)
        state = state.with_task(task_id, Task(bytes(20), Kind.TRAINING, Mode.REPLAY, status, 1, 9))
    verdicts.put(b"unknown".ljust(32), b"r", b"c", said)
    assert verdicts.forget_settled(state) == 2
    assert {task_id.strip() for task_id, _ in verdicts} == {b"open", b"unknown"}
    assert verdicts.forget_settled(state) == 0
    verdicts.close()


def test_links_are_appended_cut_back_and_finalized_in_order() -> None:
    genesis, first, second, third = links()
    chain = Chain(genesis, kit.DOMAIN)
    with pytest.raises(ValueError, match="does not extend"):
        chain.append(second)
    for link in (first, second, third):
        chain.append(link)
    assert chain.head is third and chain.hash_of(2) == third.message.parent_hash  # type: ignore[union-attr]
    chain.cut_back_to(1)
    assert chain.head is first and chain.hash_of(2) is None
    other = next_link(first, dave=9)
    chain.append(other)
    assert chain.finalize(1) is first and chain.finalize(2) is other
    with pytest.raises(ValueError, match="is final"):
        chain.cut_back_to(1)
    with pytest.raises(ValueError, match="not here"):
        chain.finalize(3)


def test_candidates_of_settled_epochs_are_dropped() -> None:
    genesis, first, second, _ = links()
    chain = Chain(genesis, kit.DOMAIN)
    chain.candidates = {b"1": first, b"2": second}
    chain.append(first)
    assert list(chain.candidates) == [b"2"]


def test_verdicts_survive_and_the_last_one_counts(tmp_path: Path) -> None:
    said = Judgement(Verdict.ACCEPT, Reason.NONE, (0, 3), 16, 990_000)
    again = replace(said, verdict=Verdict.REJECT, reason=Reason.WRONG_STATE, disputed=3, detail="x")
    verdicts = Verdicts(tmp_path / "verdicts.sqlite")
    verdicts.put(b"t", b"r", b"c", said)
    verdicts.put(b"t", b"r", b"c", again)
    verdicts.close()
    verdicts = Verdicts(tmp_path / "verdicts.sqlite")
    assert verdicts[(b"t", b"r")] == again == verdicts.on(b"t", b"r", b"c")
    assert verdicts.on(b"t", b"r", b"another commitment") is None
    assert dict(verdicts) == {(b"t", b"r"): again} and len(verdicts) == 1
    assert verdicts.get((b"t", b"other")) is None
    assert json.loads(json.dumps(again.to_json())) == again.to_json()
    verdicts.close()
