//! The partial tree of a witness: one pass over its tokens computes the root before the step and the root after it, without
//! recursion (docs/protocol.md, section 12).

use super::{
    leaves::{bit, Leaf, MAX_LEAVES},
    stack::Stack,
    WitnessError,
};
use crate::hash::{self, sha256_parts, Hash};
use core::mem;

/// Bits of a key, and so the longest path.
const KEY_BITS: usize = 256;
const HASH_BYTES: usize = 32;
const EMPTY: Hash = [0; 32];

/// Ends: an empty subtree, one opened leaf, one leaf that is not opened (key 32, value hash 32).
const TOKEN_EMPTY: u8 = 0;
const TOKEN_LEAF: u8 = 1;
const TOKEN_FOREIGN: u8 = 2;
/// Opened leaves on both sides: the left subtree follows, then the right one.
const TOKEN_FORK: u8 = 3;
/// Opened leaves on one side for n levels (u8, at least 1): n siblings of 32 bytes from the top down, or n empty siblings.
const TOKEN_STEPS: u8 = 4;
const TOKEN_EMPTY_STEPS: u8 = 5;

/// Bytes taken from the front.
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    #[inline(always)]
    pub fn byte(&mut self) -> Result<u8, WitnessError> {
        let (first, rest) = self.bytes.split_first().ok_or(WitnessError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    #[inline(always)]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WitnessError> {
        if count > self.bytes.len() {
            return Err(WitnessError::Truncated);
        }
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn hashes(&mut self, count: usize) -> Result<&'a [Hash], WitnessError> {
        self.take(count << 5).map(|bytes| bytes.as_chunks().0)
    }

    #[inline(always)]
    fn hash(&mut self) -> Result<&'a Hash, WitnessError> {
        // SAFETY: take gives exactly that many bytes.
        self.take(HASH_BYTES).map(|bytes| unsafe { &*(bytes.as_ptr() as *const Hash) })
    }
}

/// The hashes of one subtree before and after the step. Where nothing below changed, the second is not kept.
#[derive(Clone, Copy)]
pub struct Roots {
    before: Hash,
    after: Hash,
    is_changed: bool,
}

impl Roots {
    pub fn new() -> Self {
        Roots { before: EMPTY, after: EMPTY, is_changed: false }
    }

    pub fn before(&self) -> &Hash {
        &self.before
    }

    pub fn after(&self) -> &Hash {
        if self.is_changed {
            &self.after
        } else {
            &self.before
        }
    }
}

/// Where the pass is: the leaves from `first` to before `end` are below it, at least one, and they agree in the first `depth` bits of
/// their keys.
#[derive(Clone, Copy)]
struct Place {
    first: u16,
    end: u16,
    depth: u16,
}

/// What waits above the place that the pass is at.
#[derive(Clone, Copy)]
enum Above<'a> {
    /// A fork whose left subtree is being read, and where its right one is.
    Left { right: Place },
    /// A fork whose right subtree is being read; the left one's roots are the last of `lefts`.
    Right,
    /// Levels on the path of leaf `first`.
    Steps { first: u16, levels: Levels<'a> },
}

/// `count` levels from depth `top` on, and their siblings from the top down; without bytes they are empty.
#[derive(Clone, Copy)]
struct Levels<'a> {
    top: u16,
    count: u16,
    siblings: Option<&'a [Hash]>,
}

struct Pass<'a, 'l> {
    leaves: &'l [Leaf<'a>],
    place: Place,
    /// At most one entry a level.
    above: Stack<Above<'a>, KEY_BITS>,
    lefts: Stack<Roots, MAX_LEAVES>,
    parts: Parts,
}

/// Writes both roots. The tokens must cover every opened leaf once and leave no byte over.
#[inline(never)]
pub fn roots<'a>(reader: &mut Reader<'a>, leaves: &[Leaf<'a>], out: &mut Roots) -> Result<(), WitnessError> {
    let mut pass = Pass {
        leaves,
        place: Place { first: 0, end: leaves.len() as u16, depth: 0 },
        above: Stack::new(),
        lefts: Stack::new(),
        parts: Stack::new(),
    };
    loop {
        match reader.byte()? {
            TOKEN_FORK => pass.fork()?,
            TOKEN_STEPS => pass.steps(reader, true)?,
            TOKEN_EMPTY_STEPS => pass.steps(reader, false)?,
            token => {
                pass.end(token, reader, out)?;
                if pass.ascend(out)? {
                    return if reader.bytes.is_empty() { Ok(()) } else { Err(WitnessError::TrailingBytes) };
                }
            }
        }
    }
}

