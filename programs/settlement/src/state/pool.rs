//! Shares of a sum of lamports that rewards raise and slashes lower. Whoever enters or leaves is rounded down: what a division leaves over
//! stays with those who stay.

use crate::{
    constants::{ALL_BASIS_POINTS, MAX_TOTAL_LAMPORTS},
    error::{SettlementError, StakeError},
    math::{add, mul_div, sub},
};
use anchor_lang::prelude::*;

/// A delegation loses at most one part in this many to rounding.
const LARGEST_LOSS: u64 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool {
    pub lamports: u64,
    pub shares: u64,
}

impl Pool {
    /// Slashed to nothing: its shares are worth nothing for ever, and new lamports would be theirs.
    pub fn is_emptied(&self) -> bool {
        self.lamports == 0 && self.shares > 0
    }

    /// What the shares are worth.
    pub fn worth(&self, shares: u64) -> Result<u64> {
        require!(shares <= self.shares, StakeError::WrongShares);
        if shares == 0 {
            return Ok(0);
        }
        mul_div(shares, self.lamports, self.shares)
    }

    /// Adds lamports and returns their shares: as many as lamports in an empty pool, else by proportion.
    pub fn enter(&mut self, lamports: u64) -> Result<u64> {
        require!(!self.is_emptied(), StakeError::PoolEmptied);
        let shares = match self.shares {
            0 => lamports,
            held => mul_div(lamports, held, self.lamports)?,
        };
        self.lamports = add(self.lamports, lamports)?;
        require!(self.lamports < MAX_TOTAL_LAMPORTS, SettlementError::ArithmeticOverflow);
        self.shares = add(self.shares, shares)?;
        Ok(shares)
    }

    /// The same, refused when rounding would cost more than a thousandth. Otherwise whoever holds the only share, of which rewards have made
    /// much, would get up to half of what the next one brings.
    pub fn enter_fairly(&mut self, lamports: u64) -> Result<u64> {
        let shares = self.enter(lamports)?;
        let loss = sub(lamports, self.worth(shares)?)?;
        require!(shares > 0 && loss <= lamports / LARGEST_LOSS, StakeError::DelegationTooSmall);
        Ok(shares)
    }

    /// Takes shares out and returns what they were worth.
    pub fn leave(&mut self, shares: u64) -> Result<u64> {
        let lamports = self.worth(shares)?;
        self.lamports = sub(self.lamports, lamports)?;
        self.shares = sub(self.shares, shares)?;
        Ok(lamports)
    }

    /// Takes a part, rounded down, and returns it.
    pub fn cut(&mut self, basis_points: u64) -> Result<u64> {
        require!(basis_points <= ALL_BASIS_POINTS, SettlementError::BrokenInvariant);
        let lamports = mul_div(self.lamports, basis_points, ALL_BASIS_POINTS)?;
        self.lamports = sub(self.lamports, lamports)?;
        Ok(lamports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(lamports: u64, shares: u64) -> Pool {
        Pool { lamports, shares }
    }

    #[test]
    fn the_first_shares_are_one_to_one_and_later_ones_by_proportion() {
        let mut stake = pool(0, 0);
        assert_eq!(stake.enter_fairly(1_000_000).unwrap(), 1_000_000);
        stake.lamports += 500_000;
        assert_eq!(stake.enter_fairly(300_000).unwrap(), 200_000);
        assert_eq!(stake, pool(1_800_000, 1_200_000));
        assert_eq!(stake.leave(1_000_000).unwrap(), 1_500_000);
        assert_eq!(stake.leave(200_000).unwrap(), 300_000);
        assert_eq!(stake, pool(0, 0));
    }

    #[test]
    fn a_cut_hits_every_share_alike() {
        let mut stake = pool(3_000, 3_000);
        assert_eq!(stake.cut(2_500).unwrap(), 750);
        assert_eq!(stake.worth(1_000).unwrap(), 750);
        assert_eq!(stake.enter(750).unwrap(), 1_000);
        assert!(stake.cut(10_001).is_err());
    }

    #[test]
    fn rounding_never_favours_who_comes_or_goes() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = |bound: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % bound
        };
        for _ in 0..20_000 {
            let mut stake = pool(1 + next(1 << 40), 1 + next(1 << 40));
            let before = stake;
            // The others' lamports per share never fall: l'·s ≥ l·s' in 128 bits.
            let richer = |after: Pool| {
                u128::from(after.lamports) * u128::from(before.shares) >= u128::from(before.lamports) * u128::from(after.shares)
            };
            let lamports = next(1 << 41);
            if let Ok(shares) = stake.enter(lamports) {
                assert!(richer(stake));
                assert!(stake.worth(shares).unwrap() <= lamports);
                assert!(stake.leave(shares).unwrap() <= lamports);
                assert!(stake.lamports >= before.lamports && stake.shares == before.shares);
            }
            let mut stake = before;
            let shares = next(before.shares + 1);
            stake.leave(shares).unwrap();
            assert!(stake.shares == 0 || richer(stake));
        }
    }

