"""What a validator needs to know to run. Command line and TOML both end here."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ValidatorConfig(BaseModel):
    """`url` is L1's JSON-RPC, `sequencer` the L2 node's; `keypair` the authority that registered the BLS key in `bls_keypair`.

    `urls` are further nodes of L1 that are asked besides: what decides is then what a majority says, of three nodes two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    urls: tuple[str, ...] = ()
    sequencer: str
    keypair: Path
    bls_keypair: Path
    data_dir: Path
    program_id: str | None = None
    device: str = Field(default="auto", pattern="^(auto|cpu|cuda)$")
    threads: int = Field(default=1, ge=1, le=256)
    poll_seconds: float = Field(default=1.0, gt=0)

    @property
    def l1_urls(self) -> tuple[str, ...]:
        """All nodes of L1, each once."""
        return tuple(dict.fromkeys((self.url, *self.urls)))
