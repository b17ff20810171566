//! The program id is a parameter of the build: `POUW_PROGRAM_ID` (base58), by default the localnet id, which is
//! sha256("pouw localnet settlement program") read as a public key, so nobody holds a key for it.

use std::{env, fs, path::Path};

const LOCALNET_ID: &str = "2YmCn3q4sdCJQchGVVqC7FcnKyExuLLZuWDJiKCMRmR3";
const BASE58: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

fn main() {
    println!("cargo:rerun-if-env-changed=POUW_PROGRAM_ID");
    println!("cargo:rerun-if-changed=build.rs");
    let id = env::var("POUW_PROGRAM_ID").unwrap_or_else(|_| LOCALNET_ID.to_owned());
    assert!(
        (32..=44).contains(&id.len()) && id.chars().all(|c| BASE58.contains(c)),
        "POUW_PROGRAM_ID must be a base58 public key of 32 bytes, not {id:?}"
    );
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("program_id.rs");
    fs::write(out, format!("anchor_lang::declare_id!(\"{id}\");\n")).expect("OUT_DIR is writable");
}
