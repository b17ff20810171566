use crate::{
    constants::{ACCOUNT_VERSION, ALL_BASIS_POINTS, MAX_TOTAL_LAMPORTS, MAX_VALIDATORS},
    error::SettlementError,
    math::{add, mul_div, sub},
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
    pub reserved: [u8; 5],
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

    /// Takes `basis_points` of both pools, rounded down for each, and returns what was cut: the caller pays it out of the stake vault and
    /// writes active_lamports into the registry slot, when there is one.
    #[inline(never)]
    pub fn slash(&mut self, basis_points: u64) -> Result<u64> {
        require!(basis_points <= ALL_BASIS_POINTS, SettlementError::BrokenInvariant);
        let active = mul_div(self.active_lamports, basis_points, ALL_BASIS_POINTS)?;
        let unbonding = mul_div(self.unbonding_lamports, basis_points, ALL_BASIS_POINTS)?;
        self.active_lamports = sub(self.active_lamports, active)?;
        self.unbonding_lamports = sub(self.unbonding_lamports, unbonding)?;
        let cut = add(active, unbonding)?;
        self.slashed_lamports = add(self.slashed_lamports, cut)?;
        Ok(cut)
    }

    pub fn invariant(&self) -> Result<()> {
        let holds = self.version == ACCOUNT_VERSION
            && (self.slot_index < MAX_VALIDATORS as u64 || self.slot_index == NO_SLOT)
            && self.commission_basis_points <= ALL_BASIS_POINTS
            && self.active_lamports < MAX_TOTAL_LAMPORTS
            && self.unbonding_lamports < MAX_TOTAL_LAMPORTS
            && (self.active_shares > 0 || self.active_lamports == 0)
            && (!self.is_tombstoned() || self.is_jailed());
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}
