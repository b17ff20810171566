//! Forced entries and the escape hatch.

use anchor_lang::prelude::*;

#[event]
pub struct TaskForced {
    pub index: u64,
    pub slot: u64,
    pub client: Address,
    pub lamports: u64,
    pub fee_lamports: u64,
    pub spec_hash: [u8; 32],
    pub kind: u8,
    pub mode: u8,
    pub deadline_slot: u64,
}

#[event]
pub struct WithdrawalForced {
    pub index: u64,
    pub slot: u64,
    pub owner: Address,
    pub lamports: u64,
    pub fee_lamports: u64,
    pub withdraw_lamports: u64,
    pub task_id: [u8; 32],
}

#[event]
pub struct HatchOpened {
    pub slot: u64,
    pub finalized_epoch: u64,
    pub finalized_cursor: u64,
}

#[event]
pub struct EntryPaidBack {
    pub index: u64,
    pub beneficiary: Address,
    pub lamports: u64,
}

#[event]
pub struct EscapeClaimed {
    pub public_key: Address,
    pub lamports: u64,
}
