"""Posting and finality against an L1 that forks, lags, lies about expiry, or holds somebody else's checkpoint.

The L1 is a fake behind the node's port: it keeps two views, `confirmed` and `finalized`, and does with a transaction what the test says.
The loops' steps are called by hand, so nothing depends on time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest
import trio
from solders.pubkey import Pubkey

from sequencer import database as db
from sequencer import epoch_loop, finality, l1_view, poster, recovery
from sequencer.blobs import BlobStore
from sequencer.config import SequencerConfig
from sequencer.lifecycle import CheckpointStatus as Stage
from sequencer.node import Node
from sequencer.proposals import attestation_key
from sequencer.rows import AttestationRow, EpochRow, SentRow
from sequencer.tasks import TaskBook
from settlement.accounts import (
    LOCALNET_PROFILE,
    Checkpoint,
    CheckpointStatus,
    Config,
    FinalizedHead,
    InboxEntryAccount,
    InboxHead,
    PostedHead,
    SetAccount,
    SetReference,
)
from settlement.bls import SecretKey
from settlement.errors import AccountMissing, TransactionExpired
from settlement.messages import genesis_inbox_hash, genesis_parent, highest_attempt
from settlement.rpc import Commitment
from settlement.signing import node_id
from settlement.transactions import Confirmed
from settlement.validator_set import ValidatorSet, bitmap_to_bytes
from tests.blank import blank
from tests.sequencer.chain_kit import DOMAIN, TREASURY, Bench, validator_set

ALICE, BOB = b"a" * 32, b"b" * 32
SECRETS = [SecretKey.from_seed(bytes([seed]) * 32) for seed in range(1, 5)]


@dataclass
class FakeL1:
    """`confirmed` and `finalized` are the checkpoints seen at those commitments, by epoch."""

    bench: Bench
    slot_now: int = 100
    finalized_slot: int = 68
    confirmed: dict[int, Checkpoint] = field(default_factory=dict)
    finalized: dict[int, Checkpoint] = field(default_factory=dict)
    finalized_entries: int = 0
    pinned: ValidatorSet = field(default_factory=lambda: validator_set(1))
    lands: bool = True
    says_expired: bool = False
    signed: list[EpochRow | int] = field(default_factory=list)
    confirms: list[tuple[str, bool]] = field(default_factory=list)
    prices: list[int] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    troubles: dict[str, str | None] = field(default_factory=dict)

    program_id = DOMAIN.program
    treasury = TREASURY

    async def genesis_hash(self) -> bytes:
        return DOMAIN.genesis

    async def slot(self, commitment: Commitment) -> int:
        return self.finalized_slot if commitment == "finalized" else self.slot_now

    async def config(self, commitment: Commitment) -> Config:
        seen = self.finalized if commitment == "finalized" else self.confirmed
        head = seen[max(seen)] if seen else None
        done = max((epoch for epoch, c in seen.items() if c.status is CheckpointStatus.FINALIZED), default=0)
        inbox = self.bench.inbox[: self.finalized_entries] if commitment == "finalized" else self.bench.inbox
        reference = SetReference(self.pinned.version, 1, self.pinned.hash(DOMAIN))
        return blank(
            Config,
            genesis_hash=DOMAIN.genesis,
            parameters=LOCALNET_PROFILE,
            inbox=InboxHead(len(inbox), 0, inbox[-1].inbox_hash if inbox else genesis_inbox_hash(DOMAIN)),
            highest_epoch=max(seen, default=0),
            posted=blank(
                PostedHead,
                epoch=max(seen, default=0),
                hash=head.hash if head else genesis_parent(DOMAIN),
                cut_slot=head.cut_slot if head else 0,
                inbox_cursor=head.inbox_cursor if head else 0,
            ),
            finalized=blank(FinalizedHead, epoch=done),
            pinned=reference,
            sealed_before=blank(SetReference),
            sealed_last=reference,
        )

    async def validator_set(self, version: int) -> SetAccount | None:
        return blank(
            SetAccount,
            set_version=version,
            sealed=True,
            sealed_slot=1,
            count=len(self.pinned),
            total_stake_lamports=self.pinned.total_stake,
            set_hash=self.pinned.hash(DOMAIN),
            entries=b"".join(entry.encode() for entry in self.pinned.entries),
        )

    async def checkpoint(self, epoch: int, commitment: Commitment) -> Checkpoint | None:
        return (self.finalized if commitment == "finalized" else self.confirmed).get(epoch)

    async def checkpoint_as_of(self, epoch: int, commitment: Commitment) -> tuple[int, Checkpoint | None]:
        return await self.slot(commitment), await self.checkpoint(epoch, commitment)

    async def recent_prices(self) -> list[int]:
        return self.prices

    async def inbox_entries(self, start: int, end: int) -> tuple[InboxEntryAccount, ...]:
        if end > len(self.bench.inbox):
            raise AccountMissing("inbox", "inbox entry")
        return tuple(
            blank(
                InboxEntryAccount,
                index=r.index,
                slot=r.slot,
                kind=r.kind,
                lamports=r.lamports,
                payload_hash=r.payload_hash,
                beneficiary=Pubkey(r.beneficiary),
                hash_after=r.inbox_hash,
            )
            for r in self.bench.inbox[start:end]
        )

    async def sign_post(self, row: EpochRow, price_micro_lamports: int) -> SentRow:
        self.signed.append(row)
        self.offered.append(price_micro_lamports)
        return SentRow(raw=b"post", signature=f"post-{len(self.signed)}", last_valid_block_height=self.slot_now + 150)

    async def sign_finalize(self, epoch: int, poster: Pubkey) -> SentRow:
        self.signed.append(epoch)
        return SentRow(raw=b"finalize", signature=f"finalize-{epoch}", last_valid_block_height=0)

    async def confirm(self, sent: SentRow, possibly_sent: bool) -> Confirmed:
        self.confirms.append((sent.signature, possibly_sent))
        what = self.signed[int(sent.signature.split("-")[1]) - 1] if sent.raw == b"post" else sent.signature
        if self.lands and isinstance(what, EpochRow):
            self.confirmed.setdefault(what.epoch, landed(what, self.slot_now))
        elif self.lands:
            epoch = int(sent.signature.split("-")[1])
            self.confirmed[epoch] = replace(self.confirmed[epoch], status=CheckpointStatus.FINALIZED)
        if self.says_expired or not self.lands:
            raise TransactionExpired(sent.signature, sent.last_valid_block_height, sent.last_valid_block_height + 1)
        return Confirmed(sent.signature, self.slot_now, 250_000, ())

    def settle(self) -> None:
        """What is confirmed becomes final, as slots pass."""
        self.finalized = dict(self.confirmed)
        self.slot_now += 40
        self.finalized_slot = self.slot_now - 32


def landed(row: EpochRow, slot: int) -> Checkpoint:
    message = {member.name: getattr(row.message, member.name) for member in fields(row.message)}
    of_message = {name: value for name, value in message.items() if name != "set_hash"}
    return blank(
        Checkpoint,
        **of_message,
        hash=row.hash,
        set_version=row.set_version,
        bitmap=bitmap_to_bytes(row.bitmap),
        posted_slot=slot,
        status=CheckpointStatus.POSTED,
    )


@dataclass
class Rig:
    node: Node
    l1: FakeL1
    bench: Bench

    @property
    def current(self) -> EpochRow:
        current = self.node.chain.position.current
        assert current is not None
        return current.row

    async def poll(self) -> None:
        await l1_view.poll(self.node, self.l1)

    async def cut(self) -> EpochRow:
        """Polls L1, and cuts the open batch as if its time were over."""
        await self.poll()
        self.node.open_since = float("-inf")
        assert await epoch_loop.cut_if_due(self.node, self.l1)
        return self.current

    def attest(self, signers: int = 3) -> None:
        row = self.current
        with self.node.database.transaction() as tx:
            for index in range(signers):
                signature = SECRETS[index].sign(row.hash)
                tx.put(db.ATTESTATIONS, attestation_key(row, index), AttestationRow(signature=signature))

    async def step(self) -> bool:
        return await poster.step(self.node, self.l1)

    async def post(self) -> EpochRow:
        """Cuts, attests and posts; the row as posted."""
        await self.cut()
        self.l1.slot_now += 1
        self.attest()
        assert await self.step()
        assert await self.step()
        return self.node.chain.position.posted[-1].row

    def restart(self) -> None:
        """The node as a new process would find it."""
        self.node.chain = recovery.load(self.node.database, DOMAIN)
        self.bench.chain = self.node.chain
        self.node.tasks = TaskBook(row for _, row in self.node.database.scan(db.TASKS))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    bench = Bench.new(tmp_path)
    config = SequencerConfig(url="http://fake", keypair=tmp_path, data_dir=tmp_path, poll_seconds=0.001)
    node = Node(
        config=config,
        database=bench.database,
        chain=bench.chain,
        tasks=TaskBook([]),
        blobs=BlobStore(tmp_path / "blobs"),
        l1_url=config.url,
        unix_time=lambda: 7.0,
        now=trio.current_time,
    )
    bench.deposit(ALICE, 10_000)
    yield Rig(node, FakeL1(bench), bench)
    bench.database.close()


async def test_the_line_from_deposit_to_finality(rig: Rig) -> None:
    row = await rig.post()
    assert (row.status, row.l1_signature, row.compute_units) == (Stage.POSTED, "post-1", 250_000)
    assert rig.l1.confirms == [("post-1", False)]
    await rig.poll()
    assert not await finality.step(rig.node, rig.l1)  # the window runs
    rig.l1.slot_now += LOCALNET_PROFILE.challenge_window_slots + 1
    await rig.poll()
    assert await finality.step(rig.node, rig.l1)
    assert rig.l1.confirmed[1].status is CheckpointStatus.FINALIZED
    await rig.poll()
    assert not await finality.step(rig.node, rig.l1)  # final at `confirmed` is not final
    assert rig.node.chain.position.finalized.epoch == 0
    rig.l1.settle()
    await rig.poll()
    assert await finality.step(rig.node, rig.l1)
    assert rig.node.chain.position.finalized.epoch == 1
    rig.restart()
    assert rig.node.chain.position.finalized.epoch == 1


async def test_an_empty_epoch_is_not_posted(rig: Rig) -> None:
    await rig.post()
    rig.l1.slot_now += 50
    await rig.poll()
    rig.node.open_since = float("-inf")
    assert not await epoch_loop.cut_if_due(rig.node, rig.l1)


async def test_an_expired_post_that_did_land_is_found_and_not_posted_again(rig: Rig) -> None:
    await rig.cut()
    rig.attest()
    await rig.step()
    rig.l1.says_expired = True  # a node that lags or lies
    assert await rig.step()
    assert rig.node.chain.position.posted[0].row.status is Stage.POSTED
    assert len(rig.l1.signed) == 1


async def test_a_post_whose_blockhash_expired_is_signed_anew_and_only_then(rig: Rig) -> None:
    await rig.cut()
    rig.attest()
    await rig.step()
    rig.l1.lands = False
    assert not await rig.step()
    assert [sent.signature for sent in rig.current.sent] == ["post-1"]
    rig.restart()
    rig.l1.lands = True
    assert await rig.step()
    # The stored bytes are followed first; here they land after all.
    assert rig.l1.confirms == [("post-1", False), ("post-1", True)]
    assert len(rig.l1.signed) == 1


async def test_a_dead_transaction_is_followed_by_a_new_one(rig: Rig) -> None:
    await rig.cut()
    rig.attest()
    await rig.step()
    rig.l1.lands = False
    await rig.step()
    await rig.step()
    assert [sent.signature for sent in rig.current.sent] == ["post-1", "post-2"]
    assert rig.l1.confirms == [("post-1", False), ("post-1", True), ("post-2", False)]


async def test_a_crash_after_the_post_finds_the_checkpoint_and_its_transaction(rig: Rig) -> None:
    await rig.cut()
    rig.attest()
    await rig.step()
    sent = await rig.l1.sign_post(rig.current, 0)
    with rig.node.database.transaction() as tx:
        rig.node.chain.note_sent(tx, sent)
    await rig.l1.confirm(sent, False)
    rig.restart()
    assert await rig.step()
    row = rig.node.chain.position.posted[0].row
    assert (row.l1_signature, row.compute_units) == ("post-1", 250_000)
    assert len(rig.l1.signed) == 1


async def test_no_quorum_means_no_post_and_a_new_attempt_only_when_the_old_one_is_dead(rig: Rig) -> None:
    first = await rig.cut()
    rig.attest(1)
    assert not await rig.step()
    rig.bench.submit(ALICE, 100)
    rig.l1.slot_now = first.expiry_slot + 20
    rig.l1.finalized_slot = first.expiry_slot
    await rig.poll()
    assert not await rig.step()  # it may still land on a fork that wins
    assert rig.node.lag() is not None
    rig.l1.finalized_slot = first.expiry_slot + 1
    await rig.poll()
    assert await rig.step()
    assert rig.node.chain.position.current is None
    rig.restart()
    second = await rig.cut()
    assert (second.epoch, second.records) == (1, 2)
    assert second.attempt == highest_attempt(0, second.cut_slot), (
        "validators may have signed other attempts than this one"
    )
    assert second.cut_slot > first.expiry_slot
    rig.attest(2)
    rig.node.quorum_since = float("-inf")
    assert await rig.step()
    assert await rig.step()
    assert rig.node.chain.position.posted[0].row.bitmap == 0b11


async def test_an_attempt_that_landed_late_is_not_given_up(rig: Rig) -> None:
    row = await rig.cut()
    rig.attest()
    await rig.step()
    rig.l1.confirmed[1] = landed(rig.current, row.expiry_slot)
    rig.l1.slot_now, rig.l1.finalized_slot = row.expiry_slot + 60, row.expiry_slot + 28
    await rig.poll()
    assert await rig.step()
    assert rig.node.chain.position.posted[0].row.attempt == 0


async def test_a_fork_takes_confirmed_posts_back_and_they_are_posted_again(rig: Rig) -> None:
    first = await rig.post()
    rig.bench.submit(ALICE, 100)
    second = await rig.post()
    assert second.parent_hash == first.hash
    del rig.l1.confirmed[2], rig.l1.confirmed[1]
    rig.l1.slot_now += 1
    await rig.poll()
    assert rig.node.chain.position.current is None  # one look may come from a node that lags
    await rig.poll()
    assert rig.current.epoch == 1
    assert rig.current.status is Stage.POSTING
    rig.restart()
    assert await rig.step()
    assert rig.l1.confirmed[1].hash == first.hash
    assert await rig.step()
    assert rig.l1.confirmed[2].hash == second.hash
    assert [flight.row.epoch for flight in rig.node.chain.position.posted] == [1, 2]


async def test_posts_that_l1s_nodes_bring_back_by_themselves_are_found(rig: Rig) -> None:
    """After a fork the leaders' nodes send the old transactions again; the sequencer need not even be there."""
    await rig.post()
    rig.bench.submit(ALICE, 100)
    await rig.post()
    kept = dict(rig.l1.confirmed)
    rig.l1.confirmed.clear()
    await rig.poll()
    await rig.poll()
    rig.l1.confirmed.update(kept)
    sent = len(rig.l1.signed)
    await rig.poll()
    assert await rig.step()
    assert await rig.step()
    assert [flight.row.epoch for flight in rig.node.chain.position.posted] == [1, 2]
    assert len(rig.l1.signed) == sent
    assert rig.node.lag() is None


