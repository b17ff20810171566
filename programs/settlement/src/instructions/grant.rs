use super::governance::check_governance;
use crate::{
    constants::*,
    error::DisputeError,
    events::Granted,
    inbox::{append, NewEntry},
    math::add,
    message::deposit_payload,
    state::Config,
    storage::{pay_out, rent_floor_lamports},
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
pub struct Grant {
    /// Pays the entry's rent.
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    pub governance: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    /// Seeds: "inbox", Config's inbox count as u64 little-endian.
    #[account(mut)]
    pub inbox_entry: UncheckedAccount,
    #[account(mut, seeds = [VAULT_SEED], bump = config.vault_bump)]
    pub vault: UncheckedAccount,
    #[account(mut, seeds = [TREASURY_SEED], bump = config.treasury_bump)]
    pub treasury: UncheckedAccount,
    pub system_program: Program<System>,
}

/// A deposit that the treasury pays.
#[inline(never)]
pub fn handler(ctx: &mut Context<Grant>, lamports: u64, beneficiary: &Address) -> Result<()> {
    let accounts = &mut ctx.accounts;
    check_governance(&accounts.config, accounts.governance.address())?;
    let (payer, treasury) = (accounts.payer.account(), accounts.treasury.account());
    let needed = add(lamports, rent_floor_lamports()?)?;
    require!(treasury.lamports() >= needed, DisputeError::GrantAboveTreasury);
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
    append(payer, accounts.inbox_entry.account(), &mut accounts.config, &mut new)?;
    pay_out(treasury, accounts.vault.account(), lamports, TREASURY_SEED, accounts.config.treasury_bump)?;
    emit!(Granted { index: new.index, slot: new.slot, lamports, beneficiary: *beneficiary });
    Ok(())
}
