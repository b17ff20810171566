//! The program against tests/vectors, which the Python side makes and reads too: the bytes that all sides must agree on.

use serde_json::Value;
use settlement::{
    certificate::{count_signers, SealedSet, Signers},
    error::SettlementError,
    hash,
    message::{deposit_payload, withdrawal_payload, CheckpointMessage, Domain, InboxMessage, StrikePayload, TaskPayload},
    state::{SetEntry, ValidatorSet},
    state_tree::{genesis_state_root, AccountValue},
};

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a hex string");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("the array's length")
}

/// u64 are written as decimal strings, since JSON readers lose bits above 2^53.
fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().expect("a decimal"),
        other => other.as_u64().expect("a number"),
    }
}

fn list(value: &Value) -> &Vec<Value> {
    let items = value.as_array().expect("a list");
    assert!(!items.is_empty(), "an empty list tests nothing");
    items
}

#[test]
fn tags() {
    let tags = &vectors("tags")["tags"];
    let used = [
        ("checkpoint", hash::CHECKPOINT),
        ("genesis", hash::GENESIS),
        ("inbox", hash::INBOX),
        ("inbox-entry", hash::INBOX_ENTRY),
        ("inbox-deposit", hash::INBOX_DEPOSIT),
        ("inbox-task", hash::INBOX_TASK),
        ("inbox-withdrawal", hash::INBOX_WITHDRAWAL),
        ("inbox-strike", hash::INBOX_STRIKE),
        ("inbox-task-id", hash::INBOX_TASK_ID),
        ("validator-set", hash::VALIDATOR_SET),
        ("proof-of-possession", hash::PROOF_OF_POSSESSION),
        ("state-node", hash::STATE_NODE),
        ("state-leaf", hash::STATE_LEAF),
        ("account-key", hash::ACCOUNT_KEY),
        ("account", hash::ACCOUNT),
        ("totals-key", hash::TOTALS_KEY),
        ("totals", hash::TOTALS),
    ];
    for (name, tag) in used {
        assert_eq!(array::<32>(&tags[name]), tag, "{name}");
    }
}

#[test]
fn messages() {
    let all = vectors("messages");
    let (genesis, program) = (array(&all["genesis"]), array(&all["program"]));
    let domain = Domain { genesis: &genesis, program: &program };
    let mut out = [0u8; 32];
    domain.genesis_parent(&mut out);
    assert_eq!(array::<32>(&all["genesis_parent"]), out);
    domain.genesis_inbox(&mut out);
    assert_eq!(array::<32>(&all["genesis_inbox_hash"]), out);

    for case in list(&all["checkpoints"]) {
        let field = |name: &str| array::<32>(&case[name]);
        CheckpointMessage {
            epoch: number(&case["epoch"]),
            attempt: number(&case["attempt"]) as u32,
            cut_slot: number(&case["cut_slot"]),
            expiry_slot: number(&case["expiry_slot"]),
            parent_hash: &field("parent_hash"),
            results_root: &field("results_root"),
            state_root: &field("state_root"),
            trace_root: &field("trace_root"),
            data_root: &field("data_root"),
            payable_total: number(&case["payable_total"]),
            inbox_cursor: number(&case["inbox_cursor"]),
            inbox_hash: &field("inbox_hash"),
            set_hash: &field("set_hash"),
        }
        .hash(&domain, &mut out);
        assert_eq!(field("hash"), out);
    }

    for case in list(&all["inbox"]) {
        deposit_payload(&array(&case["beneficiary"]), &mut out);
        assert_eq!(array::<32>(&case["payload_hash"]), out);
        let payload_hash = out;
        InboxMessage {
            index: number(&case["index"]),
            slot: number(&case["slot"]),
            kind: number(&case["kind"]) as u8,
            lamports: number(&case["lamports"]),
            payload_hash: &payload_hash,
        }
        .extend(&array(&case["hash_before"]), &mut out);
        assert_eq!(array::<32>(&case["hash_after"]), out);
    }

    for case in list(&all["inbox_tasks"]) {
        let (client, spec_hash) = (array(&case["client"]), array(&case["spec_hash"]));
        let (kind, mode) = (number(&case["kind"]) as u8, number(&case["mode"]) as u8);
        let deadline_slot = number(&case["deadline_slot"]);
        TaskPayload { client: &client, spec_hash: &spec_hash, kind, mode, deadline_slot }.hash(&mut out);
        assert_eq!(array::<32>(&case["payload_hash"]), out);
    }

    for case in list(&all["inbox_withdrawals"]) {
        let (owner, task_id) = (array(&case["owner"]), array(&case["task_id"]));
        withdrawal_payload(&owner, number(&case["withdraw_lamports"]), &task_id, &mut out);
        assert_eq!(array::<32>(&case["payload_hash"]), out);
    }

    for case in list(&all["inbox_strikes"]) {
        let (challenger, task_id) = (array(&case["challenger"]), array(&case["task_id"]));
        let share_basis_points = number(&case["share_basis_points"]);
        let result_hash = array(&case["result_hash"]);
        StrikePayload { challenger: &challenger, share_basis_points, task_id: &task_id, result_hash: &result_hash }.hash(&mut out);
        assert_eq!(array::<32>(&case["payload_hash"]), out);
    }

    for case in list(&all["proofs_of_possession"]) {
        domain.proof_of_possession(&array(&case["authority"]), &array(&case["bls_public_key"]), &mut out);
        assert_eq!(array::<32>(&case["digest"]), out);
    }
}

