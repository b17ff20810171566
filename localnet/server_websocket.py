"""Subscriptions over WebSocket. A client that does not read what it subscribed to is cut off, never waited for."""

from __future__ import annotations

import logging

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from localnet import subscription_methods
from localnet.errors import parse_error
from localnet.outbox import Outbox, Total
from localnet.registry import answer
from localnet.subscriptions import Connection, Hub

MAX_MESSAGE_BYTES = 50 * 1024
MAX_CONNECTIONS = 4_096
SEND_DEADLINE_SECONDS = 10.0
PING_INTERVAL_SECONDS = 20.0
# A client listens to a subscription once it has its number; @solana/kit drops what comes together with that.
AFTER_REPLY_SECONDS = 0.05
# RFC 6455, section 7.4.1: policy violation.
_CLOSE_POLICY = 1008

_log = logging.getLogger("localnet.websocket")


class WebSocketServerSide:
    """The handler for every WebSocket connection of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._open = 0
        self._total = Total()

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
        outbox = Outbox(self._total)
        connection = self._hub.connect(lambda message: outbox.put(msgspec.json.encode(message)), outbox.cut_off)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_ping, socket)
                nursery.start_soon(self._read, socket, connection, outbox)
                await _send(socket, outbox)
                self._hub.disconnect(connection)
                _log.warning("a WebSocket client is cut off: %s", outbox.cut_off_reason)
                await socket.aclose(_CLOSE_POLICY, outbox.cut_off_reason)
                nursery.cancel_scope.cancel()
        finally:
            self._hub.disconnect(connection)
            outbox.close()

    async def _read(self, socket: WebSocketConnection, connection: Connection, outbox: Outbox) -> None:
        while True:
            body = await socket.get_message()
            reply = _answer(connection, body)
            if reply is not None:
                outbox.put(reply)
            if connection.after_reply:
                await trio.sleep(AFTER_REPLY_SECONDS)
            for waiting in connection.after_reply:
                connection.sink(waiting)
            connection.after_reply.clear()
            await outbox.until_short()


def _answer(connection: Connection, body: str | bytes) -> bytes | None:
    if isinstance(body, bytes):
        return msgspec.json.encode({"jsonrpc": "2.0", "error": parse_error().to_json(), "id": None})
    return answer(subscription_methods.methods, connection, body.encode())


async def _send(socket: WebSocketConnection, outbox: Outbox) -> None:
    """Returns when the client is to be cut off. Raises trio.TooSlowError when it takes nothing any more."""
    while (message := await outbox.get()) is not None:
        with trio.fail_after(SEND_DEADLINE_SECONDS):
            await socket.send_message(message.decode())


async def _ping(socket: WebSocketConnection) -> None:
    while True:
        await trio.sleep(PING_INTERVAL_SECONDS)
        with trio.fail_after(SEND_DEADLINE_SECONDS):
            await socket.ping()
