//! Simplified SWU for E2' and the 3-isogeny to E2 (RFC 9380, 6.6.2, 8.8.2 and E.3), checked rather than computed.
//!
//! With V = Zu², W = V² + V and c = -B/A the map's two candidates are x = c·(W + 1)/d, d = W for the first and V + 1 for the
//! second, and the isogeny divides by s = x + 6 - 6i = -(1 - i)·m/(60·d), m = 253(W + 1) - 360d. So everything needs 1/d and
//! d/m only, which one inverse of d·m gives, and that the inverse of its norm. Z is no square and E2' has odd order, so exactly one candidate has a square
//! g(x): a point on the curve over the claimed candidate proves the claim. The isogeny maps (x, y) to (X(x), y·Y(x)) with
//! Y(x) ≠ 0, since E2 has no point of order two; so the image is on E2 if and only if y² = g(x), and the group syscall's
//! own check of its operands is the check of the root.

use super::expand::FieldElement;
use super::fp::{self, Fp};
use super::fp2::{self, Fp2};
use super::g2::G2Point;
use super::{syscall, HintError, HINT_BYTES};
use core::mem::MaybeUninit;

/// Bit of a root's first byte: the root belongs to the second candidate.
const SECOND_CANDIDATE: u64 = 1 << 63;

/// 1/27 in Montgomery form.
static INVERSE_27: Fp = Fp([
    -436939847, 110517969, -219191118, 359780032, 527737063, -57581874, 27737604, 312443949, -282670441, 193249905,
    -301334705, -211847702, -59801,
]);
/// 1/540 as a plain number: a product with it leaves Montgomery form.
static INVERSE_540_PLAIN: Fp = Fp([
    190879466, -488996136, -378970902, 370558961, 192298376, -117057070, -131519993, -252300511, -151064811,
    -236713223, -252163502, 26332833, 621721,
]);
/// -Z/(1 + Z): the W whose first candidate is RFC 9380's exceptional x = B/(Z·A) for u = 0.
static W_AT_ZERO: Fp2 = Fp2 {
    c0: Fp([
        -20643525, 423362560, -247468071, -83965146, -56928967, -435111283, -481771852, -244204657, 119135326,
        523872612, -118222495, -409974640, -134366,
    ]),
    c1: Fp([
        6881175, 216793088, 440403298, 385902323, 18976322, -212876847, 518504559, 81401552, 318202166, 183289737,
        39407498, -221255728, 44789,
    ]),
};
/// Numbers among the hints; the point comes after them.
const NUMBERS: usize = 6;
const NUMBER_BYTES: usize = 48 * NUMBERS;

/// Hints with the numbers as words in native order, least significant first, flags taken out.
#[repr(C, align(8))]
pub struct Hints {
    /// c1 and c0 of the first root, of the second, and the two inverses in Montgomery form.
    words: [[u64; 6]; NUMBERS],
    /// For [`super::g2::clear_cofactor`].
    pub multiple: G2Point,
    second: [bool; 2],
}

impl Hints {
    pub const EMPTY: Hints = Hints { words: [[0; 6]; NUMBERS], multiple: G2Point::EMPTY, second: [false; 2] };

    /// Refuses every number that is not below P: the same number plus P fits as well and has the other parity. The point's coordinates
    /// are judged by the group syscall.
    #[inline(never)]
    pub fn read(bytes: &[u8; HINT_BYTES], out: &mut Hints) -> Result<(), HintError> {
        const _: () = assert!(NUMBER_BYTES + 192 == HINT_BYTES);
        let mut raw = [0u64; NUMBER_BYTES / 8];
        // SAFETY: the first NUMBER_BYTES bytes and the 192 behind them; the destinations are aligned words.
        unsafe {
            syscall::copy(bytes.as_ptr(), raw.as_mut_ptr() as *mut u8, NUMBER_BYTES);
            syscall::copy(bytes.as_ptr().add(NUMBER_BYTES), out.multiple.0.as_mut_ptr() as *mut u8, 192);
        }
        for (root, flag) in out.second.iter_mut().enumerate() {
            let top = u64::from_be(raw[12 * root]);
            *flag = top & SECOND_CANDIDATE != 0;
            raw[12 * root] = (top & !SECOND_CANDIDATE).to_be();
        }
        for (number, words) in out.words.iter_mut().enumerate() {
            for index in 0..6 {
                words[index] = u64::from_be(raw[6 * number + 5 - index]);
            }
            if !fp::is_canonical(words) {
                return Err(HintError::NotCanonical);
            }
        }
        Ok(())
    }

    /// sgn0 of a root: of c0, or of c1 where c0 is zero.
    fn root_is_odd(&self, root: usize) -> bool {
        let (c1, c0) = (&self.words[2 * root], &self.words[2 * root + 1]);
        let first = if *c0 == [0; 6] { c1 } else { c0 };
        first[0] & 1 == 1
    }

