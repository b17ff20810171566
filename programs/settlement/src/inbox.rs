//! Appending to the inbox: the one way in which anything of value enters L2.

use crate::{
    constants::*,
    error::{InboxError, SettlementError},
    math::{add, mul_div, sub},
    message::{InboxMessage, StrikePayload},
    state::{Config, InboxEntry, Strike},
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
    /// A task's deadline slot, the lamports that a withdrawal asks for, the challenger's share of a strike.
    pub number: u64,
    /// A task's spec hash, the task that a withdrawal or a strike names.
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

    let seeds: [&[u8]; 2] = [INBOX_SEED, &new.index.to_le_bytes()];
    // Another entry may have taken the index that this one was built for.
    check_address(view, &seeds).map_err(|_| SettlementError::WrongInboxEntry)?;
    let bump = create::<InboxEntry>(payer, view, &seeds, InboxEntry::account_bytes(new.kind))?;
    let mut entry = created::<InboxEntry>(view)?;
    entry.bump = bump;
    enter(config, &mut entry, new)
}

/// Writes a new entry, whose index and slot are set, and moves Config's inbox on.
#[inline(always)]
fn enter(config: &mut Config, entry: &mut InboxEntry, new: &NewEntry) -> Result<()> {
    let lamports_after = add(config.inbox.lamports, new.lamports)?;
    require!(lamports_after < MAX_TOTAL_LAMPORTS, SettlementError::ArithmeticOverflow);
    entry.version = ACCOUNT_VERSION;
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

/// A result of mode exact, as the game on L1 showed it to be wrong.
pub struct ProvenWrong<'a> {
    pub task_id: &'a [u8; 32],
    pub result_hash: &'a [u8; 32],
    /// The epoch whose checkpoint holds the result.
    pub epoch: u64,
    pub worker: &'a [u8; 20],
    pub challenger: &'a Address,
    /// When it was shown.
    pub slot: u64,
}

/// New accounts, of zeros but for their bumps: the entry, the 32 bytes behind it, the strike.
pub struct StrikeAccounts<'a> {
    pub entry: &'a mut InboxEntry,
    pub result_hash: &'a mut [u8; 32],
    pub strike: &'a mut Strike,
}

/// Writes a strike and the entry by which L2 reverses the result: nobody can refuse it or leave it out. The entry brings min_inbox_lamports,
/// which the caller pays into the vault and L2 credits to the challenger. For the game of exact results, whose instructions create the
/// accounts (the Strike once for a task and epoch); there are none yet, so nothing can write a strike so far.
pub fn append_strike(config: &mut Config, accounts: &mut StrikeAccounts, proven: &ProvenWrong) -> Result<()> {
    require!(config.escaped == 0, SettlementError::Escaped);
    let share_basis_points = config.parameters.reporter_basis_points;
    let mut new = NewEntry {
        kind: INBOX_KIND_STRIKE,
        lamports: config.parameters.min_inbox_lamports,
        beneficiary: proven.challenger,
        number: share_basis_points,
        reference: *proven.task_id,
        kind_mode: 0,
        payload_hash: [0; 32],
        index: config.inbox.count,
        slot: proven.slot,
    };
    let challenger = proven.challenger.as_array();
    let (task_id, result_hash) = (proven.task_id, proven.result_hash);
    StrikePayload { challenger, share_basis_points, task_id, result_hash }.hash(&mut new.payload_hash);
    enter(config, accounts.entry, &new)?;
    *accounts.result_hash = *proven.result_hash;

    let strike = &mut accounts.strike;
    strike.version = ACCOUNT_VERSION;
    strike.task_id = *proven.task_id;
    strike.result_hash = *proven.result_hash;
    strike.epoch = proven.epoch;
    strike.worker = *proven.worker;
    strike.challenger = *proven.challenger;
    strike.share_basis_points = share_basis_points;
    strike.inbox_index = new.index;
    strike.slot = new.slot;
    strike.invariant()
}

