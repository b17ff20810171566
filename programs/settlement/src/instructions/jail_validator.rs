use crate::{
    constants::*,
    error::StakeError,
    events::stake::ValidatorJailed,
    slashing::{Sentence, Slash},
    stake::{slot_of, slots_of},
    state::{Config, Registry, Validator},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
pub struct JailValidator {
    /// Anybody; gets the reporter's share.
    #[account(mut)]
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut)]
    pub validator: Account<Validator>,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    #[account(mut, seeds = [TREASURY_SEED], bump = config.treasury_bump)]
    pub treasury: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<JailValidator>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let config = &accounts.config;
    require!(!accounts.validator.is_jailed(), StakeError::InJail);
    let mut view = *accounts.registry.account();
    let held = slot_of(slots_of(&mut view)?, &accounts.validator)?.ok_or(StakeError::NotInRegistry)?;
    require!(u64::from(held.misses) >= config.parameters.max_misses, StakeError::TooFewMisses);

    let slash = Slash {
        config,
        registry: accounts.registry.account(),
        stake_vault: accounts.stake_vault.account(),
        treasury: accounts.treasury.account(),
        reporter: accounts.payer.account(),
        slot: Clock::get()?.slot,
    };
    let basis_points = config.parameters.miss_slash_basis_points;
    let cut = slash.carry_out(&mut accounts.validator, basis_points, Sentence::Jail)?;
    accounts.registry.invariant()?;
    emit!(ValidatorJailed {
        validator: *accounts.validator.account().address(),
        cut_lamports: cut.lamports,
        reporter_lamports: cut.reporter_lamports,
    });
    Ok(())
}
