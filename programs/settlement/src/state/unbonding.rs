use crate::{error::SettlementError, state::check_version};
use anchor_lang::prelude::*;

/// Shares of a validator's unbonding pool on their way out. A slash reaches them until they are withdrawn.
#[account]
pub struct Unbonding {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 6],
    pub owner: Address,
    /// The Validator's address.
    pub validator: Address,
    pub id: u64,
    pub shares: u64,
    /// The first set version without this stake.
    pub first_free_version: u64,
    pub requested_slot: u64,
}

impl Unbonding {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        require!(
            self.shares > 0 && self.first_free_version > 0,
            SettlementError::BrokenInvariant
        );
        Ok(())
    }
}
