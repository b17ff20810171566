//! The settlement program: the L1 authority on stake, checkpoints, certificates and money. It believes nothing because the sequencer
//! says so. docs/settlement.md lists accounts, parameters, instructions and rules; docs/protocol.md the bytes that are hashed and signed.
#![cfg_attr(not(any(test, feature = "idl-build")), no_std)]

extern crate alloc;

use anchor_lang::prelude::*;

pub mod storage;
pub mod bls;
pub mod certificate;
pub mod constants;
pub mod error;
pub mod events;
pub mod evidence;
pub mod hash;
pub mod inbox;
pub mod instructions;
pub mod ledger;
pub mod math;
pub mod merkle;
pub mod message;
pub mod sealing;
pub mod slashing;
pub mod stake;
pub mod rejection;
pub mod signature;
pub mod state;
pub mod state_tree;
#[cfg(debian_sbf)]
mod memory;
#[cfg(all(test, feature = "idl-build"))]
mod idl_types;

use instructions::*;
use merkle::Place;
use state::Parameters;

include!(concat!(env!("OUT_DIR"), "/program_id.rs"));

#[program]
pub mod settlement {
    use super::*;

    /// Creates Config, the small Registry and the vaults. Signed by the program's upgrade authority; once.
    pub fn initialize(ctx: &mut Context<initialize::Initialize>, genesis_hash: [u8; 32], parameters: Parameters) -> Result<()> {
        initialize::handler(ctx, &genesis_hash, &parameters)
    }

    /// Grows the Registry by up to 10,240 bytes, until it has its full size.
    pub fn grow_registry(ctx: &mut Context<grow_registry::GrowRegistry>) -> Result<()> {
        grow_registry::handler(ctx)
    }

    /// Registers a validator: stakes, checks the BLS key and its proof of possession, takes a registry slot.
    pub fn register_validator(ctx: &mut Context<register_validator::RegisterValidator>, args: register_validator::RegisterValidatorArgs) -> Result<()> {
        register_validator::handler(ctx, &args)
    }

    /// Creates the small account of the next validator set version.
    pub fn create_validator_set(ctx: &mut Context<create_validator_set::CreateValidatorSet>, version: u64) -> Result<()> {
        create_validator_set::handler(ctx, version)
    }

    /// Grows a validator set by up to 10,240 bytes, until it has its full size.
    pub fn grow_validator_set(ctx: &mut Context<grow_validator_set::GrowValidatorSet>, version: u64) -> Result<()> {
        grow_validator_set::handler(ctx, version)
    }

    /// Copies the registry into the next validator set, adds up the keys, hashes and seals it.
    pub fn advance_validator_set(ctx: &mut Context<advance_validator_set::AdvanceValidatorSet>, version: u64) -> Result<()> {
        advance_validator_set::handler(ctx, version)
    }

    /// Pays lamports into the vault for an L2 account and appends an inbox entry.
    pub fn deposit(ctx: &mut Context<deposit::Deposit>, lamports: u64, beneficiary: Address) -> Result<()> {
        deposit::handler(ctx, lamports, &beneficiary)
    }

    /// Accepts the next checkpoint, if the pinned set's quorum certified it.
    pub fn post_checkpoint(ctx: &mut Context<post_checkpoint::PostCheckpoint>, args: post_checkpoint::PostCheckpointArgs) -> Result<()> {
        post_checkpoint::handler(ctx, &args)
    }

    /// Makes a posted checkpoint final once its challenge window is over and its parent is final.
    pub fn finalize_checkpoint(ctx: &mut Context<finalize_checkpoint::FinalizeCheckpoint>, epoch: u64) -> Result<()> {
        finalize_checkpoint::handler(ctx, epoch)
    }

    /// Creates a buffer for the siblings of a long proof.
    pub fn create_proof_buffer(ctx: &mut Context<create_proof_buffer::CreateProofBuffer>, id: u64, length: u32) -> Result<()> {
        create_proof_buffer::handler(ctx, id, length)
    }

    /// Writes bytes into a proof buffer.
    pub fn write_proof_buffer(ctx: &mut Context<write_proof_buffer::WriteProofBuffer>, id: u64, offset: u32, bytes: &[u8]) -> Result<()> {
        write_proof_buffer::handler(ctx, id, offset, bytes)
    }

    /// Closes a proof buffer and returns its rent to the owner.
    pub fn close_proof_buffer(ctx: &mut Context<close_proof_buffer::CloseProofBuffer>, id: u64) -> Result<()> {
        close_proof_buffer::handler(ctx, id)
    }

