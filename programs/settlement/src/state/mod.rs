//! The accounts. All are zero-copy, carry a version byte, and state in `invariant()` what must hold after every instruction.

pub mod checkpoint;
pub mod claim;
pub mod config;
pub mod demand;
pub mod inbox_entry;
pub mod offence;
pub mod parameter_proposal;
pub mod parameters;
pub mod pool;
pub mod proof_buffer;
pub mod receipt;
pub mod registry;
pub mod stake_position;
pub mod strike;
pub mod unbonding;
pub mod validator;
pub mod validator_set;

use crate::{constants::ACCOUNT_VERSION, error::SettlementError};
use anchor_lang::prelude::*;

/// Of an account that the instruction has written: UnknownAccountVersion when its layout is not the one that this program knows.
pub fn check_version(version: u8) -> Result<()> {
    require!(version == ACCOUNT_VERSION, SettlementError::UnknownAccountVersion);
    Ok(())
}

pub use checkpoint::{Checkpoint, CheckpointStatus};
pub use claim::Claim;
pub use config::{Config, EpochRange, FinalizedHead, InboxHead, PostedHead, SetReference};
pub use demand::Demand;
pub use inbox_entry::InboxEntry;
pub use offence::{EquivocationTally, Offence};
pub use parameter_proposal::ParameterProposal;
pub use parameters::Parameters;
pub use pool::Pool;
pub use proof_buffer::ProofBuffer;
pub use receipt::Receipt;
pub use registry::{Registry, ValidatorSlot};
pub use stake_position::StakePosition;
pub use strike::Strike;
pub use unbonding::Unbonding;
pub use validator::Validator;
pub use validator_set::{SetEntry, ValidatorSet};
