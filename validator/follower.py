"""Follows L1: replays every posted batch on the validator's own state, and saves what L1 has made final.

A batch comes from the sequencer's blobs, but what it must lead to is the Checkpoint account on L1, and the rules are applied in full: a quorum
cannot make this validator take an invalid batch. What was rejected, or built on that, is left out: links follow each other by parent hash.
"""

from dataclasses import dataclass

import structlog
import trio

from settlement import merkle, pda
from settlement.accounts import Checkpoint, CheckpointStatus, Config
from settlement.challenge_filing import message_of
from settlement.client import L1Client
from settlement.ledger import BatchError, BatchRoots, Context, batch, check_batch
from settlement.messages import CheckpointMessage
from settlement.sequencer_client import SequencerClient, SequencerError, WrongChain
from settlement.signing import Domain
from settlement.validator_set import ValidatorSet
from validator.batches import Batches
from validator.chain import Chain, Link
from validator.store import Store


class Divergence(Exception):
    """L1 has made final what the rules do not lead to, or contradicts what was final here. Never waited out: a person must look."""


@dataclass(frozen=True)
class Unfollowed:
    """The live checkpoint on L1 that the chain stops before, and why. `data` is None when its batch is not to be had; otherwise they are the
    bytes under its data root, and on `parent` the rules do not lead from them to what L1 holds: it can be proved wrong there."""

    account: Checkpoint
    parent: Link
    context: Context
    data: bytes | None
    reason: str


class Follower:
    def __init__(
        self,
        l1: L1Client,
        sequencer: SequencerClient,
        domain: Domain,
        store: Store,
        chain: Chain,
        batches: Batches | None = None,
    ) -> None:
        self._l1, self._sequencer, self._domain = l1, sequencer, domain
        self.batches = batches
        self._store, self.chain = store, chain
        self.unfollowed: Unfollowed | None = None
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

        The chain stays behind where `unfollowed` says why: the sequencer does not have a batch (yet), or the checkpoint is false and not
        final. Divergence when it became final all the same, or L1 contradicts what was final here.
        """
        config = await self._l1.check_cluster(commitment="confirmed")
        chain = self.chain
        if config.posted.epoch < chain.finalized.epoch:
            return config  # a node that lags behind what we have seen final
        if chain.hash_of(config.posted.epoch) != config.posted.hash or chain.head.epoch != config.posted.epoch:
            await self._catch_up(config)
        else:
            self.unfollowed = None
        finalized = (await self._l1.fetch_config("finalized")).finalized
        await self._check_false_is_not_final(finalized.epoch)
        if chain.finalized.epoch < finalized.epoch <= chain.head.epoch:
            if chain.hash_of(finalized.epoch) != finalized.hash:
                raise Divergence(f"epoch {finalized.epoch} is final as {finalized.hash.hex()} on L1, another one here")
            await trio.to_thread.run_sync(self._store.save, chain.finalize(finalized.epoch))
        return config

    async def _catch_up(self, config: Config) -> None:
        before, self.unfollowed = self.unfollowed, None
        for epoch in range(max(self.chain.finalized.epoch, 1), config.posted.epoch + 1):
            account = await self._l1.fetch_checkpoint(epoch, "confirmed")
            if account is None or self.chain.hash_of(epoch) == account.hash:
                continue  # closed since, and what follows says whether it is missed; or here already
            if epoch == self.chain.finalized.epoch:
                raise Divergence(f"epoch {epoch} is {account.hash.hex()} on L1, and was final here as another one")
            if _is_dead(account, config):
                continue
            if not self._go_back_to_parent(account):
                return  # L1 moved between two reads; the next turn sees it whole
            if before is not None and before.data is not None and before.account.hash == account.hash:
                self.unfollowed = before
                return
            link = self.chain.candidates.get(account.hash) or await self._replay(account)
            if link is None:
                return
            self.chain.append(link)
            self._log.info("followed", epoch=epoch, hash=account.hash.hex())
        self.chain.cut_back_to(config.posted.epoch)

    def _go_back_to_parent(self, account: Checkpoint) -> bool:
        """Whether the chain's head is what the checkpoint extends, once the links after that are gone."""
        final_epoch = self.chain.finalized.epoch
        if account.parent_epoch < final_epoch:
            raise Divergence(
                f"epoch {account.epoch} on L1 builds on epoch {account.parent_epoch}, and epoch {final_epoch} was final here"
            )
        self.chain.cut_back_to(account.parent_epoch)
        return self.chain.head.parent(self._domain).hash == account.parent_hash

    async def _check_false_is_not_final(self, final_epoch: int) -> None:
        false = self.unfollowed
        if false is None or false.data is None or final_epoch < false.account.epoch:
            return
        account = await self._l1.fetch_checkpoint(false.account.epoch, "finalized")
        if account is not None and (account.hash, account.status) == (false.account.hash, CheckpointStatus.FINALIZED):
            raise Divergence(f"epoch {account.epoch} is final on L1, and {false.reason}")

    async def _replay(self, account: Checkpoint) -> Link | None:
        context, parent = await self.context(account.epoch, account.set_version), self.chain.head
        message = message_of(account, context.validator_set.hash(self._domain))
        if message.hash(self._domain) != account.hash:
            raise Divergence(f"the fields of epoch {account.epoch} on L1 do not have its hash {account.hash.hex()}")
        data = await self._batch_of(account)
        if data is None:
            reason = f"the batch of epoch {account.epoch} is not to be had"
            self.unfollowed = Unfollowed(account, parent, context, None, reason)
            return None
        try:
            roots = await trio.to_thread.run_sync(check_batch, parent.parent(self._domain), message, data, context)
        except (BatchError, ValueError) as error:
            reason = f"the batch of epoch {account.epoch} does not lead to what L1 holds: {error}"
            self._log.error("a posted checkpoint is false", epoch=account.epoch, reason=reason)
            self.unfollowed = Unfollowed(account, parent, context, data, reason)
            return None
        await self.keep(message, roots)
        return Link(message, roots.state)

    async def keep(self, message: CheckpointMessage, roots: BatchRoots) -> None:
        """Keeps a batch that was checked, for whoever demands to see it. BatchesUnwritable when the disk refuses."""
        if self.batches is not None:
            digest = message.hash(self._domain)
            await trio.to_thread.run_sync(self.batches.keep, message.epoch, digest, roots.data, roots.trace)

    async def _batch_of(self, account: Checkpoint) -> bytes | None:
        """The bytes under the checkpoint's data root, None when they are neither here nor at the sequencer's."""
        kept = None if self.batches is None else await trio.to_thread.run_sync(self.batches.of, account.hash)
        if kept is not None:
            return kept.data
        try:
            named = await self._sequencer.call("getCheckpoint", {"epoch": account.epoch})
            data = await self._sequencer.get_blob(named["dataSha256"])
        except WrongChain:
            raise
        except (SequencerError, KeyError, TypeError) as error:  # silence and nonsense withhold it as well
            self._log.warning("a posted batch is not to be had", epoch=account.epoch, error=str(error))
            return None
        if merkle.root("data-root", batch.chunks(data)) != account.data_root:
            self._log.warning("the sequencer names other bytes than those under the data root", epoch=account.epoch)
            return None
        return data


def _is_dead(account: Checkpoint, config: Config) -> bool:
    """Whether it was rejected or builds on one that was."""
    if account.status is CheckpointStatus.POSTED:
        return config.is_dead(account.epoch)
    return account.status is not CheckpointStatus.FINALIZED
