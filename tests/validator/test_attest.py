"""What a validator refuses to attest, on real batches with real BLS keys: one thing changed each time, everything else made consistent again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import pytest

from settlement import bls, merkle, messages, records
from settlement.accounts import LOCALNET_PROFILE, InboxEntryAccount, PostedHead
from settlement.ledger import BatchRoots, Context, LedgerRejection, Parent, batch
from settlement.messages import CheckpointMessage
from settlement.records import Reason, Record, Verdict
from settlement.signing import EMPTY, Authorisation
from settlement.validator_set import SetEntry, ValidatorSet
from tests.blank import blank
from tests.settlement import kit
from validator.attest import Own, Refused, View, check
from validator.claim import Judgement
from validator.votes import Attested

SECRETS = [bls.SecretKey.from_seed(bytes([50 + i]) * 32) for i in range(3)]
SET = ValidatorSet(
    1,
    tuple(
        SetEntry(kit.public_key(f"authority {i}"), secret.public_key.uncompressed(), 100)
        for i, secret in enumerate(SECRETS)
    ),
)
STRANGER = bls.SecretKey.from_seed(b"stranger" * 4)
CONTEXT = Context(kit.DOMAIN, 1, 0, SET, kit.TREASURY)
PARENT = Parent.genesis(kit.DOMAIN)
TASK = kit.task_id("client", 0)
COMMITMENT = messages.commitment(kit.DOMAIN, TASK, 1, kit.public_key("worker"), kit.SALT, kit.RESULT_HASH)
MINE = 0
SAID = Judgement(Verdict.ACCEPT, Reason.NONE, (1, 4, 7, 9, 15), 16, 972_222)
Signed = tuple[Record, Authorisation]


def signed(*unsigned: Record) -> list[Signed]:
    names = {kit.node(name): name for name in ("client", "worker", "thief", *kit.AUTHORITIES)}
    return [(record, kit.authorise(record, names[record.node])) for record in unsigned]


def sample(index: int, secret: bls.SecretKey | None = None) -> Record:
    digest = messages.sample_digest(TASK, COMMITMENT)
    return kit.sample_proof(index, TASK, (secret or SECRETS[index]).sign(digest))


def honest_batch() -> list[Signed]:
    """A client's task is done by a worker, sampled and accepted by all, paid; and the client withdraws."""
    return signed(
        kit.deposit("client", 5_000_000, 0),
        kit.deposit("worker", 2_000_000, 1),
        kit.submission("client", 0),
        kit.registration("worker", 0, 1_000_000),
        kit.result("worker", 1, TASK),
        *(sample(index) for index in range(3)),
        *(kit.vote(index, TASK) for index in range(3)),
        kit.payment("worker", TASK),
        kit.withdrawal("client", 1, 250_000),
    )


@dataclass(frozen=True)
class Proposal:
    message: CheckpointMessage
    data: bytes


def propose(pairs: Sequence[Signed], context: Context = CONTEXT, **changes: Any) -> Proposal:
    """A proposal as an honest sequencer would make it of these records; the ledger's rules apply."""
    roots: BatchRoots = batch.close(PARENT.state, [r for r, _ in pairs], [a for _, a in pairs], context)
    message = CheckpointMessage(
        epoch=1,
        attempt=0,
        cut_slot=40,
        expiry_slot=90,
        parent_hash=PARENT.hash,
        results_root=roots.results_root,
        state_root=roots.state.root,
        trace_root=roots.trace_root,
        data_root=roots.data_root,
        payable_total=roots.state.totals.payable,
        inbox_cursor=roots.state.totals.inbox_cursor,
        inbox_hash=batch.inbox_hash(PARENT.inbox_hash, [r for r, _ in pairs]),
        set_hash=SET.hash(kit.DOMAIN),
    )
    return Proposal(replace(message, **changes), roots.data)


HONEST = propose(honest_batch())
HEAD = blank(PostedHead, inbox_hash=PARENT.inbox_hash)
VIEW = View(50, 30, False, LOCALNET_PROFILE, HEAD, 0, HONEST.message.inbox_hash, None)
OWN = Own(MINE, {(TASK, kit.RESULT_HASH): SAID}, None)


def attest(proposal: Proposal, view: View = VIEW, own: Own = OWN, context: Context = CONTEXT) -> BatchRoots:
    return check(proposal.message, proposal.data, PARENT, 0, context, view, own)


