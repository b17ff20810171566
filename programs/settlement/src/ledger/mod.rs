//! The L2 ledger's transition, judged by the program (docs/protocol.md, sections 5, 7, 8 and 12): what `prove_transition` is made around.
//! Pure: no account, no clock, no sysvar; the caller says what the chain says. The same rules as settlement/ledger in Python, held
//! together by tests/vectors/transition.json.
//!
//! ```text
//! judge(claim: &Claim { before, after }, records: &[u8], witness: &[u8], context: &Context) -> Result<Verdict, WitnessError>
//!     Ok(Verdict::Honest)                                the records lead from `before` to `after`
//!     Ok(Verdict::Rejected { record, rejection })        FRAUD: record number `record` cannot follow that state, or is malformed
//!     Ok(Verdict::WrongRoot)                             FRAUD: the records lead to another root than `after`
//!     Err(WitnessError)                                  the witness proves nothing, either way
//! Record::decode(&[u8; 160]) -> Result<Record, Rejection>    and its fields; Record::is_from_inbox() for the order of a batch
//! ```
//!
//! `records` are 1 to 8 records, one after the other, `witness` the bytes of section 12, both read in place. A rejected record is fraud
//! only once the witness's root is `claim.before`, and a leaf that the witness does not open is never taken for one that is not there.
//! The order of a batch (inbox records first) is not judged here, nor are authorisations and sample signatures.

mod crc;
mod exact;
mod flow;
mod leaves;
mod partial_tree;
mod quorum;
mod record;
mod rejection;
mod stack;
mod transition;

pub use exact::{MIN_WORKER_STAKE, RESULT_HOLD_SLOTS};
pub use leaves::MAX_LEAVES;
pub use record::*;
pub use rejection::Rejection;

use crate::{hash::Hash, message::Domain, state::SetEntry};
use leaves::Leaves;
use partial_tree::{Reader, Roots};

/// Records between two entries of a trace.
pub const MAX_RECORDS: usize = 8;

/// The step in question: a trace says that its records lead from `before` to `after`.
pub struct Claim<'a> {
    pub before: &'a Hash,
    pub after: &'a Hash,
}

/// What a transition depends on besides state and records.
pub struct Context<'a> {
    pub domain: Domain<'a>,
    pub epoch: u64,
    /// The parent's cut slot, 0 in epoch 1.
    pub base_slot: u64,
    /// Public key of the L2 account that receives slashed stake.
    pub treasury: &'a [u8; 32],
    /// The entries of the set that certified the epoch, and their whole stake.
    pub validators: &'a [SetEntry],
    pub total_stake_lamports: u64,
}

/// What the witness proves of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Honest,
    /// Fraud: this record (from 0) cannot stand where it does.
    Rejected { record: u8, rejection: Rejection },
    /// Fraud: the records are taken, but lead elsewhere.
    WrongRoot,
}

/// Why a witness proves nothing. A challenger who sees one has made a mistake, or the step is not what it thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WitnessError {
    /// Not 1 to 8 records of 160 bytes.
    RecordCount = 1,
    /// The bytes end too early.
    Truncated = 2,
    /// Bytes are left over.
    TrailingBytes = 3,
    /// Not 1 to 34 leaves.
    LeafCount = 4,
    /// A leaf of no known kind, or whose value is none of that kind.
    BadLeaf = 5,
    /// The leaves' keys do not rise.
    Unsorted = 6,
    /// A token that is none.
    BadToken = 7,
    /// The tokens do not fit the leaves: a step where they part, a fork where they do not, an end that holds others, a path that is too long.
    BadShape = 8,
    /// The records need a leaf that is not opened.
    MissingLeaf = 9,
    /// The leaves and siblings do not lead to the claim's first root.
    WrongRootBefore = 10,
}

/// Judges one step. Deterministic, and free of panics, whatever the bytes are.
#[inline(always)]
pub fn judge(claim: &Claim, records: &[u8], witness: &[u8], context: &Context) -> Result<Verdict, WitnessError> {
    let mut outcome = Outcome { roots: Roots::new(), rejected: None };
    run(&Step { records, witness, context }, &mut outcome)?;
    if outcome.roots.before() != claim.before {
        return Err(WitnessError::WrongRootBefore);
    }
    if let Some((record, rejection)) = outcome.rejected {
        return Ok(Verdict::Rejected { record, rejection });
    }
    Ok(if outcome.roots.after() == claim.after { Verdict::Honest } else { Verdict::WrongRoot })
}

struct Step<'a> {
    records: &'a [u8],
    witness: &'a [u8],
    context: &'a Context<'a>,
}

struct Outcome {
    roots: Roots,
    rejected: Option<(u8, Rejection)>,
}

#[inline(never)]
fn run(step: &Step, outcome: &mut Outcome) -> Result<(), WitnessError> {
    let count = step.records.len() / RECORD_BYTES;
    if step.records.len() % RECORD_BYTES != 0 || count == 0 || count > MAX_RECORDS {
        return Err(WitnessError::RecordCount);
    }
    let mut reader = Reader::new(step.witness);
    let mut leaves = Leaves::read(&mut reader)?;
    for (index, bytes) in step.records.chunks_exact(RECORD_BYTES).enumerate() {
        // SAFETY: a chunk has RECORD_BYTES bytes.
        let bytes = unsafe { &*(bytes.as_ptr() as *const RecordBytes) };
        match transition::apply(&mut leaves, bytes, step.context) {
            Ok(()) => {}
            Err(transition::Halt::Rejected(rejection)) => {
                outcome.rejected = Some((index as u8, rejection));
                break;
            }
            Err(transition::Halt::Unusable(error)) => return Err(error),
        }
    }
    partial_tree::roots(&mut reader, &leaves.0, &mut outcome.roots)
}
