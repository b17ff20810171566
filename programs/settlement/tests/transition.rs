//! The ledger in Rust against the one in Python: tests/vectors/transition.json holds steps with their witnesses and what Python makes of
//! them. POUW_TRANSITION_VECTORS names another file of the same notation (`just ledger-differential` makes one).

use serde_json::Value;
use settlement::{
    ledger::{judge, Claim, Context, Record, RecordBytes, Rejection, Verdict, WitnessError},
    message::Domain,
    state::SetEntry,
};
use std::collections::BTreeSet;

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    read(&path)
}

fn read(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect(path)).expect(path)
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a hex string");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("the array's length")
}

fn number(value: &Value) -> u64 {
    value.as_str().expect("a decimal string").parse().expect("a decimal")
}

struct Owned {
    epoch: u64,
    base_slot: u64,
    treasury: [u8; 32],
    entries: Vec<SetEntry>,
}

fn context(value: &Value) -> Owned {
    let entries = value["entries"].as_array().expect("a list");
    Owned {
        epoch: number(&value["epoch"]),
        base_slot: number(&value["base_slot"]),
        treasury: array(&value["treasury"]),
        entries: entries.iter().map(|entry| bytemuck::pod_read_unaligned(&bytes(entry))).collect(),
    }
}

impl Owned {
    fn context<'a>(&'a self, domain: Domain<'a>) -> Context<'a> {
        Context {
            domain,
            epoch: self.epoch,
            base_slot: self.base_slot,
            treasury: &self.treasury,
            validators: &self.entries,
            total_stake_lamports: self.entries.iter().map(|entry| entry.stake_lamports).sum(),
        }
    }
}

/// What this side makes of a case, in the file's notation.
fn outcome(result: Result<Verdict, WitnessError>) -> Value {
    match result {
        Ok(Verdict::Honest) => "honest".into(),
        Ok(Verdict::WrongRoot) => "wrong root".into(),
        Ok(Verdict::Rejected { record, rejection }) => {
            serde_json::json!({ "record": record, "rejection": rejection as u8 })
        }
        Err(error) => serde_json::json!({ "fault": error as u8 }),
    }
}

/// Judges every case; gives the outcomes that came up.
fn compare(all: &Value) -> BTreeSet<String> {
    let (genesis, program) = (array(&all["genesis"]), array(&all["program"]));
    let contexts: Vec<Owned> = all["contexts"].as_array().expect("a list").iter().map(context).collect();
    let cases = all["cases"].as_array().expect("a list");
    assert!(!cases.is_empty());
    let mut seen = BTreeSet::new();
    for case in cases {
        let owned = &contexts[case["context"].as_u64().expect("an index") as usize];
        let context = owned.context(Domain { genesis: &genesis, program: &program });
        let (before, after) = (array(&case["before"]), array(&case["after"]));
        let claim = Claim { before: &before, after: &after };
        let ours = outcome(judge(&claim, &bytes(&case["records"]), &bytes(&case["witness"]), &context));
        let theirs = &case["outcome"];
        // Of several faults in a random witness the implementations may name different ones.
        let is_random = case["name"].as_str().expect("a name").starts_with("random");
        let both_faulty = ours.get("fault").is_some() && theirs.get("fault").is_some();
        assert!(ours == *theirs || is_random && both_faulty, "{}: {ours}, and {theirs} in Python", case["name"]);
        seen.insert(match ours.get("rejection") {
            Some(rejection) => format!("rejection {rejection}"),
            None => ours.to_string(),
        });
    }
    seen
}

#[test]
fn the_committed_steps() {
    let seen = compare(&vectors("transition"));
    let of_exact_results = Rejection::WrongMode as u8..=Rejection::HoldTooYoung as u8;
    for rejection in (Rejection::MalformedRecord as u8..=Rejection::WrongInboxIndex as u8).chain(of_exact_results) {
        assert!(seen.contains(&format!("rejection {rejection}")), "no case gives rejection {rejection}");
    }
    for fault in WitnessError::RecordCount as u8..=WitnessError::WrongRootBefore as u8 {
        assert!(seen.contains(&format!("{{\"fault\":{fault}}}")), "no case has fault {fault}");
    }
    assert!(seen.contains("\"honest\"") && seen.contains("\"wrong root\""));
}

#[test]
fn further_steps() {
    if let Ok(path) = std::env::var("POUW_TRANSITION_VECTORS") {
        compare(&read(&path));
    }
}

