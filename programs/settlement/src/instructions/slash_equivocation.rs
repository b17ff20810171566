use crate::{
    constants::*,
    error::{SettlementError, SlashError},
    events::EquivocationSlashed,
    math::add,
    slashing::{Cut, Sentence, Slash},
    state::{
        validator_set::entries, Checkpoint, Config, EquivocationTally, Offence, Receipt, Registry, SetEntry,
        Validator, ValidatorSet,
    },
    storage::{create, created, data_of, is_unused},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

#[derive(Accounts)]
pub struct SlashEquivocation {
    #[account(mut)]
    pub reporter: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    /// Whose key signed both.
    #[account(mut)]
    pub validator: Account<Validator>,
    /// The reporter's own Receipt, or the Checkpoint that was posted.
    pub evidence_a: UncheckedAccount,
    pub evidence_b: UncheckedAccount,
    /// The sets of both, which may be one.
    pub validator_set_a: Account<ValidatorSet>,
    pub validator_set_b: Account<ValidatorSet>,
    /// Seeds: "offence", validator, epoch u64 little-endian.
    #[account(mut)]
    pub offence: UncheckedAccount,
    /// Seeds: "tally", epoch u64 little-endian.
    #[account(mut)]
    pub tally: UncheckedAccount,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    #[account(mut, seeds = [TREASURY_SEED], bump = config.treasury_bump)]
    pub treasury: UncheckedAccount,
    pub system_program: Program<System>,
}

/// A message whose signatures this program has verified.
struct Evidence {
    epoch: u64,
    attempt: u32,
    set_version: u64,
    hash: [u8; 32],
    bitmap: [u8; BITMAP_BYTES],
}

/// A Receipt is used by its owner only: who did the work of recording it is not overtaken by somebody who copies the next step.
#[inline(never)]
fn load_evidence(account: &UncheckedAccount, reporter: &Address, evidence: &mut Evidence) -> Result<()> {
    if let Ok(receipt) = Account::<Receipt>::load(*account.account()) {
        require!(anchor_lang::address_eq(&receipt.owner, reporter), SlashError::NotReceiptOwner);
        *evidence = Evidence {
            epoch: receipt.epoch,
            attempt: receipt.attempt,
            set_version: receipt.set_version,
            hash: receipt.message_hash,
            bitmap: receipt.bitmap,
        };
        return Ok(());
    }
    let checkpoint =
        Account::<Checkpoint>::load(*account.account()).map_err(|_| Error::from(SlashError::NotEvidence))?;
    *evidence = Evidence {
        epoch: checkpoint.epoch,
        attempt: checkpoint.attempt,
        set_version: checkpoint.set_version,
        hash: checkpoint.hash,
        bitmap: checkpoint.bitmap,
    };
    Ok(())
}

/// The member at `index`, which signed.
fn signer<'a>(evidence: &Evidence, set: &'a Account<ValidatorSet>, index: u8) -> Result<&'a SetEntry> {
    require!(set.sealed == 1 && set.set_version == evidence.set_version, SlashError::WrongValidatorSet);
    let has_signed = evidence.bitmap[usize::from(index >> 3)] >> (index & 7) & 1 == 1;
    let member = entries(data_of(set.account()), set.count as usize)?.get(usize::from(index));
    match member {
        Some(entry) if has_signed => Ok(entry),
        _ => Err(SlashError::NotASigner.into()),
    }
}

/// What the evidence shows, once it is believed.
struct Offender {
    epoch: u64,
    attempt: u32,
    stake_lamports: u64,
    total_stake_lamports: u64,
}

/// Two different messages of one (epoch, attempt), both signed by the validator's key.
#[inline(never)]
fn check_evidence(accounts: &SlashEquivocation, index_a: u8, index_b: u8, offender: &mut Offender) -> Result<()> {
    let empty = || Evidence { epoch: 0, attempt: 0, set_version: 0, hash: [0; 32], bitmap: [0; BITMAP_BYTES] };
    let (mut a, mut b) = (empty(), empty());
    load_evidence(&accounts.evidence_a, accounts.reporter.address(), &mut a)?;
    load_evidence(&accounts.evidence_b, accounts.reporter.address(), &mut b)?;
    require!(a.epoch == b.epoch && a.attempt == b.attempt, SlashError::DifferentAttempts);
    require!(a.hash != b.hash, SlashError::SameMessage);
    let entry_a = signer(&a, &accounts.validator_set_a, index_a)?;
    let entry_b = signer(&b, &accounts.validator_set_b, index_b)?;
    require!(entry_a.bls_public_key == entry_b.bls_public_key, SlashError::DifferentKeys);
    require!(entry_a.bls_public_key == accounts.validator.bls_public_key, SlashError::WrongValidator);
    // The older set's, so that the order of the evidence decides nothing.
    let (entry, set) = if a.set_version <= b.set_version {
        (entry_a, &accounts.validator_set_a)
    } else {
        (entry_b, &accounts.validator_set_b)
    };
    *offender = Offender {
        epoch: a.epoch,
        attempt: a.attempt,
        stake_lamports: entry.stake_lamports,
        total_stake_lamports: set.total_stake_lamports,
    };
    Ok(())
}

