use crate::{error::StakeError, events::stake::CommissionSet, stake::check_authority, state::Validator};
use anchor_lang::prelude::*;

#[derive(Accounts)]
pub struct SetCommission {
    pub authority: Signer,
    #[account(mut)]
    pub validator: Account<Validator>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<SetCommission>, commission_basis_points: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let validator = &mut accounts.validator;
    check_authority(validator, accounts.authority.address())?;
    // Delegators chose it as it was.
    require!(commission_basis_points < validator.commission_basis_points, StakeError::CommissionNotLower);
    validator.commission_basis_points = commission_basis_points;
    validator.invariant()?;
    emit!(CommissionSet { validator: *accounts.validator.account().address(), commission_basis_points });
    Ok(())
}
