//! Refusals of evidence, slashing, late signatures and rewards.

use anchor_lang::prelude::*;

#[error_code(offset = 6200)]
#[derive(Debug, PartialEq, Eq)]
pub enum SlashError {
    #[msg("the bitmap is empty: nobody signed")]
    NobodySigned,
    #[msg("validator_set is not the sealed set that the message names")]
    WrongValidatorSet,
    #[msg("this owner has a receipt of this message already")]
    ReceiptExists,
    #[msg("the receipt belongs to somebody else: record your own")]
    NotReceiptOwner,
    #[msg("evidence is a Receipt or a Checkpoint of this program")]
    NotEvidence,
    #[msg("both messages must be of the same epoch and attempt")]
    DifferentAttempts,
    #[msg("both are the same message, which may be signed any number of times")]
    SameMessage,
    #[msg("this member of the set did not sign the message")]
    NotASigner,
    #[msg("the two indexes are those of different BLS keys")]
    DifferentKeys,
    #[msg("the validator is not the one whose key stands in the set")]
    WrongValidator,
    #[msg("this validator was slashed for equivocating in this epoch already")]
    OffencePunished,
    #[msg("no more stake was found equivocating since this validator was slashed")]
    NothingToRaise,
    #[msg("the checkpoint was not rejected")]
    NotRejected,
    #[msg("this signer was slashed for this checkpoint already")]
    SignerSlashed,
    #[msg("the epoch is void: the checkpoint, or one that it builds on, was rejected")]
    VoidEpoch,
    #[msg("signatures are added to posted checkpoints only, until the challenge window ends")]
    SignaturesTooLate,
    #[msg("one of these members has signed already: add new ones only")]
    SignedAlready,
    #[msg("only a finalized checkpoint is rewarded")]
    NotFinalized,
    #[msg("this checkpoint was rewarded already")]
    RewardedAlready,
    #[msg("the checkpoint that it builds on must be rewarded first")]
    ParentNotRewarded,
    #[msg("poster must be whoever posted the checkpoint")]
    WrongPoster,
    #[msg("the checkpoint is not rewarded yet, so epochs of this set may not be either")]
    RewardsDue,
}
