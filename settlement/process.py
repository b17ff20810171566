"""What each process that stays needs to know: sequencer, worker and validator. Command line and TOML both end in a configuration of the room's
own, which is this and more; a wrong value is refused by its name."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class ProcessConfig(BaseModel):
    """`url` is L1's JSON-RPC, `urls` are further nodes of L1 that are asked besides: what decides is then what a majority says, of three nodes
    two. `keypair` is a Solana key file, `program_id` the committed build's unless given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    urls: tuple[str, ...] = ()
    keypair: Path
    data_dir: Path
    program_id: str | None = None

    @property
    def l1_urls(self) -> tuple[str, ...]:
        """All nodes of L1, each once."""
        return tuple(dict.fromkeys((self.url, *self.urls)))
