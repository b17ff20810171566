use crate::{
    constants::*,
    error::InboxError,
    events::TaskForced,
    inbox::{append, forced_fee_lamports, NewEntry},
    message::TaskPayload,
    state::Config,
    storage::pay,
};
use anchor_lang::{prelude::*, programs::System};

/// lamports: the task's fee on L2, paid into the vault; max_fee_lamports: the most that the entry itself may cost beside.
#[derive(Clone, Copy, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct InboxTaskArgs {
    pub lamports: u64,
    pub spec_hash: [u8; 32],
    pub kind: u8,
    pub mode: u8,
    pub deadline_slot: u64,
    pub max_fee_lamports: u64,
}

#[derive(Accounts)]
pub struct InboxTask {
    #[account(mut)]
    pub client: Signer,
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
pub fn handler(ctx: &mut Context<InboxTask>, args: &InboxTaskArgs) -> Result<()> {
    let accounts = &mut ctx.accounts;
    // No record can hold others: such an entry could never be taken, and would stop the inbox.
    require!(args.kind > 0 && args.kind <= LAST_TASK_KIND, InboxError::UnknownTaskKind);
    require!(args.mode > 0 && args.mode <= LAST_TASK_MODE, InboxError::UnknownTaskMode);
    let client = *accounts.client.address();
    let mut new = NewEntry {
        kind: INBOX_KIND_TASK,
        lamports: args.lamports,
        beneficiary: &client,
        number: args.deadline_slot,
        reference: args.spec_hash,
        kind_mode: args.kind << 4 | args.mode,
        payload_hash: [0; 32],
        index: 0,
        slot: 0,
    };
    TaskPayload {
        client: client.as_array(),
        spec_hash: &args.spec_hash,
        kind: args.kind,
        mode: args.mode,
        deadline_slot: args.deadline_slot,
    }
    .hash(&mut new.payload_hash);
    let fee_lamports = forced_fee_lamports(&accounts.config, args.max_fee_lamports)?;
    let payer = accounts.client.account();
    append(payer, accounts.inbox_entry.account(), &mut accounts.config, &mut new)?;
    require!(args.deadline_slot > new.slot, InboxError::TaskDeadlinePassed);
    pay(payer, accounts.vault.account(), args.lamports)?;
    pay(payer, accounts.treasury.account(), fee_lamports)?;
    emit!(TaskForced {
        index: new.index,
        slot: new.slot,
        client,
        lamports: args.lamports,
        fee_lamports,
        spec_hash: args.spec_hash,
        kind: args.kind,
        mode: args.mode,
        deadline_slot: args.deadline_slot,
    });
    Ok(())
}