    #[test]
    fn the_first_depositor_gains_nothing_from_the_next() {
        // One share that rewards have made worth a SOL: 1.9 SOL would be rounded to one share, worth 1.45.
        for lamports in [1, 999_999_999, 1_900_000_000, 1_999_999_999] {
            assert!(pool(1_000_000_000, 1).enter_fairly(lamports).is_err(), "{lamports}");
        }
        for (held, lamports) in [(1_000_000_000, 2_000_000_000), (1, 1), (7, 7_000), (3_000_000_001, 5_000_000_000_000)] {
            let mut stake = pool(held, 1);
            let shares = stake.enter_fairly(lamports).unwrap();
            assert!(stake.worth(shares).unwrap() >= lamports - lamports / LARGEST_LOSS);
        }
    }

    #[test]
    fn an_emptied_pool_takes_no_more() {
        let mut stake = pool(5_000, 5_000);
        assert_eq!(stake.cut(10_000).unwrap(), 5_000);
        assert!(stake.is_emptied());
        assert!(stake.enter(1_000_000).is_err());
        assert_eq!(stake.worth(5_000).unwrap(), 0);
        assert_eq!(stake.leave(5_000).unwrap(), 0);
        assert_eq!(stake.enter(1_000_000).unwrap(), 1_000_000);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_more_shares_than_there_are() {
        assert!(pool(MAX_TOTAL_LAMPORTS - 1, 1).enter(1).is_err());
        assert!(pool(1, u64::MAX).enter(2).is_err());
        assert!(pool(1, u64::MAX).enter(1).is_err());
        assert!(pool(10, 10).leave(11).is_err());
        assert!(pool(0, 0).leave(1).is_err());
    }

    #[test]
    fn a_lamport_of_an_unbonding_pool_is_at_most_a_share() {
        // It is only ever cut, so nobody can make its shares dear for those who unbond next.
        let mut seed = 42u64;
        let mut stake = pool(0, 0);
        let mut held = Vec::new();
        for step in 0..20_000u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = seed >> 40;
            match number % 3 {
                0 if !stake.is_emptied() && stake.shares < 1 << 40 => {
                    let lamports = 1 + number % 1_000;
                    let shares = stake.enter(lamports).unwrap();
                    assert!(shares >= lamports);
                    assert!(lamports - stake.worth(shares).unwrap() <= 1);
                    held.push(shares);
                }
                1 if !held.is_empty() => {
                    let shares = held.swap_remove(number as usize % held.len());
                    stake.leave(shares).unwrap();
                }
                _ if step % 50 == 0 => {
                    stake.cut(number % 100).unwrap();
                }
                _ => {}
            }
            assert!(stake.lamports <= stake.shares);
        }
    }
}