/// Adds the offender to the epoch's tally and returns what every one of them is to lose.
#[inline(never)]
fn count(accounts: &SlashEquivocation, offender: &Offender) -> Result<u64> {
    let view = accounts.tally.account();
    let mut tally = if is_unused(view) {
        let seeds: [&[u8]; 2] = [TALLY_SEED, &offender.epoch.to_le_bytes()];
        let space = 8 + core::mem::size_of::<EquivocationTally>();
        let bump = create::<EquivocationTally>(accounts.reporter.account(), view, &seeds, space)?;
        let mut tally = created::<EquivocationTally>(view)?;
        tally.version = ACCOUNT_VERSION;
        tally.bump = bump;
        tally.epoch = offender.epoch;
        tally.total_stake_lamports = offender.total_stake_lamports;
        tally
    } else {
        // SAFETY: no other reference to the account's data exists.
        unsafe { Account::<EquivocationTally>::load_mut(*view) }
            .map_err(|_| Error::from(SettlementError::WrongAddress))?
    };
    // The program makes one per epoch, so type and epoch identify it.
    require!(tally.epoch == offender.epoch, SettlementError::WrongAddress);
    tally.validators += 1;
    tally.stake_lamports = add(tally.stake_lamports, offender.stake_lamports)?;
    tally.invariant()?;
    tally.target_basis_points(accounts.config.parameters.equivocation_slash_basis_points)
}

#[inline(never)]
fn write_offence(accounts: &SlashEquivocation, offender: &Offender, target: u64, cut: &Cut) -> Result<()> {
    let view = accounts.offence.account();
    let validator = *accounts.validator.account().address();
    let seeds: [&[u8]; 3] = [OFFENCE_SEED, validator.as_array(), &offender.epoch.to_le_bytes()];
    let space = 8 + core::mem::size_of::<Offence>();
    let bump = create::<Offence>(accounts.reporter.account(), view, &seeds, space)?;
    let mut offence = created::<Offence>(view)?;
    offence.version = ACCOUNT_VERSION;
    offence.bump = bump;
    offence.validator = validator;
    offence.epoch = offender.epoch;
    offence.attempt = offender.attempt;
    offence.applied_basis_points = target;
    offence.cut_lamports = cut.lamports;
    offence.invariant()
}

#[inline(never)]
pub fn handler(ctx: &mut Context<SlashEquivocation>, index_a: u8, index_b: u8) -> Result<()> {
    let accounts = &mut ctx.accounts;
    let mut offender = Offender { epoch: 0, attempt: 0, stake_lamports: 0, total_stake_lamports: 0 };
    require!(is_unused(accounts.offence.account()), SlashError::OffencePunished);
    check_evidence(accounts, index_a, index_b, &mut offender)?;
    let target = count(accounts, &offender)?;
    let slash = Slash {
        config: &accounts.config,
        registry: accounts.registry.account(),
        stake_vault: accounts.stake_vault.account(),
        treasury: accounts.treasury.account(),
        reporter: accounts.reporter.account(),
        slot: Clock::get()?.slot,
    };
    let cut = slash.carry_out(&mut accounts.validator, target, Sentence::Tombstone)?;
    write_offence(accounts, &offender, target, &cut)?;
    emit!(EquivocationSlashed {
        validator: *accounts.validator.account().address(),
        authority: accounts.validator.authority,
        epoch: offender.epoch,
        applied_basis_points: target,
        cut_lamports: cut.lamports,
        reporter: *accounts.reporter.address(),
        reporter_lamports: cut.reporter_lamports,
    });
    Ok(())
}
