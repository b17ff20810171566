//! Proofs in L2's state: a sparse Merkle tree over 256-bit keys, bits most significant first, where a subtree that holds one leaf is
//! that leaf's hash and an empty one is 32 zero bytes (docs/protocol.md, section 7). The leaf's hash binds its whole key.

use crate::{
    constants::{MAX_SIBLINGS, SIBLING_BYTES},
    error::SettlementError,
    hash::{self, sha256_parts, Hash},
    math::add,
};
use anchor_lang::prelude::*;

/// Bytes of an account leaf's value.
pub const ACCOUNT_VALUE_BYTES: usize = 80;
/// Bytes of the totals leaf's value.
pub const TOTALS_VALUE_BYTES: usize = 32;

/// An account leaf's value: public_key 32, balance, locked_fees, locked_stake, unlock_slot, nonce, payable, u64 little-endian each.
pub struct AccountValue<'a>(pub &'a [u8; ACCOUNT_VALUE_BYTES]);

impl AccountValue<'_> {
    pub fn public_key(&self) -> Address {
        let mut key = [0u8; 32];
        key.copy_from_slice(&self.0[..32]);
        Address::new_from_array(key)
    }

    /// Lamports owed outside, cumulative.
    pub fn payable_lamports(&self) -> u64 {
        self.u64_at(72)
    }

    /// Balance, locked fees, locked stake and payable: all that the account ever had and did not pay to another.
    pub fn all_lamports(&self) -> Result<u64> {
        let locked = add(self.u64_at(40), self.u64_at(48))?;
        add(add(self.u64_at(32), locked)?, self.payable_lamports())
    }

    fn u64_at(&self, at: usize) -> u64 {
        let mut bytes = [0u8; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    /// Writes the leaf's key and hash. The node id is the first 20 bytes of sha256(public key).
    fn leaf(&self, key: &mut Hash, leaf: &mut Hash) {
        let mut node = [0u8; 32];
        sha256_parts(&[&self.0[..32]], &mut node);
        sha256_parts(&[&hash::ACCOUNT_KEY, &node[..20]], key);
        let mut value_hash = [0u8; 32];
        sha256_parts(&[&hash::ACCOUNT, self.0], &mut value_hash);
        sha256_parts(&[&hash::STATE_LEAF, key, &value_hash], leaf);
    }

    /// The root that `siblings` (32 bytes each, from the root down to where the leaf stands alone) lead to.
    pub fn root(&self, siblings: &[u8], root: &mut Hash) -> Result<()> {
        let mut key = [0u8; 32];
        self.leaf(&mut key, root);
        climb(&key, siblings, root)
    }
}

/// From a leaf's hash to the root, both in `node`.
#[inline(never)]
fn climb(key: &Hash, siblings: &[u8], node: &mut Hash) -> Result<()> {
    let depth = siblings.len() / SIBLING_BYTES;
    require!(siblings.len() % SIBLING_BYTES == 0, SettlementError::BadProof);
    require!(depth <= MAX_SIBLINGS, SettlementError::ProofTooLong);
    // A copy on the stack is aligned: hashes move by words, not byte by byte, which is a quarter of what a level costs.
    let mut current = *node;
    for (level, sibling) in siblings.chunks_exact(SIBLING_BYTES).enumerate().rev() {
        let is_right = (key[level / 8] >> (7 - level % 8)) & 1 == 1;
        let (left, right): (&[u8], &[u8]) = if is_right { (sibling, &current) } else { (&current, sibling) };
        let mut parent = [0u8; 32];
        sha256_parts(&[&hash::STATE_NODE, left, right], &mut parent);
        current = parent;
    }
    *node = current;
    Ok(())
}

/// The root of a state whose totals leaf has this value (balance, locked, payable, inbox cursor, u64 little-endian each).
pub fn totals_root(value: &[u8; TOTALS_VALUE_BYTES], siblings: &[u8], root: &mut Hash) -> Result<()> {
    let mut key = [0u8; 32];
    sha256_parts(&[&hash::TOTALS_KEY], &mut key);
    let mut value_hash = [0u8; 32];
    sha256_parts(&[&hash::TOTALS, value], &mut value_hash);
    sha256_parts(&[&hash::STATE_LEAF, &key, &value_hash], root);
    climb(&key, siblings, root)
}

/// The state root before epoch 1: a tree that holds only a zero totals leaf.
pub fn genesis_state_root(out: &mut Hash) {
    let mut key = [0u8; 32];
    sha256_parts(&[&hash::TOTALS_KEY], &mut key);
    let mut value_hash = [0u8; 32];
    sha256_parts(&[&hash::TOTALS, &[0u8; TOTALS_VALUE_BYTES]], &mut value_hash);
    sha256_parts(&[&hash::STATE_LEAF, &key, &value_hash], out);
}
