//! prove_trace, prove_totals, prove_count and prove_data: a checkpoint's roots that contradict one another or its parent's.

use super::challenge::{need_fraud, Challenge};
use crate::{
    error::{DisputeError, SettlementError},
    evidence::Evidence,
    hash::Hash,
    ledger::{MAX_RECORDS, RECORD_BYTES},
    merkle::{check_count, Leaf, Place, Root},
    rejection::Ground,
    state_tree::{totals_root, TOTALS_VALUE_BYTES},
};
use anchor_lang::prelude::*;

/// Records of the largest batch.
const MAX_BATCH_RECORDS: u64 = 4_096;
const AUTHORISATION_BYTES: u64 = 104;
pub const CHUNK_BYTES: u64 = 1_024;

/// Bytes under the data root of a batch of so many records, which the caller has bounded: wrapping, since a checked product needs 128 bits.
pub fn data_bytes(records: u64) -> u64 {
    records.wrapping_mul(RECORD_BYTES as u64 + AUTHORISATION_BYTES)
}

/// An entry of the trace and its siblings.
pub struct TraceEntry<'a> {
    pub place: Place,
    pub hash: &'a Hash,
    pub siblings: &'a [[u8; 32]],
}

/// The first entry is the parent's state root, the last one the checkpoint's.
#[inline(never)]
pub fn trace(ctx: &mut Context<Challenge>, entry: &TraceEntry) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    let place = entry.place;
    Leaf { root: accounts.trace_root(), place, data: entry.hash, siblings: entry.siblings.as_flattened() }.check()?;
    let mut first = [0u8; 32];
    accounts.parent_state_root(&mut first);
    let is_wrong = (place.index == 0 && *entry.hash != first)
        || (place.index == place.count - 1 && *entry.hash != accounts.checkpoint.state_root);
    need_fraud(is_wrong)?;
    accounts.fall(Ground::Trace)
}

/// The state's totals are what the message says: what is payable, and the cursor.
///
/// Siblings come inline, or from a buffer (their number, one byte, then 32 bytes each): whoever makes an account whose key starts as that of
/// the totals makes more of them than a transaction holds.
#[inline(never)]
pub fn totals(ctx: &mut Context<Challenge>, value: &[u8; TOTALS_VALUE_BYTES], siblings: &[[u8; 32]]) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    let mut root = [0u8; 32];
    let siblings = match accounts.buffer {
        Some(_) if !siblings.is_empty() => return Err(SettlementError::TwoProofs.into()),
        Some(_) => Evidence::of(&accounts.buffer)?.siblings()?,
        None => siblings.as_flattened(),
    };
    totals_root(value, siblings, &mut root)?;
    require!(root == accounts.checkpoint.state_root, DisputeError::BadMerkleProof);
    let is_right = value[16..24] == accounts.checkpoint.payable_total.to_le_bytes()
        && value[24..32] == accounts.checkpoint.inbox_cursor.to_le_bytes();
    need_fraud(!is_right)?;
    accounts.fall(Ground::Totals)
}

/// A root's count with the tree hash that it is bound to.
pub struct Count<'a> {
    pub count: u64,
    pub tree: &'a Hash,
}

/// A zero tree leaves trace or chunks out: its count is not judged then.
#[derive(Clone, Copy, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct CountArgs {
    pub records: u64,
    pub records_tree: [u8; 32],
    pub trace: u64,
    pub trace_tree: [u8; 32],
    pub chunks: u64,
    pub chunks_tree: [u8; 32],
}

/// ⌈records / 8⌉ + 1 entries of the trace, ⌈bytes / 1,024⌉ chunks, at most 4,096 records.
#[inline(never)]
pub fn count(ctx: &mut Context<Challenge>, args: &CountArgs) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    let is_wrong = count_is_wrong(accounts, args)?;
    need_fraud(is_wrong)?;
    accounts.fall(Ground::Count)
}

#[inline(never)]
fn count_is_wrong(accounts: &Challenge, args: &CountArgs) -> Result<bool> {
    let check = |root: Root, count: u64, tree: &Hash| check_count(root.tag, root.hash, count, tree);
    check(accounts.results_root(), args.records, &args.records_tree)?;
    if args.records > MAX_BATCH_RECORDS {
        return Ok(true);
    }
    let mut is_wrong = false;
    if args.trace_tree != [0; 32] {
        check(accounts.trace_root(), args.trace, &args.trace_tree)?;
        is_wrong = args.trace != ((args.records + MAX_RECORDS as u64 - 1) >> 3) + 1;
    }
    if args.chunks_tree != [0; 32] {
        check(accounts.data_root(), args.chunks, &args.chunks_tree)?;
        is_wrong |= args.chunks != (data_bytes(args.records) + CHUNK_BYTES - 1) >> 10;
    }
    Ok(is_wrong)
}

/// The chunk and a record that it overlaps differ, or the chunk has another length than so many records give it.
///
/// Evidence: place of the chunk (index, count), the chunk (u32 length), its siblings; place of the record, the record, its siblings.
#[inline(never)]
pub fn data(ctx: &mut Context<Challenge>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    let is_wrong = chunk_is_wrong(accounts)?;
    need_fraud(is_wrong)?;
    accounts.fall(Ground::Data)
}

#[inline(never)]
fn chunk_is_wrong(accounts: &Challenge) -> Result<bool> {
    let mut evidence = Evidence::of(&accounts.buffer)?;
    let (mut chunk_place, mut place) = (Place { index: 0, count: 0 }, Place { index: 0, count: 0 });
    evidence.place(&mut chunk_place)?;
    let chunk = evidence.bytes()?;
    let siblings = evidence.siblings()?;
    Leaf { root: accounts.data_root(), place: chunk_place, data: chunk, siblings }.check()?;
    evidence.place(&mut place)?;
    let record = evidence.array::<RECORD_BYTES>()?;
    Leaf { root: accounts.results_root(), place, data: record, siblings: evidence.siblings()? }.check()?;
    require!(place.count <= MAX_BATCH_RECORDS && chunk_place.index <= MAX_BATCH_RECORDS, DisputeError::BadEvidence);

    let bytes = data_bytes(place.count);
    let chunk_start = chunk_place.index << 10;
    if chunk.len() as u64 != bytes.saturating_sub(chunk_start).min(CHUNK_BYTES) {
        return Ok(true);
    }
    let start = place.index.wrapping_mul(RECORD_BYTES as u64);
    let from = start.max(chunk_start);
    let to = (start + RECORD_BYTES as u64).min(chunk_start + chunk.len() as u64);
    if from >= to {
        return Ok(false);
    }
    let in_chunk = &chunk[(from - chunk_start) as usize..(to - chunk_start) as usize];
    Ok(*in_chunk != record[(from - start) as usize..(to - start) as usize])
}
