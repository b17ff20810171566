//! Rules of stake that several instructions share: registry slots and who may have one, rewards, and when stake is out of reach of evidence.

use crate::{
    constants::{ALL_BASIS_POINTS, MAX_VALIDATORS},
    error::{SettlementError, StakeError},
    math::{add, mul_div, sub},
    state::{
        registry::{slots_mut, FLAG_INACTIVE, FLAG_JAILED, FLAG_OCCUPIED},
        validator::NO_SLOT,
        Checkpoint, CheckpointStatus, Config, Validator, ValidatorSlot,
    },
    storage::data_of_mut,
};
use anchor_lang::prelude::*;
use bytemuck::Zeroable;

pub fn check_authority(validator: &Validator, authority: &Address) -> Result<()> {
    require!(anchor_lang::address_eq(&validator.authority, authority), StakeError::NotValidatorAuthority);
    Ok(())
}

/// All slots of the registry. An array, since BPF passes a slice as two of its five arguments.
pub type Slots = [ValidatorSlot; MAX_VALIDATORS];

/// The registry's slots to write to; `registry` is a copy of the account's view, which the instruction loaded as `mut`.
pub fn slots_of(registry: &mut AccountView) -> Result<&mut Slots> {
    // SAFETY: the slots lie behind the header, which is the only other part of the account in use.
    let slots = slots_mut(unsafe { data_of_mut(registry) })?;
    slots.try_into().map_err(|_| SettlementError::BrokenInvariant.into())
}

/// The validator's slot, if it has one.
pub fn slot_of<'a>(slots: &'a mut Slots, validator: &Validator) -> Result<Option<&'a mut ValidatorSlot>> {
    if !validator.has_slot() {
        return Ok(None);
    }
    let slot = slots.get_mut(validator.slot_index as usize).ok_or(SettlementError::BrokenInvariant)?;
    require!(
        slot.is_occupied() && slot.bls_public_key == validator.bls_public_key,
        SettlementError::BrokenInvariant
    );
    Ok(Some(slot))
}

/// Its active stake as the registry has it, with the slot number of the change.
pub fn mirror_stake(slots: &mut Slots, validator: &Validator, slot: u64) -> Result<()> {
    if let Some(held) = slot_of(slots, validator)? {
        held.stake_lamports = validator.active_lamports;
        held.stake_slot = slot;
    }
    Ok(())
}

#[derive(Clone, Copy, Default)]
pub struct Collected {
    pub reward_lamports: u64,
    pub commission_lamports: u64,
}

/// Brings rewards into the active pool, less the commission. Before anybody comes or goes, so that rewards are those delegators' who earned
/// them; without anybody in the pool they are the authority's.
#[inline(never)]
pub fn collect(slots: &mut Slots, validator: &mut Validator, collected: &mut Collected) -> Result<()> {
    let mut reward_lamports = validator.reward_lamports;
    if let Some(held) = slot_of(slots, validator)? {
        reward_lamports = add(reward_lamports, held.reward_lamports)?;
        held.reward_lamports = 0;
    }
    validator.reward_lamports = 0;
    let commission_lamports = match validator.active_lamports {
        0 => reward_lamports,
        _ => mul_div(reward_lamports, validator.commission_basis_points, ALL_BASIS_POINTS)?,
    };
    validator.commission_lamports = add(validator.commission_lamports, commission_lamports)?;
    validator.active_lamports = add(validator.active_lamports, sub(reward_lamports, commission_lamports)?)?;
    *collected = Collected { reward_lamports, commission_lamports };
    Ok(())
}

/// The first free slot, if there is one; AuthorityRegistered when the authority has a slot.
#[inline(never)]
fn free_slot(slots: &Slots, authority: &Address) -> Result<Option<usize>> {
    let mut free = None;
    for (index, held) in slots.iter().enumerate() {
        if !held.is_occupied() {
            if free.is_none() {
                free = Some(index);
            }
        } else {
            require!(!anchor_lang::address_eq(&held.authority, authority), SettlementError::AuthorityRegistered);
        }
    }
    Ok(free)
}

