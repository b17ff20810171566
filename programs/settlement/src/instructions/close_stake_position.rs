use crate::{constants::*, error::StakeError, events::stake::StakePositionClosed, state::{StakePosition, Validator}};
use anchor_lang::prelude::*;

#[derive(Accounts)]
pub struct CloseStakePosition {
    #[account(mut)]
    pub owner: Signer,
    pub validator: Account<Validator>,
    #[account(mut, seeds = [STAKE_SEED, validator, owner], bump = position.bump)]
    pub position: Account<StakePosition>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<CloseStakePosition>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    require!(
        accounts.position.shares == 0 && accounts.position.open_unbondings == 0,
        StakeError::PositionInUse
    );
    accounts.position.close(*accounts.owner.account())?;
    emit!(StakePositionClosed {
        validator: *accounts.validator.account().address(),
        owner: *accounts.owner.address(),
    });
    Ok(())
}
