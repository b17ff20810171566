//! The leaves that a witness opens: read from its table, looked up and changed by the transition, hashed by the partial tree. Values are
//! little-endian (docs/protocol.md, section 7).

use super::{
    partial_tree::Reader,
    record::{NodeId, LAST_KIND, LAST_MODE},
    stack::Stack,
    WitnessError,
};
use crate::hash::{self, sha256_parts, Hash};

/// Leaves that a witness may open. Eight strikes touch the most: challenger, client, worker and task each, the treasury's account and the totals.
pub const MAX_LEAVES: usize = 34;

pub const ACCOUNT_BYTES: usize = 80;
pub const TASK_BYTES: usize = 195;
pub const TOTALS_BYTES: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Account = 1,
    Task = 2,
    Totals = 3,
}

impl Kind {
    const fn id_bytes(self) -> usize {
        match self {
            Kind::Account => 20,
            Kind::Task => 32,
            Kind::Totals => 0,
        }
    }

    const fn value_bytes(self) -> usize {
        match self {
            Kind::Account => ACCOUNT_BYTES,
            Kind::Task => TASK_BYTES,
            Kind::Totals => TOTALS_BYTES,
        }
    }

    const fn key_tag(self) -> &'static Hash {
        match self {
            Kind::Account => &hash::ACCOUNT_KEY,
            Kind::Task => &hash::TASK_KEY,
            Kind::Totals => &hash::TOTALS_KEY,
        }
    }

    const fn value_tag(self) -> &'static Hash {
        match self {
            Kind::Account => &hash::ACCOUNT,
            Kind::Task => &hash::TASK_LEAF,
            Kind::Totals => &hash::TOTALS,
        }
    }
}

/// Offsets of an account's fields.
pub mod account {
    pub const PUBLIC_KEY: usize = 0;
    pub const BALANCE: usize = 32;
    pub const LOCKED_FEES: usize = 40;
    pub const LOCKED_STAKE: usize = 48;
    /// The part of the locked stake that stands behind exact results.
    pub const PLEDGED_STAKE: usize = 56;
    pub const NONCE: usize = 64;
    pub const PAYABLE: usize = 72;
}

/// Offsets of a task's fields, and its statuses.
pub mod task {
    pub const CLIENT: usize = 0;
    pub const KIND: usize = 20;
    pub const MODE: usize = 21;
    pub const STATUS: usize = 22;
    pub const FEE: usize = 23;
    /// Of a held result its release slot, UNSCHEDULED until that is known.
    pub const DEADLINE: usize = 31;
    pub const WORKER: usize = 39;
    pub const COMMITMENT: usize = 59;
    pub const RESULT_HASH: usize = 91;
    pub const VERDICT_EPOCH: usize = 123;
    pub const ACCEPT: usize = 131;
    pub const REJECT: usize = 163;

    pub const PENDING: u8 = 1;
    pub const REVEALED: u8 = 2;
    pub const PAID: u8 = 3;
    pub const REFUNDED: u8 = 4;
    pub const HELD: u8 = 5;
    pub const STRUCK: u8 = 6;

    pub const UNSCHEDULED: u64 = u64::MAX;
}

/// Offsets of the totals' fields.
pub mod totals {
    pub const BALANCE: usize = 0;
    pub const LOCKED: usize = 8;
    pub const PAYABLE: usize = 16;
    pub const CURSOR: usize = 24;
}

/// One opened leaf: what stands there before the step, if anything, and what stands there now.
pub struct Leaf<'a> {
    pub key: Hash,
    pub kind: Kind,
    pub is_present: bool,
    id: &'a [u8],
    before: Option<&'a [u8]>,
    value: [u8; TASK_BYTES],
}

