//! Errors of the inbox's forced entries and of the escape hatch.

use anchor_lang::prelude::*;

#[error_code(offset = 6400)]
pub enum InboxError {
    #[msg("a task's kind is 1 to 4")]
    UnknownTaskKind,
    #[msg("a task's mode is 1 to 4")]
    UnknownTaskMode,
    #[msg("the task's deadline must lie in the future")]
    TaskDeadlinePassed,
    #[msg("the fee of a forced entry is above max_fee_lamports: the backlog has grown")]
    FeeAboveLimit,
    #[msg("the hatch opens hatch_slots after the last checkpoint was finalized")]
    HatchClosed,
    #[msg("this is paid only once the escape hatch is open")]
    NotEscaped,
    #[msg("this inbox entry was taken by the finalized state: its account's claim pays it")]
    EntryTaken,
    #[msg("this inbox entry was refunded already")]
    EntryRefunded,
    #[msg("the account was paid all that it had already")]
    EscapePaid,
    #[msg("more would be paid than the finalized state has taken from the inbox")]
    EscapeAboveInbox,
}
