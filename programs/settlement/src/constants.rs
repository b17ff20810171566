//! Seeds of every address the program derives, the sizes of its accounts, and limits. No seed stands anywhere else.

pub const CONFIG_SEED: &[u8] = b"config";
pub const REGISTRY_SEED: &[u8] = b"registry";
/// Followed by the set's version, u64 little-endian.
pub const SET_SEED: &[u8] = b"set";
/// Followed by the sha256 of the 48-byte compressed key.
pub const VALIDATOR_SEED: &[u8] = b"bls";
/// Followed by the entry's index, u64 little-endian.
pub const INBOX_SEED: &[u8] = b"inbox";
/// Followed by the epoch, u64 little-endian.
pub const CHECKPOINT_SEED: &[u8] = b"checkpoint";
/// Followed by the account's public key.
pub const CLAIM_SEED: &[u8] = b"claim";
/// Followed by the owner and an id, u64 little-endian.
pub const BUFFER_SEED: &[u8] = b"buffer";
/// Followed by the Validator's address and the owner.
pub const STAKE_SEED: &[u8] = b"stake";
/// Followed by the StakePosition's address and an id, u64 little-endian.
pub const UNBONDING_SEED: &[u8] = b"unbonding";
/// Followed by the owner and the message's hash.
pub const RECEIPT_SEED: &[u8] = b"receipt";
/// Followed by the Validator's address and the epoch, u64 little-endian.
pub const OFFENCE_SEED: &[u8] = b"offence";
/// Followed by the epoch, u64 little-endian.
pub const TALLY_SEED: &[u8] = b"tally";
/// Followed by the Checkpoint's address, the kind (one byte) and the index, u64 little-endian.
pub const DEMAND_SEED: &[u8] = b"demand";
/// Followed by the task's id and the epoch that holds its result, u64 little-endian.
pub const STRIKE_SEED: &[u8] = b"strike";
pub const PROPOSAL_SEED: &[u8] = b"proposal";
pub const VAULT_SEED: &[u8] = b"vault";
pub const STAKE_VAULT_SEED: &[u8] = b"stake_vault";
pub const TREASURY_SEED: &[u8] = b"treasury";

/// The layout version that every account carries.
pub const ACCOUNT_VERSION: u8 = 1;

/// Slots of the registry, and so the largest validator set: the bitmap of a certificate has 32 bytes.
pub const MAX_VALIDATORS: usize = 256;
pub const BITMAP_BYTES: usize = 32;

/// What Solana lets an account grow by in one instruction (MAX_PERMITTED_DATA_INCREASE).
pub const GROWTH_BYTES: usize = 10_240;

/// Siblings of the longest proof: the state tree's keys have 256 bits.
pub const MAX_SIBLINGS: usize = 256;
pub const SIBLING_BYTES: usize = 32;

/// Largest sum of lamports that the program counts in. The whole supply of SOL is below 2^60 lamports; below 2^62 three times a sum
/// still fits u64, which the quorum needs.
pub const MAX_TOTAL_LAMPORTS: u64 = 1 << 62;

pub const INBOX_KIND_DEPOSIT: u8 = 1;
pub const INBOX_KIND_TASK: u8 = 2;
pub const INBOX_KIND_WITHDRAWAL: u8 = 3;
pub const INBOX_KIND_STRIKE: u8 = 4;

/// Kinds and modes of tasks that a record can hold count from 1.
pub const LAST_TASK_KIND: u8 = 4;
pub const LAST_TASK_MODE: u8 = 4;

/// All of an amount, in basis points.
pub const ALL_BASIS_POINTS: u64 = 10_000;

/// Ranges of voided epochs that Config remembers.
pub const MAX_VOID_RANGES: usize = 8;
