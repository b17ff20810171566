//! Creating accounts at derived addresses, growing them, and moving lamports.

use crate::{
    constants::{ACCOUNT_VERSION, GROWTH_BYTES},
    error::SettlementError,
    math::{add, sub},
};
use anchor_lang::{
    pinocchio::{
        cpi::{Seed, Signer},
        sysvars::Sysvar as _,
    },
    prelude::*,
    programs::System,
};
use pinocchio_system::instructions::{Allocate, Assign, CreateAccount, Transfer};

/// Seeds before the bump that any address of ours has at most.
const MAX_SEEDS: usize = 3;

/// Nothing was ever created here. Somebody may have sent lamports to the address, which must not block its creation.
pub fn is_unused(account: &AccountView) -> bool {
    account.owned_by(&System::id()) && account.data_len() == 0
}

/// The canonical bump of `seeds`, or WrongAddress when they do not lead to `account`.
#[inline(never)]
pub fn check_address(account: &AccountView, seeds: &[&[u8]]) -> Result<u8> {
    anchor_lang::find_and_verify_program_address(seeds, &crate::ID, account.address())
        .map_err(|_| SettlementError::WrongAddress.into())
}

/// Creates a `T` of `space` bytes at the address of `seeds` and writes its discriminator. All other bytes are zero. The caller has
/// checked `is_unused` with an error of its own. Returns the bump.
#[inline(always)]
pub fn create<T: Discriminator>(payer: &AccountView, account: &AccountView, seeds: &[&[u8]], space: usize) -> Result<u8> {
    let bump = check_address(account, seeds)?;
    create_account(&NewAccount { payer, account, seeds, bump, space, discriminator: T::DISCRIMINATOR })?;
    Ok(bump)
}

/// One struct, and no type parameter: BPF passes five arguments at most, and one copy serves every type.
struct NewAccount<'a> {
    payer: &'a AccountView,
    account: &'a AccountView,
    /// Without the bump.
    seeds: &'a [&'a [u8]],
    bump: u8,
    space: usize,
    discriminator: &'static [u8],
}

/// The account to write to: as it is, or new when nothing was ever created there: all zero but its version, which every type has first. `seeds` and `bump` are those of its address.
#[inline(always)]
pub fn open<T>(payer: &AccountView, account: &AccountView, seeds: &[&[u8]], bump: u8) -> Result<Account<T>>
where
    T: Owner + Discriminator + bytemuck::Pod,
{
    if is_unused(account) {
        let space = T::DISCRIMINATOR.len() + core::mem::size_of::<T>();
        create_account(&NewAccount { payer, account, seeds, bump, space, discriminator: T::DISCRIMINATOR })?;
        let mut view = *account;
        // SAFETY: the account was created just now; nothing else refers to its data.
        unsafe { data_of_mut(&mut view)[T::DISCRIMINATOR.len()] = ACCOUNT_VERSION };
    }
    // SAFETY: as `created`; a duplicate of an account marked `mut` is refused before the handler runs.
    unsafe { Account::<T>::load_mut(*account) }
}

#[inline(never)]
fn create_account(new: &NewAccount) -> Result<()> {
    let bump_seed = [new.bump];
    let mut seeds: [Seed; MAX_SEEDS + 1] = core::array::from_fn(|_| Seed::from(&bump_seed));
    for (at, seed) in new.seeds.iter().enumerate() {
        seeds[at] = Seed::from(*seed);
    }
    let signer = [Signer::from(&seeds[..new.seeds.len() + 1])];
    let rent_lamports = Rent::get()?.try_minimum_balance(new.space)?;
    let (to, space, owner) = (new.account, new.space as u64, &crate::ID);
    if to.lamports() == 0 {
        CreateAccount { from: new.payer, to, lamports: rent_lamports, space, owner }.invoke_signed(&signer)?;
    } else {
        // CreateAccount refuses an address that holds lamports.
        let missing = rent_lamports.saturating_sub(to.lamports());
        if missing > 0 {
            pay(new.payer, to, missing)?;
        }
        Allocate { account: to, space }.invoke_signed(&signer)?;
        Assign { account: to, owner }.invoke_signed(&signer)?;
    }
    let mut created = *to;
    // SAFETY: nothing was here before, so no reference to its data exists.
    let data = unsafe { data_of_mut(&mut created) };
    data[..new.discriminator.len()].copy_from_slice(new.discriminator);
    Ok(())
}

