//! Why the ledger refuses a record: the numbers of settlement/ledger/rejection.py that a transition can give. The others judge
//! signatures and the order of a batch, which are no part of a transition.

/// Numbers are stable: a new reason gets a new one, none is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rejection {
    MalformedRecord = 1,
    OpNotAccepted = 2,
    UnknownAccount = 3,
    WrongNonce = 4,
    InsufficientBalance = 5,
    ZeroAmount = 6,
    Overflow = 7,
    WrongNode = 8,
    WrongPublicKey = 9,
    WrongAmount = 10,
    UnsupportedKind = 11,
    UnsupportedMode = 12,
    WrongTaskId = 13,
    TaskExists = 14,
    UnknownTask = 15,
    WrongStatus = 16,
    DeadlinePassed = 17,
    DeadlineNotPassed = 18,
    StakeTooLow = 19,
    WorkerIsClient = 20,
    WrongResultHash = 21,
    NotAValidator = 22,
    DuplicateVote = 23,
    StaleVerdicts = 24,
    NoQuorum = 25,
    WrongInboxIndex = 26,
    WrongMode = 32,
    NotReleased = 33,
    ReleaseScheduled = 34,
    HoldTooYoung = 35,
}
