use crate::{error::SettlementError, state::check_version};
use anchor_lang::prelude::*;

/// That these members of a set signed this message: their aggregate signature was verified when the account was made.
#[account]
pub struct Receipt {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 2],
    pub attempt: u32,
    pub epoch: u64,
    pub set_version: u64,
    pub owner: Address,
    pub message_hash: [u8; 32],
    pub bitmap: [u8; 32],
}

impl Receipt {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = self.set_version > 0 && self.bitmap != [0; 32];
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}
