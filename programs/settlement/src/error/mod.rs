//! One code per refusal. Codes are part of the interface: new ones are added at the end.

mod dispute;

pub use dispute::DisputeError;

use anchor_lang::prelude::*;

pub mod inbox;
pub mod slash;
pub mod stake;
pub use inbox::InboxError;
pub use slash::SlashError;
pub use stake::StakeError;

#[error_code]
#[derive(Debug, PartialEq, Eq)]
pub enum SettlementError {
    #[msg("the program is initialised already")]
    AlreadyInitialized,
    #[msg("program_data is not the ProgramData account of this program, written by the upgradeable loader")]
    WrongProgramData,
    #[msg("initialize must be signed by the program's upgrade authority")]
    NotUpgradeAuthority,
    #[msg("challenge_window_slots must be above 0")]
    BadChallengeWindow,
    #[msg("inclusion_window_slots must be above 0")]
    BadInclusionWindow,
    #[msg("max_expiry_slots must be above 0")]
    BadMaxExpiry,
    #[msg("min_seal_gap_slots must be at least max_expiry_slots")]
    BadSealGap,
    #[msg("answer_slots must be above 0")]
    BadAnswerSlots,
    #[msg("stall_slots must exceed max_expiry_slots")]
    BadStallSlots,
    #[msg("hatch_slots must exceed challenge_window + answer + max_expiry, and stall_slots")]
    BadHatchSlots,
    #[msg("unbonding_slots must exceed max_expiry + challenge_window + answer")]
    BadUnbondingSlots,
    #[msg("max_inbox_per_epoch must be 1 to 4,096")]
    BadMaxInbox,
    #[msg("min_inbox_lamports must be above 0")]
    BadMinInboxLamports,
    #[msg("min_validators must be 1 to 256")]
    BadMinValidators,
    #[msg("min_set_stake_lamports must be above 0")]
    BadMinSetStake,
    #[msg("min_validator_stake_lamports must be above 0")]
    BadMinValidatorStake,
    #[msg("the genesis hash must not be zero")]
    BadGenesisHash,
    #[msg("an address derived by the program was expected here")]
    WrongAddress,
    #[msg("a sum does not fit")]
    ArithmeticOverflow,
    #[msg("an account is not in a state that the program can have left it in")]
    BrokenInvariant,
    #[msg("the escape hatch has been opened: posting has stopped for good")]
    Escaped,
    #[msg("the registry is of full size already")]
    RegistryFullSize,
    #[msg("the registry must be grown to full size first")]
    RegistryTooSmall,
    #[msg("all 256 slots of the registry are taken")]
    RegistryFull,
    #[msg("this authority has a slot already")]
    AuthorityRegistered,
    #[msg("this BLS key was registered before; a key registers once, ever")]
    BlsKeyRegistered,
    #[msg("the stake is below min_validator_stake_lamports")]
    StakeBelowMinimum,
    #[msg("the BLS public key is no point of G1's subgroup")]
    BadBlsKey,
    #[msg("the BLS public key is the point at infinity")]
    BlsKeyAtInfinity,
    #[msg("the proof of possession does not verify for this authority, key, program and cluster")]
    BadProofOfPossession,
    #[msg("version must be that of the newest sealed set plus one")]
    WrongSetVersion,
    #[msg("this validator set exists already")]
    SetExists,
    #[msg("this validator set is of full size already")]
    SetFullSize,
    #[msg("this validator set must be grown until it holds the registry")]
    SetTooSmall,
    #[msg("this validator set is sealed already")]
    SetSealed,
    #[msg("before the first post only initialize's authority may seal a set")]
    NotAuthority,
    #[msg("the registry holds fewer validators than min_validators")]
    TooFewValidators,
    #[msg("the registry's stake is below min_set_stake_lamports")]
    SetStakeBelowMinimum,
    #[msg("the last seal is younger than min_seal_gap_slots")]
    SealTooSoon,
    #[msg("the deposit is below min_inbox_lamports")]
    DepositBelowMinimum,
    #[msg("inbox_entry is not the address of the next entry: somebody deposited first, build it again")]
    WrongInboxEntry,
    #[msg("this epoch was posted already")]
    EpochPosted,
    #[msg("epoch must be the highest posted one plus one")]
    WrongEpoch,
    #[msg("cut_slot lies in the future")]
    CutSlotInFuture,
    #[msg("cut_slot must exceed the parent's")]
    CutSlotNotAfterParent,
    #[msg("the slot is past expiry_slot")]
    Expired,
    #[msg("expiry_slot is more than max_expiry_slots after cut_slot")]
    ExpiryTooFar,
    #[msg("inbox_cursor is below the parent's")]
    CursorBelowParent,
    #[msg("inbox_cursor is above the inbox's count")]
    CursorAboveInbox,
    #[msg("more than max_inbox_per_epoch entries taken")]
    TooManyInboxEntries,
    #[msg("last_entry must be the inbox entry before the cursor")]
    WrongLastEntry,
    #[msg("next_entry must be the inbox entry at the cursor")]
    WrongNextEntry,
    #[msg("the entry at the cursor is older at cut_slot than the inclusion window")]
    OverdueInboxEntry,
    #[msg("payable_total is below the parent's")]
    PayableBelowParent,
    #[msg("payable_total is above the inbox's running sum at the cursor")]
    PayableAboveInbox,
    #[msg("validator_set is not the pinned one")]
    UnpinnedSet,
    #[msg("the bitmap has a bit at or above the set's count")]
    BitBeyondSet,
    #[msg("the signers hold less than two thirds of the set's stake")]
    ShortQuorum,
    #[msg("the sum of the signers' keys is the point at infinity")]
    AggregateKeyAtInfinity,
    #[msg("a hinted root has the other sign than its field element")]
    WrongHintSign,
    #[msg("zero has no second candidate")]
    WrongHintCandidate,
    #[msg("the hinted inverse is not that of the message's denominators")]
    WrongHintInverse,
    #[msg("a hinted root is no root of the candidate it claims")]
    WrongHintRoot,
    #[msg("a hint is not below the field's modulus")]
    NonCanonicalHint,
    #[msg("the signature is no point of G2's subgroup")]
    BadSignature,
    #[msg("the signature is the point at infinity")]
    SignatureAtInfinity,
    #[msg("the pairing is not one: the signature is not the signers' over this message")]
    PairingNotOne,
    #[msg("this message hashes to a point that the suite excludes")]
    UnusableMessage,
    #[msg("only a posted checkpoint can be finalized")]
    NotPosted,
    #[msg("the parent must be finalized first")]
    ParentNotFinalized,
    #[msg("the challenge window is still open")]
    ChallengeWindowOpen,
    #[msg("a proof buffer has a positive multiple of 32 bytes, at most 8,192")]
    BadBufferLength,
    #[msg("this proof buffer exists already")]
    BufferExists,
    #[msg("the proof buffer belongs to somebody else")]
    NotBufferOwner,
    #[msg("the bytes reach past the buffer's end")]
    BufferRange,
    #[msg("siblings come either inline or from a buffer, not both")]
    TwoProofs,
    #[msg("a proof has at most 256 siblings")]
    ProofTooLong,
    #[msg("the leaf is not under the finalized state root")]
    BadProof,
    #[msg("recipient must be the leaf's public key")]
    WrongRecipient,
    #[msg("recipient must be an account of the system program")]
    RecipientNotSystem,
    #[msg("everything payable was claimed already")]
    NothingToClaim,
    #[msg("more would be claimed than the last finalized checkpoint owes in total")]
    ClaimAboveFinalized,
    #[msg("the vault must stay rent-exempt")]
    VaultBelowRent,
    #[msg("the hinted point is not the multiple that brings the message's point into G2's subgroup")]
    WrongHintMultiple,
    #[msg("heartbeat_slots must be 1 to stall_slots")]
    BadHeartbeatSlots,
    #[msg("jail_slots must be above 0")]
    BadJailSlots,
    #[msg("max_misses must be 1 to 2^32 - 2")]
    BadMaxMisses,
    #[msg("a slash is at most 10,000 basis points; for equivocation and fraud above 0")]
    BadSlash,
    #[msg("reporter_basis_points must be at most 5,000")]
    BadReporterShare,
    #[msg("governance_delay_slots must exceed unbonding_slots")]
    BadGovernanceDelay,
    #[msg("poster_reward_basis_points must be at most 10,000")]
    BadPosterReward,
    #[msg("bonds must be above 0; bonds, reward and forced fee below 2^46")]
    BadBond,
    #[msg("forced_fee_lamports must be above 0")]
    BadForcedFee,
    #[msg("challenge_window + answer + max_expiry + inclusion_window must be below 432,000 slots, for which L2 holds an exact result")]
    BadResultHold,
    #[msg("the account has a layout that this version of the program does not know: it must be migrated first")]
    UnknownAccountVersion,
}
