use crate::{
    constants::*,
    error::SlashError,
    events::EquivocationSlashed,
    math::add,
    slashing::{Sentence, Slash},
    state::{offence::remaining_basis_points, Config, EquivocationTally, Offence, Registry, Validator},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct RaiseEquivocation {
    #[account(mut)]
    pub reporter: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut)]
    pub validator: Account<Validator>,
    #[account(mut, seeds = [OFFENCE_SEED, validator, &epoch.to_le_bytes()], bump = offence.bump)]
    pub offence: Account<Offence>,
    #[account(seeds = [TALLY_SEED, &epoch.to_le_bytes()], bump = tally.bump)]
    pub tally: Account<EquivocationTally>,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    #[account(mut, seeds = [TREASURY_SEED], bump = config.treasury_bump)]
    pub treasury: UncheckedAccount,
    pub system_program: Program<System>,
}

/// Who was found out first is to lose no less than who was found out last.
#[inline(never)]
pub fn handler(ctx: &mut Context<RaiseEquivocation>, epoch: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let applied = accounts.offence.applied_basis_points;
    let base = accounts.config.parameters.equivocation_slash_basis_points;
    let target = accounts.tally.target_basis_points(base)?;
    require!(target > applied, SlashError::NothingToRaise);
    let slash = Slash {
        config: &accounts.config,
        registry: accounts.registry.account(),
        stake_vault: accounts.stake_vault.account(),
        treasury: accounts.treasury.account(),
        reporter: accounts.reporter.account(),
        slot: Clock::get()?.slot,
    };
    let more = remaining_basis_points(applied, target)?;
    let cut = slash.carry_out(&mut accounts.validator, more, Sentence::None)?;
    accounts.offence.applied_basis_points = target;
    accounts.offence.cut_lamports = add(accounts.offence.cut_lamports, cut.lamports)?;
    accounts.offence.invariant()?;
    emit!(EquivocationSlashed {
        validator: *accounts.validator.account().address(),
        authority: accounts.validator.authority,
        epoch,
        applied_basis_points: target,
        cut_lamports: cut.lamports,
        reporter: *accounts.reporter.address(),
        reporter_lamports: cut.reporter_lamports,
    });
    Ok(())
}
