//! Answers to demands: what was demanded, with its proof. Evidence comes in a buffer. The bond goes to whoever answers, the rent back to the
//! demander.

use super::{demand::check_demand, prove_roots::{data_bytes, Count, CHUNK_BYTES}};
use crate::{
    constants::*,
    error::DisputeError,
    events::DemandAnswered,
    evidence::Evidence,
    hash::{self, sha256_parts, Hash},
    ledger::{Record, RECORD_BYTES},
    math::sub,
    merkle::{check_count, Leaf, Place, Root},
    rejection::check_parent,
    signature::check_ed25519,
    state::{
        demand::{DEMAND_CHUNK, DEMAND_RECORD, DEMAND_TRACE_ENTRY},
        Checkpoint, Config, Demand, ProofBuffer,
    },
    storage::move_lamports,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*};

const AUTHORISATION_BYTES: usize = 104;

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct AnswerDemand {
    /// It may be the demander.
    #[account(mut, unsafe(dup))]
    pub answerer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// The checkpoint that it extends; none when it extends none.
    pub parent: Option<Account<Checkpoint>>,
    #[account(mut)]
    pub demand: Account<Demand>,
    /// Who opened the demand: gets the rent back.
    #[account(mut, unsafe(dup))]
    pub demander: UncheckedAccount,
    /// What is shown, and its proof.
    pub buffer: Option<Account<ProofBuffer>>,
    /// The instructions sysvar: a record that somebody had to sign is shown with the ed25519 program's instruction before this one.
    pub instructions: Option<UncheckedAccount>,
}

impl AnswerDemand {
    #[inline(never)]
    fn check(&self) -> Result<()> {
        self.config.check_live(&self.checkpoint)?;
        check_demand(&self.checkpoint, &self.demand, self.demander.address())?;
        check_parent(&self.checkpoint, self.parent.as_deref())?;
        require!(Clock::get()?.slot <= self.demand.answer_until_slot, DisputeError::AnswerTooLate);
        Ok(())
    }

    /// The root that the demand looks under.
    fn root(&self) -> Root<'_> {
        match self.demand.kind {
            DEMAND_CHUNK => self.data_root(),
            DEMAND_RECORD => self.results_root(),
            _ => Root { tag: &hash::TRACE_ROOT, hash: &self.checkpoint.trace_root },
        }
    }

    fn data_root(&self) -> Root<'_> {
        Root { tag: &hash::DATA_ROOT, hash: &self.checkpoint.data_root }
    }

    fn results_root(&self) -> Root<'_> {
        Root { tag: &hash::RESULTS_ROOT, hash: &self.checkpoint.results_root }
    }

    #[inline(never)]
    fn settle(&mut self) -> Result<()> {
        let (kind, index, bond_lamports) = (self.demand.kind, self.demand.index, self.demand.bond_lamports);
        self.checkpoint.open_demands = sub(self.checkpoint.open_demands, 1)?;
        self.checkpoint.invariant()?;
        move_lamports(self.demand.account(), self.answerer.account(), bond_lamports)?;
        self.demand.close(*self.demander.account())?;
        let epoch = self.checkpoint.epoch;
        emit!(DemandAnswered { epoch, kind, index, answerer: *self.answerer.address(), bond_lamports });
        Ok(())
    }
}

/// A chunk or a trace entry is there, a record with its authorisation is there and signed by who had to.
///
/// Evidence: count, the leaf (u32 length), its siblings. For a record then: the count of chunks; the number of chunks that its
/// authorisation lies in (one byte, 1 or 2); for each of them the chunk (u32 length) and its siblings.
#[inline(never)]
pub fn shown(ctx: &mut Context<AnswerDemand>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    check_shown(accounts)?;
    accounts.settle()
}

