use crate::{
    constants::{ALL_BASIS_POINTS, MAX_TOTAL_LAMPORTS, MAX_VALIDATORS},
    error::SettlementError,
    ledger::RESULT_HOLD_SLOTS,
    math::add,
};
use anchor_lang::prelude::*;

/// Largest number of inbox entries that one checkpoint may have to take: a batch has at most 4,096 records.
const MAX_INBOX_PER_EPOCH: u64 = 4_096;

/// Every parameter of time and size. Set once by `initialize`; slots are L1 slots.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct Parameters {
    pub challenge_window_slots: u64,
    pub inclusion_window_slots: u64,
    pub max_expiry_slots: u64,
    pub min_seal_gap_slots: u64,
    pub answer_slots: u64,
    pub stall_slots: u64,
    pub hatch_slots: u64,
    pub unbonding_slots: u64,
    pub max_inbox_per_epoch: u64,
    pub min_inbox_lamports: u64,
    pub min_validators: u64,
    pub min_set_stake_lamports: u64,
    pub min_validator_stake_lamports: u64,
    /// A heartbeat older than this is missing when the chain stalls.
    pub heartbeat_slots: u64,
    /// Least time in jail.
    pub jail_slots: u64,
    /// Checkpoints in a row that a validator may fail to sign before anyone may have it jailed.
    pub max_misses: u64,
    pub miss_slash_basis_points: u64,
    /// Before correlation: who equivocates alone loses this.
    pub equivocation_slash_basis_points: u64,
    /// Lost by the signers of a rejected checkpoint.
    pub fraud_slash_basis_points: u64,
    /// Of what is slashed, to whoever reported it.
    pub reporter_basis_points: u64,
    /// Of an epoch's reward, to the poster.
    pub poster_reward_basis_points: u64,
    pub poster_bond_lamports: u64,
    pub demand_bond_lamports: u64,
    /// From the treasury for each finalized checkpoint, while it has that much.
    pub reward_lamports_per_epoch: u64,
    /// To the treasury for a forced entry; rises with the backlog.
    pub forced_fee_lamports: u64,
    /// From a proposal of parameters to their taking effect.
    pub governance_delay_slots: u64,
}

fn is_share(basis_points: u64) -> bool {
    basis_points <= ALL_BASIS_POINTS
}

impl Parameters {
    /// Each rule of docs/settlement.md has its own error.
    pub fn check(&self) -> Result<()> {
        require!(self.challenge_window_slots > 0, SettlementError::BadChallengeWindow);
        require!(self.inclusion_window_slots > 0, SettlementError::BadInclusionWindow);
        require!(self.max_expiry_slots > 0, SettlementError::BadMaxExpiry);
        // Config remembers two sealed versions only: with a smaller gap a third could be sealed between cut and post.
        require!(self.min_seal_gap_slots >= self.max_expiry_slots, SettlementError::BadSealGap);
        require!(self.answer_slots > 0, SettlementError::BadAnswerSlots);
        require!(self.stall_slots > self.max_expiry_slots, SettlementError::BadStallSlots);
        let settled = add(add(self.challenge_window_slots, self.answer_slots)?, self.max_expiry_slots)?;
        // A healthy checkpoint must have had the time to finalize before anyone may open the hatch.
        require!(
            self.hatch_slots > settled && self.hatch_slots > self.stall_slots,
            SettlementError::BadHatchSlots
        );
        require!(self.unbonding_slots > settled, SettlementError::BadUnbondingSlots);
        // A strike at the end of all that must have been taken from the inbox before the result that it reverses may be paid.
        let struck = add(settled, self.inclusion_window_slots)?;
        require!(struck < RESULT_HOLD_SLOTS, SettlementError::BadResultHold);
        require!(
            self.max_inbox_per_epoch > 0 && self.max_inbox_per_epoch <= MAX_INBOX_PER_EPOCH,
            SettlementError::BadMaxInbox
        );
        require!(self.min_inbox_lamports > 0, SettlementError::BadMinInboxLamports);
        require!(
            self.min_validators > 0 && self.min_validators <= MAX_VALIDATORS as u64,
            SettlementError::BadMinValidators
        );
        require!(self.min_set_stake_lamports > 0, SettlementError::BadMinSetStake);
        require!(self.min_validator_stake_lamports > 0, SettlementError::BadMinValidatorStake);
        self.check_stake()?;
        self.check_money()
    }

    fn check_stake(&self) -> Result<()> {
        require!(
            self.heartbeat_slots > 0 && self.heartbeat_slots <= self.stall_slots,
            SettlementError::BadHeartbeatSlots
        );
        require!(self.jail_slots > 0, SettlementError::BadJailSlots);
        require!(self.max_misses > 0 && self.max_misses < u64::from(u32::MAX), SettlementError::BadMaxMisses);
        let shares = is_share(self.miss_slash_basis_points)
            && self.equivocation_slash_basis_points > 0
            && is_share(self.equivocation_slash_basis_points)
            && self.fraud_slash_basis_points > 0
            && is_share(self.fraud_slash_basis_points);
        require!(shares, SettlementError::BadSlash);
        // Whoever reports itself must lose most of what it would have lost.
        require!(self.reporter_basis_points <= ALL_BASIS_POINTS / 2, SettlementError::BadReporterShare);
        // Those whom a change of parameters harms must have the time to leave first.
        require!(self.governance_delay_slots > self.unbonding_slots, SettlementError::BadGovernanceDelay);
        Ok(())
    }

    fn check_money(&self) -> Result<()> {
        require!(is_share(self.poster_reward_basis_points), SettlementError::BadPosterReward);
        require!(self.poster_bond_lamports > 0 && self.demand_bond_lamports > 0, SettlementError::BadBond);
        require!(self.forced_fee_lamports > 0, SettlementError::BadForcedFee);
        let largest = self
            .poster_bond_lamports
            .max(self.demand_bond_lamports)
            .max(self.reward_lamports_per_epoch)
            .max(self.forced_fee_lamports);
        require!(largest < MAX_TOTAL_LAMPORTS >> 16, SettlementError::BadBond);
        Ok(())
    }
}
