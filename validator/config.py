"""What a validator needs to know to run."""

from pathlib import Path

from pydantic import Field

from settlement.process import ProcessConfig


class ValidatorConfig(ProcessConfig):
    """`sequencer` is the L2 node's URL, `keypair` the authority that registered the BLS key in `bls_keypair`.

    `challenge`: a posted checkpoint that is false, or whose batch is not to be had, is challenged on L1; `keypair` pays fees and
    bonds, of which at most `challenge_bond_lamports` for one checkpoint. A batch counts as withheld after half of the challenge
    window, and not before `withheld_seconds`.

    `watch`: whoever is seen to sign two messages of one attempt is reported on L1, which `keypair` pays. Looked at every
    `watch_seconds` are `sequencer` and the URLs in `watch_sequencers`.
    """

    sequencer: str
    bls_keypair: Path
    device: str = Field(default="auto", pattern="^(auto|cpu|cuda)$")
    threads: int = Field(default=1, ge=1, le=256)
    poll_seconds: float = Field(default=1.0, gt=0)
    challenge: bool = True
    challenge_bond_lamports: int = Field(default=500_000_000, ge=0)
    withheld_seconds: float = Field(default=3.0, ge=0)
    answer_demands: bool = True
    """Answers demands that the sequencer leaves open, for their bonds: a checkpoint that this validator signed must not fall unanswered."""
    watch: bool = True
    watch_sequencers: tuple[str, ...] = ()
    watch_seconds: float = Field(default=3.0, gt=0)
