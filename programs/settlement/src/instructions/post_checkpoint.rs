use crate::{
    storage::{create, created, data_of, is_unused, pay},
    bls::HINT_BYTES,
    certificate::{verify, Certificate, Least, SealedSet, Signers},
    constants::*,
    error::{DisputeError, SettlementError},
    events::CheckpointPosted,
    math::{add, sub},
    message::CheckpointMessage,
    state::{
        validator_set::entries, Checkpoint, CheckpointStatus, Config, InboxEntry, PostedHead, ValidatorSet,
    },
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

/// hints: those of the checkpoint hash, 480 bytes; signature: compressed.
#[derive(Clone, Copy, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct PostCheckpointArgs {
    pub epoch: u64,
    pub attempt: u32,
    pub cut_slot: u64,
    pub expiry_slot: u64,
    pub results_root: [u8; 32],
    pub state_root: [u8; 32],
    pub trace_root: [u8; 32],
    pub data_root: [u8; 32],
    pub payable_total: u64,
    pub inbox_cursor: u64,
    pub bitmap: [u8; 32],
    pub signature: [u8; 96],
    pub hints: [u8; 480],
}

const _: () = assert!(HINT_BYTES == 480, "the arguments' hints have the BLS module's size");

#[derive(Accounts)]
pub struct PostCheckpoint {
    #[account(mut)]
    pub payer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    /// The pinned set.
    #[account(mut)]
    pub validator_set: Account<ValidatorSet>,
    /// Seeds: "checkpoint", epoch u64 little-endian.
    #[account(mut)]
    pub checkpoint: UncheckedAccount,
    /// The inbox entry before the cursor; none when the cursor is the parent's.
    pub last_entry: Option<UncheckedAccount>,
    /// The inbox entry at the cursor: its address always, even before it exists, since a deposit may land first.
    pub next_entry: UncheckedAccount,
    pub system_program: Program<System>,
}

/// What the checks find out, for the account and the event. One struct, since BPF passes five arguments at most.
struct Found {
    slot: u64,
    /// Of the inbox at the cursor.
    inbox_hash: [u8; 32],
    inbox_lamports: u64,
    hash: [u8; 32],
    signers: Signers,
}

/// Epoch and slots. A second post of an epoch has its own error, so that a poster may retry blindly.
#[inline(never)]
fn check_time(config: &Config, args: &PostCheckpointArgs, slot: u64) -> Result<()> {
    require!(config.escaped == 0, SettlementError::Escaped);
    require!(config.paused == 0, DisputeError::Paused);
    require!(!config.voids_are_full(), DisputeError::TooManyVoids);
    require!(args.epoch > config.highest_epoch, SettlementError::EpochPosted);
    require!(args.epoch == add(config.highest_epoch, 1)?, SettlementError::WrongEpoch);
    require!(args.cut_slot <= slot, SettlementError::CutSlotInFuture);
    require!(args.cut_slot > config.posted.cut_slot, SettlementError::CutSlotNotAfterParent);
    require!(slot <= args.expiry_slot, SettlementError::Expired);
    require!(
        sub(args.expiry_slot, args.cut_slot)? <= config.parameters.max_expiry_slots,
        SettlementError::ExpiryTooFar
    );
    Ok(())
}

/// An InboxEntry is made only by the program and once per index, so owner, type and index identify it.
fn load_entry(account: Option<&UncheckedAccount>, index: u64, wrong: SettlementError) -> Result<Account<InboxEntry>> {
    let entry = account.and_then(|account| Account::<InboxEntry>::load(*account.account()).ok());
    entry.filter(|entry| entry.index == index).ok_or_else(|| wrong.into())
}

/// The cursor, and that no overdue entry was left out.
#[inline(never)]
fn check_inbox(accounts: &PostCheckpoint, args: &PostCheckpointArgs, found: &mut Found) -> Result<()> {
    let config = &accounts.config;
    let cursor = args.inbox_cursor;
    require!(cursor >= config.posted.inbox_cursor, SettlementError::CursorBelowParent);
    require!(cursor <= config.inbox.count, SettlementError::CursorAboveInbox);
    let count = sub(cursor, config.posted.inbox_cursor)?;
    require!(count <= config.parameters.max_inbox_per_epoch, SettlementError::TooManyInboxEntries);
    if count == 0 {
        found.inbox_hash = config.posted.inbox_hash;
        found.inbox_lamports = config.posted.inbox_lamports;
    } else {
        let last = load_entry(accounts.last_entry.as_ref(), sub(cursor, 1)?, SettlementError::WrongLastEntry)?;
        found.inbox_hash = last.hash_after;
        found.inbox_lamports = last.lamports_after;
    }
    if cursor < config.inbox.count && count < config.parameters.max_inbox_per_epoch {
        let next = load_entry(Some(&accounts.next_entry), cursor, SettlementError::WrongNextEntry)?;
        require!(
            args.cut_slot.saturating_sub(next.slot) <= config.parameters.inclusion_window_slots,
            SettlementError::OverdueInboxEntry
        );
    }
    Ok(())
}

fn check_payable(config: &Config, args: &PostCheckpointArgs, found: &Found) -> Result<()> {
    require!(args.payable_total >= config.posted.payable_total, SettlementError::PayableBelowParent);
    require!(args.payable_total <= found.inbox_lamports, SettlementError::PayableAboveInbox);
    Ok(())
}

