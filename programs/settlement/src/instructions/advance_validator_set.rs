use crate::{
    constants::*,
    error::SettlementError,
    events::ValidatorSetSealed,
    sealing::{check_next, Chosen, Sealing},
    state::{registry::slots, Config, Registry, ValidatorSet},
    storage::data_of,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
#[instruction(version: u64)]
pub struct AdvanceValidatorSet {
    /// Before the first post initialize's authority, afterwards anybody.
    pub payer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut, seeds = [SET_SEED, &version.to_le_bytes()], bump = validator_set.bump)]
    pub validator_set: Account<ValidatorSet>,
}

#[inline(never)]
fn check_may_seal(accounts: &AdvanceValidatorSet, slot: u64) -> Result<()> {
    let config = &accounts.config;
    check_next(config, &accounts.validator_set)?;
    if config.is_before_first_post() {
        require!(
            anchor_lang::address_eq(accounts.payer.address(), &config.authority),
            SettlementError::NotAuthority
        );
    } else {
        require!(
            slot.saturating_sub(config.sealed_last.slot) >= config.parameters.min_seal_gap_slots,
            SettlementError::SealTooSoon
        );
    }
    Ok(())
}

#[inline(never)]
pub fn handler(ctx: &mut Context<AdvanceValidatorSet>, version: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let slot = Clock::get()?.slot;
    check_may_seal(accounts, slot)?;
    let registered = slots(data_of(accounts.registry.account()))?;
    let least = accounts.config.parameters.min_validator_stake_lamports;
    let mut chosen = Chosen::default();
    for (index, held) in registered.iter().enumerate() {
        if held.is_sealable(least) {
            chosen.insert(index);
        }
    }
    Sealing { registered, chosen, slot }.seal(&mut accounts.config, &mut accounts.validator_set)?;

    let config = &mut accounts.config;
    if config.is_before_first_post() {
        config.pinned = config.sealed_last;
    }
    config.invariant()?;
    let set = &accounts.validator_set;
    emit!(ValidatorSetSealed {
        set_version: version,
        count: set.count,
        total_stake_lamports: set.total_stake_lamports,
        set_hash: set.set_hash,
        pinned_version: config.pinned.version,
    });
    Ok(())
}
