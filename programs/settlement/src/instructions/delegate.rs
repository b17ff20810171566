use crate::{
    constants::*,
    error::{SettlementError, StakeError},
    events::stake::Delegated,
    math::add,
    stake::{collect, mirror_stake, slots_of, Collected},
    state::{Config, Registry, StakePosition, Validator},
    storage::{open, pay},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
pub struct Delegate {
    /// Pays the lamports, and the position's rent the first time.
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    pub owner: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut)]
    pub validator: Account<Validator>,
    /// Created by the first delegation.
    #[account(mut, seeds = [STAKE_SEED, validator, owner], bump)]
    pub position: UncheckedAccount,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    pub system_program: Program<System>,
}

/// Lamports into the active pool, after the rewards so far; returns their shares.
#[inline(never)]
fn enter(accounts: &mut Delegate, lamports: u64) -> Result<u64> {
    let validator = &mut accounts.validator;
    let mut view = *accounts.registry.account();
    let slots = slots_of(&mut view)?;
    let mut collected = Collected::default();
    collect(slots, validator, &mut collected)?;
    // What could not be unbonded must not be taken.
    require!(!validator.unbonding().is_emptied(), StakeError::PoolEmptied);
    let mut active = validator.active();
    let shares = active.enter_fairly(lamports)?;
    validator.set_active(active);
    validator.invariant()?;
    mirror_stake(slots, validator, Clock::get()?.slot)?;
    Ok(shares)
}

#[inline(never)]
pub fn handler(ctx: &mut Context<Delegate>, lamports: u64) -> Result<()> {
    let bump = ctx.bumps.position;
    let accounts = &mut ctx.accounts;
    require!(accounts.config.escaped == 0, SettlementError::Escaped);
    require!(!accounts.validator.is_tombstoned(), StakeError::Tombstoned);
    let shares = enter(accounts, lamports)?;
    pay(accounts.payer.account(), accounts.stake_vault.account(), lamports)?;

    let (validator, owner) = (*accounts.validator.account().address(), *accounts.owner.address());
    let seeds: [&[u8]; 3] = [STAKE_SEED, validator.as_ref(), owner.as_ref()];
    let mut position: Account<StakePosition> = open(accounts.payer.account(), accounts.position.account(), &seeds, bump)?;
    position.bump = bump;
    position.owner = owner;
    position.validator = validator;
    position.shares = add(position.shares, shares)?;
    position.invariant()?;
    emit!(Delegated { validator, owner, lamports, shares });
    Ok(())
}
