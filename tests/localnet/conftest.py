"""A served localnet whose slots pass by hand, and clients for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import trio
from solana.rpc.async_api import AsyncClient
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from localnet.clock import ManualClock
from localnet.config import LocalnetConfig
from localnet.service import Endpoints, serve

SOL = 1_000_000_000
ANY_PORT = LocalnetConfig(rpc_port=0)


@dataclass
class Localnet:
    """`call` gives the whole answer, `result` its result and fails the test on an error."""

    endpoints: Endpoints
    clock: ManualClock
    client: AsyncClient
    http: httpx.AsyncClient

    async def call(self, method: str, *params: Any) -> dict[str, Any]:
        response = await self.http.post("/", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        assert response.status_code == 200
        return response.json()

    async def result(self, method: str, *params: Any) -> Any:
        answer = await self.call(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, *params: Any) -> dict[str, Any]:
        answer = await self.call(method, *params)
        assert "result" not in answer, answer
        return answer["error"]

    async def blockhash(self, commitment: str = "processed") -> Hash:
        found = await self.result("getLatestBlockhash", {"commitment": commitment})
        return Hash.from_string(found["value"]["blockhash"])

    async def airdrop(self, to: Pubkey, lamports: int = 10 * SOL) -> str:
        return await self.result("requestAirdrop", str(to), lamports)

    async def funded(self, lamports: int = 10 * SOL) -> Keypair:
        """A new keypair whose airdrop is finalized."""
        keypair = Keypair()
        await self.airdrop(keypair.pubkey(), lamports)
        self.clock.advance(33)
        return keypair

    async def balance(self, address: Pubkey, commitment: str) -> int:
        return (await self.result("getBalance", str(address), {"commitment": commitment}))["value"]

    async def sign(
        self, payer: Keypair, *instructions: Instruction, also: tuple[Keypair, ...] = ()
    ) -> VersionedTransaction:
        message = Message.new_with_blockhash(list(instructions), payer.pubkey(), await self.blockhash())
        return VersionedTransaction(message, [payer, *also])


def pay(sender: Keypair, to: Pubkey, lamports: int) -> Instruction:
    return transfer(TransferParams(from_pubkey=sender.pubkey(), to_pubkey=to, lamports=lamports))


@pytest.fixture
def config() -> LocalnetConfig:
    return ANY_PORT


@pytest.fixture
async def localnet(nursery: trio.Nursery, config: LocalnetConfig) -> AsyncIterator[Localnet]:
    clock = ManualClock()
    endpoints = await nursery.start(lambda task_status: serve(config, clock=clock, task_status=task_status))
    async with httpx.AsyncClient(base_url=endpoints.rpc_url) as http, AsyncClient(endpoints.rpc_url) as client:
        yield Localnet(endpoints, clock, client, http)
    nursery.cancel_scope.cancel()
