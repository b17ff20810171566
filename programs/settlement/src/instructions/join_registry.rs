use crate::{
    constants::*,
    error::{SettlementError, StakeError},
    events::stake::RegistryJoined,
    math::add,
    stake::{check_authority, make_room, occupy, slots_of},
    state::{Config, Registry, Validator},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
pub struct JoinRegistry {
    pub authority: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut)]
    pub validator: Account<Validator>,
    /// As in register_validator.
    #[account(mut)]
    pub outbid: Option<Account<Validator>>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<JoinRegistry>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let validator = &mut accounts.validator;
    let slot = Clock::get()?.slot;
    require!(accounts.config.escaped == 0, SettlementError::Escaped);
    check_authority(validator, accounts.authority.address())?;
    require!(!validator.is_tombstoned(), StakeError::Tombstoned);
    require!(!validator.is_jailed(), StakeError::InJail);
    require!(!validator.has_slot(), StakeError::InRegistry);
    require!(
        validator.active_lamports >= accounts.config.parameters.min_validator_stake_lamports,
        SettlementError::StakeBelowMinimum
    );

    let mut view = *accounts.registry.account();
    let slots = slots_of(&mut view)?;
    let loser = accounts.outbid.as_ref().map(|loser| *loser.account().address()).unwrap_or_default();
    let outbid = accounts.outbid.as_mut().map(|loser| &mut **loser);
    let room = make_room(slots, validator, outbid, &accounts.config)?;
    occupy(slots, room.index, validator, slot)?;
    validator.invariant()?;
    if room.was_free {
        accounts.registry.count = add(accounts.registry.count, 1)?;
    }
    accounts.registry.invariant()?;
    emit!(RegistryJoined {
        validator: *accounts.validator.account().address(),
        slot_index: room.index as u64,
        outbid: if room.was_free { Address::default() } else { loser },
    });
    Ok(())
}
