"""Posting on a real solana-test-validator: two sequencers at once, a node that freezes with a post under way, and one that is killed and
started again on its ledger.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from solders.keypair import Keypair

from sequencer import database as db
from sequencer import epoch_loop, l1_view, poster, service
from sequencer.config import SequencerConfig
from sequencer.l1_port import ClientPort
from sequencer.node import Node
from sequencer.proposals import attestation_key
from sequencer.rows import AttestationRow, EpochRow
from sequencer.store import RocksStore
from settlement.bls import SecretKey
from settlement.client import L1Client
from settlement.errors import L1Error, ProgramError, TransactionError
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from settlement.money import deposit
from tests.real_validator import RealValidator

SOL = 1_000_000_000
LIMIT_SECONDS = 120
FROZEN_SECONDS = 4


@dataclass
class Sequencer:
    """A real node over a real L1, its steps called by hand."""

    node: Node
    port: ClientPort
    secret: SecretKey

    @classmethod
    async def open(cls, client: L1Client, payer: Keypair, folder: Path, secret: SecretKey) -> Sequencer:
        config = SequencerConfig(url=client.url, keypair=folder, data_dir=folder, attestation_grace_seconds=0)
        port = ClientPort(client, payer)
        return cls(await service.make_node(config, db.Database(RocksStore(folder / "store")), port), port, secret)

    async def certify(self) -> EpochRow:
        """An epoch of what is in the inbox, cut and certified."""
        with trio.fail_after(LIMIT_SECONDS):
            while self.node.chain.position.current is None:
                try:
                    await l1_view.poll(self.node, self.port)
                    self.node.open_since = float("-inf")
                    await epoch_loop.cut_if_due(self.node, self.port)
                except L1Error:  # right after `initialize` the Config is not yet there at `finalized`
                    await trio.sleep(0.5)
        row = self.current
        with self.node.database.transaction() as tx:
            tx.put(db.ATTESTATIONS, attestation_key(row, 0), AttestationRow(signature=self.secret.sign(row.hash)))
        assert await poster.step(self.node, self.port)
        return self.current

    @property
    def current(self) -> EpochRow:
        current = self.node.chain.position.current
        assert current is not None
        return current.row

    async def post(self) -> EpochRow:
        """As the loops do it: step by step, whatever L1 says, until it is posted."""
        with trio.fail_after(LIMIT_SECONDS):
            while self.node.chain.position.current is not None:
                try:
                    await l1_view.poll(self.node, self.port)
                    await poster.step(self.node, self.port)
                except L1Error:
                    await trio.sleep(0.5)
        return self.node.chain.position.posted[-1].row


@dataclass
class Setting:
    validator: RealValidator
    client: L1Client
    rich: Keypair
    second: Keypair
    secret: SecretKey


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    authority, rich, second, secret = Keypair(), Keypair(), Keypair(), SecretKey.generate()
    validator = RealValidator(tmp_path, authority.pubkey(), rich.pubkey())
    try:
        await validator.start()
        async with L1Client(validator.url) as client:
            for key in (authority, second):
                await client.request_airdrop(key.pubkey(), 10 * SOL)
            await ensure_initialized(client, authority, rich)
            await register_validator(client, rich, Keypair(), secret, 5_000_000)
            await advance_validator_set(client, rich, authority)
            await deposit(client, rich, SOL)
            yield Setting(validator, client, rich, second, secret)
    finally:
        validator.kill()


@pytest.mark.test_validator
async def test_two_sequencers_a_frozen_node_and_one_that_is_killed(setting: Setting, tmp_path: Path) -> None:
    client, folder, copy = setting.client, tmp_path / "one", tmp_path / "two"
    folder.mkdir()
    one = await Sequencer.open(client, setting.rich, folder, setting.secret)
    first = await one.certify()

    # A second one, started by mistake on a copy of the first one's data.
    one.node.database.close()
    shutil.copytree(folder, copy)
    one = await Sequencer.open(client, setting.rich, folder, setting.secret)
    two = await Sequencer.open(client, setting.second, copy, setting.secret)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.post)
        nursery.start_soon(two.post)
    posted = [s.node.chain.position.posted[0].row for s in (one, two)]
    assert posted[0].hash == posted[1].hash == first.hash
    outcomes = []
    for sequencer, row in zip((one, two), posted, strict=True):
        for sent in row.sent:
            try:
                outcomes.append(await sequencer.port.confirm(sent, True))
            except TransactionError as error:
                assert isinstance(error, ProgramError) and error.name == "EpochPosted"
            break
    assert len(outcomes) == 1, "one of them made the checkpoint"
    checkpoint = await client.fetch_checkpoint(1)
    assert checkpoint is not None and checkpoint.hash == first.hash
    two.node.database.close()

    # The node freezes before it gets the post, and goes on.
    await deposit(client, setting.rich, SOL)
    second = await one.certify()
    setting.validator.freeze()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.post)
        await trio.sleep(FROZEN_SECONDS)
        assert one.node.chain.position.current is not None
        setting.validator.thaw()
    row = one.node.chain.position.posted[-1].row
    assert (row.hash, len(row.sent)) == (second.hash, 1), "the same bytes all the time"

    # The node dies with a post under way, and starts again on its ledger.
    await deposit(client, setting.rich, SOL)
    third = await one.certify()
    sent = await one.port.sign_post(third, 0)
    with one.node.database.transaction() as tx:
        one.node.chain.note_sent(tx, sent)
    with trio.move_on_after(1):
        await one.port.confirm(sent, False)
    setting.validator.kill()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.post)
        await setting.validator.start()
    row = one.node.chain.position.posted[-1].row
    found = await client.fetch_checkpoint(row.epoch)
    assert found is not None and found.hash == row.hash
    assert row.epoch == 3
    one.node.database.close()
