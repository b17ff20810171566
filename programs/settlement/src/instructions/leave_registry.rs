use crate::{
    constants::*,
    events::stake::RegistryLeft,
    math::sub,
    stake::{check_authority, slots_of, vacate},
    state::{Config, Registry, Validator},
};
use anchor_lang::prelude::*;

#[derive(Accounts)]
pub struct LeaveRegistry {
    pub authority: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut)]
    pub validator: Account<Validator>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<LeaveRegistry>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    check_authority(&accounts.validator, accounts.authority.address())?;
    let slot_index = accounts.validator.slot_index;
    let mut view = *accounts.registry.account();
    vacate(slots_of(&mut view)?, &mut accounts.validator, &accounts.config)?;
    accounts.registry.count = sub(accounts.registry.count, 1)?;
    accounts.registry.invariant()?;
    emit!(RegistryLeft {
        validator: *accounts.validator.account().address(),
        slot_index,
        left_version: accounts.validator.left_version,
    });
    Ok(())
}
