use crate::{
    storage::{create, created, data_of_mut, is_unused, pay},
    bls::{self, BlsError, HINT_BYTES},
    certificate::refusal,
    constants::*,
    error::SettlementError,
    events::ValidatorRegistered,
    hash::sha256_parts,
    state::{
        registry::{slots_mut, FLAG_OCCUPIED},
        Config, Registry, Validator,
    },
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

/// hints: those of the proof of possession's message, 480 bytes.
#[derive(Clone, Copy, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct RegisterValidatorArgs {
    pub bls_public_key: [u8; 48],
    pub proof_of_possession: [u8; 96],
    pub hints: [u8; 480],
    pub stake_lamports: u64,
}

const _: () = assert!(HINT_BYTES == 480, "the arguments' hints have the BLS module's size");

#[derive(Accounts)]
pub struct RegisterValidator {
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    pub authority: Signer,
    #[account(seeds = [CONFIG_SEED], bump = config.bump)]
    pub config: Account<Config>,
    #[account(mut, seeds = [REGISTRY_SEED], bump = registry.bump)]
    pub registry: Account<Registry>,
    /// Seeds: "bls", sha256 of the 48-byte key.
    #[account(mut)]
    pub validator: UncheckedAccount,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump = config.stake_vault_bump)]
    pub stake_vault: UncheckedAccount,
    pub system_program: Program<System>,
}

/// The authority signs for its key, so that nobody registers a key that is the difference of others' (a rogue key), nor another's.
#[inline(never)]
fn check_key(accounts: &RegisterValidator, args: &RegisterValidatorArgs, key: &mut [u8; 96]) -> Result<()> {
    bls::decompress_g1(&args.bls_public_key, key).map_err(refusal)?;
    let mut message = [0u8; 32];
    accounts.config.domain().proof_of_possession(
        accounts.authority.address().as_array(),
        &args.bls_public_key,
        &mut message,
    );
    bls::verify(key, &message, &args.proof_of_possession, &args.hints).map_err(|error| {
        let refused = match error {
            BlsError::WrongSignature => SettlementError::BadProofOfPossession,
            other => refusal(other),
        };
        refused.into()
    })
}

#[inline(never)]
fn take_slot(accounts: &mut RegisterValidator, key: &[u8; 96], stake_lamports: u64, slot: u64) -> Result<u64> {
    let authority = *accounts.authority.address();
    let mut view = *accounts.registry.account();
    // SAFETY: the slots lie behind the header, which is the only other part of the account in use.
    let slots = slots_mut(unsafe { data_of_mut(&mut view) })?;
    let mut free = None;
    for (index, taken) in slots.iter().enumerate() {
        if !taken.is_occupied() {
            if free.is_none() {
                free = Some(index);
            }
        } else {
            require!(!anchor_lang::address_eq(&taken.authority, &authority), SettlementError::AuthorityRegistered);
        }
    }
    let index = free.ok_or(SettlementError::RegistryFull)?;
    let taken = &mut slots[index];
    taken.authority = authority;
    taken.bls_public_key = *key;
    taken.stake_lamports = stake_lamports;
    taken.stake_slot = slot;
    taken.reward_lamports = 0;
    taken.heartbeat_slot = slot;
    taken.misses = 0;
    taken.flags = FLAG_OCCUPIED;
    accounts.registry.count += 1;
    Ok(index as u64)
}

#[inline(never)]
pub fn handler(ctx: &mut Context<RegisterValidator>, args: &RegisterValidatorArgs) -> Result<()> {
    let accounts = &mut ctx.accounts;
    require!(accounts.config.escaped == 0, SettlementError::Escaped);
    require!(
        args.stake_lamports >= accounts.config.parameters.min_validator_stake_lamports,
        SettlementError::StakeBelowMinimum
    );
    require!(is_unused(accounts.validator.account()), SettlementError::BlsKeyRegistered);
    let slot = Clock::get()?.slot;
    let mut key = [0u8; 96];
    check_key(accounts, args, &mut key)?;
    let slot_index = take_slot(accounts, &key, args.stake_lamports, slot)?;

    let mut key_hash = [0u8; 32];
    sha256_parts(&[&args.bls_public_key], &mut key_hash);
    let payer = accounts.payer.account();
    let space = 8 + core::mem::size_of::<Validator>();
    let bump = create::<Validator>(payer, accounts.validator.account(), &[VALIDATOR_SEED, &key_hash], space)?;
    let mut validator = created::<Validator>(accounts.validator.account())?;
    validator.version = ACCOUNT_VERSION;
    validator.bump = bump;
    validator.authority = *accounts.authority.address();
    validator.bls_public_key = key;
    validator.slot_index = slot_index;
    validator.active_lamports = args.stake_lamports;
    validator.active_shares = args.stake_lamports;
    validator.invariant()?;

    pay(payer, accounts.stake_vault.account(), args.stake_lamports)?;
    accounts.registry.invariant()?;
    emit!(ValidatorRegistered {
        slot_index,
        authority: *accounts.authority.address(),
        stake_lamports: args.stake_lamports,
    });
    Ok(())
}
