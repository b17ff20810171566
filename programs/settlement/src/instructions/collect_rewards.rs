use crate::{
    constants::*,
    error::StakeError,
    events::stake::RewardsCollected,
    stake::{collect, mirror_stake, slots_of, Collected},
    state::{Registry, Validator},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
pub struct CollectRewards {
    /// Anybody.
    pub payer: Signer,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut)]
    pub validator: Account<Validator>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<CollectRewards>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let validator = &mut accounts.validator;
    let mut view = *accounts.registry.account();
    let slots = slots_of(&mut view)?;
    let mut collected = Collected::default();
    collect(slots, validator, &mut collected)?;
    require!(collected.reward_lamports > 0, StakeError::NothingToCollect);
    validator.invariant()?;
    mirror_stake(slots, validator, Clock::get()?.slot)?;
    emit!(RewardsCollected {
        validator: *accounts.validator.account().address(),
        reward_lamports: collected.reward_lamports,
        commission_lamports: collected.commission_lamports,
    });
    Ok(())
}
