"""Looking at L1: slots and Config at two commitments, new inbox entries, the pinned set, forks, and rejections.

What is read becomes events of the node. Deposits are taken at `confirmed`; if L1 takes one back, what rested on it is replayed without it. A
rejection stops the node at `confirmed` and opens the epochs again at `finalized`, so that nothing has to be undone when L1 takes it back.
"""

from __future__ import annotations

import structlog

from sequencer import database as db
from sequencer import forced, metrics
from sequencer.l1_port import L1Port
from sequencer.node import L1View, Node
from sequencer.rows import DepositRow
from settlement import inbox, records
from settlement.accounts import Config, InboxEntryAccount
from settlement.errors import L1Disagreement
from settlement.messages import next_inbox_hash
from settlement.signing import Domain

log = structlog.get_logger(__name__)

MAX_ENTRIES_PER_POLL = 512


async def poll(node: Node, port: L1Port) -> None:
    """One look. L1Error when L1 does not answer or its nodes contradict each other, and then nothing has changed."""
    _watch_nodes(port)
    try:
        slot = await port.slot("confirmed")
        config = await port.config("confirmed")
        finalized_slot = await port.slot("finalized")
        finalized_config = await port.config("finalized")
    except L1Disagreement as error:
        node.raise_alarm("l1 nodes", str(error))
        raise
    node.clear_alarm("l1 nodes")
    node.view = L1View(slot, finalized_slot, config, finalized_config, node.now())
    metrics.L1_SLOT.set(slot)
    await _follow_pinned_set(node, port, config)
    _watch_rejections(node, config, finalized_config)
    _watch_posts(node, config)
    await _watch_deposits(node, port, config, finalized_config)
    await _take_deposits(node, port, config)


def _watch_nodes(port: L1Port) -> None:
    for url, trouble in port.troubles.items():
        metrics.L1_NODE_TROUBLE.labels(url).set(1 if trouble else 0)


async def _follow_pinned_set(node: Node, port: L1Port, config: Config) -> None:
    pinned = node.chain.position.pinned
    if config.pinned.version in (0, pinned.version) and config.pinned.hash in (bytes(32), pinned.hash(node.domain)):
        return
    account = await port.validator_set(config.pinned.version)
    if account is None or not account.sealed:
        return  # a node that lags behind the one that answered for Config; the next look will show it
    validators = account.validator_set
    if validators.hash(node.domain) != config.pinned.hash:
        raise RuntimeError(f"validator set {config.pinned.version} on L1 does not have the hash that Config pins")
    with node.database.transaction() as tx:
        node.reconcile(tx, node.chain.pin(tx, validators))
    log.info("validator set pinned", version=validators.version, validators=len(validators))


def _watch_posts(node: Node, config: Config) -> None:
    """A confirmed post that L1 no longer has is posted again. One look may come from a node that lags; two in a row count."""
    tip = node.chain.position.tip.epoch
    ours = next((f.row for f in node.chain.position.posted if f.row.epoch == config.posted.epoch), None)
    if config.posted.epoch > tip:
        ahead = f"L1 has checkpoints up to epoch {config.posted.epoch}, this node's data end at {tip}: not its data directory?"
        node.raise_alarm("posted head", ahead)
    elif ours is not None and ours.hash != config.posted.hash:
        theirs = (
            f"L1 has another checkpoint for epoch {ours.epoch}: {config.posted.hash.hex()}, ours is {ours.hash.hex()}"
        )
        node.raise_alarm("posted head", theirs)
    else:
        node.clear_alarm("posted head")
    # What was rejected counts still in the highest epoch: only a fork makes that smaller.
    lost = next((f.row for f in node.chain.position.posted if f.row.epoch > config.highest_epoch), None)
    if lost is None or node.view.slot < (lost.posted_slot or 0):
        node.suspected_fork = None
    elif node.suspected_fork != lost.hash:
        node.suspected_fork = lost.hash
    else:
        node.suspected_fork = None
        with node.database.transaction() as tx:
            node.chain.fork(tx, lost.epoch)
        metrics.FORKS.inc()
        log.warning("L1 took a confirmed post back", epoch=lost.epoch)


