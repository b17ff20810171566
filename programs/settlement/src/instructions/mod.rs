//! One module per instruction: its accounts, its arguments, and a handler that checks, then changes, then states the invariant.
//!
//! Where two signers may be one key, the payer is marked `unsafe(dup)`: it holds no data of ours, so nothing can alias.

// derive(Accounts) binds #[instruction] arguments in generated functions that do not use them.
#![allow(unused_variables)]

pub mod add_signatures;
pub mod advance_validator_set;
pub mod answer;
pub mod challenge;
pub mod claim;
pub mod close_checkpoint;
pub mod close_proof_buffer;
pub mod close_receipt;
pub mod close_stake_position;
pub mod close_validator_set;
pub mod collect_rewards;
pub mod create_proof_buffer;
pub mod create_validator_set;
pub mod delegate;
pub mod demand;
pub mod deposit;
pub mod escape;
pub mod escape_claim;
pub mod escape_refund;
pub mod finalize_checkpoint;
pub mod governance;
pub mod grant;
pub mod grow_proof_buffer;
pub mod grow_registry;
pub mod grow_validator_set;
pub mod heartbeat;
pub mod inbox_task;
pub mod inbox_withdrawal;
pub mod initialize;
pub mod jail_validator;
pub mod join_registry;
pub mod leave_registry;
pub mod post_checkpoint;
pub mod raise_equivocation;
pub mod record_receipt;
pub mod register_validator;
pub mod reward_checkpoint;
pub mod set_commission;
pub mod slash_equivocation;
pub mod slash_rejected;
pub mod stall_step;
pub mod unbond;
pub mod unjail;
pub mod withdraw_commission;
pub mod withdraw_unbonded;
pub mod prove_record;
pub mod prove_roots;
pub mod prove_transition;
pub mod void_checkpoint;
pub mod write_proof_buffer;
