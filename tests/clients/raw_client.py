"""JSON-RPC as it is, by httpx and websockets: says every call of the script, the malformed ones too.

`./run python -m tests.clients.raw_client RPC_URL WEBSOCKET_URL SCRIPT OUT`
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from solders.transaction import VersionedTransaction
from websockets.asyncio.client import connect

from tests.clients.interpreter import Client, main

CONFIRMED = {"commitment": "confirmed"}


class RpcError(Exception):
    pass


class RawClient(Client):
    def __init__(self, http: httpx.AsyncClient, websocket_url: str) -> None:
        self._http = http
        self._websocket_url = websocket_url
        self._ids = itertools.count(1)

    async def call(self, method: str, params: list[Any]) -> Any:
        return self._result((await self._http.post("/", json=self._request(method, params))).json())

    def _request(self, method: str, params: list[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}

    @staticmethod
    def _result(answer: dict[str, Any]) -> Any:
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    async def airdrop(self, to: str, lamports: int) -> str:
        signature = await self.call("requestAirdrop", [to, lamports, CONFIRMED])
        await self.confirm(signature)
        return signature

    async def send(self, transaction: VersionedTransaction, options: dict[str, Any]) -> str:
        return await self.call("sendTransaction", [_base64(transaction), options | {"encoding": "base64"}])

    async def simulate(self, transaction: VersionedTransaction, options: dict[str, Any]) -> Any:
        return await self.call("simulateTransaction", [_base64(transaction), options | {"encoding": "base64"}])

    async def confirm(self, signature: str) -> None:
        async with self.subscribed("signature", [signature, CONFIRMED]) as notifications:
            await anext(notifications)

    @asynccontextmanager
    async def subscribed(self, kind: str, params: list[Any]) -> AsyncIterator[AsyncIterator[Any]]:
        async with connect(self._websocket_url, max_size=None) as socket:
            await socket.send(json.dumps(self._request(f"{kind}Subscribe", params)))
            answer = json.loads(await socket.recv())
            subscription = self._result(answer)

            async def notifications() -> AsyncIterator[Any]:
                async for text in socket:
                    message = json.loads(text)
                    if message.get("params", {}).get("subscription") == subscription:
                        yield {"method": message["method"], "result": message["params"]["result"]}

            yield notifications()
            if kind != "signature":  # which ends by itself
                await socket.send(json.dumps(self._request(f"{kind}Unsubscribe", [subscription])))
                async for text in socket:
                    message = json.loads(text)
                    if "id" in message:
                        assert self._result(message) is True
                        break

    def error(self, error: Exception) -> dict[str, Any]:
        if not isinstance(error, RpcError):
            raise error
        return error.args[0]


def _base64(transaction: VersionedTransaction) -> str:
    return base64.b64encode(bytes(transaction)).decode()


@asynccontextmanager
async def make(rpc_url: str, websocket_url: str) -> AsyncIterator[RawClient]:
    async with httpx.AsyncClient(base_url=rpc_url, timeout=60) as http:
        yield RawClient(http, websocket_url)


if __name__ == "__main__":
    main(make)