#[inline(never)]
fn check_shown(accounts: &AnswerDemand) -> Result<()> {
    let mut evidence = Evidence::of(&accounts.buffer)?;
    let place = Place { index: accounts.demand.index, count: evidence.u64()? };
    let data = evidence.bytes()?;
    let leaf = Leaf { root: accounts.root(), place, data, siblings: evidence.siblings()? };
    leaf.check()?;
    match accounts.demand.kind {
        DEMAND_RECORD => check_record(accounts, &leaf, &mut evidence),
        DEMAND_TRACE_ENTRY => {
            // No proof reads an entry of another length: what it hides would stay hidden.
            require!(data.len() == 32, DisputeError::BadEvidence);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// There is no such index: the root binds a smaller count.
#[inline(never)]
pub fn absent(ctx: &mut Context<AnswerDemand>, count: &Count) -> Result<()> {
    let accounts = &mut ctx.accounts;
    accounts.check()?;
    let root = accounts.root();
    check_count(root.tag, root.hash, count.count, count.tree)?;
    require!(accounts.demand.index >= count.count, DisputeError::IndexExists);
    accounts.settle()
}

/// A malformed record needs no authorisation: it is shown, so it can be proved malformed.
#[inline(never)]
fn check_record(accounts: &AnswerDemand, leaf: &Leaf, evidence: &mut Evidence) -> Result<()> {
    require!(leaf.data.len() == RECORD_BYTES, DisputeError::BadEvidence);
    // SAFETY: the leaf has RECORD_BYTES bytes, and bytes have no alignment.
    let bytes = unsafe { &*(leaf.data.as_ptr() as *const [u8; RECORD_BYTES]) };
    let Ok(record) = Record::decode(bytes) else { return Ok(()) };
    let mut authorisation = [0u8; AUTHORISATION_BYTES];
    read_authorisation(accounts, &leaf.place, evidence, &mut authorisation)?;
    if !record.is_signed() {
        require!(authorisation == [0; AUTHORISATION_BYTES], DisputeError::AuthorisationNotEmpty);
        return Ok(());
    }
    check_authorisation(accounts, &record, bytes, &authorisation)
}

/// Reads the record's 104 bytes from the chunk, or the two chunks, that hold them.
#[inline(never)]
fn read_authorisation(
    accounts: &AnswerDemand,
    place: &Place,
    evidence: &mut Evidence,
    out: &mut [u8; AUTHORISATION_BYTES],
) -> Result<()> {
    require!(place.count < u64::from(u32::MAX), DisputeError::BadEvidence);
    let start = place.count.wrapping_mul(RECORD_BYTES as u64) + place.index.wrapping_mul(AUTHORISATION_BYTES as u64);
    let chunk_count = evidence.u64()?;
    let last = (start + AUTHORISATION_BYTES as u64 - 1) >> 10;
    let mut filled = 0usize;
    for index in start >> 10..=last {
        let chunk = evidence.bytes()?;
        let (root, place_of_chunk) = (accounts.data_root(), Place { index, count: chunk_count });
        Leaf { root, place: place_of_chunk, data: chunk, siblings: evidence.siblings()? }.check()?;
        let chunk_end = data_bytes(place.count).saturating_sub(index << 10).min(CHUNK_BYTES) as usize;
        require!(chunk.len() == chunk_end, DisputeError::BadEvidence);
        let from = (start + filled as u64 - (index << 10)) as usize;
        let length = (AUTHORISATION_BYTES - filled).min(chunk_end - from);
        out[filled..filled + length].copy_from_slice(&chunk[from..from + length]);
        filled += length;
    }
    require!(filled == AUTHORISATION_BYTES, DisputeError::BadEvidence);
    Ok(())
}

fn part<const N: usize>(authorisation: &[u8; AUTHORISATION_BYTES], at: usize) -> Result<&[u8; N]> {
    authorisation[at..].first_chunk().ok_or_else(|| DisputeError::BadEvidence.into())
}

/// As settlement/ledger/authorisation.py: the key is the node's, it has not expired at the parent's cut slot, it signed this record.
#[inline(never)]
fn check_authorisation(
    accounts: &AnswerDemand,
    record: &Record,
    bytes: &[u8; RECORD_BYTES],
    authorisation: &[u8; AUTHORISATION_BYTES],
) -> Result<()> {
    let (public_key, expiry_bytes, signature): (&[u8; 32], &[u8; 8], &[u8; 64]) =
        (part(authorisation, 0)?, part(authorisation, 32)?, part(authorisation, 40)?);
    let mut node = [0u8; 32];
    sha256_parts(&[public_key], &mut node);
    require!(node[..20] == *record.node(), DisputeError::WrongSigner);
    let base_slot = accounts.parent.as_ref().map_or(0, |parent| parent.cut_slot);
    require!(u64::from_le_bytes(*expiry_bytes) >= base_slot, DisputeError::AuthorisationExpired);
    let mut digest = [0u8; 32];
    signed_digest(&accounts.config, expiry_bytes, bytes, &mut digest);
    let instructions = accounts.instructions.as_ref().ok_or(DisputeError::NoEd25519Instruction)?;
    check_ed25519(instructions.account(), public_key, signature, &digest)
}

/// H("authorisation", genesis, program, expiry_slot, the record with time and CRC zeroed).
#[inline(never)]
fn signed_digest(config: &Config, expiry: &[u8; 8], record: &[u8; RECORD_BYTES], out: &mut Hash) {
    let (domain, zeros) = (config.domain(), [0u8; 4]);
    let parts: [&[u8]; 8] = [
        &hash::AUTHORISATION,
        domain.genesis,
        domain.program,
        expiry,
        &record[..2],
        &zeros,
        &record[6..156],
        &zeros,
    ];
    sha256_parts(&parts, out);
}
