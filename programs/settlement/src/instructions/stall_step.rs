use crate::{
    constants::*,
    error::StakeError,
    events::stake::StallStepped,
    math::add,
    sealing::{check_next, Chosen, Sealing},
    stake::slots_of,
    state::{
        registry::FLAG_INACTIVE, validator_set::entries, Config, Registry, SetEntry, ValidatorSet, ValidatorSlot,
    },
    storage::data_of,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
#[instruction(version: u64)]
pub struct StallStep {
    /// Anybody.
    pub payer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut, seeds = [SET_SEED, &config.pinned.version.to_le_bytes()], bump = pinned_set.bump)]
    pub pinned_set: Account<ValidatorSet>,
    /// The next version, created and grown as for advance_validator_set.
    #[account(mut, seeds = [SET_SEED, &version.to_le_bytes()], bump = validator_set.bump)]
    pub validator_set: Account<ValidatorSet>,
}

#[inline(never)]
fn check_stalled(config: &Config, slot: u64) -> Result<()> {
    require!(!config.is_before_first_post(), StakeError::NothingPosted);
    let last_slot = config.last_post_slot.max(config.last_stall_slot).max(config.initialized_slot);
    require!(slot > add(last_slot, config.parameters.stall_slots)?, StakeError::StallTooSoon);
    Ok(())
}

/// The member still has its slot, and may sign in it.
fn is_member(entry: &SetEntry, held: &ValidatorSlot, min_stake_lamports: u64) -> bool {
    held.bls_public_key == entry.bls_public_key && held.is_sealable(min_stake_lamports)
}

/// Of the pinned set's members those to go on with. Who left, is jailed or has too little stake is out whatever its part; of those whose
/// heartbeat is missing, in slot order, as many as make up a third of the set's stake with them. Returns the stake that is out.
#[inline(never)]
fn choose(accounts: &mut StallStep, slot: u64, chosen: &mut Chosen) -> Result<u64> {
    let parameters = accounts.config.parameters;
    let set = &accounts.pinned_set;
    let members = entries(data_of(set.account()), set.count as usize)?;
    let mut view = *accounts.registry.account();
    let slots = slots_of(&mut view)?;
    let mut dropped_lamports = 0;
    for (entry, index) in members.iter().zip(set.slot_indexes) {
        if is_member(entry, &slots[index as usize], parameters.min_validator_stake_lamports) {
            chosen.insert(index as usize);
        } else {
            dropped_lamports = add(dropped_lamports, entry.stake_lamports)?;
        }
    }
    for (entry, index) in members.iter().zip(set.slot_indexes) {
        let held = &mut slots[index as usize];
        let is_silent = add(held.heartbeat_slot, parameters.heartbeat_slots)? < slot;
        let with_it = add(dropped_lamports, entry.stake_lamports)?;
        if chosen.contains(index as usize) && is_silent && with_it <= set.total_stake_lamports / 3 {
            chosen.remove(index as usize);
            held.flags |= FLAG_INACTIVE;
            dropped_lamports = with_it;
        }
    }
    Ok(dropped_lamports)
}

#[inline(never)]
pub fn handler(ctx: &mut Context<StallStep>, version: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let slot = Clock::get()?.slot;
    check_next(&accounts.config, &accounts.validator_set)?;
    check_stalled(&accounts.config, slot)?;
    let mut chosen = Chosen::default();
    let dropped_lamports = choose(accounts, slot, &mut chosen)?;
    require!(dropped_lamports > 0, StakeError::NobodyToDrop);

    let registered = crate::state::registry::slots(data_of(accounts.registry.account()))?;
    Sealing { registered, chosen, slot }.seal(&mut accounts.config, &mut accounts.validator_set)?;
    accounts.pinned_set.replaced_slot = slot;
    accounts.pinned_set.invariant()?;
    let config = &mut accounts.config;
    config.pinned = config.sealed_last;
    config.last_stall_slot = slot;
    config.invariant()?;
    accounts.registry.invariant()?;
    let set = &accounts.validator_set;
    emit!(StallStepped {
        set_version: version,
        count: set.count,
        total_stake_lamports: set.total_stake_lamports,
        set_hash: set.set_hash,
        dropped_lamports,
    });
    Ok(())
}
