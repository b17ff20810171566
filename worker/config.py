"""What a worker needs to know to run. Command line and TOML both end here."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from settlement.ledger import MIN_WORKER_STAKE


class WorkerConfig(BaseModel):
    """`url` is L1's JSON-RPC, `sequencer` the L2 node's; `keypair` a Solana key file whose key holds the L2 account."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    sequencer: str
    keypair: Path
    data_dir: Path
    program_id: str | None = None
    stake_lamports: int = Field(default=2 * MIN_WORKER_STAKE, ge=MIN_WORKER_STAKE)
    device: str = Field(default="auto", pattern="^(auto|cpu|cuda)$")
    # More threads are faster on large models, but then only validators with as many can check the result.
    threads: int = Field(default=1, ge=1, le=256)
    poll_seconds: float = Field(default=1.0, gt=0)
    renew_seconds: float = Field(default=4.0, gt=0)
