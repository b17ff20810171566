use crate::{
    constants::SIBLING_BYTES,
    error::SettlementError,
    state::check_version,
};
use anchor_lang::prelude::*;
use core::mem::size_of;

/// Siblings or evidence too long for one transaction, written piece by piece behind this header. Account ids can be ground to lengthen
/// a victim's path, so every length up to the tree's depth must be payable.
#[account]
pub struct ProofBuffer {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 2],
    pub length: u32,
    pub owner: Address,
    pub id: u64,
}

impl ProofBuffer {
    pub const HEADER_BYTES: usize = 8 + size_of::<ProofBuffer>();
    /// What may be created at once: the longest claim's siblings.
    pub const MAX_CREATED: usize = 8_192;
    /// What it may grow to: the largest witness of a transition.
    pub const MAX_LENGTH: usize = 65_536;

    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let length = self.length as usize;
        require!(
            length > 0 && length <= Self::MAX_LENGTH && length % SIBLING_BYTES == 0,
            SettlementError::BrokenInvariant
        );
        Ok(())
    }
}
