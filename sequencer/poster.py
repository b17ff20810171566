"""From attestations to a confirmed post. L1 is asked before anything is sent, and again before anything is sent anew.

The signed transaction is stored before it is first sent, so after a crash the same bytes are followed; only when L1 says that they can no
longer land, and the epoch's account is not there, is another one signed, at a higher price. An attempt is given up only when L1's
finalized slot is past its expiry and no checkpoint of the epoch is there: until then it may land, and validators would refuse to sign the
next.
"""

from __future__ import annotations

import structlog
import trio

from sequencer import crash, metrics
from sequencer.attestation import Readiness, bitmap_of, readiness
from sequencer.epoch_loop import can_no_longer_land
from sequencer.l1_port import L1Port
from sequencer.lifecycle import CheckpointStatus
from sequencer.node import Node
from sequencer.proposals import attestations, set_of
from sequencer.rows import EpochRow, SentRow
from settlement import certificate, fees
from settlement.accounts import Checkpoint
from settlement.errors import L1Error, TransactionError, TransactionExpired, TransactionFailed
from settlement.transactions import Confirmed

log = structlog.get_logger(__name__)

LOOKUP_SECONDS = 10.0
ALARM_AFTER_UNLANDED = 2


async def step(node: Node, port: L1Port) -> bool:
    """Brings the epoch in flight one step further; whether there was a step to take. L1Error when L1 does not answer."""
    current = node.chain.position.current
    if current is None or node.void_epoch is not None:
        return False
    if current.row.status is CheckpointStatus.ATTESTING:
        return _certify(node, current.row) or await _give_up_if_dead(node, port, current.row)
    return await _post(node, port, current.row)


def _certify(node: Node, row: EpochRow) -> bool:
    signatures, validators = attestations(node, node.database, row), set_of(node, row)
    if not validators.is_quorum(bitmap_of(signatures)):
        return False
    if node.quorum_since is None:
        node.quorum_since = node.now()
    state = readiness(
        signatures,
        validators,
        seconds_since_quorum=node.now() - node.quorum_since,
        grace_seconds=node.config.attestation_grace_seconds,
    )
    if state is not Readiness.READY:
        return False
    made = certificate.certify(node.domain, row.message, signatures, validators)
    with node.database.transaction() as tx:
        node.chain.certify(tx, made.bitmap, made.signature)
    node.quorum_since = None
    log.info("epoch certified", epoch=row.epoch, attempt=row.attempt, signers=len(signatures), set_size=len(validators))
    crash.point("attested_unsent")
    return True


async def _post(node: Node, port: L1Port, row: EpochRow) -> bool:
    found = await _look(port, row.epoch)
    if found is not None:
        return await _landed(node, port, row, found, None)
    if node.view.finalized_slot > row.expiry_slot:
        return await _give_up_if_dead(node, port, row)
    if row.sent and await _follow(node, port, row, row.sent[-1], possibly_sent=True):
        return True
    if node.slot > row.expiry_slot:
        return await _give_up_if_dead(node, port, row)
    config = node.config
    price = fees.price(
        fees.usual_price(await port.recent_prices()),
        node.posts_unlanded,
        start=config.priority_fee_micro_lamports,
        cap=config.priority_fee_cap_micro_lamports,
    )
    sent = await port.sign_post(row, price)
    with node.database.transaction() as tx:
        node.chain.note_sent(tx, sent)
    metrics.POST_PRICE.set(price)
    return await _follow(node, port, row, sent, possibly_sent=False)


async def _look(port: L1Port, epoch: int) -> Checkpoint | None:
    """The epoch's account, at `finalized` first: it is there for good, whatever a node says of its transaction or of newer blocks."""
    return await port.checkpoint(epoch, "finalized") or await port.checkpoint(epoch, "confirmed")


