//! The only place where lamports change: they flow into, within and out of an account, and the totals follow. What part of the locked stake
//! is pledged (exact.rs) moves nothing.

use super::{
    leaves::{account, totals, Leaf, Leaves},
    rejection::Rejection,
    transition::Halt,
    WitnessError,
};

/// Where an account's lamports lie. The totals have one sum for fees and stake.
#[derive(Clone, Copy)]
enum Pot {
    Balance,
    LockedFees,
    LockedStake,
    Payable,
}

impl Pot {
    const fn in_account(self) -> usize {
        match self {
            Pot::Balance => account::BALANCE,
            Pot::LockedFees => account::LOCKED_FEES,
            Pot::LockedStake => account::LOCKED_STAKE,
            Pot::Payable => account::PAYABLE,
        }
    }

    const fn in_totals(self) -> usize {
        match self {
            Pot::Balance => totals::BALANCE,
            Pot::LockedFees | Pot::LockedStake => totals::LOCKED,
            Pot::Payable => totals::PAYABLE,
        }
    }
}

/// All ways that lamports take into, within and out of an account.
#[derive(Clone, Copy)]
pub enum Flow {
    Enter,
    LockFee,
    FreeFee,
    SpendFee,
    LockStake,
    LoseStake,
    Earn,
    Withdraw,
}

impl Flow {
    const fn ends(self) -> (Option<Pot>, Option<Pot>) {
        match self {
            Flow::Enter => (None, Some(Pot::Balance)),
            Flow::LockFee => (Some(Pot::Balance), Some(Pot::LockedFees)),
            Flow::FreeFee => (Some(Pot::LockedFees), Some(Pot::Balance)),
            Flow::SpendFee => (Some(Pot::LockedFees), None),
            Flow::LockStake => (Some(Pot::Balance), Some(Pot::LockedStake)),
            Flow::LoseStake => (Some(Pot::LockedStake), None),
            Flow::Earn => (None, Some(Pot::Payable)),
            Flow::Withdraw => (Some(Pot::Balance), Some(Pot::Payable)),
        }
    }
}

/// Moves lamports in an account, and the same in the totals: the only place where lamports change.
#[inline(never)]
pub fn shift(leaves: &mut Leaves, account: usize, flow: Flow, lamports: u64) -> Result<(), Halt> {
    if lamports == 0 {
        return Ok(());
    }
    let (from, to) = flow.ends();
    if let Some(pot) = from {
        lower(&mut leaves.0[account], pot.in_account(), lamports)?;
    }
    if let Some(pot) = to {
        raise(&mut leaves.0[account], pot.in_account(), lamports)?;
    }
    let totals = totals_of(leaves)?;
    if let Some(pot) = from {
        lower(&mut leaves.0[totals], pot.in_totals(), lamports)?;
    }
    if let Some(pot) = to {
        raise(&mut leaves.0[totals], pot.in_totals(), lamports)?;
    }
    Ok(())
}

pub fn raise(leaf: &mut Leaf, at: usize, by: u64) -> Result<(), Rejection> {
    leaf.set_u64(at, leaf.u64_at(at).checked_add(by).ok_or(Rejection::Overflow)?);
    Ok(())
}

pub fn lower(leaf: &mut Leaf, at: usize, by: u64) -> Result<(), Rejection> {
    leaf.set_u64(at, leaf.u64_at(at).checked_sub(by).ok_or(Rejection::Overflow)?);
    Ok(())
}

/// The totals; a state without any is none.
pub fn totals_of(leaves: &Leaves) -> Result<usize, WitnessError> {
    let totals = leaves.totals()?;
    if leaves.0[totals].is_present {
        Ok(totals)
    } else {
        Err(WitnessError::MissingLeaf)
    }
}
