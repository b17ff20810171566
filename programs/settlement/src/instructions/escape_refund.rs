use crate::{
    constants::*,
    error::{InboxError, SettlementError},
    events::EntryPaidBack,
    state::{Config, InboxEntry},
    storage::pay_out,
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
#[instruction(index: u64)]
pub struct EscapeRefund {
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [VAULT_SEED], bump = config.vault_bump)]
    pub vault: UncheckedAccount,
    #[account(mut, seeds = [INBOX_SEED, &index.to_le_bytes()], bump = inbox_entry.bump)]
    pub inbox_entry: Account<InboxEntry>,
    /// The entry's beneficiary, an account of the system program; it may be the payer.
    #[account(mut, unsafe(dup))]
    pub recipient: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<EscapeRefund>, index: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let (config, entry) = (&accounts.config, &mut accounts.inbox_entry);
    require!(config.escaped == 1, InboxError::NotEscaped);
    require!(index >= config.finalized.inbox_cursor, InboxError::EntryTaken);
    require!(entry.refunded == 0, InboxError::EntryRefunded);
    require!(
        anchor_lang::address_eq(accounts.recipient.address(), &entry.beneficiary),
        SettlementError::WrongRecipient
    );
    require!(accounts.recipient.account().owned_by(&System::id()), SettlementError::RecipientNotSystem);
    let (lamports, beneficiary) = (entry.lamports, entry.beneficiary);
    entry.refunded = 1;
    entry.invariant()?;
    pay_out(accounts.vault.account(), accounts.recipient.account(), lamports, VAULT_SEED, config.vault_bump)?;
    emit!(EntryPaidBack { index, beneficiary, lamports });
    Ok(())
}
