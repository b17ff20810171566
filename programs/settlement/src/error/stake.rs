//! Refusals of stake: registering, delegating, unbonding, jail, stall steps.

use anchor_lang::prelude::*;

#[error_code(offset = 6100)]
#[derive(Debug, PartialEq, Eq)]
pub enum StakeError {
    #[msg("commission_basis_points must be at most 10,000")]
    CommissionTooHigh,
    #[msg("a commission may only fall")]
    CommissionNotLower,
    #[msg("the registry is full, and the validator to be outbid is not the one with the lowest stake")]
    NotLowestStake,
    #[msg("the registry is full, and the stake does not exceed the lowest one in it")]
    OutbidTooLow,
    #[msg("the validator has no registry slot")]
    NotInRegistry,
    #[msg("the validator has a registry slot already")]
    InRegistry,
    #[msg("the validator belongs to another authority")]
    NotValidatorAuthority,
    #[msg("the validator is tombstoned: it never comes back and takes no stake")]
    Tombstoned,
    #[msg("the validator is in jail")]
    InJail,
    #[msg("the validator is not in jail")]
    NotInJail,
    #[msg("the validator's time in jail is not over")]
    JailNotOver,
    #[msg("the validator has missed fewer checkpoints in a row than max_misses")]
    TooFewMisses,
    #[msg("so few lamports would lose more than a thousandth to rounding: delegate more")]
    DelegationTooSmall,
    #[msg("the validator's stake was slashed to nothing: it takes no more")]
    PoolEmptied,
    #[msg("shares must be above 0 and at most the position's")]
    WrongShares,
    #[msg("the shares are worth less than a lamport")]
    WorthlessShares,
    #[msg("before the escape hatch is open a finalized checkpoint must be named")]
    CheckpointMissing,
    #[msg("the checkpoint is not finalized")]
    CheckpointNotFinalized,
    #[msg("the checkpoint was certified by a validator set that is too old")]
    CheckpointTooOld,
    #[msg("unbonding_slots are not over")]
    UnbondingNotOver,
    #[msg("signers of a rejected checkpoint are not slashed yet")]
    SlashesPending,
    #[msg("the position has shares or unbondings")]
    PositionInUse,
    #[msg("there are no rewards to collect")]
    NothingToCollect,
    #[msg("no commission is owed")]
    NothingToWithdraw,
    #[msg("before the first post there is nothing to stall")]
    NothingPosted,
    #[msg("the last post or stall step is not stall_slots ago")]
    StallTooSoon,
    #[msg("the pinned set has nobody who may be dropped: all send heartbeats, or have more than a third of its stake")]
    NobodyToDrop,
    #[msg("the validator set is pinned or one of the last two sealed")]
    SetInUse,
    #[msg("recipient must be whoever paid for the validator set")]
    NotSetPayer,
}
