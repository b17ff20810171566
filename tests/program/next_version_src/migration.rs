//! Refusals of migrations.

use anchor_lang::prelude::*;

#[error_code(offset = 6900)]
#[derive(Debug, PartialEq, Eq)]
pub enum MigrationError {
    #[msg("the account is no Unbonding of this program")]
    NotAnUnbonding,
    #[msg("the Unbonding has been migrated already")]
    AlreadyMigrated,
}
