"""Fills a buffer: hundreds of small transactions, many in flight, each sent again until it is confirmed or its blockhash has expired.

Writing a chunk twice does no harm, so expiry is judged at `confirmed` here, other than for anything that pays (settlement/transactions.py).
What was written is read back, at `finalized` in the end: a fork that loses may have held some of the writes. A node that turns
sendings away gets fewer at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import trio
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import loader, transactions
from settlement.client import L1Client
from settlement.errors import AccountMissing, DeployError, L1Unreachable, TransactionFailed
from settlement.rpc import COMMITMENTS, Commitment
from settlement.transactions import MAX_TRANSACTION_BYTES, SignedTransaction

IN_FLIGHT = 96
LEAST_IN_FLIGHT = 4
CONNECTIONS = 16
STATUSES_PER_CALL = 256  # MAX_GET_SIGNATURE_STATUSES_QUERY_ITEMS
RESEND_SECONDS = 4.0
POLL_SECONDS = 0.4
BLOCKHASH_SECONDS = 10.0  # of the minute or so that one lives
MAX_EXPIRIES = 6  # of one chunk
MAX_DEAD_ROUNDS = 8  # in which no sending at all got through
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
MAX_PASSES = 5
WRITE_COMPUTE_UNITS = 3_000  # the loader takes 2,370, the budget's two instructions 300

Progress = Callable[[int, int], None]
"""Chunks that are confirmed, and all that there are."""


@dataclass(frozen=True)
class Writing:
    """Who writes what where. `authority` is the buffer's; `compute_unit_price` in micro-lamports, 0 for none."""

    payer: Keypair
    authority: Keypair
    buffer: Pubkey
    elf: bytes
    compute_unit_price: int = 0

    @cached_property
    def chunk_bytes(self) -> int:
        """As much as one transaction takes."""
        empty = len(self.sign(0, b"", Hash.default(), 0).raw)
        return MAX_TRANSACTION_BYTES - empty - 1  # the length of the data takes a second byte then

    def sign(self, offset: int, chunk: bytes, blockhash: Hash, last_valid_block_height: int) -> SignedTransaction:
        write = loader.write(self.buffer, self.authority.pubkey(), offset, chunk)
        limit, price = (WRITE_COMPUTE_UNITS, self.compute_unit_price) if self.compute_unit_price else (None, None)
        return transactions.sign(
            [write], self.payer, [self.authority], blockhash, last_valid_block_height, limit, price
        )

    def chunk(self, offset: int) -> bytes:
        return self.elf[offset : offset + self.chunk_bytes]

    def differing(self, held: bytes) -> list[int]:
        """The offsets of the chunks that `held`, the buffer's data, has not as they should be."""
        step = self.chunk_bytes
        return [at for at in range(0, len(self.elf), step) if held[at : at + step] != self.elf[at : at + step]]


@dataclass
class _Flight:
    signed: SignedTransaction
    offset: int
    expiries: int
    sent_at: float = float("-inf")