async def test_an_epoch_that_a_fork_dropped_for_good_takes_its_next_attempt_and_so_does_its_child(rig: Rig) -> None:
    first = await rig.post()
    rig.bench.submit(ALICE, 100)
    second = await rig.post()
    rig.l1.confirmed.clear()
    await rig.poll()
    await rig.poll()
    rig.l1.lands = False
    rig.l1.slot_now, rig.l1.finalized_slot = second.expiry_slot + 40, first.expiry_slot + 1
    await rig.poll()
    assert await rig.step()
    assert rig.node.chain.position.in_flight == ()
    rig.l1.lands = True
    again = await rig.post()
    assert (again.epoch, again.attempt, again.seqs) == (1, 1, second.seqs)
    rig.bench.submit(ALICE, 5)
    await rig.poll()
    rig.node.open_since = float("-inf")
    assert not await epoch_loop.cut_if_due(rig.node, rig.l1), (
        "the first attempt of epoch 2 may still land, as far as anybody knows"
    )
    rig.l1.finalized_slot = second.expiry_slot + 1
    await rig.poll()
    assert not await epoch_loop.cut_if_due(rig.node, rig.l1), (
        "the parent is so new that time does not allow attempt 1 yet"
    )
    rig.l1.slot_now += 1
    third = await rig.post()
    assert (third.epoch, third.attempt, third.parent_hash) == (2, 1, again.hash)