impl<'a> Pass<'a, '_> {
    fn below(&self) -> &[Leaf<'a>] {
        &self.leaves[usize::from(self.place.first)..usize::from(self.place.end)]
    }

    /// Enters the left subtree of a fork. Two leaves below differ within the 256 bits of their keys, so there is a level to fork at.
    fn fork(&mut self) -> Result<(), WitnessError> {
        let Place { first, end, depth } = self.place;
        if end - first < 2 {
            return Err(WitnessError::BadShape);
        }
        let on_the_left = self.below().iter().take_while(|leaf| !leaf.bit(usize::from(depth))).count() as u16;
        let middle = first + on_the_left;
        if middle == first || middle == end {
            return Err(WitnessError::BadShape);
        }
        self.above.push(Above::Left { right: Place { first: middle, end, depth: depth + 1 } })?;
        self.place = Place { first, end: middle, depth: depth + 1 };
        Ok(())
    }

    /// Goes down the one side that all leaves below are on.
    fn steps(&mut self, reader: &mut Reader<'a>, are_given: bool) -> Result<(), WitnessError> {
        let Place { first, end, depth } = self.place;
        let count = u16::from(reader.byte()?);
        let below = depth + count;
        let agreed = first_difference(&self.leaves[usize::from(first)].key, &self.leaves[usize::from(end) - 1].key);
        if count == 0 || usize::from(below) > agreed {
            return Err(WitnessError::BadShape);
        }
        let siblings = if are_given { Some(reader.hashes(usize::from(count))?) } else { None };
        self.above.push(Above::Steps { first, levels: Levels { top: depth, count, siblings } })?;
        self.place.depth = below;
        Ok(())
    }

    /// Reads what the subtree holds before the step, and hashes it with and without the step's changes.
    #[inline(never)]
    fn end(&mut self, token: u8, reader: &mut Reader<'a>, out: &mut Roots) -> Result<(), WitnessError> {
        let below = &self.leaves[usize::from(self.place.first)..usize::from(self.place.end)];
        let depth = usize::from(self.place.depth);
        let present = below.iter().filter(|leaf| leaf.was_present()).count();
        let mut foreign = None;
        out.before = EMPTY;
        match token {
            TOKEN_EMPTY if present == 0 => {}
            TOKEN_LEAF if present == 1 => {
                for leaf in below.iter().filter(|leaf| leaf.was_present()) {
                    leaf.hash_before(&mut out.before);
                }
            }
            TOKEN_FOREIGN if present == 0 => {
                let (key, value_hash) = (reader.hash()?, reader.hash()?);
                if first_difference(key, &below[0].key) < depth || below.iter().any(|leaf| leaf.key == *key) {
                    return Err(WitnessError::BadShape);
                }
                sha256_parts(&[&hash::STATE_LEAF, key, value_hash], &mut out.before);
                foreign = Some(key);
            }
            TOKEN_EMPTY | TOKEN_LEAF | TOKEN_FOREIGN => return Err(WitnessError::BadShape),
            _ => return Err(WitnessError::BadToken),
        }
        out.is_changed = below.iter().any(Leaf::is_changed);
        if out.is_changed {
            self.parts.clear();
            for leaf in below {
                if let Some(key) = foreign.take_if(|key| **key < leaf.key) {
                    add(&mut self.parts, key, &out.before)?;
                }
                if leaf.is_present {
                    let mut leaf_hash = EMPTY;
                    leaf.hash_now(&mut leaf_hash);
                    add(&mut self.parts, &leaf.key, &leaf_hash)?;
                }
            }
            if let Some(key) = foreign {
                add(&mut self.parts, key, &out.before)?;
            }
            join_all(&mut self.parts, depth, &mut out.after);
        }
        Ok(())
    }

    /// Takes the roots of a subtree up to the next fork whose right side is still to be read. True when there is none: `out` are the tree's.
    #[inline(never)]
    fn ascend(&mut self, out: &mut Roots) -> Result<bool, WitnessError> {
        while let Some(above) = self.above.pop() {
            match above {
                Above::Steps { first, levels } => {
                    let key = &self.leaves[usize::from(first)].key;
                    climb(key, &levels, out);
                }
                Above::Left { right } => {
                    self.lefts.push(*out)?;
                    self.above.push(Above::Right)?;
                    self.place = right;
                    return Ok(false);
                }
                Above::Right => {
                    if let Some(left) = self.lefts.pop() {
                        join(&left, out);
                    }
                }
            }
        }
        Ok(true)
    }
}

