use crate::{
    constants::*,
    events::WithdrawalForced,
    inbox::{append, forced_fee_lamports, NewEntry},
    message::withdrawal_payload,
    state::Config,
    storage::pay,
};
use anchor_lang::{prelude::*, programs::System};

/// lamports: credited on L2 before the withdrawal; withdraw_lamports: the most to take out; task_id: the owner's overdue task to be
/// refunded first, or zeros; max_fee_lamports: the most that the entry itself may cost.
#[derive(Clone, Copy, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct InboxWithdrawalArgs {
    pub lamports: u64,
    pub withdraw_lamports: u64,
    pub task_id: [u8; 32],
    pub max_fee_lamports: u64,
}

#[derive(Accounts)]
pub struct InboxWithdrawal {
    #[account(mut)]
    pub owner: Signer,
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

#[inline(never)]
pub fn handler(ctx: &mut Context<InboxWithdrawal>, args: &InboxWithdrawalArgs) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let owner = *accounts.owner.address();
    let mut new = NewEntry {
        kind: INBOX_KIND_WITHDRAWAL,
        lamports: args.lamports,
        beneficiary: &owner,
        number: args.withdraw_lamports,
        reference: args.task_id,
        kind_mode: 0,
        payload_hash: [0; 32],
        index: 0,
        slot: 0,
    };
    withdrawal_payload(owner.as_array(), args.withdraw_lamports, &args.task_id, &mut new.payload_hash);
    let fee_lamports = forced_fee_lamports(&accounts.config, args.max_fee_lamports)?;
    let payer = accounts.owner.account();
    append(payer, accounts.inbox_entry.account(), &mut accounts.config, &mut new)?;
    pay(payer, accounts.vault.account(), args.lamports)?;
    pay(payer, accounts.treasury.account(), fee_lamports)?;
    emit!(WithdrawalForced {
        index: new.index,
        slot: new.slot,
        owner,
        lamports: args.lamports,
        fee_lamports,
        withdraw_lamports: args.withdraw_lamports,
        task_id: args.task_id,
    });
    Ok(())
}
