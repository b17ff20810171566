"""A sequencer's node whose L1 is a view that the test sets by hand, its HTTP door, and raw sockets to knock with."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from sequencer.blobs import BlobStore
from sequencer.config import SequencerConfig
from sequencer.door import App, Door, RateLimit
from sequencer.node import L1View, Node
from sequencer.rpc import make_app
from sequencer.tasks import TaskBook
from tests.sequencer.chain_kit import Bench

SLOT = 1_000


def make_node(folder: Path, **settings: Any) -> Node:
    bench = Bench.new(folder)
    config = SequencerConfig(url="http://127.0.0.1:1", keypair=folder / "none", data_dir=folder, port=0, **settings)
    return Node(
        config=config,
        database=bench.database,
        chain=bench.chain,
        tasks=TaskBook([]),
        blobs=BlobStore(folder / "blobs"),
        l1_url=config.url,
        unix_time=lambda: 1_800_000_000.0,
        now=trio.current_time,
        view=L1View(slot=SLOT, finalized_slot=SLOT - 32, read_at=trio.current_time()),
    )


@dataclass
class Open:
    """A door that is served on `port`."""

    node: Node
    door: Door
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, address: str = "127.0.0.1", receive_buffer_bytes: int | None = None) -> trio.SocketStream:
        """A connection from `address`, which may be any of 127.0.0.0/8."""
        client = trio.socket.socket()
        if receive_buffer_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await client.bind((address, 0))
        await client.connect(("127.0.0.1", self.port))
        return trio.SocketStream(client)


@asynccontextmanager
async def opened(folder: Path, app: App | None = None, **settings: Any) -> AsyncIterator[Open]:
    """A door of a new node, served for as long as the block runs; another application than the node's may stand behind it."""
    node = make_node(folder, **settings)
    rate = RateLimit(node.config)
    door = Door(node.config, rate)
    try:
        async with trio.open_nursery() as nursery:
            behind = app or make_app(node, rate)
            port = await nursery.start(lambda task_status: door.serve(behind, task_status=task_status))
            yield Open(node, door, port)
            nursery.cancel_scope.cancel()
    finally:
        node.database.close()


async def read_all(stream: trio.SocketStream, seconds: float = 30.0) -> bytes:
    """Everything until the other side closes; what came before a reset if it is reset."""
    data = b""
    with trio.fail_after(seconds):
        try:
            while chunk := await stream.receive_some(65_536):
                data += chunk
        except trio.BrokenResourceError:
            pass
    return data
