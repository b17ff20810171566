use crate::{storage::grow, constants::*, error::SettlementError, events::RegistryGrown, state::Registry};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
pub struct GrowRegistry {
    #[account(mut)]
    pub payer: Signer,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<GrowRegistry>) -> Result<()> {
    let accounts = &ctx.accounts;
    let size_bytes = grow(
        accounts.registry.account(),
        accounts.payer.account(),
        Registry::FULL_BYTES,
        SettlementError::RegistryFullSize,
    )?;
    accounts.registry.invariant()?;
    emit!(RegistryGrown { size_bytes });
    Ok(())
}
