use crate::{
    constants::*,
    error::MigrationError,
    state::{
        timed_unbonding::{read_old, TimedUnbonding},
        StakePosition, Unbonding,
    },
    storage::{created, data_of, data_of_mut},
};
use anchor_lang::{prelude::*, programs::System};
use core::mem::size_of;

const DISCRIMINATOR_BYTES: usize = 8;

#[event]
pub struct UnbondingMigrated {
    pub unbonding: Address,
    pub owner: Address,
    pub id: u64,
}

#[derive(Accounts)]
#[instruction(id: u64)]
pub struct MigrateUnbonding {
    /// Anyone. Pays the rent of the bytes that are added.
    #[account(mut)]
    pub payer: Signer,
    pub position: Account<StakePosition>,
    #[account(mut, seeds = [UNBONDING_SEED, position, &id.to_le_bytes()], bump)]
    pub unbonding: UncheckedAccount,
    pub system_program: Program<System>,
}

/// What it holds, when it is an Unbonding of the old layout.
#[inline(never)]
fn old_of(account: &AccountView) -> Result<Unbonding> {
    require!(account.owned_by(&crate::ID), MigrationError::NotAnUnbonding);
    let data = data_of(account);
    require!(data.len() > DISCRIMINATOR_BYTES, MigrationError::NotAnUnbonding);
    let (discriminator, fields) = data.split_at(DISCRIMINATOR_BYTES);
    require!(discriminator != TimedUnbonding::DISCRIMINATOR, MigrationError::AlreadyMigrated);
    require!(discriminator == Unbonding::DISCRIMINATOR, MigrationError::NotAnUnbonding);
    read_old(fields)
}

#[inline(never)]
pub fn handler(ctx: &mut Context<MigrateUnbonding>, id: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let mut view = *accounts.unbonding.account();
    let old = old_of(&view)?;
    let bytes = DISCRIMINATOR_BYTES + size_of::<TimedUnbonding>();
    anchor_lang::realloc_account(&mut view, bytes, accounts.payer.account(), false)?;
    // SAFETY: `old` is a copy, and nothing else refers to the account's data.
    unsafe { data_of_mut(&mut view)[..DISCRIMINATOR_BYTES].copy_from_slice(TimedUnbonding::DISCRIMINATOR) };
    let mut timed = created::<TimedUnbonding>(&view)?;
    timed.take_over(&old);
    timed.invariant()?;
    emit!(UnbondingMigrated { unbonding: *view.address(), owner: old.owner, id });
    Ok(())
}
