use crate::{constants::ACCOUNT_VERSION, error::SettlementError};
use anchor_lang::prelude::*;

/// Posted → Finalized, or Posted → Rejected.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CheckpointStatus {
    Posted = 1,
    Finalized = 2,
    Rejected = 3,
}

/// An accepted checkpoint.
#[account]
pub struct Checkpoint {
    pub version: u8,
    pub bump: u8,
    /// 1 Posted, 2 Finalized, 3 Rejected.
    pub status: u8,
    pub reserved: u8,
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
}

impl Checkpoint {
    pub fn invariant(&self) -> Result<()> {
        let holds = self.version == ACCOUNT_VERSION
            && (CheckpointStatus::Posted as u8..=CheckpointStatus::Rejected as u8).contains(&self.status)
            && self.epoch > 0
            && self.cut_slot <= self.posted_slot
            && self.posted_slot <= self.expiry_slot
            && self.set_version > 0;
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}
