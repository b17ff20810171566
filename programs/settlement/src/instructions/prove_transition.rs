//! prove_transition: the program executes at most eight records between two entries of the trace (ledger::judge).

use super::challenge::Challenge;
use crate::{
    error::DisputeError,
    evidence::Evidence,
    ledger::{judge, Claim, Context as Transition, Verdict, WitnessError, MAX_RECORDS, RECORD_BYTES},
    merkle::{check_count, climb, group_hash, Leaf, Place},
    rejection::Ground,
    state::validator_set::entries,
    storage::data_of,
};
use anchor_lang::prelude::*;

/// Evidence: the step's index; the count of the trace, the entry before and its siblings, the entry after and its siblings; the count of
/// records, the step's records (u32 length), the siblings of their subtree; the witness (u32 length).
#[inline(never)]
pub fn handler(ctx: &mut Context<Challenge>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    let verdict = judge_step(accounts)?;
    require!(verdict != Verdict::Honest, DisputeError::NoFraud);
    accounts.fall(Ground::Transition)
}

#[inline(never)]
fn judge_step(accounts: &Challenge) -> Result<Verdict> {
    let mut evidence = Evidence::of(&accounts.buffer)?;
    let (step, trace_count) = (evidence.u64()?, evidence.u64()?);
    require!(step < u64::from(u32::MAX), DisputeError::BadEvidence);
    let before = evidence.hash()?;
    let (root, place) = (accounts.trace_root(), Place { index: step, count: trace_count });
    Leaf { root, place, data: before, siblings: evidence.siblings()? }.check()?;
    let after = evidence.hash()?;
    let place = Place { index: step + 1, ..place };
    Leaf { root, place, data: after, siblings: evidence.siblings()? }.check()?;
    let place = Place { index: step, count: evidence.u64()? };
    let records = evidence.bytes()?;
    let root = accounts.results_root();
    check_records(&Leaf { root, place, data: records, siblings: evidence.siblings()? })?;
    let witness = evidence.bytes()?;

    let set = accounts.validator_set.as_ref().filter(|set| set.set_version == accounts.checkpoint.set_version);
    let set = set.ok_or(DisputeError::WrongCertifyingSet)?;
    let transition = Transition {
        domain: accounts.config.domain(),
        epoch: accounts.checkpoint.epoch,
        base_slot: accounts.base_slot(),
        treasury: accounts.treasury.address().as_array(),
        validators: entries(data_of(set.account()), set.count as usize)?,
        total_stake_lamports: set.total_stake_lamports,
    };
    judge(&Claim { before, after }, records, witness, &transition).map_err(|error| refusal(error).into())
}

/// BadMerkleProof unless `data` are all the records of step `place.index`, in a batch of `place.count` records.
#[inline(never)]
fn check_records(records: &Leaf) -> Result<()> {
    let place = &records.place;
    let first = place.index << 3;
    require!(first < place.count && place.count < u64::from(u32::MAX), DisputeError::BadEvidence);
    let expected = (place.count - first).min(MAX_RECORDS as u64) as usize;
    require!(records.data.len() == expected.wrapping_mul(RECORD_BYTES), DisputeError::BadEvidence);
    let mut node = [0u8; 32];
    group_hash(records.data, RECORD_BYTES, &mut node);
    climb(&Place { index: place.index, count: (place.count + 7) >> 3 }, records.siblings, &mut node)?;
    let is_under = check_count(records.root.tag, records.root.hash, place.count, &node).is_ok();
    require!(is_under, DisputeError::BadMerkleProof);
    Ok(())
}

fn refusal(error: WitnessError) -> DisputeError {
    match error {
        WitnessError::MissingLeaf => DisputeError::WitnessIncomplete,
        WitnessError::WrongRootBefore => DisputeError::WitnessRoot,
        _ => DisputeError::BadWitness,
    }
}
