"""From a posted checkpoint to a final one: asks L1 to finalize when the window is over, and believes it only at `finalized`."""

from __future__ import annotations

import structlog

from sequencer import crash, metrics
from sequencer.l1_port import L1Port
from sequencer.node import Node
from settlement.accounts import CheckpointStatus, Config
from settlement.errors import TransactionError

log = structlog.get_logger(__name__)


async def step(node: Node, port: L1Port) -> bool:
    """One step; whether there was one to take. L1Error when L1 does not answer."""
    config, finalized = node.view.config, node.view.finalized_config
    if config is None or finalized is None:
        return False
    if await _take_finalized(node, port, finalized):
        return True
    return await _request_finalization(node, port, config)


async def _take_finalized(node: Node, port: L1Port, finalized: Config) -> bool:
    posted = node.chain.position.posted
    if not posted or finalized.finalized.epoch < posted[0].row.epoch:
        return False
    row = posted[0].row
    found = await port.checkpoint(row.epoch, "finalized")
    if found is None or found.status is not CheckpointStatus.FINALIZED:
        return False
    if found.hash != row.hash:
        theirs = f"L1 finalized another checkpoint for epoch {row.epoch}: {found.hash.hex()}, ours is {row.hash.hex()}"
        node.raise_alarm("foreign checkpoint", theirs)
        return False
    with node.database.transaction() as tx:
        node.chain.finalize(tx)
        node.tasks.settle(tx, row.epoch)
    metrics.FINALIZED_EPOCH.set(row.epoch)
    log.info("epoch finalized", epoch=row.epoch)
    crash.point("finalized_unclaimed")
    return True


async def _request_finalization(node: Node, port: L1Port, config: Config) -> bool:
    """Anyone may finalize; that somebody was faster is no failure."""
    flight = next((f for f in node.chain.position.posted if f.row.epoch > config.finalized.epoch), None)
    if flight is None or flight.row.posted_slot is None or flight.row.epoch == node.void_epoch:
        return False
    epoch = flight.row.epoch
    if node.slot <= flight.row.posted_slot + config.parameters.challenge_window_slots:
        return False
    found = await port.checkpoint(epoch, "confirmed")
    if found is None or found.status is not CheckpointStatus.POSTED or found.open_demands:
        return False  # the Config that was read is older than this, or somebody must answer first
    try:
        await port.confirm(await port.sign_finalize(epoch, found.poster), False)
    except TransactionError as error:
        metrics.FAILURES.labels("finalize").inc()
        log.warning("finalization did not land", epoch=epoch, error=str(error))
        return False
    return True