def test_an_honest_proposal_is_attested() -> None:
    roots = attest(HONEST)
    assert roots.state.root == HONEST.message.state_root
    assert roots.state.totals.payable == 1_000 + 250_000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("parent_hash", b"x" * 32),
        ("results_root", b"x" * 32),
        ("state_root", b"x" * 32),
        ("trace_root", b"x" * 32),
        ("data_root", b"x" * 32),
        ("payable_total", 1),
        ("inbox_cursor", 1),
        ("inbox_hash", b"x" * 32),
        ("set_hash", b"x" * 32),
    ],
)
def test_every_altered_field_of_the_message_is_refused(key: str, value: Any) -> None:
    words = key.split("_")
    camel = words[0] + "".join(word.capitalize() for word in words[1:])
    with pytest.raises(Refused, match=camel):
        attest(Proposal(replace(HONEST.message, **{key: value}), HONEST.data))


@pytest.mark.parametrize("index", range(13))
def test_every_altered_record_is_refused(index: int) -> None:
    """One bit of each record, its CRC made right again; even with all roots recomputed over the altered bytes."""
    start = index * 160
    for offset in (10, 60, 100):
        body = bytearray(HONEST.data[start : start + 156])
        body[offset] ^= 1
        record = bytes(body) + crc32(body).to_bytes(4, "big")
        data = HONEST.data[:start] + record + HONEST.data[start + 160 :]
        with pytest.raises(Refused):
            attest(Proposal(_over(HONEST.message, data), data))


def test_every_altered_authorisation_is_refused() -> None:
    count = len(HONEST.data) // 264
    for index in range(count):
        start = count * 160 + index * 104
        for offset in (3, 34, 90):
            data = bytearray(HONEST.data)
            data[start + offset] ^= 1
            with pytest.raises(Refused, match=f"record {index}: "):
                attest(Proposal(_over(HONEST.message, bytes(data)), bytes(data)))


def _over(message: CheckpointMessage, data: bytes) -> CheckpointMessage:
    count = len(data) // 264
    leaves = [data[i * 160 : (i + 1) * 160] for i in range(count)]
    return replace(
        message,
        results_root=merkle.root("results-root", leaves),
        data_root=merkle.root("data-root", batch.chunks(data)),
    )


def changed(pick: Callable[[list[Signed]], list[Signed]]) -> list[Signed]:
    return pick(honest_batch())


def unchecked(pairs: Sequence[Signed]) -> Proposal:
    """A lying sequencer's proposal: the bytes of these records under roots over them, without asking the ledger."""
    data = b"".join(records.encode(r) for r, _ in pairs) + b"".join(a.encode() for _, a in pairs)
    return Proposal(_over(HONEST.message, data), data)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        # a reward: more than the fee, to somebody else, twice, or for a task nobody accepted
        (lambda b: [*b[:11], (kit.payment("worker", TASK, 1_001), EMPTY), b[12]], "WRONG_AMOUNT"),
        (lambda b: [*b[:11], (kit.payment("client", TASK), EMPTY), b[12]], "WRONG_NODE"),
        (lambda b: [*b, b[11]], "WRONG_STATUS"),
        (lambda b: [*b[:9], *b[11:]], "NO_QUORUM"),
        (lambda b: [*b[:8], *b[11:]], "STALE_VERDICTS"),
        # an invented or copied verdict
        (lambda b: [*b[:8], b[8], (kit.vote(1, TASK), b[8][1]), *b[10:]], "BAD_AUTHORISATION"),
        (lambda b: [*b[:9], b[8], *b[9:]], "DUPLICATE_VOTE"),
        (lambda b: [*b[:9], (kit.vote(1, TASK, Verdict.REJECT), b[9][1]), *b[10:]], "BAD_AUTHORISATION"),
        # an invented task or withdrawal, unsigned, signed by somebody else, or a second time
        (lambda b: [*b, (kit.submission("client", 2), EMPTY)], "BAD_AUTHORISATION"),
        (lambda b: [*b, (kit.submission("client", 2), kit.authorise(kit.submission("client", 2), "thief"))], "signer's node id"),
        (lambda b: [*b, (kit.withdrawal("client", 2, 9), kit.authorise(kit.withdrawal("client", 2, 9), "thief"))], "signer's node id"),
        (lambda b: [*b, b[12]], "WRONG_NONCE"),
        (lambda b: [*b[:12], (kit.withdrawal("client", 1, 250_001), b[12][1])], "BAD_AUTHORISATION"),
        # money that never entered, or a deposit left out
        (lambda b: [*b, (kit.deposit("thief", 1_000, 2), EMPTY)], "INBOX_NOT_FIRST"),
        (lambda b: [*b[:2], (kit.deposit("thief", 1_000, 3), EMPTY), *b[2:]], "WRONG_INBOX_INDEX"),
        (lambda b: b[1:], "WRONG_INBOX_INDEX"),
        # a slash without rejections, a refund before the deadline
        (lambda b: [*b[:11], (kit.slash("worker", TASK), EMPTY)], "NO_QUORUM"),
        (lambda b: [*b[:11], (kit.refund("client", TASK), EMPTY)], "DEADLINE_NOT_PASSED"),
        # a sample signature that is not the validator's
        (lambda b: [*b[:5], (sample(0, STRANGER), EMPTY), *b[6:]], "BAD_SAMPLE_SIGNATURE"),
        (lambda b: [*b[:5], (kit.sample_proof(0, TASK, bytes(96)), EMPTY), *b[6:]], "no signature"),
    ],
)  # fmt: skip
def test_a_lying_sequencers_batch_is_refused(pairs: Callable[[list[Signed]], list[Signed]], message: str) -> None:
    with pytest.raises(Refused, match=message):
        attest(unchecked(changed(pairs)))