async def test_a_fork_takes_deposits_back_and_what_rested_on_them_waits(rig: Rig) -> None:
    await rig.poll()
    rig.bench.deposit(BOB, 500)
    await rig.poll()
    group = rig.bench.submit(BOB, 300)
    replaced = Bench(rig.node.database, rig.node.chain, [rig.bench.inbox[0]])
    replaced.deposit(ALICE, 1)  # another entry at the same index
    rig.bench.inbox[:] = replaced.inbox
    await rig.poll()
    assert rig.node.state.account(node_id(BOB)) is None
    assert [g.seq for g in rig.node.chain.position.waiting] == [group.seq]
    assert rig.node.state.totals.inbox_cursor == 2
    rig.bench.deposit(BOB, 500)
    await rig.poll()
    assert rig.node.state.task(group.task_id) is not None
    rig.bench.check_restart()


async def test_a_fork_that_became_final_while_the_node_was_down_is_found_all_the_same(rig: Rig) -> None:
    await rig.poll()
    replaced = Bench(rig.node.database, rig.node.chain, [])
    replaced.deposit(BOB, 77)
    rig.bench.inbox[:] = replaced.inbox
    rig.l1.finalized_entries = 1
    rig.restart()
    await rig.poll()
    assert rig.node.state.account(node_id(ALICE)) is None
    account = rig.node.state.account(node_id(BOB))
    assert account is not None
    assert account.balance == 77
    assert rig.node.verified_cursor is None
    await rig.poll()
    assert rig.node.verified_cursor == 1


