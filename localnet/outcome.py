"""What executing a transaction gave, read from what LiteSVM says of it. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from solders.account import Account
from solders.message import VersionedMessage
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from localnet.fees import fee_lamports, loaded_bytes_limit
from localnet.history import InnerInstruction

# Refused while its accounts are loaded: it lands and pays its fee, and nothing of it runs (SIMD-0082).
LOADED_TOO_MUCH = "MaxLoadedAccountsDataSizeExceeded"
FEES_ONLY = frozenset(("InvalidProgramForExecution", LOADED_TOO_MUCH, "ProgramAccountNotFound"))
_NOT_EXECUTED = Signature.default()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing a transaction gave, landed or simulated. `error` is agave's JSON form of TransactionError;
    `executed` says that its fee is taken.
    """

    error: Any
    executed: bool
    fee_lamports: int
    logs: tuple[str, ...] = ()
    compute_units: int = 0
    loaded_bytes: int = 0
    inner_instructions: tuple[tuple[InnerInstruction, ...], ...] = ()
    return_data: tuple[Pubkey, bytes] | None = None
    post_accounts: dict[Pubkey, Account] | None = None

    @property
    def fees_only(self) -> bool:
        return isinstance(self.error, str) and self.error in FEES_ONLY


def not_executed(error: Any) -> Outcome:
    return Outcome(error=error, executed=False, fee_lamports=0)


def loaded_too_much(message: VersionedMessage) -> Outcome:
    """Of a transaction that could pay its fee, and whose accounts are larger than it allowed: charged for its limit."""
    fee, limit = fee_lamports(message), loaded_bytes_limit(message)
    return Outcome(error=LOADED_TOO_MUCH, executed=True, fee_lamports=fee, loaded_bytes=limit)


def outcome_of(
    result: TransactionMetadata | FailedTransactionMetadata,
    transaction: VersionedTransaction,
    *,
    names_missing_program: bool,
) -> Outcome:
    """LiteSVM takes no fee for what is fees-only; whoever lands it does."""
    error: Any = None
    if isinstance(result, FailedTransactionMetadata):
        error, meta = json.loads(result.to_json())["err"], result.meta()
        if error == "InvalidProgramForExecution" and names_missing_program:
            error = "ProgramAccountNotFound"  # agave tells a missing program from one that is not executable
    else:
        meta = result
    if isinstance(error, str) and error in FEES_ONLY:
        return Outcome(error=error, executed=True, fee_lamports=fee_lamports(transaction.message))
    returned = meta.return_data()
    return Outcome(
        error=error,
        # LiteSVM gives the default signature for what it refused before running it; no fee is taken then.
        executed=meta.signature() != _NOT_EXECUTED,
        fee_lamports=meta.fee(),
        logs=tuple(meta.logs()),
        compute_units=meta.compute_units_consumed(),
        inner_instructions=tuple(
            tuple(
                InnerInstruction(
                    inner.instruction().program_id_index,
                    bytes(inner.instruction().accounts),
                    bytes(inner.instruction().data),
                    inner.stack_height(),
                )
                for inner in of_one
            )
            for of_one in meta.inner_instructions()
        ),
        return_data=(returned.program_id, bytes(returned.data)) if returned.data else None,
    )
