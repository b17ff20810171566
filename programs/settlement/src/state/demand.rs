use crate::{error::SettlementError, state::check_version};
use anchor_lang::prelude::*;

/// A chunk of 1,024 bytes under the data root.
pub const DEMAND_CHUNK: u8 = 1;
/// A record under the results root, with its authorisation under the data root.
pub const DEMAND_RECORD: u8 = 2;
/// An entry under the trace root.
pub const DEMAND_TRACE_ENTRY: u8 = 3;

/// Something under a root of a posted checkpoint that somebody wants shown. Holds its bond above its rent.
#[account]
pub struct Demand {
    pub version: u8,
    pub bump: u8,
    /// 1 chunk, 2 record, 3 trace entry.
    pub kind: u8,
    pub reserved: [u8; 5],
    pub epoch: u64,
    pub index: u64,
    pub demander: Address,
    pub bond_lamports: u64,
    pub opened_slot: u64,
    /// It may be answered up to this slot; afterwards the checkpoint falls.
    pub answer_until_slot: u64,
}

impl Demand {
    pub fn invariant(&self) -> Result<()> {
        check_version(self.version)?;
        let holds = (DEMAND_CHUNK..=DEMAND_TRACE_ENTRY).contains(&self.kind)
            && self.epoch > 0
            && self.bond_lamports > 0
            && self.answer_until_slot > self.opened_slot;
        require!(holds, SettlementError::BrokenInvariant);
        Ok(())
    }
}
