//! The base field of BLS12-381 for a machine with 64-bit products and ten registers.
//!
//! An element is 13 signed limbs of 30 bits, least significant first, as in "balanced" digit systems: limbs 0..=11 lie in
//! [-2^29, 2^29), limb 12 takes what is left. A column of a product is then a sum of 13 products below 2^58, and twice
//! such a column plus the multiple of P that Montgomery's reduction adds stays below 2^63, so that a product in Fp2
//! needs no carries before its reduction. Sums in between may wrap; the final columns do not.
//!
//! Every element that a function here leaves behind has balanced limbs and is *reduced*, |value| < 0.6·P; only from_words
//! leaves [0, P). Values in Montgomery form stand for value / R, R = 2^390.
//!
//! Limbs are read and written through volatile accesses. That keeps LLVM from merging and spilling them, which on this
//! machine costs a quarter to a half more.

use core::mem::MaybeUninit;

mod words;

pub use words::{from_wide, from_words, is_canonical, to_words};

#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Fp(pub [i64; 13]);

/// The columns of an unreduced product: column k weighs 2^(30·k).
pub type Columns = [i64; 25];

/// A 384-bit number, least significant word first.
pub type Words = [u64; 6];

pub const P: Fp = Fp([
    -21845, -402915328, 356515836, -352321620, -252304353, 55215067, 288093811, 316751073, -321428361, 517541167,
    -375082566, -91332614, 1704210,
]);
pub const P_WORDS: Words = [
    0xb9feffffffffaaab,
    0x1eabfffeb153ffff,
    0x6730d2a0f6b0f624,
    0x64774b84f38512bf,
    0x4b1ba7b6434bacd7,
    0x1a0111ea397fe69a,
];
pub const ZERO: Fp = Fp([0; 13]);
/// R mod P: one in Montgomery form.
pub static ONE: Fp = Fp([
    13762350, 433586176, -192935228, -301937177, 37952645, -425753694, -36732706, 162803105, -437337492, 366579475,
    78814996, -442511456, 89578,
]);
/// One in Montgomery form as a number: R mod P.
pub const ONE_WORDS: Words = [
    0x4676000000d1ff2e,
    0x84b803379b4800ac,
    0x0dd9a7e0e882431c,
    0xc26c26d0b683dcf8,
    0x29f1457663c4a5ee,
    0x015de9967f3e804b,
];
/// R² mod P: multiplying by it enters Montgomery form.
pub const R2: Fp = Fp([
    84958308, 320669453, -336452545, -23350980, 68258640, -130586467, 277172093, -144228653, 171105485, -419190883,
    -282802362, -41659541, -694179,
]);
/// R³ mod P.
const R3: Fp = Fp([
    323471757, -333343540, 453147883, -343099995, 303348703, 190774532, -101855041, 455817637, -223343770, 488336821,
    -74511473, 315118520, 446639,
]);

/// -1/P mod 2^30.
const NEGATED_INVERSE: i64 = -196611;
/// 2^52 / (P / 2^360): turns a number's top limb into its quotient by P.
const TOP_INVERSE: i64 = 2642631983;
const MASK: u64 = (1 << 30) - 1;

#[inline(always)]
fn load(from: *const i64, index: usize) -> i64 {
    // SAFETY: callers pass a pointer to at least `index + 1` limbs.
    unsafe { from.add(index).read_volatile() }
}

#[inline(always)]
fn store(to: *mut i64, index: usize, value: i64) {
    // SAFETY: as above.
    unsafe { to.add(index).write_volatile(value) }
}

/// The low 30 bits of `x` as a signed digit.
#[inline(always)]
fn digit(x: i64) -> i64 {
    x.wrapping_shl(34).wrapping_shr(34)
}

/// (x - digit(x)) / 2^30.
#[inline(always)]
fn carry_of(x: i64) -> i64 {
    x.wrapping_add(1 << 29).wrapping_shr(30)
}

