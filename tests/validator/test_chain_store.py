"""The validator's own copy of L2: what was final is on disk, what was not is cut back when L1 says otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from settlement.ledger import Account, State
from settlement.messages import CheckpointMessage
from settlement.records import Reason, Verdict
from settlement.signing import Domain
from tests.settlement import kit
from validator.chain import Chain, Link
from validator.claim import Judgement
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
    genesis, first, second, third = links()
    store = Store(tmp_path, kit.DOMAIN)
    assert store.load().epoch == 0
    store.save(genesis, first)
    store.save(first, third)
    store.close()
    store = Store(tmp_path, kit.DOMAIN)
    loaded = store.load()
    store.close()
    assert loaded.message == third.message and loaded.state.root == third.state.root
    assert list(loaded.state.leaves()) == list(third.state.leaves())
    assert second.epoch == 2


def test_another_chain_or_a_damaged_leaf_is_refused(tmp_path: Path) -> None:
    genesis, first, *_ = links()
    store = Store(tmp_path, kit.DOMAIN)
    store.save(genesis, first)
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
    with pytest.raises(StoreError, match="damaged"):
        store.load()
    store.close()


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
