from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from sequencer import service
from tests.sequencer.kit import Network, config_for, start_l1


@pytest.fixture
async def network(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Network]:
    """Three validators of equal stake, and a sequencer in this process."""
    client, l1 = await start_l1(nursery, 3)
    port = await nursery.start(service.run, config_for(l1, tmp_path))
    yield Network(l1, f"http://127.0.0.1:{port}", nursery)
    await client.__aexit__(None, None, None)
    nursery.cancel_scope.cancel()
