"""Follows L1: replays every posted batch on the validator's own state, and saves what L1 has made final.

A batch comes from the sequencer's blobs, but what it must lead to is the Checkpoint account on L1, and the rules are applied in full: a quorum
cannot make this validator take an invalid batch.
"""

import structlog
import trio

from settlement import pda
from settlement.accounts import Checkpoint, Config
from settlement.client import L1Client
from settlement.ledger import BatchError, Context, check_batch
from settlement.messages import CheckpointMessage
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.signing import Domain
from settlement.validator_set import ValidatorSet
from validator.chain import Chain, Link
from validator.store import Store


class Divergence(Exception):
    """L1 holds a checkpoint that the rules do not lead to, or contradicts what was final here. Never waited out: a person must look."""


class Follower:
    def __init__(self, l1: L1Client, sequencer: SequencerClient, domain: Domain, store: Store, chain: Chain) -> None:
        self._l1, self._sequencer, self._domain = l1, sequencer, domain
        self._store, self.chain = store, chain
        self._sets: dict[int, ValidatorSet] = {}
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(room="validator")

    @property
    def treasury(self) -> bytes:
        return bytes(pda.treasury(self._l1.program_id))

    async def set_of(self, version: int) -> ValidatorSet:
        """A sealed validator set, read from L1 itself."""
        if version not in self._sets:
            account = await self._l1.fetch_validator_set(version, "confirmed")
            if account is None or not account.sealed:
                raise Divergence(f"L1 names validator set {version}, but holds no such sealed set")
            validators = account.validator_set
            if validators.hash(self._domain) != account.set_hash:
                raise Divergence(f"the entries of validator set {version} on L1 do not have its hash")
            self._sets = {version: validators, **dict(list(self._sets.items())[:7])}
        return self._sets[version]

    async def context(self, epoch: int, version: int) -> Context:
        """What the batch of an epoch, cut for set `version`, is applied in, on the chain's head."""
        parent = self.chain.head.parent(self._domain)
        return Context(self._domain, epoch, parent.cut_slot, await self.set_of(version), self.treasury)

    async def follow(self) -> Config:
        """Brings the chain to L1's posted head and the store to its finalized one. The Config as read at `confirmed`.

        Divergence when L1 and the rules disagree. When the sequencer does not have a batch (yet), the chain stays behind.
        """
        config = await self._l1.check_cluster(commitment="confirmed")
        chain = self.chain
        if config.posted.epoch < chain.finalized.epoch:
            return config  # a node that lags behind what we have seen final
        if chain.hash_of(config.posted.epoch) != config.posted.hash or chain.head.epoch != config.posted.epoch:
            await self._catch_up(config)
        finalized = (await self._l1.fetch_config("finalized")).finalized
        if chain.finalized.epoch < finalized.epoch <= chain.head.epoch:
            if chain.hash_of(finalized.epoch) != finalized.hash:
                raise Divergence(f"epoch {finalized.epoch} is final as {finalized.hash.hex()} on L1, another one here")
            await trio.to_thread.run_sync(self._store.save, chain.finalize(finalized.epoch))
        return config

    async def _catch_up(self, config: Config) -> None:
        for epoch in range(self.chain.finalized.epoch, config.posted.epoch + 1):
            if epoch == 0:
                continue
            account = await self._l1.fetch_checkpoint(epoch, "confirmed")
            if account is None:
                return  # L1 moved between two reads; the next turn sees it whole
            if self.chain.hash_of(epoch) == account.hash:
                continue
            if epoch == self.chain.finalized.epoch:
                raise Divergence(f"epoch {epoch} is {account.hash.hex()} on L1, and was final here as another one")
            self.chain.cut_back_to(epoch - 1)
            link = self.chain.candidates.get(account.hash) or await self._replay(account)
            if link is None:
                return
            self.chain.append(link)
            self._log.info("followed", epoch=epoch, hash=account.hash.hex())
        self.chain.cut_back_to(config.posted.epoch)

    async def _replay(self, account: Checkpoint) -> Link | None:
        context = await self.context(account.epoch, account.set_version)
        message = CheckpointMessage(
            epoch=account.epoch,
            attempt=account.attempt,
            cut_slot=account.cut_slot,
            expiry_slot=account.expiry_slot,
            parent_hash=account.parent_hash,
            results_root=account.results_root,
            state_root=account.state_root,
            trace_root=account.trace_root,
            data_root=account.data_root,
            payable_total=account.payable_total,
            inbox_cursor=account.inbox_cursor,
            inbox_hash=account.inbox_hash,
            set_hash=context.validator_set.hash(self._domain),
        )
        if message.hash(self._domain) != account.hash:
            raise Divergence(f"the fields of epoch {account.epoch} on L1 do not have its hash {account.hash.hex()}")
        try:
            named = await self._sequencer.call("getCheckpoint", {"epoch": account.epoch})
            data = await self._sequencer.get_blob(named["dataSha256"])
        except RpcError as error:
            if error.code != Code.NOT_FOUND:
                raise
            self._log.warning("a posted batch is not to be had", epoch=account.epoch, error=str(error))
            return None
        parent = self.chain.head.parent(self._domain)
        try:
            roots = await trio.to_thread.run_sync(check_batch, parent, message, data, context)
        except (BatchError, ValueError) as error:
            raise Divergence(f"the batch of epoch {account.epoch} does not lead to what L1 holds: {error}") from error
        return Link(message, roots.state)
