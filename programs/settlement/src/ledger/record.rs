//! Records, read in place: 160 bytes, big-endian, one fixed layout per op code (docs/protocol.md, section 5). A record has one encoding
//! only: whatever its layout does not use must be zero.

use super::{crc::crc32, rejection::Rejection};
use crate::hash::Hash;

pub const RECORD_BYTES: usize = 160;
/// First 20 bytes of the sha256 of an ed25519 public key.
pub type NodeId = [u8; 20];
pub type RecordBytes = [u8; RECORD_BYTES];

const VERSION: u8 = 1;
const NODE: usize = 6;
const TASK: usize = 26;
const PAYLOAD: usize = 58;
const CRC: usize = 156;

pub const OP_TASK_SUBMISSION: u8 = 1;
pub const OP_TASK_RESULT: u8 = 2;
pub const OP_WORKER_REGISTRATION: u8 = 3;
pub const OP_CONSENSUS_VOTE: u8 = 4;
pub const OP_GRADIENT_SHARE: u8 = 5;
pub const OP_VERIFICATION_PROOF: u8 = 6;
pub const OP_ECONOMIC_EVENT: u8 = 7;
pub const OP_NETWORK_STATE: u8 = 8;

pub const EVENT_DEPOSIT: u8 = 1;
pub const EVENT_PAYMENT: u8 = 2;
pub const EVENT_REFUND: u8 = 3;
pub const EVENT_SLASH: u8 = 4;
pub const EVENT_WITHDRAWAL: u8 = 5;
pub const EVENT_INBOX_TASK: u8 = 6;
pub const EVENT_FORCED_WITHDRAWAL: u8 = 7;
pub const EVENT_STRIKE: u8 = 8;
pub const EVENT_HOLD: u8 = 9;
pub const EVENT_SCHEDULE: u8 = 10;

pub const VERDICT_ACCEPT: u8 = 1;
pub const VERDICT_REJECT: u8 = 2;
const LAST_VERDICT: u8 = 3;
const LAST_REASON: u8 = 8;
pub(super) const LAST_KIND: u8 = 4;
pub(super) const LAST_MODE: u8 = 4;

/// Bytes that `Record::decode` has taken; all fields are the record's, in host integers.
#[derive(Clone, Copy)]
pub struct Record<'a>(&'a RecordBytes);

impl<'a> Record<'a> {
    /// MalformedRecord unless the bytes are the one encoding of a record.
    #[inline(always)]
    pub fn decode(bytes: &'a RecordBytes) -> Result<Self, Rejection> {
        check(bytes)?;
        Ok(Record(bytes))
    }

    pub fn op(&self) -> u8 {
        self.0[1]
    }

    /// Unix seconds, set by the sequencer; informative.
    pub fn time(&self) -> u32 {
        u32::from_be_bytes(*self.bytes::<2, 4>())
    }

    pub fn node(&self) -> &'a NodeId {
        self.bytes::<NODE, 20>()
    }

    pub fn task(&self) -> &'a Hash {
        self.bytes::<TASK, 32>()
    }

    /// Fields of a TASK_SUBMISSION.
    #[inline(always)]
    pub fn submission(&self) -> Submission<'a> {
        Submission {
            nonce: self.u64_at::<58>(),
            fee_lamports: self.u64_at::<66>(),
            deadline_slot: self.u64_at::<74>(),
            spec_hash: self.bytes::<82, 32>(),
            kind: self.0[114],
            mode: self.0[115],
        }
    }

    /// Fields of a TASK_RESULT.
    #[inline(always)]
    pub fn result(&self) -> TaskResult<'a> {
        TaskResult {
            nonce: self.u64_at::<58>(),
            lease_id: self.u64_at::<66>(),
            result_hash: self.bytes::<74, 32>(),
            salt: self.bytes::<106, 32>(),
        }
    }

    /// Fields of a WORKER_REGISTRATION.
    #[inline(always)]
    pub fn registration(&self) -> Registration<'a> {
        Registration {
            nonce: self.u64_at::<58>(),
            public_key: self.bytes::<66, 32>(),
            stake_lamports: self.u64_at::<98>(),
        }
    }

    /// The set index of a CONSENSUS_VOTE or a VERIFICATION_PROOF.
    pub fn set_index(&self) -> u16 {
        u16::from_be_bytes(*self.bytes::<58, 2>())
    }

    /// The verdict of a CONSENSUS_VOTE.
    pub fn verdict(&self) -> u8 {
        self.0[60]
    }

    /// The result hash that a CONSENSUS_VOTE judges.
    pub fn voted_result_hash(&self) -> &'a Hash {
        self.bytes::<62, 32>()
    }

    /// The BLS signature of a VERIFICATION_PROOF, compressed.
    pub fn sample_signature(&self) -> &'a [u8; 96] {
        self.bytes::<60, 96>()
    }

    /// The event of an ECONOMIC_EVENT, 0 for every other record.
    pub fn event(&self) -> u8 {
        match self.op() {
            OP_ECONOMIC_EVENT => self.0[PAYLOAD],
            _ => 0,
        }
    }

    /// Whether the record takes an inbox entry: DEPOSIT, INBOX_TASK, FORCED_WITHDRAWAL, STRIKE.
    pub fn is_from_inbox(&self) -> bool {
        matches!(self.event(), EVENT_DEPOSIT | EVENT_INBOX_TASK | EVENT_FORCED_WITHDRAWAL | EVENT_STRIKE)
    }

    /// Whether somebody's ed25519 signature must stand beside the record: records.needs_authorisation of the Python side.
    pub fn is_signed(&self) -> bool {
        matches!(self.op(), OP_TASK_SUBMISSION | OP_TASK_RESULT | OP_WORKER_REGISTRATION | OP_CONSENSUS_VOTE)
            || self.event() == EVENT_WITHDRAWAL
    }

    /// Fields of an ECONOMIC_EVENT.
    #[inline(always)]
    pub fn economic_event(&self) -> EconomicEvent<'a> {
        EconomicEvent {
            number: self.u64_at::<59>(),
            lamports: self.u64_at::<67>(),
            inbox_index: self.u64_at::<75>(),
            slot: self.u64_at::<83>(),
            public_key: self.bytes::<91, 32>(),
            spec_hash: self.bytes::<123, 32>(),
            kind: self.0[155] >> 4,
            mode: self.0[155] & 0x0f,
        }
    }

    #[inline(always)]
    fn bytes<const AT: usize, const N: usize>(&self) -> &'a [u8; N] {
        const { assert!(AT + N <= CRC) };
        // SAFETY: AT + N lies within the record, and bytes have no alignment.
        unsafe { &*(self.0.as_ptr().add(AT) as *const [u8; N]) }
    }

    #[inline(always)]
    fn u64_at<const AT: usize>(&self) -> u64 {
        u64::from_be_bytes(*self.bytes::<AT, 8>())
    }
}