/// What a forced entry costs beside what it brings: it rises with the entries that wait, so that crowding others out gets dear.
#[inline(always)]
pub fn forced_fee_lamports(config: &Config, max_fee_lamports: u64) -> Result<u64> {
    let backlog = sub(config.inbox.count, config.posted.inbox_cursor)?;
    let fee = mul_div(config.parameters.forced_fee_lamports, add(1, backlog / BACKLOG_STEP)?, 1)?;
    require!(fee <= max_fee_lamports, InboxError::FeeAboveLimit);
    Ok(fee)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    const CHALLENGER: Address = Address::new_from_array([7; 32]);

    fn config() -> Config {
        let mut config = Config::zeroed();
        config.version = ACCOUNT_VERSION;
        config.parameters.min_inbox_lamports = 10_000;
        config.parameters.reporter_basis_points = 1_000;
        config.inbox.count = 5;
        config.inbox.lamports = 1_000_000;
        config.inbox.hash = [3; 32];
        config
    }

    struct Written {
        entry: InboxEntry,
        tail: [u8; 32],
        strike: Strike,
    }

    fn strike(config: &mut Config, task_id: &[u8; 32], epoch: u64) -> Result<Written> {
        let mut made = Written { entry: InboxEntry::zeroed(), tail: [0; 32], strike: Strike::zeroed() };
        let mut accounts =
            StrikeAccounts { entry: &mut made.entry, result_hash: &mut made.tail, strike: &mut made.strike };
        let proven = ProvenWrong {
            task_id,
            result_hash: &[2; 32],
            epoch,
            worker: &[9; 20],
            challenger: &CHALLENGER,
            slot: 77,
        };
        append_strike(config, &mut accounts, &proven)?;
        Ok(made)
    }

    #[test]
    fn a_strike_is_the_next_entry_and_says_what_was_proved() {
        let mut config = config();
        let made = strike(&mut config, &[1; 32], 4).unwrap();
        let (entry, written) = (&made.entry, &made.strike);
        assert_eq!((entry.kind, entry.index, entry.slot, entry.lamports), (INBOX_KIND_STRIKE, 5, 77, 10_000));
        assert_eq!((entry.number, entry.reference, entry.kind_mode, made.tail), (1_000, [1; 32], 0, [2; 32]));
        assert_eq!((entry.beneficiary, entry.lamports_after, entry.refunded), (CHALLENGER, 1_010_000, 0));
        let mut payload = [0u8; 32];
        let (task_id, result_hash) = (&[1; 32], &[2; 32]);
        StrikePayload { challenger: &[7; 32], share_basis_points: 1_000, task_id, result_hash }.hash(&mut payload);
        assert_eq!(entry.payload_hash, payload);
        let mut hash_after = [0u8; 32];
        let message = InboxMessage { index: 5, slot: 77, kind: 4, lamports: 10_000, payload_hash: &payload };
        message.extend(&[3; 32], &mut hash_after);
        assert_eq!((entry.hash_after, config.inbox.hash), (hash_after, hash_after));
        assert_eq!((config.inbox.count, config.inbox.lamports), (6, 1_010_000));
        assert_eq!((written.task_id, written.result_hash, written.epoch), ([1; 32], [2; 32], 4));
        assert_eq!((written.worker, written.challenger, written.share_basis_points), ([9; 20], CHALLENGER, 1_000));
        assert_eq!((written.inbox_index, written.slot, written.version), (5, 77, ACCOUNT_VERSION));
    }

    #[test]
    fn strikes_follow_one_another() {
        let mut config = config();
        let first = strike(&mut config, &[1; 32], 4).unwrap();
        let second = strike(&mut config, &[8; 32], 4).unwrap();
        assert_eq!((first.strike.inbox_index, second.strike.inbox_index), (5, 6));
        assert_eq!(config.inbox.hash, second.entry.hash_after);
        assert_ne!(first.entry.hash_after, second.entry.hash_after);
    }

    #[test]
    fn nothing_is_struck_after_the_escape_or_without_a_task_and_an_epoch() {
        let mut escaped = config();
        escaped.escaped = 1;
        assert!(strike(&mut escaped, &[1; 32], 4).is_err());
        assert!(strike(&mut config(), &[1; 32], 0).is_err());
        assert!(strike(&mut config(), &[0; 32], 4).is_err());
        let mut full = config();
        full.inbox.lamports = MAX_TOTAL_LAMPORTS - 10_000;
        assert!(strike(&mut full, &[1; 32], 4).is_err());
    }
}