/// Columns `k` and `k + 1` together, so that each limb of `a` is read once for both; k ≤ 10.
macro_rules! low_columns {
    ($a:ident, $b:ident, $out:ident, $($k:literal: [$($i:literal)*];)*) => {$({
        let (mut even, mut odd) = (0i64, 0i64);
        $(
            let x = load($a, $i);
            even = even.wrapping_add(load($b, $k - $i).wrapping_mul(x));
            odd = odd.wrapping_add(load($b, $k + 1 - $i).wrapping_mul(x));
        )*
        odd = odd.wrapping_add(load($a, $k + 1).wrapping_mul(load($b, 0)));
        store($out, $k, even);
        store($out, $k + 1, odd);
    })*};
}

/// The same for k ≥ 12.
macro_rules! high_columns {
    ($a:ident, $b:ident, $out:ident, $($k:literal: [$($i:literal)*];)*) => {$({
        let (mut even, mut odd) = (load($a, $k - 12).wrapping_mul(load($b, 12)), 0i64);
        $(
            let x = load($a, $i);
            even = even.wrapping_add(load($b, $k - $i).wrapping_mul(x));
            odd = odd.wrapping_add(load($b, $k + 1 - $i).wrapping_mul(x));
        )*
        store($out, $k, even);
        store($out, $k + 1, odd);
    })*};
}

/// out = a·b, unreduced. Limbs of `a` and `b` may be sums of two balanced ones.
#[inline(never)]
pub fn multiply_columns(a: &Fp, b: &Fp, out: &mut MaybeUninit<Columns>) {
    let (a, b, out) = (a.0.as_ptr(), b.0.as_ptr(), out.as_mut_ptr() as *mut i64);
    low_columns! { a, b, out,
        0: [0];
        2: [0 1 2];
        4: [0 1 2 3 4];
        6: [0 1 2 3 4 5 6];
        8: [0 1 2 3 4 5 6 7 8];
        10: [0 1 2 3 4 5 6 7 8 9 10];
    }
    high_columns! { a, b, out,
        12: [1 2 3 4 5 6 7 8 9 10 11 12];
        14: [3 4 5 6 7 8 9 10 11 12];
        16: [5 6 7 8 9 10 11 12];
        18: [7 8 9 10 11 12];
        20: [9 10 11 12];
        22: [11 12];
    }
    store(out, 24, load(a, 12).wrapping_mul(load(b, 12)));
}

/// out = columns / R mod P (Montgomery's reduction, a column at a time).
#[inline(never)]
pub fn reduce(columns: &MaybeUninit<Columns>, out: &mut Fp) {
    let columns = columns.as_ptr() as *const i64;
    reduce_each(|index| load(columns, index), out);
}

/// out = (a + b) / R mod P.
#[inline(never)]
pub fn reduce_sum(a: &MaybeUninit<Columns>, b: &MaybeUninit<Columns>, out: &mut Fp) {
    let (a, b) = (a.as_ptr() as *const i64, b.as_ptr() as *const i64);
    reduce_each(|index| load(a, index).wrapping_add(load(b, index)), out);
}

/// out = (a - b) / R mod P.
#[inline(never)]
pub fn reduce_difference(a: &MaybeUninit<Columns>, b: &MaybeUninit<Columns>, out: &mut Fp) {
    let (a, b) = (a.as_ptr() as *const i64, b.as_ptr() as *const i64);
    reduce_each(|index| load(a, index).wrapping_sub(load(b, index)), out);
}

/// out = (all - a - b) / R mod P.
#[inline(never)]
pub fn reduce_rest(
    all: &MaybeUninit<Columns>,
    a: &MaybeUninit<Columns>,
    b: &MaybeUninit<Columns>,
    out: &mut Fp,
) {
    let (all, a, b) = (all.as_ptr() as *const i64, a.as_ptr() as *const i64, b.as_ptr() as *const i64);
    reduce_each(|index| load(all, index).wrapping_sub(load(a, index)).wrapping_sub(load(b, index)), out);
}

