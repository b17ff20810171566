"""What a worker needs to know to run."""

from pydantic import Field

from settlement.ledger import MIN_WORKER_STAKE
from settlement.process import ProcessConfig


class WorkerConfig(ProcessConfig):
    """`sequencer` is the L2 node's URL, `keypair` holds the L2 account."""

    sequencer: str
    stake_lamports: int = Field(default=2 * MIN_WORKER_STAKE, ge=MIN_WORKER_STAKE)
    device: str = Field(default="auto", pattern="^(auto|cpu|cuda)$")
    # More threads are faster on large models, but then only validators with as many can check the result.
    threads: int = Field(default=1, ge=1, le=256)
    poll_seconds: float = Field(default=1.0, gt=0)
    renew_seconds: float = Field(default=4.0, gt=0)