/// The message is built here: what the chain knows is read, not sent.
#[inline(never)]
fn check_certificate(accounts: &PostCheckpoint, args: &PostCheckpointArgs, found: &mut Found) -> Result<()> {
    let (config, set) = (&accounts.config, &accounts.validator_set);
    require!(
        set.sealed == 1 && set.set_version == config.pinned.version,
        SettlementError::UnpinnedSet
    );
    let message = CheckpointMessage {
        epoch: args.epoch,
        attempt: args.attempt,
        cut_slot: args.cut_slot,
        expiry_slot: args.expiry_slot,
        parent_hash: &config.posted.hash,
        results_root: &args.results_root,
        state_root: &args.state_root,
        trace_root: &args.trace_root,
        data_root: &args.data_root,
        payable_total: args.payable_total,
        inbox_cursor: args.inbox_cursor,
        inbox_hash: &found.inbox_hash,
        set_hash: &set.set_hash,
    };
    message.hash(&config.domain(), &mut found.hash);
    let certificate = Certificate {
        least: Least::Quorum,
        message: &found.hash,
        bitmap: &args.bitmap,
        signature: &args.signature,
        hints: &args.hints,
    };
    let sealed = SealedSet { header: set, entries: entries(data_of(set.account()), set.count as usize)? };
    verify(&sealed, &certificate, &mut found.signers)
}

#[inline(never)]
fn write_checkpoint(accounts: &PostCheckpoint, args: &PostCheckpointArgs, found: &Found) -> Result<()> {
    let view = accounts.checkpoint.account();
    let seeds: [&[u8]; 2] = [CHECKPOINT_SEED, &args.epoch.to_le_bytes()];
    let space = 8 + core::mem::size_of::<Checkpoint>();
    let bump = create::<Checkpoint>(accounts.payer.account(), view, &seeds, space)?;
    let bond_lamports = accounts.config.parameters.poster_bond_lamports;
    pay(accounts.payer.account(), view, bond_lamports)?;
    let mut checkpoint = created::<Checkpoint>(view)?;
    checkpoint.version = ACCOUNT_VERSION;
    checkpoint.bump = bump;
    checkpoint.status = CheckpointStatus::Posted as u8;
    checkpoint.attempt = args.attempt;
    checkpoint.epoch = args.epoch;
    checkpoint.cut_slot = args.cut_slot;
    checkpoint.expiry_slot = args.expiry_slot;
    checkpoint.hash = found.hash;
    checkpoint.parent_hash = accounts.config.posted.hash;
    checkpoint.results_root = args.results_root;
    checkpoint.state_root = args.state_root;
    checkpoint.trace_root = args.trace_root;
    checkpoint.data_root = args.data_root;
    checkpoint.payable_total = args.payable_total;
    checkpoint.inbox_cursor = args.inbox_cursor;
    checkpoint.inbox_hash = found.inbox_hash;
    checkpoint.set_version = accounts.validator_set.set_version;
    checkpoint.bitmap = args.bitmap;
    checkpoint.posted_slot = found.slot;
    checkpoint.poster = *accounts.payer.address();
    checkpoint.parent_epoch = accounts.config.posted.epoch;
    checkpoint.inbox_lamports = found.inbox_lamports;
    checkpoint.bond_lamports = bond_lamports;
    checkpoint.challenge_until_slot = add(found.slot, accounts.config.parameters.challenge_window_slots)?;
    checkpoint.invariant()
}

#[inline(never)]
pub fn handler(ctx: &mut Context<PostCheckpoint>, args: &PostCheckpointArgs) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let slot = Clock::get()?.slot;
    let signers = Signers { count: 0, stake_lamports: 0 };
    let mut found = Found { slot, inbox_hash: [0; 32], inbox_lamports: 0, hash: [0; 32], signers };
    check_time(&accounts.config, args, slot)?;
    require!(is_unused(accounts.checkpoint.account()), SettlementError::EpochPosted);
    check_inbox(accounts, args, &mut found)?;
    check_payable(&accounts.config, args, &found)?;
    check_certificate(accounts, args, &mut found)?;

    write_checkpoint(accounts, args, &found)?;
    let config = &mut accounts.config;
    config.posted = PostedHead {
        epoch: args.epoch,
        hash: found.hash,
        cut_slot: args.cut_slot,
        expiry_slot: args.expiry_slot,
        payable_total: args.payable_total,
        inbox_cursor: args.inbox_cursor,
        inbox_hash: found.inbox_hash,
        inbox_lamports: found.inbox_lamports,
    };
    config.highest_epoch = args.epoch;
    config.last_post_slot = slot;
    config.pin_newest_sealed_by(args.cut_slot);
    config.invariant()?;
    if config.pinned.version != accounts.validator_set.set_version {
        accounts.validator_set.replaced_slot = slot;
    }
    emit!(CheckpointPosted {
        epoch: args.epoch,
        attempt: args.attempt,
        hash: found.hash,
        state_root: args.state_root,
        payable_total: args.payable_total,
        inbox_cursor: args.inbox_cursor,
        signers: found.signers.count as u16,
        signed_stake_lamports: found.signers.stake_lamports,
        pinned_version: accounts.config.pinned.version,
    });
    Ok(())
}