    /// A root as a plain number, not in Montgomery form.
    fn root(&self, root: usize, out: &mut Fp2) {
        fp::from_words(&self.words[2 * root], &mut out.c1);
        fp::from_words(&self.words[2 * root + 1], &mut out.c0);
    }
}

/// The denominators of one map and isogeny; the first candidate has no need of m.
#[repr(C, align(8))]
pub struct Candidate {
    d: Fp2,
    d_squared: Fp2,
    m: Fp2,
    product: Fp2,
    second: bool,
}

impl Candidate {
    pub const EMPTY: Candidate =
        Candidate { d: fp2::ZERO, d_squared: fp2::ZERO, m: fp2::ZERO, product: fp2::ZERO, second: false };
}

/// The image on E2 of what `u` maps to. It is on E2 only if the hinted root is one.
pub fn map(u: &FieldElement, hints: &Hints, index: usize, out: &mut G2Point) -> Result<(), HintError> {
    let (mut candidate, mut inverse) = (Candidate::EMPTY, fp2::ZERO);
    prepare(u, hints, index, &mut candidate)?;
    invert(&candidate, hints, index, &mut inverse)?;
    image(&candidate, &inverse, hints, index, out);
    Ok(())
}

/// Checks the claims about `u`'s sign and candidate, and computes that candidate's denominators.
#[inline(never)]
fn prepare(u: &FieldElement, hints: &Hints, index: usize, out: &mut Candidate) -> Result<(), HintError> {
    if hints.root_is_odd(index) != u.is_odd {
        return Err(HintError::WrongSign);
    }
    out.second = hints.second[index];
    if u.is_zero {
        if out.second {
            return Err(HintError::WrongCandidate);
        }
        out.d = W_AT_ZERO;
        finish_first(out);
        return Ok(());
    }
    let (mut square, mut v) = (fp2::ZERO, fp2::ZERO);
    fp2::square(&mut square, &u.value);
    // V = Zu², Z = -(2 + i).
    fp::combine(&mut v.c0, &square.c0, -2, &square.c1, 1);
    fp::combine(&mut v.c1, &square.c0, -1, &square.c1, -2);
    fp2::square(&mut square, &v);
    if out.second {
        // d = V + 1, so d² = V² + V + d, and m = 253·V² - 107·d.
        out.d.c1 = v.c1;
        fp::combine(&mut out.d.c0, &v.c0, 1, &fp::ONE, 1);
        fp2::combine(&mut out.m, &square, 253, &out.d, -107);
        fp::combine(&mut out.d_squared.c1, &square.c1, 1, &v.c1, 2);
        fp::combine(&mut out.d_squared.c0, &square.c0, 1, &v.c0, 1);
        fp::combine_into(&mut out.d_squared.c0, 1, &out.d.c0, 1);
        fp2::multiply(&mut out.product, &out.d, &out.m);
    } else {
        fp2::combine(&mut out.d, &square, 1, &v, 1);
        finish_first(out);
    }
    Ok(())
}

/// The first candidate's d = W gives m = 253 - 107·d and d·m = 253·d - 107·d².
#[inline(never)]
fn finish_first(out: &mut Candidate) {
    fp2::square(&mut out.d_squared, &out.d);
    fp2::combine(&mut out.product, &out.d, 253, &out.d_squared, -107);
}

/// 1/(d·m) from the hinted inverse of its norm. Refuses any other inverse, and so also a zero denominator.
#[inline(never)]
fn invert(candidate: &Candidate, hints: &Hints, index: usize, inverse: &mut Fp2) -> Result<(), HintError> {
    let (mut hint, mut norm, mut check, mut words) = (fp::ZERO, fp::ZERO, fp::ZERO, [0; 6]);
    fp2::norm(&mut norm, &candidate.product);
    fp::from_words(&hints.words[4 + index], &mut hint);
    fp::multiply(&mut check, &norm, &hint);
    fp::to_words(&check, &mut words);
    if words != fp::ONE_WORDS {
        return Err(HintError::WrongInverse);
    }
    // 1/z = conj(z)/norm(z)
    let mut negated = MaybeUninit::uninit();
    fp::multiply(&mut inverse.c0, &candidate.product.c0, &hint);
    fp::negate_unreduced(&mut negated, &hint);
    // SAFETY: just written.
    fp::multiply(&mut inverse.c1, &candidate.product.c1, unsafe { negated.assume_init_ref() });
    Ok(())
}

