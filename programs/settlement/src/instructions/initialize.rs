use crate::{
    storage::{create, created, is_unused, open_vault},
    constants::*,
    error::SettlementError,
    events::Initialized,
    message::Domain,
    state::{Config, Parameters, Registry},
    state_tree::genesis_state_root,
};
use anchor_lang::{pinocchio::sysvars::Sysvar as _, prelude::*, programs::System};

const UPGRADEABLE_LOADER: Address =
    anchor_lang::address!("BPFLoaderUpgradeab1e11111111111111111111111");

/// UpgradeableLoaderState::ProgramData as bincode writes it: variant u32 = 3, slot u64, Option<authority>.
const PROGRAM_DATA_VARIANT: [u8; 4] = 3u32.to_le_bytes();
const AUTHORITY_TAG_OFFSET: usize = 12;
const AUTHORITY_OFFSET: usize = 13;
const PROGRAM_DATA_HEADER_BYTES: usize = 45;

#[derive(Accounts)]
pub struct Initialize {
    #[account(mut, unsafe(dup))]
    pub payer: Signer,
    /// The program's upgrade authority.
    pub authority: Signer,
    /// The program's ProgramData account.
    pub program_data: UncheckedAccount,
    #[account(mut, seeds = [CONFIG_SEED], bump)]
    pub config: UncheckedAccount,
    #[account(mut, seeds = [REGISTRY_SEED], bump)]
    pub registry: UncheckedAccount,
    #[account(mut, seeds = [VAULT_SEED], bump)]
    pub vault: UncheckedAccount,
    #[account(mut, seeds = [STAKE_VAULT_SEED], bump)]
    pub stake_vault: UncheckedAccount,
    #[account(mut, seeds = [TREASURY_SEED], bump)]
    pub treasury: UncheckedAccount,
    pub system_program: Program<System>,
}

/// Only who may replace the program may set its parameters: otherwise whoever is first would own the deployment.
#[inline(never)]
fn check_upgrade_authority(program_data: &AccountView, authority: &Address) -> Result<()> {
    let seeds: [&[u8]; 1] = [crate::ID.as_array()];
    anchor_lang::find_and_verify_program_address(&seeds, &UPGRADEABLE_LOADER, program_data.address())
        .map_err(|_| SettlementError::WrongProgramData)?;
    require!(program_data.owned_by(&UPGRADEABLE_LOADER), SettlementError::WrongProgramData);
    let data = crate::storage::data_of(program_data);
    require!(
        data.len() >= PROGRAM_DATA_HEADER_BYTES && data[..4] == PROGRAM_DATA_VARIANT,
        SettlementError::WrongProgramData
    );
    let is_authority = data[AUTHORITY_TAG_OFFSET] == 1
        && &data[AUTHORITY_OFFSET..PROGRAM_DATA_HEADER_BYTES] == authority.as_ref();
    require!(is_authority, SettlementError::NotUpgradeAuthority);
    Ok(())
}

#[inline(never)]
fn write_config(config: &mut Config, genesis_hash: &[u8; 32], parameters: &Parameters, slot: u64) {
    config.version = ACCOUNT_VERSION;
    config.genesis_hash = *genesis_hash;
    config.parameters = *parameters;
    config.initialized_slot = slot;
    // The hatch counts from here until something is finalized.
    config.finalized.slot = slot;
    let domain = Domain { genesis: genesis_hash, program: crate::ID.as_array() };
    domain.genesis_inbox(&mut config.inbox.hash);
    config.posted.inbox_hash = config.inbox.hash;
    domain.genesis_parent(&mut config.posted.hash);
    config.finalized.hash = config.posted.hash;
    genesis_state_root(&mut config.finalized.state_root);
}

#[inline(never)]
pub fn handler(ctx: &mut Context<Initialize>, genesis_hash: &[u8; 32], parameters: &Parameters) -> Result<()> {
    let accounts = &ctx.accounts;
    require!(is_unused(accounts.config.account()), SettlementError::AlreadyInitialized);
    check_upgrade_authority(accounts.program_data.account(), accounts.authority.address())?;
    require!(*genesis_hash != [0; 32], SettlementError::BadGenesisHash);
    parameters.check()?;

    let payer = accounts.payer.account();
    let config_bump = create::<Config>(payer, accounts.config.account(), &[CONFIG_SEED], 8 + core::mem::size_of::<Config>())?;
    let registry_bump = create::<Registry>(payer, accounts.registry.account(), &[REGISTRY_SEED], GROWTH_BYTES)?;
    open_vault(payer, accounts.vault.account())?;
    open_vault(payer, accounts.stake_vault.account())?;
    open_vault(payer, accounts.treasury.account())?;

    let mut registry = created::<Registry>(accounts.registry.account())?;
    registry.version = ACCOUNT_VERSION;
    registry.bump = registry_bump;
    registry.invariant()?;

    let mut config = created::<Config>(accounts.config.account())?;
    write_config(&mut config, genesis_hash, parameters, Clock::get()?.slot);
    config.bump = config_bump;
    config.vault_bump = ctx.bumps.vault;
    config.stake_vault_bump = ctx.bumps.stake_vault;
    config.treasury_bump = ctx.bumps.treasury;
    config.authority = *accounts.authority.address();
    config.governance = config.authority;
    config.invariant()?;

    emit!(Initialized { authority: config.authority, genesis_hash: config.genesis_hash });
    Ok(())
}
