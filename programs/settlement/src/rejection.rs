//! What becomes of a checkpoint that was proved wrong, and of those that build on it. Pure on Config and accounts; who may call it is for
//! the instructions.
//!
//! Config remembers which epochs are void as ranges, so that a rejection writes no other account however many descendants there are.
//! Between two ranges there is always a live epoch: ranges that meet become one. Since post_checkpoint refuses while all places are
//! taken, a rejection always finds room: what is live then lies below the last range, which it absorbs.

use crate::{
    constants::MAX_VOID_RANGES,
    error::{DisputeError, SettlementError},
    math::add,
    state::{Checkpoint, CheckpointStatus, Config, EpochRange, PostedHead},
};
use anchor_lang::prelude::*;

/// What showed the fraud, as its event tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ground {
    MalformedRecord = 1,
    Inbox = 2,
    Trace = 3,
    Totals = 4,
    Count = 5,
    Data = 6,
    Transition = 7,
    Unanswered = 8,
}

impl Config {
    /// Whether no range is left for a rejection: nothing is posted then.
    pub fn voids_are_full(&self) -> bool {
        self.voids[MAX_VOID_RANGES - 1].first > 0
    }

    /// Escaped, NotPosted or CheckpointVoid unless the checkpoint is posted, not final, and not void.
    pub fn check_live(&self, checkpoint: &Checkpoint) -> Result<()> {
        require!(self.escaped == 0, SettlementError::Escaped);
        require!(checkpoint.status == CheckpointStatus::Posted as u8, SettlementError::NotPosted);
        require!(!self.is_dead(checkpoint.epoch), DisputeError::CheckpointVoid);
        Ok(())
    }

    /// Of a checkpoint that is Posted: it can never be final. Ranges behind the finalized epoch are forgotten, so what is behind it and
    /// not final is void too.
    pub fn is_dead(&self, epoch: u64) -> bool {
        epoch <= self.finalized.epoch || self.is_void(epoch)
    }
}

/// Voids `first` … `last`; `last` is the highest epoch of all.
#[inline(never)]
pub fn void_from(voids: &mut [EpochRange; MAX_VOID_RANGES], first: u64, last: u64) -> Result<()> {
    let mut start = first;
    let mut kept = 0;
    for index in 0..MAX_VOID_RANGES {
        let range = voids[index];
        if range.first == 0 || range.first >= first {
            break;
        }
        if add(range.last, 1)? == first {
            start = range.first;
            break;
        }
        kept += 1;
    }
    require!(kept < MAX_VOID_RANGES, SettlementError::BrokenInvariant);
    voids[kept] = EpochRange { first: start, last };
    voids[kept + 1..].fill(EpochRange { first: 0, last: 0 });
    Ok(())
}

/// Forgets the ranges that lie wholly below the finalized epoch.
#[inline(never)]
pub fn forget_below(voids: &mut [EpochRange; MAX_VOID_RANGES], finalized_epoch: u64) {
    let mut kept = 0;
    for index in 0..MAX_VOID_RANGES {
        let range = voids[index];
        if range.first > 0 && range.last > finalized_epoch {
            voids[kept] = range;
            kept += 1;
        }
    }
    voids[kept..].fill(EpochRange { first: 0, last: 0 });
}

/// The checkpoint that `checkpoint` extends, None before epoch 1. WrongParent when another was given.
pub fn check_parent(checkpoint: &Checkpoint, parent: Option<&Checkpoint>) -> Result<()> {
    let is_right = match parent {
        Some(parent) => parent.epoch == checkpoint.parent_epoch && parent.hash == checkpoint.parent_hash,
        None => checkpoint.parent_epoch == 0,
    };
    require!(is_right, DisputeError::WrongParent);
    Ok(())
}

/// Rejects a live checkpoint and voids all that build on it: the chain goes on from its parent, with new epoch numbers. Returns the bond,
/// which the caller pays out.
#[inline(never)]
pub fn reject(config: &mut Config, checkpoint: &mut Checkpoint, parent: Option<&Checkpoint>) -> Result<u64> {
    config.check_live(checkpoint)?;
    check_parent(checkpoint, parent)?;
    let mut signers = 0u64;
    for byte in checkpoint.bitmap {
        signers += u64::from(byte.count_ones());
    }
    config.pending_slashes = add(config.pending_slashes, signers)?;
    let highest = config.highest_epoch;
    void_from(&mut config.voids, checkpoint.epoch, highest)?;
    config.posted = match parent {
        Some(parent) => head_of(parent),
        None => genesis_head(config),
    };
    checkpoint.status = CheckpointStatus::Rejected as u8;
    let bond_lamports = checkpoint.bond_lamports;
    checkpoint.bond_lamports = 0;
    checkpoint.invariant()?;
    config.invariant()?;
    Ok(bond_lamports)
}

