use crate::{
    constants::*,
    error::SlashError,
    events::RejectedSlashed,
    math::sub,
    slashing::{Sentence, Slash},
    state::{validator_set::entries, Checkpoint, CheckpointStatus, Config, Registry, Validator, ValidatorSet},
    storage::data_of,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct SlashRejected {
    #[account(mut)]
    pub reporter: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// The set that certified it.
    pub validator_set: Account<ValidatorSet>,
    /// The signer.
    #[account(mut)]
    pub validator: Account<Validator>,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    #[account(mut, seeds = [TREASURY_SEED], bump = config.treasury_bump)]
    pub treasury: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
fn check_signer(accounts: &SlashRejected, index: u8) -> Result<()> {
    let (checkpoint, set) = (&accounts.checkpoint, &accounts.validator_set);
    require!(checkpoint.status == CheckpointStatus::Rejected as u8, SlashError::NotRejected);
    require!(set.sealed == 1 && set.set_version == checkpoint.set_version, SlashError::WrongValidatorSet);
    let (byte, bit) = (usize::from(index >> 3), index & 7);
    require!(checkpoint.bitmap[byte] >> bit & 1 == 1, SlashError::NotASigner);
    require!(checkpoint.slashed_bitmap[byte] >> bit & 1 == 0, SlashError::SignerSlashed);
    let member = entries(data_of(set.account()), set.count as usize)?.get(usize::from(index));
    let member = member.ok_or(SlashError::NotASigner)?;
    require!(member.bls_public_key == accounts.validator.bls_public_key, SlashError::WrongValidator);
    Ok(())
}

#[inline(never)]
pub fn handler(ctx: &mut Context<SlashRejected>, epoch: u64, index: u8) -> Result<()> {
    let accounts = &mut ctx.accounts;
    check_signer(accounts, index)?;
    let slash = Slash {
        config: &accounts.config,
        registry: accounts.registry.account(),
        stake_vault: accounts.stake_vault.account(),
        treasury: accounts.treasury.account(),
        reporter: accounts.reporter.account(),
        slot: Clock::get()?.slot,
    };
    let basis_points = accounts.config.parameters.fraud_slash_basis_points;
    let cut = slash.carry_out(&mut accounts.validator, basis_points, Sentence::Jail)?;
    accounts.checkpoint.slashed_bitmap[usize::from(index >> 3)] |= 1 << (index & 7);
    accounts.checkpoint.invariant()?;
    // Stake leaves again once the last signer of what was rejected is slashed.
    accounts.config.pending_slashes = sub(accounts.config.pending_slashes, 1)?;
    accounts.config.invariant()?;
    emit!(RejectedSlashed {
        validator: *accounts.validator.account().address(),
        authority: accounts.validator.authority,
        epoch,
        cut_lamports: cut.lamports,
        reporter: *accounts.reporter.address(),
        reporter_lamports: cut.reporter_lamports,
        pending_slashes: accounts.config.pending_slashes,
    });
    Ok(())
}
