use crate::{error::SettlementError, state::check_version};
use anchor_lang::prelude::*;

/// Posted → Finalized, Posted → Rejected when it was proved wrong, or Posted → Voided when one that it builds on was.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CheckpointStatus {
    Posted = 1,
    Finalized = 2,
    Rejected = 3,
    Voided = 4,
}

/// An accepted checkpoint.
#[account]
pub struct Checkpoint {
    pub version: u8,
    pub bump: u8,
    /// 1 Posted, 2 Finalized, 3 Rejected, 4 Voided.
    pub status: u8,
    /// 1 once its finality rewards were given out.
    pub rewarded: u8,
    pub attempt: u32,
    pub epoch: u64,
    pub cut_slot: u64,
    pub expiry_slot: u64,
    pub hash: [u8; 32],
    pub parent_hash: [u8; 32],
    pub results_root: [u8; 32],
    pub state_root: [u8; 32],
    pub trace_root: [u8; 32],
    pub data_root: [u8; 32],
    pub payable_total: u64,
    pub inbox_cursor: u64,
    pub inbox_hash: [u8; 32],
    pub set_version: u64,
    pub bitmap: [u8; 32],
    pub posted_slot: u64,
    pub poster: Address,
    pub parent_epoch: u64,
    /// The inbox's running sum at the cursor.
    pub inbox_lamports: u64,
    /// It can be demanded from, and signed late, up to this slot; it finalizes after it.
    pub challenge_until_slot: u64,
    /// Held in this account above its rent.
    pub bond_lamports: u64,
    /// Demands that hold finalization.
    pub open_demands: u64,
    /// Signers of a rejected checkpoint that were slashed for it.
    pub slashed_bitmap: [u8; 32],
}

impl Checkpoint {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = (CheckpointStatus::Posted as u8..=CheckpointStatus::Voided as u8).contains(&self.status)
            && self.epoch > 0
            && self.parent_epoch < self.epoch
            && self.payable_total <= self.inbox_lamports
            && self.cut_slot <= self.posted_slot
            && self.posted_slot <= self.expiry_slot
            && self.set_version > 0;
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}
