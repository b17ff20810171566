"""Posting and finalizing by one validator, for tests that need a finalized checkpoint and no sequencer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from solders.keypair import Keypair

from settlement import instructions
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus, Parameters
from settlement.bls import SecretKey
from settlement.errors import ProgramError
from settlement.events import decode_events
from settlement.hash_to_curve import hints
from settlement.instructions import CheckpointArgs
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from settlement.messages import CheckpointMessage
from settlement.money import deposit

SOL = 1_000_000_000
POST_COMPUTE_UNITS = 400_000


async def begin(l1: Any, parameters: Parameters = LOCALNET_PROFILE) -> Settling:
    """Initialises `l1` (the fixture) with one validator and deposits one SOL."""
    await ensure_initialized(l1.client, l1.authority, l1.rich, parameters)
    secret = SecretKey.generate()
    await register_validator(l1.client, l1.rich, Keypair(), secret, 5_000_000)
    await advance_validator_set(l1.client, l1.rich, l1.authority)
    await deposit(l1.client, l1.rich, SOL)
    return Settling(l1, secret)


@dataclass
class Settling:
    """`secret` is the only validator's BLS key, so that one signature is a quorum."""

    l1: Any
    secret: SecretKey

    async def post(
        self, root: bytes, payable_total: int, results_root: bytes = b"\1" * 32, cursor: int | None = None
    ) -> CheckpointMessage:
        """Posts the next epoch, twice: the second post is refused. It takes the inbox's entries up to `cursor`, all if None."""
        client = self.l1.client
        config = await client.fetch_config()
        cut = await client.get_slot("confirmed")
        cursor = config.inbox.count if cursor is None else cursor
        (last,) = await client.fetch_inbox_entries(cursor - 1, cursor)
        message = CheckpointMessage(
            epoch=config.highest_epoch + 1,
            attempt=0,
            cut_slot=cut,
            expiry_slot=cut + config.parameters.max_expiry_slots,
            parent_hash=config.posted.hash,
            results_root=results_root,
            state_root=root,
            trace_root=b"\2" * 32,
            data_root=b"\3" * 32,
            payable_total=payable_total,
            inbox_cursor=cursor,
            inbox_hash=last.hash_after,
            set_hash=config.pinned.hash,
        )
        digest = message.hash(await client.domain())
        args = CheckpointArgs(
            **{name: getattr(message, name) for name in CheckpointArgs.__dataclass_fields__ if hasattr(message, name)},
            bitmap=b"\1" + bytes(31),
            signature=self.secret.sign(digest),
            hints=hints(digest),
        )
        post = instructions.post_checkpoint(
            client.program_id, self.l1.rich.pubkey(), config.pinned.version, config.posted.inbox_cursor, args
        )
        confirmed = await client.send_and_confirm([post], self.l1.rich, compute_unit_limit=POST_COMPUTE_UNITS)
        (event,) = decode_events(confirmed.logs, client.program_id)
        assert (event.name, event.fields["hash"], event.fields["signers"]) == ("CheckpointPosted", digest, 1)
        with pytest.raises(ProgramError) as caught:
            await client.send_and_confirm([post], self.l1.rich, compute_unit_limit=POST_COMPUTE_UNITS)
        assert caught.value.name == "EpochPosted"
        return message

    async def finalize(self, epoch: int) -> None:
        client = self.l1.client
        posted = await client.fetch_checkpoint(epoch)
        assert posted.status is CheckpointStatus.POSTED
        await client.wait_for_slot(posted.challenge_until_slot + 2, "confirmed")
        finalize = instructions.finalize_checkpoint(client.program_id, self.l1.rich.pubkey(), epoch, posted.poster)
        await client.send_and_confirm([finalize], self.l1.rich)
