"""A process that is started before L1, or before the program's `initialize`, waits and says why; what will not pass is not waited for."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from settlement.errors import GenesisMismatch, L1Unreachable, NotInitialized
from settlement.patience import until_l1_answers


def failing(*errors: Exception) -> Any:
    left = list(errors)

    async def ask() -> str:
        if left:
            raise left.pop(0)
        return "there"

    return ask


async def test_it_waits_for_l1_and_names_each_reason_once(autojump_clock: Any) -> None:
    away = [L1Unreachable("http://a", "getGenesisHash", 6, "refused") for _ in range(20)]
    absent = NotInitialized("P", "http://a")
    with structlog.testing.capture_logs() as logs:
        assert await until_l1_answers(failing(*away, absent, absent), structlog.get_logger()) == "there"
    assert [entry["reason"] for entry in logs] == [str(away[0]), str(absent)]


async def test_another_cluster_is_not_waited_for(autojump_clock: Any) -> None:
    wrong = GenesisMismatch(bytes(32), b"x" * 32)
    with pytest.raises(GenesisMismatch):
        await until_l1_answers(failing(wrong), structlog.get_logger())
