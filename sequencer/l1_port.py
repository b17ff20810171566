"""What the sequencer needs of L1, as a protocol, and its one real implementation over the client of the settlement program.

The seam exists so that a test can put a chain that forks, lags or lies in L1's place. Errors are those of settlement/errors.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from sequencer.rows import EpochRow, SentRow
from settlement import answering, bls, dispute_instructions, instructions, pda, slash_instructions, slashing
from settlement.accounts import Checkpoint, Config, InboxEntryAccount, SetAccount
from settlement.client import L1Client
from settlement.dispute_accounts import Demand
from settlement.rpc import Commitment
from settlement.transactions import Confirmed, SignedTransaction
from settlement.validator_set import bitmap_to_bytes

POST_COMPUTE_UNITS = 1_400_000
"""Solana's ceiling for one transaction; what a post really takes depends on the set and who is absent."""


class L1Port(Protocol):
    """Reads at a commitment, and the transactions that the sequencer signs."""

    async def genesis_hash(self) -> bytes: ...

    async def slot(self, commitment: Commitment) -> int: ...

    async def config(self, commitment: Commitment) -> Config: ...

    async def validator_set(self, version: int) -> SetAccount | None: ...

    async def checkpoint(self, epoch: int, commitment: Commitment) -> Checkpoint | None: ...

    async def checkpoint_as_of(self, epoch: int, commitment: Commitment) -> tuple[int, Checkpoint | None]:
        """The checkpoint, and the slot that L1 was at when it was looked for: an absence counts for no later one."""
        ...

    async def checkpoints(self, epochs: Sequence[int]) -> list[Checkpoint | None]:
        """At `confirmed`, in the order of `epochs`."""
        ...

    async def demands(self, epoch: int) -> tuple[Demand, ...]:
        """The open demands of an epoch at `confirmed`; L1RpcError from a node that does not list accounts."""
        ...

    async def inbox_entries(self, start: int, end: int) -> tuple[InboxEntryAccount, ...]:
        """Entries start … end − 1 at `confirmed`; AccountMissing when one is not there."""
        ...

    async def recent_prices(self) -> list[int]:
        """What posts' competitors paid of late, in micro-lamports a compute unit, a block each."""
        ...

    async def sign_post(self, row: EpochRow, price_micro_lamports: int) -> SentRow:
        """A signed transaction that posts this certified epoch, at a price for each compute unit. Nothing is sent."""
        ...

    async def sign_finalize(self, epoch: int, poster: Pubkey) -> SentRow: ...

    async def sign_late(self, row: EpochRow, bitmap: int, aggregate: bytes) -> SentRow:
        """Adds members that the post of this epoch left out; `aggregate` is the sum of their signatures."""
        ...

    async def sign_reward(self, checkpoint: Checkpoint) -> SentRow: ...

    async def sign_void(self, checkpoint: Checkpoint) -> SentRow:
        """Sends the bond of one that builds on a rejected checkpoint back to its poster."""
        ...

    async def sign_close(self, checkpoint: Checkpoint) -> SentRow:
        """Sends the rent of one that nothing needs any more back to its poster."""
        ...

    async def answer(
        self,
        checkpoint: Checkpoint,
        demand: Demand,
        data: bytes,
        trace: Sequence[bytes] | None,
        price_micro_lamports: int,
    ) -> Confirmed | None:
        """Shows what was demanded; None when somebody was faster (settlement.answering.answer)."""
        ...

    async def close_leftovers(self, posted_epoch: int) -> int:
        """Closes what a crash left of answers; how many buffers."""
        ...

    async def confirm(self, sent: SentRow, possibly_sent: bool) -> Confirmed:
        """Sends it until it is confirmed; TransactionExpired when it never will be, TransactionFailed when it was refused."""
        ...

    @property
    def troubles(self) -> dict[str, str | None]:
        """Where several nodes of L1 are asked: by URL, what is wrong with it, or None."""
        ...

    @property
    def program_id(self) -> bytes: ...

    @property
    def treasury(self) -> bytes: ...


