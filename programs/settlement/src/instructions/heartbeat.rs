use crate::{
    constants::*,
    error::StakeError,
    events::stake::HeartbeatSent,
    stake::{check_authority, slot_of, slots_of},
    state::{registry::FLAG_INACTIVE, Registry, Validator},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
pub struct Heartbeat {
    pub authority: Signer,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    pub validator: Account<Validator>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<Heartbeat>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let slot = Clock::get()?.slot;
    check_authority(&accounts.validator, accounts.authority.address())?;
    let mut view = *accounts.registry.account();
    let held = slot_of(slots_of(&mut view)?, &accounts.validator)?.ok_or(StakeError::NotInRegistry)?;
    held.heartbeat_slot = slot;
    held.flags &= !FLAG_INACTIVE;
    accounts.registry.invariant()?;
    emit!(HeartbeatSent { validator: *accounts.validator.account().address(), slot });
    Ok(())
}
