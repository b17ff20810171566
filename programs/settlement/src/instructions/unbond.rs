use crate::{
    constants::*,
    error::{SettlementError, StakeError},
    events::stake::Unbonded,
    math::{add, sub},
    stake::{collect, mirror_stake, slots_of, Collected},
    state::{Config, Registry, StakePosition, Unbonding, Validator},
    storage::{create, created, is_unused},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
pub struct Unbond {
    /// Pays the Unbonding's rent, which the owner gets when it is withdrawn.
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    pub owner: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut)]
    pub validator: Account<Validator>,
    #[account(mut, seeds = [STAKE_SEED, validator, owner], bump = position.bump)]
    pub position: Account<StakePosition>,
    /// Seeds: "unbonding", position, the position's next id as u64 little-endian.
    #[account(mut)]
    pub unbonding: UncheckedAccount,
    pub system_program: Program<System>,
}

/// What moves between the pools.
struct Moved {
    lamports: u64,
    unbonding_shares: u64,
    first_free_version: u64,
}

/// From the active pool, after the rewards so far, to the unbonding pool.
#[inline(never)]
fn change_pools(accounts: &mut Unbond, shares: u64, slot: u64, moved: &mut Moved) -> Result<()> {
    let validator = &mut accounts.validator;
    let mut view = *accounts.registry.account();
    let slots = slots_of(&mut view)?;
    let mut collected = Collected::default();
    collect(slots, validator, &mut collected)?;
    let (mut active, mut unbonding) = (validator.active(), validator.unbonding());
    moved.lamports = active.leave(shares)?;
    require!(moved.lamports > 0, StakeError::WorthlessShares);
    moved.unbonding_shares = unbonding.enter(moved.lamports)?;
    // Whoever has a slot may be in any version sealed so far; who has none, in those before it lost it.
    moved.first_free_version = match validator.has_slot() {
        true => add(accounts.config.sealed_last.version, 1)?,
        false => validator.left_version,
    };
    validator.set_active(active);
    validator.set_unbonding(unbonding);
    validator.invariant()?;
    mirror_stake(slots, validator, slot)
}

/// The account at the next id's address.
#[inline(never)]
fn create_unbonding(accounts: &Unbond, moved: &Moved, slot: u64) -> Result<()> {
    let view = accounts.unbonding.account();
    require!(is_unused(view), SettlementError::WrongAddress);
    let position = *accounts.position.account().address();
    let id = accounts.position.next_unbonding_id;
    let seeds: [&[u8]; 3] = [UNBONDING_SEED, position.as_array(), &id.to_le_bytes()];
    let bump = create::<Unbonding>(accounts.payer.account(), view, &seeds, 8 + core::mem::size_of::<Unbonding>())?;
    let mut unbonding = created::<Unbonding>(view)?;
    unbonding.version = ACCOUNT_VERSION;
    unbonding.bump = bump;
    unbonding.owner = *accounts.owner.address();
    unbonding.validator = *accounts.validator.account().address();
    unbonding.id = id;
    unbonding.shares = moved.unbonding_shares;
    unbonding.first_free_version = moved.first_free_version;
    unbonding.requested_slot = slot;
    unbonding.invariant()
}

#[inline(never)]
pub fn handler(ctx: &mut Context<Unbond>, shares: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let slot = Clock::get()?.slot;
    require!(shares > 0 && shares <= accounts.position.shares, StakeError::WrongShares);
    let mut moved = Moved { lamports: 0, unbonding_shares: 0, first_free_version: 0 };
    change_pools(accounts, shares, slot, &mut moved)?;
    create_unbonding(accounts, &moved, slot)?;

    let position = &mut accounts.position;
    let id = position.next_unbonding_id;
    position.shares = sub(position.shares, shares)?;
    position.next_unbonding_id = add(id, 1)?;
    position.open_unbondings = add(position.open_unbondings, 1)?;
    position.invariant()?;
    emit!(Unbonded {
        validator: *accounts.validator.account().address(),
        owner: *accounts.owner.address(),
        id,
        shares,
        lamports: moved.lamports,
        first_free_version: moved.first_free_version,
    });
    Ok(())
}