def _watch_rejections(node: Node, config: Config, finalized: Config) -> None:
    posted = node.chain.position.posted
    fallen = next((flight.row.epoch for flight in posted if finalized.is_void(flight.row.epoch)), None)
    if fallen is not None:
        with node.database.transaction() as tx:
            node.reconcile(tx, node.chain.reject(tx, fallen, finalized.highest_epoch))
            now = node.now()
            tx.after(lambda: node.opened(now))
        node.quorum_since = None
        metrics.EPOCHS_REJECTED.inc()
        log.error("epoch rejected on L1", epoch=fallen, next_epoch=node.chain.open.epoch)
    _tell_rejection(node)


def _tell_rejection(node: Node) -> None:
    """Until a later epoch is final, or L1 took it back; when the same records were rejected twice, until a person says that the cause is
    mended."""
    meta, void = node.chain.meta_cell.value, node.void_epoch
    if node.is_halted:
        text = (
            f"epoch {meta.rejected_epoch} was rejected on L1 and held records that had been rejected before: nothing is cut until this "
            f"starts with mended_to_epoch = {meta.rejected_epoch}, once the cause is found"
        )
    elif void is not None:
        text = f"epoch {void} was rejected on L1: nothing is cut until that is final there"
    elif meta.rejected_epoch > meta.finalized_epoch:
        text = f"epoch {meta.rejected_epoch} was rejected on L1: its records are cut again from epoch {meta.used_up_epoch + 1} on"
    else:
        node.clear_alarm("rejected")
        return
    node.raise_alarm("rejected", text)


async def _watch_deposits(node: Node, port: L1Port, config: Config, finalized: Config) -> None:
    """Compares the last entry taken with L1's, whose hash binds all before it, until it was found equal while final there."""
    cursor, last_hash = taken(node)
    if cursor == node.verified_cursor or cursor == node.chain.position.tip.inbox_cursor:
        return
    if config.inbox.count >= cursor:
        (entry,) = await port.inbox_entries(cursor - 1, cursor)
        if entry.hash_after == last_hash:
            node.verified_cursor = cursor if finalized.inbox.count >= cursor else None
            return
    with node.database.transaction() as tx:
        node.reconcile(tx, node.chain.forget_deposits(tx, node.chain.position.tip.inbox_cursor))
    metrics.FORKS.inc()
    log.warning("L1 took deposits back", cursor=cursor, count_on_l1=config.inbox.count)


async def _take_deposits(node: Node, port: L1Port, config: Config) -> None:
    cursor, inbox_hash = taken(node)
    end = min(config.inbox.count, cursor + MAX_ENTRIES_PER_POLL)
    if end <= cursor:
        return
    rows: list[DepositRow] = []
    for entry in await port.inbox_entries(cursor, end):
        row = deposit_row(node.domain, entry, inbox_hash, int(node.unix_time()))
        if row is None:
            log.warning("inbox entry does not continue ours: L1 has forked", index=entry.index)
            break
        rows.append(row)
        inbox_hash = row.inbox_hash
    if not rows:
        return
    with node.database.transaction() as tx:
        node.reconcile(tx, node.chain.ingest(tx, rows))
        forced.note(tx, rows)
        now = node.now()
        tx.after(lambda: node.opened(now))
    log.info("deposits taken", first=cursor, count=len(rows))


def taken(node: Node) -> tuple[int, bytes]:
    """The cursor and inbox hash after all entries taken so far, also those that wait for a later epoch."""
    last = None
    for _, row in node.database.scan(db.DEPOSITS):
        last = row
    tip = node.chain.position.tip
    if last is None or last.index < tip.inbox_cursor:
        return tip.inbox_cursor, tip.inbox_hash
    return last.index + 1, last.inbox_hash


def deposit_row(domain: Domain, entry: InboxEntryAccount, previous_hash: bytes, unix_time: int) -> DepositRow | None:
    """The row of an inbox entry, None when it does not continue `previous_hash`. ValueError for a kind that is not known yet."""
    if next_inbox_hash(previous_hash, entry.entry) != entry.hash_after:
        return None
    record = inbox.record_of(domain, entry, unix_time)
    return DepositRow(
        index=entry.index,
        slot=entry.slot,
        kind=entry.kind,
        lamports=entry.lamports,
        payload_hash=entry.payload_hash,
        beneficiary=bytes(entry.beneficiary),
        inbox_hash=entry.hash_after,
        record=records.encode(record),
    )
