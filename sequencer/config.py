"""What a sequencer needs to know to run."""

from __future__ import annotations

from pydantic import Field, model_validator

from sequencer.epoch import MAX_BATCH_RECORDS
from settlement.process import ProcessConfig

BLOB_LIMIT_BYTES = 64 * 1024 * 1024


class SequencerConfig(ProcessConfig):
    """`keypair` pays for posts and finalizations and has no authority of any kind.

    What strangers may make the node hold or wait for: docs/rpc.md, section Limits. The limits per address do not bind loopback unless
    `limit_loopback`: who calls from this machine is its owner, or a reverse proxy that has limits of its own.

    Seconds are monotonic time, slots are L1's. `max_records` leaves room in a batch for what a later attempt must add.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8910, ge=0, le=65535)

    epoch_seconds: float = Field(default=4.0, gt=0)
    max_records: int = Field(default=2048, ge=1, le=MAX_BATCH_RECORDS)
    attestation_grace_seconds: float = Field(default=1.5, ge=0)
    verdict_grace_slots: int = Field(default=10, ge=0)
    lease_slots: int = Field(default=150, ge=1)
    refund_grace_slots: int = Field(default=300, ge=0)
    poll_seconds: float = Field(default=0.4, gt=0)
    tick_seconds: float = Field(default=0.2, gt=0)
    l1_stale_seconds: float = Field(default=15.0, gt=0)

    priority_fee_micro_lamports: int = Field(default=1_000, ge=1)
    priority_fee_cap_micro_lamports: int = Field(default=1_000_000, ge=0)
    """What a compute unit of a post may cost at most: with the default, 1.4 million lamports a post."""
    pay_rewards: bool = True
    """Adds late signatures and pays each final epoch's rewards from the program's treasury, for the fees of both. Anybody may do it instead."""
    answer_demands: bool = True
    """Answers demands on posted epochs, for their bonds. Where nobody answers one in time, the checkpoint is rejected and its signers slashed."""

    settle_checkpoints: bool = True
    """Voids checkpoints that build on a rejected one, for their bonds, and closes old ones that fell, for their rents. Anybody may do it."""
    close_checkpoints: bool = False
    """Closes old final ones too. Whoever follows L1 from the beginning, or verifies an old receipt, reads them."""
    mended_to_epoch: int = Field(default=0, ge=0)
    """A person's word that the cause of all rejections up to this epoch is mended: needed when the same records were rejected twice, since
    each rejection costs all signers their stake."""

    body_limit_bytes: int = Field(default=1024 * 1024, ge=1024)
    body_deadline_seconds: float = Field(default=10.0, gt=0)
    blob_limit_bytes: int = Field(default=BLOB_LIMIT_BYTES, ge=1, le=BLOB_LIMIT_BYTES)
    blob_deadline_seconds: float = Field(default=120.0, gt=0)
    blob_quota_bytes: int = Field(default=2 * 1024**3, ge=1)
    """What an account may have uploaded and not yet used in a task: a result of the largest model fits."""
    blob_keep_seconds: float = Field(default=86_400.0, gt=0)
    blob_sweep_seconds: float = Field(default=600.0, gt=0)
    batch_limit_calls: int = Field(default=32, ge=1)
    answer_limit_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    bodies_limit_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    header_deadline_seconds: float = Field(default=10.0, gt=0)
    response_patience_seconds: float = Field(default=30.0, gt=0)
    response_bytes_per_second: float = Field(default=16 * 1024.0, gt=0)

    max_connections: int = Field(default=512, ge=1)
    connections_per_address: int = Field(default=64, ge=1)
    requests_per_second: float = Field(default=50.0, gt=0)
    requests_burst: int = Field(default=500, ge=1)
    limit_loopback: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> SequencerConfig:
        if self.tick_seconds > self.epoch_seconds:
            raise ValueError("tick_seconds must not exceed epoch_seconds: an epoch is closed on a tick")
        return self
