"""JSON-RPC over HTTP: agave's status codes, a limit for the body, a deadline for reading it."""

from __future__ import annotations

import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from localnet.node import Node
from localnet.registry import answer
from localnet.rpc import METHODS

MAX_BODY_BYTES = 50 * 1024
BODY_DEADLINE_SECONDS = 10.0


class _Refused(Exception):
    """A body that is not read to its end; holds the response that says why."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def make_app(node: Node) -> Starlette:
    async def rpc(request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return PlainTextResponse(
                "Supplied content type is not allowed. Content-Type: application/json is required\n", 415
            )
        try:
            body = await _read_body(request)
        except _Refused as refused:
            return refused.response
        return Response(answer(METHODS, node, body) or b"", media_type="application/json")

    async def not_allowed(request: Request) -> Response:
        return PlainTextResponse("Used HTTP Method is not allowed. POST or OPTIONS is required\n", 405)

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok")

    # On whichever path, as agave answers: some clients have one in their URL.
    routes = [
        Route("/health", health, methods=["GET"]),
        Route("/{path:path}", rpc, methods=["POST"]),
        Route("/{path:path}", not_allowed, methods=["GET", "PUT", "PATCH", "DELETE"]),
    ]
    # Browser wallets and dApps call a local cluster from their own origins.
    cors = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["*"])
    return Starlette(routes=routes, middleware=[cors])


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    with trio.move_on_after(BODY_DEADLINE_SECONDS) as scope:
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _Refused(PlainTextResponse(f"Request body is over {MAX_BODY_BYTES} bytes\n", 413))
        except ClientDisconnect:
            raise _Refused(PlainTextResponse("", 400)) from None
    if scope.cancelled_caught:
        raise _Refused(PlainTextResponse(f"Request body took over {BODY_DEADLINE_SECONDS:.0f} seconds\n", 408))
    return bytes(body)
