"""The L2 ledger: state tree, transition and batch, all pure (docs/protocol.md, sections 7 and 8)."""

from settlement.ledger import batch
from settlement.ledger.authorisation import check_authorisation, check_sample_signature
from settlement.ledger.batch import MAX_RECORDS, BatchBuilder, BatchRoots, Parent, check_batch
from settlement.ledger.context import Context
from settlement.ledger.exact import MIN_WORKER_STAKE, RESULT_HOLD_SLOTS
from settlement.ledger.leaves import (
    TOTALS_KEY,
    UNSCHEDULED,
    Account,
    LeafKind,
    Task,
    TaskStatus,
    Totals,
    account_key,
    task_key,
)
from settlement.ledger.rejection import BatchError, InvariantError, LedgerRejection, Rejection
from settlement.ledger.state import State, verify_proof
from settlement.ledger.transition import apply

__all__ = [
    "MAX_RECORDS",
    "MIN_WORKER_STAKE",
    "RESULT_HOLD_SLOTS",
    "TOTALS_KEY",
    "UNSCHEDULED",
    "Account",
    "BatchBuilder",
    "BatchError",
    "BatchRoots",
    "Context",
    "InvariantError",
    "LeafKind",
    "LedgerRejection",
    "Parent",
    "Rejection",
    "State",
    "Task",
    "TaskStatus",
    "Totals",
    "account_key",
    "apply",
    "batch",
    "check_authorisation",
    "check_batch",
    "check_sample_signature",
    "task_key",
    "verify_proof",
]
