//! The rules: one record applied to the opened leaves (docs/protocol.md, section 8). They check in the order of settlement/ledger/transition.py,
//! so that both name the same reason. A rejected record may leave the leaves half changed: judging ends with it.

use super::{
    exact::{self, MIN_WORKER_STAKE, MODE_EXACT},
    flow::{lower, raise, shift, totals_of, Flow},
    leaves::{account, task, totals, Leaf, Leaves},
    quorum::{check_validator, need_quorum},
    record::*,
    rejection::Rejection,
    Context, WitnessError,
};
use crate::hash::{self, sha256_parts, Hash};

const KIND_TRAINING: u8 = 1;
const MODE_REPLAY: u8 = 2;

/// Why a record was not applied.
pub enum Halt {
    Rejected(Rejection),
    Unusable(WitnessError),
}

impl From<Rejection> for Halt {
    fn from(rejection: Rejection) -> Self {
        Halt::Rejected(rejection)
    }
}

impl From<WitnessError> for Halt {
    fn from(error: WitnessError) -> Self {
        Halt::Unusable(error)
    }
}

pub type Applied = Result<(), Halt>;

/// Applies a record, or says why not.
#[inline(never)]
pub fn apply(leaves: &mut Leaves, bytes: &RecordBytes, context: &Context) -> Applied {
    let record = Record::decode(bytes)?;
    match (record.op(), record.event()) {
        (OP_TASK_SUBMISSION, _) => submit(leaves, &record, context),
        (OP_TASK_RESULT, _) => reveal(leaves, &record, context),
        (OP_WORKER_REGISTRATION, _) => register(leaves, &record),
        (OP_CONSENSUS_VOTE, _) => vote(leaves, &record, context),
        (OP_VERIFICATION_PROOF, _) => prove_sample(leaves, &record, context),
        (OP_ECONOMIC_EVENT, EVENT_DEPOSIT) => deposit(leaves, &record),
        (OP_ECONOMIC_EVENT, EVENT_PAYMENT) => pay(leaves, &record, context),
        (OP_ECONOMIC_EVENT, EVENT_REFUND) => refund(leaves, &record, context),
        (OP_ECONOMIC_EVENT, EVENT_SLASH) => slash(leaves, &record, context),
        (OP_ECONOMIC_EVENT, EVENT_WITHDRAWAL) => withdraw(leaves, &record),
        (OP_ECONOMIC_EVENT, EVENT_INBOX_TASK) => inbox_task(leaves, &record, context),
        (OP_ECONOMIC_EVENT, EVENT_FORCED_WITHDRAWAL) => forced_withdrawal(leaves, &record, context),
        (OP_ECONOMIC_EVENT, EVENT_STRIKE) => exact::strike(leaves, &record, context),
        (OP_ECONOMIC_EVENT, EVENT_HOLD) => exact::hold(leaves, &record, context),
        (OP_ECONOMIC_EVENT, EVENT_SCHEDULE) => exact::schedule(leaves, &record, context),
        _ => Err(Rejection::OpNotAccepted.into()),
    }
}

#[inline(never)]
fn submit(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let submission = record.submission();
    let author = author(leaves, record, submission.nonce)?;
    need(submission.fee_lamports > 0, Rejection::ZeroAmount)?;
    need(submission.deadline_slot > context.base_slot, Rejection::DeadlinePassed)?;
    need(submission.kind == KIND_TRAINING, Rejection::UnsupportedKind)?;
    need(is_supported(submission.mode), Rejection::UnsupportedMode)?;
    let mut id = [0u8; 32];
    let public_key: Hash = leaves.0[author].bytes_at(account::PUBLIC_KEY);
    let nonce = submission.nonce.to_le_bytes();
    let (genesis, program) = (context.domain.genesis, context.domain.program);
    sha256_parts(&[&hash::TASK, genesis, program, &public_key, &nonce, submission.spec_hash], &mut id);
    need(*record.task() == id, Rejection::WrongTaskId)?;
    let task = leaves.task(&id)?;
    need(!leaves.0[task].is_present, Rejection::TaskExists)?;
    let fee = submission.fee_lamports;
    need(leaves.0[author].u64_at(account::BALANCE) >= fee, Rejection::InsufficientBalance)?;
    count_nonce(leaves, author)?;
    shift(leaves, author, Flow::LockFee, fee)?;
    open_task(&mut leaves.0[task], record.node(), submission.kind, submission.mode);
    leaves.0[task].set_u64(task::FEE, fee);
    leaves.0[task].set_u64(task::DEADLINE, submission.deadline_slot);
    Ok(())
}

