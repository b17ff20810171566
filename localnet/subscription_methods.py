"""The WebSocket methods: each makes a subscription that knows how to tell its client, in agave's shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey

from localnet import params
from localnet.commitment import Commitment
from localnet.encode_account import AccountEncoder
from localnet.errors import UNSUPPORTED_TRANSACTION_VERSION, RpcError, invalid_params, method_not_found
from localnet.history import Block, LandedTransaction
from localnet.methods_accounts import account_encoder
from localnet.methods_ledger import block_json, get_version, require_confirmed
from localnet.registry import Methods
from localnet.subscriptions import Connection, OnTransactions, SlotEnded, Subscription

methods = Methods()
_TOO_LONG_FOR_BASE58 = "error: data too large for bs58 encoding"
# Version 0 is the only one that a client can fail to support.
_UNSUPPORTED_VERSION = {"UnsupportedTransactionVersion": 0}


class Mentions(msgspec.Struct):
    mentions: list[str]


class MentionsAccountOrProgram(msgspec.Struct, rename="camel"):
    mentions_account_or_program: str


class BlockSubscribeConfig(params.ContextConfig, rename="camel"):
    encoding: params.TransactionEncoding | None = None
    transaction_details: Literal["full", "signatures", "none", "accounts"] | None = None
    show_rewards: bool | None = None
    max_supported_transaction_version: params.U8 | None = None


@methods.method("getVersion")
def version(connection: Connection) -> dict[str, Any]:
    return get_version(connection.hub.node)


@methods.method("slotSubscribe")
def slot_subscribe(connection: Connection) -> int:
    def tell(subscription: Subscription, now: SlotEnded) -> None:
        subscription.notify({"parent": now.ended.slot, "root": now.root_slot, "slot": now.slot})

    return _of_slots(connection, "slotNotification", tell)


@methods.method("rootSubscribe")
def root_subscribe(connection: Connection) -> int:
    def tell(subscription: Subscription, now: SlotEnded) -> None:
        if now.root_moved:
            subscription.notify(now.root_slot)

    return _of_slots(connection, "rootNotification", tell)


@methods.method("slotsUpdatesSubscribe")
def slots_updates_subscribe(connection: Connection) -> int:
    """What happens to each slot, in the order of a leader that holds all of the stake."""

    def tell(subscription: Subscription, now: SlotEnded) -> None:
        timestamp = int(connection.hub.now() * 1000)
        ended = now.ended.transactions
        succeeded = sum(landed.error is None for landed in ended)
        stats = {
            # Each transaction is an entry of its own here.
            "maxTransactionsPerEntry": min(len(ended), 1),
            "numFailedTransactions": len(ended) - succeeded,
            "numSuccessfulTransactions": succeeded,
            "numTransactionEntries": len(ended),
        }
        parent = now.ended.slot
        subscription.notify({"type": "frozen", "slot": parent, "timestamp": timestamp, "stats": stats})
        subscription.notify({"type": "completed", "slot": parent, "timestamp": timestamp})
        subscription.notify({"type": "createdBank", "slot": now.slot, "parent": parent, "timestamp": timestamp})
        subscription.notify({"type": "optimisticConfirmation", "slot": now.confirmed_slot, "timestamp": timestamp})
        if now.root_moved:
            subscription.notify({"type": "root", "slot": now.root_slot, "timestamp": timestamp})

    return _of_slots(connection, "slotsUpdatesNotification", tell)


def _of_slots(connection: Connection, notification: str, tell: Callable[[Subscription, SlotEnded], None]) -> int:
    return connection.add(
        Subscription(connection, connection.hub.next_id(), notification, Commitment.PROCESSED, on_slot=tell)
    )


@methods.method("signatureSubscribe")
def signature_subscribe(
    connection: Connection, text: str, config: params.SignatureSubscribeConfig | None = None
) -> int:
    """One notification at the level, then the subscription is gone; at once when the signature has already reached it.

    With `enableReceivedNotification` another one before, as soon as the transaction comes in.
    """
    wanted = _param(text, "signature", params.signature)
    level = _level(config)
    bank = connection.hub.node.bank
    received = config is not None and bool(config.enable_received_notification)

    def tell(subscription: Subscription, slot: int, transactions: Iterable[LandedTransaction]) -> None:
        for landed in transactions:
            if landed.signature == wanted:
                connection.remove(subscription.id)
                subscription.notify_at(slot, {"err": landed.error})
                return

    def tell_received(subscription: Subscription, slot: int) -> None:
        subscription.notify_at(slot, "receivedSignature")

    subscription = Subscription(
        connection,
        connection.hub.next_id(),
        "signatureNotification",
        level,
        watched=wanted,
        on_transactions=tell,
        on_received=tell_received if received else None,
    )
    landed = bank.history.transaction(wanted)
    if landed is not None and landed.slot <= bank.slot_at(level):
        slot = bank.slot_at(level)
        connection.after_reply.append(subscription.message({"context": {"slot": slot}, "value": {"err": landed.error}}))
        return subscription.id
    return connection.add(subscription)


@methods.method("accountSubscribe")
def account_subscribe(connection: Connection, address: str, config: params.AccountConfig | None = None) -> int:
    config = config or params.AccountConfig()
    key = _param(address, "pubkey", params.pubkey)
    node = connection.hub.node

    def tell(subscription: Subscription, slot: int, transactions: list[LandedTransaction]) -> None:
        account = node.bank.account(key, slot) or Account(0, b"", Pubkey.default())
        encoder = account_encoder(node, slot, config.encoding or "binary", config.slice)
        subscription.notify_at(slot, _account(encoder, key, account))

    return _of_transactions(connection, "accountNotification", config, tell, watched=key)


@methods.method("programSubscribe")
def program_subscribe(connection: Connection, program: str, config: params.ProgramAccountsConfig | None = None) -> int:
    config = config or params.ProgramAccountsConfig()
    filters = params.AccountFilters(config.filters)
    program_id = _param(program, "pubkey", params.pubkey)
    node = connection.hub.node

    def tell(subscription: Subscription, slot: int, transactions: list[LandedTransaction]) -> None:
        for key in dict.fromkeys(key for landed in transactions for key in landed.changed):
            account = node.bank.account(key, slot)
            if account is not None and account.owner == program_id and filters.allow(bytes(account.data)):
                encoder = account_encoder(node, slot, config.encoding or "binary", config.slice)
                value = {"account": _account(encoder, key, account), "pubkey": str(key)}
                subscription.notify_at(slot, value)

    return _of_transactions(connection, "programNotification", config, tell)


@methods.method("logsSubscribe")
def logs_subscribe(connection: Connection, wanted: str | Mentions, config: params.ContextConfig | None = None) -> int:
    """`all` and `allWithVotes` are the same here: nobody votes by transaction."""
    mentioned: Pubkey | None = None
    if isinstance(wanted, Mentions):
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
                subscription.notify_at(slot, value)

    return _of_transactions(connection, "logsNotification", config, tell)


@methods.method("blockSubscribe")
def block_subscribe(
    connection: Connection, wanted: str | MentionsAccountOrProgram, config: BlockSubscribeConfig | None = None
) -> int:
    """Unstable in agave, so there only with --rpc-pubsub-enable-block-subscription; the same holds here."""
    if isinstance(wanted, str) and wanted != "all":
        expected = "`all` or `mentionsAccountOrProgram`"
        raise invalid_params(f"Invalid params: unknown variant `{wanted}`, expected {expected}.")
    _require_block_subscription(connection)
    config = config or BlockSubscribeConfig()
    level = require_confirmed(config.commitment)
    mentioned = (
        _param(wanted.mentions_account_or_program, "mentions_account_or_program", params.pubkey)
        if isinstance(wanted, MentionsAccountOrProgram)
        else None
    )
    shape = params.BlockConfig(
        encoding=config.encoding or "base64",
        transaction_details=config.transaction_details,
        rewards=bool(config.show_rewards),
        max_supported_transaction_version=config.max_supported_transaction_version,
    )

    def tell(subscription: Subscription, block: Block) -> None:
        transactions = [t for t in block.transactions if mentioned is None or mentioned in t.account_keys]
        if mentioned is not None and not transactions:
            return
        value: dict[str, Any] = {"slot": block.slot, "block": None, "err": None}
        try:
            value["block"] = block_json(block, shape, transactions)
        except RpcError as error:
            if error.code != UNSUPPORTED_TRANSACTION_VERSION:
                raise
            value["err"] = _UNSUPPORTED_VERSION
        subscription.notify_at(block.slot, value)

    return connection.add(Subscription(connection, connection.hub.next_id(), "blockNotification", level, on_block=tell))


@methods.method("blockUnsubscribe")
def block_unsubscribe(connection: Connection, subscription_id: params.U64) -> bool:
    _require_block_subscription(connection)
    return connection.remove(subscription_id)


@methods.method("voteSubscribe")
def vote_subscribe(connection: Connection) -> int:
    """What agave says without --rpc-pubsub-enable-vote-subscription; there are no votes here to tell of."""
    raise method_not_found()


@methods.method("voteUnsubscribe")
def vote_unsubscribe(connection: Connection, subscription_id: params.U64) -> bool:
    raise method_not_found()


def unsubscribe(connection: Connection, subscription_id: params.U64) -> bool:
    return connection.remove(subscription_id)


for _kind in ("slot", "slotsUpdates", "root", "signature", "account", "program", "logs"):
    methods.method(f"{_kind}Unsubscribe")(unsubscribe)


def _of_transactions(
    connection: Connection,
    notification: str,
    config: params.ContextConfig | None,
    tell: OnTransactions,
    watched: Pubkey | None = None,
) -> int:
    level = _level(config)
    subscription = Subscription(
        connection, connection.hub.next_id(), notification, level, watched=watched, on_transactions=tell
    )
    return connection.add(subscription)


def _require_block_subscription(connection: Connection) -> None:
    if not connection.hub.block_subscription:
        raise method_not_found()


def _account(encoder: AccountEncoder, key: Pubkey, account: Account) -> dict[str, Any]:
    """There is no call to answer with an error, so agave puts the complaint where the data would be."""
    try:
        return encoder.json(key, account)
    except RpcError:
        body = replace(encoder, data_slice=(0, 0)).json(key, account)
        body["data"] = _TOO_LONG_FOR_BASE58 if encoder.encoding == "binary" else [_TOO_LONG_FOR_BASE58, "base58"]
        return body


def _level(config: params.ContextConfig | None) -> Commitment:
    return (config.commitment if config else None) or Commitment.FINALIZED


def _param(text: str, thing: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except RpcError:
        raise invalid_params(f"Invalid Request: Invalid {thing} provided") from None
