//! Checked arithmetic without 128-bit products, which the BPF back end cannot do.

use crate::error::SettlementError;
use anchor_lang::prelude::*;

/// `a + b`, or ArithmeticOverflow.
#[inline(always)]
pub fn add(a: u64, b: u64) -> Result<u64> {
    a.checked_add(b)
        .ok_or_else(|| SettlementError::ArithmeticOverflow.into())
}

/// `a - b`, or ArithmeticOverflow.
#[inline(always)]
pub fn sub(a: u64, b: u64) -> Result<u64> {
    a.checked_sub(b)
        .ok_or_else(|| SettlementError::ArithmeticOverflow.into())
}

/// floor(a × b / c), or ArithmeticOverflow when c is 0 or it does not fit u64. 128 bits in two words, since BPF has neither the product nor the division.
#[inline(never)]
pub fn mul_div(a: u64, b: u64, c: u64) -> Result<u64> {
    const LOW: u64 = 0xffff_ffff;
    let (a1, a0, b1, b0) = (a >> 32, a & LOW, b >> 32, b & LOW);
    // Each product is below 2^64 - 2^33 + 2, so two words of 32 bits can be added to it.
    let low = a0.wrapping_mul(b0);
    let middle = a1.wrapping_mul(b0).wrapping_add(low >> 32);
    let other = a0.wrapping_mul(b1).wrapping_add(middle & LOW);
    let mut high = a1.wrapping_mul(b1).wrapping_add(middle >> 32).wrapping_add(other >> 32);
    let low = (other << 32) | (low & LOW);
    if high == 0 {
        return low.checked_div(c).ok_or_else(|| SettlementError::ArithmeticOverflow.into());
    }
    require!(high < c, SettlementError::ArithmeticOverflow);
    let mut quotient = 0u64;
    for bit in (0..64).rev() {
        // The remainder is below c, so twice it is below 2^65: the bit that falls out is looked at first.
        let carry = high >> 63;
        high = (high << 1) | ((low >> bit) & 1);
        if carry == 1 || high >= c {
            high = high.wrapping_sub(c);
            quotient |= 1 << bit;
        }
    }
    Ok(quotient)
}

/// 3 × signed ≥ 2 × total, in integers and by additions only. Sums of stake are below 2^62 (MAX_TOTAL_LAMPORTS).
pub fn is_quorum(signed_lamports: u64, total_lamports: u64) -> Result<bool> {
    let three_signed = add(add(signed_lamports, signed_lamports)?, signed_lamports)?;
    Ok(three_signed >= add(total_lamports, total_lamports)?)
}

#[cfg(test)]
mod tests {
    use super::{is_quorum, mul_div};

    #[test]
    fn mul_div_is_that_of_128_bits() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed >> (seed & 63)
        };
        let edges = [0, 1, 2, 9_999, 10_000, u32::MAX as u64, 1 << 32, (1 << 62) - 1, u64::MAX - 1, u64::MAX];
        let mut cases: Vec<(u64, u64, u64)> = (0..20_000).map(|_| (next(), next(), next())).collect();
        for a in edges {
            for b in edges {
                cases.extend(edges.map(|c| (a, b, c)));
            }
        }
        for (a, b, c) in cases {
            let expected = (u128::from(a) * u128::from(b)).checked_div(u128::from(c)).and_then(|wide| u64::try_from(wide).ok());
            assert_eq!(mul_div(a, b, c).ok(), expected, "{a} * {b} / {c}");
        }
    }

    #[test]
    fn quorum_is_exactly_two_thirds() {
        assert!(is_quorum(2, 3).unwrap());
        assert!(!is_quorum(1, 3).unwrap());
        assert!(is_quorum(67, 100).unwrap());
        assert!(!is_quorum(66, 100).unwrap());
        assert!(is_quorum(1 << 61, 3 << 60).unwrap());
        assert!(!is_quorum((1 << 61) - 1, 3 << 60).unwrap());
        assert!(is_quorum(u64::MAX / 2, u64::MAX / 2).is_err());
    }
}
