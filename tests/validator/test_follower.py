"""Following L1 when it forks, lags, or holds what the rules do not lead to. L1 and sequencer are fakes that serve what each test puts there."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from solders.pubkey import Pubkey

from settlement import pda
from settlement.accounts import CheckpointStatus
from settlement.ledger import Context, Parent, State, batch
from settlement.messages import CheckpointMessage
from settlement.records import Record
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError
from settlement.signing import EMPTY
from tests.settlement import kit
from tests.validator.test_attest import SET
from validator.chain import Chain, Link
from validator.follower import Divergence, Follower
from validator.store import Store

PROGRAM = Pubkey(kit.DOMAIN.program)


def extend(parent: Parent, epoch: int, *deposits: Record, attempt: int = 0) -> tuple[CheckpointMessage, bytes, State]:
    context = Context(kit.DOMAIN, epoch, parent.cut_slot, SET, bytes(pda.treasury(PROGRAM)))
    roots = batch.close(parent.state, deposits, [EMPTY] * len(deposits), context)
    totals = roots.state.totals
    message = CheckpointMessage(
        epoch, attempt, parent.cut_slot + 10, parent.cut_slot + 60, parent.hash, roots.results_root, roots.state.root,
        roots.trace_root, roots.data_root, totals.payable, totals.inbox_cursor, batch.inbox_hash(parent.inbox_hash, deposits),
        SET.hash(kit.DOMAIN),
    )  # fmt: skip
    return message, roots.data, roots.state


class FakeL1AndSequencer:
    """Both sides that a follower asks, in one object; `posted` is what L1 holds at confirmed, `rejected` what fell, `voids` what fell with
    it."""

    def __init__(self) -> None:
        self.posted: dict[int, CheckpointMessage] = {}
        self.blobs: dict[str, bytes] = {}
        self.rejected: set[int] = set()
        self.voids: set[int] = set()
        self.finalized_epoch = 0
        self.program_id = PROGRAM
        self.fetched = 0

    def post(self, message: CheckpointMessage, data: bytes) -> None:
        self.posted = {epoch: old for epoch, old in self.posted.items() if epoch < message.epoch}
        self.posted[message.epoch] = message
        self.blobs[sha256(data).hexdigest()] = data
        self.name = {**getattr(self, "name", {}), message.epoch: sha256(data).hexdigest()}

    def reject(self, epoch: int) -> None:
        """It falls, and all after it with it."""
        self.rejected.add(epoch)
        self.voids |= {one for one in self.posted if one >= epoch}

    def _hash(self, epoch: int) -> bytes:
        return self.posted[epoch].hash(kit.DOMAIN) if epoch else bytes(32)

    async def check_cluster(self, commitment: str) -> Any:
        epoch = max(self.posted.keys() - self.voids, default=0)
        return SimpleNamespace(
            posted=SimpleNamespace(epoch=epoch, hash=self._hash(epoch)),
            is_dead=lambda asked: asked <= self.finalized_epoch or asked in self.voids,
        )

    async def fetch_config(self, commitment: str) -> Any:
        assert commitment == "finalized"
        epoch = self.finalized_epoch
        return SimpleNamespace(finalized=SimpleNamespace(epoch=epoch, hash=self._hash(epoch)))

    async def fetch_checkpoint(self, epoch: int, commitment: str) -> Any:
        message = self.posted.get(epoch)
        if message is None:
            return None
        fields = {name: getattr(message, name) for name in CheckpointMessage.__dataclass_fields__}
        is_final = epoch <= self.finalized_epoch and epoch not in self.voids
        status = CheckpointStatus.FINALIZED if is_final else CheckpointStatus.POSTED
        return SimpleNamespace(
            **fields,
            hash=message.hash(kit.DOMAIN),
            set_version=SET.version,
            status=CheckpointStatus.REJECTED if epoch in self.rejected else status,
            parent_epoch=next((e for e in self.posted if self._hash(e) == message.parent_hash), 0),
        )

    async def fetch_validator_set(self, version: int, commitment: str) -> Any:
        return SimpleNamespace(sealed=True, validator_set=SET, set_hash=SET.hash(kit.DOMAIN))

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        assert method == "getCheckpoint"
        return {"dataSha256": self.name[params["epoch"]]}

    async def get_blob(self, name: str) -> bytes:
        self.fetched += 1
        if name not in self.blobs:
            raise RpcError(Code.NOT_FOUND, "no such blob", {})
        return self.blobs[name]


class Setting:
    def __init__(self, folder: Path) -> None:
        self.fake = FakeL1AndSequencer()
        self.store = Store(folder, kit.DOMAIN)
        self.chain = Chain(self.store.load(), kit.DOMAIN)
        self.follower = Follower(self.fake, self.fake, kit.DOMAIN, self.store, self.chain)  # type: ignore[arg-type]


@pytest.fixture
def setting(tmp_path: Path) -> Any:
    made = Setting(tmp_path)
    yield made
    made.store.close()


GENESIS = Parent.genesis(kit.DOMAIN)
FIRST = extend(GENESIS, 1, kit.deposit("alice", 50_000, 0))
FIRST_AGAIN = extend(GENESIS, 1, kit.deposit("alice", 50_000, 0), kit.deposit("bob", 20_000, 1), attempt=1)
ON_FIRST = Parent.of(FIRST[0], kit.DOMAIN, FIRST[2])
SECOND = extend(ON_FIRST, 2, kit.deposit("carol", 30_000, 1))
THIRD = extend(Parent.of(SECOND[0], kit.DOMAIN, SECOND[2]), 3, kit.deposit("dave", 30_000, 2))
FOURTH = extend(ON_FIRST, 4, kit.deposit("carol", 30_000, 1), kit.deposit("dave", 30_000, 2))


async def test_it_replays_what_is_posted_and_saves_what_is_final(setting: Setting, tmp_path: Path) -> None:
    setting.fake.post(*FIRST[:2])
    setting.fake.post(*SECOND[:2])
    await setting.follower.follow()
    assert setting.chain.head.epoch == 2 and setting.chain.head.state.root == SECOND[0].state_root
    assert setting.store.load().epoch == 0
    setting.fake.finalized_epoch = 1
    await setting.follower.follow()
    assert setting.store.load().state.root == FIRST[0].state_root
    fetched = setting.fake.fetched
    await setting.follower.follow()
    assert setting.fake.fetched == fetched == 2


async def test_what_it_attested_is_not_computed_again(setting: Setting) -> None:
    setting.chain.candidates[FIRST[0].hash(kit.DOMAIN)] = Link(FIRST[0], FIRST[2])
    setting.fake.post(*FIRST[:2])
    await setting.follower.follow()
    assert setting.chain.head.epoch == 1 and setting.fake.fetched == 0


async def test_a_fork_is_followed_to_the_other_side(setting: Setting) -> None:
    for posted in (FIRST, SECOND):
        setting.fake.post(*posted[:2])
    await setting.follower.follow()
    setting.fake.post(*FIRST_AGAIN[:2])
    await setting.follower.follow()
    assert setting.chain.head.epoch == 1 and setting.chain.head.state.root == FIRST_AGAIN[0].state_root
    setting.fake.posted.clear()
    await setting.follower.follow()
    assert setting.chain.head.epoch == 0


async def test_a_batch_that_is_withheld_is_waited_for(setting: Setting) -> None:
    setting.fake.post(*FIRST[:2])
    withheld = setting.fake.blobs.copy()
    setting.fake.blobs.clear()
    await setting.follower.follow()
    assert setting.chain.head.epoch == 0
    setting.fake.blobs.update(withheld)
    await setting.follower.follow()
    assert setting.chain.head.epoch == 1


async def test_a_certified_lie_is_not_taken_over(setting: Setting) -> None:
    """Even a quorum cannot make this validator's copy wrong. It may fall yet: what is needed to prove it wrong is kept."""
    lie = replace(FIRST[0], state_root=b"x" * 32)
    setting.fake.post(lie, FIRST[1])
    for _ in range(2):
        await setting.follower.follow()
        unfollowed = setting.follower.unfollowed
        assert setting.chain.head.epoch == 0 and unfollowed is not None
        assert unfollowed.account.hash == lie.hash(kit.DOMAIN) and unfollowed.data == FIRST[1]
        assert unfollowed.parent.epoch == 0 and "does not lead to what L1 holds: stateRoot is" in unfollowed.reason
    assert setting.fake.fetched == 1