    /// Pays an L2 account what the finalized state owes it and it has not claimed yet.
    pub fn claim(ctx: &mut Context<claim::Claim>, value: [u8; 80], siblings: &[[u8; 32]]) -> Result<()> {
        claim::handler(ctx, &value, siblings)
    }

    // -- slashing and rewards --

    /// Verifies what members of a set signed and keeps it as evidence: one vote is enough.
    pub fn record_receipt(ctx: &mut Context<record_receipt::RecordReceipt>, args: record_receipt::RecordReceiptArgs) -> Result<()> {
        record_receipt::handler(ctx, &args)
    }

    /// Closes a receipt and returns its rent to the owner.
    pub fn close_receipt(ctx: &mut Context<close_receipt::CloseReceipt>) -> Result<()> {
        close_receipt::handler(ctx)
    }

    /// Slashes a validator that signed two different messages of one epoch and attempt.
    pub fn slash_equivocation(ctx: &mut Context<slash_equivocation::SlashEquivocation>, index_a: u8, index_b: u8) -> Result<()> {
        slash_equivocation::handler(ctx, index_a, index_b)
    }

    /// Slashes an equivocator further, since more stake was found equivocating in the same epoch.
    pub fn raise_equivocation(ctx: &mut Context<raise_equivocation::RaiseEquivocation>, epoch: u64) -> Result<()> {
        raise_equivocation::handler(ctx, epoch)
    }

    /// Slashes a signer of a rejected checkpoint.
    pub fn slash_rejected(ctx: &mut Context<slash_rejected::SlashRejected>, epoch: u64, index: u8) -> Result<()> {
        slash_rejected::handler(ctx, epoch, index)
    }

    /// Adds signatures that came after the post, until the challenge window ends.
    pub fn add_signatures(ctx: &mut Context<add_signatures::AddSignatures>, epoch: u64, args: add_signatures::AddSignaturesArgs) -> Result<()> {
        add_signatures::handler(ctx, epoch, &args)
    }

    /// Pays poster and signers of a finalized checkpoint from the treasury, and counts who was absent.
    pub fn reward_checkpoint(ctx: &mut Context<reward_checkpoint::RewardCheckpoint>, epoch: u64) -> Result<()> {
        reward_checkpoint::handler(ctx, epoch)
    }

    // Stake.

    /// A validator without a slot takes one again, by the rule of register_validator.
    pub fn join_registry(ctx: &mut Context<join_registry::JoinRegistry>) -> Result<()> {
        join_registry::handler(ctx)
    }

    /// Frees the validator's slot: it is in no set sealed from now on.
    pub fn leave_registry(ctx: &mut Context<leave_registry::LeaveRegistry>) -> Result<()> {
        leave_registry::handler(ctx)
    }

    /// Stakes behind a validator, one's own or another's.
    pub fn delegate(ctx: &mut Context<delegate::Delegate>, lamports: u64) -> Result<()> {
        delegate::handler(ctx, lamports)
    }

    /// Takes shares out of a validator's active pool; what they are worth can be withdrawn once no evidence can reach it.
    pub fn unbond(ctx: &mut Context<unbond::Unbond>, shares: u64) -> Result<()> {
        unbond::handler(ctx, shares)
    }

    /// Pays what an unbonding is worth now and closes it.
    pub fn withdraw_unbonded(ctx: &mut Context<withdraw_unbonded::WithdrawUnbonded>, id: u64) -> Result<()> {
        withdraw_unbonded::handler(ctx, id)
    }

    /// Closes an empty position and returns its rent to the owner.
    pub fn close_stake_position(ctx: &mut Context<close_stake_position::CloseStakePosition>) -> Result<()> {
        close_stake_position::handler(ctx)
    }

    /// Lowers the validator's commission.
    pub fn set_commission(ctx: &mut Context<set_commission::SetCommission>, commission_basis_points: u64) -> Result<()> {
        set_commission::handler(ctx, commission_basis_points)
    }

    /// Says that the validator is there: a stall step drops who is silent.
    pub fn heartbeat(ctx: &mut Context<heartbeat::Heartbeat>) -> Result<()> {
        heartbeat::handler(ctx)
    }

    /// Brings a validator's rewards into its active pool, less its commission.
    pub fn collect_rewards(ctx: &mut Context<collect_rewards::CollectRewards>) -> Result<()> {
        collect_rewards::handler(ctx)
    }

    /// Pays the authority the commission that it is owed.
    pub fn withdraw_commission(ctx: &mut Context<withdraw_commission::WithdrawCommission>) -> Result<()> {
        withdraw_commission::handler(ctx)
    }

