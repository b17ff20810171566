use crate::{
    constants::MAX_VALIDATORS,
    error::SettlementError,
    state::check_version,
};
use anchor_lang::prelude::*;
use core::mem::size_of;

/// One signer, exactly as hashed: authority 32, BLS key 96 (affine x ‖ y, big-endian), stake u64 little-endian.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, anchor_lang::IdlType)]
pub struct SetEntry {
    pub authority: Address,
    pub bls_public_key: [u8; 96],
    pub stake_lamports: u64,
}

/// A sealed copy of the registry, with `count` entries of 136 bytes behind this header; a certificate's bitmap indexes them.
#[account]
pub struct ValidatorSet {
    pub version: u8,
    pub bump: u8,
    pub sealed: u8,
    pub reserved: [u8; 5],
    pub set_version: u64,
    pub sealed_slot: u64,
    pub count: u64,
    pub total_stake_lamports: u64,
    /// When another version was pinned in its place; 0 while this one never was, or is.
    pub replaced_slot: u64,
    /// Who paid for it.
    pub payer: Address,
    pub set_hash: [u8; 32],
    /// The sum of all keys; infinity has the flag bit 0x40 and zeros.
    pub aggregate_key: [u8; 96],
    /// The registry slot that each entry was copied from; not hashed.
    pub slot_indexes: [u8; MAX_VALIDATORS],
}

impl ValidatorSet {
    pub const HEADER_BYTES: usize = 8 + size_of::<ValidatorSet>();
    pub const FULL_BYTES: usize = Self::bytes_for(MAX_VALIDATORS);

    /// `count` is at most MAX_VALIDATORS. Wrapping, since a checked product by a constant needs 128 bits, which BPF lacks.
    pub const fn bytes_for(count: usize) -> usize {
        Self::HEADER_BYTES + count.wrapping_mul(size_of::<SetEntry>())
    }

    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let sealed = self.sealed == 1
            && self.count > 0
            && self.count <= MAX_VALIDATORS as u64
            && self.total_stake_lamports > 0;
        let open = self.sealed == 0 && self.count == 0 && self.sealed_slot == 0;
        require!(
            self.set_version > 0 && (sealed || open),
            SettlementError::BrokenInvariant
        );
        Ok(())
    }
}

/// The first `count` entries as the bytes that are hashed; SetTooSmall when the account does not hold them.
pub fn entry_bytes(data: &[u8], count: usize) -> Result<&[u8]> {
    require!(count <= MAX_VALIDATORS, SettlementError::BrokenInvariant);
    require!(data.len() >= ValidatorSet::bytes_for(count), SettlementError::SetTooSmall);
    Ok(&data[ValidatorSet::HEADER_BYTES..ValidatorSet::bytes_for(count)])
}

/// The first `count` entries, read in place.
pub fn entries(data: &[u8], count: usize) -> Result<&[SetEntry]> {
    bytemuck::try_cast_slice(entry_bytes(data, count)?).map_err(|_| SettlementError::BrokenInvariant.into())
}

/// The same to write to.
pub fn entries_mut(data: &mut [u8], count: usize) -> Result<&mut [SetEntry]> {
    require!(count <= MAX_VALIDATORS, SettlementError::BrokenInvariant);
    require!(data.len() >= ValidatorSet::bytes_for(count), SettlementError::SetTooSmall);
    bytemuck::try_cast_slice_mut(&mut data[ValidatorSet::HEADER_BYTES..ValidatorSet::bytes_for(count)])
        .map_err(|_| SettlementError::BrokenInvariant.into())
}
