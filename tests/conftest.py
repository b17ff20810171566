"""Fixtures that several rooms share: an L1 with the committed program on it.

It is the embedded one, served in-process over HTTP. Tests marked `both_l1` run a second time against a real solana-test-validator;
those runs carry the mark `test_validator` and are deselected unless `-m` names it, since a newcomer has no such tool. So with `node`.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from localnet import x87
from localnet.config import GenesisProgram, LocalnetConfig
from localnet.service import Endpoints, serve
from settlement import idl
from settlement.client import L1Client
from tests.real_validator import RealValidator

LAMPORTS_PER_SOL = 1_000_000_000
SLOT_MS = 40  # ten times faster than a cluster, so that waiting for `finalized` is no second
NOT_EVERYWHERE = ("test_validator", "node")
collect_ignore = ["anchorpy"]  # has an environment, and a `./run pytest`, of its own


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_l1: runs on the embedded L1 and, with -m test_validator, on a real one")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "l1" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_l1"):
        real = pytest.param("test-validator", marks=pytest.mark.test_validator)
        metafunc.parametrize("l1", ["embedded", real], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unnamed = [mark for mark in NOT_EVERYWHERE if mark not in config.option.markexpr]
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in unnamed)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def _x87() -> Iterator[None]:
    """Tests that call LiteSVM themselves leave the floating-point unit to the next test as they found it (localnet/x87.py)."""
    yield
    x87.clear()


@dataclass(frozen=True)
class L1:
    """`authority` is the program's upgrade authority; `rich` holds far more than 1,000 SOL, and both can pay."""

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
async def l1(nursery: trio.Nursery, request: pytest.FixtureRequest) -> AsyncIterator[L1]:
    """A fresh L1 with the settlement program loaded as upgradeable and not yet initialised."""
    program_id, authority, rich = idl.committed().address, Keypair(), Keypair()
    if getattr(request, "param", "embedded") == "test-validator":
        opened = _test_validator(program_id, authority, rich)
    else:
        opened = _embedded(nursery, program_id, authority, rich)
    async with opened as (url, websocket_url), L1Client(url, program_id) as client:
        await client.request_airdrop(authority.pubkey(), 100 * LAMPORTS_PER_SOL)
        yield L1(url, websocket_url, client, program_id, authority, rich)


@asynccontextmanager
async def _embedded(
    nursery: trio.Nursery, program_id: Pubkey, authority: Keypair, rich: Keypair
) -> AsyncIterator[tuple[str, str]]:
    program = GenesisProgram(program_id, idl.PROGRAM_PATH, authority.pubkey())
    config = LocalnetConfig(rpc_port=0, programs=(program,), mint=rich.pubkey(), slot_ms=SLOT_MS)
    endpoints: Endpoints = await nursery.start(serve, config)
    yield endpoints.rpc_url, endpoints.websocket_url
    nursery.cancel_scope.cancel()


@asynccontextmanager
async def _test_validator(program_id: Pubkey, authority: Keypair, rich: Keypair) -> AsyncIterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory(prefix="pouw-test-validator-") as folder:
        validator = RealValidator(Path(folder), authority.pubkey(), rich.pubkey(), program_id)
        try:
            await validator.start()
            yield validator.url, validator.websocket_url
        finally:
            validator.kill()
