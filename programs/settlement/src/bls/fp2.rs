//! The quadratic extension Fp2 = Fp[i] / (i² + 1), in the representation of [`super::fp`].

use super::fp::{self, Fp};
use core::mem::MaybeUninit;

#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Fp2 {
    pub c0: Fp,
    pub c1: Fp,
}

pub const ZERO: Fp2 = Fp2 { c0: fp::ZERO, c1: fp::ZERO };

/// out = a·b / R by Karatsuba's method, one reduction a coordinate.
#[inline(never)]
pub fn multiply(out: &mut Fp2, a: &Fp2, b: &Fp2) {
    let (mut real, mut imaginary, mut mixed) = (MaybeUninit::uninit(), MaybeUninit::uninit(), MaybeUninit::uninit());
    let (mut sum_a, mut sum_b) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    fp::add_unreduced(&mut sum_a, &a.c0, &a.c1);
    fp::add_unreduced(&mut sum_b, &b.c0, &b.c1);
    fp::multiply_columns(&a.c0, &b.c0, &mut real);
    fp::multiply_columns(&a.c1, &b.c1, &mut imaginary);
    // SAFETY: both sums were just written.
    unsafe { fp::multiply_columns(sum_a.assume_init_ref(), sum_b.assume_init_ref(), &mut mixed) };
    fp::reduce_difference(&real, &imaginary, &mut out.c0);
    fp::reduce_rest(&mixed, &real, &imaginary, &mut out.c1);
}

/// out = a² / R: (a0 + a1)(a0 - a1) + 2·a0·a1·i.
#[inline(never)]
pub fn square(out: &mut Fp2, a: &Fp2) {
    let (mut sum, mut difference, mut columns) = (MaybeUninit::uninit(), MaybeUninit::uninit(), MaybeUninit::uninit());
    let mut doubled = MaybeUninit::uninit();
    fp::add_unreduced(&mut sum, &a.c0, &a.c1);
    fp::subtract_unreduced(&mut difference, &a.c0, &a.c1);
    fp::add_unreduced(&mut doubled, &a.c0, &a.c0);
    // SAFETY: all three were just written.
    unsafe {
        fp::multiply_columns(sum.assume_init_ref(), difference.assume_init_ref(), &mut columns);
        fp::reduce(&columns, &mut out.c0);
        fp::multiply_columns(doubled.assume_init_ref(), &a.c1, &mut columns);
        fp::reduce(&columns, &mut out.c1);
    }
}

/// out = (a0² + a1²) / R, the norm of `a`.
#[inline(never)]
pub fn norm(out: &mut Fp, a: &Fp2) {
    let (mut first, mut second) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    fp::multiply_columns(&a.c0, &a.c0, &mut first);
    fp::multiply_columns(&a.c1, &a.c1, &mut second);
    fp::reduce_sum(&first, &second, out);
}

/// out = ka·a + kb·b; |ka| + |kb| < 2^22.
#[inline(never)]
pub fn combine(out: &mut Fp2, a: &Fp2, ka: i64, b: &Fp2, kb: i64) {
    fp::combine(&mut out.c0, &a.c0, ka, &b.c0, kb);
    fp::combine(&mut out.c1, &a.c1, ka, &b.c1, kb);
}
