//! Results of mode exact: what the ledger keeps back until nobody can prove them wrong on L1 any more (docs/protocol.md, section 8).
//! The rules of settlement/ledger/exact.py, checked in the same order.

use super::{
    flow::{lower, shift, Flow},
    leaves::{account, task, Leaf, Leaves},
    quorum::need_quorum,
    record::Record,
    rejection::Rejection,
    transition::{need, open_account, present, take_entry, task_in, Applied},
    Context,
};
use crate::{constants::ALL_BASIS_POINTS, hash::sha256_parts};

pub const MODE_EXACT: u8 = 1;

/// Lamports of free stake that a worker must have locked to reveal a result, and that stand behind each exact one.
pub const MIN_WORKER_STAKE: u64 = 1_000_000;

/// How long pay and stake of an exact result are held, about two days. Parameters::check has what it must be longer than.
pub const RESULT_HOLD_SLOTS: u64 = 432_000;

/// Lamports that stand behind a result of the task and behind nothing else.
#[inline(always)]
pub fn pledge(task: &Leaf) -> u64 {
    if task.byte(task::MODE) == MODE_EXACT {
        MIN_WORKER_STAKE
    } else {
        0
    }
}

/// Locked stake that stands behind no exact result.
#[inline(always)]
pub fn free_stake(worker: &Leaf) -> u64 {
    worker.u64_at(account::LOCKED_STAKE).saturating_sub(worker.u64_at(account::PLEDGED_STAKE))
}

/// What stands behind the task's result, if anything, becomes free stake again. Called while the task has its old status.
#[inline(always)]
pub fn free_pledge(leaves: &mut Leaves, task: usize) -> Applied {
    let leaf = &leaves.0[task];
    if leaf.byte(task::MODE) != MODE_EXACT || !matches!(leaf.byte(task::STATUS), task::REVEALED | task::HELD) {
        return Ok(());
    }
    let worker = present(leaves, leaves.account(&leaf.bytes_at(task::WORKER))?)?;
    Ok(lower(&mut leaves.0[worker], account::PLEDGED_STAKE, MIN_WORKER_STAKE)?)
}

/// The validators accept a result that can be proved wrong for some time yet.
#[inline(never)]
pub fn hold(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let task = task_in(leaves, record, &[task::REVEALED])?;
    let task = &mut leaves.0[task];
    need(task.byte(task::MODE) == MODE_EXACT, Rejection::WrongMode)?;
    need_quorum(task, task::ACCEPT, context)?;
    need(task.is_at(task::WORKER, record.node()), Rejection::WrongNode)?;
    need(record.economic_event().lamports == task.u64_at(task::FEE), Rejection::WrongAmount)?;
    task.set_byte(task::STATUS, task::HELD);
    task.set_u64(task::DEADLINE, task::UNSCHEDULED);
    Ok(())
}

/// Sets the release slot. The ledger knows no later slot of the epoch that holds a result than its parent's cut slot, which may be long
/// past; so the hold is counted from the base slot of a later epoch.
#[inline(never)]
pub fn schedule(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let task = task_in(leaves, record, &[task::HELD])?;
    let task = &mut leaves.0[task];
    need(task.u64_at(task::DEADLINE) == task::UNSCHEDULED, Rejection::ReleaseScheduled)?;
    need(task.u64_at(task::VERDICT_EPOCH) < context.epoch, Rejection::HoldTooYoung)?;
    need(task.is_at(task::WORKER, record.node()), Rejection::WrongNode)?;
    let release_slot = context.base_slot.checked_add(RESULT_HOLD_SLOTS).ok_or(Rejection::Overflow)?;
    task.set_u64(task::DEADLINE, release_slot);
    Ok(())
}

/// The lamports are credited in any case; if the task holds the very result that was proved wrong, its client has the fee back, and the
/// stake behind it goes to the challenger and, the rest, to the treasury.
#[inline(never)]
pub fn strike(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let event = record.economic_event();
    let challenger = take_entry(leaves, record)?;
    let task = leaves.task(record.task())?;
    let leaf = &leaves.0[task];
    let is_struck = leaf.is_present
        && leaf.byte(task::MODE) == MODE_EXACT
        && matches!(leaf.byte(task::STATUS), task::REVEALED | task::HELD)
        && leaf.is_at(task::RESULT_HASH, event.spec_hash);
    if !is_struck {
        return Ok(());
    }
    let fee = leaf.u64_at(task::FEE);
    let client = present(leaves, leaves.account(&leaves.0[task].bytes_at(task::CLIENT))?)?;
    shift(leaves, client, Flow::FreeFee, fee)?;
    let worker = present(leaves, leaves.account(&leaves.0[task].bytes_at(task::WORKER))?)?;
    shift(leaves, worker, Flow::LoseStake, MIN_WORKER_STAKE)?;
    lower(&mut leaves.0[worker], account::PLEDGED_STAKE, MIN_WORKER_STAKE)?;
    let share = MIN_WORKER_STAKE.wrapping_mul(event.number.min(ALL_BASIS_POINTS)) / ALL_BASIS_POINTS;
    shift(leaves, challenger, Flow::Earn, share)?;
    let mut node = [0u8; 32];
    sha256_parts(&[context.treasury], &mut node);
    let treasury = open_account(leaves, &node, context.treasury)?;
    shift(leaves, treasury, Flow::Earn, MIN_WORKER_STAKE - share)?;
    leaves.0[task].set_byte(task::STATUS, task::STRUCK);
    Ok(())
}
