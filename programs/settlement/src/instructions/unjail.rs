use crate::{
    constants::*,
    error::StakeError,
    events::stake::ValidatorUnjailed,
    math::add,
    stake::{check_authority, slot_of, slots_of},
    state::{registry::FLAG_JAILED, validator::VALIDATOR_JAILED, Config, Registry, Validator},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
pub struct Unjail {
    pub authority: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut)]
    pub validator: Account<Validator>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<Unjail>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let validator = &mut accounts.validator;
    check_authority(validator, accounts.authority.address())?;
    require!(!validator.is_tombstoned(), StakeError::Tombstoned);
    require!(validator.is_jailed(), StakeError::NotInJail);
    let free_slot = add(validator.jailed_slot, accounts.config.parameters.jail_slots)?;
    require!(Clock::get()?.slot > free_slot, StakeError::JailNotOver);
    validator.flags &= !VALIDATOR_JAILED;
    validator.misses = 0;
    validator.invariant()?;
    let mut view = *accounts.registry.account();
    if let Some(held) = slot_of(slots_of(&mut view)?, validator)? {
        held.flags &= !FLAG_JAILED;
        held.misses = 0;
    }
    accounts.registry.invariant()?;
    emit!(ValidatorUnjailed { validator: *accounts.validator.account().address() });
    Ok(())
}
