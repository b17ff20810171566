"""Who calls: signatures over records and over calls, their expiry, and replay.

A record's replay is harmless (the same record is answered as the first time) and its nonce is the ledger's; a signed call's nonce is
remembered durably, in the same transaction as what the call did, until the signature has expired.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from sequencer import database as db
from sequencer import params as p
from sequencer.errors import RpcError
from sequencer.node import Node
from sequencer.rows import NonceRow
from settlement import records, signing
from settlement.records import Record
from settlement.rpc_codes import Code
from settlement.signing import Authorisation

MIN_RECORD_EXPIRY_SLOTS = 32
MAX_EXPIRY_SLOTS = 1024


def answer_key(record: Record) -> bytes:
    """What identifies a record whenever it was accepted: its bytes without time and CRC."""
    raw = records.encode(record)
    return sha256(raw[:2] + raw[6:156]).digest()


def check_record_signature(node: Node, record: Record, auth: p.RecordAuth) -> Authorisation:
    """The authorisation that stands beside the record. BAD_SIGNATURE names the digest that should have been signed."""
    key = p.public_key(auth.public_key)
    authorisation = Authorisation(key, auth.expiry_slot, p.signature(auth.signature))
    digest = signing.authorisation_digest(node.domain, auth.expiry_slot, records.encode(record))
    if not signing.verify(key, digest, authorisation.signature):
        raise _bad_signature(auth.public_key, digest)
    return authorisation


def check_record_expiry(node: Node, expiry_slot: int) -> None:
    """AUTH_EXPIRED unless it outlives the epoch that the record goes into, and no more than that by far."""
    _check_expiry(expiry_slot, node.slot + MIN_RECORD_EXPIRY_SLOTS, node.slot + MAX_EXPIRY_SLOTS)


def check_call(node: Node, method: str, raw_params: dict[str, Any], auth: p.SignedAuth) -> bytes:
    """The caller's public key, once its signature over the call is verified and in time. The nonce is taken by `use_nonce`."""
    key = p.public_key(auth.public_key)
    try:
        digest = signing.rpc_digest(node.domain, method, raw_params, auth.nonce, auth.expiry_slot)
    except ValueError as error:
        raise RpcError(Code.INVALID_PARAMS, f"the params have no canonical JSON (RFC 8785): {error}") from None
    if not signing.verify(key, digest, p.signature(auth.signature)):
        raise _bad_signature(auth.public_key, digest)
    _check_expiry(auth.expiry_slot, node.slot, node.slot + MAX_EXPIRY_SLOTS)
    return key


def use_nonce(tx: db.Transaction, key: bytes, auth: p.SignedAuth) -> None:
    """NONCE_USED when this key has used it in a call that has not expired."""
    row_key = key + db.u64be(auth.nonce)
    if tx.get(db.NONCES, row_key) is not None:
        raise RpcError(Code.NONCE_USED, f"nonce {auth.nonce} was used by this key already; take another")
    tx.put(db.NONCES, row_key, NonceRow(expiry_slot=auth.expiry_slot))


def forget_expired_nonces(tx: db.Transaction, slot: int) -> int:
    """Drops the nonces of calls that can no longer be accepted; returns how many."""
    expired = [key for key, row in tx.scan(db.NONCES) if row.expiry_slot < slot]
    for key in expired:
        tx.delete(db.NONCES, key)
    return len(expired)


def _check_expiry(expiry_slot: int, lowest: int, highest: int) -> None:
    if not lowest <= expiry_slot <= highest:
        raise RpcError(
            Code.AUTH_EXPIRED,
            f"expirySlot {expiry_slot} must lie between {lowest} and {highest}",
            {"lowest": lowest, "highest": highest},
        )


def _bad_signature(public_key: str, digest: bytes) -> RpcError:
    return RpcError(
        Code.BAD_SIGNATURE,
        f"the signature is not that of {public_key} over the digest {digest.hex()}",
        {"digest": digest.hex()},
    )