async def test_a_lie_that_is_rejected_is_passed_by(setting: Setting) -> None:
    setting.fake.post(replace(FIRST[0], state_root=b"x" * 32), FIRST[1])
    await setting.follower.follow()
    setting.fake.reject(1)
    await setting.follower.follow()
    assert setting.follower.unfollowed is None and setting.chain.head.epoch == 0
    true = extend(GENESIS, 2, kit.deposit("alice", 50_000, 0))
    setting.fake.post(*true[:2])
    await setting.follower.follow()
    assert setting.chain.head.epoch == 2 and setting.chain.head.state.root == true[0].state_root


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_lie_that_became_final_ends_it(setting: Setting, restarts: bool) -> None:
    setting.fake.post(replace(FIRST[0], state_root=b"x" * 32), FIRST[1])
    if not restarts:
        await setting.follower.follow()
    setting.fake.finalized_epoch = 1
    with pytest.raises(Divergence, match="epoch 1 is final on L1, and the batch of epoch 1 does not lead to"):
        await setting.follower.follow()
    assert setting.chain.head.epoch == setting.store.load().epoch == 0


async def test_bytes_that_are_not_under_the_data_root_prove_nothing(setting: Setting) -> None:
    """The sequencer lies to this validator; the checkpoint may be honest."""
    setting.fake.post(FIRST[0], SECOND[1])
    await setting.follower.follow()
    assert setting.chain.head.epoch == 0
    assert setting.follower.unfollowed is not None and setting.follower.unfollowed.data is None
    setting.fake.post(*FIRST[:2])
    await setting.follower.follow()
    assert setting.chain.head.epoch == 1 and setting.follower.unfollowed is None


