//! Taking stake for an offence: cut from the validator's pools, paid out of the stake vault to whoever reported it and to the Treasury.
//! Which offence costs what is decided by the instructions; here is only what every slash does, so that none forgets a part of it.

use crate::{
    constants::{ALL_BASIS_POINTS, STAKE_VAULT_SEED},
    math::{mul_div, sub},
    stake::{slot_of, slots_of},
    state::{
        registry::FLAG_JAILED,
        validator::{VALIDATOR_JAILED, VALIDATOR_TOMBSTONED},
        Config, Validator,
    },
    storage::pay_out,
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
    let mut view = *registry;
    if let Some(held) = slot_of(slots_of(&mut view)?, validator)? {
        held.stake_lamports = validator.active_lamports;
        if validator.is_jailed() {
            held.flags |= FLAG_JAILED;
        } else {
            held.flags &= !FLAG_JAILED;
        }
    }
    Ok(())
}
