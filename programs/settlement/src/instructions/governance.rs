//! Governance: parameters change after a delay, posting pauses at once, governance moves in two steps. It cannot touch stake, claims or
//! what is posted already.

use crate::{
    constants::*,
    error::DisputeError,
    events::{
        GovernanceAccepted, GovernanceOffered, ParametersApplied, ParametersCancelled, ParametersProposed, PostingPaused,
        PostingUnpaused,
    },
    math::add,
    state::{Config, ParameterProposal, Parameters},
    storage::{create, created, is_unused},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

pub fn check_governance(config: &Config, signer: &Address) -> Result<()> {
    require!(anchor_lang::address_eq(signer, &config.governance), DisputeError::NotGovernance);
    Ok(())
}

#[derive(Accounts)]
pub struct Govern {
    pub governance: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
}

#[inline(never)]
pub fn pause(ctx: &mut Context<Govern>) -> Result<()> {
    let config = &mut ctx.accounts.config;
    check_governance(config, ctx.accounts.governance.address())?;
    require!(config.paused == 0, DisputeError::AlreadyPaused);
    config.paused = 1;
    config.invariant()?;
    emit!(PostingPaused { governance: config.governance });
    Ok(())
}

#[inline(never)]
pub fn unpause(ctx: &mut Context<Govern>) -> Result<()> {
    let config = &mut ctx.accounts.config;
    check_governance(config, ctx.accounts.governance.address())?;
    require!(config.paused == 1, DisputeError::NotPaused);
    config.paused = 0;
    config.invariant()?;
    emit!(PostingUnpaused { governance: config.governance });
    Ok(())
}

/// The zero address takes an offer back.
#[inline(never)]
pub fn offer(ctx: &mut Context<Govern>, next_governance: &Address) -> Result<()> {
    let config = &mut ctx.accounts.config;
    check_governance(config, ctx.accounts.governance.address())?;
    config.next_governance = *next_governance;
    config.invariant()?;
    emit!(GovernanceOffered { governance: config.governance, next_governance: *next_governance });
    Ok(())
}

#[derive(Accounts)]
pub struct AcceptGovernance {
    pub next_governance: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
}

#[inline(never)]
pub fn accept(ctx: &mut Context<AcceptGovernance>) -> Result<()> {
    let next = *ctx.accounts.next_governance.address();
    let config = &mut ctx.accounts.config;
    require!(anchor_lang::address_eq(&next, &config.next_governance), DisputeError::NotNextGovernance);
    config.governance = next;
    config.next_governance = Address::new_from_array([0; 32]);
    config.invariant()?;
    emit!(GovernanceAccepted { governance: next });
    Ok(())
}

#[derive(Accounts)]
pub struct ProposeParameters {
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    pub governance: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [PROPOSAL_SEED], bump)]
    pub proposal: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn propose(ctx: &mut Context<ProposeParameters>, parameters: &Parameters) -> Result<()> {
    let accounts = &ctx.accounts;
    check_governance(&accounts.config, accounts.governance.address())?;
    parameters.check()?;
    let view = accounts.proposal.account();
    require!(is_unused(view), DisputeError::ProposalExists);
    let slot = Clock::get()?.slot;
    let space = 8 + core::mem::size_of::<ParameterProposal>();
    let bump = create::<ParameterProposal>(accounts.payer.account(), view, &[PROPOSAL_SEED], space)?;
    let mut proposal = created::<ParameterProposal>(view)?;
    proposal.version = ACCOUNT_VERSION;
    proposal.bump = bump;
    proposal.proposer = *accounts.payer.address();
    proposal.proposed_slot = slot;
    // The delay in force now, whatever the proposal makes of it.
    proposal.ready_slot = add(slot, accounts.config.parameters.governance_delay_slots)?;
    proposal.parameters = *parameters;
    proposal.invariant()?;
    emit!(ParametersProposed { ready_slot: proposal.ready_slot });
    Ok(())
}

#[derive(Accounts)]
pub struct CloseProposal {
    /// cancel_parameters: governance. apply_parameters: anyone.
    pub signer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [PROPOSAL_SEED], bump = proposal.bump)]
    pub proposal: Account<ParameterProposal>,
    /// Who paid for the proposal: gets its rent back.
    #[account(mut, unsafe(dup))]
    pub proposer: UncheckedAccount,
}

impl CloseProposal {
    fn close(&mut self) -> Result<()> {
        let proposer = self.proposer.address();
        require!(anchor_lang::address_eq(proposer, &self.proposal.proposer), DisputeError::WrongProposer);
        self.proposal.close(*self.proposer.account())?;
        Ok(())
    }
}

#[inline(never)]
pub fn apply(ctx: &mut Context<CloseProposal>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let proposed_slot = accounts.proposal.proposed_slot;
    require!(Clock::get()?.slot > accounts.proposal.ready_slot, DisputeError::ProposalTooYoung);
    // A later program may know rules that the proposal was never checked against.
    accounts.proposal.parameters.check()?;
    accounts.config.parameters = accounts.proposal.parameters;
    accounts.close()?;
    accounts.config.invariant()?;
    emit!(ParametersApplied { proposed_slot });
    Ok(())
}

#[inline(never)]
pub fn cancel(ctx: &mut Context<CloseProposal>) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let proposed_slot = accounts.proposal.proposed_slot;
    check_governance(&accounts.config, accounts.signer.address())?;
    accounts.close()?;
    emit!(ParametersCancelled { proposed_slot });
    Ok(())
}
