//! Account layouts are an interface: what is on chain outlives this source. A change here is a migration.

use core::mem::{offset_of, size_of};
use settlement::state::*;

#[test]
fn sizes() {
    let sizes = [
        ("Config", size_of::<Config>(), 936),
        ("Parameters", size_of::<Parameters>(), 208),
        ("Registry", Registry::HEADER_BYTES, 24),
        ("ValidatorSlot", size_of::<ValidatorSlot>(), 176),
        ("Registry, full", Registry::FULL_BYTES, 24 + 256 * 176),
        ("ValidatorSet", ValidatorSet::HEADER_BYTES, 472),
        ("SetEntry", size_of::<SetEntry>(), 136),
        ("ValidatorSet, full", ValidatorSet::FULL_BYTES, 472 + 256 * 136),
        ("Validator", size_of::<Validator>(), 224),
        ("StakePosition", size_of::<StakePosition>(), 96),
        ("Unbonding", size_of::<Unbonding>(), 104),
        ("InboxEntry", size_of::<InboxEntry>(), 176),
        ("InboxEntry, a deposit's account", InboxEntry::account_bytes(1), 8 + 176),
        ("InboxEntry, a strike's account", InboxEntry::account_bytes(4), 8 + 176 + 32),
        ("Strike", size_of::<Strike>(), 152),
        ("Checkpoint", size_of::<Checkpoint>(), 424),
        ("Receipt", size_of::<Receipt>(), 120),
        ("Offence", size_of::<Offence>(), 72),
        ("EquivocationTally", size_of::<EquivocationTally>(), 40),
        ("Claim", size_of::<Claim>(), 16),
        ("ProofBuffer", ProofBuffer::HEADER_BYTES, 56),
        ("Demand", size_of::<Demand>(), 80),
        ("ParameterProposal", size_of::<ParameterProposal>(), 264),
    ];
    for (name, size, expected) in sizes {
        assert_eq!(size, expected, "{name}");
    }
}

#[test]
fn every_account_starts_with_its_version() {
    assert_eq!(offset_of!(Config, version), 0);
    assert_eq!(offset_of!(Registry, version), 0);
    assert_eq!(offset_of!(ValidatorSet, version), 0);
    assert_eq!(offset_of!(Validator, version), 0);
    assert_eq!(offset_of!(StakePosition, version), 0);
    assert_eq!(offset_of!(Unbonding, version), 0);
    assert_eq!(offset_of!(InboxEntry, version), 0);
    assert_eq!(offset_of!(Strike, version), 0);
    assert_eq!(offset_of!(Checkpoint, version), 0);
    assert_eq!(offset_of!(Receipt, version), 0);
    assert_eq!(offset_of!(Offence, version), 0);
    assert_eq!(offset_of!(EquivocationTally, version), 0);
    assert_eq!(offset_of!(Claim, version), 0);
    assert_eq!(offset_of!(ProofBuffer, version), 0);
    assert_eq!(offset_of!(Demand, version), 0);
    assert_eq!(offset_of!(ParameterProposal, version), 0);
}

#[test]
fn offsets() {
    assert_eq!(offset_of!(Config, genesis_hash), 8);
    assert_eq!(offset_of!(Config, parameters), 136);
    assert_eq!(offset_of!(Config, inbox), 344);
    assert_eq!(offset_of!(Config, posted), 400);
    assert_eq!(offset_of!(Config, finalized), 520);
    assert_eq!(offset_of!(Config, pinned), 624);
    assert_eq!(offset_of!(Config, claimed_total), 768);
    assert_eq!(offset_of!(ValidatorSet, set_hash), 80);
    assert_eq!(offset_of!(ValidatorSet, aggregate_key), 112);
    assert_eq!(offset_of!(ValidatorSlot, stake_lamports), 128);
    assert_eq!(offset_of!(Checkpoint, hash), 32);
    assert_eq!(offset_of!(InboxEntry, hash_after), 96);
    assert_eq!(offset_of!(InboxEntry, number), 136);
    assert_eq!(offset_of!(Strike, worker), 4);
    assert_eq!(offset_of!(Strike, task_id), 24);
    assert_eq!(offset_of!(Strike, epoch), 88);
    assert_eq!(offset_of!(Strike, challenger), 96);
    assert_eq!(offset_of!(Strike, inbox_index), 136);
    assert_eq!(offset_of!(Receipt, message_hash), 56);
    assert_eq!(offset_of!(Receipt, bitmap), 88);
    assert_eq!(offset_of!(Offence, applied_basis_points), 56);
    assert_eq!(offset_of!(EquivocationTally, stake_lamports), 24);
}