#[inline(always)]
fn reduce_each(column: impl Fn(usize) -> i64, out: &mut Fp) {
    let out = out.0.as_mut_ptr();
    let mut multipliers = MaybeUninit::<[i64; 13]>::uninit();
    let m = multipliers.as_mut_ptr() as *mut i64;
    let mut carry = 0i64;
    macro_rules! eliminate {
        ($($k:literal: [$($i:literal)*];)*) => {$({
            let sum = carry.wrapping_add(column($k));
            $( let sum = sum.wrapping_add(load(m, $i).wrapping_mul(P.0[$k - $i])); )*
            let quotient = digit(sum.wrapping_mul(NEGATED_INVERSE));
            store(m, $k, quotient);
            carry = sum.wrapping_add(quotient.wrapping_mul(P.0[0])).wrapping_shr(30);
        })*};
    }
    macro_rules! collect {
        ($($k:literal: [$($i:literal)*];)*) => {$({
            let sum = carry.wrapping_add(column($k));
            $( let sum = sum.wrapping_add(load(m, $i).wrapping_mul(P.0[$k - $i])); )*
            store(out, $k - 13, digit(sum));
            carry = carry_of(sum);
        })*};
    }
    eliminate! {
        0: [];
        1: [0];
        2: [0 1];
        3: [0 1 2];
        4: [0 1 2 3];
        5: [0 1 2 3 4];
        6: [0 1 2 3 4 5];
        7: [0 1 2 3 4 5 6];
        8: [0 1 2 3 4 5 6 7];
        9: [0 1 2 3 4 5 6 7 8];
        10: [0 1 2 3 4 5 6 7 8 9];
        11: [0 1 2 3 4 5 6 7 8 9 10];
        12: [0 1 2 3 4 5 6 7 8 9 10 11];
    }
    collect! {
        13: [1 2 3 4 5 6 7 8 9 10 11 12];
        14: [2 3 4 5 6 7 8 9 10 11 12];
        15: [3 4 5 6 7 8 9 10 11 12];
        16: [4 5 6 7 8 9 10 11 12];
        17: [5 6 7 8 9 10 11 12];
        18: [6 7 8 9 10 11 12];
        19: [7 8 9 10 11 12];
        20: [8 9 10 11 12];
        21: [9 10 11 12];
        22: [10 11 12];
        23: [11 12];
        24: [12];
    }
    store(out, 12, carry);
}

/// out = a·b / R.
#[inline(never)]
pub fn multiply(out: &mut Fp, a: &Fp, b: &Fp) {
    let mut columns = MaybeUninit::uninit();
    multiply_columns(a, b, &mut columns);
    reduce(&columns, out);
}

/// Limb `index` of `a`, `k` times: a term of [`write_combination`].
#[inline(always)]
pub fn term(a: &Fp, k: i64, index: usize) -> i64 {
    load(a.0.as_ptr(), index).wrapping_mul(k)
}

/// out = the combination whose limb `index` is `sum(index)`, reduced. The factors of its terms add up to less than 2^22.
#[inline(always)]
pub fn write_combination(out: &mut Fp, sum: impl Fn(usize) -> i64) {
    write_raw_combination(out.0.as_mut_ptr(), sum)
}

#[inline(always)]
fn write_raw_combination(out: *mut i64, sum: impl Fn(usize) -> i64) {
    // The quotient by P to within 1/50, from the top 43 bits; so what is left is below 0.53·P.
    let top = sum(12).wrapping_add(sum(11).wrapping_shr(30));
    let quotient = top.wrapping_shr(14).wrapping_mul(TOP_INVERSE).wrapping_add(1 << 37).wrapping_shr(38);
    let mut carry = 0i64;
    macro_rules! limbs {
        ($($i:literal)*) => {$({
            let x = sum($i).wrapping_sub(quotient.wrapping_mul(P.0[$i])).wrapping_add(carry);
            store(out, $i, digit(x));
            carry = carry_of(x);
        })*};
    }
    limbs!(0 1 2 3 4 5 6 7 8 9 10 11);
    store(out, 12, sum(12).wrapping_sub(quotient.wrapping_mul(P.0[12])).wrapping_add(carry));
}

