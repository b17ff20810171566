use crate::{
    constants::*,
    error::{InboxError, SettlementError},
    events::HatchOpened,
    math::add,
    state::Config,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
pub struct Escape {
    pub payer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<Escape>) -> Result<()> {
    let config = &mut ctx.accounts.config;
    let slot = Clock::get()?.slot;
    require!(config.escaped == 0, SettlementError::Escaped);
    let opens_after = add(config.finalized.slot, config.parameters.hatch_slots)?;
    require!(slot > opens_after, InboxError::HatchClosed);
    config.escaped = 1;
    config.escape_slot = slot;
    config.invariant()?;
    emit!(HatchOpened {
        slot,
        finalized_epoch: config.finalized.epoch,
        finalized_cursor: config.finalized.inbox_cursor,
    });
    Ok(())
}
