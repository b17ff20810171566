//! Events of stake.

use anchor_lang::prelude::*;

#[event]
pub struct RegistryJoined {
    pub validator: Address,
    pub slot_index: u64,
    /// Whoever lost the slot; zero when it was free.
    pub outbid: Address,
}

#[event]
pub struct RegistryLeft {
    pub validator: Address,
    pub slot_index: u64,
    pub left_version: u64,
}

#[event]
pub struct Delegated {
    pub validator: Address,
    pub owner: Address,
    pub lamports: u64,
    pub shares: u64,
}

#[event]
pub struct Unbonded {
    pub validator: Address,
    pub owner: Address,
    pub id: u64,
    /// Taken from the active pool.
    pub shares: u64,
    pub lamports: u64,
    pub first_free_version: u64,
}

#[event]
pub struct UnbondedWithdrawn {
    pub validator: Address,
    pub owner: Address,
    pub id: u64,
    pub lamports: u64,
}

#[event]
pub struct StakePositionClosed {
    pub validator: Address,
    pub owner: Address,
}

#[event]
pub struct CommissionSet {
    pub validator: Address,
    pub commission_basis_points: u64,
}

#[event]
pub struct HeartbeatSent {
    pub validator: Address,
    pub slot: u64,
}

#[event]
pub struct RewardsCollected {
    pub validator: Address,
    pub reward_lamports: u64,
    pub commission_lamports: u64,
}

#[event]
pub struct CommissionWithdrawn {
    pub validator: Address,
    pub lamports: u64,
}

#[event]
pub struct ValidatorJailed {
    pub validator: Address,
    pub cut_lamports: u64,
    pub reporter_lamports: u64,
}

#[event]
pub struct ValidatorUnjailed {
    pub validator: Address,
}

#[event]
pub struct StallStepped {
    pub set_version: u64,
    pub count: u64,
    pub total_stake_lamports: u64,
    pub set_hash: [u8; 32],
    /// Stake in the set before it of those that were dropped.
    pub dropped_lamports: u64,
}

#[event]
pub struct ValidatorSetClosed {
    pub set_version: u64,
}
