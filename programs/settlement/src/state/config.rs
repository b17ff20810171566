use crate::{
    constants::MAX_VOID_RANGES, error::SettlementError, message::Domain, state::{check_version, Parameters},
};
use anchor_lang::prelude::*;

/// The inbox up to its last entry.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, anchor_lang::IdlType)]
pub struct InboxHead {
    pub count: u64,
    pub lamports: u64,
    pub hash: [u8; 32],
}

/// The last accepted checkpoint that is not voided: the next one's parent.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, anchor_lang::IdlType)]
pub struct PostedHead {
    pub epoch: u64,
    pub hash: [u8; 32],
    pub cut_slot: u64,
    pub expiry_slot: u64,
    pub payable_total: u64,
    pub inbox_cursor: u64,
    pub inbox_hash: [u8; 32],
    pub inbox_lamports: u64,
}

/// The last finalized checkpoint: what money moves on.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, anchor_lang::IdlType)]
pub struct FinalizedHead {
    pub epoch: u64,
    pub hash: [u8; 32],
    pub state_root: [u8; 32],
    pub payable_total: u64,
    pub inbox_cursor: u64,
    pub slot: u64,
    /// The inbox's running sum at the cursor: all that the state's leaves can hold.
    pub inbox_lamports: u64,
}

/// A sealed validator set; version 0 means none.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, anchor_lang::IdlType)]
pub struct SetReference {
    pub version: u64,
    pub slot: u64,
    pub hash: [u8; 32],
}

/// Epochs `first` … `last` are void: one of them was rejected, the others built on it. first 0 means none.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, anchor_lang::IdlType)]
pub struct EpochRange {
    pub first: u64,
    pub last: u64,
}

/// The one account that every instruction reads.
#[account]
pub struct Config {
    pub version: u8,
    pub bump: u8,
    pub vault_bump: u8,
    pub stake_vault_bump: u8,
    pub treasury_bump: u8,
    pub escaped: u8,
    /// 1: nothing is posted; all else goes on.
    pub paused: u8,
    pub reserved: u8,
    pub genesis_hash: [u8; 32],
    /// Seals sets before the first post.
    pub authority: Address,
    /// Changes parameters after a delay, pauses posting, grants from the treasury.
    pub governance: Address,
    /// Becomes governance when it accepts; zero when nobody is named.
    pub next_governance: Address,
    pub parameters: Parameters,
    pub inbox: InboxHead,
    /// The highest epoch ever posted, voided ones included: its number is never used again.
    pub highest_epoch: u64,
    pub posted: PostedHead,
    pub last_post_slot: u64,
    pub finalized: FinalizedHead,
    pub pinned: SetReference,
    pub sealed_before: SetReference,
    pub sealed_last: SetReference,
    pub claimed_total: u64,
    /// When initialize ran, when the last stall step was taken, when the hatch was opened.
    pub initialized_slot: u64,
    pub last_stall_slot: u64,
    pub escape_slot: u64,
    /// Signers of rejected checkpoints that are not slashed yet: no stake leaves before.
    pub pending_slashes: u64,
    pub voids: [EpochRange; MAX_VOID_RANGES],
}

impl Config {
    pub fn domain<'a>(&'a self) -> Domain<'a> {
        Domain { genesis: &self.genesis_hash, program: crate::ID.as_array() }
    }

    /// Nothing was ever posted.
    pub fn is_before_first_post(&self) -> bool {
        self.highest_epoch == 0
    }

    /// A version sealed after the cut is not known to those who sign, so it is not pinned yet. Never goes back.
    pub fn pin_newest_sealed_by(&mut self, cut_slot: u64) {
        for sealed in [self.sealed_before, self.sealed_last] {
            if sealed.version > self.pinned.version && sealed.slot <= cut_slot {
                self.pinned = sealed;
            }
        }
    }

    /// Whether the epoch was rejected, or builds on one that was.
    pub fn is_void(&self, epoch: u64) -> bool {
        self.voids.iter().any(|range| range.first <= epoch && epoch <= range.last && range.first > 0)
    }

    /// The most that claims may have paid in all: what is payable, once the hatch is open everything in the finalized state.
    fn claimable_lamports(&self) -> u64 {
        match self.escaped {
            0 => self.finalized.payable_total,
            _ => self.finalized.inbox_lamports,
        }
    }

    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = self.finalized.epoch <= self.posted.epoch
            && self.posted.epoch <= self.highest_epoch
            && self.finalized.payable_total <= self.posted.payable_total
            && self.posted.payable_total <= self.posted.inbox_lamports
            && self.posted.inbox_lamports <= self.inbox.lamports
            && self.finalized.inbox_cursor <= self.posted.inbox_cursor
            && self.posted.inbox_cursor <= self.inbox.count
            && self.finalized.payable_total <= self.finalized.inbox_lamports
            && self.finalized.inbox_lamports <= self.posted.inbox_lamports
            && self.claimed_total <= self.claimable_lamports()
            && self.sealed_before.version <= self.sealed_last.version
            && self.pinned.version <= self.sealed_last.version;
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}
