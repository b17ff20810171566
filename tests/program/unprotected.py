"""The settlement program without its protections: a build of the committed source in which each check that is named here can be switched off
by one byte of the file. The twins (test_twins.py) carry out an attack on the committed program, where it is refused, and on this one with
that single check off, where it succeeds: so the check, and no other, is what stands between.

    python -m tests.program.unprotected FOLDER     edits FOLDER/programs/settlement, a copy of the sources, and never the sources themselves

scripts/program_check.sh builds it. In an edit's new text OFF says whether the check is switched off; one that does not fit exactly once is
an error, here and in test_twins.py.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.program.source_edits import Edit, apply_all, write_into_copy

MARK = b"POUW-UNPROTECTED"
PLACES = 64


def unless(file: str, condition: str) -> Edit:
    """The condition of this `require!` holds whatever it says."""
    return Edit(file, f"require!({condition}", f"require!(OFF || {condition}")


_RULES: dict[str, tuple[Edit, ...]] = {
    "proof of possession": (
        Edit(
            "instructions/register_validator.rs",
            "bls::verify(key, &message, &args.proof_of_possession",
            "if OFF { return Ok(()); } bls::verify(key, &message, &args.proof_of_possession",
        ),
    ),
    "the proof's authority": (
        Edit(
            "instructions/register_validator.rs",
            "accounts.authority.address().as_array(), &args.bls_public_key",
            "if OFF { &[0u8; 32] } else { accounts.authority.address().as_array() }, &args.bls_public_key",
        ),
    ),
    "no infinity": (
        Edit("bls/verify.rs", "if is_infinity_g1(public_key) {", "if !OFF && is_infinity_g1(public_key) {"),
        Edit("bls/verify.rs", "if public_key[0] & FLAGS != 0", "if !OFF && public_key[0] & FLAGS != 0"),
        Edit("bls/verify.rs", "if signature[0] & INFINITY != 0", "if !OFF && signature[0] & INFINITY != 0"),
        Edit("bls/verify.rs", "if compressed[0] & INFINITY != 0", "if !OFF && compressed[0] & INFINITY != 0"),
        Edit("certificate.rs", "require!(!bls::is_infinity_g1(sum),", "require!(OFF || !bls::is_infinity_g1(sum),"),
    ),
    "hints are only checked": (
        Edit(
            "bls/verify.rs",
            "hash_to_g2(message, hints, &mut g2[0]).map_err(BlsError::Hint)?;",
            "if OFF { g2[0].copy_from_slice(&hints[288..]); } "
            "else { hash_to_g2(message, hints, &mut g2[0]).map_err(BlsError::Hint)?; }",
        ),
    ),
    "a quorum": (unless("certificate.rs", "is_enough"),),
    "stake, not heads": (
        Edit(
            "certificate.rs",
            "let is_enough = is_quorum(signers.stake_lamports, set.header.total_stake_lamports)?;",
            "let is_enough = if OFF { is_quorum(signers.count, set.header.count)? } "
            "else { is_quorum(signers.stake_lamports, set.header.total_stake_lamports)? };",
        ),
    ),
    "the pinned set": (
        unless("instructions/post_checkpoint.rs", "set.sealed == 1 && set.set_version == config.pinned.version"),
    ),
    "the cluster": (
        Edit(
            "state/config.rs",
            "Domain { genesis: &self.genesis_hash,",
            "Domain { genesis: if OFF { &[0u8; 32] } else { &self.genesis_hash },",
        ),
        Edit(
            "instructions/initialize.rs",
            "Domain { genesis: genesis_hash,",
            "Domain { genesis: if OFF { &[0u8; 32] } else { genesis_hash },",
        ),
    ),
    "the epoch": (
        Edit(
            "message.rs",
            "&self.epoch.to_le_bytes(), &self.attempt",
            "if OFF { &[0u8; 8] } else { &epoch }, &self.attempt",
        ),
        Edit(
            "message.rs",
            "let parts: [&[u8]; 16] =",
            "let epoch = self.epoch.to_le_bytes(); let parts: [&[u8]; 16] =",
        ),
    ),
    "every entry in time": (
        unless(
            "instructions/post_checkpoint.rs",
            "args.cut_slot.saturating_sub(next.slot) <= config.parameters.inclusion_window_slots",
        ),
    ),
    "owner and type of an account": (
        Edit(
            "instructions/post_checkpoint.rs",
            "let next = load_entry(Some(&accounts.next_entry), cursor, SettlementError::WrongNextEntry)?;",
            "struct Read { index: u64, slot: u64 } let next = if OFF { let data = data_of(accounts.next_entry.account()); "
            "let word = |at: usize| { let mut bytes = [0u8; 8]; bytes.copy_from_slice(&data[at..at + 8]); u64::from_le_bytes(bytes) }; "
            "Read { index: word(16), slot: word(24) } } "
            "else { let entry = load_entry(Some(&accounts.next_entry), cursor, SettlementError::WrongNextEntry)?; "
            "Read { index: entry.index, slot: entry.slot } }; require!(next.index == cursor, SettlementError::WrongNextEntry);",
        ),
    ),
    "an offence once": (
        unless(
            "instructions/slash_equivocation.rs", "is_unused(accounts.offence.account()), SlashError::OffencePunished"
        ),
        Edit(
            "instructions/slash_equivocation.rs",
            "write_offence(accounts, &offender, target, &cut)?;",
            "if !OFF || is_unused(accounts.offence.account()) { write_offence(accounts, &offender, target, &cut)?; }",
        ),
    ),
    "two different messages": (unless("instructions/slash_equivocation.rs", "a.hash != b.hash"),),
    "who signed": (
        Edit(
            "instructions/slash_equivocation.rs",
            "Some(entry) if has_signed =>",
            "Some(entry) if OFF || has_signed =>",
        ),
    ),
    "whose stake is slashed": (
        unless(
            "instructions/slash_equivocation.rs",
            "entry_a.bls_public_key == accounts.validator.bls_public_key",
        ),
    ),
    "the canonical bump": (
        Edit(
            "storage.rs",
            "anchor_lang::find_and_verify_program_address(seeds, &crate::ID, account.address())",
            "if OFF { for bump in (0..=255u8).rev() { let bump_seed = [bump]; "
            "let mut all: [&[u8]; MAX_SEEDS + 1] = [&[]; MAX_SEEDS + 1]; "
            "all[..seeds.len()].copy_from_slice(seeds); all[seeds.len()] = &bump_seed; "
            "if let Ok(derived) = anchor_lang::create_program_address(&all[..seeds.len() + 1], &crate::ID) { "
            "if anchor_lang::address_eq(&derived, account.address()) { return Ok(bump); } } } } "
            "anchor_lang::find_and_verify_program_address(seeds, &crate::ID, account.address())",
        ),
    ),
    "the unbonding clock": (unless("stake.rs", "slot > add(since, config.parameters.unbonding_slots)?"),),
    "slashes come first": (unless("stake.rs", "config.pending_slashes == 0"),),
    "a proof shows fraud": (unless("instructions/challenge.rs", "is_wrong"),),
    "a demand holds finality": (unless("instructions/finalize_checkpoint.rs", "checkpoint.open_demands == 0"),),
    "the challenge window": (unless("instructions/finalize_checkpoint.rs", "slot > checkpoint.challenge_until_slot"),),
    "one claim for all epochs": (
        unless("instructions/claim.rs", "payable > claim.claimed_lamports"),
        Edit(
            "instructions/claim.rs",
            "let lamports = payable - claim.claimed_lamports;",
            "let lamports = if OFF { payable } else { payable - claim.claimed_lamports };",
        ),
    ),
    "a refund once": (unless("instructions/escape_refund.rs", "entry.refunded == 0"),),
    "the hatch's clock": (unless("instructions/escape.rs", "slot > opens_after"),),
    "rounding down": (
        Edit(
            "state/pool.rs",
            "let lamports = self.worth(shares)?; self.lamports =",
            "let lamports = add(self.worth(shares)?, u64::from(OFF && shares < self.shares))?; self.lamports =",
        ),
    ),
    "a signer signs": (
        Edit(
            "instructions/governance.rs",
            "pub struct Govern { pub governance: Signer,",
            "pub struct Govern { pub governance: UncheckedAccount,",
        ),
        Edit(
            "instructions/governance.rs",
            "pub fn pause(ctx: &mut Context<Govern>) -> Result<()> {",
            "pub fn pause(ctx: &mut Context<Govern>) -> Result<()> { "
            "require!(OFF || ctx.accounts.governance.account().is_signer(), DisputeError::NotGovernance);",
        ),
    ),
    "the upgrade authority": (unless("instructions/initialize.rs", "is_authority"),),
    "the sysvar's address": (
        unless("signature.rs", "anchor_lang::address_eq(sysvar.address(), &INSTRUCTIONS_ID)"),
        Edit(
            "signature.rs",
            "Instructions::try_from(sysvar).map_err(|_| DisputeError::NoEd25519Instruction)?;",
            "unsafe { Instructions::new_unchecked(crate::storage::data_of(sysvar)) };",
        ),
    ),
}
PROTECTIONS = tuple(_RULES)
"""By the place of its byte behind the mark."""


def edited() -> dict[str, str]:
    """By name under the crate's src/, the text of every file that differs. ValueError names an edit that does not fit."""
    edits = [Edit("lib.rs", "pub mod storage;", "pub mod storage; pub mod unprotected;")]
    for index, rule in enumerate(_RULES.values()):
        edits += (replace(edit, new=edit.new.replace("OFF", f"crate::unprotected::off({index})")) for edit in rule)
    files = apply_all(edits)
    switches = MARK.decode() + r"\0" * PLACES
    files["unprotected.rs"] = (
        f'#[used]\nstatic SWITCHES: [u8; {len(MARK) + PLACES}] = *b"{switches}";\n\n'
        "/// Read where it stands, so that a byte of the file decides and not the compiler.\n"
        "#[inline(never)]\npub fn off(index: usize) -> bool {\n"
        f"    unsafe {{ core::ptr::read_volatile(SWITCHES.as_ptr().add({len(MARK)} + index)) != 0 }}\n}}\n"
    )
    return files


@contextmanager
def without(elf: Path, *protections: str) -> Iterator[Path]:
    """A file of that build with these checks switched off."""
    data = bytearray(elf.read_bytes())
    (start,) = (found.end() for found in re.finditer(re.escape(MARK) + rb"\0{%d}" % PLACES, data))
    start -= PLACES
    for protection in protections:
        data[start + PROTECTIONS.index(protection)] = 1
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(data)
        file.flush()
        yield Path(file.name)


if __name__ == "__main__":
    write_into_copy(edited())