pub struct Submission<'a> {
    pub nonce: u64,
    pub fee_lamports: u64,
    pub deadline_slot: u64,
    pub spec_hash: &'a Hash,
    pub kind: u8,
    pub mode: u8,
}

pub struct TaskResult<'a> {
    pub nonce: u64,
    pub lease_id: u64,
    pub result_hash: &'a Hash,
    pub salt: &'a Hash,
}

pub struct Registration<'a> {
    pub nonce: u64,
    pub public_key: &'a Hash,
    pub stake_lamports: u64,
}

/// Fields that the event does not use are zero.
pub struct EconomicEvent<'a> {
    /// The nonce of a WITHDRAWAL, the deadline slot of an INBOX_TASK, the lamports asked by a FORCED_WITHDRAWAL, the challenger's share of a
    /// STRIKE in basis points.
    pub number: u64,
    pub lamports: u64,
    pub inbox_index: u64,
    pub slot: u64,
    pub public_key: &'a Hash,
    /// Of an INBOX_TASK; in a STRIKE the hash of the result that was proved wrong.
    pub spec_hash: &'a Hash,
    pub kind: u8,
    pub mode: u8,
}

/// MalformedRecord unless the bytes are the one encoding of a record.
#[inline(never)]
pub fn check(bytes: &RecordBytes) -> Result<(), Rejection> {
    let record = Record(bytes);
    let mut crc = [0u8; 4];
    crc.copy_from_slice(&bytes[CRC..]);
    let is_right = crc32(&bytes[..CRC]) == u32::from_be_bytes(crc)
        && bytes[0] == VERSION
        && match record.op() {
            OP_TASK_SUBMISSION => is_known(bytes[114], LAST_KIND) && is_known(bytes[115], LAST_MODE) && ends_at(bytes, 116),
            OP_TASK_RESULT => ends_at(bytes, 138),
            OP_WORKER_REGISTRATION => is_zero(record.task()) && ends_at(bytes, 138),
            OP_CONSENSUS_VOTE => is_known(bytes[60], LAST_VERDICT) && bytes[61] <= LAST_REASON && ends_at(bytes, 106),
            OP_GRADIENT_SHARE => ends_at(bytes, 130),
            OP_VERIFICATION_PROOF => true,
            OP_ECONOMIC_EVENT => is_event(&record),
            OP_NETWORK_STATE => is_zero(record.node()) && is_zero(record.task()) && ends_at(bytes, 116),
            _ => false,
        };
    if is_right {
        Ok(())
    } else {
        Err(Rejection::MalformedRecord)
    }
}

/// The fields that an economic event does not use are zero.
#[inline(never)]
fn is_event(record: &Record) -> bool {
    let event = record.economic_event();
    let has_no_entry = || event.inbox_index == 0 && event.slot == 0 && is_zero(event.public_key);
    let has_no_work = || event.kind == 0 && event.mode == 0;
    let has_no_spec = || is_zero(event.spec_hash) && has_no_work();
    match record.event() {
        EVENT_DEPOSIT => is_zero(record.task()) && event.number == 0 && has_no_spec(),
        EVENT_PAYMENT | EVENT_REFUND | EVENT_SLASH | EVENT_HOLD => event.number == 0 && has_no_entry() && has_no_spec(),
        EVENT_WITHDRAWAL => is_zero(record.task()) && has_no_entry() && has_no_spec(),
        EVENT_INBOX_TASK => is_known(event.kind, LAST_KIND) && is_known(event.mode, LAST_MODE),
        EVENT_FORCED_WITHDRAWAL => has_no_spec(),
        EVENT_STRIKE => has_no_work(),
        EVENT_SCHEDULE => event.number == 0 && event.lamports == 0 && has_no_entry() && has_no_spec(),
        _ => false,
    }
}

/// Enumerations count from 1.
fn is_known(value: u8, last: u8) -> bool {
    value != 0 && value <= last
}

fn ends_at(bytes: &RecordBytes, end: usize) -> bool {
    is_zero(&bytes[end..CRC])
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
