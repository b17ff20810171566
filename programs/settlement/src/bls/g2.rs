//! Points of E2 as the group syscall takes them, the endomorphism psi, and clearing the cofactor (RFC 9380, G.3).

use super::fp::{self, Fp};
use super::fp2::{self, Fp2};
use super::syscall;

/// |x| of the curve's parameter x < 0: 64 bits, six of them set.
const X_ABSOLUTE: u64 = 0xd201_0000_0001_0000;

/// psi(x, y) = (conj(x)·i·PSI_X, conj(y)·(1 - i)·PSI_Y); Montgomery form.
static PSI_X: Fp = Fp([
    492990639, 378922118, 450320131, -517651501, 511826081, -527569914, 349120821, -169293920, -348160125, -358270141,
    478423963, 116992407, 730302,
]);
static PSI_Y: Fp = Fp([
    389045985, -406037083, 499518840, -485236250, 32143660, -447243366, 107345305, 206416767, 436095431, 286654118,
    -389168359, -440973659, 214456,
]);
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
    let mut bit = 62;
    loop {
        syscall::g2_double(out)?;
        if X_ABSOLUTE >> bit & 1 == 1 {
            syscall::g2_add(out, a)?;
        }
        if bit == 0 {
            return Ok(());
        }
        bit -= 1;
    }
}

#[inline(never)]
fn psi(a: &G2Point, out: &mut G2Point) {
    let (mut from, mut to, mut mixed) = (fp2::ZERO, fp2::ZERO, fp::ZERO);
    a.x(&mut from);
    fp::multiply(&mut to.c0, &from.c1, &PSI_X);
    fp::multiply(&mut to.c1, &from.c0, &PSI_X);
    out.set_x(&to);
    a.y(&mut from);
    fp::combine(&mut mixed, &from.c0, 1, &from.c1, -1);
    fp::multiply(&mut to.c0, &mixed, &PSI_Y);
    fp::combine(&mut mixed, &from.c0, -1, &from.c1, -1);
    fp::multiply(&mut to.c1, &mixed, &PSI_Y);
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

/// out = h_eff·a = z(z·a + a - psi(a)) - a - psi(a) + psi²(2a) with z = |x|. `a` is on E2 and not infinity.
#[inline(never)]
pub fn clear_cofactor(a: &G2Point, out: &mut G2Point) -> Result<(), NotOnCurve> {
    let (mut image, mut inner) = (G2Point::EMPTY, G2Point::EMPTY);
    psi(a, &mut image);
    times_x_absolute(a, &mut inner)?;
    syscall::g2_add(&mut inner, a)?;
    syscall::g2_subtract(&mut inner, &image)?;
    times_x_absolute(&inner, out)?;
    syscall::g2_subtract(out, a)?;
    syscall::g2_subtract(out, &image)?;
    inner = *a;
    syscall::g2_double(&mut inner)?;
    negated_psi_2(&inner, &mut image);
    syscall::g2_subtract(out, &image)
}