async def fill_buffer(client: L1Client, writing: Writing, progress: Progress) -> None:
    """The buffer holds the program, at `finalized`, when this returns. DeployError when chunks keep getting lost; TransactionFailed,
    L1Unreachable: what was written stays, and another call goes on with it."""
    total = -(-len(writing.elf) // writing.chunk_bytes)
    for _ in range(MAX_PASSES):
        slot, missing = await _differing(client, writing, "confirmed")
        progress(total - len(missing), total)
        if missing:
            await _Sender(client, writing, progress, total).send(missing)
            continue
        await client.wait_for_slot(slot, "finalized")
        _, missing = await _differing(client, writing, "finalized")
        if not missing:
            return
    raise DeployError(
        f"L1 confirmed the writes to the buffer {writing.buffer} {MAX_PASSES} times over and does not have them all: "
        "run the command again, or ask another node with --url"
    )


async def _differing(client: L1Client, writing: Writing, commitment: Commitment) -> tuple[int, list[int]]:
    slot, (account,) = await client.get_accounts([writing.buffer], commitment)
    if account is None:
        raise AccountMissing(str(writing.buffer), "buffer")
    return slot, writing.differing(loader.decode_buffer(writing.buffer, account.data).data)


class _Sender:
    """Sends chunks until each is confirmed."""

    def __init__(self, client: L1Client, writing: Writing, progress: Progress, total: int) -> None:
        self._client, self._writing, self._progress, self._total = client, writing, progress, total
        self._window = IN_FLIGHT
        self._limiter = trio.CapacityLimiter(CONNECTIONS)
        self._flights: dict[str, _Flight] = {}
        self._blockhash, self._last_valid, self._fetched_at = Hash.default(), 0, float("-inf")
        self._unproven = (
            True  # the first sending goes through preflight, so that what is wrong with all is told at once
        )
        self._pause, self._dead_rounds, self._send_from = FIRST_PAUSE_SECONDS, 0, float("-inf")

    async def send(self, offsets: Sequence[int]) -> None:
        waiting = deque((offset, 0) for offset in offsets)
        left = len(offsets)
        while waiting or self._flights:
            height = await self._client.get_block_height("confirmed")
            await self._take_off(waiting)
            await self._send_due()
            for signature in await self._landed():
                del self._flights[signature]
                left -= 1
            self._progress(self._total - left, self._total)
            for signature, flight in list(self._flights.items()):
                if flight.signed.last_valid_block_height < height:
                    del self._flights[signature]
                    waiting.append((flight.offset, self._expired(flight)))
            if waiting or self._flights:
                await trio.sleep(POLL_SECONDS)

    def _expired(self, flight: _Flight) -> int:
        expiries = flight.expiries + 1
        if expiries >= MAX_EXPIRIES:
            raise DeployError(
                f"L1 takes no write to the buffer {self._writing.buffer}: chunk {flight.offset} expired {expiries} times; "
                "pay more for it (--compute-unit-price) or name another node (--url), and run the command again"
            )
        return expiries

    async def _take_off(self, waiting: deque[tuple[int, int]]) -> None:
        """Signs as many as may be in flight."""
        window = 1 if self._unproven else self._window
        if not waiting or len(self._flights) >= window:
            return
        if trio.current_time() > self._fetched_at + BLOCKHASH_SECONDS:
            value = (await self._client.rpc.call("getLatestBlockhash", [{"commitment": "confirmed"}]))["value"]
            self._blockhash = Hash.from_string(value["blockhash"])
            self._last_valid, self._fetched_at = int(value["lastValidBlockHeight"]), trio.current_time()
        while waiting and len(self._flights) < window:
            offset, expiries = waiting.popleft()
            signed = self._writing.sign(offset, self._writing.chunk(offset), self._blockhash, self._last_valid)
            self._flights[signed.signature] = _Flight(signed, offset, expiries)

    async def _send_due(self) -> None:
        now = trio.current_time()
        due = [flight for flight in self._flights.values() if now >= flight.sent_at + RESEND_SECONDS]
        if not due or now < self._send_from:
            return
        refused: list[TransactionFailed] = []
        turned_away: list[L1Unreachable] = []

        async def send(flight: _Flight) -> None:
            preflight = self._unproven or (flight.expiries > 0 and flight.sent_at == float("-inf"))
            async with self._limiter:
                try:
                    await transactions.send(self._client.rpc, flight.signed, preflight, self._client.error_name)
                except L1Unreachable as error:
                    turned_away.append(error)
                    return
                except TransactionFailed as error:
                    refused.append(error)
                    return
            flight.sent_at = trio.current_time()

        async with trio.open_nursery() as nursery:
            for flight in due:
                nursery.start_soon(send, flight)
        if refused:
            raise refused[0]
        self._adapt(len(due), turned_away)

    def _adapt(self, tried: int, turned_away: Sequence[L1Unreachable]) -> None:
        if not turned_away:
            self._unproven = False
            self._window = min(self._window + 8, IN_FLIGHT)
            self._pause, self._dead_rounds = FIRST_PAUSE_SECONDS, 0
            return
        self._window = max(self._window // 2, LEAST_IN_FLIGHT)
        if len(turned_away) == tried:
            self._dead_rounds += 1
            if self._dead_rounds >= MAX_DEAD_ROUNDS:
                raise turned_away[-1]
        else:
            self._unproven, self._dead_rounds = False, 0
        self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)
        asked = max(error.retry_after_seconds for error in turned_away)
        self._send_from = trio.current_time() + max(self._pause, asked)

    async def _landed(self) -> list[str]:
        """The signatures that are confirmed. TransactionFailed when one failed."""
        asked = list(self._flights)
        landed = []
        for start in range(0, len(asked), STATUSES_PER_CALL):
            batch = asked[start : start + STATUSES_PER_CALL]
            answer = await self._client.rpc.call("getSignatureStatuses", [batch, {"searchTransactionHistory": False}])
            for signature, status in zip(batch, answer["value"], strict=True):
                if status is None or COMMITMENTS.index(status["confirmationStatus"]) < COMMITMENTS.index("confirmed"):
                    continue
                if status["err"] is not None:
                    signed = self._flights[signature].signed
                    raise transactions.failure(status["err"], signed, (), True, self._client.error_name)
                landed.append(signature)
        return landed
