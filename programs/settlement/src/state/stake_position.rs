use crate::{error::SettlementError, state::check_version};
use anchor_lang::prelude::*;

/// What one owner has staked behind one validator: shares of its active pool.
#[account]
pub struct StakePosition {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 6],
    pub owner: Address,
    /// The Validator's address.
    pub validator: Address,
    pub shares: u64,
    /// The id of the next Unbonding.
    pub next_unbonding_id: u64,
    /// Unbondings that are not withdrawn.
    pub open_unbondings: u64,
}

impl StakePosition {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        require!(
            self.open_unbondings <= self.next_unbonding_id,
            SettlementError::BrokenInvariant
        );
        Ok(())
    }
}