    /// Jails and slashes a validator that has missed too many checkpoints in a row.
    pub fn jail_validator(ctx: &mut Context<jail_validator::JailValidator>) -> Result<()> {
        jail_validator::handler(ctx)
    }

    /// Lets a validator back whose time in jail is over.
    pub fn unjail(ctx: &mut Context<unjail::Unjail>) -> Result<()> {
        unjail::handler(ctx)
    }

    /// After a long time without a post: seals and pins the next set from the pinned one without members that are gone or silent.
    pub fn stall_step(ctx: &mut Context<stall_step::StallStep>, version: u64) -> Result<()> {
        stall_step::handler(ctx, version)
    }

    /// Closes a set that no evidence needs any more and returns its rent to whoever paid.
    pub fn close_validator_set(ctx: &mut Context<close_validator_set::CloseValidatorSet>, version: u64) -> Result<()> {
        close_validator_set::handler(ctx, version)
    }

    // Disputes and governance.

    /// Gives the poster's bond back for a checkpoint that can never be final.
    pub fn void_checkpoint(ctx: &mut Context<void_checkpoint::VoidCheckpoint>, epoch: u64) -> Result<()> {
        void_checkpoint::handler(ctx, epoch)
    }

    /// Closes a checkpoint that nothing needs any more; its rent goes back to the poster.
    pub fn close_checkpoint(ctx: &mut Context<close_checkpoint::CloseCheckpoint>, epoch: u64) -> Result<()> {
        close_checkpoint::handler(ctx, epoch)
    }

    /// Rejects a checkpoint whose batch holds a record that is none.
    pub fn prove_malformed_record(ctx: &mut Context<challenge::Challenge>, epoch: u64, index: u64, count: u64, record: [u8; 160], siblings: &[[u8; 32]]) -> Result<()> {
        let _ = epoch;
        prove_record::malformed(ctx, &prove_record::ProvenRecord { place: Place { index, count }, bytes: &record, siblings })
    }

    /// Rejects a checkpoint with an inbox record that differs from its entry, stands elsewhere, or is missing.
    pub fn prove_inbox(ctx: &mut Context<challenge::Challenge>, epoch: u64, index: u64, count: u64, record: [u8; 160], siblings: &[[u8; 32]]) -> Result<()> {
        let _ = epoch;
        prove_record::inbox(ctx, &prove_record::ProvenRecord { place: Place { index, count }, bytes: &record, siblings })
    }

    /// Rejects a checkpoint whose trace starts or ends with another state root than the parent's or its own.
    pub fn prove_trace(ctx: &mut Context<challenge::Challenge>, epoch: u64, index: u64, count: u64, entry: [u8; 32], siblings: &[[u8; 32]]) -> Result<()> {
        let _ = epoch;
        prove_roots::trace(ctx, &prove_roots::TraceEntry { place: Place { index, count }, hash: &entry, siblings })
    }

    /// Rejects a checkpoint whose state has other totals than its message says.
    pub fn prove_totals(ctx: &mut Context<challenge::Challenge>, epoch: u64, value: [u8; 32], siblings: &[[u8; 32]]) -> Result<()> {
        let _ = epoch;
        prove_roots::totals(ctx, &value, siblings)
    }

    /// Rejects a checkpoint whose roots bind counts that do not belong together. A zero tree leaves that root out.
    pub fn prove_count(ctx: &mut Context<challenge::Challenge>, epoch: u64, args: prove_roots::CountArgs) -> Result<()> {
        let _ = epoch;
        prove_roots::count(ctx, &args)
    }

    /// Rejects a checkpoint with a chunk under the data root that differs from a record under the results root.
    pub fn prove_data(ctx: &mut Context<challenge::Challenge>, epoch: u64) -> Result<()> {
        let _ = epoch;
        prove_roots::data(ctx)
    }

    /// Rejects a checkpoint whose records do not lead from one entry of the trace to the next.
    pub fn prove_transition(ctx: &mut Context<challenge::Challenge>, epoch: u64) -> Result<()> {
        let _ = epoch;
        prove_transition::handler(ctx)
    }

    /// Demands, against a bond, that something under a root be shown: kind 1 chunk, 2 record, 3 trace entry.
    pub fn open_demand(ctx: &mut Context<demand::OpenDemand>, epoch: u64, kind: u8, index: u64) -> Result<()> {
        demand::open(ctx, epoch, kind, index)
    }

