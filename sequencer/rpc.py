"""HTTP: JSON-RPC at POST /, its OpenRPC document at /openrpc.json, blobs at /blobs/<sha256>, Prometheus at /metrics, liveness at /health.
No rule of the protocol lives here.

Every body has a size limit that is checked before and while it is read and a deadline for all of it; compressed bodies are refused.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import trio
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from sequencer import auth, dispatch, jsonrpc, metrics
from sequencer import params as p
from sequencer.blobs import HEX_SHA256, BlobRefused
from sequencer.door import RateLimit, too_fast
from sequencer.errors import RpcError
from sequencer.methods import decode, need_l1
from sequencer.node import Node
from sequencer.store import StoreUnwritable
from sequencer.uploads import QuotaExceeded
from settlement.rpc_codes import Code
from settlement.signing import node_id

MAX_AUTH_HEADER_BYTES = 2048


class _Refused(Exception):
    """A request that is answered with this HTTP status and error."""

    def __init__(self, status: int, error: RpcError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


def make_app(node: Node, rate: RateLimit | None = None) -> Starlette:
    """The ASGI application of this node; `rate` is what a batch's calls beyond the first are charged to."""
    endpoints = _Endpoints(node, rate or RateLimit(node.config))
    return Starlette(
        routes=[
            Route("/", endpoints.call, methods=["POST"]),
            Route("/blobs/{name}", endpoints.put_blob, methods=["PUT"]),
            Route("/blobs/{name}", endpoints.get_blob, methods=["GET"]),
            Route("/openrpc.json", endpoints.openrpc, methods=["GET"]),
            Route("/metrics", endpoints.metrics, methods=["GET"]),
            Route("/health", endpoints.health, methods=["GET"]),
        ],
        exception_handlers={_Refused: _refusal},
    )


async def _refusal(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, _Refused)
    # The rest of the body was not read: the connection cannot be used again.
    return JSONResponse(jsonrpc.failure(None, refused.error), refused.status, {"Connection": "close"})


