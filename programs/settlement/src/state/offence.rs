use crate::{
    constants::ALL_BASIS_POINTS,
    error::SettlementError,
    math::mul_div,
    state::check_version,
};
use anchor_lang::prelude::*;

/// How much dearer equivocation gets with the share of the stake that did it: all who did lose everything when a third did.
const CORRELATION: u64 = 3;

/// One validator's equivocation in one epoch; it is never closed, so that the same evidence counts once.
#[account]
pub struct Offence {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 6],
    pub validator: Address,
    pub epoch: u64,
    pub attempt: u32,
    pub reserved_after: u32,
    /// Of its stake then, taken so far.
    pub applied_basis_points: u64,
    pub cut_lamports: u64,
}

impl Offence {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = self.epoch > 0
            && self.applied_basis_points > 0
            && self.applied_basis_points <= ALL_BASIS_POINTS;
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}

/// The stake found equivocating in one epoch.
#[account]
pub struct EquivocationTally {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 6],
    pub epoch: u64,
    pub validators: u64,
    pub stake_lamports: u64,
    /// Of the set in which the first of them was found.
    pub total_stake_lamports: u64,
}

impl EquivocationTally {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = self.epoch > 0
            && self.validators > 0
            && self.stake_lamports > 0
            && self.total_stake_lamports > 0;
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }

    /// What each of them loses: the base, and three times the share of the stake that equivocated.
    #[inline(never)]
    pub fn target_basis_points(&self, base_basis_points: u64) -> Result<u64> {
        // Members of other sets may add up to more than this set's total.
        let stake = self.stake_lamports.min(self.total_stake_lamports);
        let correlated = mul_div(stake, CORRELATION * ALL_BASIS_POINTS, self.total_stake_lamports)?;
        Ok(base_basis_points.saturating_add(correlated).min(ALL_BASIS_POINTS))
    }
}

/// What brings a loss of `applied` up to `target`, as a share of what is left. At least 1 when target > applied.
#[inline(never)]
pub fn remaining_basis_points(applied: u64, target: u64) -> Result<u64> {
    require!(applied < target && target <= ALL_BASIS_POINTS, SettlementError::BrokenInvariant);
    mul_div(target - applied, ALL_BASIS_POINTS, ALL_BASIS_POINTS - applied)
}

#[cfg(test)]
mod tests {
    use super::{remaining_basis_points, EquivocationTally};
    use bytemuck::Zeroable;

    fn target(stake: u64, total: u64) -> u64 {
        let mut tally = EquivocationTally::zeroed();
        tally.stake_lamports = stake;
        tally.total_stake_lamports = total;
        tally.target_basis_points(500).unwrap()
    }

    #[test]
    fn correlated_equivocation_costs_more() {
        assert_eq!(target(1, 1_000_000), 500);
        assert_eq!(target(1, 100), 800);
        assert_eq!(target(10, 100), 3_500);
        assert_eq!(target(31, 100), 9_800);
        assert_eq!(target(32, 100), 10_000);
        assert_eq!(target(100, 100), 10_000);
        assert_eq!(target(u64::MAX, 3), 10_000);
        assert_eq!(target((1 << 62) - 1, (1 << 62) - 1), 10_000);
    }

    #[test]
    fn a_raise_takes_no_more_than_the_target() {
        for applied in [1, 500, 3_500, 9_998, 9_999] {
            for target in [applied + 1, (applied + 10_000) / 2, 10_000] {
                if target <= applied {
                    continue;
                }
                let more = remaining_basis_points(applied, target).unwrap();
                let left = (10_000 - applied) * (10_000 - more);
                assert!(more > 0 && left >= (10_000 - target) * 10_000, "{applied} {target}");
                assert!(target < 10_000 || more == 10_000);
            }
        }
        assert!(remaining_basis_points(10_000, 10_000).is_err());
        assert!(remaining_basis_points(500, 500).is_err());
    }
}
