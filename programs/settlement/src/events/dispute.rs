//! Rejection, proofs, demands and governance.

use anchor_lang::prelude::*;

/// ground: 1 malformed record, 2 inbox, 3 trace, 4 totals, 5 count, 6 data, 7 transition, 8 unanswered demand.
#[event]
pub struct CheckpointRejected {
    pub epoch: u64,
    pub ground: u8,
    pub challenger: Address,
    pub bond_lamports: u64,
    /// The chain goes on from this epoch.
    pub posted_epoch: u64,
    pub pending_slashes: u64,
}

#[event]
pub struct CheckpointVoided {
    pub epoch: u64,
    pub bond_lamports: u64,
}

#[event]
pub struct CheckpointClosed {
    pub epoch: u64,
}

#[event]
pub struct DemandOpened {
    pub epoch: u64,
    pub kind: u8,
    pub index: u64,
    pub demander: Address,
    pub answer_until_slot: u64,
}

#[event]
pub struct DemandAnswered {
    pub epoch: u64,
    pub kind: u8,
    pub index: u64,
    pub answerer: Address,
    pub bond_lamports: u64,
}

#[event]
pub struct DemandReturned {
    pub epoch: u64,
    pub kind: u8,
    pub index: u64,
    pub bond_lamports: u64,
}

#[event]
pub struct ProofBufferGrown {
    pub owner: Address,
    pub id: u64,
    pub length: u32,
}

#[event]
pub struct ParametersProposed {
    pub ready_slot: u64,
}

#[event]
pub struct ParametersApplied {
    pub proposed_slot: u64,
}

#[event]
pub struct ParametersCancelled {
    pub proposed_slot: u64,
}

#[event]
pub struct PostingPaused {
    pub governance: Address,
}

#[event]
pub struct PostingUnpaused {
    pub governance: Address,
}

/// next is zero when the offer was taken back.
#[event]
pub struct GovernanceOffered {
    pub governance: Address,
    pub next_governance: Address,
}

#[event]
pub struct GovernanceAccepted {
    pub governance: Address,
}

/// Paid from the treasury into the vault, as a deposit of the beneficiary's.
#[event]
pub struct Granted {
    pub index: u64,
    pub slot: u64,
    pub lamports: u64,
    pub beneficiary: Address,
}