#[inline(never)]
fn register(leaves: &mut Leaves, record: &Record) -> Applied {
    let registration = record.registration();
    let author = author(leaves, record, registration.nonce)?;
    need(leaves.0[author].is_at(account::PUBLIC_KEY, registration.public_key), Rejection::WrongPublicKey)?;
    let stake = registration.stake_lamports;
    need(stake > 0, Rejection::ZeroAmount)?;
    need(leaves.0[author].u64_at(account::BALANCE) >= stake, Rejection::InsufficientBalance)?;
    count_nonce(leaves, author)?;
    shift(leaves, author, Flow::LockStake, stake)
}

#[inline(never)]
fn reveal(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let result = record.result();
    let task = task_in(leaves, record, &[task::PENDING])?;
    need(leaves.0[task].u64_at(task::DEADLINE) >= context.base_slot, Rejection::DeadlinePassed)?;
    let author = author(leaves, record, result.nonce)?;
    let pledge = exact::pledge(&leaves.0[task]);
    need(exact::free_stake(&leaves.0[author]) >= MIN_WORKER_STAKE + pledge, Rejection::StakeTooLow)?;
    need(!leaves.0[task].is_at(task::CLIENT, record.node()), Rejection::WorkerIsClient)?;
    let mut commitment = [0u8; 32];
    let public_key: Hash = leaves.0[author].bytes_at(account::PUBLIC_KEY);
    let parts: [&[u8]; 8] = [
        &hash::COMMITMENT,
        context.domain.genesis,
        context.domain.program,
        record.task(),
        &result.lease_id.to_le_bytes(),
        &public_key,
        result.salt,
        result.result_hash,
    ];
    sha256_parts(&parts, &mut commitment);
    count_nonce(leaves, author)?;
    raise(&mut leaves.0[author], account::PLEDGED_STAKE, pledge)?;
    let task = &mut leaves.0[task];
    clear_result(task, task::REVEALED);
    task.set(task::WORKER, record.node());
    task.set(task::COMMITMENT, &commitment);
    task.set(task::RESULT_HASH, result.result_hash);
    Ok(())
}

#[inline(never)]
fn prove_sample(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    task_in(leaves, record, &[task::REVEALED])?;
    check_validator(record, context)
}

#[inline(never)]
fn vote(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let task = task_in(leaves, record, &[task::REVEALED])?;
    let task = &mut leaves.0[task];
    need(task.is_at(task::RESULT_HASH, record.voted_result_hash()), Rejection::WrongResultHash)?;
    check_validator(record, context)?;
    if task.u64_at(task::VERDICT_EPOCH) != context.epoch {
        task.set(task::ACCEPT, &[0; 32]);
        task.set(task::REJECT, &[0; 32]);
    }
    let index = usize::from(record.set_index());
    let (byte, bit) = (index / 8, 1u8 << (index % 8));
    let (accept, reject) = (task.byte(task::ACCEPT + byte), task.byte(task::REJECT + byte));
    need((accept | reject) & bit == 0, Rejection::DuplicateVote)?;
    match record.verdict() {
        VERDICT_ACCEPT => task.set_byte(task::ACCEPT + byte, accept | bit),
        VERDICT_REJECT => task.set_byte(task::REJECT + byte, reject | bit),
        _ => {}
    }
    task.set_u64(task::VERDICT_EPOCH, context.epoch);
    Ok(())
}

#[inline(never)]
fn deposit(leaves: &mut Leaves, record: &Record) -> Applied {
    take_entry(leaves, record).map(|_| ())
}

#[inline(never)]
fn pay(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let task = task_in(leaves, record, &[task::REVEALED, task::HELD])?;
    if leaves.0[task].byte(task::STATUS) == task::HELD {
        need(context.base_slot >= leaves.0[task].u64_at(task::DEADLINE), Rejection::NotReleased)?;
    } else {
        need(leaves.0[task].byte(task::MODE) != MODE_EXACT, Rejection::WrongMode)?;
        need_quorum(&leaves.0[task], task::ACCEPT, context)?;
    }
    need(leaves.0[task].is_at(task::WORKER, record.node()), Rejection::WrongNode)?;
    let fee = leaves.0[task].u64_at(task::FEE);
    need(record.economic_event().lamports == fee, Rejection::WrongAmount)?;
    let client = present(leaves, leaves.account(&leaves.0[task].bytes_at(task::CLIENT))?)?;
    shift(leaves, client, Flow::SpendFee, fee)?;
    let worker = present(leaves, leaves.account(record.node())?)?;
    shift(leaves, worker, Flow::Earn, fee)?;
    exact::free_pledge(leaves, task)?;
    leaves.0[task].set_byte(task::STATUS, task::PAID);
    Ok(())
}

