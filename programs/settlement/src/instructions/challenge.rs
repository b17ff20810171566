//! What the proofs of fraud have in common: the accounts, and how a checkpoint falls. A proof needs no bond and no permission: a wrong
//! one is refused, a right one ends in `fall`.

use crate::{
    constants::*,
    error::DisputeError,
    events::CheckpointRejected,
    hash::{self, Hash},
    merkle::Root,
    rejection::{check_parent, reject, Ground},
    state::{Checkpoint, Config, InboxEntry, ProofBuffer, ValidatorSet},
    state_tree::genesis_state_root,
    storage::move_lamports,
};
use anchor_lang::prelude::*;

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct Challenge {
    #[account(mut)]
    pub challenger: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// The checkpoint that it extends; none when it extends none.
    pub parent: Option<Account<Checkpoint>>,
    #[account(mut, seeds = [TREASURY_SEED], bump = config.treasury_bump)]
    pub treasury: UncheckedAccount,
    /// prove_inbox: the entry that the record should have taken.
    pub inbox_entry: Option<Account<InboxEntry>>,
    /// prove_transition: the set that certified the checkpoint.
    pub validator_set: Option<Account<ValidatorSet>>,
    /// prove_data, prove_transition: the evidence.
    pub buffer: Option<Account<ProofBuffer>>,
}

impl Challenge {
    /// Live, and the parent is the one it extends. To be checked before any proof.
    #[inline(never)]
    pub fn check(&self) -> Result<()> {
        self.config.check_live(&self.checkpoint)?;
        check_parent(&self.checkpoint, self.parent.as_deref())
    }

    pub fn results_root(&self) -> Root<'_> {
        Root { tag: &hash::RESULTS_ROOT, hash: &self.checkpoint.results_root }
    }

    pub fn trace_root(&self) -> Root<'_> {
        Root { tag: &hash::TRACE_ROOT, hash: &self.checkpoint.trace_root }
    }

    pub fn data_root(&self) -> Root<'_> {
        Root { tag: &hash::DATA_ROOT, hash: &self.checkpoint.data_root }
    }

    /// The state that the batch starts from.
    pub fn parent_state_root(&self, out: &mut Hash) {
        match self.parent.as_ref() {
            Some(parent) => *out = parent.state_root,
            None => genesis_state_root(out),
        }
    }

    /// Time inside the batch.
    pub fn base_slot(&self) -> u64 {
        self.parent.as_ref().map_or(0, |parent| parent.cut_slot)
    }

    /// The inbox entries below it were taken before.
    pub fn parent_cursor(&self) -> u64 {
        self.parent.as_ref().map_or(0, |parent| parent.inbox_cursor)
    }

    /// Proven wrong: rejects the checkpoint, pays half of the poster's bond to the challenger and the rest to the treasury.
    #[inline(never)]
    pub fn fall(&mut self, ground: Ground) -> Result<()> {
        let parent = self.parent.as_deref();
        let bond_lamports = reject(&mut self.config, &mut self.checkpoint, parent)?;
        let shares = Shares {
            checkpoint: self.checkpoint.account(),
            challenger: self.challenger.account(),
            treasury: self.treasury.account(),
        };
        share_bond(&shares, bond_lamports)?;
        tell(&self.config, self.checkpoint.epoch, ground, self.challenger.address(), bond_lamports);
        Ok(())
    }
}

pub struct Shares<'a> {
    pub checkpoint: &'a AccountView,
    pub challenger: &'a AccountView,
    pub treasury: &'a AccountView,
}

/// Whoever challenges its own checkpoint loses half of the bond all the same.
pub fn share_bond(shares: &Shares, bond_lamports: u64) -> Result<()> {
    let reward_lamports = bond_lamports / 2;
    move_lamports(shares.checkpoint, shares.challenger, reward_lamports)?;
    move_lamports(shares.checkpoint, shares.treasury, bond_lamports - reward_lamports)
}

#[inline(never)]
pub fn tell(config: &Config, epoch: u64, ground: Ground, challenger: &Address, bond_lamports: u64) {
    emit!(CheckpointRejected {
        epoch,
        ground: ground as u8,
        challenger: *challenger,
        bond_lamports,
        posted_epoch: config.posted.epoch,
        pending_slashes: config.pending_slashes,
    });
}

/// NoFraud unless something is wrong.
pub fn need_fraud(is_wrong: bool) -> Result<()> {
    require!(is_wrong, DisputeError::NoFraud);
    Ok(())
}
