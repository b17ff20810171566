use crate::{
    storage::{create, created, is_unused},
    constants::*,
    error::SettlementError,
    events::ProofBufferCreated,
    state::ProofBuffer,
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
pub struct CreateProofBuffer {
    #[account(mut)]
    pub owner: Signer,
    /// Seeds: "buffer", owner, id u64 little-endian.
    #[account(mut)]
    pub buffer: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<CreateProofBuffer>, id: u64, length: u32) -> Result<()> {
    let accounts = &ctx.accounts;
    let bytes = length as usize;
    require!(
        bytes > 0 && bytes <= ProofBuffer::MAX_CREATED && bytes % SIBLING_BYTES == 0,
        SettlementError::BadBufferLength
    );
    let view = accounts.buffer.account();
    require!(is_unused(view), SettlementError::BufferExists);
    let owner = *accounts.owner.address();
    let seeds: [&[u8]; 3] = [BUFFER_SEED, owner.as_array(), &id.to_le_bytes()];
    let bump = create::<ProofBuffer>(accounts.owner.account(), view, &seeds, ProofBuffer::HEADER_BYTES + bytes)?;
    let mut buffer = created::<ProofBuffer>(view)?;
    buffer.version = ACCOUNT_VERSION;
    buffer.bump = bump;
    buffer.length = length;
    buffer.owner = owner;
    buffer.id = id;
    buffer.invariant()?;
    emit!(ProofBufferCreated { owner, id, length });
    Ok(())
}
