//! Elements from words of 64 bits and back.

use super::{carry_of, digit, load, reduce, store, Columns, Fp, Words, MASK, P, P_WORDS, R2, R3};
use core::mem::MaybeUninit;

/// The 30 bits of `words` from bit 30·`index`.
#[inline(always)]
fn bits<const N: usize>(words: &[u64; N], index: usize) -> i64 {
    let (word, offset) = (30 * index / 64, 30 * index % 64);
    let mut value = words[word] >> offset;
    if offset > 34 && word + 1 < N {
        value |= words[word + 1] << (64 - offset);
    }
    (value & MASK) as i64
}

/// Whether `words` is below P.
#[inline(always)]
pub fn is_canonical(words: &Words) -> bool {
    for index in (0..6).rev() {
        if words[index] != P_WORDS[index] {
            return words[index] < P_WORDS[index];
        }
    }
    false
}

/// The element of a canonical number, not in Montgomery form.
#[inline(never)]
pub fn from_words(words: &Words, out: &mut Fp) {
    let to = out.0.as_mut_ptr();
    let mut carry = 0i64;
    macro_rules! limbs {
        ($($i:literal)*) => {$({
            let x = bits(words, $i).wrapping_add(carry);
            store(to, $i, digit(x));
            carry = carry_of(x);
        })*};
    }
    limbs!(0 1 2 3 4 5 6 7 8 9 10 11);
    store(to, 12, bits(words, 12).wrapping_add(carry));
}

/// Limb `$i` of a number of 18, times the limb of R² or R³ that brings it into column `$column` of the product by R².
macro_rules! take_in_wide {
    ($sum:ident, $x:ident, $column:expr, $i:literal) => {
        if $i < 13 && $column >= $i && $column - $i <= 12 {
            $sum = $sum.wrapping_add($x.wrapping_mul(R2.0[$column - $i]));
        }
        if $i >= 13 && $column + 13 >= $i && $column + 13 - $i <= 12 {
            $sum = $sum.wrapping_add($x.wrapping_mul(R3.0[$column + 13 - $i]));
        }
    };
}

macro_rules! five_wide_columns {
    ($a:ident, $out:ident, $k:literal: $($i:literal)*) => {{
        let (mut s0, mut s1, mut s2, mut s3, mut s4) = (0i64, 0i64, 0i64, 0i64, 0i64);
        $({
            let x = load($a, $i);
            take_in_wide!(s0, x, $k, $i);
            take_in_wide!(s1, x, $k + 1, $i);
            take_in_wide!(s2, x, $k + 2, $i);
            take_in_wide!(s3, x, $k + 3, $i);
            take_in_wide!(s4, x, $k + 4, $i);
        })*
        store($out, $k, s0);
        store($out, $k + 1, s1);
        store($out, $k + 2, s2);
        store($out, $k + 3, s3);
        store($out, $k + 4, s4);
    }};
}

/// A number of 512 bits, in Montgomery form: as low + 2^390·high it is (low·R² + high·R³) / R.
///
/// Limbs of the number are unsigned, so a column stays below 2^30·Σ(|limbs of R²| + |limbs of R³|), and with what the reduction adds
/// below 2^63.
#[inline(never)]
pub fn from_wide(words: &[u64; 8], out: &mut Fp) {
    let mut limbs = MaybeUninit::<[i64; 18]>::uninit();
    let a = limbs.as_mut_ptr() as *mut i64;
    macro_rules! split {
        ($($i:literal)*) => {$( store(a, $i, bits(words, $i)); )*};
    }
    split!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17);
    let mut columns = MaybeUninit::<Columns>::uninit();
    let to = columns.as_mut_ptr() as *mut i64;
    five_wide_columns!(a, to, 0: 0 1 2 3 4 13 14 15 16 17);
    five_wide_columns!(a, to, 5: 0 1 2 3 4 5 6 7 8 9 13 14 15 16 17);
    five_wide_columns!(a, to, 10: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17);
    five_wide_columns!(a, to, 15: 3 4 5 6 7 8 9 10 11 12 16 17);
    five_wide_columns!(a, to, 20: 8 9 10 11 12);
    reduce(&columns, out);
}

/// No column of [`from_wide`] overflows: the factors' limbs, the multipliers' of the reduction, and a carry.
const _: () = {
    let (mut factors, mut modulus, mut index) = (0i64, 0i64, 0);
    while index < 13 {
        factors += R2.0[index].abs() + R3.0[index].abs();
        modulus += P.0[index].abs();
        index += 1;
    }
    assert!((factors as i128) << 30 < (1 << 63) - ((modulus as i128) << 29) - (1 << 40));
};

/// The canonical number in [0, P) that `a` is congruent to (its own value, not its Montgomery form's).
#[inline(never)]
pub fn to_words(a: &Fp, out: &mut Words) {
    const UNSIGNED_P: [i64; 13] = {
        let mut limbs = [0i64; 13];
        let mut index = 0;
        while index < 13 {
            let (word, offset) = (30 * index / 64, 30 * index % 64);
            let mut value = P_WORDS[word] >> offset;
            if offset > 34 && word < 5 {
                value |= P_WORDS[word + 1] << (64 - offset);
            }
            limbs[index] = (value & MASK) as i64;
            index += 1;
        }
        limbs
    };
    let mut limbs = MaybeUninit::<[i64; 13]>::uninit();
    let d = limbs.as_mut_ptr() as *mut i64;
    let a = a.0.as_ptr();
    // Carrying towards minus infinity leaves limbs in [0, 2^30) under a top limb that has the value's sign.
    let mut carry = 0i64;
    macro_rules! carry_down {
        ($($i:literal)*) => {$({
            let x = load(a, $i).wrapping_add(carry);
            store(d, $i, x & MASK as i64);
            carry = x.wrapping_shr(30);
        })*};
    }
    carry_down!(0 1 2 3 4 5 6 7 8 9 10 11);
    let top = load(a, 12).wrapping_add(carry);
    store(d, 12, top);
    if top < 0 {
        carry = 0;
        macro_rules! add_p {
            ($($i:literal)*) => {$({
                let x = load(d, $i).wrapping_add(UNSIGNED_P[$i]).wrapping_add(carry);
                store(d, $i, x & MASK as i64);
                carry = x.wrapping_shr(30);
            })*};
        }
        add_p!(0 1 2 3 4 5 6 7 8 9 10 11);
        store(d, 12, top.wrapping_add(UNSIGNED_P[12]).wrapping_add(carry));
    }
    let limb = |index: usize| load(d, index) as u64;
    let out = out.as_mut_ptr() as *mut i64;
    macro_rules! pack {
        ($($word:literal: $first:literal >> $right:literal, $left1:literal, $left2:literal;)*) => {$(
            store(
                out,
                $word,
                (limb($first) >> $right | limb($first + 1) << $left1 | limb($first + 2) << $left2) as i64,
            );
        )*};
    }
    pack! {
        0: 0 >> 0, 30, 60;
        1: 2 >> 4, 26, 56;
        2: 4 >> 8, 22, 52;
        3: 6 >> 12, 18, 48;
        4: 8 >> 16, 14, 44;
        5: 10 >> 20, 10, 40;
    }
}