    /// Answers a demand by showing what was demanded.
    pub fn answer_demand(ctx: &mut Context<answer::AnswerDemand>, epoch: u64) -> Result<()> {
        let _ = epoch;
        answer::shown(ctx)
    }

    /// Answers a demand by showing that there is no such index.
    pub fn answer_absent(ctx: &mut Context<answer::AnswerDemand>, epoch: u64, count: u64, tree: [u8; 32]) -> Result<()> {
        let _ = epoch;
        answer::absent(ctx, &prove_roots::Count { count, tree: &tree })
    }

    /// Rejects a checkpoint with a demand that nobody answered in time.
    pub fn timeout_demand(ctx: &mut Context<demand::TimeoutDemand>, epoch: u64) -> Result<()> {
        demand::timeout(ctx, epoch)
    }

    /// Gives back the bond of a demand on a checkpoint that fell, or after the escape.
    pub fn return_demand(ctx: &mut Context<demand::ReturnDemand>, epoch: u64) -> Result<()> {
        demand::give_back(ctx, epoch)
    }

    /// Grows a proof buffer to a new length, by at most 10,240 bytes, up to 65,536.
    pub fn grow_proof_buffer(ctx: &mut Context<grow_proof_buffer::GrowProofBuffer>, id: u64, length: u32) -> Result<()> {
        grow_proof_buffer::handler(ctx, id, length)
    }

    /// Proposes parameters, which take effect after governance_delay_slots.
    pub fn propose_parameters(ctx: &mut Context<governance::ProposeParameters>, parameters: Parameters) -> Result<()> {
        governance::propose(ctx, &parameters)
    }

    /// Puts proposed parameters into effect once their delay is over. Anyone.
    pub fn apply_parameters(ctx: &mut Context<governance::CloseProposal>) -> Result<()> {
        governance::apply(ctx)
    }

    /// Drops proposed parameters.
    pub fn cancel_parameters(ctx: &mut Context<governance::CloseProposal>) -> Result<()> {
        governance::cancel(ctx)
    }

    /// Stops posting; claims, withdrawals, finalization and proofs go on.
    pub fn pause(ctx: &mut Context<governance::Govern>) -> Result<()> {
        governance::pause(ctx)
    }

    /// Lets posting go on.
    pub fn unpause(ctx: &mut Context<governance::Govern>) -> Result<()> {
        governance::unpause(ctx)
    }

    /// Names who may become governance; the zero address takes the offer back.
    pub fn offer_governance(ctx: &mut Context<governance::Govern>, next_governance: Address) -> Result<()> {
        governance::offer(ctx, &next_governance)
    }

    /// Takes governance over; signed by who was named.
    pub fn accept_governance(ctx: &mut Context<governance::AcceptGovernance>) -> Result<()> {
        governance::accept(ctx)
    }

    /// Pays lamports from the treasury into the vault for an L2 account and appends an inbox entry. Governance.
    pub fn grant(ctx: &mut Context<grant::Grant>, lamports: u64, beneficiary: Address) -> Result<()> {
        grant::handler(ctx, lamports, &beneficiary)
    }

    // Inbox and escape.

    /// Pays lamports into the vault as the fee of a task that the sequencer cannot refuse, and appends it to the inbox.
    pub fn inbox_task(ctx: &mut Context<inbox_task::InboxTask>, args: inbox_task::InboxTaskArgs) -> Result<()> {
        inbox_task::handler(ctx, &args)
    }

    /// Appends a withdrawal that the sequencer cannot refuse to the inbox.
    pub fn inbox_withdrawal(ctx: &mut Context<inbox_withdrawal::InboxWithdrawal>, args: inbox_withdrawal::InboxWithdrawalArgs) -> Result<()> {
        inbox_withdrawal::handler(ctx, &args)
    }

    /// Opens the escape hatch for good, once nothing was finalized for hatch_slots.
    pub fn escape(ctx: &mut Context<escape::Escape>) -> Result<()> {
        escape::handler(ctx)
    }

    /// Pays back an inbox entry that the finalized state had not taken when the hatch was opened.
    pub fn escape_refund(ctx: &mut Context<escape_refund::EscapeRefund>, index: u64) -> Result<()> {
        escape_refund::handler(ctx, index)
    }

    /// Pays an L2 account all that it has in the finalized state, once the hatch is open.
    pub fn escape_claim(ctx: &mut Context<claim::Claim>, value: [u8; 80], siblings: &[[u8; 32]]) -> Result<()> {
        escape_claim::handler(ctx, &value, siblings)
    }
}
