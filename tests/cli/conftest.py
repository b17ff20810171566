"""`pouw` called as a user calls it, in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cli import main as cli_main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def pouw(monkeypatch, capsys, tmp_path) -> Callable[..., Ran]:
    """Runs `pouw ARGUMENTS` in this process, away from the machine's own Solana configuration."""
    for name in ("POUW_URL", "POUW_SEQUENCER", "POUW_KEYPAIR", "POUW_PROGRAM_ID", "POUW_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["pouw", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli_main.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run
