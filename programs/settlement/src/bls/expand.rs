//! A message to two elements of Fp2: `hash_to_field` of RFC 9380, 5.2, over `expand_message_xmd` with SHA-256.

use super::fp::{self, Fp};
use super::fp2::{self, Fp2};
use super::syscall::sha256;

static ZERO_BLOCK: [u8; 64] = [0; 64];

/// One u of RFC 9380, in Montgomery form, with what the map asks of its canonical value.
#[repr(C, align(8))]
pub struct FieldElement {
    pub value: Fp2,
    /// sgn0 of RFC 9380, 4.1.
    pub is_odd: bool,
    pub is_zero: bool,
}

impl FieldElement {
    pub const ZERO: FieldElement = FieldElement { value: fp2::ZERO, is_odd: false, is_zero: true };
}

/// A digest that can be read by words.
#[repr(C, align(8))]
struct Block([u64; 4]);

impl Block {
    fn bytes(&self) -> &[u8; 32] {
        // SAFETY: 32 initialised bytes.
        unsafe { &*(self.0.as_ptr() as *const [u8; 32]) }
    }

    fn bytes_mut(&mut self) -> &mut [u8; 32] {
        // SAFETY: 32 bytes for which every value is valid.
        unsafe { &mut *(self.0.as_mut_ptr() as *mut [u8; 32]) }
    }
}

/// 256 uniform bytes as four numbers of 512 bits, words as they lie in memory (big-endian). `dst` has at most 255 bytes.
#[inline(never)]
pub fn expand_message(message: &[u8], dst: &[u8], out: &mut [[u64; 8]; 4]) {
    let dst_length = [dst.len() as u8];
    let (mut first, mut block) = (Block([0; 4]), Block([0; 4]));
    // The length asked for is 256 bytes, hence [1, 0]; then the number of this block.
    sha256(&[&ZERO_BLOCK, message, &[1, 0, 0], dst, &dst_length], first.bytes_mut());
    for index in 0..8 {
        let mixed = Block(core::array::from_fn(|word| first.0[word] ^ block.0[word]));
        sha256(&[mixed.bytes(), &[index as u8 + 1], dst, &dst_length], block.bytes_mut());
        for word in 0..4 {
            out[index / 2][index % 2 * 4 + word] = block.0[word];
        }
    }
}

#[inline(never)]
pub fn hash_to_field(message: &[u8], dst: &[u8], out: &mut [FieldElement; 2]) {
    let mut uniform = [[0u64; 8]; 4];
    expand_message(message, dst, &mut uniform);
    for (element, numbers) in out.iter_mut().zip(uniform.chunks_exact(2)) {
        enter(&numbers[0], &mut element.value.c0);
        enter(&numbers[1], &mut element.value.c1);
        set_sign(element);
    }
}

/// A 512-bit big-endian number to Montgomery form.
#[inline(never)]
fn enter(number: &[u64; 8], out: &mut Fp) {
    let mut words = [0u64; 8];
    for index in 0..8 {
        words[index] = u64::from_be(number[7 - index]);
    }
    fp::from_wide(&words, out);
}

/// sgn0 and the zero test, both on the canonical value.
#[inline(never)]
pub fn set_sign(element: &mut FieldElement) {
    let mut words = [0u64; 6];
    canonical(&element.value.c0, &mut words);
    element.is_zero = false;
    if words == [0; 6] {
        canonical(&element.value.c1, &mut words);
        element.is_zero = words == [0; 6];
    }
    element.is_odd = words[0] & 1 == 1;
}

#[inline(never)]
fn canonical(a: &Fp, out: &mut fp::Words) {
    let mut plain = fp::ZERO;
    fp::divide_by_r(&mut plain, a);
    fp::to_words(&plain, out);
}
