use crate::{
    constants::*,
    events::stake::UnbondedWithdrawn,
    math::sub,
    stake::check_out_of_reach,
    state::{Checkpoint, Config, StakePosition, Unbonding, Validator},
    storage::pay_out,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
#[instruction(id: u64)]
pub struct WithdrawUnbonded {
    #[account(mut)]
    pub owner: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut)]
    pub validator: Account<Validator>,
    #[account(mut, seeds = [STAKE_SEED, validator, owner], bump = position.bump)]
    pub position: Account<StakePosition>,
    #[account(mut, seeds = [UNBONDING_SEED, position, &id.to_le_bytes()], bump = unbonding.bump)]
    pub unbonding: Account<Unbonding>,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    /// A finalized one of a set without this stake; left out after the escape.
    pub checkpoint: Option<Account<Checkpoint>>,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<WithdrawUnbonded>, id: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let slot = Clock::get()?.slot;
    let checkpoint = accounts.checkpoint.as_ref().map(|checkpoint| &**checkpoint);
    check_out_of_reach(&accounts.config, checkpoint, accounts.unbonding.first_free_version, slot)?;

    let mut pool = accounts.validator.unbonding();
    let lamports = pool.leave(accounts.unbonding.shares)?;
    accounts.validator.set_unbonding(pool);
    accounts.validator.invariant()?;
    let position = &mut accounts.position;
    position.open_unbondings = sub(position.open_unbondings, 1)?;
    position.invariant()?;
    let owner = accounts.owner.account();
    if lamports > 0 {
        let bump = accounts.config.stake_vault_bump;
        pay_out(accounts.stake_vault.account(), owner, lamports, STAKE_VAULT_SEED, bump)?;
    }
    accounts.unbonding.close(*owner)?;
    emit!(UnbondedWithdrawn {
        validator: *accounts.validator.account().address(),
        owner: *accounts.owner.address(),
        id,
        lamports,
    });
    Ok(())
}
