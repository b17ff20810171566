use crate::{constants::ACCOUNT_VERSION, error::SettlementError};
use anchor_lang::prelude::*;

/// Marks a BLS key as used: a key registers once, ever, whatever becomes of its validator.
#[account]
pub struct BlsKey {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 6],
    pub authority: Address,
}

impl BlsKey {
    pub fn invariant(&self) -> Result<()> {
        require!(self.version == ACCOUNT_VERSION, SettlementError::BrokenInvariant);
        Ok(())
    }
}
