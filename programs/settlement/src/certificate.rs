//! Verifying a certificate: the bitmap against the set, the quorum, the sum of the signers' keys, and the pairing.
//! Cheap refusals come first. Nothing that the caller says about keys or stakes is used, only the sealed set.

use crate::{
    bls::{self, BlsError, HintError, HINT_BYTES},
    constants::{BITMAP_BYTES, MAX_VALIDATORS},
    error::SettlementError,
    math::{add, is_quorum},
    state::{SetEntry, ValidatorSet},
};
use anchor_lang::prelude::*;

/// Who signed: their number and stake.
pub struct Signers {
    pub count: u64,
    pub stake_lamports: u64,
}

/// A sealed set, read in place.
pub struct SealedSet<'a> {
    pub header: &'a ValidatorSet,
    pub entries: &'a [SetEntry],
}

/// Message, bitmap and aggregate signature, with the hints that hashing the message to G2 takes.
pub struct Certificate<'a> {
    pub message: &'a [u8; 32],
    pub bitmap: &'a [u8; BITMAP_BYTES],
    pub signature: &'a [u8; 96],
    pub hints: &'a [u8; HINT_BYTES],
}

#[inline(always)]
pub fn has_bit(bitmap: &[u8; BITMAP_BYTES], index: usize) -> bool {
    (bitmap[index / 8] >> (index % 8)) & 1 == 1
}

/// Counts the signers; BitBeyondSet or ShortQuorum.
#[inline(never)]
pub fn count_signers(set: &SealedSet, bitmap: &[u8; BITMAP_BYTES], signers: &mut Signers) -> Result<()> {
    for index in set.entries.len()..MAX_VALIDATORS {
        require!(!has_bit(bitmap, index), SettlementError::BitBeyondSet);
    }
    let mut count = 0u64;
    let mut stake_lamports = 0u64;
    for (index, entry) in set.entries.iter().enumerate() {
        if has_bit(bitmap, index) {
            count += 1;
            stake_lamports = add(stake_lamports, entry.stake_lamports.get())?;
        }
    }
    require!(is_quorum(stake_lamports, set.header.total_stake_lamports)?, SettlementError::ShortQuorum);
    signers.count = count;
    signers.stake_lamports = stake_lamports;
    Ok(())
}

/// The sum of the signers' keys: from the whole set's sum by subtracting the absent, or, when fewer are present than absent, by adding
/// those.
#[inline(never)]
pub fn sum_of_keys(set: &SealedSet, bitmap: &[u8; BITMAP_BYTES], count: u64, sum: &mut [u8; 96]) -> Result<()> {
    let subtract = count >= set.header.count - count;
    *sum = if subtract { set.header.aggregate_key } else { bls::G1_INFINITY };
    for (index, entry) in set.entries.iter().enumerate() {
        let signed = has_bit(bitmap, index);
        if signed == subtract {
            continue;
        }
        let result = if subtract {
            bls::g1_sub(sum, &entry.bls_public_key)
        } else {
            bls::g1_add(sum, &entry.bls_public_key)
        };
        result.map_err(|_| SettlementError::BrokenInvariant)?;
    }
    require!(!bls::is_infinity_g1(sum), SettlementError::AggregateKeyAtInfinity);
    Ok(())
}

/// Verifies the whole certificate against a sealed set.
#[inline(never)]
pub fn verify(set: &SealedSet, certificate: &Certificate, signers: &mut Signers) -> Result<()> {
    count_signers(set, certificate.bitmap, signers)?;
    let mut key = [0u8; 96];
    bls::mark("certificate: keys");
    sum_of_keys(set, certificate.bitmap, signers.count, &mut key)?;
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
            HintError::Infinity => SettlementError::UnusableMessage,
        },
        BlsError::KeyIsInfinity => SettlementError::BlsKeyAtInfinity,
        BlsError::InvalidKey => SettlementError::BadBlsKey,
        BlsError::SignatureIsInfinity => SettlementError::SignatureAtInfinity,
        BlsError::InvalidSignature => SettlementError::BadSignature,
        BlsError::WrongSignature => SettlementError::PairingNotOne,
    }
}
