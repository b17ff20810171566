use crate::{
    certificate::{verify, Certificate, Least, SealedSet, Signers},
    constants::*,
    error::SlashError,
    events::SignaturesAdded,
    state::{validator_set::entries, Checkpoint, CheckpointStatus, Config, ValidatorSet},
    storage::data_of,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

/// Members that the bitmap on L1 does not have yet, and their aggregate signature over the checkpoint's hash (compressed); hints: those
/// of the hash, 480 bytes.
#[derive(Clone, Copy, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct AddSignaturesArgs {
    pub bitmap: [u8; 32],
    pub signature: [u8; 96],
    pub hints: [u8; 480],
}

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct AddSignatures {
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// The set that certified it.
    pub validator_set: Account<ValidatorSet>,
}

#[inline(never)]
fn check_signatures(accounts: &AddSignatures, args: &AddSignaturesArgs, signers: &mut Signers) -> Result<()> {
    let (checkpoint, set) = (&accounts.checkpoint, &accounts.validator_set);
    require!(set.sealed == 1 && set.set_version == checkpoint.set_version, SlashError::WrongValidatorSet);
    let is_new = checkpoint.bitmap.iter().zip(&args.bitmap).all(|(held, added)| held & added == 0);
    require!(is_new, SlashError::SignedAlready);
    let certificate = Certificate {
        least: Least::One,
        message: &checkpoint.hash,
        bitmap: &args.bitmap,
        signature: &args.signature,
        hints: &args.hints,
    };
    let sealed = SealedSet { header: set, entries: entries(data_of(set.account()), set.count as usize)? };
    verify(&sealed, &certificate, signers)
}

/// Who signed late earns as much as who signed in time, so that a poster gains nothing by leaving signatures out.
#[inline(never)]
pub fn handler(ctx: &mut Context<AddSignatures>, epoch: u64, args: &AddSignaturesArgs) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let is_open = accounts.checkpoint.status == CheckpointStatus::Posted as u8
        && Clock::get()?.slot <= accounts.checkpoint.challenge_until_slot;
    require!(is_open, SlashError::SignaturesTooLate);
    require!(!accounts.config.is_void(epoch), SlashError::VoidEpoch);
    let mut signers = Signers { count: 0, stake_lamports: 0 };
    check_signatures(accounts, args, &mut signers)?;
    let checkpoint = &mut accounts.checkpoint;
    for (held, added) in checkpoint.bitmap.iter_mut().zip(&args.bitmap) {
        *held |= added;
    }
    checkpoint.invariant()?;
    emit!(SignaturesAdded { epoch, added: signers.count as u16, bitmap: checkpoint.bitmap });
    Ok(())
}
