//! The digests that the program computes: built here once, and once in Python, held together by tests/vectors.
//! Integers are little-endian. Genesis hash, program id, parent, inbox hash and set hash are read on chain, never sent.

use crate::hash::{self, sha256_parts, Hash};

/// What binds a message to one deployment.
#[derive(Clone, Copy)]
pub struct Domain<'a> {
    pub genesis: &'a [u8; 32],
    pub program: &'a [u8; 32],
}

impl Domain<'_> {
    /// The parent hash of epoch 1.
    pub fn genesis_parent(&self, out: &mut Hash) {
        sha256_parts(&[&hash::GENESIS, self.genesis, self.program], out);
    }

    /// The inbox hash before the first entry.
    pub fn genesis_inbox(&self, out: &mut Hash) {
        sha256_parts(&[&hash::INBOX, self.genesis, self.program], out);
    }

    /// What a validator's BLS key signs to register: bound to its authority, so that nobody else can replay it.
    pub fn proof_of_possession(&self, authority: &[u8; 32], bls_public_key: &[u8; 48], out: &mut Hash) {
        let parts: [&[u8]; 5] =
            [&hash::PROOF_OF_POSSESSION, self.genesis, self.program, authority, bls_public_key];
        sha256_parts(&parts, out);
    }

    /// `entries`: count × 136 bytes, authority ‖ key ‖ stake, in registry slot order.
    pub fn validator_set(&self, version: u64, count: u32, entries: &[u8], out: &mut Hash) {
        let (version, count) = (version.to_le_bytes(), count.to_le_bytes());
        sha256_parts(&[&hash::VALIDATOR_SET, self.genesis, self.program, &version, &count, entries], out);
    }
}

/// The checkpoint message of docs/protocol.md, section 3, without its domain.
pub struct CheckpointMessage<'a> {
    pub epoch: u64,
    pub attempt: u32,
    pub cut_slot: u64,
    pub expiry_slot: u64,
    pub parent_hash: &'a Hash,
    pub results_root: &'a Hash,
    pub state_root: &'a Hash,
    pub trace_root: &'a Hash,
    pub data_root: &'a Hash,
    pub payable_total: u64,
    pub inbox_cursor: u64,
    pub inbox_hash: &'a Hash,
    pub set_hash: &'a Hash,
}

impl CheckpointMessage<'_> {
    pub fn hash(&self, domain: &Domain, out: &mut Hash) {
        let parts: [&[u8]; 16] = [
            &hash::CHECKPOINT,
            domain.genesis,
            domain.program,
            &self.epoch.to_le_bytes(),
            &self.attempt.to_le_bytes(),
            &self.cut_slot.to_le_bytes(),
            &self.expiry_slot.to_le_bytes(),
            self.parent_hash,
            self.results_root,
            self.state_root,
            self.trace_root,
            self.data_root,
            &self.payable_total.to_le_bytes(),
            &self.inbox_cursor.to_le_bytes(),
            self.inbox_hash,
            self.set_hash,
        ];
        sha256_parts(&parts, out);
    }
}

/// One entry of the inbox, as its running hash takes it in.
pub struct InboxMessage<'a> {
    pub index: u64,
    pub slot: u64,
    pub kind: u8,
    pub lamports: u64,
    pub payload_hash: &'a Hash,
}

impl InboxMessage<'_> {
    /// hash(i + 1) from hash(i).
    pub fn extend(&self, previous: &Hash, out: &mut Hash) {
        let parts: [&[u8]; 7] = [
            &hash::INBOX_ENTRY,
            previous,
            &self.index.to_le_bytes(),
            &self.slot.to_le_bytes(),
            &[self.kind],
            &self.lamports.to_le_bytes(),
            self.payload_hash,
        ];
        sha256_parts(&parts, out);
    }
}

pub fn deposit_payload(beneficiary: &[u8; 32], out: &mut Hash) {
    sha256_parts(&[&hash::INBOX_DEPOSIT, beneficiary], out);
}

/// What an inbox entry that makes a task says besides its lamports.
pub struct TaskPayload<'a> {
    pub client: &'a [u8; 32],
    pub spec_hash: &'a Hash,
    pub kind: u8,
    pub mode: u8,
    pub deadline_slot: u64,
}

impl TaskPayload<'_> {
    pub fn hash(&self, out: &mut Hash) {
        let (work, deadline) = ([self.kind, self.mode], self.deadline_slot.to_le_bytes());
        sha256_parts(&[&hash::INBOX_TASK, self.client, self.spec_hash, &work, &deadline], out);
    }
}

/// `task_id`: the overdue task to be refunded first, or zeros.
pub fn withdrawal_payload(owner: &[u8; 32], withdraw_lamports: u64, task_id: &Hash, out: &mut Hash) {
    sha256_parts(&[&hash::INBOX_WITHDRAWAL, owner, &withdraw_lamports.to_le_bytes(), task_id], out);
}

/// What an inbox entry says that reverses a result proved wrong. `share_basis_points` of the stake behind it go to the challenger.
pub struct StrikePayload<'a> {
    pub challenger: &'a [u8; 32],
    pub share_basis_points: u64,
    pub task_id: &'a Hash,
    pub result_hash: &'a Hash,
}

impl StrikePayload<'_> {
    pub fn hash(&self, out: &mut Hash) {
        let share = self.share_basis_points.to_le_bytes();
        sha256_parts(&[&hash::INBOX_STRIKE, self.challenger, &share, self.task_id, self.result_hash], out);
    }
}
