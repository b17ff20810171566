use crate::{
    constants::*,
    error::StakeError,
    events::stake::CommissionWithdrawn,
    stake::check_authority,
    state::{Config, Validator},
    storage::pay_out,
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
pub struct WithdrawCommission {
    /// Gets it.
    #[account(mut)]
    pub authority: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut)]
    pub validator: Account<Validator>,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<WithdrawCommission>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let validator = &mut accounts.validator;
    check_authority(validator, accounts.authority.address())?;
    let lamports = validator.commission_lamports;
    require!(lamports > 0, StakeError::NothingToWithdraw);
    validator.commission_lamports = 0;
    validator.invariant()?;
    let bump = accounts.config.stake_vault_bump;
    pay_out(accounts.stake_vault.account(), accounts.authority.account(), lamports, STAKE_VAULT_SEED, bump)?;
    emit!(CommissionWithdrawn { validator: *accounts.validator.account().address(), lamports });
    Ok(())
}