/// What a newcomer must have more of. Who is in jail or silent adds nothing to a set.
fn standing_lamports(slot: &ValidatorSlot) -> u64 {
    if slot.flags & (FLAG_JAILED | FLAG_INACTIVE) != 0 {
        return 0;
    }
    slot.stake_lamports
}

/// The lowest standing, the first of equals.
fn lowest(slots: &Slots) -> usize {
    let mut lowest = 0;
    for (index, slot) in slots.iter().enumerate() {
        if standing_lamports(slot) < standing_lamports(&slots[lowest]) {
            lowest = index;
        }
    }
    lowest
}

/// Empties the validator's slot and remembers in the validator what must not be lost with it.
#[inline(never)]
pub fn vacate(slots: &mut Slots, validator: &mut Validator, config: &Config) -> Result<()> {
    let held = slot_of(slots, validator)?.ok_or(StakeError::NotInRegistry)?;
    validator.reward_lamports = add(validator.reward_lamports, held.reward_lamports)?;
    validator.misses = held.misses;
    validator.slot_index = NO_SLOT;
    validator.left_version = add(config.sealed_last.version, 1)?;
    *held = ValidatorSlot::zeroed();
    validator.invariant()
}

/// Where a newcomer goes.
pub struct Room {
    pub index: usize,
    /// Else `outbid` has just lost it.
    pub was_free: bool,
}

/// A slot for `newcomer`: a free one, else that of `outbid`, which must have the lowest stake and less than the newcomer.
#[inline(never)]
pub fn make_room(
    slots: &mut Slots,
    newcomer: &Validator,
    outbid: Option<&mut Validator>,
    config: &Config,
) -> Result<Room> {
    if let Some(index) = free_slot(slots, &newcomer.authority)? {
        return Ok(Room { index, was_free: true });
    }
    let loser = outbid.ok_or(SettlementError::RegistryFull)?;
    let index = lowest(slots);
    require!(loser.slot_index == index as u64, StakeError::NotLowestStake);
    require!(newcomer.active_lamports > standing_lamports(&slots[index]), StakeError::OutbidTooLow);
    vacate(slots, loser, config)?;
    Ok(Room { index, was_free: false })
}

/// Writes the validator into the empty slot. Counts as a heartbeat.
#[inline(never)]
pub fn occupy(slots: &mut Slots, index: usize, validator: &mut Validator, slot: u64) -> Result<()> {
    let held = slots.get_mut(index).ok_or(SettlementError::BrokenInvariant)?;
    held.authority = validator.authority;
    held.bls_public_key = validator.bls_public_key;
    held.stake_lamports = validator.active_lamports;
    held.stake_slot = slot;
    held.reward_lamports = 0;
    held.reserved = 0;
    held.heartbeat_slot = slot;
    held.misses = validator.misses;
    held.flags = FLAG_OCCUPIED;
    validator.slot_index = index as u64;
    validator.left_version = 0;
    Ok(())
}

/// No evidence against a signer of a set older than `first_free_version` can come any more: a checkpoint of a later set is final, so that
/// every earlier one is final or void, for at least unbonding_slots; and all who signed a rejected one are slashed. After the escape, which
/// ends posting, the clock starts there.
#[inline(never)]
pub fn check_out_of_reach(
    config: &Config,
    checkpoint: Option<&Checkpoint>,
    first_free_version: u64,
    slot: u64,
) -> Result<()> {
    let since = match checkpoint {
        Some(checkpoint) => {
            require!(
                checkpoint.status == CheckpointStatus::Finalized as u8,
                StakeError::CheckpointNotFinalized
            );
            require!(checkpoint.set_version >= first_free_version, StakeError::CheckpointTooOld);
            checkpoint.posted_slot
        }
        None => {
            require!(config.escaped == 1, StakeError::CheckpointMissing);
            config.escape_slot
        }
    };
    require!(slot > add(since, config.parameters.unbonding_slots)?, StakeError::UnbondingNotOver);
    require!(config.pending_slashes == 0, StakeError::SlashesPending);
    Ok(())
}
