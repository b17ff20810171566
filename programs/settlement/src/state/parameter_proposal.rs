use crate::{error::SettlementError, state::{check_version, Parameters}};
use anchor_lang::prelude::*;

/// Parameters that take effect when anybody asks, after a delay in which those whom they harm can leave.
#[account]
pub struct ParameterProposal {
    pub version: u8,
    pub bump: u8,
    pub reserved: [u8; 6],
    /// Who paid for this account.
    pub proposer: Address,
    pub proposed_slot: u64,
    /// They may be applied after this slot.
    pub ready_slot: u64,
    pub parameters: Parameters,
}

impl ParameterProposal {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = self.ready_slot > self.proposed_slot;
        require!(holds, SettlementError::BrokenInvariant);
        self.parameters.check()
    }
}
