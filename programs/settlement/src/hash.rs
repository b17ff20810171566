//! sha256 by the syscall on chain and by the sha2 crate natively, and the tags that every hashed thing starts with:
//! `tag(name) = sha256("pouw/v1/" + name)`, `H(name, a, b, …) = sha256(tag(name) ‖ a ‖ b ‖ …)`. Tags are computed at compile time.

pub type Hash = [u8; 32];

/// sha256 of the parts one after the other, written to `out`.
#[inline(always)]
pub fn sha256_parts(parts: &[&[u8]], out: &mut Hash) {
    #[cfg(target_os = "solana")]
    // SAFETY: a slice of slices has the layout that the syscall reads, and out has 32 bytes.
    unsafe {
        solana_define_syscall::definitions::sol_sha256(
            parts.as_ptr() as *const u8,
            parts.len() as u64,
            out.as_mut_ptr(),
        );
    }
    #[cfg(not(target_os = "solana"))]
    {
        use sha2::Digest;
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        out.copy_from_slice(&hasher.finalize());
    }
}

pub const CHECKPOINT: Hash = tag("checkpoint");
pub const GENESIS: Hash = tag("genesis");
pub const INBOX: Hash = tag("inbox");
pub const INBOX_ENTRY: Hash = tag("inbox-entry");
pub const INBOX_DEPOSIT: Hash = tag("inbox-deposit");
pub const INBOX_TASK: Hash = tag("inbox-task");
pub const INBOX_WITHDRAWAL: Hash = tag("inbox-withdrawal");
pub const INBOX_STRIKE: Hash = tag("inbox-strike");
pub const VALIDATOR_SET: Hash = tag("validator-set");
pub const PROOF_OF_POSSESSION: Hash = tag("proof-of-possession");
pub const STATE_NODE: Hash = tag("state-node");
pub const STATE_LEAF: Hash = tag("state-leaf");
pub const ACCOUNT_KEY: Hash = tag("account-key");
pub const ACCOUNT: Hash = tag("account");
pub const TOTALS_KEY: Hash = tag("totals-key");
pub const TOTALS: Hash = tag("totals");
pub const TASK_KEY: Hash = tag("task-key");
pub const TASK_LEAF: Hash = tag("task-leaf");
pub const TASK: Hash = tag("task");
pub const COMMITMENT: Hash = tag("commitment");
pub const INBOX_TASK_ID: Hash = tag("inbox-task-id");
pub const RESULTS_ROOT: Hash = tag("results-root");
pub const TRACE_ROOT: Hash = tag("trace-root");
pub const DATA_ROOT: Hash = tag("data-root");
pub const AUTHORISATION: Hash = tag("authorisation");

/// sha256("pouw/v1/" + name) for names of at most 47 bytes: one block of FIPS 180-4, evaluated by the compiler.
pub const fn tag(name: &str) -> Hash {
    let prefix = b"pouw/v1/";
    let name = name.as_bytes();
    let length = prefix.len() + name.len();
    assert!(length <= 55, "a tag's name must fit one sha256 block");
    let mut block = [0u8; 64];
    let mut i = 0;
    while i < length {
        block[i] = if i < prefix.len() { prefix[i] } else { name[i - prefix.len()] };
        i += 1;
    }
    block[length] = 0x80;
    let bits = (length * 8) as u16;
    block[62] = (bits >> 8) as u8;
    block[63] = bits as u8;
    compress(&block)
}

const fn compress(block: &[u8; 64]) -> Hash {
    let mut w = [0u32; 64];
    let mut i = 0;
    while i < 16 {
        w[i] = u32::from_be_bytes([block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]]);
        i += 1;
    }
    while i < 64 {
        let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
        let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
        i += 1;
    }
    let mut v = INITIAL;
    i = 0;
    while i < 64 {
        let s1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
        let choice = (v[4] & v[5]) ^ (!v[4] & v[6]);
        let t1 = v[7].wrapping_add(s1).wrapping_add(choice).wrapping_add(ROUND[i]).wrapping_add(w[i]);
        let s0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
        let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        v = [t1.wrapping_add(s0.wrapping_add(majority)), v[0], v[1], v[2], v[3].wrapping_add(t1), v[4], v[5], v[6]];
        i += 1;
    }
    let mut out = [0u8; 32];
    i = 0;
    while i < 8 {
        let bytes = v[i].wrapping_add(INITIAL[i]).to_be_bytes();
        out[4 * i] = bytes[0];
        out[4 * i + 1] = bytes[1];
        out[4 * i + 2] = bytes[2];
        out[4 * i + 3] = bytes[3];
        i += 1;
    }
    out
}

const INITIAL: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compile_time_tags_are_sha256() {
        for name in ["checkpoint", "genesis", "inbox-entry", "proof-of-possession", "state-node", ""] {
            let mut expected = [0u8; 32];
            sha256_parts(&[b"pouw/v1/", name.as_bytes()], &mut expected);
            assert_eq!(tag(name), expected, "{name}");
        }
    }
}