def test_a_deposit_that_l1_does_not_have_is_refused() -> None:
    """The batch is consistent in itself; only L1's inbox knows better."""
    pairs = [(kit.deposit("client", 6_000_000, 0), EMPTY), *honest_batch()[1:]]
    with pytest.raises(Refused, match="inbox hash at cursor 2"):
        attest(propose(pairs))
    with pytest.raises(Refused, match="on L1 no such entry"):
        attest(HONEST, replace(VIEW, inbox_hash_at_cursor=None))


def test_an_overdue_deposit_may_not_be_left_out() -> None:
    # 40 − 32 is slot 8: what entered before is overdue.
    for slot, refused in ((7, True), (8, False)):
        left = blank(InboxEntryAccount, index=2, slot=slot)
        view = replace(VIEW, first_entry_left=left)
        if refused:
            with pytest.raises(Refused, match="entry 2 of slot 7 is overdue"):
                attest(HONEST, view)
            assert attest(HONEST, replace(view, parameters=replace(LOCALNET_PROFILE, max_inbox_per_epoch=2)))
        else:
            assert attest(HONEST, view)
    with pytest.raises(Refused, match="2 inbox entries are taken, at most 1"):
        attest(HONEST, replace(VIEW, parameters=replace(LOCALNET_PROFILE, max_inbox_per_epoch=1)))