/// The roots above a left subtree and a right one, which `out` holds.
#[inline(never)]
fn join(left: &Roots, out: &mut Roots) {
    let right = *out;
    sha256_parts(&[&hash::STATE_NODE, &left.before, &right.before], &mut out.before);
    out.is_changed = left.is_changed || right.is_changed;
    if out.is_changed {
        sha256_parts(&[&hash::STATE_NODE, left.after(), right.after()], &mut out.after);
    }
}

/// Hashes both roots up the path of `key` through `levels`.
#[inline(never)]
fn climb(key: &Hash, levels: &Levels, roots: &mut Roots) {
    let is_changed = roots.is_changed;
    let (mut spare_before, mut spare_after) = (EMPTY, EMPTY);
    let mut before = (&mut roots.before, &mut spare_before);
    let mut after = (&mut roots.after, &mut spare_after);
    let top = usize::from(levels.top);
    let mut up = |depth: usize, sibling: &Hash| {
        let is_right = bit(key, depth);
        hash_up(is_right, sibling, &mut before);
        if is_changed {
            hash_up(is_right, sibling, &mut after);
        }
    };
    match levels.siblings {
        Some(siblings) => siblings.iter().enumerate().rev().for_each(|(step, sibling)| up(top + step, sibling)),
        None => (0..usize::from(levels.count)).rev().for_each(|step| up(top + step, &EMPTY)),
    }
    if levels.count % 2 == 1 {
        *before.1 = *before.0;
        *after.1 = *after.0;
    }
}

/// Writes the parent of the first hash and its sibling over the second one, and swaps the two.
#[inline(always)]
fn hash_up<'h>(is_right: bool, sibling: &Hash, pair: &mut (&'h mut Hash, &'h mut Hash)) {
    let (left, right): (&Hash, &Hash) = if is_right { (sibling, pair.0) } else { (pair.0, sibling) };
    sha256_parts(&[&hash::STATE_NODE, left, right], pair.1);
    mem::swap(&mut pair.0, &mut pair.1);
}

/// The first bit in which two keys differ; 256 when they are one.
fn first_difference(a: &Hash, b: &Hash) -> usize {
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        if a != b {
            return 8 * index + (a ^ b).leading_zeros() as usize;
        }
    }
    KEY_BITS
}

/// At most all opened leaves and a foreign one.
type Parts = Stack<Part, { MAX_LEAVES + 1 }>;

/// A subtree that is being put together from leaves in the order of their keys.
#[derive(Clone, Copy)]
struct Part {
    /// Of any leaf in it.
    key: Hash,
    hash: Hash,
    /// Where it stands; a single leaf stands at any depth, with the same hash, and has none.
    depth: Option<u16>,
    /// The level at which it parts from the subtree before it.
    fork: u16,
}

/// Adds a leaf behind all others; subtrees that are complete with that are joined.
#[inline(never)]
fn add(parts: &mut Parts, key: &Hash, leaf_hash: &Hash) -> Result<(), WitnessError> {
    let mut fork = 0;
    if let Some(last) = parts.last() {
        fork = first_difference(&last.key, key) as u16;
        while parts.len() > 1 && parts[parts.len() - 1].fork > fork {
            join_last(parts);
        }
    }
    parts.push(Part { key: *key, hash: *leaf_hash, depth: None, fork })
}

/// The hash of all parts in a subtree at `depth`.
#[inline(never)]
fn join_all(parts: &mut Parts, depth: usize, out: &mut Hash) {
    while parts.len() > 1 {
        join_last(parts);
    }
    *out = EMPTY;
    if let Some(part) = parts.last_mut() {
        part.lift(depth);
        *out = part.hash;
    }
}

#[inline(never)]
fn join_last(parts: &mut Parts) {
    if let (Some(mut right), Some(left)) = (parts.pop(), parts.last_mut()) {
        let below = usize::from(right.fork) + 1;
        left.lift(below);
        right.lift(below);
        let mut parent = EMPTY;
        sha256_parts(&[&hash::STATE_NODE, &left.hash, &right.hash], &mut parent);
        left.hash = parent;
        left.depth = Some(right.fork);
    }
}

impl Part {
    /// Hashes a subtree of several leaves up to `depth`, past levels that hold nothing else.
    fn lift(&mut self, depth: usize) {
        if let Some(own) = self.depth {
            let top = depth as u16;
            let mut roots = Roots { before: self.hash, after: EMPTY, is_changed: false };
            climb(&self.key, &Levels { top, count: own - top, siblings: None }, &mut roots);
            self.hash = roots.before;
            self.depth = Some(top);
        }
    }
}
