//! Evidence that does not fit a transaction, read in place from a proof buffer: parts one after the other, integers little-endian.
//! BadEvidence when it ends too early. What lies behind the last part is not looked at: buffers are rounded up.

use crate::{
    error::DisputeError,
    hash::Hash,
    merkle::{Place, Siblings},
    state::ProofBuffer,
    storage::data_of,
};
use anchor_lang::prelude::*;

pub struct Evidence<'a> {
    rest: &'a [u8],
}

impl<'a> Evidence<'a> {
    /// BufferMissing without a buffer.
    pub fn of(buffer: &'a Option<Account<ProofBuffer>>) -> Result<Self> {
        let buffer = buffer.as_ref().ok_or(DisputeError::BufferMissing)?;
        let end = ProofBuffer::HEADER_BYTES + buffer.length as usize;
        Ok(Evidence { rest: &data_of(buffer.account())[ProofBuffer::HEADER_BYTES..end] })
    }

    #[inline(never)]
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        require!(bytes <= self.rest.len(), DisputeError::BadEvidence);
        let (part, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        Ok(part)
    }

    /// A part of fixed size.
    #[inline(always)]
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let part = self.take(N)?;
        // SAFETY: `take` gave N bytes, and bytes have no alignment.
        Ok(unsafe { &*(part.as_ptr() as *const [u8; N]) })
    }

    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(*self.array::<8>()?))
    }

    /// Length u32, then so many bytes.
    #[inline(never)]
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = u32::from_le_bytes(*self.array::<4>()?) as usize;
        self.take(length)
    }

    /// Index u64 and count u64.
    pub fn place(&mut self, place: &mut Place) -> Result<()> {
        place.index = self.u64()?;
        place.count = self.u64()?;
        Ok(())
    }

    /// Their number, one byte, then 32 bytes each.
    #[inline(never)]
    pub fn siblings(&mut self) -> Result<Siblings<'a>> {
        let count = usize::from(self.array::<1>()?[0]);
        self.take(count << 5)
    }

    pub fn hash(&mut self) -> Result<&'a Hash> {
        self.array::<32>()
    }
}
