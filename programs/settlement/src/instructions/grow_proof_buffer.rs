use crate::{
    constants::{GROWTH_BYTES, SIBLING_BYTES},
    error::{DisputeError, SettlementError},
    events::ProofBufferGrown,
    state::ProofBuffer,
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
pub struct GrowProofBuffer {
    #[account(mut)]
    pub owner: Signer,
    /// Seeds: "buffer", owner, id u64 little-endian.
    #[account(mut)]
    pub buffer: Account<ProofBuffer>,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<GrowProofBuffer>, id: u64, length: u32) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let owner = *accounts.owner.address();
    require!(anchor_lang::address_eq(&accounts.buffer.owner, &owner), SettlementError::NotBufferOwner);
    require!(accounts.buffer.id == id, SettlementError::WrongAddress);
    let (old, new) = (accounts.buffer.length as usize, length as usize);
    require!(
        new > old && new <= old + GROWTH_BYTES && new <= ProofBuffer::MAX_LENGTH && new % SIBLING_BYTES == 0,
        DisputeError::BadBufferGrowth
    );
    let mut view = *accounts.buffer.account();
    anchor_lang::realloc_account(&mut view, ProofBuffer::HEADER_BYTES + new, accounts.owner.account(), false)?;
    accounts.buffer.length = length;
    accounts.buffer.invariant()?;
    emit!(ProofBufferGrown { owner, id, length });
    Ok(())
}
