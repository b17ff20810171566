use crate::{
    constants::MAX_VALIDATORS,
    error::SettlementError,
    state::check_version,
};
use anchor_lang::prelude::*;
use core::mem::size_of;

/// One validator that can be sealed into sets. Its stake is that of its Validator account, which is always written with it.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, anchor_lang::IdlType)]
pub struct ValidatorSlot {
    pub authority: Address,
    /// Affine x ‖ y, big-endian.
    pub bls_public_key: [u8; 96],
    pub stake_lamports: u64,
    pub stake_slot: u64,
    /// Finality rewards that are not collected into its pool yet.
    pub reward_lamports: u64,
    pub reserved: u64,
    pub heartbeat_slot: u64,
    /// Checkpoints in a row that it did not sign.
    pub misses: u32,
    pub flags: u32,
}

/// The slot is taken.
pub const FLAG_OCCUPIED: u32 = 1;
/// It is left out of sets until it is unjailed.
pub const FLAG_JAILED: u32 = 2;
/// A stall step dropped it: it is left out of sets until its next heartbeat.
pub const FLAG_INACTIVE: u32 = 4;

impl ValidatorSlot {
    pub fn is_occupied(&self) -> bool {
        self.flags & FLAG_OCCUPIED != 0
    }

    /// It belongs into the next set.
    pub fn is_sealable(&self, min_stake_lamports: u64) -> bool {
        self.flags & (FLAG_OCCUPIED | FLAG_JAILED | FLAG_INACTIVE) == FLAG_OCCUPIED
            && self.stake_lamports >= min_stake_lamports
    }
}

/// The validators, in 256 slots behind this header: the only source that sets are sealed from. Created small, grown to full size.
#[account]
pub struct Registry {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 6],
    pub count: u64,
}

impl Registry {
    pub const HEADER_BYTES: usize = 8 + size_of::<Registry>();
    pub const FULL_BYTES: usize = Self::HEADER_BYTES + MAX_VALIDATORS * size_of::<ValidatorSlot>();

    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        require!(
            self.count <= MAX_VALIDATORS as u64,
            SettlementError::BrokenInvariant
        );
        Ok(())
    }
}

/// The 256 slots, read in place; RegistryTooSmall before the account has its full size.
pub fn slots(data: &[u8]) -> Result<&[ValidatorSlot]> {
    require!(data.len() >= Registry::FULL_BYTES, SettlementError::RegistryTooSmall);
    bytemuck::try_cast_slice(&data[Registry::HEADER_BYTES..Registry::FULL_BYTES])
        .map_err(|_| SettlementError::BrokenInvariant.into())
}

/// The same to write to.
pub fn slots_mut(data: &mut [u8]) -> Result<&mut [ValidatorSlot]> {
    require!(data.len() >= Registry::FULL_BYTES, SettlementError::RegistryTooSmall);
    bytemuck::try_cast_slice_mut(&mut data[Registry::HEADER_BYTES..Registry::FULL_BYTES])
        .map_err(|_| SettlementError::BrokenInvariant.into())
}
