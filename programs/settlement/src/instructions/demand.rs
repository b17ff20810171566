//! Demands: somebody puts down a bond to see what lies under a root of a posted checkpoint. It opens within the challenge window only and
//! holds finalization; whoever answers gets the bond; without an answer in time the checkpoint falls.

use super::challenge::{share_bond, tell, Shares};
use crate::{
    constants::*,
    error::DisputeError,
    events::{DemandOpened, DemandReturned},
    math::{add, sub},
    rejection::{reject, Ground},
    state::{
        demand::{DEMAND_CHUNK, DEMAND_TRACE_ENTRY},
        Checkpoint, CheckpointStatus, Config, Demand,
    },
    storage::{create, created, is_unused, pay},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct OpenDemand {
    #[account(mut)]
    pub demander: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// Seeds: "demand", checkpoint, kind (one byte) and index (u64 little-endian) as one seed.
    #[account(mut)]
    pub demand: UncheckedAccount,
    pub system_program: Program<System>,
}

#[inline(never)]
pub fn open(ctx: &mut Context<OpenDemand>, epoch: u64, kind: u8, index: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let slot = Clock::get()?.slot;
    let parameters = accounts.config.parameters;
    accounts.config.check_live(&accounts.checkpoint)?;
    require!((DEMAND_CHUNK..=DEMAND_TRACE_ENTRY).contains(&kind), DisputeError::UnknownDemandKind);
    require!(slot <= accounts.checkpoint.challenge_until_slot, DisputeError::ChallengeWindowOver);
    let (view, demander) = (accounts.demand.account(), accounts.demander.account());
    require!(is_unused(view), DisputeError::DemandExists);
    let mut what = [kind; 9];
    what[1..].copy_from_slice(&index.to_le_bytes());
    let seeds: [&[u8]; 3] = [DEMAND_SEED, accounts.checkpoint.address().as_array(), &what];
    let bump = create::<Demand>(demander, view, &seeds, 8 + core::mem::size_of::<Demand>())?;
    pay(demander, view, parameters.demand_bond_lamports)?;
    let mut demand = created::<Demand>(view)?;
    demand.version = ACCOUNT_VERSION;
    demand.bump = bump;
    demand.kind = kind;
    demand.epoch = epoch;
    demand.index = index;
    demand.demander = *accounts.demander.address();
    demand.bond_lamports = parameters.demand_bond_lamports;
    demand.opened_slot = slot;
    demand.answer_until_slot = add(slot, parameters.answer_slots)?;
    demand.invariant()?;
    accounts.checkpoint.open_demands = add(accounts.checkpoint.open_demands, 1)?;
    accounts.checkpoint.invariant()?;
    emit!(DemandOpened {
        epoch,
        kind,
        index,
        demander: demand.demander,
        answer_until_slot: demand.answer_until_slot,
    });
    Ok(())
}

/// WrongDemand unless the demand is of this checkpoint, WrongDemander unless its bond and rent go back to whoever opened it.
pub fn check_demand(checkpoint: &Checkpoint, demand: &Demand, demander: &Address) -> Result<()> {
    require!(demand.epoch == checkpoint.epoch, DisputeError::WrongDemand);
    require!(anchor_lang::address_eq(demander, &demand.demander), DisputeError::WrongDemander);
    Ok(())
}

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct TimeoutDemand {
    pub payer: Signer,
    #[account(mut, seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    /// The checkpoint that it extends; none when it extends none.
    pub parent: Option<Account<Checkpoint>>,
    #[account(mut, seeds = [TREASURY_SEED], bump = config.treasury_bump)]
    pub treasury: UncheckedAccount,
    #[account(mut)]
    pub demand: Account<Demand>,
    /// Who opened the demand: gets its bond and rent back, and the challenger's half of the poster's bond.
    #[account(mut, unsafe(dup))]
    pub demander: UncheckedAccount,
}

/// Nobody answered: the checkpoint falls as if the demander had proved it wrong.
#[inline(never)]
pub fn timeout(ctx: &mut Context<TimeoutDemand>, epoch: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    check_demand(&accounts.checkpoint, &accounts.demand, accounts.demander.address())?;
    require!(Clock::get()?.slot > accounts.demand.answer_until_slot, DisputeError::AnswerOpen);
    let parent = accounts.parent.as_deref();
    accounts.checkpoint.open_demands = sub(accounts.checkpoint.open_demands, 1)?;
    let bond_lamports = reject(&mut accounts.config, &mut accounts.checkpoint, parent)?;
    let shares = Shares {
        checkpoint: accounts.checkpoint.account(),
        challenger: accounts.demander.account(),
        treasury: accounts.treasury.account(),
    };
    share_bond(&shares, bond_lamports)?;
    accounts.demand.close(*accounts.demander.account())?;
    tell(&accounts.config, epoch, Ground::Unanswered, accounts.demander.address(), bond_lamports);
    Ok(())
}

#[derive(Accounts)]
#[instruction(epoch: u64)]
pub struct ReturnDemand {
    pub payer: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [CHECKPOINT_SEED, &epoch.to_le_bytes()], bump = checkpoint.bump)]
    pub checkpoint: Account<Checkpoint>,
    #[account(mut)]
    pub demand: Account<Demand>,
    /// Who opened the demand.
    #[account(mut, unsafe(dup))]
    pub demander: UncheckedAccount,
}

/// The checkpoint fell for another reason, or the hatch was opened: nobody has to answer any more.
#[inline(never)]
pub fn give_back(ctx: &mut Context<ReturnDemand>, epoch: u64) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let (config, checkpoint, demand) = (&accounts.config, &mut accounts.checkpoint, &mut accounts.demand);
    check_demand(checkpoint, demand, accounts.demander.address())?;
    let is_open = checkpoint.status == CheckpointStatus::Posted as u8 && !config.is_dead(epoch);
    require!(config.escaped == 1 || !is_open, DisputeError::CheckpointLive);
    let (kind, index, bond_lamports) = (demand.kind, demand.index, demand.bond_lamports);
    checkpoint.open_demands = sub(checkpoint.open_demands, 1)?;
    checkpoint.invariant()?;
    demand.close(*accounts.demander.account())?;
    emit!(DemandReturned { epoch, kind, index, bond_lamports });
    Ok(())
}