class ClientPort:
    """L1Port over an open L1Client; `payer` pays for posts and finalizations and has no authority of any kind."""

    def __init__(self, client: L1Client, payer: Keypair) -> None:
        self._client = client
        self._payer = payer

    @property
    def program_id(self) -> bytes:
        return bytes(self._client.program_id)

    @property
    def troubles(self) -> dict[str, str | None]:
        return self._client.troubles

    @property
    def treasury(self) -> bytes:
        return bytes(pda.treasury(self._client.program_id))

    async def genesis_hash(self) -> bytes:
        return await self._client.genesis_hash()

    async def slot(self, commitment: Commitment) -> int:
        return await self._client.get_slot(commitment)

    async def config(self, commitment: Commitment) -> Config:
        return await self._client.check_cluster(commitment=commitment)

    async def validator_set(self, version: int) -> SetAccount | None:
        return await self._client.fetch_validator_set(version, "confirmed")

    async def checkpoint(self, epoch: int, commitment: Commitment) -> Checkpoint | None:
        return await self._client.fetch_checkpoint(epoch, commitment)

    async def checkpoint_as_of(self, epoch: int, commitment: Commitment) -> tuple[int, Checkpoint | None]:
        return await self._client.checkpoint_as_of(epoch, commitment)

    async def checkpoints(self, epochs: Sequence[int]) -> list[Checkpoint | None]:
        return await self._client.fetch_checkpoints(epochs, "confirmed")

    async def demands(self, epoch: int) -> tuple[Demand, ...]:
        return await self._client.fetch_demands(epoch, "confirmed")

    async def answer(
        self,
        checkpoint: Checkpoint,
        demand: Demand,
        data: bytes,
        trace: Sequence[bytes] | None,
        price_micro_lamports: int,
    ) -> Confirmed | None:
        return await answering.answer(self._client, self._payer, checkpoint, demand, data, trace, price_micro_lamports)

    async def close_leftovers(self, posted_epoch: int) -> int:
        return await answering.close_leftovers(self._client, self._payer, posted_epoch)

    async def recent_prices(self) -> list[int]:
        return await self._client.recent_priority_fees([pda.config(self._client.program_id)])

    async def inbox_entries(self, start: int, end: int) -> tuple[InboxEntryAccount, ...]:
        return await self._client.fetch_inbox_entries(start, end, "confirmed")

    async def sign_post(self, row: EpochRow, price_micro_lamports: int) -> SentRow:
        if row.aggregate is None:
            raise ValueError(f"epoch {row.epoch} has no certificate yet")
        args = instructions.CheckpointArgs(
            epoch=row.epoch,
            attempt=row.attempt,
            cut_slot=row.cut_slot,
            expiry_slot=row.expiry_slot,
            results_root=row.results_root,
            state_root=row.state_root,
            trace_root=row.trace_root,
            data_root=row.data_root,
            payable_total=row.payable_total,
            inbox_cursor=row.inbox_cursor,
            bitmap=bitmap_to_bytes(row.bitmap),
            signature=row.aggregate,
            hints=bls.hints(row.hash),
        )
        program, payer = self._client.program_id, self._payer.pubkey()
        post = instructions.post_checkpoint(program, payer, row.set_version, row.first_deposit, args)
        return await self._sign([post], POST_COMPUTE_UNITS, price_micro_lamports)

    async def sign_finalize(self, epoch: int, poster: Pubkey) -> SentRow:
        program, payer = self._client.program_id, self._payer.pubkey()
        return await self._sign([instructions.finalize_checkpoint(program, payer, epoch, poster)], None, None)

    async def sign_late(self, row: EpochRow, bitmap: int, aggregate: bytes) -> SentRow:
        program, payer = self._client.program_id, self._payer.pubkey()
        adding = slash_instructions.add_signatures(
            program, payer, row.epoch, row.set_version, row.hash, bitmap, aggregate
        )
        return await self._sign([adding], slashing.VERIFY_COMPUTE_UNITS, None)

    async def sign_reward(self, checkpoint: Checkpoint) -> SentRow:
        rewarding = slashing.reward_of(self._client.program_id, self._payer.pubkey(), checkpoint)
        return await self._sign([rewarding], slashing.REWARD_COMPUTE_UNITS, None)

    async def sign_void(self, checkpoint: Checkpoint) -> SentRow:
        program, payer = self._client.program_id, self._payer.pubkey()
        voiding = dispute_instructions.void_checkpoint(program, payer, checkpoint.epoch, checkpoint.poster)
        return await self._sign([voiding], None, None)

    async def sign_close(self, checkpoint: Checkpoint) -> SentRow:
        program, payer = self._client.program_id, self._payer.pubkey()
        closing = dispute_instructions.close_checkpoint(program, payer, checkpoint.epoch, checkpoint.poster)
        return await self._sign([closing], None, None)

    async def confirm(self, sent: SentRow, possibly_sent: bool) -> Confirmed:
        signed = SignedTransaction(sent.raw, sent.signature, sent.last_valid_block_height)
        return await self._client.confirm(signed, "confirmed", possibly_sent)

    async def _sign(self, parts: list[Instruction], compute_unit_limit: int | None, price: int | None) -> SentRow:
        signed = await self._client.sign(parts, self._payer, (), compute_unit_limit, price or None)
        return SentRow(
            raw=signed.raw, signature=signed.signature, last_valid_block_height=signed.last_valid_block_height
        )
