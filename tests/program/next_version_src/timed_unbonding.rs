use crate::{error::SettlementError, state::Unbonding};
use anchor_lang::prelude::*;

/// The version of this layout, which is also a type of its own: an older program must not take one for the other.
pub const UNBONDING_VERSION: u8 = 2;

/// What Unbonding holds, and the time of the request. In the middle, so that bytes of the old layout have to move.
#[account]
pub struct TimedUnbonding {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 6],
    pub owner: Address,
    /// The Validator's address.
    pub validator: Address,
    /// Unix time of the request; 0 when it was made before that was held.
    pub requested_seconds: i64,
    pub id: u64,
    pub shares: u64,
    /// The first set version without this stake.
    pub first_free_version: u64,
    pub requested_slot: u64,
}

impl TimedUnbonding {
    /// Takes over all that `old` holds.
    pub fn take_over(&mut self, old: &Unbonding) {
        self.version = UNBONDING_VERSION;
        self.bump = old.bump;
        self.reserved = [0; 6];
        self.owner = old.owner;
        self.validator = old.validator;
        self.requested_seconds = 0;
        self.id = old.id;
        self.shares = old.shares;
        self.first_free_version = old.first_free_version;
        self.requested_slot = old.requested_slot;
    }

    pub fn invariant(&self) -> Result<()> {
        require!(self.version == UNBONDING_VERSION, SettlementError::UnknownAccountVersion);
        require!(
            self.shares > 0 && self.first_free_version > 0 && self.requested_seconds >= 0,
            SettlementError::BrokenInvariant
        );
        Ok(())
    }
}

/// The old layout out of an account's bytes, once their discriminator is that of Unbonding.
#[inline(never)]
pub fn read_old(data: &[u8]) -> Result<Unbonding> {
    let old: Unbonding = bytemuck::try_pod_read_unaligned(data).map_err(|_| SettlementError::BrokenInvariant)?;
    old.invariant()?;
    Ok(old)
}