/// Every byte of a good witness changed, every length cut: no panic, and never a verdict other than the true one.
#[test]
fn no_change_of_a_witness_turns_honest_into_fraud() {
    let all = vectors("transition");
    let (genesis, program) = (array(&all["genesis"]), array(&all["program"]));
    let contexts: Vec<Owned> = all["contexts"].as_array().expect("a list").iter().map(context).collect();
    let mut judged = 0;
    for case in all["cases"].as_array().expect("a list") {
        let good = bytes(&case["witness"]);
        if case["outcome"] != "honest" || good.len() > 700 {
            continue;
        }
        let owned = &contexts[case["context"].as_u64().expect("an index") as usize];
        let context = owned.context(Domain { genesis: &genesis, program: &program });
        let (before, after) = (array(&case["before"]), array(&case["after"]));
        let (claim, records) = (Claim { before: &before, after: &after }, bytes(&case["records"]));
        let mut check = |witness: &[u8]| {
            let verdict = judge(&claim, &records, witness, &context);
            assert!(!matches!(verdict, Ok(Verdict::Rejected { .. } | Verdict::WrongRoot)), "{}: {verdict:?}", case["name"]);
            judged += 1;
        };
        for at in 0..good.len() {
            check(&good[..at]);
            for change in [1, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= change;
                check(&bad);
            }
        }
    }
    assert!(judged > 5_000);
}

/// Token streams of any shape behind good tables, among them paths of more than 256 levels: refused, never a panic.
#[test]
fn senseless_trees() {
    let all = vectors("transition");
    let (genesis, program) = (array(&all["genesis"]), array(&all["program"]));
    let contexts: Vec<Owned> = all["contexts"].as_array().expect("a list").iter().map(context).collect();
    let mut random = 1u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut faults = BTreeSet::new();
    for case in all["cases"].as_array().expect("a list").iter().filter(|case| case["outcome"] == "honest") {
        let context = contexts[case["context"].as_u64().expect("an index") as usize]
            .context(Domain { genesis: &genesis, program: &program });
        let (before, after) = (array(&case["before"]), array(&case["after"]));
        let (claim, records, witness) = (Claim { before: &before, after: &after }, bytes(&case["records"]), bytes(&case["witness"]));
        let mut table = 1;
        for _ in 0..witness[0] {
            let (id, value) = [(20, 80), (32, 195), (0, 32)][usize::from(witness[table]) - 1];
            table += 2 + id + if witness[table + 1] == 1 { value } else { 0 };
        }
        for _ in 0..200 {
            let mut made = witness[..table].to_vec();
            for _ in 0..next(40) {
                let token = next(6) as u8;
                made.push(token);
                let levels = [1, 1, 2, 8, 255][next(5) as usize];
                match token {
                    2 => made.extend([levels; 64]),
                    4 => {
                        made.push(levels);
                        made.extend(vec![levels; usize::from(levels) * 32]);
                    }
                    5 => made.push(levels),
                    _ => {}
                }
            }
            match judge(&claim, &records, &made, &context) {
                Ok(verdict) => assert_eq!(verdict, Verdict::Honest),
                Err(fault) => {
                    faults.insert(fault as u8);
                }
            }
        }
    }
    for fault in [WitnessError::Truncated, WitnessError::TrailingBytes, WitnessError::BadShape, WitnessError::WrongRootBefore] {
        assert!(faults.contains(&(fault as u8)), "{fault:?}");
    }
}

#[test]
fn records() {
    let all = vectors("records");
    for case in all["valid"].as_array().expect("a list") {
        let data: RecordBytes = array(&case["record"]);
        let record = Record::decode(&data).unwrap_or_else(|_| panic!("{}", case["name"]));
        assert_eq!(u64::from(record.op()), case["op"].as_u64().unwrap());
        assert_eq!(u64::from(record.time()), case["time"].as_u64().unwrap());
        assert_eq!(*record.node(), array::<20>(&case["node"]));
        assert_eq!(*record.task(), array::<32>(&case["task"]));
        assert_eq!(u64::from(record.event()), case["payload"]["event"].as_u64().unwrap_or(0));
        for at in 0..data.len() {
            let mut other = data;
            other[at] ^= 1;
            assert_eq!(Record::decode(&other).err(), Some(Rejection::MalformedRecord), "byte {at}");
        }
    }
    for case in all["invalid"].as_array().expect("a list") {
        let data = bytes(&case["record"]);
        if let Ok(data) = RecordBytes::try_from(data) {
            assert_eq!(Record::decode(&data).err(), Some(Rejection::MalformedRecord), "{}", case["why"]);
        }
    }
}
