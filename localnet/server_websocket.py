"""Subscriptions over WebSocket. A client that does not read what it subscribed to is disconnected, never waited for."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from localnet import subscriptions
from localnet.errors import parse_error
from localnet.registry import answer
from localnet.subscriptions import Hub

MAX_MESSAGE_BYTES = 50 * 1024
MAX_CONNECTIONS = 256
MAX_QUEUED_NOTIFICATIONS = 4_096
SEND_DEADLINE_SECONDS = 10.0
PING_INTERVAL_SECONDS = 20.0

_log = logging.getLogger("localnet.websocket")


class WebSocketServerSide:
    """The handler for every WebSocket connection of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._open = 0

    async def handle(self, request: WebSocketRequest) -> None:
        if self._open >= MAX_CONNECTIONS:
            await request.reject(503, body=f"more than {MAX_CONNECTIONS} connections".encode())
            return
        self._open += 1
        try:
            await self._serve(await request.accept())
        except* (ConnectionClosed, trio.BrokenResourceError, trio.TooSlowError):
            _log.debug("a WebSocket client went away")
        finally:
            self._open -= 1

    async def _serve(self, socket: WebSocketConnection) -> None:
        outgoing, queue = trio.open_memory_channel[bytes](MAX_QUEUED_NOTIFICATIONS)
        async with trio.open_nursery() as nursery:

            def send(message: dict[str, Any]) -> None:
                try:
                    outgoing.send_nowait(msgspec.json.encode(message))
                except trio.WouldBlock:
                    _log.warning("a WebSocket client reads too slowly; disconnected")
                    nursery.cancel_scope.cancel()

            connection = self._hub.connect(send)
            try:
                nursery.start_soon(_pump, socket, queue)
                nursery.start_soon(_ping, socket)
                while True:
                    body = await socket.get_message()
                    reply = self._answer(connection, body)
                    if reply is not None:
                        with trio.fail_after(SEND_DEADLINE_SECONDS):
                            await outgoing.send(reply)
                    for waiting in connection.after_reply:
                        send(waiting)
                    connection.after_reply.clear()
            finally:
                self._hub.disconnect(connection)
                nursery.cancel_scope.cancel()

    @staticmethod
    def _answer(connection: subscriptions.Connection, body: str | bytes) -> bytes | None:
        if isinstance(body, bytes):
            return msgspec.json.encode({"jsonrpc": "2.0", "error": parse_error().to_json(), "id": None})
        return answer(subscriptions.methods, connection, body.encode())


async def _pump(socket: WebSocketConnection, queue: trio.MemoryReceiveChannel[bytes]) -> None:
    async for message in queue:
        with trio.fail_after(SEND_DEADLINE_SECONDS):
            await socket.send_message(message.decode())


async def _ping(socket: WebSocketConnection) -> None:
    while True:
        await trio.sleep(PING_INTERVAL_SECONDS)
        with trio.fail_after(SEND_DEADLINE_SECONDS):
            await socket.ping()
