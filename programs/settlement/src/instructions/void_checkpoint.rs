use crate::{
    constants::*,
    error::{DisputeError, SettlementError},
    events::CheckpointVoided,
    state::{Checkpoint, CheckpointStatus, Config},
    storage::move_lamports,
};
use anchor_lang::prelude::*;

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct VoidCheckpoint {
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// Who posted it: the bond goes back.
    #[account(mut, unsafe(dup))]
    pub poster: UncheckedAccount,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<VoidCheckpoint>, epoch: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let (config, checkpoint) = (&accounts.config, &mut accounts.checkpoint);
    require!(checkpoint.status == CheckpointStatus::Posted as u8, SettlementError::NotPosted);
    require!(config.escaped == 1 || config.is_dead(epoch), DisputeError::NotVoid);
    require!(anchor_lang::address_eq(accounts.poster.address(), &checkpoint.poster), DisputeError::WrongPoster);
    let bond_lamports = checkpoint.bond_lamports;
    move_lamports(checkpoint.account(), accounts.poster.account(), bond_lamports)?;
    checkpoint.bond_lamports = 0;
    checkpoint.status = CheckpointStatus::Voided as u8;
    checkpoint.invariant()?;
    emit!(CheckpointVoided { epoch, bond_lamports });
    Ok(())
}
