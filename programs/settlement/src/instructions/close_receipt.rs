use crate::{error::SlashError, events::ReceiptClosed, state::Receipt};
use anchor_lang::prelude::*;

#[derive(Accounts)]
pub struct CloseReceipt {
    #[account(mut)]
    pub owner: Signer,
    /// Seeds: "receipt", owner, hash of the message.
    #[account(mut)]
    pub receipt: Account<Receipt>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<CloseReceipt>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let owner = *accounts.owner.address();
    require!(anchor_lang::address_eq(&accounts.receipt.owner, &owner), SlashError::NotReceiptOwner);
    let message_hash = accounts.receipt.message_hash;
    accounts.receipt.close(*accounts.owner.account())?;
    emit!(ReceiptClosed { owner, message_hash });
    Ok(())
}