/// The account that `create` has just made, to write to.
#[inline(always)]
pub fn created<T>(account: &AccountView) -> Result<Account<T>>
where
    T: Owner + Discriminator + bytemuck::Pod,
{
    // SAFETY: the account was created by this instruction and no other reference to its data exists.
    unsafe { Account::<T>::load_mut_after_init(*account) }
}

/// Grows `account` towards `full_bytes` by as much as one instruction may. Returns the new size; `full` when there is nothing to grow.
#[inline(never)]
pub fn grow(account: &AccountView, payer: &AccountView, full_bytes: usize, full: SettlementError) -> Result<u64> {
    let old_bytes = account.data_len();
    if old_bytes >= full_bytes {
        return Err(full.into());
    }
    let new_bytes = core::cmp::min(full_bytes, old_bytes + GROWTH_BYTES);
    let mut view = *account;
    anchor_lang::realloc_account(&mut view, new_bytes, payer, false)?;
    Ok(new_bytes as u64)
}

/// Least balance of an account without data.
pub fn rent_floor_lamports() -> Result<u64> {
    Rent::get()?.try_minimum_balance(0)
}

/// From a signer of the transaction.
pub fn pay(from: &AccountView, to: &AccountView, lamports: u64) -> Result<()> {
    Transfer { from, to, lamports }.invoke()
}

/// Brings a vault up to rent-exemption, so that it exists and can always pay out every lamport that was paid in.
pub fn open_vault(payer: &AccountView, vault: &AccountView) -> Result<()> {
    let missing = rent_floor_lamports()?.saturating_sub(vault.lamports());
    if missing > 0 {
        pay(payer, vault, missing)?;
    }
    Ok(())
}

/// From a vault of ours, which stays rent-exempt.
#[inline(always)]
pub fn pay_out(vault: &AccountView, to: &AccountView, lamports: u64, seed: &[u8], bump: u8) -> Result<()> {
    pay_from(&Vault { account: vault, seed, bump }, to, lamports)
}

/// One struct, since BPF passes five arguments at most, the pointer to the result included.
struct Vault<'a> {
    account: &'a AccountView,
    seed: &'a [u8],
    bump: u8,
}

#[inline(never)]
fn pay_from(vault: &Vault, to: &AccountView, lamports: u64) -> Result<()> {
    let floor = add(lamports, rent_floor_lamports()?)?;
    require!(vault.account.lamports() >= floor, SettlementError::VaultBelowRent);
    let bump_seed = [vault.bump];
    let seeds = [Seed::from(vault.seed), Seed::from(&bump_seed)];
    Transfer { from: vault.account, to, lamports }.invoke_signed(&[Signer::from(&seeds)])
}

/// Data of an account that the instruction has already checked to be ours, beside its typed header.
#[inline(always)]
pub fn data_of(account: &AccountView) -> &[u8] {
    // SAFETY: account data outlives the instruction; callers hold no mutable slice of the same bytes meanwhile.
    unsafe { account.borrow_unchecked() }
}

/// The same to write to; the account must have been loaded as `mut`.
///
/// # Safety
/// No other slice of the bytes that the caller touches may be alive.
#[inline(always)]
pub unsafe fn data_of_mut(account: &mut AccountView) -> &mut [u8] {
    account.borrow_unchecked_mut()
}

/// Out of an account of ours, which the instruction has loaded as `mut`. The caller knows that `from` holds it above its rent.
#[inline(never)]
pub fn move_lamports(from: &AccountView, to: &AccountView, lamports: u64) -> Result<()> {
    let (mut from, mut to) = (*from, *to);
    // One after the other, read anew: both may be the same account.
    from.set_lamports(sub(from.lamports(), lamports)?);
    to.set_lamports(add(to.lamports(), lamports)?);
    Ok(())
}
