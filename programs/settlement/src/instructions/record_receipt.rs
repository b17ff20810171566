use crate::{
    bls::HINT_BYTES,
    certificate::{verify, Certificate, Least, SealedSet, Signers},
    constants::*,
    error::SlashError,
    events::ReceiptRecorded,
    message::CheckpointMessage,
    state::{validator_set::entries, Config, Receipt, ValidatorSet},
    storage::{create, created, data_of, is_unused},
};
use anchor_lang::{prelude::*, programs::System};

/// A checkpoint message without its domain and set hash, and who signed it. hints: those of its hash, 480 bytes; signature: compressed.
#[derive(Clone, Copy, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct RecordReceiptArgs {
    pub epoch: u64,
    pub attempt: u32,
    pub cut_slot: u64,
    pub expiry_slot: u64,
    pub parent_hash: [u8; 32],
    pub results_root: [u8; 32],
    pub state_root: [u8; 32],
    pub trace_root: [u8; 32],
    pub data_root: [u8; 32],
    pub payable_total: u64,
    pub inbox_cursor: u64,
    pub inbox_hash: [u8; 32],
    pub bitmap: [u8; 32],
    pub signature: [u8; 96],
    pub hints: [u8; 480],
}

const _: () = assert!(HINT_BYTES == 480, "the arguments' hints have the BLS module's size");

#[derive(Accounts)]
pub struct RecordReceipt {
    #[account(mut)]
    pub owner: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    /// The set that the message names by its hash.
    pub validator_set: Account<ValidatorSet>,
    /// Seeds: "receipt", owner, hash of the message.
    #[account(mut)]
    pub receipt: UncheckedAccount,
    pub system_program: Program<System>,
}

/// The message is built here: genesis, program id and set hash are read, so evidence of elsewhere is none here.
#[inline(never)]
fn check_signatures(
    accounts: &RecordReceipt,
    args: &RecordReceiptArgs,
    signers: &mut Signers,
    hash: &mut [u8; 32],
) -> Result<()> {
    let set = &accounts.validator_set;
    require!(set.sealed == 1, SlashError::WrongValidatorSet);
    let message = CheckpointMessage {
        epoch: args.epoch,
        attempt: args.attempt,
        cut_slot: args.cut_slot,
        expiry_slot: args.expiry_slot,
        parent_hash: &args.parent_hash,
        results_root: &args.results_root,
        state_root: &args.state_root,
        trace_root: &args.trace_root,
        data_root: &args.data_root,
        payable_total: args.payable_total,
        inbox_cursor: args.inbox_cursor,
        inbox_hash: &args.inbox_hash,
        set_hash: &set.set_hash,
    };
    message.hash(&accounts.config.domain(), hash);
    let certificate = Certificate {
        least: Least::One,
        message: hash,
        bitmap: &args.bitmap,
        signature: &args.signature,
        hints: &args.hints,
    };
    let sealed = SealedSet { header: set, entries: entries(data_of(set.account()), set.count as usize)? };
    verify(&sealed, &certificate, signers)
}

#[inline(never)]
pub fn handler(ctx: &mut Context<RecordReceipt>, args: &RecordReceiptArgs) -> Result<()> {
    let accounts = &ctx.accounts;
    let view = accounts.receipt.account();
    require!(is_unused(view), SlashError::ReceiptExists);
    let mut signers = Signers { count: 0, stake_lamports: 0 };
    let mut hash = [0u8; 32];
    check_signatures(accounts, args, &mut signers, &mut hash)?;

    let owner = *accounts.owner.address();
    let seeds: [&[u8]; 3] = [RECEIPT_SEED, owner.as_array(), &hash];
    let space = 8 + core::mem::size_of::<Receipt>();
    let bump = create::<Receipt>(accounts.owner.account(), view, &seeds, space)?;
    let mut receipt = created::<Receipt>(view)?;
    receipt.version = ACCOUNT_VERSION;
    receipt.bump = bump;
    receipt.attempt = args.attempt;
    receipt.epoch = args.epoch;
    receipt.set_version = accounts.validator_set.set_version;
    receipt.owner = owner;
    receipt.message_hash = hash;
    receipt.bitmap = args.bitmap;
    receipt.invariant()?;
    emit!(ReceiptRecorded {
        owner,
        epoch: args.epoch,
        attempt: args.attempt,
        message_hash: hash,
        set_version: accounts.validator_set.set_version,
        signers: signers.count as u16,
    });
    Ok(())
}
