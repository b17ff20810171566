use crate::{
    constants::{ALL_BASIS_POINTS, MAX_TOTAL_LAMPORTS, MAX_VALIDATORS},
    error::SettlementError,
    math::add,
    state::{check_version, Pool},
};
use anchor_lang::prelude::*;

/// slot_index of a validator that has no registry slot.
pub const NO_SLOT: u64 = u64::MAX;

/// It missed too much or signed what was rejected: it signs no more until it is unjailed.
pub const VALIDATOR_JAILED: u8 = 1;
/// It equivocated: it never comes back, and takes no more stake.
pub const VALIDATOR_TOMBSTONED: u8 = 2;

/// One validator, for as long as the program lives: a BLS key registers once, ever, whatever becomes of its validator.
///
/// All stake behind it, its own, delegated and unbonding, is shares of the two pools here: one write slashes it all.
#[account]
pub struct Validator {
    pub version: u8,
    pub bump: u8,
    pub flags: u8,
    pub reserved: u8,
    /// Checkpoints in a row that it had not signed when it lost its slot.
    pub misses: u32,
    pub authority: Address,
    /// Affine x ‖ y, big-endian.
    pub bls_public_key: [u8; 96],
    /// Its place in the registry, or NO_SLOT.
    pub slot_index: u64,
    /// The first set version without its stake, while it has no slot.
    pub left_version: u64,
    pub commission_basis_points: u64,
    /// Owed to the authority.
    pub commission_lamports: u64,
    /// Rewards of a slot that it lost, not yet collected.
    pub reward_lamports: u64,
    pub active_lamports: u64,
    pub active_shares: u64,
    pub unbonding_lamports: u64,
    pub unbonding_shares: u64,
    pub jailed_slot: u64,
    /// Cut from its pools so far.
    pub slashed_lamports: u64,
}

impl Validator {
    pub fn is_jailed(&self) -> bool {
        self.flags & VALIDATOR_JAILED != 0
    }

    pub fn is_tombstoned(&self) -> bool {
        self.flags & VALIDATOR_TOMBSTONED != 0
    }

    pub fn has_slot(&self) -> bool {
        self.slot_index != NO_SLOT
    }

    pub fn active(&self) -> Pool {
        Pool { lamports: self.active_lamports, shares: self.active_shares }
    }

    pub fn unbonding(&self) -> Pool {
        Pool { lamports: self.unbonding_lamports, shares: self.unbonding_shares }
    }

    pub fn set_active(&mut self, pool: Pool) {
        self.active_lamports = pool.lamports;
        self.active_shares = pool.shares;
    }

    pub fn set_unbonding(&mut self, pool: Pool) {
        self.unbonding_lamports = pool.lamports;
        self.unbonding_shares = pool.shares;
    }

    /// Takes `basis_points` of both pools, rounded down for each, and returns what was cut: the caller pays it out of the stake vault and
    /// writes active_lamports into the registry slot, when there is one.
    #[inline(never)]
    pub fn slash(&mut self, basis_points: u64) -> Result<u64> {
        let (mut active, mut unbonding) = (self.active(), self.unbonding());
        let cut = add(active.cut(basis_points)?, unbonding.cut(basis_points)?)?;
        self.set_active(active);
        self.set_unbonding(unbonding);
        self.slashed_lamports = add(self.slashed_lamports, cut)?;
        Ok(cut)
    }

    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = (self.slot_index < MAX_VALIDATORS as u64 || self.slot_index == NO_SLOT)
            && self.commission_basis_points <= ALL_BASIS_POINTS
            && self.active_lamports < MAX_TOTAL_LAMPORTS
            && self.unbonding_lamports < MAX_TOTAL_LAMPORTS
            && (self.active_shares > 0 || self.active_lamports == 0)
            && (self.unbonding_shares > 0 || self.unbonding_lamports == 0)
            && (!self.is_tombstoned() || self.is_jailed());
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}
