"""Who gets in: accepts connections, keeps their number within bounds, and counts requests per address, before any of it reaches rpc.py.

When there is no room, the connection that has waited longest for its next request makes it: those who hold connections open without using them
cannot keep others out. Whoever is refused is told so with an HTTP status and a JSON-RPC error.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from math import ceil
from typing import Any

import structlog
import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app
from starlette.responses import JSONResponse

from sequencer import jsonrpc, metrics
from sequencer.config import SequencerConfig
from sequencer.connection import Connection, error_body, server_config
from sequencer.errors import RpcError
from sequencer.limits import TokenBuckets, is_loopback, source
from settlement.rpc_codes import Code

log = structlog.get_logger(__name__)

BACKLOG = 256
MAX_REFUSING = 64
REFUSAL_SECONDS = 2.0
SPARE_FILES = 512
"""Open files beyond the connections: the store's, blobs in transit, L1."""

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


class RateLimit:
    """Requests per address; a batch counts as its calls."""

    def __init__(self, config: SequencerConfig) -> None:
        self._config = config
        self._buckets = TokenBuckets(config.requests_per_second, config.requests_burst)

    def take(self, host: str, calls: int) -> float:
        """0 when the address may make so many calls now, else the seconds after which it may."""
        if not calls or not (self._config.limit_loopback or not is_loopback(host)):
            return 0.0
        return self._buckets.take(source(host), calls, trio.current_time())


def too_fast(wait: float) -> RpcError:
    seconds = max(1, ceil(wait))
    return RpcError(
        Code.RATE_LIMITED, f"this address calls too often; try again in {seconds} s", {"retryAfterSeconds": seconds}
    )


class Door:
    """The listening side of the node's HTTP."""

    def __init__(self, config: SequencerConfig, rate: RateLimit) -> None:
        self._config, self._rate = config, rate
        self._open: dict[Connection, str] = {}
        self._per_source: Counter[str] = Counter()
        self._refusing = 0

    async def serve(self, app: App, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled; started with the port. OSError when the address is not free."""
        _allow_files(self._config.max_connections + SPARE_FILES)
        host, port = self._config.host, self._config.port
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        if port == 0:
            for other in listeners[1:]:  # each would have a port of its own
                await other.aclose()
            listeners = listeners[:1]
        handle = partial(self._handle, wrap_app(self._guarded(app), 0, "asgi"), WorkerContext(None))
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(handle, listeners)

    async def _handle(self, app: Any, context: WorkerContext, stream: trio.SocketStream) -> None:
        try:
            peer = stream.socket.getpeername()
        except OSError:  # gone already
            await trio.aclose_forcefully(stream)
            return
        origin = source(peer[0])
        refused = self._make_room(peer[0], origin)
        if refused:
            await self._refuse(stream, *refused)
            return
        connection = Connection(stream, (peer[0], peer[1]), app, server_config(), context, self._config)
        self._open[connection] = origin
        self._per_source[origin] += 1
        metrics.CONNECTIONS.set(len(self._open))
        try:
            await connection.run()
        except Exception:
            # One peer's connection must not end the node, whatever it sent.
            metrics.FAILURES.labels("connection").inc()
            log.exception("connection failed", peer=peer[0])
        finally:
            self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        origin = self._open.pop(connection, None)
        if origin is None:
            return
        self._per_source[origin] -= 1
        if not self._per_source[origin]:
            del self._per_source[origin]
        metrics.CONNECTIONS.set(len(self._open))

    def _make_room(self, host: str, origin: str) -> tuple[int, str] | None:
        """Ends an idle connection if one more would be too many; the refusal when there is none to end."""
        limited = self._config.limit_loopback or not is_loopback(host)
        if limited and self._per_source[origin] >= self._config.connections_per_address:
            own = (connection for connection, other in self._open.items() if other == origin)
            if not self._evict_idlest(own):
                most = self._config.connections_per_address
                return 429, f"this address has {most} connections open, more are not taken"
        if len(self._open) >= self._config.max_connections and not self._evict_idlest(self._open):
            return 503, "all connections are in use; try again later"
        return None

    def _evict_idlest(self, connections: Iterable[Connection]) -> bool:
        idle = [(one.idle_since, id(one), one) for one in connections if one.idle_since is not None]
        if not idle:
            return False
        _, _, connection = min(idle)
        connection.evict()
        self._leave(connection)
        return True

    async def _refuse(self, stream: trio.SocketStream, status: int, message: str) -> None:
        metrics.REFUSED_CONNECTIONS.labels(str(status)).inc()
        self._refusing += 1
        try:
            if self._refusing <= MAX_REFUSING:
                with trio.move_on_after(REFUSAL_SECONDS):
                    await _tell(stream, status, message)
        finally:
            self._refusing -= 1
            await trio.aclose_forcefully(stream)

    def _guarded(self, app: App) -> App:
        """The application behind the rate limit. While it answers, what is still coming of the request is dropped: hypercorn would wait for ever
        for somebody to take it, and the connection would never end."""

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return
            wait = self._rate.take(scope["client"][0], 1)
            inner: App = app
            if wait:
                error = too_fast(wait)
                headers = {"Retry-After": str(ceil(wait)), "Connection": "close"}
                inner = JSONResponse(jsonrpc.failure(None, error), 429, headers)
            async with trio.open_nursery() as nursery:

                async def answering(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        nursery.start_soon(_drop, receive)
                    await send(message)

                await inner(scope, receive, answering)
                nursery.cancel_scope.cancel()

        return guarded


async def _drop(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] == "http.request":
        pass


async def _tell(stream: trio.SocketStream, status: int, message: str) -> None:
    phrase = {429: "Too Many Requests", 503: "Service Unavailable"}[status]
    body = error_body(Code.RATE_LIMITED, message)
    head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    try:
        await stream.send_all(f"{head}retry-after: 1\r\nconnection: close\r\n\r\n".encode() + body)
        await stream.send_eof()
        while await stream.receive_some(4096):
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # it did not wait for its answer


def _allow_files(count: int) -> None:
    """Raises this process' own limit of open files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
