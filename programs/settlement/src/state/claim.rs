use crate::state::check_version;
use anchor_lang::prelude::*;

/// What an L2 account has been paid on L1 so far.
#[account]
pub struct Claim {
    pub version: u8,
    pub bump: u8,
    /// 1 once the escape hatch paid all that the account had.
    pub escaped: u8,
    pub reserved: [u8; 5],
    pub claimed_lamports: u64,
}

impl Claim {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)
    }
}