class _Endpoints:
    def __init__(self, node: Node, rate: RateLimit) -> None:
        self._node = node
        self._rate = rate
        self._held_bytes = 0

    async def call(self, request: Request) -> Response:
        config = self._node.config
        _content_length(request, config.body_limit_bytes, needed=False)
        body = bytearray()
        try:
            async for chunk in _chunks(request, config.body_limit_bytes, config.body_deadline_seconds):
                body += chunk
                self._held_bytes += len(chunk)
                if self._held_bytes > config.bodies_limit_bytes:
                    raise _Refused(
                        503, RpcError(Code.RATE_LIMITED, "too many bodies are on their way; try again later")
                    )
            answer = await dispatch.answer(self._node, bytes(body), lambda calls: self._charge(request, calls))
        finally:
            self._held_bytes -= len(body)
        return Response(status_code=204) if answer is None else Response(answer, media_type="application/json")

    def _charge(self, request: Request, calls: int) -> None:
        wait = self._rate.take(request.client.host if request.client else "", calls)
        if wait:
            raise too_fast(wait)

    async def openrpc(self, request: Request) -> Response:
        return Response(msgspec.json.encode(dispatch.document()), media_type="application/json")

    async def put_blob(self, request: Request) -> Response:
        node, name = self._node, _blob_name(request)
        length = _content_length(request, node.config.blob_limit_bytes, needed=True)
        assert length is not None
        self._authorise_blob(request, {"sha256": name, "bytes": length})
        if await trio.to_thread.run_sync(node.blobs.whole, name) is None:
            chunks = _chunks(request, node.config.blob_limit_bytes, node.config.blob_deadline_seconds)
            try:
                await node.blobs.receive(name, length, chunks)
            except StoreUnwritable as error:
                raise _Refused(507, RpcError(Code.READ_ONLY, str(error))) from error
            except BlobRefused as error:
                self._forget_upload(name)
                raise _Refused(400, RpcError(Code.INVALID_PARAMS, str(error))) from None
            except BaseException:
                self._forget_upload(name)
                raise
            metrics.BLOB_BYTES.inc(length)
            return Response(status_code=201)
        async for _ in _chunks(request, node.config.blob_limit_bytes, node.config.blob_deadline_seconds):
            pass  # the connection can then be used again
        return Response(status_code=200)

    def _authorise_blob(self, request: Request, params: dict[str, Any]) -> None:
        try:
            signed = decode(p.SignedAuth, _auth_header(request), "auth")
            need_l1(self._node)
            key = auth.check_call(self._node, "putBlob", params, signed)
            if self._node.state.account(node_id(key)) is None:
                raise RpcError(Code.UNKNOWN_ACCOUNT, f"{signed.public_key} has no account; a deposit on L1 makes one")
            with self._node.database.transaction() as tx:
                auth.use_nonce(tx, key, signed)
                if not self._node.blobs.has(bytes.fromhex(params["sha256"])):
                    digest, quota = bytes.fromhex(params["sha256"]), self._node.config.blob_quota_bytes
                    self._node.uploads.begin(tx, key, digest, params["bytes"], quota)
        except QuotaExceeded as error:
            raise _Refused(507, RpcError(Code.RATE_LIMITED, str(error))) from None
        except RpcError as error:
            raise _Refused(401 if error.code is Code.BAD_SIGNATURE else 403, error) from None
        except StoreUnwritable as error:
            raise _Refused(507, RpcError(Code.READ_ONLY, "the node cannot write at present")) from error

    def _forget_upload(self, name: str) -> None:
        """An upload that failed weighs on nobody, unless somebody else's of the same came through."""
        node, digest = self._node, bytes.fromhex(name)
        if not node.blobs.has(digest):
            with contextlib.suppress(StoreUnwritable), node.database.transaction() as tx:
                node.uploads.end(tx, [digest])

    async def get_blob(self, request: Request) -> Response:
        name = _blob_name(request)
        path = await trio.to_thread.run_sync(self._node.blobs.whole, name)
        if path is None:
            raise _Refused(404, RpcError(Code.NOT_FOUND, f"there is no blob {name}"))
        headers = {"Cache-Control": "public, immutable, max-age=31536000", "ETag": f'"{name}"'}
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    async def metrics(self, request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def health(self, request: Request) -> Response:
        lag = self._node.lag()
        return Response(lag or "ok", 503 if lag else 200, media_type="text/plain")


def _blob_name(request: Request) -> str:
    name = str(request.path_params["name"])
    if not HEX_SHA256.match(name):
        message = f"a blob is named by its sha256 in 64 lower-case hex digits, got {name[:80]!r}"
        raise _Refused(400, RpcError(Code.INVALID_PARAMS, message))
    return name


def _content_length(request: Request, limit: int, *, needed: bool) -> int | None:
    """The announced length. Refuses a compressed body, and one that is announced to be too long, before a byte of it is read."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise _Refused(
            415, RpcError(Code.INVALID_REQUEST, f"Content-Encoding {encoding[:32]!r} is not taken; send plain bytes")
        )
    text = request.headers.get("content-length")
    if text is None:
        if needed:
            raise _Refused(411, RpcError(Code.INVALID_REQUEST, "Content-Length is needed"))
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise _Refused(400, RpcError(Code.INVALID_REQUEST, f"Content-Length {text[:24]!r} is no number"))
    if int(text) > limit:
        raise _too_long(limit)
    return int(text)


def _too_long(limit: int) -> _Refused:
    return _Refused(413, RpcError(Code.INVALID_REQUEST, f"the body is longer than {limit} bytes"))


async def _chunks(request: Request, limit: int, deadline_seconds: float) -> AsyncIterator[bytes]:
    """The body's chunks, at most `limit` bytes and all of them within one deadline, however slowly they drip."""
    received, deadline = 0, trio.current_time() + deadline_seconds
    stream = request.stream()
    while True:
        chunk = None
        try:
            with trio.CancelScope(deadline=deadline):
                chunk = await anext(stream, b"")
        except ClientDisconnect:
            raise _Refused(400, RpcError(Code.INVALID_REQUEST, "the connection ended before the body did")) from None
        if chunk is None:
            message = f"the body was not complete within {deadline_seconds:g} s"
            raise _Refused(408, RpcError(Code.INVALID_REQUEST, message))
        if not chunk:
            return
        received += len(chunk)
        if received > limit:
            raise _too_long(limit)
        yield chunk


def _auth_header(request: Request) -> dict[str, Any]:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "pouw" or len(text) > MAX_AUTH_HEADER_BYTES:
        raise RpcError(Code.BAD_SIGNATURE, "needed: Authorization: Pouw <base64url of the JSON auth object>")
    try:
        value = jsonrpc.parse(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except binascii.Error:
        raise RpcError(Code.BAD_SIGNATURE, "the Authorization header is no base64url") from None
    except RpcError as error:
        raise RpcError(Code.BAD_SIGNATURE, f"the Authorization header: {error.message}") from None
    if not isinstance(value, dict):
        raise RpcError(Code.BAD_SIGNATURE, "the Authorization header holds no JSON object")
    return value
