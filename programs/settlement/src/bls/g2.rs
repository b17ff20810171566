//! Points of E2 as the group syscall takes them, the endomorphism psi, and clearing the cofactor (RFC 9380, G.3).

use super::fp::{self, Fp};
use super::fp2::{self, Fp2};
use super::syscall;
use core::mem::MaybeUninit;

/// |x| of the curve's parameter x < 0, 0xd201_0000_0001_0000, from its highest bit down: doublings before each addition, and at the end.
const DOUBLINGS_AND_ADDITION: [u8; 5] = [1, 2, 3, 9, 32];
const LAST_DOUBLINGS: u8 = 16;

/// psi(x, y) = (conj(x)·i·PSI_X, conj(y)·(1 - i)·PSI_Y); Montgomery form.
static PSI_X: Fp = Fp([
    492990639, 378922118, 450320131, -517651501, 511826081, -527569914, 349120821, -169293920, -348160125, -358270141,
    478423963, 116992407, 730302,
]);
const PSI_Y: Fp = Fp([
    389045985, -406037083, 499518840, -485236250, 32143660, -447243366, 107345305, 206416767, 436095431, 286654118,
    -389168359, -440973659, 214456,
]);
static NEGATED_PSI_Y: Fp = {
    let (mut limbs, mut index) = (PSI_Y.0, 0);
    while index < 13 {
        limbs[index] = -limbs[index];
        index += 1;
    }
    Fp(limbs)
};
/// psi²(x, y) = (PSI_2_X·x, -y); Montgomery form.
static PSI_2_X: Fp = Fp([
    479228289, -54664058, -430486465, -215714323, 473873436, -101816220, 385853527, -332097025, 89177367, 348892208,
    399608966, -514237961, 640725,
]);

/// x.c1, x.c0, y.c1, y.c0, each 48 bytes big-endian (the order of Zcash and the IETF), read by words.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct G2Point(pub [[u64; 6]; 4]);

impl G2Point {
    pub const EMPTY: G2Point = G2Point([[0; 6]; 4]);

    pub fn bytes(&self) -> &[u8; 192] {
        // SAFETY: 192 initialised bytes.
        unsafe { &*(self.0.as_ptr() as *const [u8; 192]) }
    }

    #[cfg(test)]
    pub fn bytes_mut(&mut self) -> &mut [u8; 192] {
        // SAFETY: 192 bytes for which every value is valid.
        unsafe { &mut *(self.0.as_mut_ptr() as *mut [u8; 192]) }
    }

    pub fn is_infinity(&self) -> bool {
        self.bytes()[0] & 0x40 != 0
    }

    /// x from a plain, not Montgomery, element.
    pub fn set_x(&mut self, x: &Fp2) {
        write(&x.c1, &mut self.0[0]);
        write(&x.c0, &mut self.0[1]);
    }

    /// y from a plain element.
    pub fn set_y(&mut self, y: &Fp2) {
        write(&y.c1, &mut self.0[2]);
        write(&y.c0, &mut self.0[3]);
    }

    fn x(&self, out: &mut Fp2) {
        read(&self.0[0], &mut out.c1);
        read(&self.0[1], &mut out.c0);
    }

    fn y(&self, out: &mut Fp2) {
        read(&self.0[2], &mut out.c1);
        read(&self.0[3], &mut out.c0);
    }
}

#[inline(never)]
fn write(number: &Fp, out: &mut [u64; 6]) {
    let mut words = [0; 6];
    fp::to_words(number, &mut words);
    for index in 0..6 {
        out[index] = words[5 - index].to_be();
    }
}

#[inline(never)]
fn read(number: &[u64; 6], out: &mut Fp) {
    let mut words = [0; 6];
    for index in 0..6 {
        words[index] = u64::from_be(number[5 - index]);
    }
    fp::from_words(&words, out);
}

/// The syscall refused an operand: not on the curve, or not canonical.
pub struct NotOnCurve;

/// out = |x|·a, by doublings and additions: the multiplication syscall takes points of the subgroup only.
#[inline(never)]
fn times_x_absolute(a: &G2Point, out: &mut G2Point) -> Result<(), NotOnCurve> {
    *out = *a;
    for doublings in DOUBLINGS_AND_ADDITION {
        double_times(out, doublings)?;
        syscall::g2_add(out, a)?;
    }
    double_times(out, LAST_DOUBLINGS)
}

#[inline(always)]
fn double_times(point: &mut G2Point, count: u8) -> Result<(), NotOnCurve> {
    for _ in 0..count {
        syscall::g2_double(point)?;
    }
    Ok(())
}

