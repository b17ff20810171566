"""Signing a transaction and following it until it is known what became of it.

The same signed bytes are sent again and again until they are confirmed or can no longer land. A new signature over the same
intent is only safe after TransactionExpired, which is judged on the finalized chain: a block height that is merely processed may
belong to a fork that loses against one holding the transaction.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from settlement.errors import (
    L1RpcError,
    L1Unreachable,
    ProgramError,
    TransactionExpired,
    TransactionFailed,
    TransactionTooLarge,
)
from settlement.quorum import Caller
from settlement.rpc import COMMITMENTS, Commitment, RpcFailure

MAX_TRANSACTION_BYTES = 1_232  # IPv6's minimum MTU of 1,280 less its headers
SIGNATURE_BYTES = 64
RESEND_SECONDS = 2.0
MAX_RESEND_SECONDS = 60.0  # a blockhash lives about as long
POLL_SECONDS = 0.2
MAX_SEND_FAILURES = 6
PREFLIGHT_FAILURE = -32002
HISTORY_LOOKUPS = 20

ErrorNames = Callable[[str, int], tuple[str | None, str]]  # (program id, code) → name and message


@dataclass(frozen=True)
class SignedTransaction:
    """`raw` is what goes over the wire. Kept on disk before the first sending, it can be followed after a crash."""

    raw: bytes
    signature: str
    last_valid_block_height: int

    @property
    def transaction(self) -> VersionedTransaction:
        return VersionedTransaction.from_bytes(self.raw)


@dataclass(frozen=True)
class Confirmed:
    """What L1 says of a successful transaction. `compute_units` is None and `logs` empty if the node keeps no history."""

    signature: str
    slot: int
    compute_units: int | None
    logs: tuple[str, ...]


def sign(
    instructions: Sequence[Instruction],
    payer: Keypair,
    signers: Sequence[Keypair],
    blockhash: Hash,
    last_valid_block_height: int,
    compute_unit_limit: int | None = None,
    compute_unit_price_micro_lamports: int | None = None,
) -> SignedTransaction:
    """A legacy transaction (two bytes shorter than v0 without lookup tables). ValueError when a signer is missing, TransactionTooLarge."""
    budget = _budget(compute_unit_limit, compute_unit_price_micro_lamports)
    message = Message.new_with_blockhash([*budget, *instructions], payer.pubkey(), blockhash)
    keys = {keypair.pubkey(): keypair for keypair in (payer, *signers)}
    needed: list[Pubkey] = message.account_keys[: message.header.num_required_signatures]
    missing = [str(key) for key in needed if key not in keys]
    if missing:
        raise ValueError(f"the transaction needs the signature of {', '.join(missing)}")
    transaction = VersionedTransaction(message, [keys[key] for key in needed])
    raw = bytes(transaction)
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise TransactionTooLarge(len(raw), MAX_TRANSACTION_BYTES)
    return SignedTransaction(raw, str(transaction.signatures[0]), last_valid_block_height)


def size(
    instructions: Sequence[Instruction],
    payer: Keypair,
    compute_unit_limit: int | None = None,
    compute_unit_price_micro_lamports: int | None = None,
) -> int:
    """The bytes of the transaction that sign() would make, whether they are allowed or not."""
    budget = _budget(compute_unit_limit, compute_unit_price_micro_lamports)
    message = Message.new_with_blockhash([*budget, *instructions], payer.pubkey(), Hash.default())
    return 1 + SIGNATURE_BYTES * message.header.num_required_signatures + len(bytes(message))


def _budget(limit: int | None, price_micro_lamports: int | None) -> list[Instruction]:
    budget = [] if limit is None else [set_compute_unit_limit(limit)]
    return budget if price_micro_lamports is None else [*budget, set_compute_unit_price(price_micro_lamports)]


async def follow(
    rpc: Caller, signed: SignedTransaction, commitment: Commitment, names: ErrorNames, possibly_sent: bool = False
) -> Confirmed:
    """Sends `signed` until it reaches `commitment` ("confirmed" or "finalized").

    Preflight runs on the first sending only, and not when the transaction was `possibly_sent` before: its refusal would then not
    tell that the transaction is nowhere. Raises TransactionFailed or ProgramError, TransactionExpired, and L1Unreachable, after
    which the fate is unknown and the same `signed` must be followed again.
    """
    if commitment == "processed":
        raise ValueError('a processed transaction may still be rolled back: follow it to "confirmed" or "finalized"')
    failures, pause, send_at = 0, RESEND_SECONDS, trio.current_time()
    while True:
        if trio.current_time() >= send_at:
            try:
                await send(rpc, signed, not possibly_sent, names)
                failures = 0
                pause = RESEND_SECONDS
            except L1Unreachable as error:
                failures += 1
                if failures >= MAX_SEND_FAILURES:
                    raise
                pause = min(max(2 * pause, error.retry_after_seconds), MAX_RESEND_SECONDS)
            possibly_sent = True
            send_at = trio.current_time() + pause
        status = await _status(rpc, signed.signature)
        if status is None:
            height = await block_height(rpc, "finalized")
            if height > signed.last_valid_block_height:
                status = await _status(rpc, signed.signature, history=True)
                if status is None:
                    raise TransactionExpired(signed.signature, signed.last_valid_block_height, height)
        if status is not None:
            level = COMMITMENTS.index(status["confirmationStatus"])
            if status["err"] is not None and level >= COMMITMENTS.index("confirmed"):
                detail = await _detail(rpc, signed.signature)
                logs = detail["meta"]["logMessages"] or () if detail else ()
                raise failure(status["err"], signed, logs, True, names)
            if level >= COMMITMENTS.index(commitment):
                return await _confirmed(rpc, signed.signature, status["slot"])
        await trio.sleep(POLL_SECONDS)


async def block_height(rpc: Caller, commitment: Commitment) -> int:
    return int(await rpc.call("getBlockHeight", [{"commitment": commitment}]))


async def send(rpc: Caller, signed: SignedTransaction, preflight: bool, names: ErrorNames) -> None:
    """Once. TransactionFailed or ProgramError when preflight refuses it; L1Unreachable, after which it may have been sent or not."""
    options = {
        "encoding": "base64",
        "skipPreflight": not preflight,
        "preflightCommitment": "confirmed",
        "maxRetries": 0,
    }
    try:
        await rpc.call("sendTransaction", [base64.b64encode(signed.raw).decode(), options], attempts=1)
    except RpcFailure as error:
        refused = error.data.get("err") if error.code == PREFLIGHT_FAILURE else None
        if refused is None:
            raise
        # The node may know the transaction already, or not yet know its blockhash: the loop finds out, by status and height.
        if refused not in ("AlreadyProcessed", "BlockhashNotFound"):
            raise failure(refused, signed, error.data.get("logs") or (), False, names) from error


async def _status(rpc: Caller, signature: str, history: bool = False) -> dict[str, Any] | None:
    try:
        answer = await rpc.call("getSignatureStatuses", [[signature], {"searchTransactionHistory": history}])
    except L1RpcError:
        if not history:
            raise
        # A node without history still remembers the last 300 blocks, twice as long as a blockhash lives.
        answer = await rpc.call("getSignatureStatuses", [[signature], {"searchTransactionHistory": False}])
    status: dict[str, Any] | None = answer["value"][0]
    return status


async def _detail(rpc: Caller, signature: str) -> dict[str, Any] | None:
    """The stored transaction. A node writes it down a moment after it reports the status."""
    options = {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    for _ in range(HISTORY_LOOKUPS):
        try:
            found: dict[str, Any] | None = await rpc.call("getTransaction", [signature, options])
        except RpcFailure as error:
            if error.code == -32011:  # TRANSACTION_HISTORY_NOT_AVAILABLE
                return None
            raise
        if found is not None and found.get("meta") is not None:
            return found
        await trio.sleep(POLL_SECONDS)
    return None


async def _confirmed(rpc: Caller, signature: str, slot: int) -> Confirmed:
    detail = await _detail(rpc, signature)
    if detail is None:
        return Confirmed(signature, slot, None, ())
    meta = detail["meta"]
    return Confirmed(signature, detail["slot"], meta.get("computeUnitsConsumed"), tuple(meta["logMessages"] or ()))


def failure(
    err: Any, signed: SignedTransaction, logs: Sequence[str], landed: bool, names: ErrorNames
) -> TransactionFailed:
    """The exception for a transaction error as agave writes it in JSON: a string, or {"InstructionError": [index, error]}."""
    if isinstance(err, dict) and "InstructionError" in err:
        index, cause = err["InstructionError"]
        if isinstance(cause, dict) and "Custom" in cause:
            message = signed.transaction.message
            program = str(message.account_keys[message.instructions[index].program_id_index])
            name, text = names(failing_program(logs) or program, cause["Custom"])
            return ProgramError(cause["Custom"], name, text, program, index, signed.signature, logs, landed)
        return TransactionFailed(f"{_shown(cause)} in instruction {index}", signed.signature, logs, landed)
    reason = _shown(err)
    if reason in ("AccountNotFound", "InsufficientFundsForFee"):
        payer = signed.transaction.message.account_keys[0]
        reason += f": the fee payer {payer} cannot pay the fee; it needs SOL (on a localnet: `pouw airdrop`)"
    return TransactionFailed(reason, signed.signature, logs, landed)


def failing_program(logs: Sequence[str]) -> str | None:
    """The innermost program that failed: a custom code raised in a call from program to program is that program's, not the caller's."""
    for line in logs:
        words = line.split()
        if len(words) > 3 and words[0] == "Program" and words[2] == "failed:":
            return words[1]
    return None


def _shown(err: Any) -> str:
    if isinstance(err, dict) and len(err) == 1:
        ((name, argument),) = err.items()
        return f"{name}({argument})"
    return str(err)