@pytest.mark.parametrize(
    ("changes", "view", "message"),
    [
        ({"cut_slot": 51}, {}, "in the future"),
        ({"cut_slot": 0, "expiry_slot": 60}, {}, "not after the parent's, 0"),
        ({}, {"slot": 90}, "expired at slot 90"),
        ({"expiry_slot": 105}, {}, "more than 64"),
        ({"epoch": 2}, {}, "does not follow epoch 0"),
        ({}, {"highest_epoch": 1}, "does not follow epoch 1"),
        ({"attempt": 1}, {"epoch_posted_at_finalized": True}, "on L1 already"),
    ],
)
def test_slots_epoch_and_attempt_must_fit_what_l1_says(
    changes: dict[str, Any], view: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        attest(Proposal(replace(HONEST.message, **changes), HONEST.data), replace(VIEW, **view))


def test_the_next_attempt_waits_until_the_last_can_no_longer_land() -> None:
    second = Proposal(replace(HONEST.message, attempt=1), HONEST.data)
    assert attest(second)
    own = replace(OWN, last=Attested(1, 0, b"x" * 32, 30))
    with pytest.raises(Refused, match="attempt 0 may still land: it expires at slot 30, finalized is 30"):
        attest(second, own=own)
    assert attest(second, replace(VIEW, finalized_slot=31), own)
    with pytest.raises(Refused, match="on L1 already"):
        attest(second, replace(VIEW, finalized_slot=31, epoch_posted_at_finalized=True), own)
    # The same attempt is for the slashing protection to judge.
    assert attest(HONEST, own=own)


def test_no_attempt_is_signed_that_is_more_than_time_allows() -> None:
    """The parent was cut at slot 0, this one at 40: 39 slots lay between, so attempt 39 is the highest. The largest number of all would leave
    none for anybody's next attempt."""
    assert attest(Proposal(replace(HONEST.message, attempt=39), HONEST.data))
    for attempt in (40, 2**32 - 1):
        with pytest.raises(Refused, match=f"attempt {attempt} is more than time allows: 39 at most, 40 slots"):
            attest(Proposal(replace(HONEST.message, attempt=attempt), HONEST.data))
    parent_cut_late = replace(VIEW, posted=replace(HEAD, cut_slot=30))
    assert attest(Proposal(replace(HONEST.message, attempt=9), HONEST.data), parent_cut_late)
    with pytest.raises(Refused, match="9 at most"):
        attest(Proposal(replace(HONEST.message, attempt=10), HONEST.data), parent_cut_late)


def test_a_set_other_than_the_pinned_one_is_refused() -> None:
    pinned = ValidatorSet(2, SET.entries[:2])
    with pytest.raises(Refused, match="setHash"):
        attest(
            HONEST,
            context=replace(
                CONTEXT, validator_set=ValidatorSet(2, (*SET.entries[:2], replace(SET.entries[2], stake_lamports=99)))
            ),
        )
    with pytest.raises(Refused, match="NOT_A_VALIDATOR"):
        attest(HONEST, context=replace(CONTEXT, validator_set=pinned))


def test_a_validator_that_lags_or_sees_another_parent_does_not_attest() -> None:
    second = replace(HONEST.message, epoch=2)
    posted = replace(HEAD, epoch=1, hash=b"y" * 32)
    with pytest.raises(Refused, match="has followed L1 to epoch 0 only"):
        attest(Proposal(second, HONEST.data), replace(VIEW, posted=posted, highest_epoch=1))
    with pytest.raises(Refused, match="on L1"):
        check(second, HONEST.data, PARENT, 1, CONTEXT, replace(VIEW, posted=posted, highest_epoch=1), OWN)


@pytest.mark.parametrize(
    "judgements",
    [
        {},
        {(TASK, kit.RESULT_HASH): replace(SAID, verdict=Verdict.REJECT, reason=Reason.WRONG_STATE)},
        {(TASK, kit.RESULT_HASH): replace(SAID, checked=(1, 15))},
        {(TASK, kit.RESULT_HASH): replace(SAID, accuracy_ppm=972_221)},
        {(TASK, b"z" * 32): SAID},
    ],
)
def test_a_verdict_of_its_own_that_it_did_not_give_is_refused(judgements: dict[tuple[bytes, bytes], Judgement]) -> None:
    """An older verdict that it has replaced, for instance, though its signature is good."""
    with pytest.raises(Refused, match="this validator"):
        attest(HONEST, own=replace(OWN, judgements=judgements))
    assert attest(HONEST, own=replace(OWN, set_index=7, judgements={}))


@pytest.mark.parametrize(
    ("votes", "paid"), [("AAA", True), ("AAR", True), ("AAX", True), ("AXX", False), ("ARR", False)]
)
def test_a_payment_needs_two_thirds_of_the_stake(votes: str, paid: bool) -> None:
    """Abstentions (X) count in the denominator."""
    kinds = {"A": Verdict.ACCEPT, "R": Verdict.REJECT, "X": Verdict.ABSTAIN}
    before, after = honest_batch()[:8], honest_batch()[11:]
    pairs = [*before, *signed(*(kit.vote(i, TASK, kinds[v]) for i, v in enumerate(votes))), *after]
    if paid:
        assert attest(propose(pairs))
    else:
        with pytest.raises(LedgerRejection, match="NO_QUORUM"):
            propose(pairs)
        with pytest.raises(Refused, match="NO_QUORUM"):
            attest(unchecked(pairs))


def test_a_slash_needs_two_thirds_of_rejecting_stake_and_pays_the_treasury() -> None:
    before = honest_batch()[:8]
    own = replace(
        OWN, judgements={(TASK, kit.RESULT_HASH): replace(SAID, verdict=Verdict.REJECT, reason=Reason.WRONG_STATE)}
    )
    votes = signed(*(kit.vote(i, TASK, Verdict.REJECT) for i in range(3)))
    roots = attest(propose([*before, *votes, (kit.slash("worker", TASK), EMPTY)]), own=own)
    assert roots.state.totals.payable == 1_000_000
    with pytest.raises(Refused, match="NO_QUORUM"):
        attest(unchecked([*before, *votes[:1], (kit.slash("worker", TASK), EMPTY)]), own=own)


def test_after_a_rejection_the_next_number_on_the_last_good_epoch_is_attested() -> None:
    """Epochs 1 to 3 fell: 4 extends what epoch 1 extended, and no number that L1 has seen is signed for again."""
    fallen = replace(VIEW, highest_epoch=3)
    context = replace(CONTEXT, epoch=4)
    proposal = propose(honest_batch(), context, epoch=4)
    attest(proposal, fallen, context=context)
    for epoch in (1, 3, 5):
        with pytest.raises(Refused, match=f"epoch {epoch} does not follow epoch 3, the highest ever on L1"):
            attest(Proposal(replace(proposal.message, epoch=epoch), proposal.data), fallen)
