//! BLS12-381 signatures on chain: keys in G1, signatures in G2, the suite of blspy's PopSchemeMPL
//! (`BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_`, draft-irtf-cfrg-bls-signature over RFC 9380).
//!
//! Solana offers additions, decompression and pairings (SIMD-0388) but no hashing to the curve, so messages are hashed here.
//! Square roots and inverses come from the caller as hints that are only checked; a hint can make a call fail, never make
//! it accept another point. Nothing in this module knows accounts or instructions.
#![allow(unexpected_cfgs)] // target_os = "solana" is no target that every compiler knows

mod expand;
mod fp;
mod fp2;
mod g2;
#[cfg(not(target_os = "solana"))]
mod host;
mod map;
mod syscall;
mod verify;

#[cfg(test)]
mod tests;

pub use syscall::{copy, mark};
pub use verify::{decompress_g1, g1_add, g1_sub, is_infinity_g1, verify, BlsError, G1_INFINITY};

/// Two square roots (96 bytes each, c1 first), two inverses (48 each) and a point of E2 (192, uncompressed), all big-endian;
/// `settlement/hash_to_curve.py` makes them.
pub const HINT_BYTES: usize = 480;

/// Domain separation tag of the suite.
pub const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// Why hints were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintError {
    /// A number is not below P.
    NotCanonical,
    /// A root has another sign (sgn0) than its field element: it is the negated one.
    WrongSign,
    /// Zero has no second candidate.
    WrongCandidate,
    /// An inverse is not that of its denominators.
    WrongInverse,
    /// A root is no root of the claimed candidate: root or flag is wrong.
    WrongRoot,
    /// The point is not the multiple that clears the cofactor: it is not on E2, or does not lead into G2.
    WrongMultiple,
    /// The message hashes to the point at infinity; no such message is known.
    Infinity,
}

/// Hashes a 32-byte digest to G2. `out` is uncompressed and big-endian: x.c1, x.c0, y.c1, y.c0.
///
/// `out` is the hash only if it lies in the subgroup G2; with a wrong `multiple` among the hints it does not ([`g2::clear_cofactor`]).
/// The caller must check that, as the pairing syscall does.
pub fn hash_to_g2(message: &[u8; 32], hints: &[u8; HINT_BYTES], out: &mut [u8; 192]) -> Result<(), HintError> {
    hash_with_tag(message, DST, hints, out)
}

/// The same for any message and a domain separation tag of at most 255 bytes.
#[inline(never)]
pub fn hash_with_tag(
    message: &[u8],
    dst: &[u8],
    hints: &[u8; HINT_BYTES],
    out: &mut [u8; 192],
) -> Result<(), HintError> {
    let mut elements = [expand::FieldElement::ZERO; 2];
    let mut images = [g2::G2Point::EMPTY; 2];
    let mut read = map::Hints::EMPTY;
    mark("hash_to_g2: read the hints");
    map::Hints::read(hints, &mut read)?;
    mark("hash_to_g2: expand");
    expand::hash_to_field(message, dst, &mut elements);
    for index in 0..2 {
        mark("hash_to_g2: map");
        map::map(&elements[index], &read, index, &mut images[index])?;
    }
    mark("hash_to_g2: clear the cofactor");
    let [sum, second] = &mut images;
    // The syscall refuses operands off the curve: this checks both roots.
    syscall::g2_add(sum, second).map_err(|_| HintError::WrongRoot)?;
    if sum.is_infinity() {
        return Err(HintError::Infinity);
    }
    g2::clear_cofactor(sum, &read.multiple, second).map_err(|_| HintError::WrongMultiple)?;
    // SAFETY: 192 bytes each.
    unsafe { syscall::copy(second.bytes().as_ptr(), out.as_mut_ptr(), 192) };
    Ok(())
}
