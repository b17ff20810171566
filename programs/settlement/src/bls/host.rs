//! What stands in for the syscalls off chain, so that `cargo test` can run the whole hash natively: SHA-256 and additions
//! on E2 over our own field. There is no G1 and no pairing here; those return the syscalls' failure.

use super::fp::{self, Fp};
use super::fp2::{self, Fp2};
use sha2::{Digest, Sha256};

const FAILED: u64 = 1;
const G2: u64 = 6 | 0x80;

/// # Safety
/// `length` bytes at each end, which do not overlap.
pub unsafe fn sol_memcpy_(to: *mut u8, from: *const u8, length: u64) {
    core::ptr::copy_nonoverlapping(from, to, length as usize);
}

/// # Safety
/// `parts` points to `count` slices, `out` to 32 bytes.
pub unsafe fn sol_sha256(parts: *const u8, count: u64, out: *mut u8) -> u64 {
    let parts = core::slice::from_raw_parts(parts as *const &[u8], count as usize);
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    (out as *mut [u8; 32]).write(hasher.finalize().into());
    0
}

/// # Safety
/// Operands and result have 192 bytes.
pub unsafe fn sol_curve_group_op(curve: u64, op: u64, left: *const u8, right: *const u8, out: *mut u8) -> u64 {
    if curve != G2 || op > 1 {
        return FAILED;
    }
    let (Some(left), Some(mut right)) = (Point::read(left), Point::read(right)) else {
        return FAILED;
    };
    if op == 1 {
        right.y = negate(&right.y);
    }
    left.add(&right).write(out);
    0
}

/// # Safety
/// None needed: it touches nothing.
pub unsafe fn sol_curve_decompress(_curve: u64, _point: *const u8, _out: *mut u8) -> u64 {
    FAILED
}

/// # Safety
/// None needed: it touches nothing.
pub unsafe fn sol_curve_pairing_map(_curve: u64, _pairs: u64, _g1: *const u8, _g2: *const u8, _out: *mut u8) -> u64 {
    FAILED
}

/// An affine point of E2 in Montgomery form.
#[derive(Clone, Copy)]
struct Point {
    x: Fp2,
    y: Fp2,
    infinity: bool,
}

impl Point {
    unsafe fn read(bytes: *const u8) -> Option<Point> {
        let bytes = &*(bytes as *const [u8; 192]);
        let mut infinity = [0u8; 192];
        infinity[0] = 0x40;
        if *bytes == infinity {
            return Some(Point { x: fp2::ZERO, y: fp2::ZERO, infinity: true });
        }
        let coordinate =
            |at: usize| Some(Fp2 { c1: read_fp(&bytes[at..at + 48])?, c0: read_fp(&bytes[at + 48..at + 96])? });
        let point = Point { x: coordinate(0)?, y: coordinate(96)?, infinity: false };
        let mut right = multiply(&multiply(&point.x, &point.x), &point.x);
        fp::combine_into(&mut right.c0, 1, &fp::ONE, 4);
        fp::combine_into(&mut right.c1, 1, &fp::ONE, 4);
        equal(&multiply(&point.y, &point.y), &right).then_some(point)
    }

    fn add(&self, other: &Point) -> Point {
        if self.infinity {
            return *other;
        }
        if other.infinity {
            return *self;
        }
        let slope = if equal(&self.x, &other.x) {
            if !equal(&self.y, &other.y) {
                return Point { x: fp2::ZERO, y: fp2::ZERO, infinity: true };
            }
            let square = multiply(&self.x, &self.x);
            multiply(&combine(&square, 3, &square, 0), &inverse(&combine(&self.y, 2, &self.y, 0)))
        } else {
            multiply(&combine(&other.y, 1, &self.y, -1), &inverse(&combine(&other.x, 1, &self.x, -1)))
        };
        let x = combine(&combine(&multiply(&slope, &slope), 1, &self.x, -1), 1, &other.x, -1);
        let y = combine(&multiply(&slope, &combine(&self.x, 1, &x, -1)), 1, &self.y, -1);
        Point { x, y, infinity: false }
    }

    unsafe fn write(&self, out: *mut u8) {
        let out = &mut *(out as *mut [u8; 192]);
        out.fill(0);
        if self.infinity {
            out[0] = 0x40;
            return;
        }
        for (at, number) in [&self.x.c1, &self.x.c0, &self.y.c1, &self.y.c0].into_iter().enumerate() {
            for (index, word) in words(number).iter().enumerate() {
                let end = 48 * at + 48 - 8 * index;
                out[end - 8..end].copy_from_slice(&word.to_be_bytes());
            }
        }
    }
}

fn read_fp(bytes: &[u8]) -> Option<Fp> {
    let mut words = [0u64; 6];
    for (index, chunk) in bytes.chunks_exact(8).enumerate() {
        words[5 - index] = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    if !fp::is_canonical(&words) {
        return None;
    }
    let (mut plain, mut out) = (fp::ZERO, fp::ZERO);
    fp::from_words(&words, &mut plain);
    fp::multiply(&mut out, &plain, &fp::R2);
    Some(out)
}

/// The canonical value of a number in Montgomery form.
pub fn words(a: &Fp) -> fp::Words {
    let (mut plain, mut out) = (fp::ZERO, [0; 6]);
    fp::divide_by_r(&mut plain, a);
    fp::to_words(&plain, &mut out);
    out
}

fn equal(a: &Fp2, b: &Fp2) -> bool {
    words(&a.c0) == words(&b.c0) && words(&a.c1) == words(&b.c1)
}

fn multiply(a: &Fp2, b: &Fp2) -> Fp2 {
    let mut out = fp2::ZERO;
    fp2::multiply(&mut out, a, b);
    out
}

fn combine(a: &Fp2, ka: i64, b: &Fp2, kb: i64) -> Fp2 {
    let mut out = fp2::ZERO;
    fp2::combine(&mut out, a, ka, b, kb);
    out
}

fn negate(a: &Fp2) -> Fp2 {
    combine(a, -1, a, 0)
}

/// 1/a in Montgomery form, by Fermat's little theorem.
pub fn invert(a: &Fp) -> Fp {
    let mut power = Fp(fp::ONE.0);
    for bit in (0..384).rev() {
        let mut squared = fp::ZERO;
        fp::multiply(&mut squared, &power, &power);
        power = squared;
        let word = if bit < 64 { fp::P_WORDS[0] - 2 } else { fp::P_WORDS[bit / 64] };
        if word >> (bit % 64) & 1 == 1 {
            fp::multiply(&mut squared, &power, a);
            power = squared;
        }
    }
    power
}

/// conj(a) / norm(a).
fn inverse(a: &Fp2) -> Fp2 {
    let mut norm = fp::ZERO;
    fp2::norm(&mut norm, a);
    let power = invert(&norm);
    let mut out = fp2::ZERO;
    fp::multiply(&mut out.c0, &a.c0, &power);
    fp::multiply(&mut out.c1, &a.c1, &power);
    fp::combine_into(&mut out.c1, -1, &fp::ONE, 0);
    out
}
