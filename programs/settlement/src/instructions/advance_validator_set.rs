use crate::{
    storage::{data_of, data_of_mut},
    bls,
    constants::*,
    error::SettlementError,
    events::ValidatorSetSealed,
    math::add,
    state::{
        registry::slots,
        validator_set::{entries_mut, entry_bytes},
        Config, Registry, SetEntry, SetReference, ValidatorSet, ValidatorSlot,
    },
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};
use core::mem::offset_of;

/// Authority and key at the beginning of a registry slot and of a set's entry.
const KEYS_BYTES: usize = 32 + 96;

const _: () = assert!(
    offset_of!(ValidatorSlot, authority) == 0
        && offset_of!(ValidatorSlot, bls_public_key) == 32
        && offset_of!(SetEntry, authority) == 0
        && offset_of!(SetEntry, bls_public_key) == 32
);

#[derive(Accounts)]
#[instruction(version: u64)]
pub struct AdvanceValidatorSet {
    /// Before the first post initialize's authority, afterwards anybody.
    pub payer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut, seeds = [SET_SEED, &version.to_le_bytes()], bump = validator_set.bump)]
    pub validator_set: Account<ValidatorSet>,
}

/// Copies every validator with stake, in slot order, and adds up stakes and keys.
#[inline(never)]
fn copy_registry(accounts: &mut AdvanceValidatorSet) -> Result<()> {
    let registered = slots(data_of(accounts.registry.account()))?;
    let least = accounts.config.parameters.min_validator_stake_lamports;
    let count = registered.iter().filter(|slot| slot.is_sealable(least)).count();
    require!(count as u64 >= accounts.config.parameters.min_validators, SettlementError::TooFewValidators);
    let mut view = *accounts.validator_set.account();
    // SAFETY: the entries lie behind the header, which is the only other part of the account in use.
    let entries = entries_mut(unsafe { data_of_mut(&mut view) }, count)?;
    let set = &mut accounts.validator_set;
    let mut total_stake_lamports = 0u64;
    let mut sum = bls::G1_INFINITY;
    let mut free = entries.iter_mut().zip(set.slot_indexes.iter_mut());
    for (index, slot) in registered.iter().enumerate().filter(|(_, slot)| slot.is_sealable(least)) {
        let (entry, slot_index) = free.next().ok_or(SettlementError::BrokenInvariant)?;
        *slot_index = index as u8;
        // SAFETY: 128 bytes each: authority and key lie next to each other in a slot as in an entry. The syscall, since the compiler
        // copies them byte by byte, which made up half of what sealing costs.
        unsafe {
            bls::copy(slot as *const ValidatorSlot as *const u8, entry as *mut SetEntry as *mut u8, KEYS_BYTES);
        }
        entry.stake_lamports = slot.stake_lamports;
        total_stake_lamports = add(total_stake_lamports, slot.stake_lamports)?;
        bls::g1_add(&mut sum, &slot.bls_public_key).map_err(|_| SettlementError::BrokenInvariant)?;
    }
    require!(total_stake_lamports < MAX_TOTAL_LAMPORTS, SettlementError::ArithmeticOverflow);
    require!(
        total_stake_lamports >= accounts.config.parameters.min_set_stake_lamports,
        SettlementError::SetStakeBelowMinimum
    );
    set.count = count as u64;
    set.total_stake_lamports = total_stake_lamports;
    set.aggregate_key = sum;
    Ok(())
}

#[inline(never)]
fn check_may_seal(accounts: &AdvanceValidatorSet, version: u64, slot: u64) -> Result<()> {
    let config = &accounts.config;
    require!(config.escaped == 0, SettlementError::Escaped);
    require!(accounts.validator_set.sealed == 0, SettlementError::SetSealed);
    require!(version == add(config.sealed_last.version, 1)?, SettlementError::WrongSetVersion);
    if config.is_before_first_post() {
        require!(
            anchor_lang::address_eq(accounts.payer.address(), &config.authority),
            SettlementError::NotAuthority
        );
    } else {
        require!(
            slot.saturating_sub(config.sealed_last.slot) >= config.parameters.min_seal_gap_slots,
            SettlementError::SealTooSoon
        );
    }
    Ok(())
}

#[inline(never)]
pub fn handler(ctx: &mut Context<AdvanceValidatorSet>, version: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let slot = Clock::get()?.slot;
    check_may_seal(accounts, version, slot)?;
    copy_registry(accounts)?;

    let count = accounts.validator_set.count;
    let mut hash = [0u8; 32];
    let bytes = entry_bytes(data_of(accounts.validator_set.account()), count as usize)?;
    accounts.config.domain().validator_set(version, count as u32, bytes, &mut hash);
    let set = &mut accounts.validator_set;
    set.sealed = 1;
    set.sealed_slot = slot;
    set.set_hash = hash;
    set.invariant()?;

    let config = &mut accounts.config;
    let sealed = SetReference { version, slot, hash };
    config.sealed_before = config.sealed_last;
    config.sealed_last = sealed;
    if config.is_before_first_post() {
        config.pinned = sealed;
    }
    config.invariant()?;
    emit!(ValidatorSetSealed {
        set_version: version,
        count,
        total_stake_lamports: accounts.validator_set.total_stake_lamports,
        set_hash: hash,
        pinned_version: accounts.config.pinned.version,
    });
    Ok(())
}
