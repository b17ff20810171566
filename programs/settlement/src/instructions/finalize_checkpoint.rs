use crate::{
    constants::*,
    error::SettlementError,
    events::CheckpointFinalized,
    state::{Checkpoint, CheckpointStatus, Config, FinalizedHead},
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
}

#[inline(never)]
pub fn handler(ctx: &mut Context<FinalizeCheckpoint>, epoch: u64) -> Result<()> {
    let (config, checkpoint) = (&mut ctx.accounts.config, &mut ctx.accounts.checkpoint);
    let slot = Clock::get()?.slot;
    require!(config.escaped == 0, SettlementError::Escaped);
    require!(checkpoint.status == CheckpointStatus::Posted as u8, SettlementError::NotPosted);
    require!(checkpoint.parent_hash == config.finalized.hash, SettlementError::ParentNotFinalized);
    require!(slot > checkpoint.challenge_until_slot, SettlementError::ChallengeWindowOpen);
    checkpoint.status = CheckpointStatus::Finalized as u8;
    checkpoint.invariant()?;
    config.finalized = FinalizedHead {
        epoch,
        hash: checkpoint.hash,
        state_root: checkpoint.state_root,
        payable_total: checkpoint.payable_total,
        inbox_cursor: checkpoint.inbox_cursor,
        slot,
    };
    config.invariant()?;
    emit!(CheckpointFinalized { epoch, hash: checkpoint.hash, state_root: checkpoint.state_root });
    Ok(())
}
