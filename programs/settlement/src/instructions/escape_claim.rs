use super::claim::Claim;
use crate::{
    constants::*,
    error::{InboxError, SettlementError},
    events::EscapeClaimed,
    math::{add, sub},
    state_tree::{AccountValue, ACCOUNT_VALUE_BYTES},
    storage::pay_out,
};
use anchor_lang::prelude::*;

/// Pays all that the account has in the finalized state and was not paid before: balance, locked fees and stake, payable.
#[inline(never)]
pub fn handler(ctx: &mut Context<Claim>, value: &[u8; ACCOUNT_VALUE_BYTES], siblings: &[[u8; 32]]) -> Result<()> {
    let bump = ctx.bumps.claim;
    let accounts = &mut ctx.accounts;
    require!(accounts.config.escaped == 1, InboxError::NotEscaped);
    let value = AccountValue(value);
    let public_key = accounts.check(&value, siblings)?;
    let mut claim = accounts.open_claim(bump)?;
    require!(claim.escaped == 0, InboxError::EscapePaid);
    let lamports = sub(value.all_lamports()?, claim.claimed_lamports)?;
    require!(lamports > 0, SettlementError::NothingToClaim);
    let claimed_total = add(accounts.config.claimed_total, lamports)?;
    // A state whose leaves hold more than was taken from the inbox is its signers' fraud: it must not reach the entries to be refunded.
    require!(claimed_total <= accounts.config.finalized.inbox_lamports, InboxError::EscapeAboveInbox);
    let vault_bump = accounts.config.vault_bump;
    pay_out(accounts.vault.account(), accounts.recipient.account(), lamports, VAULT_SEED, vault_bump)?;

    claim.escaped = 1;
    claim.claimed_lamports = add(claim.claimed_lamports, lamports)?;
    claim.invariant()?;
    accounts.config.claimed_total = claimed_total;
    accounts.config.invariant()?;
    emit!(EscapeClaimed { public_key, lamports });
    Ok(())
}
