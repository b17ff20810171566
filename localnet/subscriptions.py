"""Who wants to know what, and what a slot or a transaction tells them. No I/O.

A notification is handed to its connection's sink, which must not block. What is watched at `processed` is told as soon
as a transaction has run; at the other levels when the slot that holds the change reaches the level.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from localnet.commitment import Commitment
from localnet.errors import internal_error, invalid_params
from localnet.history import Block, LandedTransaction
from localnet.node import Node

MAX_SUBSCRIPTIONS_PER_CONNECTION = 1_000

_log = logging.getLogger("localnet.subscriptions")

Sink = Callable[[dict[str, Any]], None]
OnTransactions = Callable[["Subscription", int, list[LandedTransaction]], None]


@dataclass(frozen=True, slots=True)
class SlotEnded:
    """What a new slot means to those who watch slots: it is open, and `root_slot` is final, new if `root_moved`."""

    slot: int
    ended: Block
    confirmed_slot: int
    root_slot: int
    root_moved: bool


@dataclass(slots=True, eq=False)
class Subscription:
    """One subscription of `connection`, of one of three kinds.

    `on_transactions` hears the transactions that have reached `level` at a slot; with `watched`, only of slots or
    transactions that concern this signature or changed this account. `on_received` hears one signature's transaction
    as it comes in. `on_slot` hears every new slot, `on_block` every block that has reached `level`.
    """

    connection: Connection
    id: int
    notification: str
    level: Commitment
    watched: Hashable | None = None
    on_transactions: OnTransactions | None = None
    on_received: Callable[[Subscription, int], None] | None = None
    on_slot: Callable[[Subscription, SlotEnded], None] | None = None
    on_block: Callable[[Subscription, Block], None] | None = None

    def message(self, result: Any) -> dict[str, Any]:
        return {
            "jsonrpc": "2.0",
            "method": self.notification,
            "params": {"result": result, "subscription": self.id},
        }

    def notify(self, result: Any) -> None:
        self.connection.sink(self.message(result))

    def notify_at(self, slot: int, value: Any) -> None:
        self.notify({"context": {"slot": slot}, "value": value})


@dataclass(eq=False)
class Connection:
    """One client. `sink` sends a notification; those that a subscribe call itself causes wait in `after_reply`.

    `disconnect` ends the connection for a reason.
    """

    hub: Hub
    sink: Sink
    disconnect: Callable[[str], None]
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    after_reply: list[dict[str, Any]] = field(default_factory=list)

    def add(self, subscription: Subscription) -> int:
        """Raises RpcError when this client has too many."""
        if len(self.subscriptions) >= MAX_SUBSCRIPTIONS_PER_CONNECTION:
            error = internal_error()
            error.message = "Internal Error: Subscription refused. Node subscription limit reached"
            raise error
        self.subscriptions[subscription.id] = subscription
        self.hub.watch(subscription)
        return subscription.id

    def remove(self, subscription_id: int) -> bool:
        """Raises RpcError when this client has no such subscription."""
        found = self.subscriptions.pop(subscription_id, None)
        if found is None:
            raise invalid_params("Invalid subscription id.")
        self.hub.forget(found)
        return True


class Hub:
    """Every subscription, by what it waits for, so that a transaction costs no more for those it does not concern."""

    def __init__(self, node: Node, now: Callable[[], float], *, block_subscription: bool) -> None:
        """`now` gives unix time in seconds, for the notifications that carry a moment."""
        self.node = node
        self.block_subscription = block_subscription
        self.now = now
        self._ids = itertools.count()
        self._by_watched: dict[tuple[Commitment, Hashable], dict[int, Subscription]] = {}
        self._of_all: dict[Commitment, dict[int, Subscription]] = {level: {} for level in Commitment}
        self._received: dict[Hashable, dict[int, Subscription]] = {}
        self._of_slots: dict[int, Subscription] = {}
        self._of_blocks: dict[int, Subscription] = {}
        self._reached = {level: node.bank.slot_at(level) for level in Commitment}
        node.bank.on_slot.append(self._on_slot)
        node.bank.on_transaction.append(self._on_transaction)

    def connect(self, sink: Sink, disconnect: Callable[[str], None]) -> Connection:
        return Connection(self, sink, disconnect)

    def disconnect(self, connection: Connection) -> None:
        for subscription in connection.subscriptions.values():
            self.forget(subscription)
        connection.subscriptions.clear()

    def next_id(self) -> int:
        return next(self._ids)

    def watch(self, subscription: Subscription) -> None:
        for table in self._tables(subscription):
            table[subscription.id] = subscription

    def forget(self, subscription: Subscription) -> None:
        for table in self._tables(subscription):
            table.pop(subscription.id, None)
        watched = subscription.watched
        if not self._by_watched.get((subscription.level, watched), True):
            del self._by_watched[subscription.level, watched]
        if not self._received.get(watched, True):
            del self._received[watched]

    def is_idle(self) -> bool:
        """Whether nobody waits for anything and nothing of those who did is left."""
        return not (
            any(self._of_all.values()) or self._by_watched or self._received or self._of_slots or self._of_blocks
        )

    def _tables(self, subscription: Subscription) -> list[dict[int, Subscription]]:
        found = []
        if subscription.on_transactions is not None:
            if subscription.watched is None:
                found.append(self._of_all[subscription.level])
            else:
                found.append(self._by_watched.setdefault((subscription.level, subscription.watched), {}))
        if subscription.on_received is not None:
            found.append(self._received.setdefault(subscription.watched, {}))
        if subscription.on_slot is not None:
            found.append(self._of_slots)
        if subscription.on_block is not None:
            found.append(self._of_blocks)
        return found

    def _on_transaction(self, landed: LandedTransaction) -> None:
        for subscription in _now(self._received.get(landed.signature)):
            _hear(subscription, subscription.on_received, landed.slot)
        self._tell(Commitment.PROCESSED, landed.slot, [landed])

    def _on_slot(self) -> None:
        bank = self.node.bank
        root = bank.slot_at(Commitment.FINALIZED)
        ended = bank.history.block(bank.slot - 1)
        assert ended is not None
        what = SlotEnded(
            bank.slot, ended, bank.slot_at(Commitment.CONFIRMED), root, root > self._reached[Commitment.FINALIZED]
        )
        for subscription in _now(self._of_slots):
            _hear(subscription, subscription.on_slot, what)
        for level in (Commitment.CONFIRMED, Commitment.FINALIZED):
            for slot in range(self._reached[level] + 1, bank.slot_at(level) + 1):
                block = bank.history.block(slot)
                if block is not None:
                    self._tell(level, slot, block.transactions)
                    self._tell_block(level, block)
            self._reached[level] = bank.slot_at(level)

    def _tell(self, level: Commitment, slot: int, transactions: list[LandedTransaction]) -> None:
        """In the order of subscribing."""
        if not transactions:
            return
        concerned = dict(self._of_all[level])
        for landed in transactions:
            for key in (landed.signature, *landed.changed):
                concerned.update(self._by_watched.get((level, key), {}))
        for _, subscription in sorted(concerned.items()):
            _hear(subscription, subscription.on_transactions, slot, transactions)

    def _tell_block(self, level: Commitment, block: Block) -> None:
        for subscription in _now(self._of_blocks):
            if subscription.level is level:
                _hear(subscription, subscription.on_block, block)


def _now(table: dict[int, Subscription] | None) -> list[Subscription]:
    """A copy, for what is told may end a subscription."""
    return list((table or {}).values())


def _hear(subscription: Subscription, how: Callable[..., None] | None, *what: Any) -> None:
    assert how is not None
    try:
        how(subscription, *what)
    except Exception:  # noqa: BLE001 - what one client wants to hear must not end a slot for all
        # Whoever runs the node finds it in its log; the client would miss something, so it is not left to believe.
        _log.exception("%s could not be told; its client is disconnected", subscription.notification)
        subscription.connection.disconnect("internal error")
