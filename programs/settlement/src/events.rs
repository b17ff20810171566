//! One event per instruction, for what it changed.

mod dispute;

pub use dispute::*;

use anchor_lang::prelude::*;

pub mod stake;
pub mod inbox;
pub use inbox::*;

#[event]
pub struct Initialized {
    pub authority: Address,
    pub genesis_hash: [u8; 32],
}

#[event]
pub struct RegistryGrown {
    pub size_bytes: u64,
}

#[event]
pub struct ValidatorRegistered {
    pub slot_index: u64,
    pub authority: Address,
    pub stake_lamports: u64,
    pub validator: Address,
    pub commission_basis_points: u64,
    /// Whoever lost the slot; zero when it was free.
    pub outbid: Address,
}

#[event]
pub struct ValidatorSetCreated {
    pub set_version: u64,
}

#[event]
pub struct ValidatorSetGrown {
    pub set_version: u64,
    pub size_bytes: u64,
}

#[event]
pub struct ValidatorSetSealed {
    pub set_version: u64,
    pub count: u64,
    pub total_stake_lamports: u64,
    pub set_hash: [u8; 32],
    pub pinned_version: u64,
}

#[event]
pub struct Deposited {
    pub index: u64,
    pub slot: u64,
    pub lamports: u64,
    pub beneficiary: Address,
}

#[event]
pub struct CheckpointPosted {
    pub epoch: u64,
    pub attempt: u32,
    pub hash: [u8; 32],
    pub state_root: [u8; 32],
    pub payable_total: u64,
    pub inbox_cursor: u64,
    pub signers: u16,
    pub signed_stake_lamports: u64,
    pub pinned_version: u64,
}

#[event]
pub struct CheckpointFinalized {
    pub epoch: u64,
    pub hash: [u8; 32],
    pub state_root: [u8; 32],
}

#[event]
pub struct ProofBufferCreated {
    pub owner: Address,
    pub id: u64,
    pub length: u32,
}

#[event]
pub struct ProofBufferWritten {
    pub owner: Address,
    pub id: u64,
    pub offset: u32,
    pub length: u32,
}

#[event]
pub struct ProofBufferClosed {
    pub owner: Address,
    pub id: u64,
}

#[event]
pub struct Claimed {
    pub public_key: Address,
    pub lamports: u64,
    pub claimed_total_lamports: u64,
}

#[event]
pub struct ReceiptRecorded {
    pub owner: Address,
    pub epoch: u64,
    pub attempt: u32,
    pub message_hash: [u8; 32],
    pub set_version: u64,
    pub signers: u16,
}

#[event]
pub struct ReceiptClosed {
    pub owner: Address,
    pub message_hash: [u8; 32],
}

/// applied_basis_points: of its stake before it equivocated in this epoch, this cut included.
#[event]
pub struct EquivocationSlashed {
    pub validator: Address,
    pub authority: Address,
    pub epoch: u64,
    pub applied_basis_points: u64,
    pub cut_lamports: u64,
    pub reporter: Address,
    pub reporter_lamports: u64,
}

#[event]
pub struct RejectedSlashed {
    pub validator: Address,
    pub authority: Address,
    pub epoch: u64,
    pub cut_lamports: u64,
    pub reporter: Address,
    pub reporter_lamports: u64,
    pub pending_slashes: u64,
}

#[event]
pub struct SignaturesAdded {
    pub epoch: u64,
    pub added: u16,
    pub bitmap: [u8; 32],
}

#[event]
pub struct CheckpointRewarded {
    pub epoch: u64,
    pub poster: Address,
    pub poster_lamports: u64,
    pub validators_lamports: u64,
    pub signers: u16,
}
