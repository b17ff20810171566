//! RFC 9162 trees whose root also binds the number of leaves (docs/protocol.md, section 2). A proof fits its index and count exactly:
//! siblings too few or too many are refused.

use crate::{
    error::DisputeError,
    hash::{sha256_parts, Hash},
};
use anchor_lang::prelude::*;

const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// Where a leaf stands, and how many there are.
#[derive(Clone, Copy)]
pub struct Place {
    pub index: u64,
    pub count: u64,
}

/// Siblings of 32 bytes each, from the leaf upwards.
pub type Siblings<'a> = &'a [u8];

pub fn leaf_hash(data: &[u8], out: &mut Hash) {
    sha256_parts(&[&LEAF, data], out);
}

fn node_hash(left: &Hash, right: &Hash, out: &mut Hash) {
    sha256_parts(&[&NODE, left, right], out);
}

/// H(tag, count, tree hash). BadCountProof unless it is `root`.
#[inline(never)]
pub fn check_count(tag: &Hash, root: &Hash, count: u64, tree: &Hash) -> Result<()> {
    let mut bound = [0u8; 32];
    sha256_parts(&[tag, &count.to_le_bytes(), tree], &mut bound);
    require!(bound == *root, DisputeError::BadCountProof);
    Ok(())
}

/// The tree hash that `node`, at `place`, and its siblings lead to (RFC 9162, section 2.1.3.2). BadMerkleProof when they do not fit.
#[inline(never)]
pub fn climb(place: &Place, siblings: Siblings, node: &mut Hash) -> Result<()> {
    require!(place.index < place.count && siblings.len() % 32 == 0, DisputeError::BadMerkleProof);
    let (mut index, mut last) = (place.index, place.count - 1);
    for sibling in siblings.chunks_exact(32) {
        require!(last > 0, DisputeError::BadMerkleProof);
        let (mut other, mut parent) = ([0u8; 32], [0u8; 32]);
        other.copy_from_slice(sibling);
        if index & 1 == 1 || index == last {
            node_hash(&other, node, &mut parent);
            while index & 1 == 0 && index > 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            node_hash(node, &other, &mut parent);
        }
        *node = parent;
        index >>= 1;
        last >>= 1;
    }
    require!(last == 0, DisputeError::BadMerkleProof);
    Ok(())
}

/// A root of a checkpoint with its tag.
#[derive(Clone, Copy)]
pub struct Root<'a> {
    pub tag: &'a Hash,
    pub hash: &'a Hash,
}

/// A leaf that is said to stand under a root. One struct, since BPF passes five arguments at most.
pub struct Leaf<'a> {
    pub root: Root<'a>,
    pub place: Place,
    pub data: &'a [u8],
    pub siblings: Siblings<'a>,
}

impl Leaf<'_> {
    /// BadMerkleProof unless `data` is the leaf at `place` under `root`.
    #[inline(never)]
    pub fn check(&self) -> Result<()> {
        let mut node = [0u8; 32];
        leaf_hash(self.data, &mut node);
        climb(&self.place, self.siblings, &mut node)?;
        let is_under = check_count(self.root.tag, self.root.hash, self.place.count, &node).is_ok();
        require!(is_under, DisputeError::BadMerkleProof);
        Ok(())
    }
}

/// The hash of the subtree over at most eight leaves of `leaf_bytes` each: a whole group of eight, or the last one.
#[inline(never)]
pub fn group_hash(leaves: &[u8], leaf_bytes: usize, out: &mut Hash) {
    let mut level = [[0u8; 32]; 8];
    let mut count = 0;
    for leaf in leaves.chunks_exact(leaf_bytes).take(8) {
        leaf_hash(leaf, &mut level[count]);
        count += 1;
    }
    while count > 1 {
        let mut next = 0;
        while 2 * next < count {
            let (left, right) = (2 * next, 2 * next + 1);
            let mut parent = level[left];
            if right < count {
                node_hash(&level[left], &level[right], &mut parent);
            }
            level[next] = parent;
            next += 1;
        }
        count = next;
    }
    *out = level[0];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162, section 2.1.1, word by word.
    fn tree(leaves: &[Vec<u8>]) -> Hash {
        let mut out = [0u8; 32];
        match leaves.len() {
            0 => sha256_parts(&[], &mut out),
            1 => leaf_hash(&leaves[0], &mut out),
            n => {
                let split = n.next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                node_hash(&tree(left), &tree(right), &mut out);
            }
        }
        out
    }

    /// Section 2.1.3.1, from the leaf upwards.
    fn path(leaves: &[Vec<u8>], index: usize) -> Vec<u8> {
        let n = leaves.len();
        if n == 1 {
            return Vec::new();
        }
        let split = n.next_power_of_two() / 2;
        let (left, right) = leaves.split_at(split);
        let (mut path, other) =
            if index < split { (path(left, index), tree(right)) } else { (path(right, index - split), tree(left)) };
        path.extend(other);
        path
    }

    fn leaves(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|index| vec![index as u8; 5]).collect()
    }

    #[test]
    fn every_leaf_of_every_small_tree_and_nothing_else() {
        let tag = [7u8; 32];
        for count in 1..=40usize {
            let leaves = leaves(count);
            let mut hash = [0u8; 32];
            sha256_parts(&[&tag, &(count as u64).to_le_bytes(), &tree(&leaves)], &mut hash);
            let root = Root { tag: &tag, hash: &hash };
            for index in 0..count {
                let siblings = path(&leaves, index);
                let place = Place { index: index as u64, count: count as u64 };
                let check = |place: Place, data: &[u8], siblings: &[u8]| Leaf { root, place, data, siblings }.check();
                check(place, &leaves[index], &siblings).unwrap();
                let is_refused = |place: Place, data: &[u8], siblings: &[u8]| {
                    assert!(check(place, data, siblings).is_err(), "{index} of {count}");
                };
                is_refused(place, b"other", &siblings);
                is_refused(Place { index: place.count, ..place }, &leaves[index], &siblings);
                is_refused(Place { count: place.count + 1, ..place }, &leaves[index], &siblings);
                is_refused(Place { index: place.index ^ 1, ..place }, &leaves[index], &siblings);
                is_refused(place, &leaves[index], &[siblings.clone(), vec![0; 32]].concat());
                is_refused(place, &leaves[index], &[siblings.clone(), vec![0; 31]].concat());
                if !siblings.is_empty() {
                    is_refused(place, &leaves[index], &siblings[32..]);
                    is_refused(place, &leaves[index], &siblings[..siblings.len() - 32]);
                }
            }
        }
    }

    #[test]
    fn a_group_is_the_subtree_of_its_leaves() {
        for count in 1..=40usize {
            let leaves = leaves(count);
            let groups = count.div_ceil(8);
            for group in 0..groups {
                let own = &leaves[8 * group..count.min(8 * group + 8)];
                let (mut hash, mut expected) = ([0u8; 32], tree(own));
                group_hash(&own.concat(), 5, &mut hash);
                assert_eq!(hash, expected, "{group} of {count}");
                // The path of the group's first leaf, above the group, is the group's among all groups.
                let siblings = path(&leaves, 8 * group);
                let inside = if own.len() == 1 { 0 } else { (own.len() - 1).ilog2() as usize + 1 };
                let place = Place { index: group as u64, count: groups as u64 };
                climb(&place, &siblings[32 * inside..], &mut expected).unwrap();
                assert_eq!(expected, tree(&leaves));
            }
        }
    }
}
