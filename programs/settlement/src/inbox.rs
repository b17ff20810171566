//! Appending to the inbox: the one way in which anything of value enters L2.

use crate::{
    constants::*,
    error::{InboxError, SettlementError},
    math::{add, mul_div, sub},
    message::InboxMessage,
    state::{Config, InboxEntry},
    storage::{check_address, create, created, is_unused},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

/// Entries of backlog that raise the fee of a forced entry by once itself.
const BACKLOG_STEP: u64 = 16;

/// What a new entry says. `number`, `reference` and `kind_mode` are in the payload hash of their kind, and zero in a deposit's: they are
/// kept so that the record which takes the entry can be made from the account alone.
pub struct NewEntry<'a> {
    pub kind: u8,
    pub lamports: u64,
    pub beneficiary: &'a Address,
    /// A task's deadline slot, the lamports that a withdrawal asks for.
    pub number: u64,
    /// A task's spec hash, the task that a withdrawal names.
    pub reference: [u8; 32],
    /// A task's kind << 4 | mode.
    pub kind_mode: u8,
    pub payload_hash: [u8; 32],
    /// Written by `append`.
    pub index: u64,
    /// Written by `append`.
    pub slot: u64,
}

/// Creates the next entry at `view`, whose rent `payer` pays, and moves Config's inbox on. The caller pays `lamports` into the vault.
#[inline(never)]
pub fn append(payer: &AccountView, view: &AccountView, config: &mut Config, new: &mut NewEntry) -> Result<()> {
    require!(config.escaped == 0, SettlementError::Escaped);
    require!(new.lamports >= config.parameters.min_inbox_lamports, SettlementError::DepositBelowMinimum);
    require!(is_unused(view), SettlementError::WrongInboxEntry);
    new.slot = Clock::get()?.slot;
    new.index = config.inbox.count;
    let lamports_after = add(config.inbox.lamports, new.lamports)?;
    require!(lamports_after < MAX_TOTAL_LAMPORTS, SettlementError::ArithmeticOverflow);

    let seeds: [&[u8]; 2] = [INBOX_SEED, &new.index.to_le_bytes()];
    // Another entry may have taken the index that this one was built for.
    check_address(view, &seeds).map_err(|_| SettlementError::WrongInboxEntry)?;
    let bump = create::<InboxEntry>(payer, view, &seeds, 8 + core::mem::size_of::<InboxEntry>())?;
    let mut entry = created::<InboxEntry>(view)?;
    entry.version = ACCOUNT_VERSION;
    entry.bump = bump;
    entry.kind = new.kind;
    entry.kind_mode = new.kind_mode;
    entry.index = new.index;
    entry.slot = new.slot;
    entry.lamports = new.lamports;
    entry.beneficiary = *new.beneficiary;
    entry.lamports_after = lamports_after;
    entry.payload_hash = new.payload_hash;
    entry.number = new.number;
    entry.reference = new.reference;
    let message = InboxMessage {
        index: new.index,
        slot: new.slot,
        kind: new.kind,
        lamports: new.lamports,
        payload_hash: &new.payload_hash,
    };
    message.extend(&config.inbox.hash, &mut entry.hash_after);
    entry.invariant()?;

    config.inbox.count = add(new.index, 1)?;
    config.inbox.lamports = lamports_after;
    config.inbox.hash = entry.hash_after;
    config.invariant()
}

/// What a forced entry costs beside what it brings: it rises with the entries that wait, so that crowding others out gets dear.
#[inline(always)]
pub fn forced_fee_lamports(config: &Config, max_fee_lamports: u64) -> Result<u64> {
    let backlog = sub(config.inbox.count, config.posted.inbox_cursor)?;
    let fee = mul_div(config.parameters.forced_fee_lamports, add(1, backlog / BACKLOG_STEP)?, 1)?;
    require!(fee <= max_fee_lamports, InboxError::FeeAboveLimit);
    Ok(fee)
}