/// The image on E2 of the hinted root over `candidate`. It is on E2 only if the root is one.
#[inline(never)]
fn image(candidate: &Candidate, inverse: &Fp2, hints: &Hints, index: usize, out: &mut G2Point) {
    let (mut ratio, mut ratio_2, mut ratio_3) = (fp2::ZERO, fp2::ZERO, fp2::ZERO); // d/m and its powers
    fp2::multiply(&mut ratio, &candidate.d_squared, inverse);
    fp2::square(&mut ratio_2, &ratio);
    fp2::multiply(&mut ratio_3, &ratio_2, &ratio);
    image_x(candidate, inverse, &ratio, &ratio_2, out);

    let mut root = fp2::ZERO;
    y_factor(&ratio_2, &ratio_3, &mut ratio);
    hints.root(index, &mut root);
    // A plain number times one in Montgomery form is plain.
    fp2::multiply(&mut ratio_2, &root, &ratio);
    out.set_y(&ratio_2);
}

/// -(1/27 + 3200·(d/m)² - 128000·(d/m)³), which y is multiplied by.
#[inline(never)]
fn y_factor(ratio_2: &Fp2, ratio_3: &Fp2, out: &mut Fp2) {
    fp::write_combination(&mut out.c0, |i| {
        fp::term(&ratio_2.c0, -3200, i)
            .wrapping_add(fp::term(&ratio_3.c0, 128000, i))
            .wrapping_sub(fp::term(&INVERSE_27, 1, i))
    });
    fp::combine(&mut out.c1, &ratio_2.c1, -3200, &ratio_3.c1, 128000);
}

/// X = (1 - i)/540·(-m/d - 360 + 86400·d/m - 1728000·(d/m)²)
#[inline(never)]
fn image_x(candidate: &Candidate, inverse: &Fp2, ratio: &Fp2, ratio_2: &Fp2, out: &mut G2Point) {
    let (mut sum, mut x) = (fp2::ZERO, fp2::ZERO);
    if candidate.second {
        // m/d + 360 = 253·(1/d + d - 1)
        let mut inverse_d = fp2::ZERO;
        fp2::multiply(&mut inverse_d, &candidate.m, inverse);
        fp2::combine(&mut x, &inverse_d, -253, &candidate.d, -253);
        fp::combine_into(&mut x.c0, 1, &fp::ONE, 253);
        turned_sum(&mut sum, [(ratio, 86400), (ratio_2, -1728000), (&x, 1)]);
    } else {
        // m = 253 - 107·d, so m/d = 253²/(d·m) - 107²·d/m - 214; and -146·(1 - i) is added on both sides of the turn.
        turned_sum(&mut sum, [(ratio, 97849), (ratio_2, -1728000), (inverse, -64009)]);
        fp::combine_into(&mut sum.c0, 1, &fp::ONE, -146);
        fp::combine_into(&mut sum.c1, 1, &fp::ONE, 146);
    }
    fp::multiply(&mut x.c0, &sum.c0, &INVERSE_540_PLAIN);
    fp::multiply(&mut x.c1, &sum.c1, &INVERSE_540_PLAIN);
    out.set_x(&x);
}

/// out = (1 - i)·Σ k·a over three terms; Σ|k| < 2^21.
#[inline(always)]
fn turned_sum(out: &mut Fp2, [(a, ka), (b, kb), (c, kc)]: [(&Fp2, i64); 3]) {
    fp::write_combination(&mut out.c0, |i| {
        let first = fp::term(&a.c0, ka, i).wrapping_add(fp::term(&a.c1, ka, i));
        let second = fp::term(&b.c0, kb, i).wrapping_add(fp::term(&b.c1, kb, i));
        let third = fp::term(&c.c0, kc, i).wrapping_add(fp::term(&c.c1, kc, i));
        first.wrapping_add(second).wrapping_add(third)
    });
    fp::write_combination(&mut out.c1, |i| {
        let first = fp::term(&a.c1, ka, i).wrapping_sub(fp::term(&a.c0, ka, i));
        let second = fp::term(&b.c1, kb, i).wrapping_sub(fp::term(&b.c0, kb, i));
        let third = fp::term(&c.c1, kc, i).wrapping_sub(fp::term(&c.c0, kc, i));
        first.wrapping_add(second).wrapping_add(third)
    });
}

#[cfg(test)]
pub mod tests_support {
    use super::*;
    use crate::bls::host;

    /// The inverse that [`invert`] accepts for `u` and the candidate that `hints` claim, 48 bytes big-endian.
    pub fn inverse_hint(u: &FieldElement, hints: &Hints, index: usize) -> [u8; 48] {
        let (mut candidate, mut norm) = (Candidate::EMPTY, fp::ZERO);
        prepare(u, hints, index, &mut candidate).unwrap();
        fp2::norm(&mut norm, &candidate.product);
        let inverse = host::invert(&norm);
        let (mut words, mut out) = ([0; 6], [0; 48]);
        fp::to_words(&inverse, &mut words);
        for (bytes, word) in out.rchunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        out
    }
}
