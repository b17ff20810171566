use crate::{
    constants::*,
    error::{DisputeError, SettlementError},
    events::CheckpointClosed,
    math::add,
    state::{Checkpoint, CheckpointStatus, Config},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct CloseCheckpoint {
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// Who posted it: the rent goes back.
    #[account(mut, unsafe(dup))]
    pub poster: UncheckedAccount,
}

/// Nothing waits for the account any more: no reward, no slash, no bond, no evidence within unbonding.
fn check_spent(config: &Config, checkpoint: &Checkpoint) -> Result<()> {
    require!(checkpoint.epoch < config.finalized.epoch, DisputeError::CheckpointNeeded);
    require!(checkpoint.open_demands == 0, DisputeError::DemandsOpen);
    let old = add(checkpoint.posted_slot, config.parameters.unbonding_slots)?;
    require!(Clock::get()?.slot > old, DisputeError::TooYoungToClose);
    if checkpoint.status == CheckpointStatus::Finalized as u8 {
        // After the escape no reward is given out any more.
        require!(checkpoint.rewarded == 1 || config.escaped == 1, DisputeError::RewardsOpen);
    } else if checkpoint.status == CheckpointStatus::Rejected as u8 {
        require!(checkpoint.slashed_bitmap == checkpoint.bitmap, DisputeError::SlashesOpen);
    } else {
        require!(checkpoint.status == CheckpointStatus::Voided as u8, DisputeError::CheckpointNeeded);
    }
    require!(checkpoint.bond_lamports == 0, SettlementError::BrokenInvariant);
    Ok(())
}

#[inline(never)]
pub fn handler(ctx: &mut Context<CloseCheckpoint>, epoch: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    check_spent(&accounts.config, &accounts.checkpoint)?;
    let poster = accounts.poster.address();
    require!(anchor_lang::address_eq(poster, &accounts.checkpoint.poster), DisputeError::WrongPoster);
    accounts.checkpoint.close(*accounts.poster.account())?;
    emit!(CheckpointClosed { epoch });
    Ok(())
}
