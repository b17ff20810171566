use crate::{
    storage::grow, constants::*, error::SettlementError, events::ValidatorSetGrown, state::ValidatorSet,
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
#[instruction(version: u64)]
pub struct GrowValidatorSet {
    #[account(mut)]
    pub payer: Signer,
    #[account(mut, seeds = [SET_SEED, &version.to_le_bytes()], bump = validator_set.bump)]
    pub validator_set: Account<ValidatorSet>,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<GrowValidatorSet>, version: u64) -> Result<()> {
    let accounts = &ctx.accounts;
    require!(accounts.validator_set.sealed == 0, SettlementError::SetSealed);
    let size_bytes = grow(
        accounts.validator_set.account(),
        accounts.payer.account(),
        ValidatorSet::FULL_BYTES,
        SettlementError::SetFullSize,
    )?;
    accounts.validator_set.invariant()?;
    emit!(ValidatorSetGrown { set_version: version, size_bytes });
    Ok(())
}