#[inline(never)]
fn head_of(parent: &Checkpoint) -> PostedHead {
    PostedHead {
        epoch: parent.epoch,
        hash: parent.hash,
        cut_slot: parent.cut_slot,
        expiry_slot: parent.expiry_slot,
        payable_total: parent.payable_total,
        inbox_cursor: parent.inbox_cursor,
        inbox_hash: parent.inbox_hash,
        inbox_lamports: parent.inbox_lamports,
    }
}

/// What epoch 1 extends.
#[inline(never)]
fn genesis_head(config: &Config) -> PostedHead {
    let mut head: PostedHead = bytemuck::Zeroable::zeroed();
    config.domain().genesis_parent(&mut head.hash);
    config.domain().genesis_inbox(&mut head.inbox_hash);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: EpochRange = EpochRange { first: 0, last: 0 };

    fn next(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    fn is_void(voids: &[EpochRange; MAX_VOID_RANGES], epoch: u64) -> bool {
        voids.iter().any(|range| range.first > 0 && range.first <= epoch && epoch <= range.last)
    }

    /// Posts, rejections and finalizations at random, against a tree that knows each epoch's parent.
    #[test]
    fn ranges_say_what_the_tree_says() {
        let mut seed = 0x2545_f491_4f6c_dd1du64;
        let (mut fullest, mut refused) = (0, 0);
        for _ in 0..300 {
            let mut parents = vec![0usize];
            let mut voids = [NONE; MAX_VOID_RANGES];
            let (mut rejected, mut finalized) = (std::collections::BTreeSet::new(), 0usize);
            for _ in 0..200 {
                // The chain from genesis to the posted head, of what the tree calls live.
                let is_alive = |epoch: usize, rejected: &std::collections::BTreeSet<usize>| {
                    let mut at = epoch;
                    while at > 0 {
                        if rejected.contains(&at) {
                            return false;
                        }
                        at = parents[at];
                    }
                    true
                };
                let live: Vec<usize> = (1..parents.len()).filter(|epoch| is_alive(*epoch, &rejected)).collect();
                let open: Vec<usize> = live.iter().copied().filter(|epoch| *epoch > finalized).collect();
                for epoch in finalized + 1..parents.len() {
                    assert_eq!(is_void(&voids, epoch as u64), !live.contains(&epoch), "{epoch}: {parents:?}");
                }
                let taken = voids.iter().filter(|range| range.first > 0).count();
                fullest = fullest.max(taken);
                let is_full = voids[MAX_VOID_RANGES - 1].first > 0;
                assert_eq!(is_full, taken == MAX_VOID_RANGES, "ranges leave no hole");
                assert!(!is_full || !open.is_empty(), "a full list can always be shortened");
                match next(&mut seed) % 8 {
                    0..=3 if !is_full => parents.push(live.last().copied().unwrap_or(0)),
                    0..=3 => refused += 1,
                    4..=6 if !open.is_empty() => {
                        // Mostly the newest: that is what fills the list.
                        let pick = if next(&mut seed) % 8 == 0 { next(&mut seed) as usize % open.len() } else { open.len() - 1 };
                        let (epoch, highest) = (open[pick] as u64, parents.len() as u64 - 1);
                        rejected.insert(open[pick]);
                        void_from(&mut voids, epoch, highest).unwrap();
                    }
                    7 if !open.is_empty() && next(&mut seed) % 6 == 0 => {
                        finalized = open[0];
                        forget_below(&mut voids, finalized as u64);
                    }
                    _ => {}
                }
            }
        }
        assert!(fullest == MAX_VOID_RANGES && refused > 0, "{fullest} ranges at most, {refused} posts refused");
    }

    #[test]
    fn ranges_that_meet_become_one() {
        let mut voids = [NONE; MAX_VOID_RANGES];
        for epoch in 2..40 {
            void_from(&mut voids, epoch, epoch).unwrap();
        }
        assert!(voids[0].first == 2 && voids[0].last == 39 && voids[1].first == 0);
        forget_below(&mut voids, 40);
        assert!(voids[0].first == 0);
    }
}
