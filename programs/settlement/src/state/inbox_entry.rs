use crate::{constants::INBOX_KIND_STRIKE, error::SettlementError, state::check_version};
use anchor_lang::prelude::*;

/// One entry of the inbox, with the running hash and sum after it. Nothing of it changes but `refunded`.
/// kind: 1 deposit, 2 task, 3 forced withdrawal, 4 strike. Behind a strike's fields stands the hash of the result that was proved wrong.
#[account]
pub struct InboxEntry {
    pub version: u8,
    pub bump: u8,
    pub kind: u8,
    /// 1 once the escape hatch paid it back.
    pub refunded: u8,
    /// A task's kind << 4 | mode.
    pub kind_mode: u8,
    pub reserved: [u8; 3],
    pub index: u64,
    pub slot: u64,
    pub lamports: u64,
    pub payload_hash: [u8; 32],
    pub beneficiary: Address,
    pub hash_after: [u8; 32],
    pub lamports_after: u64,
    /// A task's deadline slot, the lamports that a forced withdrawal asks for, the challenger's share of a strike in basis points.
    pub number: u64,
    /// A task's spec hash, the overdue task that a forced withdrawal names, the task that a strike names.
    pub reference: [u8; 32],
}

impl InboxEntry {
    pub const HEADER_BYTES: usize = 8 + core::mem::size_of::<InboxEntry>();
    /// Size of the account of an entry of this kind.
    pub const fn account_bytes(kind: u8) -> usize {
        match kind {
            INBOX_KIND_STRIKE => Self::HEADER_BYTES + 32,
            _ => Self::HEADER_BYTES,
        }
    }

    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        require!(
            self.lamports > 0 && self.lamports <= self.lamports_after,
            SettlementError::BrokenInvariant
        );
        Ok(())
    }
}
