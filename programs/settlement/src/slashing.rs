//! Taking stake for an offence: cut from the validator's pools, paid out of the stake vault to whoever reported it and to the Treasury.
//! Which offence costs what is decided by the instructions; here is only what every slash does, so that none forgets a part of it.

use crate::{
    constants::{ALL_BASIS_POINTS, STAKE_VAULT_SEED},
    error::SettlementError,
    math::{mul_div, sub},
    state::{
        registry::{slots_mut, FLAG_JAILED},
        validator::{NO_SLOT, VALIDATOR_JAILED, VALIDATOR_TOMBSTONED},
        Config, Validator,
    },
    storage::{data_of_mut, pay_out},
};
use anchor_lang::prelude::*;

/// What becomes of the validator beside the cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sentence {
    /// Nothing: it was jailed before.
    None,
    /// Out of sets until it is unjailed.
    Jail,
    /// Out of sets for ever.
    Tombstone,
}

/// The accounts of a slash. One struct, since BPF passes five arguments at most. The instruction has checked each: the Registry, the
/// stake vault and the Treasury by their seeds; `reporter` signed.
pub struct Slash<'a> {
    pub config: &'a Config,
    pub registry: &'a AccountView,
    pub stake_vault: &'a AccountView,
    pub treasury: &'a AccountView,
    pub reporter: &'a AccountView,
    /// Now.
    pub slot: u64,
}

/// What was cut, and the reporter's part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cut {
    pub lamports: u64,
    pub reporter_lamports: u64,
}

impl Slash<'_> {
    /// Cuts `basis_points` of both pools (rounded down for each), passes the sentence, writes both into the validator's registry slot,
    /// when it has one, and pays. Neither Validator nor Registry header may be borrowed elsewhere meanwhile.
    #[inline(never)]
    pub fn carry_out(&self, validator: &mut Validator, basis_points: u64, sentence: Sentence) -> Result<Cut> {
        let mut cut = Cut { lamports: validator.slash(basis_points)?, reporter_lamports: 0 };
        if sentence != Sentence::None {
            validator.flags |= VALIDATOR_JAILED;
            validator.jailed_slot = self.slot;
        }
        if sentence == Sentence::Tombstone {
            validator.flags |= VALIDATOR_TOMBSTONED;
        }
        validator.invariant()?;
        mirror(self.registry, validator)?;
        self.pay_slash(&mut cut)?;
        Ok(cut)
    }

    /// The reporter's share to the reporter, the rest to the Treasury.
    #[inline(never)]
    fn pay_slash(&self, cut: &mut Cut) -> Result<()> {
        cut.reporter_lamports =
            mul_div(cut.lamports, self.config.parameters.reporter_basis_points, ALL_BASIS_POINTS)?;
        let treasury_lamports = sub(cut.lamports, cut.reporter_lamports)?;
        for (to, lamports) in [(self.reporter, cut.reporter_lamports), (self.treasury, treasury_lamports)] {
            if lamports > 0 {
                pay_out(self.stake_vault, to, lamports, STAKE_VAULT_SEED, self.config.stake_vault_bump)?;
            }
        }
        Ok(())
    }
}

/// Writes a validator's active stake and whether it is jailed into its registry slot, when it has one.
///
/// BrokenInvariant when the slot holds another key: a validator that lost its slot says NO_SLOT.
#[inline(never)]
pub fn mirror(registry: &AccountView, validator: &Validator) -> Result<()> {
    if validator.slot_index == NO_SLOT {
        return Ok(());
    }
    let mut view = *registry;
    // SAFETY: the slots lie behind the header, which is the only other part of the account in use.
    let slots = slots_mut(unsafe { data_of_mut(&mut view) })?;
    let slot = slots.get_mut(validator.slot_index as usize).ok_or(SettlementError::BrokenInvariant)?;
    require!(
        slot.is_occupied() && slot.bls_public_key == validator.bls_public_key,
        SettlementError::BrokenInvariant
    );
    slot.stake_lamports = validator.active_lamports;
    if validator.is_jailed() {
        slot.flags |= FLAG_JAILED;
    } else {
        slot.flags &= !FLAG_JAILED;
    }
    Ok(())
}