#[inline(never)]
fn slash(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let task = task_in(leaves, record, &[task::REVEALED])?;
    need_quorum(&leaves.0[task], task::REJECT, context)?;
    need(leaves.0[task].is_at(task::WORKER, record.node()), Rejection::WrongNode)?;
    let worker = present(leaves, leaves.account(record.node())?)?;
    let pledge = exact::pledge(&leaves.0[task]);
    let slashed = record.economic_event().lamports;
    let free = exact::free_stake(&leaves.0[worker]);
    need(slashed.checked_sub(pledge) == Some(free), Rejection::WrongAmount)?;
    shift(leaves, worker, Flow::LoseStake, slashed)?;
    lower(&mut leaves.0[worker], account::PLEDGED_STAKE, pledge)?;
    let mut node = [0u8; 32];
    sha256_parts(&[context.treasury], &mut node);
    let treasury = open_account(leaves, &node, context.treasury)?;
    shift(leaves, treasury, Flow::Earn, slashed)?;
    clear_result(&mut leaves.0[task], task::PENDING);
    Ok(())
}

#[inline(never)]
fn refund(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let task = task_in(leaves, record, &[task::PENDING, task::REVEALED])?;
    need(leaves.0[task].u64_at(task::DEADLINE) < context.base_slot, Rejection::DeadlineNotPassed)?;
    need(leaves.0[task].is_at(task::CLIENT, record.node()), Rejection::WrongNode)?;
    need(record.economic_event().lamports == leaves.0[task].u64_at(task::FEE), Rejection::WrongAmount)?;
    let client = present(leaves, leaves.account(record.node())?)?;
    give_back(leaves, client, task)
}

fn give_back(leaves: &mut Leaves, client: usize, task: usize) -> Applied {
    let fee = leaves.0[task].u64_at(task::FEE);
    shift(leaves, client, Flow::FreeFee, fee)?;
    exact::free_pledge(leaves, task)?;
    leaves.0[task].set_byte(task::STATUS, task::REFUNDED);
    Ok(())
}

#[inline(never)]
fn withdraw(leaves: &mut Leaves, record: &Record) -> Applied {
    let event = record.economic_event();
    let author = author(leaves, record, event.number)?;
    need(event.lamports > 0, Rejection::ZeroAmount)?;
    need(leaves.0[author].u64_at(account::BALANCE) >= event.lamports, Rejection::InsufficientBalance)?;
    count_nonce(leaves, author)?;
    shift(leaves, author, Flow::Withdraw, event.lamports)
}

/// The lamports are credited in any case; the task is made if it can be.
#[inline(never)]
fn inbox_task(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let event = record.economic_event();
    let mut id = [0u8; 32];
    let index = event.inbox_index.to_le_bytes();
    let (genesis, program) = (context.domain.genesis, context.domain.program);
    let client = take_entry(leaves, record)?;
    sha256_parts(&[&hash::INBOX_TASK_ID, genesis, program, event.public_key, &index, event.spec_hash], &mut id);
    need(*record.task() == id, Rejection::WrongTaskId)?;
    if event.kind != KIND_TRAINING || !is_supported(event.mode) || event.number <= context.base_slot {
        return Ok(());
    }
    let task = leaves.task(&id)?;
    if leaves.0[task].is_present {
        return Ok(());
    }
    shift(leaves, client, Flow::LockFee, event.lamports)?;
    open_task(&mut leaves.0[task], record.node(), event.kind, event.mode);
    leaves.0[task].set_u64(task::FEE, event.lamports);
    leaves.0[task].set_u64(task::DEADLINE, event.number);
    Ok(())
}