#[inline(never)]
fn psi(a: &G2Point, out: &mut G2Point) {
    let (mut from, mut to, mut mixed) = (fp2::ZERO, fp2::ZERO, MaybeUninit::uninit());
    a.x(&mut from);
    fp::multiply(&mut to.c0, &from.c1, &PSI_X);
    fp::multiply(&mut to.c1, &from.c0, &PSI_X);
    out.set_x(&to);
    a.y(&mut from);
    fp::subtract_unreduced(&mut mixed, &from.c0, &from.c1);
    // SAFETY: just written, here and below.
    fp::multiply(&mut to.c0, unsafe { mixed.assume_init_ref() }, &PSI_Y);
    fp::add_unreduced(&mut mixed, &from.c0, &from.c1);
    fp::multiply(&mut to.c1, unsafe { mixed.assume_init_ref() }, &NEGATED_PSI_Y);
    out.set_y(&to);
}

/// -psi²(a).
#[inline(never)]
fn negated_psi_2(a: &G2Point, out: &mut G2Point) {
    let (mut from, mut to) = (fp2::ZERO, fp2::ZERO);
    *out = *a;
    a.x(&mut from);
    fp::multiply(&mut to.c0, &from.c0, &PSI_2_X);
    fp::multiply(&mut to.c1, &from.c1, &PSI_2_X);
    out.set_x(&to);
}

/// out = h_eff·a, provided that `out` lies in the subgroup G2, which the caller has to check: the pairing syscall does.
///
/// By Budroni and Pintore h_eff·a = z(z·a + a - psi(a)) - a - psi(a) + 2·psi²(a) with z = |x|, two multiplications by z. The first is
/// saved: the same is z·b + psi(b - 2a) - a + 4·psi²(a) for b = z·a + a - 2·psi(a), which the caller claims `multiple` to be. Whatever
/// it is, z·b + psi(b) has no part in G2: E2 is the sum of G2 and of points whose order is prime to G2's, psi maps each into itself, and
/// on G2 it is multiplication by -z. So `multiple` moves only the result's other part, and h_eff·a has none: a result that lies in G2
/// is h_eff·a.
///
/// `a` is on E2 and not infinity. Fails if `multiple` is not on E2.
#[inline(never)]
pub fn clear_cofactor(a: &G2Point, multiple: &G2Point, out: &mut G2Point) -> Result<(), NotOnCurve> {
    let (mut doubled, mut rest, mut image) = (*a, *multiple, G2Point::EMPTY);
    syscall::g2_double(&mut doubled)?;
    syscall::g2_subtract(&mut rest, &doubled)?;
    if rest.is_infinity() {
        return Err(NotOnCurve); // psi reads coordinates; z·a - a - 2·psi(a) is no infinity for any known message
    }
    psi(&rest, &mut image);
    times_x_absolute(multiple, out)?;
    syscall::g2_add(out, &image)?;
    syscall::g2_subtract(out, a)?;
    syscall::g2_double(&mut doubled)?;
    negated_psi_2(&doubled, &mut image);
    syscall::g2_subtract(out, &image)
}

#[cfg(test)]
pub mod tests_support {
    use super::*;

    /// Whether a point of E2 is in G2, where psi is multiplication by x = -z.
    pub fn is_in_subgroup(bytes: &[u8; 192]) -> bool {
        let (mut point, mut sum, mut image) = (G2Point::EMPTY, G2Point::EMPTY, G2Point::EMPTY);
        point.bytes_mut().copy_from_slice(bytes);
        times_x_absolute(&point, &mut sum).map_err(|_| ()).unwrap();
        psi(&point, &mut image);
        syscall::g2_add(&mut sum, &image).map_err(|_| ()).unwrap();
        sum.is_infinity()
    }

    /// b of [`clear_cofactor`], for the point that `images` add up to.
    pub fn multiple(images: &[G2Point; 2]) -> [u8; 192] {
        let (mut a, mut b, mut image) = (images[0], G2Point::EMPTY, G2Point::EMPTY);
        let add = |sum: &mut G2Point, point: &G2Point| syscall::g2_add(sum, point).map_err(|_| ()).unwrap();
        add(&mut a, &images[1]);
        times_x_absolute(&a, &mut b).map_err(|_| ()).unwrap();
        add(&mut b, &a);
        psi(&a, &mut image);
        syscall::g2_double(&mut image).map_err(|_| ()).unwrap();
        syscall::g2_subtract(&mut b, &image).map_err(|_| ()).unwrap();
        *b.bytes()
    }
}
