"""A proxy before an L1 that passes JSON-RPC calls on, remembers them, and makes trouble when a test wants some."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve as serve_asgi
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass
class Proxy:
    """Passes calls on to `target`; `trouble(method, body)` may answer in its stead, `after` may spoil the answer."""

    target: str
    trouble: Callable[[str, dict[str, Any]], Response | None] = lambda method, body: None
    spoil: Callable[[str], bool] = lambda method: False
    calls: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def sent(self) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["method"] == "sendTransaction"]

    async def handle(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.calls.append(body)
        if (answer := self.trouble(body["method"], body)) is not None:
            return answer
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            passed = await http.post(self.target, json=body)
        if self.spoil(body["method"]):
            return Response("gone", 502)
        return Response(passed.content, passed.status_code, media_type="application/json")

    async def run(self, task_status=trio.TASK_STATUS_IGNORED):
        config = HypercornConfig()
        config.bind = ["127.0.0.1:0"]
        config.loglevel = "ERROR"
        async with trio.open_nursery() as inner:
            binds = await inner.start(serve_asgi, Starlette(routes=[Route("/", self.handle, methods=["POST"])]), config)
            self.url = binds[0]
            task_status.started()
