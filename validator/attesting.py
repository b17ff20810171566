"""Attests the proposal that waits for this validator: fetches it, looks at L1, checks, remembers the vote, and only then signs and sends."""

from functools import partial
from typing import Any

import structlog
import trio

from settlement import bls
from settlement.accounts import Config
from settlement.client import L1Client
from settlement.ledger.batch import MAX_RECORDS
from settlement.messages import CheckpointMessage, genesis_inbox_hash
from settlement.records import RECORD_BYTES
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.signing import AUTHORISATION_BYTES, Domain
from validator import attest
from validator.attest import Own, Refused, View
from validator.chain import Link
from validator.follower import Follower
from validator.slashing_protection import SlashingProtection
from validator.verdicts import Verdicts
from validator.votes import SlashableAttestation

MAX_BATCH_BYTES = MAX_RECORDS * (RECORD_BYTES + AUTHORISATION_BYTES)


class Attester:
    def __init__(
        self,
        l1: L1Client,
        sequencer: SequencerClient,
        domain: Domain,
        secret: bls.SecretKey,
        follower: Follower,
        protection: SlashingProtection,
        verdicts: Verdicts,
    ) -> None:
        self._l1, self._sequencer, self._domain, self._secret = l1, sequencer, domain, secret
        self._follower, self._protection, self._verdicts = follower, protection, verdicts
        self._refused: str | None = None
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(room="validator")

    async def attest(self, epoch: int, attempt: int, config: Config) -> None:
        """Attests epoch and attempt if all is as it must be; otherwise says why not, once, and leaves it for the next turn."""
        try:
            await self._attest(epoch, attempt, config)
        except (Refused, SlashableAttestation, ValueError) as error:
            reason = f"epoch {epoch} attempt {attempt}: {error}"
            if reason != self._refused:
                self._refused = reason
                self._log.warning("not attested", epoch=epoch, attempt=attempt, reason=str(error))
        except RpcError as error:
            if error.code not in (Code.WRONG_PROPOSAL, Code.NOT_FOUND, Code.NOT_A_VALIDATOR):
                raise
            self._log.info("proposal gone", epoch=epoch, attempt=attempt, error=str(error))

    async def _attest(self, epoch: int, attempt: int, config: Config) -> None:
        proposal = await self._sequencer.call("getProposal", {"epoch": epoch, "attempt": attempt})
        message = CheckpointMessage.from_json(proposal)
        if (message.epoch, message.attempt) != (epoch, attempt):
            raise Refused(f"the proposal is for epoch {message.epoch} attempt {message.attempt}")
        head = self._follower.chain.head
        context = await self._follower.context(epoch, config.pinned.version)
        set_index = context.validator_set.index_of(self._sequencer.public_key)
        if set_index is None:
            raise Refused(f"this validator is not in the pinned set, version {config.pinned.version}")
        if bytes(self._secret.public_key) != context.validator_set.entries[set_index].bls_public_key:
            raise Refused("the BLS key of this validator is not the one that its authority registered")
        data = await self._sequencer.get_blob(_name(proposal), MAX_BATCH_BYTES)
        view = await self._view(message, config)
        own = Own(set_index, self._verdicts, self._protection.last_of(epoch))
        roots = await trio.to_thread.run_sync(
            attest.check, message, data, head.parent(self._domain), head.epoch, context, view, own
        )
        await self._follower.keep(message, roots)
        digest = message.hash(self._domain)
        final_epoch = self._follower.chain.finalized.epoch
        await trio.to_thread.run_sync(
            partial(self._protection.record, epoch, attempt, digest, message.expiry_slot, final_epoch=final_epoch)
        )
        self._follower.chain.candidates[digest] = Link(message, roots.state)
        answer = await self._sequencer.call_signed(
            "submitAttestation",
            {
                "epoch": epoch,
                "attempt": attempt,
                "hash": digest.hex(),
                "setIndex": set_index,
                "signature": self._secret.sign(digest).hex(),
            },
        )
        self._log.info("attested", epoch=epoch, attempt=attempt, hash=digest.hex(), signers=answer.get("signers"))

    async def _view(self, message: CheckpointMessage, config: Config) -> View:
        cursor = message.inbox_cursor
        if cursor == 0:
            inbox_hash: bytes | None = genesis_inbox_hash(self._domain)
        else:
            inbox_hash = None
            if cursor <= config.inbox.count:
                inbox_hash = (await self._l1.fetch_inbox_entries(cursor - 1, cursor, "confirmed"))[0].hash_after
        left = None
        if cursor < config.inbox.count:
            left = (await self._l1.fetch_inbox_entries(cursor, cursor + 1, "confirmed"))[0]
        finalized_slot, posted = await self._l1.checkpoint_as_of(message.epoch, "finalized")
        return View(
            slot=await self._l1.get_slot("confirmed"),
            finalized_slot=finalized_slot,
            epoch_posted_at_finalized=posted is not None,
            parameters=config.parameters,
            posted=config.posted,
            highest_epoch=config.highest_epoch,
            inbox_hash_at_cursor=inbox_hash,
            first_entry_left=left,
        )


def _name(proposal: dict[str, Any]) -> str:
    name = proposal.get("dataSha256")
    if not isinstance(name, str):
        raise Refused("the proposal names no dataSha256")
    return name
