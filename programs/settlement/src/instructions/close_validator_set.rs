use crate::{
    constants::*,
    error::{SlashError, StakeError},
    events::stake::ValidatorSetClosed,
    math::add,
    stake::check_out_of_reach,
    state::{Checkpoint, Config, ValidatorSet},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
#[instruction(version: u64)]
pub struct CloseValidatorSet {
    /// Anybody.
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [SET_SEED, &version.to_le_bytes()], bump = validator_set.bump)]
    pub validator_set: Account<ValidatorSet>,
    /// Whoever paid for the set; may be the payer.
    #[account(mut, unsafe(dup))]
    pub recipient: UncheckedAccount,
    /// A finalized one of a later set; left out after the escape.
    pub checkpoint: Option<Account<Checkpoint>>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<CloseValidatorSet>, version: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let config = &accounts.config;
    require!(
        version < config.sealed_before.version && version != config.pinned.version,
        StakeError::SetInUse
    );
    require!(
        anchor_lang::address_eq(accounts.recipient.address(), &accounts.validator_set.payer),
        StakeError::NotSetPayer
    );
    let checkpoint = accounts.checkpoint.as_ref().map(|checkpoint| &**checkpoint);
    check_out_of_reach(config, checkpoint, add(version, 1)?, Clock::get()?.slot)?;
    // Rewards go in the chain's order and need the set: one that is lacking would hold up those of all later epochs for ever.
    let is_rewarded = checkpoint.is_none_or(|checkpoint| checkpoint.rewarded == 1);
    require!(is_rewarded, SlashError::RewardsDue);
    accounts.validator_set.close(*accounts.recipient.account())?;
    emit!(ValidatorSetClosed { set_version: version });
    Ok(())
}
