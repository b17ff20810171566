//! prove_malformed_record and prove_inbox: what one record shows by itself.

use super::challenge::{need_fraud, Challenge};
use crate::{
    constants::*,
    error::DisputeError,
    ledger::{Record, RecordBytes, EVENT_DEPOSIT, EVENT_FORCED_WITHDRAWAL, EVENT_INBOX_TASK, EVENT_STRIKE},
    math::{add, sub},
    merkle::{Leaf, Place},
    message::{deposit_payload, withdrawal_payload, StrikePayload, TaskPayload},
    rejection::Ground,
    state::InboxEntry,
};
use anchor_lang::prelude::*;

/// A record, its place under the results root, and the siblings that prove it.
pub struct ProvenRecord<'a> {
    pub place: Place,
    pub bytes: &'a RecordBytes,
    pub siblings: &'a [[u8; 32]],
}

impl ProvenRecord<'_> {
    fn check(&self, accounts: &Challenge) -> Result<()> {
        let root = accounts.results_root();
        Leaf { root, place: self.place, data: self.bytes, siblings: self.siblings.as_flattened() }.check()
    }
}

/// The record is no record at all.
#[inline(never)]
pub fn malformed(ctx: &mut Context<Challenge>, record: &ProvenRecord) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    record.check(accounts)?;
    need_fraud(Record::decode(record.bytes).is_err())?;
    accounts.fall(Ground::MalformedRecord)
}

/// The batch takes inbox entries from the parent's cursor up to its own, one with each of its first records, and with no other record.
#[inline(never)]
pub fn inbox(ctx: &mut Context<Challenge>, record: &ProvenRecord) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    record.check(accounts)?;
    let cursor = accounts.parent_cursor();
    let taken = sub(accounts.checkpoint.inbox_cursor, cursor)?;
    let decoded = Record::decode(record.bytes);
    let is_wrong = if record.place.index < taken {
        let index = add(cursor, record.place.index)?;
        let entry = accounts.inbox_entry.as_ref().filter(|entry| entry.index == index);
        let entry = entry.ok_or(DisputeError::WrongEntryForRecord)?;
        match decoded {
            Ok(decoded) => !takes(&decoded, entry),
            Err(_) => true,
        }
    } else {
        decoded.is_ok_and(|decoded| decoded.is_from_inbox())
    };
    need_fraud(is_wrong)?;
    accounts.fall(Ground::Inbox)
}

/// Whether the record says of the entry what the entry says of itself.
#[inline(never)]
fn takes(record: &Record, entry: &InboxEntry) -> bool {
    let event = record.economic_event();
    let mut payload = [0u8; 32];
    let kind = match record.event() {
        EVENT_DEPOSIT => {
            deposit_payload(event.public_key, &mut payload);
            INBOX_KIND_DEPOSIT
        }
        EVENT_INBOX_TASK => {
            let task = TaskPayload {
                client: event.public_key,
                spec_hash: event.spec_hash,
                kind: event.kind,
                mode: event.mode,
                deadline_slot: event.number,
            };
            task.hash(&mut payload);
            INBOX_KIND_TASK
        }
        EVENT_FORCED_WITHDRAWAL => {
            withdrawal_payload(event.public_key, event.number, record.task(), &mut payload);
            INBOX_KIND_WITHDRAWAL
        }
        EVENT_STRIKE => {
            let strike = StrikePayload {
                challenger: event.public_key,
                share_basis_points: event.number,
                task_id: record.task(),
                result_hash: event.spec_hash,
            };
            strike.hash(&mut payload);
            INBOX_KIND_STRIKE
        }
        _ => return false,
    };
    entry.kind == kind
        && entry.index == event.inbox_index
        && entry.slot == event.slot
        && entry.lamports == event.lamports
        && entry.payload_hash == payload
}
