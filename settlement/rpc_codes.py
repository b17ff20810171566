"""The error codes of the sequencer's JSON-RPC (docs/rpc.md, "Errors"): what it answers with, and what its callers act on."""

from enum import IntEnum


class Code(IntEnum):
    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    NODE_UNHEALTHY = -32005
    BAD_SIGNATURE = -33001
    AUTH_EXPIRED = -33002
    NONCE_USED = -33003
    WRONG_NONCE = -33004
    UNKNOWN_ACCOUNT = -33005
    INSUFFICIENT_BALANCE = -33006
    INVALID_SPEC = -33007
    UNSUPPORTED_MODE = -33008
    UNKNOWN_TASK = -33009
    LEASE_LOST = -33010
    WRONG_COMMITMENT = -33011
    BLOB_MISSING = -33012
    NOT_A_VALIDATOR = -33013
    ALREADY_DECIDED = -33014
    WRONG_PROPOSAL = -33015
    NOT_FOUND = -33016
    DEADLINE = -33017
    REJECTED_BY_LEDGER = -33018
    STAKE_TOO_LOW = -33019
    RATE_LIMITED = -33020
    READ_ONLY = -33021


WHEN: dict[Code, str] = {
    Code.PARSE_ERROR: "the body is no acceptable JSON",
    Code.INVALID_REQUEST: "the JSON is no request, or no batch of allowed size",
    Code.METHOD_NOT_FOUND: "there is no such method",
    Code.INVALID_PARAMS: "a parameter is missing, unknown or wrong; data.key is its path",
    Code.INTERNAL_ERROR: "the node failed; its log says why",
    Code.NODE_UNHEALTHY: "as in Solana",
    Code.BAD_SIGNATURE: "the signature does not match; data.digest is what it must be over",
    Code.AUTH_EXPIRED: "expirySlot out of range; data.lowest and data.highest",
    Code.NONCE_USED: "signed call replayed",
    Code.WRONG_NONCE: "record nonce; data.expected is the right one",
    Code.UNKNOWN_ACCOUNT: "no L2 account: deposit first",
    Code.INSUFFICIENT_BALANCE: "the balance does not cover fee, stake or withdrawal; data.balanceLamports",
    Code.INVALID_SPEC: "data.key is the key",
    Code.UNSUPPORTED_MODE: "kind or mode, named in the message; data.key says which",
    Code.UNKNOWN_TASK: "there is no task of this id",
    Code.LEASE_LOST: "lease expired or another's",
    Code.WRONG_COMMITMENT: "another commitment was made, or what is revealed does not lead to it",
    Code.BLOB_MISSING: "data.missing lists them",
    Code.NOT_A_VALIDATOR: "not in the pinned set",
    Code.ALREADY_DECIDED: "the result is not up for verdicts (any more)",
    Code.WRONG_PROPOSAL: "epoch, attempt or hash is not the one open",
    Code.NOT_FOUND: "no such receipt, epoch or blob yet",
    Code.DEADLINE: "deadlineSlot past or less than 100 slots away; data.lowest",
    Code.REJECTED_BY_LEDGER: "data.code is the ledger's rejection",
    Code.STAKE_TOO_LOW: "a worker keeps data.minimumLamports locked",
    Code.RATE_LIMITED: "the open epoch is full, or this address calls or holds too much (HTTP status 429 or 503): again later",
    Code.READ_ONLY: "the node cannot write at present",
}
"""When each is given: the table of docs/rpc.md, and the messages in the OpenRPC document."""
