"""WebSocket subscriptions: who wants to know what, and what a slot or a transaction tells them. No I/O.

A notification is handed to its connection's sink, which must not block. What is watched at `processed` is told as soon
as a transaction has run; at the other levels when the slot that holds the change reaches the level.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey

from localnet import params
from localnet.commitment import Commitment
from localnet.errors import RpcError, internal_error, invalid_params
from localnet.history import LandedTransaction
from localnet.methods_accounts import account_encoder
from localnet.methods_ledger import get_version
from localnet.node import Node
from localnet.registry import Methods

MAX_SUBSCRIPTIONS_PER_CONNECTION = 1_000

Sink = Callable[[dict[str, Any]], None]


@dataclass(slots=True, eq=False)
class Subscription:
    """One subscription; `on_transactions` is called with the transactions that have reached its level at `slot`."""

    id: int
    notification: str
    level: Commitment
    on_transactions: Callable[[Subscription, int, list[LandedTransaction]], None] | None = None


@dataclass(eq=False)
class Connection:
    """One client. `sink` sends a notification; those that a subscribe call itself causes wait in `after_reply`."""

    hub: Hub
    sink: Sink
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    after_reply: list[dict[str, Any]] = field(default_factory=list)

    def add(self, subscription: Subscription) -> int:
        if len(self.subscriptions) >= MAX_SUBSCRIPTIONS_PER_CONNECTION:
            error = internal_error()
            error.message = "Internal Error: Subscription refused. Node subscription limit reached"
            raise error
        self.subscriptions[subscription.id] = subscription
        return subscription.id

    def remove(self, subscription_id: int) -> bool:
        if self.subscriptions.pop(subscription_id, None) is None:
            raise invalid_params("Invalid subscription id.")
        return True

    def notify(self, subscription: Subscription, result: Any) -> None:
        self.sink(_notification(subscription, result))


def _notification(subscription: Subscription, result: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "method": subscription.notification,
        "params": {"result": result, "subscription": subscription.id},
    }


class Hub:
    """Every open connection; hears from the bank and tells them."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._connections: set[Connection] = set()
        self._ids = itertools.count()
        self._reached = {level: node.bank.slot_at(level) for level in Commitment}
        node.bank.on_slot.append(self._on_slot)
        node.bank.on_transaction.append(self._on_transaction)

    def connect(self, sink: Sink) -> Connection:
        connection = Connection(self, sink)
        self._connections.add(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def next_id(self) -> int:
        return next(self._ids)

    def _on_transaction(self, landed: LandedTransaction) -> None:
        self._tell(Commitment.PROCESSED, landed.slot, [landed])

    def _on_slot(self) -> None:
        bank = self.node.bank
        root = bank.slot_at(Commitment.FINALIZED)
        for connection, subscription in self._all():
            if subscription.notification == "slotNotification":
                connection.notify(subscription, {"parent": bank.slot - 1, "root": root, "slot": bank.slot})
            elif subscription.notification == "rootNotification" and root > self._reached[Commitment.FINALIZED]:
                connection.notify(subscription, root)
        for level in (Commitment.CONFIRMED, Commitment.FINALIZED):
            slot = bank.slot_at(level)
            block = bank.history.block(slot)
            if slot > self._reached[level] and block is not None and block.transactions:
                self._tell(level, slot, block.transactions)
            self._reached[level] = slot

    def _tell(self, level: Commitment, slot: int, transactions: list[LandedTransaction]) -> None:
        for _, subscription in self._all():
            if subscription.level is level and subscription.on_transactions is not None:
                subscription.on_transactions(subscription, slot, transactions)

    def _all(self) -> list[tuple[Connection, Subscription]]:
        return [(c, s) for c in self._connections for s in list(c.subscriptions.values())]


methods = Methods()


@methods.method("getVersion")
def version(connection: Connection) -> dict[str, Any]:
    return get_version(connection.hub.node)


@methods.method("slotSubscribe")
def slot_subscribe(connection: Connection) -> int:
    return connection.add(Subscription(connection.hub.next_id(), "slotNotification", Commitment.PROCESSED))


@methods.method("rootSubscribe")
def root_subscribe(connection: Connection) -> int:
    return connection.add(Subscription(connection.hub.next_id(), "rootNotification", Commitment.FINALIZED))


@methods.method("signatureSubscribe")
def signature_subscribe(
    connection: Connection, text: str, config: params.SignatureSubscribeConfig | None = None
) -> int:
    """One notification, then the subscription is gone; at once when the signature has already reached the level."""
    wanted = _param(text, "signature", params.signature)
    level = _level(config)
    node = connection.hub.node
    received = config is not None and bool(config.enable_received_notification)

    def result(landed: LandedTransaction, slot: int) -> dict[str, Any]:
        return {"context": {"slot": slot}, "value": {"err": landed.error}}

    def tell(subscription: Subscription, slot: int, transactions: Iterable[LandedTransaction]) -> None:
        for landed in transactions:
            if landed.signature == wanted:
                del connection.subscriptions[subscription.id]
                if received:
                    connection.notify(subscription, {"context": {"slot": slot}, "value": "receivedSignature"})
                connection.notify(subscription, result(landed, slot))

    subscription = Subscription(connection.hub.next_id(), "signatureNotification", level, tell)
    landed = node.bank.history.transaction(wanted)
    if landed is not None and landed.slot <= node.bank.slot_at(level):
        connection.after_reply.append(_notification(subscription, result(landed, node.bank.slot_at(level))))
        return subscription.id
    return connection.add(subscription)


@methods.method("accountSubscribe")
def account_subscribe(connection: Connection, address: str, config: params.AccountConfig | None = None) -> int:
    config = config or params.AccountConfig()
    key = _param(address, "pubkey", params.pubkey)
    encoding = config.encoding or "binary"
    node = connection.hub.node
    bank = node.bank

    def tell(subscription: Subscription, slot: int, transactions: list[LandedTransaction]) -> None:
        if any(key in landed.changed for landed in transactions):
            account = bank.account(key, slot) or Account(0, b"", Pubkey.default())
            value = account_encoder(node, slot, encoding, config.slice).json(key, account)
            connection.notify(subscription, {"context": {"slot": slot}, "value": value})

    return connection.add(Subscription(connection.hub.next_id(), "accountNotification", _level(config), tell))


@methods.method("programSubscribe")
def program_subscribe(connection: Connection, program: str, config: params.ProgramAccountsConfig | None = None) -> int:
    config = config or params.ProgramAccountsConfig()
    program_id = _param(program, "pubkey", params.pubkey)
    filters = params.AccountFilters(config.filters)
    encoding = config.encoding or "binary"
    node = connection.hub.node
    bank = node.bank

    def tell(subscription: Subscription, slot: int, transactions: list[LandedTransaction]) -> None:
        for key in dict.fromkeys(key for landed in transactions for key in landed.changed):
            account = bank.account(key, slot)
            if account is not None and account.owner == program_id and filters.allow(bytes(account.data)):
                encoded = account_encoder(node, slot, encoding, config.slice).json(key, account)
                value = {"account": encoded, "pubkey": str(key)}
                connection.notify(subscription, {"context": {"slot": slot}, "value": value})

    return connection.add(Subscription(connection.hub.next_id(), "programNotification", _level(config), tell))


class LogsMentions(msgspec.Struct):
    mentions: list[str]


@methods.method("logsSubscribe")
def logs_subscribe(
    connection: Connection, wanted: str | LogsMentions, config: params.ContextConfig | None = None
) -> int:
    mentioned: Pubkey | None = None
    if isinstance(wanted, LogsMentions):
        if len(wanted.mentions) != 1:
            raise invalid_params("Invalid Request: Only 1 address supported")
        mentioned = _param(wanted.mentions[0], "mentions", params.pubkey)
    elif wanted not in ("all", "allWithVotes"):
        expected = "`all`, `allWithVotes`, `mentions`"
        raise invalid_params(f"Invalid params: unknown variant `{wanted}`, expected one of {expected}.")

    def tell(subscription: Subscription, slot: int, transactions: list[LandedTransaction]) -> None:
        for landed in transactions:
            if mentioned is None or mentioned in landed.account_keys:
                value = {"err": landed.error, "logs": list(landed.logs), "signature": str(landed.signature)}
                connection.notify(subscription, {"context": {"slot": slot}, "value": value})

    return connection.add(Subscription(connection.hub.next_id(), "logsNotification", _level(config), tell))


def unsubscribe(connection: Connection, subscription_id: params.U64) -> bool:
    return connection.remove(subscription_id)


for _kind in ("slot", "root", "signature", "account", "program", "logs"):
    methods.method(f"{_kind}Unsubscribe")(unsubscribe)


def _level(config: params.ContextConfig | None) -> Commitment:
    return (config.commitment if config else None) or Commitment.FINALIZED


def _param(text: str, thing: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except RpcError:
        raise invalid_params(f"Invalid Request: Invalid {thing} provided") from None
