"""The three kinds of method, and how each is carried out: a read, a signed call, a call that becomes a record.

A method module offers builders and handlers; the tables of all modules are joined in dispatch.py. Handlers are synchronous: what they
change, they change in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from sequencer import auth, ledger_errors
from sequencer import database as db
from sequencer import params as p
from sequencer.errors import RpcError
from sequencer.node import Node
from sequencer.rows import AnswerRow
from settlement.explain import explain
from settlement.ledger import LedgerRejection
from settlement.records import Record
from settlement.rpc_codes import Code
from settlement.signing import Authorisation

P = TypeVar("P", bound=p.Params)
S = TypeVar("S", bound=p.SignedParams)
Q = TypeVar("Q", bound=p.RecordParams)


def decode(kind: type[P], raw: dict[str, Any], root: str = "params") -> P:
    """INVALID_PARAMS names the key below `root` that is wrong, and what would be right."""
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        flaw = explain(error, kind, raw)
        raise RpcError(Code.INVALID_PARAMS, flaw.under(root), {"key": flaw.path}) from None


@dataclass(frozen=True)
class Read(Generic[P]):
    """A method that changes nothing. `result` is the type of its answer and `refusals` the codes of its own, for the OpenRPC document."""

    params: type[P]
    handler: Callable[[Node, P], Any]
    result: Any
    refusals: tuple[Code, ...] = ()

    def call(self, node: Node, name: str, raw: dict[str, Any]) -> Any:
        return self.handler(node, decode(self.params, raw))


@dataclass(frozen=True)
class Signed(Generic[S]):
    """A method that changes something but becomes no record; `handler` gets the caller's public key."""

    params: type[S]
    handler: Callable[[Node, db.Transaction, bytes, S], Any]
    result: Any
    refusals: tuple[Code, ...] = ()
    after: Callable[[Node], None] | None = None

    def call(self, node: Node, name: str, raw: dict[str, Any]) -> Any:
        params = decode(self.params, raw)
        need_l1(node)
        caller = auth.check_call(node, name, raw, params.auth)
        with node.database.transaction() as tx:
            auth.use_nonce(tx, caller, params.auth)
            answer = self.handler(node, tx, caller, params)
        if self.after:
            self.after(node)
        return answer


@dataclass(frozen=True)
class Recorded(Generic[Q]):
    """A method whose call is a record: `build` makes it from the params, as the caller did; `handler` accepts it.

    That the record's node is the signer's is the builder's doing. The same record again is answered as the first time, unless `repeats`:
    then accepting it again does no harm and may renew its authorisation.
    """

    params: type[Q]
    build: Callable[[Node, bytes, Q], Record]
    handler: Callable[[Node, db.Transaction, Record, Authorisation, Q], Any]
    result: Any
    refusals: tuple[Code, ...] = ()
    after: Callable[[Node], None] | None = None
    repeats: bool = False

    def call(self, node: Node, name: str, raw: dict[str, Any]) -> Any:
        params = decode(self.params, raw)
        need_l1(node)
        record = self.build(node, p.public_key(params.auth.public_key), params)
        authorisation = auth.check_record_signature(node, record, params.auth)
        key = auth.answer_key(record)
        first = None if self.repeats else node.database.get(db.ANSWERS, key)
        if first is not None:
            return msgspec.json.decode(first.answer_json)
        auth.check_record_expiry(node, params.auth.expiry_slot)
        try:
            with node.database.transaction() as tx:
                answer = self.handler(node, tx, node.stamped(record), authorisation, params)
                if not self.repeats:
                    tx.put(db.ANSWERS, key, AnswerRow(answer_json=msgspec.json.encode(answer)))
        except LedgerRejection as rejection:
            raise ledger_errors.to_rpc(rejection) from rejection
        if self.after:
            self.after(node)
        return answer


Method = Read[Any] | Signed[Any] | Recorded[Any]


def need_l1(node: Node) -> None:
    """NODE_UNHEALTHY while L1's slot is not known: expiry and deadlines could not be judged."""
    if node.view.slot == 0:
        raise RpcError(Code.NODE_UNHEALTHY, node.lag() or "L1's slot is not known yet")
