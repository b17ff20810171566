//! Solana's syscalls for SHA-256 and BLS12-381 (SIMD-0388), all in big-endian order. Off chain, [`super::host`] stands in.

use super::g2::{G2Point, NotOnCurve};

#[cfg(target_os = "solana")]
mod on_chain {
    extern "C" {
        pub fn sol_memcpy_(to: *mut u8, from: *const u8, length: u64);
        pub fn sol_sha256(parts: *const u8, count: u64, out: *mut u8) -> u64;
        pub fn sol_curve_group_op(curve: u64, op: u64, left: *const u8, right: *const u8, out: *mut u8) -> u64;
        pub fn sol_curve_decompress(curve: u64, point: *const u8, out: *mut u8) -> u64;
        pub fn sol_curve_pairing_map(curve: u64, pairs: u64, g1: *const u8, g2: *const u8, out: *mut u8) -> u64;
        #[cfg(feature = "cu-log")]
        pub fn sol_log_(text: *const u8, length: u64);
        #[cfg(feature = "cu-log")]
        pub fn sol_log_compute_units_();
    }
}

#[cfg(not(target_os = "solana"))]
use super::host as on_chain;

const BIG_ENDIAN: u64 = 0x80;
const PAIRING: u64 = 4 | BIG_ENDIAN;
const G1: u64 = 5 | BIG_ENDIAN;
const G2: u64 = 6 | BIG_ENDIAN;
const ADD: u64 = 0;
const SUBTRACT: u64 = 1;

/// Copies bytes. Where alignment is unknown the compiler would do it byte by byte, each two instructions.
///
/// # Safety
/// `length` bytes at each end, which do not overlap.
#[inline(always)]
pub unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    on_chain::sol_memcpy_(to, from, length as u64);
}

/// SHA-256 of the parts, one after another.
#[inline(always)]
pub fn sha256(parts: &[&[u8]], out: &mut [u8; 32]) {
    // SAFETY: a slice of slices is the array of addresses and lengths that the syscall reads.
    unsafe { on_chain::sol_sha256(parts.as_ptr() as *const u8, parts.len() as u64, out.as_mut_ptr()) };
}

/// The syscalls read their operands before they write, so `out` may be one of them.
#[inline(always)]
fn g2_op(op: u64, left_and_out: &mut G2Point, right: *const u8) -> Result<(), NotOnCurve> {
    let out = left_and_out.0.as_mut_ptr() as *mut u8;
    // SAFETY: 192 bytes each. The syscall checks that both points are on the curve, not that they are in the subgroup.
    match unsafe { on_chain::sol_curve_group_op(G2, op, out, right, out) } {
        0 => Ok(()),
        _ => Err(NotOnCurve),
    }
}

#[inline(always)]
pub fn g2_double(point: &mut G2Point) -> Result<(), NotOnCurve> {
    let right = point.0.as_ptr() as *const u8;
    g2_op(ADD, point, right)
}

#[inline(always)]
pub fn g2_add(sum: &mut G2Point, point: &G2Point) -> Result<(), NotOnCurve> {
    g2_op(ADD, sum, point.0.as_ptr() as *const u8)
}

#[inline(always)]
pub fn g2_subtract(difference: &mut G2Point, point: &G2Point) -> Result<(), NotOnCurve> {
    g2_op(SUBTRACT, difference, point.0.as_ptr() as *const u8)
}

#[inline(always)]
fn g1_op(op: u64, left_and_out: &mut [u8; 96], right: &[u8; 96]) -> bool {
    let out = left_and_out.as_mut_ptr();
    // SAFETY: 96 bytes each.
    unsafe { on_chain::sol_curve_group_op(G1, op, out, right.as_ptr(), out) == 0 }
}

/// sum += point; false if one of them is not on the curve.
#[inline(always)]
pub fn g1_add(sum: &mut [u8; 96], point: &[u8; 96]) -> bool {
    g1_op(ADD, sum, point)
}

/// difference -= point; false if one of them is not on the curve.
#[inline(always)]
pub fn g1_subtract(difference: &mut [u8; 96], point: &[u8; 96]) -> bool {
    g1_op(SUBTRACT, difference, point)
}

/// False unless `point` is canonical, on the curve and in the subgroup.
#[inline(always)]
pub fn g1_decompress(point: &[u8; 48], out: &mut [u8; 96]) -> bool {
    // SAFETY: 48 bytes in, 96 out.
    unsafe { on_chain::sol_curve_decompress(G1, point.as_ptr(), out.as_mut_ptr()) == 0 }
}

/// False unless `point` is canonical, on the curve and in the subgroup.
#[inline(always)]
pub fn g2_decompress(point: &[u8; 96], out: &mut [u8; 192]) -> bool {
    // SAFETY: 96 bytes in, 192 out.
    unsafe { on_chain::sol_curve_decompress(G2, point.as_ptr(), out.as_mut_ptr()) == 0 }
}

/// e(g1[0], g2[0])·e(g1[1], g2[1]) as 576 bytes; false unless all points are in their subgroups.
#[inline(always)]
pub fn pairing_product(g1: &[[u8; 96]; 2], g2: &[[u8; 192]; 2], out: &mut [u64; 72]) -> bool {
    let out = out.as_mut_ptr() as *mut u8;
    // SAFETY: two points of each group in, 576 bytes out.
    unsafe { on_chain::sol_curve_pairing_map(PAIRING, 2, g1.as_ptr() as *const u8, g2.as_ptr() as *const u8, out) == 0 }
}

/// With the feature `cu-log`, logs the phase that begins and the compute units that remain; otherwise nothing.
#[inline(always)]
pub fn mark(phase: &str) {
    #[cfg(all(target_os = "solana", feature = "cu-log"))]
    // SAFETY: a string's own bytes.
    unsafe {
        on_chain::sol_log_(phase.as_ptr(), phase.len() as u64);
        on_chain::sol_log_compute_units_();
    }
    #[cfg(not(all(target_os = "solana", feature = "cu-log")))]
    let _ = phase;
}
