"""Transfers over JSON-RPC: many in flight for the rate, one at a time for the latency.

The client is a bare HTTP/1.1 one on kept-open connections, since a general one takes more of the machine than the L1 that is measured.
"""

from __future__ import annotations

import base64
import itertools
import json
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

PAYERS = 16
PAYER_LAMPORTS = 100_000_000_000
RECEIVER_LAMPORTS = 1_000_000  # beyond the rent-exempt minimum of an empty account
STATUS_BATCH = 256
POLL_SECONDS = 0.005
DEADLINE_SECONDS = 300
READ_BYTES = 65_536


class LoadFailed(RuntimeError):
    """The L1 refused or lost a transfer; the message says which."""


class Connection:
    """One kept-open HTTP connection; one request at a time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._ids = itertools.count(1)

    async def call(self, method: str, *params: Any) -> Any:
        """The result. Raises LoadFailed with the error."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        body = json.dumps(request).encode()
        head = f"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        await self._stream.send_all(head.encode() + body)
        answer = json.loads(await self._body())
        if "error" in answer:
            raise LoadFailed(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def _body(self) -> bytes:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += await self._more()
        headers = dict(line.lower().split(b":", 1) for line in received[:end].split(b"\r\n")[1:])
        body = received[end + 4 :]
        while len(body) < int(headers[b"content-length"]):
            body += await self._more()
        return body

    async def _more(self) -> bytes:
        data = await self._stream.receive_some(READ_BYTES)
        if not data:
            raise LoadFailed("the L1 closed the connection")
        return data


@asynccontextmanager
async def connected(rpc_url: str) -> AsyncIterator[Connection]:
    host, port = rpc_url.removeprefix("http://").split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        yield Connection(stream)


def signed_transfer(payer: Keypair, to: Keypair, lamports: int, blockhash: Hash) -> VersionedTransaction:
    instruction = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to.pubkey(), lamports=lamports))
    return VersionedTransaction(Message.new_with_blockhash([instruction], payer.pubkey(), blockhash), [payer])


class Transfers:
    """Transfers between funded accounts, each of another sum, so that no two are one transaction."""

    def __init__(self, payers: Sequence[Keypair]) -> None:
        self._pairs = itertools.cycle([(payer, Keypair()) for payer in payers])
        self._lamports = itertools.count(RECEIVER_LAMPORTS)

    async def signed(self, connection: Connection, count: int) -> list[tuple[str, str]]:
        """Signature and wire in base64 of each, under the latest blockhash."""
        latest = await connection.call("getLatestBlockhash", {"commitment": "processed"})
        blockhash = Hash.from_string(latest["value"]["blockhash"])
        made = []
        for _ in range(count):
            payer, to = next(self._pairs)
            one = signed_transfer(payer, to, next(self._lamports), blockhash)
            made.append((str(one.signatures[0]), base64.b64encode(bytes(one)).decode()))
        return made


async def funded(connection: Connection, count: int = PAYERS) -> Transfers:
    payers = [Keypair() for _ in range(count)]
    airdrops = [await connection.call("requestAirdrop", str(payer.pubkey()), PAYER_LAMPORTS) for payer in payers]
    await wait_for(connection, airdrops, "confirmed")
    return Transfers(payers)


async def wait_for(connection: Connection, signatures: Sequence[str], level: str) -> None:
    """Returns when all of them have reached the level. Raises LoadFailed for one that failed, or when it takes too long."""
    levels = ("processed", "confirmed", "finalized")
    left = list(signatures)
    with trio.move_on_after(DEADLINE_SECONDS):
        while left:
            asked = left[:STATUS_BATCH]
            statuses = (await connection.call("getSignatureStatuses", asked))["value"]
            for status in filter(None, statuses):
                if status["err"] is not None:
                    raise LoadFailed(f"a transfer failed: {status['err']}")
            missing = [
                signature
                for signature, status in zip(asked, statuses, strict=True)
                if status is None or levels.index(status["confirmationStatus"]) < levels.index(level)
            ]
            left = missing + left[STATUS_BATCH:]
            if missing:
                await trio.sleep(POLL_SECONDS)
        return
    raise LoadFailed(f"{len(left)} of {len(signatures)} transfers were not {level} within {DEADLINE_SECONDS} s")


async def transfer_rate(rpc_url: str, count: int, in_flight: int, *, preflight: bool) -> float:
    """Transfers per second, from the first sent to the last confirmed. Raises LoadFailed."""
    options = {"encoding": "base64", "skipPreflight": not preflight, "preflightCommitment": "processed"}
    async with connected(rpc_url) as control:
        transfers = await funded(control)
        made = await transfers.signed(control, count)
        waiting = iter(made)

        async def send(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with connected(rpc_url) as connection:
                task_status.started()
                await ready.wait()
                for _, wire in waiting:
                    await connection.call("sendTransaction", wire, options)

        ready = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(in_flight):
                await nursery.start(send)
            began = trio.current_time()
            ready.set()
        await wait_for(control, [signature for signature, _ in made], "confirmed")
        confirmed = trio.current_time()
    return count / (confirmed - began)


@dataclass(frozen=True)
class Latency:
    """Medians, from sending to seeing the status."""

    processed_ms: float
    confirmed_ms: float


async def transfer_latency(rpc_url: str, count: int) -> Latency:
    processed, confirmed = [], []
    async with connected(rpc_url) as connection:
        transfers = await funded(connection, 1)
        for _ in range(count):
            ((signature, wire),) = await transfers.signed(connection, 1)
            began = trio.current_time()
            await connection.call("sendTransaction", wire, {"encoding": "base64", "preflightCommitment": "processed"})
            await wait_for(connection, [signature], "processed")
            processed.append(trio.current_time() - began)
            await wait_for(connection, [signature], "confirmed")
            confirmed.append(trio.current_time() - began)
    return Latency(statistics.median(processed) * 1000, statistics.median(confirmed) * 1000)


async def request_rate(rpc_url: str, count: int, in_flight: int) -> float:
    """getHealth per second: what the L1's HTTP and this client allow at all."""
    left = iter(range(count))

    async def ask() -> None:
        async with connected(rpc_url) as connection:
            for _ in left:
                await connection.call("getHealth")

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(in_flight):
            nursery.start_soon(ask)
    return count / (trio.current_time() - began)
