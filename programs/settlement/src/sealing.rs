//! Copying registry slots into a validator set and sealing it: the one way a set comes to be, whoever chose the slots.

use crate::{
    bls,
    constants::*,
    error::SettlementError,
    math::add,
    state::{
        validator_set::{entries_mut, entry_bytes},
        Config, Parameters, SetEntry, SetReference, ValidatorSet, ValidatorSlot,
    },
    storage::{data_of, data_of_mut},
};
use anchor_lang::prelude::*;
use core::mem::offset_of;

/// Authority and key at the beginning of a registry slot and of a set's entry.
const KEYS_BYTES: usize = 32 + 96;

const _: () = assert!(
    offset_of!(ValidatorSlot, authority) == 0
        && offset_of!(ValidatorSlot, bls_public_key) == 32
        && offset_of!(SetEntry, authority) == 0
        && offset_of!(SetEntry, bls_public_key) == 32
);

/// Registry slots by index.
#[derive(Clone, Copy, Default)]
pub struct Chosen([u8; BITMAP_BYTES]);

impl Chosen {
    pub fn insert(&mut self, index: usize) {
        self.0[index / 8] |= 1 << (index % 8);
    }

    pub fn remove(&mut self, index: usize) {
        self.0[index / 8] &= !(1 << (index % 8));
    }

    pub fn contains(&self, index: usize) -> bool {
        self.0[index / 8] & (1 << (index % 8)) != 0
    }

    fn count(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }
}

/// What a set is sealed from.
pub struct Sealing<'a> {
    pub registered: &'a [ValidatorSlot],
    pub chosen: Chosen,
    /// Now.
    pub slot: u64,
}

impl Sealing<'_> {
    /// Copies the chosen slots, in slot order, and adds up stakes and keys.
    #[inline(never)]
    fn copy_slots(&self, set: &mut Account<ValidatorSet>, parameters: &Parameters) -> Result<()> {
        let count = self.chosen.count();
        require!(count as u64 >= parameters.min_validators, SettlementError::TooFewValidators);
        let mut view = *set.account();
        // SAFETY: the entries lie behind the header, which is the only other part of the account in use.
        let entries = entries_mut(unsafe { data_of_mut(&mut view) }, count)?;
        let mut total_stake_lamports = 0u64;
        let mut sum = bls::G1_INFINITY;
        let mut free = entries.iter_mut().zip(set.slot_indexes.iter_mut());
        for (index, slot) in self.registered.iter().enumerate().filter(|(index, _)| self.chosen.contains(*index)) {
            let (entry, slot_index) = free.next().ok_or(SettlementError::BrokenInvariant)?;
            *slot_index = index as u8;
            // SAFETY: 128 bytes each: authority and key lie next to each other in a slot as in an entry. The syscall, since the
            // compiler copies them byte by byte, which made up half of what sealing costs.
            unsafe {
                bls::copy(slot as *const ValidatorSlot as *const u8, entry as *mut SetEntry as *mut u8, KEYS_BYTES);
            }
            entry.stake_lamports = slot.stake_lamports;
            total_stake_lamports = add(total_stake_lamports, slot.stake_lamports)?;
            bls::g1_add(&mut sum, &slot.bls_public_key).map_err(|_| SettlementError::BrokenInvariant)?;
        }
        require!(total_stake_lamports < MAX_TOTAL_LAMPORTS, SettlementError::ArithmeticOverflow);
        require!(
            total_stake_lamports >= parameters.min_set_stake_lamports,
            SettlementError::SetStakeBelowMinimum
        );
        set.count = count as u64;
        set.total_stake_lamports = total_stake_lamports;
        set.aggregate_key = sum;
        Ok(())
    }

    /// Seals `set`, the next version, and makes it Config's newest. Pinning is the caller's.
    #[inline(never)]
    pub fn seal(&self, config: &mut Config, set: &mut Account<ValidatorSet>) -> Result<()> {
        self.copy_slots(set, &config.parameters)?;
        let version = set.set_version;
        let mut hash = [0u8; 32];
        let bytes = entry_bytes(data_of(set.account()), set.count as usize)?;
        config.domain().validator_set(version, set.count as u32, bytes, &mut hash);
        set.sealed = 1;
        set.sealed_slot = self.slot;
        set.set_hash = hash;
        set.invariant()?;
        config.sealed_before = config.sealed_last;
        config.sealed_last = SetReference { version, slot: self.slot, hash };
        Ok(())
    }
}

/// Whether `set` is the one to be sealed next.
pub fn check_next(config: &Config, set: &ValidatorSet) -> Result<()> {
    require!(config.escaped == 0, SettlementError::Escaped);
    require!(set.sealed == 0, SettlementError::SetSealed);
    require!(set.set_version == add(config.sealed_last.version, 1)?, SettlementError::WrongSetVersion);
    Ok(())
}
