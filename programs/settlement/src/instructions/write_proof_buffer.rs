use crate::{storage::data_of_mut, error::SettlementError, events::ProofBufferWritten, state::ProofBuffer};
use anchor_lang::prelude::*;

#[derive(Accounts)]
pub struct WriteProofBuffer {
    pub owner: Signer,
    /// Seeds: "buffer", owner, id u64 little-endian.
    #[account(mut)]
    pub buffer: Account<ProofBuffer>,
}

/// Inlined: with the hidden pointer to the result these are more arguments than BPF can pass.
#[inline(always)]
pub fn handler(ctx: &mut Context<WriteProofBuffer>, id: u64, offset: u32, bytes: &[u8]) -> Result<()> {
    let accounts = &ctx.accounts;
    let buffer = &accounts.buffer;
    require!(anchor_lang::address_eq(&buffer.owner, accounts.owner.address()), SettlementError::NotBufferOwner);
    require!(buffer.id == id, SettlementError::WrongAddress);
    let end = (offset as usize).checked_add(bytes.len()).ok_or(SettlementError::BufferRange)?;
    require!(!bytes.is_empty() && end <= buffer.length as usize, SettlementError::BufferRange);
    let mut view = *buffer.account();
    // SAFETY: the bytes lie behind the header, which is the only other part of the account in use.
    let data = unsafe { data_of_mut(&mut view) };
    data[ProofBuffer::HEADER_BYTES + offset as usize..ProofBuffer::HEADER_BYTES + end].copy_from_slice(bytes);
    buffer.invariant()?;
    emit!(ProofBufferWritten { owner: buffer.owner, id, offset, length: bytes.len() as u32 });
    Ok(())
}