#[test]
fn validator_sets_and_quorums() {
    let all = vectors("validator_set");
    let (genesis, program) = (array(&all["genesis"]), array(&all["program"]));
    let domain = Domain { genesis: &genesis, program: &program };
    let mut judged = 0;
    for case in list(&all["sets"]) {
        let encoded: Vec<u8> = list(&case["entries"]).iter().flat_map(|entry| bytes(&entry["encoded"])).collect();
        let entries: Vec<SetEntry> = encoded.chunks_exact(size_of::<SetEntry>()).map(bytemuck::pod_read_unaligned).collect();
        for (entry, expected) in entries.iter().zip(list(&case["entries"])) {
            assert_eq!(entry.authority.as_array(), &array::<32>(&expected["authority"]));
            assert_eq!(entry.bls_public_key, array::<96>(&expected["bls_uncompressed"]));
            assert_eq!(entry.stake_lamports, number(&expected["stake_lamports"]));
        }
        let mut out = [0u8; 32];
        domain.validator_set(number(&case["version"]), entries.len() as u32, &encoded, &mut out);
        assert_eq!(array::<32>(&case["hash"]), out);

        let mut header: ValidatorSet = bytemuck::Zeroable::zeroed();
        header.count = entries.len() as u64;
        header.total_stake_lamports = number(&case["total_stake"]);
        let sealed = SealedSet { header: &header, entries: &entries };
        for quorum in case["quorums"].as_array().expect("a list") {
            let mut signers = Signers { count: 0, stake_lamports: 0 };
            let result = count_signers(&sealed, &array(&quorum["bitmap"]), &mut signers);
            assert_eq!(result.is_ok(), quorum["is_quorum"].as_bool().expect("a bool"), "{quorum}");
            if result.is_ok() {
                assert_eq!(signers.stake_lamports, number(&quorum["stake"]));
            }
            judged += 1;
        }
    }
    assert!(judged > 5);
}

#[test]
fn state_proofs() {
    let all = vectors("state");
    let mut proved = 0;
    for state in list(&all["states"]) {
        let root = array::<32>(&state["root"]);
        for leaf in list(&state["leaves"]).iter().filter(|leaf| leaf["kind"] == "account") {
            let value = array(&leaf["value"]);
            let siblings: Vec<u8> = leaf["siblings"].as_array().expect("a list").iter().flat_map(bytes).collect();
            let mut out = [0u8; 32];
            AccountValue(&value).root(&siblings, &mut out).unwrap();
            assert_eq!(out, root);
            proved += 1;
            let mut other = value;
            other[79] ^= 1;
            AccountValue(&other).root(&siblings, &mut out).unwrap();
            assert_ne!(out, root);
        }
    }
    assert!(proved > 3);
}

#[test]
fn the_state_before_epoch_1() {
    let first = &list(&vectors("state")["states"])[0].clone();
    assert_eq!(list(&first["leaves"]).len(), 1);
    let mut out = [0u8; 32];
    genesis_state_root(&mut out);
    assert_eq!(array::<32>(&first["root"]), out);
}

#[test]
fn a_proof_is_no_longer_than_the_tree_is_deep() {
    let value = [7u8; 80];
    let mut out = [0u8; 32];
    AccountValue(&value).root(&vec![1u8; 256 * 32], &mut out).unwrap();
    let error = AccountValue(&value).root(&vec![1u8; 257 * 32], &mut out).unwrap_err();
    assert_eq!(error, SettlementError::ProofTooLong.into());
    let error = AccountValue(&value).root(&[1u8; 33], &mut out).unwrap_err();
    assert_eq!(error, SettlementError::BadProof.into());
}
