use crate::{
    storage::{check_address, create, created, is_unused, pay},
    constants::*,
    error::SettlementError,
    events::Deposited,
    math::add,
    message::{deposit_payload, InboxMessage},
    state::{Config, InboxEntry},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
pub struct Deposit {
    #[account(mut)]
    pub depositor: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    /// Seeds: "inbox", Config's inbox count as u64 little-endian.
    #[account(mut)]
    pub inbox_entry: UncheckedAccount,
    #[account(mut, seeds = [VAULT_SEED], bump = config.vault_bump)]
    pub vault: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn handler(ctx: &mut Context<Deposit>, lamports: u64, beneficiary: &Address) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let config = &mut accounts.config;
    require!(config.escaped == 0, SettlementError::Escaped);
    require!(lamports >= config.parameters.min_inbox_lamports, SettlementError::DepositBelowMinimum);
    let view = accounts.inbox_entry.account();
    require!(is_unused(view), SettlementError::WrongInboxEntry);
    let slot = Clock::get()?.slot;
    let index = config.inbox.count;
    let lamports_after = add(config.inbox.lamports, lamports)?;
    require!(lamports_after < MAX_TOTAL_LAMPORTS, SettlementError::ArithmeticOverflow);

    let depositor = accounts.depositor.account();
    let seeds: [&[u8]; 2] = [INBOX_SEED, &index.to_le_bytes()];
    // Another deposit may have taken the index that this one was built for.
    check_address(view, &seeds).map_err(|_| SettlementError::WrongInboxEntry)?;
    let bump = create::<InboxEntry>(depositor, view, &seeds, 8 + core::mem::size_of::<InboxEntry>())?;
    let mut entry = created::<InboxEntry>(view)?;
    entry.version = ACCOUNT_VERSION;
    entry.bump = bump;
    entry.kind = INBOX_KIND_DEPOSIT;
    entry.index = index;
    entry.slot = slot;
    entry.lamports = lamports;
    entry.beneficiary = *beneficiary;
    entry.lamports_after = lamports_after;
    deposit_payload(beneficiary.as_array(), &mut entry.payload_hash);
    let payload_hash = entry.payload_hash;
    let message = InboxMessage { index, slot, kind: INBOX_KIND_DEPOSIT, lamports, payload_hash: &payload_hash };
    message.extend(&config.inbox.hash, &mut entry.hash_after);
    entry.invariant()?;

    pay(depositor, accounts.vault.account(), lamports)?;
    config.inbox.count = add(index, 1)?;
    config.inbox.lamports = lamports_after;
    config.inbox.hash = entry.hash_after;
    config.invariant()?;
    emit!(Deposited { index, slot, lamports, beneficiary: *beneficiary });
    Ok(())
}
