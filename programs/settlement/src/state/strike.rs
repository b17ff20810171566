use crate::{
    constants::ALL_BASIS_POINTS,
    error::SettlementError,
    state::check_version,
};
use anchor_lang::prelude::*;

/// That the result of mode exact which an epoch held for a task was proved wrong, and by which inbox entry L2 reverses it. Once for a task and
/// the epoch that held it: where that epoch turns out void, another may hold the task's result again, and that can be proved wrong again.
#[account]
pub struct Strike {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 2],
    /// First 20 bytes of the sha256 of the worker's public key.
    pub worker: [u8; 20],
    pub task_id: [u8; 32],
    pub result_hash: [u8; 32],
    /// The epoch whose checkpoint held the result.
    pub epoch: u64,
    pub challenger: Address,
    pub share_basis_points: u64,
    pub inbox_index: u64,
    pub slot: u64,
}

impl Strike {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = self.epoch > 0
            && self.share_basis_points <= ALL_BASIS_POINTS / 2
            && self.result_hash != [0; 32]
            && self.task_id != [0; 32];
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}
