use crate::{
    storage::{create, created, is_unused, pay},
    bls::{self, BlsError, HINT_BYTES},
    certificate::refusal,
    constants::*,
    error::{SettlementError, StakeError},
    events::ValidatorRegistered,
    hash::sha256_parts,
    math::add,
    stake::{make_room, occupy, slots_of},
    state::{validator::NO_SLOT, Config, Registry, StakePosition, Validator},
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};
use core::mem::size_of;

/// hints: those of the proof of possession's message, 480 bytes.
#[derive(Clone, Copy, AnchorSerialize, AnchorDeserialize, anchor_lang::IdlType)]
pub struct RegisterValidatorArgs {
    pub bls_public_key: [u8; 48],
    pub proof_of_possession: [u8; 96],
    pub hints: [u8; 480],
    pub stake_lamports: u64,
    pub commission_basis_points: u64,
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
    /// The authority's StakePosition behind it.
    #[account(mut, seeds = [STAKE_SEED, validator, authority], bump)]
    pub position: UncheckedAccount,
    /// The one to lose its slot when all are taken: the lowest stake, the first of equals. Left out, or ignored, while there is a free one.
    #[account(mut)]
    pub outbid: Option<Account<Validator>>,
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

/// The Validator and its authority's position behind it.
#[inline(never)]
fn create_validator(accounts: &RegisterValidator, args: &RegisterValidatorArgs, key: &[u8; 96]) -> Result<()> {
    let payer = accounts.payer.account();
    let view = accounts.validator.account();
    let mut key_hash = [0u8; 32];
    sha256_parts(&[&args.bls_public_key], &mut key_hash);
    let bump = create::<Validator>(payer, view, &[VALIDATOR_SEED, &key_hash], 8 + size_of::<Validator>())?;
    let mut validator = created::<Validator>(view)?;
    validator.version = ACCOUNT_VERSION;
    validator.bump = bump;
    validator.authority = *accounts.authority.address();
    validator.bls_public_key = *key;
    validator.slot_index = NO_SLOT;
    validator.commission_basis_points = args.commission_basis_points;
    let mut active = validator.active();
    let shares = active.enter(args.stake_lamports)?;
    validator.set_active(active);

    let owner = *accounts.authority.address();
    let seeds: [&[u8]; 3] = [STAKE_SEED, view.address().as_array(), owner.as_array()];
    let bump = create::<StakePosition>(payer, accounts.position.account(), &seeds, 8 + size_of::<StakePosition>())?;
    let mut position = created::<StakePosition>(accounts.position.account())?;
    position.version = ACCOUNT_VERSION;
    position.bump = bump;
    position.owner = owner;
    position.validator = *view.address();
    position.shares = shares;
    position.invariant()
}

/// Returns who lost its slot for it; zero when one was free.
#[inline(never)]
fn take_slot(accounts: &mut RegisterValidator, validator: &mut Validator, slot: u64) -> Result<Address> {
    let mut view = *accounts.registry.account();
    let slots = slots_of(&mut view)?;
    let loser = accounts.outbid.as_ref().map(|loser| *loser.account().address()).unwrap_or_default();
    let outbid = accounts.outbid.as_mut().map(|loser| &mut **loser);
    let room = make_room(slots, validator, outbid, &accounts.config)?;
    occupy(slots, room.index, validator, slot)?;
    if !room.was_free {
        return Ok(loser);
    }
    accounts.registry.count = add(accounts.registry.count, 1)?;
    accounts.registry.invariant()?;
    Ok(Address::default())
}

#[inline(never)]
pub fn handler(ctx: &mut Context<RegisterValidator>, args: &RegisterValidatorArgs) -> Result<()> {
    let accounts = &mut ctx.accounts;
    require!(accounts.config.escaped == 0, SettlementError::Escaped);
    require!(
        args.stake_lamports >= accounts.config.parameters.min_validator_stake_lamports,
        SettlementError::StakeBelowMinimum
    );
    require!(args.commission_basis_points <= ALL_BASIS_POINTS, StakeError::CommissionTooHigh);
    require!(is_unused(accounts.validator.account()), SettlementError::BlsKeyRegistered);
    let slot = Clock::get()?.slot;
    let mut key = [0u8; 96];
    check_key(accounts, args, &mut key)?;
    create_validator(accounts, args, &key)?;
    let mut validator = created::<Validator>(accounts.validator.account())?;
    let outbid = take_slot(accounts, &mut validator, slot)?;
    validator.invariant()?;

    pay(accounts.payer.account(), accounts.stake_vault.account(), args.stake_lamports)?;
    emit!(ValidatorRegistered {
        slot_index: validator.slot_index,
        authority: *accounts.authority.address(),
        stake_lamports: args.stake_lamports,
        validator: *accounts.validator.account().address(),
        commission_basis_points: args.commission_basis_points,
        outbid,
    });
    Ok(())
}
