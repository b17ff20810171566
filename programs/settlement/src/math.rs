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

/// 3 × signed ≥ 2 × total, in integers and by additions only. Sums of stake are below 2^62 (MAX_TOTAL_LAMPORTS).
pub fn is_quorum(signed_lamports: u64, total_lamports: u64) -> Result<bool> {
    let three_signed = add(add(signed_lamports, signed_lamports)?, signed_lamports)?;
    Ok(three_signed >= add(total_lamports, total_lamports)?)
}

#[cfg(test)]
mod tests {
    use super::is_quorum;

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
