//! Who is a validator, and what a quorum of them is.

use super::{
    leaves::{task, Leaf},
    record::Record,
    rejection::Rejection,
    transition::{need, Applied},
    Context, WitnessError,
};
use crate::{constants::BITMAP_BYTES, hash::sha256_parts};

/// NotAValidator unless the record's node is the authority at its set index.
#[inline(never)]
pub fn check_validator(record: &Record, context: &Context) -> Applied {
    let index = usize::from(record.set_index());
    let entry = context.validators.get(index).filter(|_| index < 256).ok_or(Rejection::NotAValidator)?;
    let mut node = [0u8; 32];
    sha256_parts(&[entry.authority.as_ref()], &mut node);
    Ok(need(*record.node() == node[..20], Rejection::NotAValidator)?)
}

/// The verdicts are of this epoch, and 3 × the stake behind them ≥ 2 × the set's. BadLeaf when the bitmap has a bit beyond the set, which
/// no honest state has.
#[inline(never)]
pub fn need_quorum(task: &Leaf, bitmap: usize, context: &Context) -> Applied {
    need(task.u64_at(task::VERDICT_EPOCH) == context.epoch, Rejection::StaleVerdicts)?;
    let mut signed = 0u64;
    for byte in 0..BITMAP_BYTES {
        let bits = task.byte(bitmap + byte);
        if bits == 0 {
            continue;
        }
        for bit in 0..8 {
            if bits >> bit & 1 == 1 {
                let entry = context.validators.get(8 * byte + bit).ok_or(WitnessError::BadLeaf)?;
                signed = signed.saturating_add(entry.stake_lamports);
            }
        }
    }
    let absent = context.total_stake_lamports.saturating_sub(signed);
    // 3s ≥ 2t is t − s ≤ s / 2, which fits u64 for every t.
    Ok(need(absent <= signed / 2, Rejection::NoQuorum)?)
}
