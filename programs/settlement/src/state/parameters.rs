use crate::{constants::MAX_VALIDATORS, error::SettlementError, math::add};
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
        Ok(())
    }
}
