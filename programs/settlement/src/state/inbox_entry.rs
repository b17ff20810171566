use crate::{constants::ACCOUNT_VERSION, error::SettlementError};
use anchor_lang::prelude::*;

/// One entry of the inbox, with the running hash and sum after it. Nothing of it changes but `refunded`.
#[account]
pub struct InboxEntry {
    pub version: u8,
    pub bump: u8,
    pub kind: u8,
    /// 1 once the escape hatch paid it back.
    pub refunded: u8,
    pub reserved: [u8; 4],
    pub index: u64,
    pub slot: u64,
    pub lamports: u64,
    pub payload_hash: [u8; 32],
    pub beneficiary: Address,
    pub hash_after: [u8; 32],
    pub lamports_after: u64,
}

impl InboxEntry {
    pub fn invariant(&self) -> Result<()> {
        require!(
            self.version == ACCOUNT_VERSION && self.lamports > 0 && self.lamports <= self.lamports_after,
            SettlementError::BrokenInvariant
        );
        Ok(())
    }
}
