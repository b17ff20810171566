use crate::{
    certificate::{weigh_signers, SealedSet, Signers},
    constants::*,
    error::SlashError,
    events::CheckpointRewarded,
    math::{add, mul_div, sub},
    state::{
        registry::slots_mut, validator_set::entries, Checkpoint, CheckpointStatus, Config, Registry, ValidatorSet,
    },
    storage::{check_address, data_of, data_of_mut, is_unused, pay_out, rent_floor_lamports},
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct RewardCheckpoint {
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// The checkpoint that it builds on: rewarded, or closed since. Seeds: "checkpoint", parent_epoch u64 little-endian.
    pub parent: UncheckedAccount,
    /// The set that certified it.
    pub validator_set: Account<ValidatorSet>,
    /// Whoever posted it; it may be the payer.
    #[account(mut, unsafe(dup))]
    pub poster: UncheckedAccount,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    #[account(mut, seeds = [TREASURY_SEED], bump = config.treasury_bump)]
    pub treasury: UncheckedAccount,
    pub system_program: Program<System>,
}

/// What goes to whom.
struct Shares {
    poster_lamports: u64,
    /// For all signers together, before rounding down.
    rest_lamports: u64,
    /// What they got.
    validators_lamports: u64,
    signers: Signers,
}

/// In the chain's order: misses are counted in a row, which nobody must be able to choose.
#[inline(never)]
fn check_parent(accounts: &RewardCheckpoint) -> Result<()> {
    let parent_epoch = accounts.checkpoint.parent_epoch;
    let view = accounts.parent.account();
    check_address(view, &[CHECKPOINT_SEED, &parent_epoch.to_le_bytes()])?;
    if parent_epoch > 0 && !is_unused(view) {
        let parent = Account::<Checkpoint>::load(*view)?;
        require!(parent.rewarded == 1, SlashError::ParentNotRewarded);
    }
    Ok(())
}

#[inline(never)]
fn check(accounts: &RewardCheckpoint) -> Result<()> {
    let (checkpoint, set) = (&accounts.checkpoint, &accounts.validator_set);
    require!(checkpoint.status == CheckpointStatus::Finalized as u8, SlashError::NotFinalized);
    require!(checkpoint.rewarded == 0, SlashError::RewardedAlready);
    require!(set.sealed == 1 && set.set_version == checkpoint.set_version, SlashError::WrongValidatorSet);
    require!(anchor_lang::address_eq(accounts.poster.address(), &checkpoint.poster), SlashError::WrongPoster);
    check_parent(accounts)
}

/// From what the Treasury has above its rent. A poster whose account could not hold its share forfeits it, so that it cannot hold up the
/// others' by emptying its account.
#[inline(never)]
fn divide(accounts: &RewardCheckpoint, shares: &mut Shares) -> Result<()> {
    let parameters = &accounts.config.parameters;
    let floor = rent_floor_lamports()?;
    let spare = accounts.treasury.account().lamports().saturating_sub(floor);
    let pot = parameters.reward_lamports_per_epoch.min(spare);
    let poster = accounts.poster.account();
    let poster_lamports = mul_div(pot, parameters.poster_reward_basis_points, ALL_BASIS_POINTS)?;
    shares.rest_lamports = sub(pot, poster_lamports)?;
    let can_hold = poster.owned_by(&System::id()) && add(poster.lamports(), poster_lamports)? >= floor;
    shares.poster_lamports = if can_hold { poster_lamports } else { 0 };
    Ok(())
}

/// Credits each signer by its stake, where its registry slot still holds its key, and counts who was absent.
#[inline(never)]
fn credit(accounts: &mut RewardCheckpoint, shares: &mut Shares) -> Result<()> {
    let (checkpoint, set) = (&accounts.checkpoint, &accounts.validator_set);
    let members = entries(data_of(set.account()), set.count as usize)?;
    weigh_signers(&SealedSet { header: set, entries: members }, &checkpoint.bitmap, &mut shares.signers)?;
    let mut view = *accounts.registry.account();
    // SAFETY: the slots lie behind the header, which is the only other part of the account in use.
    let slots = slots_mut(unsafe { data_of_mut(&mut view) })?;
    let mut paid = 0u64;
    for (index, member) in members.iter().enumerate() {
        let slot = &mut slots[usize::from(set.slot_indexes[index])];
        if !slot.is_occupied() || slot.bls_public_key != member.bls_public_key {
            continue;
        }
        if checkpoint.bitmap[index >> 3] >> (index & 7) & 1 == 1 {
            let lamports = mul_div(shares.rest_lamports, member.stake_lamports, shares.signers.stake_lamports)?;
            slot.reward_lamports = add(slot.reward_lamports, lamports)?;
            slot.misses = 0;
            paid = add(paid, lamports)?;
        } else {
            slot.misses = slot.misses.saturating_add(1);
        }
    }
    shares.validators_lamports = paid;
    Ok(())
}

#[inline(never)]
fn pay(accounts: &RewardCheckpoint, shares: &Shares) -> Result<()> {
    let bump = accounts.config.treasury_bump;
    let payments = [
        (accounts.poster.account(), shares.poster_lamports),
        (accounts.stake_vault.account(), shares.validators_lamports),
    ];
    for (to, lamports) in payments {
        if lamports > 0 {
            pay_out(accounts.treasury.account(), to, lamports, TREASURY_SEED, bump)?;
        }
    }
    Ok(())
}

#[inline(never)]
pub fn handler(ctx: &mut Context<RewardCheckpoint>, epoch: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let signers = Signers { count: 0, stake_lamports: 0 };
    let mut shares = Shares { poster_lamports: 0, rest_lamports: 0, validators_lamports: 0, signers };
    check(accounts)?;
    divide(accounts, &mut shares)?;
    credit(accounts, &mut shares)?;
    pay(accounts, &shares)?;
    accounts.checkpoint.rewarded = 1;
    accounts.checkpoint.invariant()?;
    accounts.registry.invariant()?;
    emit!(CheckpointRewarded {
        epoch,
        poster: *accounts.poster.address(),
        poster_lamports: shares.poster_lamports,
        validators_lamports: shares.validators_lamports,
        signers: shares.signers.count as u16,
    });
    Ok(())
}
