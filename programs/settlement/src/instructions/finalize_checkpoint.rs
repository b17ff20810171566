use crate::{
    constants::*,
    error::{DisputeError, SettlementError},
    events::CheckpointFinalized,
    rejection::forget_below,
    state::{Checkpoint, CheckpointStatus, Config, FinalizedHead},
    storage::move_lamports,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct FinalizeCheckpoint {
    pub payer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// Who posted it: the bond goes back.
    #[account(mut, unsafe(dup))]
    pub poster: UncheckedAccount,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<FinalizeCheckpoint>, epoch: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let (config, checkpoint) = (&mut accounts.config, &mut accounts.checkpoint);
    let slot = Clock::get()?.slot;
    config.check_live(checkpoint)?;
    require!(checkpoint.parent_hash == config.finalized.hash, SettlementError::ParentNotFinalized);
    require!(slot > checkpoint.challenge_until_slot, SettlementError::ChallengeWindowOpen);
    require!(checkpoint.open_demands == 0, DisputeError::DemandsOpen);
    require!(anchor_lang::address_eq(accounts.poster.address(), &checkpoint.poster), DisputeError::WrongPoster);
    move_lamports(checkpoint.account(), accounts.poster.account(), checkpoint.bond_lamports)?;
    checkpoint.bond_lamports = 0;
    checkpoint.status = CheckpointStatus::Finalized as u8;
    checkpoint.invariant()?;
    config.finalized = FinalizedHead {
        epoch,
        hash: checkpoint.hash,
        state_root: checkpoint.state_root,
        payable_total: checkpoint.payable_total,
        inbox_cursor: checkpoint.inbox_cursor,
        slot,
        inbox_lamports: checkpoint.inbox_lamports,
    };
    forget_below(&mut config.voids, epoch);
    config.invariant()?;
    emit!(CheckpointFinalized { epoch, hash: checkpoint.hash, state_root: checkpoint.state_root });
    Ok(())
}
