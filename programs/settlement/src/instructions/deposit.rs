use crate::{
    constants::*,
    events::Deposited,
    inbox::{append, NewEntry},
    message::deposit_payload,
    state::Config,
    storage::pay,
};
use anchor_lang::{prelude::*, programs::System};

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
    let mut new = NewEntry {
        kind: INBOX_KIND_DEPOSIT,
        lamports,
        beneficiary,
        number: 0,
        reference: [0; 32],
        kind_mode: 0,
        payload_hash: [0; 32],
        index: 0,
        slot: 0,
    };
    deposit_payload(beneficiary.as_array(), &mut new.payload_hash);
    let depositor = accounts.depositor.account();
    append(depositor, accounts.inbox_entry.account(), &mut accounts.config, &mut new)?;
    pay(depositor, accounts.vault.account(), lamports)?;
    emit!(Deposited { index: new.index, slot: new.slot, lamports, beneficiary: *beneficiary });
    Ok(())
}
