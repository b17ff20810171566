//! Verifying who signed: the bitmap against the set, how many it takes, the sum of the signers' keys, and the pairing. A checkpoint
//! takes a quorum; evidence and late signatures take anybody. Cheap refusals come first. Nothing that the caller says about keys or
//! stakes is used, only the sealed set.

use crate::{
    bls::{self, BlsError, HintError, HINT_BYTES},
    constants::BITMAP_BYTES,
    error::{SettlementError, SlashError},
    math::{add, is_quorum, sub},
    state::{SetEntry, ValidatorSet},
};
use anchor_lang::prelude::*;

/// Who signed: their number and stake.
pub struct Signers {
    pub count: u64,
    pub stake_lamports: u64,
}

/// How many signers it takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// Two thirds of the set's stake, or ShortQuorum.
    Quorum,
    /// One member, or NobodySigned.
    One,
}

/// A sealed set, read in place.
pub struct SealedSet<'a> {
    pub header: &'a ValidatorSet,
    pub entries: &'a [SetEntry],
}

/// Message, bitmap and aggregate signature, with the hints that hashing the message to G2 takes, and how many signers it must have.
pub struct Certificate<'a> {
    pub least: Least,
    pub message: &'a [u8; 32],
    pub bitmap: &'a [u8; BITMAP_BYTES],
    pub signature: &'a [u8; 96],
    pub hints: &'a [u8; HINT_BYTES],
}

/// A bitmap as words, the lowest bit first.
type Words = [u64; BITMAP_BYTES / 8];

fn words_of(bitmap: &[u8; BITMAP_BYTES]) -> Words {
    core::array::from_fn(|word| {
        let mut bytes = [0u8; 8];
        bytes.copy_from_slice(&bitmap[8 * word..8 * word + 8]);
        u64::from_le_bytes(bytes)
    })
}

/// The bits that a set of `count` has in word `word`.
fn bits_of_set(count: usize, word: usize) -> u64 {
    match count.saturating_sub(64 * word) {
        rest @ 0..=63 => (1 << rest) - 1,
        _ => u64::MAX,
    }
}

/// Counts the signers and their stake, and calls `each` for every absent member, or, when fewer are present than absent, for every
/// present one; `each` is told which. What all members have together is sealed, so a full bitmap costs nothing per member.
/// BitBeyondSet.
#[inline(always)]
fn visit_fewer(
    set: &SealedSet,
    bitmap: &[u8; BITMAP_BYTES],
    signers: &mut Signers,
    mut each: impl FnMut(&SetEntry, bool) -> Result<()>,
) -> Result<()> {
    let words = words_of(bitmap);
    let mut count = 0u64;
    for (word, bits) in words.iter().enumerate() {
        require!(bits & !bits_of_set(set.entries.len(), word) == 0, SettlementError::BitBeyondSet);
        count += u64::from(bits.count_ones());
    }
    let are_absent = count >= sub(set.header.count, count)?;
    let mut stake_lamports = 0u64;
    for (word, bits) in words.iter().enumerate() {
        let mut rest = if are_absent { bits ^ bits_of_set(set.entries.len(), word) } else { *bits };
        while rest != 0 {
            let entry = &set.entries[64 * word + rest.trailing_zeros() as usize];
            stake_lamports = add(stake_lamports, entry.stake_lamports)?;
            each(entry, are_absent)?;
            rest &= rest - 1;
        }
    }
    if are_absent {
        stake_lamports = sub(set.header.total_stake_lamports, stake_lamports)?;
    }
    signers.count = count;
    signers.stake_lamports = stake_lamports;
    Ok(())
}

/// ShortQuorum or NobodySigned.
fn check_least(set: &SealedSet, signers: &Signers, least: Least) -> Result<()> {
    match least {
        Least::Quorum => {
            let is_enough = is_quorum(signers.stake_lamports, set.header.total_stake_lamports)?;
            require!(is_enough, SettlementError::ShortQuorum);
        }
        Least::One => {
            require!(signers.count > 0, SlashError::NobodySigned);
        }
    }
    Ok(())
}

/// Counts the signers, whoever they are, and their stake; BitBeyondSet.
#[inline(never)]
pub fn weigh_signers(set: &SealedSet, bitmap: &[u8; BITMAP_BYTES], signers: &mut Signers) -> Result<()> {
    visit_fewer(set, bitmap, signers, |_, _| Ok(()))
}

/// Counts the signers; BitBeyondSet or ShortQuorum.
pub fn count_signers(set: &SealedSet, bitmap: &[u8; BITMAP_BYTES], signers: &mut Signers) -> Result<()> {
    weigh_signers(set, bitmap, signers)?;
    check_least(set, signers, Least::Quorum)
}

/// Counts the signers and adds up their keys: the whole set's sum less the absent, or the sum of those present.
#[inline(never)]
fn sum_of_keys(set: &SealedSet, certificate: &Certificate, signers: &mut Signers, sum: &mut [u8; 96]) -> Result<()> {
    let mut present = bls::G1_INFINITY;
    *sum = set.header.aggregate_key;
    visit_fewer(set, certificate.bitmap, signers, |entry, is_absent| {
        let result = if is_absent {
            bls::g1_sub(sum, &entry.bls_public_key)
        } else {
            bls::g1_add(&mut present, &entry.bls_public_key)
        };
        result.map_err(|_| SettlementError::BrokenInvariant.into())
    })?;
    check_least(set, signers, certificate.least)?;
    if signers.count < set.header.count - signers.count {
        *sum = present;
    }
    require!(!bls::is_infinity_g1(sum), SettlementError::AggregateKeyAtInfinity);
    Ok(())
}

/// Verifies a certificate, of a quorum or of a single member, against a sealed set.
#[inline(never)]
pub fn verify(set: &SealedSet, certificate: &Certificate, signers: &mut Signers) -> Result<()> {
    let mut key = [0u8; 96];
    bls::mark("certificate: keys");
    sum_of_keys(set, certificate, signers, &mut key)?;
    bls::mark("certificate: keys done");
    bls::verify(&key, certificate.message, certificate.signature, certificate.hints)
        .map_err(|error| refusal(error).into())
}

/// The program's error for a refusal of the BLS module.
pub fn refusal(error: BlsError) -> SettlementError {
    match error {
        BlsError::Hint(hint) => match hint {
            HintError::NotCanonical => SettlementError::NonCanonicalHint,
            HintError::WrongSign => SettlementError::WrongHintSign,
            HintError::WrongCandidate => SettlementError::WrongHintCandidate,
            HintError::WrongInverse => SettlementError::WrongHintInverse,
            HintError::WrongRoot => SettlementError::WrongHintRoot,
            HintError::WrongMultiple => SettlementError::WrongHintMultiple,
            HintError::Infinity => SettlementError::UnusableMessage,
        },
        BlsError::KeyIsInfinity => SettlementError::BlsKeyAtInfinity,
        BlsError::InvalidKey => SettlementError::BadBlsKey,
        BlsError::SignatureIsInfinity => SettlementError::SignatureAtInfinity,
        BlsError::InvalidSignature => SettlementError::BadSignature,
        BlsError::WrongSignature => SettlementError::PairingNotOne,
    }
}
