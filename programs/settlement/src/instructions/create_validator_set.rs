use crate::{
    storage::{create, created, is_unused},
    constants::*,
    error::SettlementError,
    events::ValidatorSetCreated,
    math::add,
    state::{Config, ValidatorSet},
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
pub struct CreateValidatorSet {
    #[account(mut)]
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    /// Seeds: "set", version u64 little-endian.
    #[account(mut)]
    pub validator_set: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<CreateValidatorSet>, version: u64) -> Result<()> {
    let accounts = &ctx.accounts;
    require!(accounts.config.escaped == 0, SettlementError::Escaped);
    require!(version == add(accounts.config.sealed_last.version, 1)?, SettlementError::WrongSetVersion);
    require!(is_unused(accounts.validator_set.account()), SettlementError::SetExists);
    let view = accounts.validator_set.account();
    let seeds: [&[u8]; 2] = [SET_SEED, &version.to_le_bytes()];
    let bump = create::<ValidatorSet>(accounts.payer.account(), view, &seeds, GROWTH_BYTES)?;
    let mut set = created::<ValidatorSet>(view)?;
    set.version = ACCOUNT_VERSION;
    set.bump = bump;
    set.set_version = version;
    set.payer = *accounts.payer.address();
    set.invariant()?;
    emit!(ValidatorSetCreated { set_version: version });
    Ok(())
}