impl<'a> Leaf<'a> {
    /// Reads kind u8, present u8, identifying id, and the value if present.
    #[inline(never)]
    fn read(reader: &mut Reader<'a>, leaves: &mut Table<'a>) -> Result<(), WitnessError> {
        let kind = match reader.byte()? {
            1 => Kind::Account,
            2 => Kind::Task,
            3 => Kind::Totals,
            _ => return Err(WitnessError::BadLeaf),
        };
        let is_present = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return Err(WitnessError::BadLeaf),
        };
        let id = reader.take(kind.id_bytes())?;
        let before = if is_present { Some(reader.take(kind.value_bytes())?) } else { None };
        let mut leaf = Leaf { key: [0; 32], kind, is_present, id, before, value: [0; TASK_BYTES] };
        sha256_parts(&[kind.key_tag(), id], &mut leaf.key);
        if let Some(value) = before {
            leaf.value[..value.len()].copy_from_slice(value);
            leaf.check_value()?;
        }
        leaves.push(leaf)
    }

    /// No honest state holds an account away from its key, or a task of an unknown kind, mode or status.
    fn check_value(&self) -> Result<(), WitnessError> {
        let is_right = match self.kind {
            Kind::Account => {
                let mut node = [0u8; 32];
                sha256_parts(&[&self.value[..32]], &mut node);
                node[..20] == *self.id
            }
            Kind::Task => {
                let is_known = |at: usize, last: u8| (1..=last).contains(&self.value[at]);
                is_known(task::KIND, LAST_KIND) && is_known(task::MODE, LAST_MODE) && is_known(task::STATUS, task::STRUCK)
            }
            Kind::Totals => true,
        };
        if is_right {
            Ok(())
        } else {
            Err(WitnessError::BadLeaf)
        }
    }

    pub fn was_present(&self) -> bool {
        self.before.is_some()
    }

    /// The hash of what stood there before the step; zero when nothing did.
    pub fn hash_before(&self, out: &mut Hash) {
        match self.before {
            Some(value) => self.hash_of(value, out),
            None => *out = [0; 32],
        }
    }

    /// The hash of what stands there now.
    pub fn hash_now(&self, out: &mut Hash) {
        self.hash_of(&self.value[..self.kind.value_bytes()], out);
    }

    fn hash_of(&self, value: &[u8], out: &mut Hash) {
        let mut value_hash = [0u8; 32];
        sha256_parts(&[self.kind.value_tag(), value], &mut value_hash);
        sha256_parts(&[&hash::STATE_LEAF, &self.key, &value_hash], out);
    }

    pub fn is_changed(&self) -> bool {
        match self.before {
            Some(value) => value != &self.value[..value.len()],
            None => self.is_present,
        }
    }

    /// Bit `depth` of the key, the most significant first. `depth` is below 256.
    pub fn bit(&self, depth: usize) -> bool {
        bit(&self.key, depth)
    }

    #[inline(always)]
    pub fn u64_at(&self, at: usize) -> u64 {
        let mut bytes = [0u8; 8];
        bytes.copy_from_slice(&self.value[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    #[inline(always)]
    pub fn set_u64(&mut self, at: usize, value: u64) {
        self.value[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    #[inline(always)]
    pub fn bytes_at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0u8; N];
        bytes.copy_from_slice(&self.value[at..at + N]);
        bytes
    }

    #[inline(always)]
    pub fn is_at(&self, at: usize, bytes: &[u8]) -> bool {
        self.value[at..at + bytes.len()] == *bytes
    }

    #[inline(always)]
    pub fn set(&mut self, at: usize, bytes: &[u8]) {
        self.value[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[inline(always)]
    pub fn byte(&self, at: usize) -> u8 {
        self.value[at]
    }

    #[inline(always)]
    pub fn set_byte(&mut self, at: usize, byte: u8) {
        self.value[at] = byte;
    }
}

/// Bit `depth` of a key, the most significant first. `depth` is below 256.
#[inline(always)]
pub fn bit(key: &Hash, depth: usize) -> bool {
    (key[depth / 8] >> (7 - depth % 8)) & 1 == 1
}

type Table<'a> = Stack<Leaf<'a>, MAX_LEAVES>;

/// The opened leaves in the order of their keys.
pub struct Leaves<'a>(pub Table<'a>);

const NOT_OPENED: usize = usize::MAX;

impl<'a> Leaves<'a> {
    /// Reads the table: a count, then the leaves.
    #[inline(never)]
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, WitnessError> {
        let count = usize::from(reader.byte()?);
        if count == 0 || count > MAX_LEAVES {
            return Err(WitnessError::LeafCount);
        }
        let mut leaves = Table::new();
        for index in 0..count {
            Leaf::read(reader, &mut leaves)?;
            if index > 0 && leaves[index - 1].key >= leaves[index].key {
                return Err(WitnessError::Unsorted);
            }
        }
        Ok(Leaves(leaves))
    }

    /// Where the leaf is in the table. MissingLeaf when it is not opened: nobody knows then whether it is there.
    #[inline(always)]
    pub fn account(&self, node: &NodeId) -> Result<usize, WitnessError> {
        opened(self.position(Kind::Account, node))
    }

    #[inline(always)]
    pub fn task(&self, id: &Hash) -> Result<usize, WitnessError> {
        opened(self.position(Kind::Task, id))
    }

    /// MissingLeaf also when the table says that there are none: every state has totals.
    #[inline(always)]
    pub fn totals(&self) -> Result<usize, WitnessError> {
        opened(self.position(Kind::Totals, &[]))
    }

    #[inline(never)]
    fn position(&self, kind: Kind, id: &[u8]) -> usize {
        for (index, leaf) in self.0.iter().enumerate() {
            if leaf.kind == kind && leaf.id == id {
                return index;
            }
        }
        NOT_OPENED
    }
}

#[inline(always)]
fn opened(position: usize) -> Result<usize, WitnessError> {
    match position {
        NOT_OPENED => Err(WitnessError::MissingLeaf),
        position => Ok(position),
    }
}