async def test_a_foreign_checkpoint_raises_an_alarm_and_nothing_is_posted_over_it(rig: Rig) -> None:
    await rig.cut()
    rig.attest()
    await rig.step()
    rig.l1.confirmed[1] = replace(landed(rig.current, 101), hash=b"f" * 32)
    assert not await rig.step()
    assert rig.l1.signed == []
    assert "another checkpoint" in (rig.node.lag() or "")


async def test_the_next_epoch_waits_until_l1_shows_its_parent(rig: Rig) -> None:
    await rig.post()
    rig.bench.submit(ALICE, 100)
    rig.node.open_since = float("-inf")
    assert rig.node.view.config is not None
    assert rig.node.view.config.posted.epoch == 0
    assert not await epoch_loop.cut_if_due(rig.node, rig.l1)
    await rig.poll()
    assert await epoch_loop.cut_if_due(rig.node, rig.l1)


async def test_a_newly_pinned_set_is_taken_before_the_cut(rig: Rig) -> None:
    rig.l1.pinned = validator_set(2, 4)
    row = await rig.cut()
    assert row.set_version == 2
    assert row.set_hash == rig.l1.pinned.hash(DOMAIN)


async def test_a_lying_inbox_is_not_taken(rig: Rig) -> None:
    rig.bench.deposit(BOB, 500)
    rig.bench.inbox[1] = rig.bench.inbox[1].__class__(
        **{name: getattr(rig.bench.inbox[1], name) for name in rig.bench.inbox[1].__struct_fields__} | {"lamports": 900}
    )
    await rig.poll()
    assert rig.node.state.totals.inbox_cursor == 1
    assert rig.node.state.account(node_id(BOB)) is None
