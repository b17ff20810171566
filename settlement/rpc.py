"""JSON-RPC to a Solana node, over solana-py's AsyncClient under trio, with bounded retries.

Answers are taken as plain JSON: the typed parsers of solders 0.29 panic, with an exception that is no `Exception`, on an error
object that lacks `data`, and any proxy may send one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Literal

import httpx2
import trio
from pydantic import ValidationError
from solana.exceptions import SolanaRpcException
from solana.rpc.async_api import AsyncClient
from solana.rpc.jsonrpc import JsonRpcRequest, SolanaJsonRpcError

from settlement.errors import L1RpcError, L1Unreachable

Commitment = Literal["processed", "confirmed", "finalized"]
COMMITMENTS: tuple[Commitment, ...] = ("processed", "confirmed", "finalized")

ATTEMPTS = 6
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
MAX_RETRY_AFTER_SECONDS = 60.0  # a node that asks for more is as good as gone: the caller decides
TIMEOUT_SECONDS = 20.0
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
# NODE_UNHEALTHY, MIN_CONTEXT_SLOT_NOT_REACHED, and the HTTP code that some providers put into the body.
RETRIED_CODES = frozenset({-32005, -32016, 429})


class Rpc:
    """One node. An async context manager; safe for concurrent calls."""

    def __init__(self, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        self._client = AsyncClient(url, timeout=timeout_seconds, http2=False, max_transport_retries=0)

    async def __aenter__(self) -> Rpc:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            await self._client.close()

    async def call(self, method: str, params: Sequence[Any] = (), attempts: int = ATTEMPTS) -> Any:
        """The `result` of one call. Connection errors, rate limits and an unhealthy node are retried with doubled, jittered pauses, and
        never before the Retry-After that the node gave.

        Raises L1Unreachable after `attempts`, L1RpcError for an error of the node's.
        """
        reason, pause, asked = "", FIRST_BACKOFF_SECONDS, 0.0
        for attempt in range(attempts):
            if attempt:
                await trio.sleep(max(pause * random.uniform(0.8, 1.2), asked))
                pause, asked = min(pause * 2, MAX_BACKOFF_SECONDS), 0.0
            try:
                return await self._client.send_rpc_request(JsonRpcRequest(method=method, params=list(params)), Any)
            except SolanaRpcException as error:
                reason = _reason(error)
                wait = _retry_after(error)
                if wait is None:
                    raise L1RpcError(method, None, reason) from error
                asked = min(wait, MAX_RETRY_AFTER_SECONDS)
            except SolanaJsonRpcError as error:
                if error.code not in RETRIED_CODES:
                    raise RpcFailure(method, error.code, error.message, error.data) from error
                reason = f"{error.message} (code {error.code})"
            except ValidationError as error:
                raise L1RpcError(method, None, f"{self.url} does not answer with JSON-RPC 2.0") from error
        raise L1Unreachable(self.url, method, attempts, reason, asked)


class RpcFailure(L1RpcError):
    """An L1RpcError with the `data` of the node's error object."""

    def __init__(self, method: str, code: int, message: str, data: Any) -> None:
        super().__init__(method, code, message)
        self.data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}


def _reason(error: SolanaRpcException) -> str:
    cause = error.__cause__
    if isinstance(cause, httpx2.HTTPStatusError):
        return f"HTTP status {cause.response.status_code}"
    return f"{type(cause).__name__}: {cause}"


def _retry_after(error: SolanaRpcException) -> float | None:
    """Seconds to wait at least before another try, None when another try is pointless."""
    cause = error.__cause__
    if isinstance(cause, httpx2.HTTPStatusError):
        if cause.response.status_code not in RETRIED_STATUS:
            return None
        return retry_after_seconds(cause.response.headers.get("retry-after", ""), time.time())
    return 0.0 if isinstance(cause, httpx2.TransportError) else None


def retry_after_seconds(header: str, unix_time: float) -> float:
    """A Retry-After header (RFC 9110, section 10.2.3): seconds, or a date. 0 for what is neither."""
    if header.isdigit():
        return float(header)
    try:
        return max(parsedate_to_datetime(header).timestamp() - unix_time, 0.0)
    except ValueError:
        return 0.0