async def _follow(node: Node, port: L1Port, row: EpochRow, sent: SentRow, *, possibly_sent: bool) -> bool:
    """Whether this transaction made the checkpoint; when it failed or expired, L1 says why and the caller looks again."""
    try:
        confirmed = await _confirm(node, port, row, sent, possibly_sent)
    except TransactionError as error:
        metrics.FAILURES.labels("post").inc()
        log.warning("post did not land", epoch=row.epoch, attempt=row.attempt, error=str(error))
        if isinstance(error, TransactionFailed) and not possibly_sent:
            await trio.sleep(node.config.poll_seconds)
        found = await _look(port, row.epoch)
        if found is not None:
            return await _landed(node, port, row, found, None)
        if isinstance(error, TransactionExpired):
            with node.database.transaction() as tx:
                node.chain.note_unlanded(tx)
            _tell_unlanded(node, row)
        return False
    crash.point("posted_unconfirmed")
    found = await _look(port, row.epoch)
    return found is not None and await _landed(node, port, row, found, confirmed)


async def _confirm(node: Node, port: L1Port, row: EpochRow, sent: SentRow, possibly_sent: bool) -> Confirmed | None:
    """port.confirm, ended with None once the attempt's expiry is final: a blockhash may outlive the attempt that it carries."""
    confirmed: Confirmed | None = None
    failed: L1Error | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_when_expired, node, row, nursery.cancel_scope)
        try:
            confirmed = await port.confirm(sent, possibly_sent)
        except L1Error as error:
            failed = error  # raised outside: a nursery would wrap it
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return confirmed


async def _end_when_expired(node: Node, row: EpochRow, scope: trio.CancelScope) -> None:
    while node.view.finalized_slot <= row.expiry_slot:
        await trio.sleep(node.config.poll_seconds)
    scope.cancel()


def _tell_unlanded(node: Node, row: EpochRow) -> None:
    """A post did not land: the next costs more, and after some a person should know."""
    metrics.POSTS_UNLANDED.set(node.posts_unlanded)
    if node.posts_unlanded >= ALARM_AFTER_UNLANDED:
        cap = node.config.priority_fee_cap_micro_lamports
        text = (
            f"{node.posts_unlanded} posts in a row did not land, the last for epoch {row.epoch} attempt {row.attempt}"
        )
        node.raise_alarm("post", f"{text}; a compute unit is offered for at most {cap} micro-lamports")


async def _landed(node: Node, port: L1Port, row: EpochRow, found: Checkpoint, confirmed: Confirmed | None) -> bool:
    """The epoch's account is on L1: ours, or another's under the same number, which only a second sequencer can have made."""
    if found.hash != row.hash:
        theirs = f"L1 has another checkpoint for epoch {row.epoch}: {found.hash.hex()}, ours is {row.hash.hex()}"
        node.raise_alarm("foreign checkpoint", theirs)
        return False
    if confirmed is None:
        confirmed = await _find_transaction(port, row)
    with node.database.transaction() as tx:
        node.chain.post(
            tx,
            l1_signature=confirmed.signature if confirmed else None,
            slot=found.posted_slot,
            compute_units=confirmed.compute_units if confirmed else None,
        )
    metrics.POSTS_UNLANDED.set(0)
    node.clear_alarm("post")
    node.clear_alarm("foreign checkpoint")
    metrics.POSTED_EPOCH.set(row.epoch)
    if node.cut_at is not None:
        metrics.POST_SECONDS.observe(node.now() - node.cut_at)
    log.info("epoch posted", epoch=row.epoch, attempt=row.attempt, slot=found.posted_slot)
    return True


async def _find_transaction(port: L1Port, row: EpochRow) -> Confirmed | None:
    """Which of our transactions made it. None when L1 does not tell: the checkpoint is there all the same."""
    for sent in reversed(row.sent):
        with trio.move_on_after(LOOKUP_SECONDS):
            try:
                return await port.confirm(sent, True)
            except L1Error as error:
                log.info("not the transaction that posted", epoch=row.epoch, signature=sent.signature, error=str(error))
    return None


async def _give_up_if_dead(node: Node, port: L1Port, row: EpochRow) -> bool:
    if not await can_no_longer_land(node, port, row.epoch, row.expiry_slot):
        return False
    with node.database.transaction() as tx:
        node.reconcile(tx, node.chain.give_up(tx))
        if row.sent:
            node.chain.note_unlanded(tx)
    if row.sent:
        _tell_unlanded(node, row)
    node.quorum_since = None
    node.opened(node.now())
    metrics.ATTEMPTS_GIVEN_UP.inc()
    log.warning("attempt given up", epoch=row.epoch, attempt=row.attempt, expiry_slot=row.expiry_slot)
    return True
