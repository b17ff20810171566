"""Fixtures that several rooms share: an embedded L1 served in-process over HTTP, with the committed program on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from localnet.config import GenesisProgram, LocalnetConfig
from localnet.service import Endpoints, serve
from settlement import idl
from settlement.client import L1Client

LAMPORTS_PER_SOL = 1_000_000_000
SLOT_MS = 40  # ten times faster than a cluster, so that waiting for `finalized` is no second


@dataclass(frozen=True)
class L1:
    """`authority` is the program's upgrade authority; `rich` holds 1,000 SOL, and both can pay."""

    url: str
    websocket_url: str
    client: L1Client
    program_id: Pubkey
    authority: Keypair
    rich: Keypair

    async def funded(self, lamports: int = 10 * LAMPORTS_PER_SOL) -> Keypair:
        """A new keypair with lamports on it."""
        keypair = Keypair()
        await self.client.request_airdrop(keypair.pubkey(), lamports)
        return keypair


@pytest.fixture
async def l1(nursery: trio.Nursery) -> AsyncIterator[L1]:
    """A fresh L1 with the settlement program loaded as upgradeable and not yet initialised."""
    program_id, authority, rich = idl.committed().address, Keypair(), Keypair()
    program = GenesisProgram(program_id, idl.PROGRAM_PATH, authority.pubkey())
    endpoints: Endpoints = await nursery.start(
        serve, LocalnetConfig(rpc_port=0, programs=(program,), mint=rich.pubkey(), slot_ms=SLOT_MS)
    )
    async with L1Client(endpoints.rpc_url, program_id) as client:
        await client.request_airdrop(authority.pubkey(), 100 * LAMPORTS_PER_SOL)
        yield L1(endpoints.rpc_url, endpoints.websocket_url, client, program_id, authority, rich)
    nursery.cancel_scope.cancel()
