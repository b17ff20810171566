use crate::{error::SettlementError, events::ProofBufferClosed, state::ProofBuffer};
use anchor_lang::prelude::*;

#[derive(Accounts)]
pub struct CloseProofBuffer {
    #[account(mut)]
    pub owner: Signer,
    /// Seeds: "buffer", owner, id u64 little-endian.
    #[account(mut)]
    pub buffer: Account<ProofBuffer>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<CloseProofBuffer>, id: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let owner = *accounts.owner.address();
    require!(anchor_lang::address_eq(&accounts.buffer.owner, &owner), SettlementError::NotBufferOwner);
    require!(accounts.buffer.id == id, SettlementError::WrongAddress);
    accounts.buffer.close(*accounts.owner.account())?;
    emit!(ProofBufferClosed { owner, id });
    Ok(())
}
