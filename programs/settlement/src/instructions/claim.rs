use crate::{
    constants::*,
    error::SettlementError,
    events::Claimed,
    math::add,
    state::{self, Config, ProofBuffer},
    state_tree::{AccountValue, ACCOUNT_VALUE_BYTES},
    storage::{data_of, open, pay_out},
};
use anchor_lang::{prelude::*, programs::System};

#[derive(Accounts)]
pub struct Claim {
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [VAULT_SEED], bump = config.vault_bump)]
    pub vault: UncheckedAccount,
    /// The leaf's public key, an account of the system program; it may be the payer.
    #[account(mut, unsafe(dup))]
    pub recipient: UncheckedAccount,
    /// Created by the first claim.
    #[account(mut, seeds = [CLAIM_SEED, recipient], bump)]
    pub claim: UncheckedAccount,
    /// Siblings that did not fit the transaction.
    pub buffer: Option<Account<ProofBuffer>>,
    pub system_program: Program<System>,
}

impl Claim {
    /// That the recipient is the leaf's key, and the leaf stands under the finalized state root. Gives the key.
    #[inline(never)]
    pub fn check(&self, value: &AccountValue, siblings: &[[u8; 32]]) -> Result<Address> {
        let public_key = value.public_key();
        require!(
            anchor_lang::address_eq(self.recipient.address(), &public_key),
            SettlementError::WrongRecipient
        );
        require!(self.recipient.account().owned_by(&System::id()), SettlementError::RecipientNotSystem);
        check_proof(self, value, siblings)?;
        Ok(public_key)
    }

    /// What the account was paid so far, to be written.
    #[inline(never)]
    pub fn open_claim(&self, bump: u8) -> Result<Account<state::Claim>> {
        let seeds: [&[u8]; 2] = [CLAIM_SEED, self.recipient.address().as_ref()];
        let mut claim: Account<state::Claim> = open(self.payer.account(), self.claim.account(), &seeds, bump)?;
        claim.bump = bump;
        Ok(claim)
    }
}

/// Proves the leaf under the finalized state root.
#[inline(never)]
fn check_proof(accounts: &Claim, value: &AccountValue, siblings: &[[u8; 32]]) -> Result<()> {
    let mut root = [0u8; 32];
    match accounts.buffer.as_ref() {
        Some(buffer) => {
            require!(siblings.is_empty(), SettlementError::TwoProofs);
            let end = ProofBuffer::HEADER_BYTES + buffer.length as usize;
            value.root(&data_of(buffer.account())[ProofBuffer::HEADER_BYTES..end], &mut root)?;
        }
        None => value.root(siblings.as_flattened(), &mut root)?,
    }
    require!(root == accounts.config.finalized.state_root, SettlementError::BadProof);
    Ok(())
}

#[inline(never)]
pub fn handler(ctx: &mut Context<Claim>, value: &[u8; ACCOUNT_VALUE_BYTES], siblings: &[[u8; 32]]) -> Result<()> {
    let bump = ctx.bumps.claim;
    let accounts = &mut ctx.accounts;
    let value = AccountValue(value);
    require!(accounts.config.escaped == 0, SettlementError::Escaped);
    let public_key = accounts.check(&value, siblings)?;
    let mut claim = accounts.open_claim(bump)?;

    let payable = value.payable_lamports();
    require!(payable > claim.claimed_lamports, SettlementError::NothingToClaim);
    let lamports = payable - claim.claimed_lamports;
    let claimed_total = add(accounts.config.claimed_total, lamports)?;
    require!(claimed_total <= accounts.config.finalized.payable_total, SettlementError::ClaimAboveFinalized);
    let vault_bump = accounts.config.vault_bump;
    pay_out(accounts.vault.account(), accounts.recipient.account(), lamports, VAULT_SEED, vault_bump)?;

    claim.claimed_lamports = payable;
    claim.invariant()?;
    accounts.config.claimed_total = claimed_total;
    accounts.config.invariant()?;
    emit!(Claimed { public_key, lamports, claimed_total_lamports: payable });
    Ok(())
}
