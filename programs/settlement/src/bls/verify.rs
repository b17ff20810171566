//! Signature verification and the arithmetic of keys.

use super::{hash_to_g2, mark, syscall, HintError, HINT_BYTES};

/// Why a signature or a point was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlsError {
    /// The hints for hashing the message are wrong.
    Hint(HintError),
    /// The public key is the point at infinity.
    KeyIsInfinity,
    /// The public key is not canonical, not on the curve or not in the subgroup.
    InvalidKey,
    /// The signature is the point at infinity.
    SignatureIsInfinity,
    /// The signature is not canonical, not on the curve or not in the subgroup.
    InvalidSignature,
    /// All points are valid, but this key did not sign this message with this signature.
    WrongSignature,
}

const COMPRESSED: u8 = 0x80;
const INFINITY: u8 = 0x40;
const FLAGS: u8 = 0xe0;

/// The identity of G1, uncompressed: what sums start from.
pub const G1_INFINITY: [u8; 96] = {
    let mut bytes = [0u8; 96];
    bytes[0] = INFINITY;
    bytes
};

/// The negated generator of G1, uncompressed.
static NEGATED_GENERATOR: [u8; 96] = [
    0x17, 0xf1, 0xd3, 0xa7, 0x31, 0x97, 0xd7, 0x94, 0x26, 0x95, 0x63, 0x8c, 0x4f, 0xa9, 0xac, 0x0f, 0xc3, 0x68, 0x8c,
    0x4f, 0x97, 0x74, 0xb9, 0x05, 0xa1, 0x4e, 0x3a, 0x3f, 0x17, 0x1b, 0xac, 0x58, 0x6c, 0x55, 0xe8, 0x3f, 0xf9, 0x7a,
    0x1a, 0xef, 0xfb, 0x3a, 0xf0, 0x0a, 0xdb, 0x22, 0xc6, 0xbb, 0x11, 0x4d, 0x1d, 0x68, 0x55, 0xd5, 0x45, 0xa8, 0xaa,
    0x7d, 0x76, 0xc8, 0xcf, 0x2e, 0x21, 0xf2, 0x67, 0x81, 0x6a, 0xef, 0x1d, 0xb5, 0x07, 0xc9, 0x66, 0x55, 0xb9, 0xd5,
    0xca, 0xac, 0x42, 0x36, 0x4e, 0x6f, 0x38, 0xba, 0x0e, 0xcb, 0x75, 0x1b, 0xad, 0x54, 0xdc, 0xd6, 0xb9, 0x39, 0xc2,
    0xca,
];

/// One as the pairing syscall writes it, big-endian: 575 zero bytes, then a one.
static ONE: [u64; 72] = {
    let mut words = [0; 72];
    words[71] = 1u64.to_be();
    words
};

/// Checks e(public_key, H(message)) = e(g1, signature) with one call of the pairing syscall over two pairs.
///
/// `public_key` is 96 bytes uncompressed, `signature` 96 bytes compressed, both big-endian; `hints` as for
/// [`hash_to_g2`]. Infinity is refused as key and as signature, and so is a signature outside the subgroup. The key's subgroup was checked
/// when it was registered ([`decompress_g1`]); should it be wrong all the same, the refusal names the hints.
#[inline(never)]
pub fn verify(
    public_key: &[u8; 96],
    message: &[u8; 32],
    signature: &[u8; 96],
    hints: &[u8; HINT_BYTES],
) -> Result<(), BlsError> {
    if is_infinity_g1(public_key) {
        return Err(BlsError::KeyIsInfinity);
    }
    if public_key[0] & FLAGS != 0 {
        return Err(BlsError::InvalidKey);
    }
    if signature[0] & COMPRESSED == 0 {
        return Err(BlsError::InvalidSignature);
    }
    if signature[0] & INFINITY != 0 {
        return Err(BlsError::SignatureIsInfinity);
    }
    let mut g2 = [[0u8; 192]; 2];
    if !syscall::g2_decompress(signature, &mut g2[1]) {
        return Err(BlsError::InvalidSignature);
    }
    hash_to_g2(message, hints, &mut g2[0]).map_err(BlsError::Hint)?;
    mark("verify: pairing");
    pair(public_key, &g2)
}

#[inline(never)]
fn pair(public_key: &[u8; 96], g2: &[[u8; 192]; 2]) -> Result<(), BlsError> {
    let mut g1 = [[0u8; 96]; 2];
    // SAFETY: 96 bytes each.
    unsafe {
        syscall::copy(public_key.as_ptr(), g1[0].as_mut_ptr(), 96);
        syscall::copy(NEGATED_GENERATOR.as_ptr(), g1[1].as_mut_ptr(), 96);
    }
    let mut product = [0u64; 72];
    // Key and signature were checked to be in their subgroups; the hashed point is checked to be in G2 here and nowhere else.
    if !syscall::pairing_product(&g1, g2, &mut product) {
        return Err(BlsError::Hint(HintError::WrongMultiple));
    }
    mark("verify: done");
    if product[..] == ONE[..] {
        Ok(())
    } else {
        Err(BlsError::WrongSignature)
    }
}

/// Decompresses a public key. Refuses infinity, non-canonical bytes and points outside the subgroup.
#[inline(never)]
pub fn decompress_g1(compressed: &[u8; 48], out: &mut [u8; 96]) -> Result<(), BlsError> {
    if compressed[0] & COMPRESSED == 0 {
        return Err(BlsError::InvalidKey);
    }
    if compressed[0] & INFINITY != 0 {
        return Err(BlsError::KeyIsInfinity);
    }
    if syscall::g1_decompress(compressed, out) {
        Ok(())
    } else {
        Err(BlsError::InvalidKey)
    }
}

/// acc += point, both uncompressed; infinity is a valid operand and a possible result ([`is_infinity_g1`]).
///
/// Checks that both are on the curve, not that they are in the subgroup: keys are checked when they are registered.
#[inline(never)]
pub fn g1_add(acc: &mut [u8; 96], point: &[u8; 96]) -> Result<(), BlsError> {
    if syscall::g1_add(acc, point) {
        Ok(())
    } else {
        Err(BlsError::InvalidKey)
    }
}

/// acc -= point, as [`g1_add`].
#[inline(never)]
pub fn g1_sub(acc: &mut [u8; 96], point: &[u8; 96]) -> Result<(), BlsError> {
    if syscall::g1_subtract(acc, point) {
        Ok(())
    } else {
        Err(BlsError::InvalidKey)
    }
}

/// Whether an uncompressed point is marked as the point at infinity.
#[inline(always)]
pub fn is_infinity_g1(point: &[u8; 96]) -> bool {
    point[0] & INFINITY != 0
}