/// The lamports are credited in any case; then the overdue task that the record may name is refunded, and what was asked for, or as much
/// as there is, becomes payable.
#[inline(never)]
fn forced_withdrawal(leaves: &mut Leaves, record: &Record, context: &Context) -> Applied {
    let event = record.economic_event();
    let owner = take_entry(leaves, record)?;
    // Another key with the same node id owns the account: it must not be emptied.
    if !leaves.0[owner].is_at(account::PUBLIC_KEY, event.public_key) {
        return Ok(());
    }
    if *record.task() != [0; 32] {
        let task = leaves.task(record.task())?;
        let leaf = &leaves.0[task];
        let is_open = leaf.is_present && matches!(leaf.byte(task::STATUS), task::PENDING | task::REVEALED);
        if is_open && leaf.is_at(task::CLIENT, record.node()) && leaf.u64_at(task::DEADLINE) < context.base_slot {
            give_back(leaves, owner, task)?;
        }
    }
    let lamports = event.number.min(leaves.0[owner].u64_at(account::BALANCE));
    shift(leaves, owner, Flow::Withdraw, lamports)
}

/// Credits the next inbox entry's lamports to the account of its public key, which is opened if need be, and moves the cursor on.
/// An account that stands there with another public key of the same node id is credited: nobody can stop the inbox with such a pair.
#[inline(never)]
pub fn take_entry(leaves: &mut Leaves, record: &Record) -> Result<usize, Halt> {
    let event = record.economic_event();
    let totals = totals_of(leaves)?;
    let cursor = leaves.0[totals].u64_at(totals::CURSOR);
    need(event.inbox_index == cursor, Rejection::WrongInboxIndex)?;
    need(event.lamports > 0, Rejection::ZeroAmount)?;
    let mut node = [0u8; 32];
    sha256_parts(&[event.public_key], &mut node);
    need(*record.node() == node[..20], Rejection::WrongNode)?;
    let account = open_account(leaves, &node, event.public_key)?;
    shift(leaves, account, Flow::Enter, event.lamports)?;
    leaves.0[totals].set_u64(totals::CURSOR, cursor.checked_add(1).ok_or(Rejection::Overflow)?);
    Ok(account)
}

fn is_supported(mode: u8) -> bool {
    mode == MODE_REPLAY || mode == MODE_EXACT
}

fn count_nonce(leaves: &mut Leaves, account: usize) -> Applied {
    Ok(raise(&mut leaves.0[account], account::NONCE, 1)?)
}

#[inline(always)]
pub fn need(condition: bool, rejection: Rejection) -> Result<(), Rejection> {
    if condition {
        Ok(())
    } else {
        Err(rejection)
    }
}

/// `account`, once it is there.
pub fn present(leaves: &Leaves, account: usize) -> Result<usize, Rejection> {
    need(leaves.0[account].is_present, Rejection::UnknownAccount)?;
    Ok(account)
}

/// The account of the record's author, once its nonce is the record's.
#[inline(always)]
fn author(leaves: &Leaves, record: &Record, nonce: u64) -> Result<usize, Halt> {
    let account = present(leaves, leaves.account(record.node())?)?;
    need(leaves.0[account].u64_at(account::NONCE) == nonce, Rejection::WrongNonce)?;
    Ok(account)
}

/// The account of a node id (the first 20 bytes of `node`), opened for `public_key` if it is not there.
#[inline(always)]
pub fn open_account(leaves: &mut Leaves, node: &Hash, public_key: &Hash) -> Result<usize, WitnessError> {
    let mut id: NodeId = [0; 20];
    id.copy_from_slice(&node[..20]);
    let account = leaves.account(&id)?;
    let leaf = &mut leaves.0[account];
    if !leaf.is_present {
        leaf.is_present = true;
        leaf.set(account::PUBLIC_KEY, public_key);
    }
    Ok(account)
}

/// The record's task, once its status is one of `statuses`.
#[inline(always)]
pub fn task_in(leaves: &Leaves, record: &Record, statuses: &[u8]) -> Result<usize, Halt> {
    let task = leaves.task(record.task())?;
    need(leaves.0[task].is_present, Rejection::UnknownTask)?;
    need(statuses.contains(&leaves.0[task].byte(task::STATUS)), Rejection::WrongStatus)?;
    Ok(task)
}

fn open_task(leaf: &mut Leaf, client: &NodeId, kind: u8, mode: u8) {
    leaf.is_present = true;
    leaf.set(task::CLIENT, client);
    leaf.set_byte(task::KIND, kind);
    leaf.set_byte(task::MODE, mode);
    leaf.set_byte(task::STATUS, task::PENDING);
}

/// As it was submitted, in another status: without worker, result and verdicts.
fn clear_result(leaf: &mut Leaf, status: u8) {
    const NOTHING: [u8; super::leaves::TASK_BYTES - task::WORKER] = [0; super::leaves::TASK_BYTES - task::WORKER];
    leaf.set(task::WORKER, &NOTHING);
    leaf.set_byte(task::STATUS, status);
}
