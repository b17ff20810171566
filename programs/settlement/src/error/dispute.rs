//! Posting, rejection, proofs of fraud, demands and governance.

use anchor_lang::prelude::*;

#[error_code(offset = 6300)]
#[derive(Debug, PartialEq, Eq)]
pub enum DisputeError {
    #[msg("posting is paused by governance")]
    Paused,
    #[msg("eight ranges of voided epochs are remembered: finalize or reject one of the checkpoints between them first")]
    TooManyVoids,
    #[msg("this checkpoint is void: it was rejected, or builds on one that was")]
    CheckpointVoid,
    #[msg("demands on this checkpoint are open: answer them or let them time out first")]
    DemandsOpen,
    #[msg("poster must be the account that posted the checkpoint")]
    WrongPoster,
    #[msg("only a posted checkpoint that is void, or was not final when the hatch opened, can be voided")]
    NotVoid,
    #[msg("the checkpoint is needed still: it is not behind the finalized one")]
    CheckpointNeeded,
    #[msg("the checkpoint's rewards are not given out yet")]
    RewardsOpen,
    #[msg("not every signer of the rejected checkpoint is slashed yet")]
    SlashesOpen,
    #[msg("unbonding_slots must pass after the post before its checkpoint is closed")]
    TooYoungToClose,
    #[msg("parent must be the checkpoint that this one extends, and left out when it extends none")]
    WrongParent,
    #[msg("the leaf is not at this index under the checkpoint's root of so many leaves")]
    BadMerkleProof,
    #[msg("the count and tree hash are not those that the checkpoint's root binds")]
    BadCountProof,
    #[msg("this proof shows no fraud: what it proves is as the rules want it")]
    NoFraud,
    #[msg("inbox_entry must be the entry that the record at this index has to take")]
    WrongEntryForRecord,
    #[msg("a proof buffer with the evidence is needed")]
    BufferMissing,
    #[msg("the evidence ends too early or its parts have other sizes")]
    BadEvidence,
    #[msg("validator_set must be the set that certified the checkpoint")]
    WrongCertifyingSet,
    #[msg("the witness does not open a leaf that the records need")]
    WitnessIncomplete,
    #[msg("the witness does not lead to the first state root")]
    WitnessRoot,
    #[msg("the witness is malformed")]
    BadWitness,
    #[msg("kind must be 1 chunk, 2 record or 3 trace entry")]
    UnknownDemandKind,
    #[msg("the challenge window is over: no demand opens any more")]
    ChallengeWindowOver,
    #[msg("this has been demanded already")]
    DemandExists,
    #[msg("the demand is not of this checkpoint")]
    WrongDemand,
    #[msg("demander must be the account that opened the demand")]
    WrongDemander,
    #[msg("the time to answer is over")]
    AnswerTooLate,
    #[msg("the demand can still be answered")]
    AnswerOpen,
    #[msg("the checkpoint is live: its demands are answered or time out")]
    CheckpointLive,
    #[msg("there is such an index: the root binds a larger count")]
    IndexExists,
    #[msg("the record is signed by nobody; its authorisation must be 104 zero bytes")]
    AuthorisationNotEmpty,
    #[msg("the authorisation's key is not that of the record's node")]
    WrongSigner,
    #[msg("the authorisation expired before the parent's cut slot")]
    AuthorisationExpired,
    #[msg("the instruction before this one must be the ed25519 program's, over one signature within itself")]
    NoEd25519Instruction,
    #[msg("the ed25519 instruction verifies another key, signature or message")]
    WrongEd25519Instruction,
    #[msg("only governance may do this")]
    NotGovernance,
    #[msg("a proposal of parameters is open already: cancel it first")]
    ProposalExists,
    #[msg("governance_delay_slots must pass after the proposal")]
    ProposalTooYoung,
    #[msg("posting is paused already")]
    AlreadyPaused,
    #[msg("posting is not paused")]
    NotPaused,
    #[msg("only the account that governance named may accept")]
    NotNextGovernance,
    #[msg("proposer must be the account that paid for the proposal")]
    WrongProposer,
    #[msg("a proof buffer grows to a larger length, by at most 10,240 bytes an instruction, up to 65,536 bytes")]
    BadBufferGrowth,
    #[msg("the treasury holds less than this above its rent")]
    GrantAboveTreasury,
}
