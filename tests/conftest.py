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
REAL_FLAGS = ("--ticks-per-slot", "16")  # four times faster than a cluster, for the same reason
TESTS = Path(__file__).parent
NOT_EVERYWHERE = ("test_validator", "node")
# What takes longest, first: a worker that begins one of these when the others are done would be waited for. A file is one worker's.
SLOW_FIRST = (
    "integration/",
    "cli/test_program_commands.py",
    "sequencer/test_flow.py",
    "sequencer/test_fuzz",
    "sequencer/test_kill.py",
    "sequencer/test_random_kills.py",
    "validator/test_line.py",
    "validator/test_kill.py",
    "worker/test_optimizers.py",
    "program/test_compute_units.py",
    "settlement/test_loader_l1.py",
    "cli/test_cli",
    "bench/",
    "localnet/test_process.py",
    "localnet/test_script.py",
    "docs/",
    "clients/",
    "worker/",
)
collect_ignore = ["anchorpy"]  # has an environment, and a `./run pytest`, of its own


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # by the number of their tests the files that take longest would be last
    config.addinivalue_line("markers", "both_l1: runs on the embedded L1 and, with -m test_validator, on a real one")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "l1" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_l1"):
        real = pytest.param("test-validator", marks=pytest.mark.test_validator)
        metafunc.parametrize("l1", ["embedded", real], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unnamed = [mark for mark in NOT_EVERYWHERE if mark not in config.option.markexpr]
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in unnamed)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = sorted((item for item in items if item not in left_out), key=_rank)


def _rank(item: pytest.Item) -> int:
    """Files keep their order and tests theirs where it says nothing."""
    path = item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else ""
    return next((rank for rank, start in enumerate(SLOW_FIRST) if path.startswith(start)), len(SLOW_FIRST))


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
        validator = RealValidator(Path(folder), authority.pubkey(), rich.pubkey(), program_id, *REAL_FLAGS)
        try:
            await validator.start()
            yield validator.url, validator.websocket_url
        finally:
            validator.kill()