@pytest.mark.parametrize("seen", ["not at all", "posted", "rejected", "posted and rejected"])
async def test_the_chain_goes_on_from_the_last_good_one(setting: Setting, seen: str) -> None:
    """Epoch 2 falls and 3 with it; 4 extends 1. Whatever this validator saw of that, and when it started."""
    fake = setting.fake
    for posted in (FIRST, SECOND, THIRD):
        fake.post(*posted[:2])
    if "posted" in seen:
        await setting.follower.follow()
        assert setting.chain.head.epoch == 3
    fake.reject(2)
    if "rejected" in seen:
        await setting.follower.follow()
        assert setting.chain.head.epoch == 1
    fake.post(*FOURTH[:2])
    await setting.follower.follow()
    assert setting.chain.head.epoch == 4 and setting.chain.head.state.root == FOURTH[0].state_root
    assert setting.chain.hash_of(2) is None
    fake.finalized_epoch = 1
    await setting.follower.follow()
    fake.finalized_epoch = 4
    await setting.follower.follow()
    assert setting.store.load().epoch == setting.chain.finalized.epoch == 4


async def test_a_rejection_that_l1_takes_back(setting: Setting) -> None:
    fake = setting.fake
    for posted in (FIRST, SECOND, THIRD):
        fake.post(*posted[:2])
    fake.reject(2)
    fake.post(*FOURTH[:2])
    await setting.follower.follow()
    assert setting.chain.head.epoch == 4
    del fake.posted[4]
    fake.rejected.clear()
    fake.voids.clear()
    await setting.follower.follow()
    assert setting.chain.head.epoch == 3 and setting.chain.head.state.root == THIRD[0].state_root


async def test_accounts_of_rejected_epochs_may_be_closed(setting: Setting) -> None:
    for posted in (FIRST, SECOND, THIRD):
        setting.fake.post(*posted[:2])
    setting.fake.reject(2)
    setting.fake.post(*FOURTH[:2])
    del setting.fake.posted[2], setting.fake.posted[3]
    await setting.follower.follow()
    assert setting.chain.head.epoch == 4


async def test_what_is_live_must_build_on_what_was_final_here(setting: Setting) -> None:
    setting.fake.post(*FIRST[:2])
    setting.fake.finalized_epoch = 1
    await setting.follower.follow()
    setting.fake.rejected, setting.fake.voids, setting.fake.finalized_epoch = {1}, {1}, 0
    setting.fake.post(*extend(GENESIS, 2, kit.deposit("alice", 50_000, 0))[:2])
    with pytest.raises(Divergence, match="epoch 2 on L1 builds on epoch 0, and epoch 1 was final here"):
        await setting.follower.follow()


async def test_what_was_final_here_must_be_final_on_l1(setting: Setting) -> None:
    setting.fake.post(*FIRST[:2])
    setting.fake.finalized_epoch = 1
    await setting.follower.follow()
    setting.fake.post(*FIRST_AGAIN[:2])
    with pytest.raises(Divergence, match="was final here"):
        await setting.follower.follow()


async def test_a_node_that_lags_undoes_nothing_final(setting: Setting) -> None:
    for posted in (FIRST, SECOND):
        setting.fake.post(*posted[:2])
    setting.fake.finalized_epoch = 2
    await setting.follower.follow()
    del setting.fake.posted[2]
    setting.fake.finalized_epoch = 1
    await setting.follower.follow()
    assert setting.chain.finalized.epoch == setting.store.load().epoch == 2
