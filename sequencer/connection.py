"""One TCP connection that speaks HTTP/1.1: hypercorn's protocol over h11, with deadlines of our own around every wait on the peer.

What the peer may make us wait for, and how long: the headers of its next request (also the idle time between two), and our answers' way out.
A body's deadline is the application's (rpc.py). A connection that we close is first told why: what the peer still sends is read and dropped for
a moment, since closing with unread bytes would reset the connection and could take our last answer with it (as nginx's lingering_close).
"""

from __future__ import annotations

import logging
import os
from math import inf

import h11
import msgspec
import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from sequencer import jsonrpc
from sequencer.config import SequencerConfig
from sequencer.errors import RpcError
from settlement.rpc_codes import Code

MAX_RECEIVE_BYTES = 2**16
LINGER_SECONDS = 1.0
LINGER_BYTES = 2**20


def error_body(code: Code, message: str) -> bytes:
    """A JSON-RPC error as the body of an HTTP refusal."""
    return msgspec.json.encode(jsonrpc.failure(None, RpcError(code, message)))


class _Http11(H11Protocol):
    """HTTP/1.1 only: offers to switch to HTTP/2 are passed over, as RFC 9110 section 7.8 allows, and what is no HTTP is answered with a reason."""

    async def _check_protocol(self, event: h11.Request) -> None:
        pass

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"upgrade"]
        plain = h11.Request(
            method=request.method, target=request.target, headers=headers, http_version=request.http_version
        )
        await super()._create_stream(plain)

    async def stream_send(self, event: StreamEvent) -> None:
        """An answer before the request's end, from whoever did not ask for its body, ends the connection: the peer must be told, or it sends its
        next request into a connection that is just being closed (RFC 9112 section 9.6)."""
        if isinstance(event, Response) and self.connection.their_state is h11.SEND_BODY:
            others = [(name, value) for name, value in event.headers if name.lower() != b"connection"]
            event = Response(event.stream_id, [*others, (b"connection", b"close")], event.status_code)
        await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        too_large = status_code == 431
        message = "the headers are too large" if too_large else "this is no HTTP/1.1 request"
        body = error_body(Code.INVALID_REQUEST, message)
        headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
            (b"connection", b"close"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class Connection:
    """Serves `stream` until either side closes it. `idle_since` is None while a request is being answered."""

    def __init__(
        self,
        stream: trio.SocketStream,
        peer: tuple[str, int],
        app: AppWrapper,
        server: ServerConfig,
        context: WorkerContext,
        config: SequencerConfig,
    ) -> None:
        self.idle_since: float | None = trio.current_time()
        self._stream, self._peer, self._app, self._server, self._context = stream, peer, app, server, context
        self._config = config
        self._send_lock = trio.Lock()
        self._waiting = trio.CancelScope()
        self._answered = trio.Event()
        self._closing, self._closing_at = False, inf
        self._sent_bytes, self._blocked_seconds = 0, 0.0
        self._protocol: _Http11

    async def run(self) -> None:
        try:
            async with TaskGroup() as tasks:
                self._protocol = _Http11(
                    self._app,
                    self._server,
                    self._context,
                    tasks,
                    ConnectionState({}),
                    False,
                    self._peer,
                    None,
                    self._on_event,
                )
                await self._read()
                await self._protocol.handle(Closed())
        finally:
            await trio.aclose_forcefully(self._stream)

    def evict(self) -> None:
        """Ends a connection that waits for its next request."""
        self._waiting.cancel()

    def _deadline(self) -> float:
        """Until when the peer may keep us waiting for bytes."""
        return inf if self.idle_since is None else self.idle_since + self._config.header_deadline_seconds

    async def _read(self) -> None:
        dropped = 0
        while True:
            with trio.CancelScope(deadline=self._closing_at if self._closing else self._deadline()) as self._waiting:
                try:
                    data = bytes(await self._stream.receive_some(MAX_RECEIVE_BYTES))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
            if self._waiting.cancelled_caught:
                return
            if self._closing:
                dropped += len(data)
                if not data or dropped > LINGER_BYTES:
                    return
                continue
            await self._protocol.handle(RawData(data))
            if not data:
                await self._finish()
                return

    async def _finish(self) -> None:
        """The peer has sent all it will: a request that is complete still gets its answer."""
        connection = self._protocol.connection
        complete = isinstance(connection, h11.Connection) and connection.their_state is not h11.ERROR
        if self.idle_since is None and complete and not self._closing:
            await self._answered.wait()

    async def _on_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            await self._close()
        elif isinstance(event, Updated):
            self.idle_since = trio.current_time() if event.idle else None
            if event.idle:
                self._answered.set()
                self._waiting.deadline = self._deadline()
            else:
                self._answered = trio.Event()

    async def _send(self, data: bytes) -> None:
        """Sends unless the peer reads too slowly over all: patience once, and then a lowest rate.

        What the system takes at once costs the peer nothing: a wait for our own turn on a busy loop is no slowness of its, and connections that
        are used for days would sum it up.
        """
        async with self._send_lock:
            try:
                rest = data[self._send_at_once(data) :]
                if rest and not await self._send_slowly(rest):
                    await trio.aclose_forcefully(self._stream)
                    self._end_reading()
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                self._end_reading()
            self._sent_bytes += len(data)
        await trio.lowlevel.checkpoint()

    def _send_at_once(self, data: bytes) -> int:
        """Bytes that the socket had room for."""
        try:
            return os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            return 0

    async def _send_slowly(self, data: bytes) -> bool:
        """Whether the peer took it in the time that it has left."""
        owed = (self._sent_bytes + len(data)) / self._config.response_bytes_per_second
        allowed = self._config.response_patience_seconds + owed - self._blocked_seconds
        started = trio.current_time()
        with trio.move_on_after(max(0.0, allowed)) as scope:
            await self._stream.send_all(data)
        self._blocked_seconds += trio.current_time() - started
        return not scope.cancelled_caught

    def _end_reading(self) -> None:
        """The connection is dead: whoever waits on it goes on."""
        self._closing, self._closing_at = True, -inf
        self._answered.set()
        self._waiting.cancel()

    async def _close(self) -> None:
        if self._closing:
            return
        self._closing, self._closing_at = True, trio.current_time() + LINGER_SECONDS
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            self._end_reading()
            return
        self._answered.set()
        self._waiting.deadline = self._closing_at


def server_config() -> ServerConfig:
    """What hypercorn's protocol asks of its configuration; sockets, timeouts and logs are ours."""
    server = ServerConfig()
    server.h11_max_incomplete_size = 16 * 1024
    server.include_server_header = False
    server.accesslog = None
    server.errorlog = logging.getLogger("hypercorn.error")
    return server
