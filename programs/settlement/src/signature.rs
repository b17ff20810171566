//! An ed25519 signature, verified by Solana's own ed25519 program in the instruction before: the program reads from the instructions
//! sysvar what was verified there. The runtime ran that instruction before this one; had it failed, so would the transaction have.

use crate::{error::DisputeError, hash::Hash};
use anchor_lang::{
    pinocchio::sysvars::instructions::{Instructions, INSTRUCTIONS_ID},
    prelude::*,
};

const ED25519_PROGRAM: Address = anchor_lang::address!("Ed25519SigVerify111111111111111111111111111");

/// Number of signatures, padding, then the offsets of one signature.
const HEADER_BYTES: usize = 16;
/// "This instruction", as its own index among the transaction's.
const ITSELF: u16 = u16::MAX;

fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([data[at], data[at + 1]])
}

fn part(data: &[u8], at: u16, bytes: usize) -> Result<&[u8]> {
    data.get(usize::from(at)..usize::from(at) + bytes).ok_or_else(|| DisputeError::NoEd25519Instruction.into())
}

/// NoEd25519Instruction unless the instruction before the current one is the ed25519 program's, over one signature whose parts all lie in
/// that very instruction (offsets may point into others, which prove nothing here); WrongEd25519Instruction unless key, signature and
/// message are these.
#[inline(never)]
pub fn check_ed25519(sysvar: &AccountView, public_key: &[u8; 32], signature: &[u8; 64], message: &Hash) -> Result<()> {
    require!(anchor_lang::address_eq(sysvar.address(), &INSTRUCTIONS_ID), DisputeError::NoEd25519Instruction);
    let instructions = Instructions::try_from(sysvar).map_err(|_| DisputeError::NoEd25519Instruction)?;
    let current = instructions.load_current_index();
    let before = instructions.get_instruction_relative(-1).map_err(|_| DisputeError::NoEd25519Instruction)?;
    require!(anchor_lang::address_eq(before.get_program_id(), &ED25519_PROGRAM), DisputeError::NoEd25519Instruction);
    let data = before.get_instruction_data();
    require!(data.len() >= HEADER_BYTES && data[0] == 1, DisputeError::NoEd25519Instruction);
    for at in [4, 8, 14] {
        let index = u16_at(data, at);
        require!(index == ITSELF || Some(index) == current.checked_sub(1), DisputeError::NoEd25519Instruction);
    }
    let is_right = part(data, u16_at(data, 2), 64)? == signature
        && part(data, u16_at(data, 6), 32)? == public_key
        && usize::from(u16_at(data, 12)) == message.len()
        && part(data, u16_at(data, 10), 32)? == message;
    require!(is_right, DisputeError::WrongEd25519Instruction);
    Ok(())
}