/// out = ka·a + kb·b, reduced; |ka| + |kb| < 2^22. `out` may be `a` or `b`.
///
/// # Safety
/// All three point to elements.
#[inline(never)]
unsafe fn combine_raw(out: *mut i64, a: *const i64, ka: i64, b: *const i64, kb: i64) {
    write_raw_combination(out, |index| {
        load(a, index).wrapping_mul(ka).wrapping_add(load(b, index).wrapping_mul(kb))
    });
}

/// out = ka·a + kb·b; |ka| + |kb| < 2^22.
#[inline(always)]
pub fn combine(out: &mut Fp, a: &Fp, ka: i64, b: &Fp, kb: i64) {
    // SAFETY: references to elements.
    unsafe { combine_raw(out.0.as_mut_ptr(), a.0.as_ptr(), ka, b.0.as_ptr(), kb) }
}

/// a = ka·a + kb·b; |ka| + |kb| < 2^22.
#[inline(always)]
pub fn combine_into(a: &mut Fp, ka: i64, b: &Fp, kb: i64) {
    let out = a.0.as_mut_ptr();
    // SAFETY: references to elements; each limb is read before it is written.
    unsafe { combine_raw(out, out, ka, b.0.as_ptr(), kb) }
}

/// The balanced sum without carries, an operand for [`multiply_columns`] only.
#[inline(always)]
pub fn add_unreduced(out: &mut MaybeUninit<Fp>, a: &Fp, b: &Fp) {
    let (out, a, b) = (out.as_mut_ptr() as *mut i64, a.0.as_ptr(), b.0.as_ptr());
    macro_rules! limbs {
        ($($i:literal)*) => {$( store(out, $i, load(a, $i).wrapping_add(load(b, $i))); )*};
    }
    limbs!(0 1 2 3 4 5 6 7 8 9 10 11 12);
}

/// The balanced difference without carries, an operand for [`multiply_columns`] only.
#[inline(always)]
pub fn subtract_unreduced(out: &mut MaybeUninit<Fp>, a: &Fp, b: &Fp) {
    let (out, a, b) = (out.as_mut_ptr() as *mut i64, a.0.as_ptr(), b.0.as_ptr());
    macro_rules! limbs {
        ($($i:literal)*) => {$( store(out, $i, load(a, $i).wrapping_sub(load(b, $i))); )*};
    }
    limbs!(0 1 2 3 4 5 6 7 8 9 10 11 12);
}

/// -a with limbs as large as a's, an operand for [`multiply_columns`] only.
#[inline(always)]
pub fn negate_unreduced(out: &mut MaybeUninit<Fp>, a: &Fp) {
    let (out, a) = (out.as_mut_ptr() as *mut i64, a.0.as_ptr());
    macro_rules! limbs {
        ($($i:literal)*) => {$( store(out, $i, load(a, $i).wrapping_neg()); )*};
    }
    limbs!(0 1 2 3 4 5 6 7 8 9 10 11 12);
}

/// Leaves Montgomery form: out = a / R.
#[inline(never)]
pub fn divide_by_r(out: &mut Fp, a: &Fp) {
    let mut columns = MaybeUninit::<Columns>::uninit();
    let to = columns.as_mut_ptr() as *mut i64;
    let from = a.0.as_ptr();
    macro_rules! copy {
        ($($i:literal)*) => {$( store(to, $i, load(from, $i)); )*};
    }
    macro_rules! clear {
        ($($i:literal)*) => {$( store(to, $i, 0); )*};
    }
    copy!(0 1 2 3 4 5 6 7 8 9 10 11 12);
    clear!(13 14 15 16 17 18 19 20 21 22 23 24);
    reduce(&columns, out);
}
