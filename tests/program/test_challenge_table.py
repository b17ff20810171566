"""Everything that a colluding quorum can sign wrong is found by settlement.challenging and falls by what settlement.challenge_filing files,
and its signers are slashed; of an honest batch nothing is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from settlement import accounts, challenge_filing, challenging, pda, records, slashing
from settlement.accounts import LOCALNET_PROFILE, Checkpoint, CheckpointStatus
from settlement.challenge_case import Held
from settlement.challenging import Demands, Finding, Proof, Unprovable, find
from settlement.known_leaves import Leaves
from settlement.ledger import Parent, State
from settlement.records import Record
from settlement.signing import EMPTY
from tests.program.dispute_kit import ALICE, BOB, Batch, close, deposits, honest, post, up
from tests.program.instant_l1 import client_of
from tests.program.kit import Chain
from tests.program.test_dispute_demands import authorisation_of, with_authorisation
from tests.program.test_dispute_proofs import FRAUDS, more_payable
from tests.settlement import kit

Lie = Callable[[Batch], Batch]


def held_of(chain: Chain, told: Batch, checkpoint: Checkpoint, **known: Any) -> Held:
    """What a challenger holds who got the batch's bytes, and of L1 what it says."""
    parent_hash = checkpoint.parent_hash
    parent = Parent(parent_hash, told.context.base_slot, bytes(32), told.before)
    cursor, held = told.before.totals.inbox_cursor, []
    for index in range(cursor, checkpoint.inbox_cursor):
        address = pda.inbox_entry(chain.program_id, index)
        held.append(accounts.decode_inbox_entry(address, chain.data(address)))
    return Held(checkpoint, parent, told.context, held, **{"data": told.data, **known})


def file(chain: Chain, checkpoint: Checkpoint, finding: Finding) -> CheckpointStatus:
    """What becomes of the checkpoint when this is filed and nobody answers."""
    client, payer = client_of(chain), chain.payer

    async def all_of_it() -> CheckpointStatus:
        if isinstance(finding, Proof):
            return (await challenge_filing.file(client, payer, checkpoint, finding)).status
        assert isinstance(finding, Demands)
        waiting = await challenge_filing.demand(client, payer, checkpoint, finding, 3)
        assert len(waiting) == min(3, len(finding.indexes))
        assert await challenge_filing.follow(client, payer, checkpoint.epoch, waiting) == waiting
        chain.advance(LOCALNET_PROFILE.answer_slots + 1)
        assert await challenge_filing.follow(client, payer, checkpoint.epoch, waiting) == []
        return await challenge_filing.status_of(client, checkpoint.epoch)

    return trio.run(all_of_it, clock=MockClock(autojump_threshold=0))


def unsigned(told: Batch) -> Batch:
    return with_authorisation(told, 4, EMPTY.encode())


def signed_by_another(told: Batch) -> Batch:
    mallory = replace(authorisation_of(told, 4), public_key=kit.public_key("mallory"))
    return with_authorisation(told, 4, mallory.encode())


def expired(told: Batch) -> Batch:
    return with_authorisation(told, 4, replace(authorisation_of(told, 4), expiry_slot=0).encode())


def signed_for_nothing(told: Batch) -> Batch:
    return with_authorisation(told, 0, authorisation_of(told, 4).encode())


def odd_entry(told: Batch) -> Batch:
    """A step that steals, and beside it an entry of the trace that no proof can read."""
    return told.with_trace(1, bytes(33))


def records_of_another(told: Batch) -> Batch:
    """The data show an honest batch; the records that were executed are others, and nobody outside has seen them."""
    encoded = records.encode(kit.withdrawal(ALICE, 1, 4_000_000))
    return replace(told, encoded=(*told.encoded[:4], encoded, *told.encoded[5:]))


EXPECTED = {
    "malformed": "prove_malformed_record",
    "other_lamports": "prove_inbox",
    "entry_left_out": "prove_inbox",
    "entry_taken_late": "prove_inbox",
    "other_start": "prove_trace",
    "other_end": "prove_trace",
    "more_payable": "prove_totals",
    "longer_trace": "prove_count",
    "longer_data": "prove_count",
    "other_data": "prove_data",
    "shorter_chunk": "prove_data",
    "thief_in_the_middle": "prove_transition",
    "thief_at_the_end": "prove_transition",
    "overdrawn": "prove_transition",
}
DEMANDED: list[Lie] = [unsigned, signed_by_another, expired, signed_for_nothing]


@pytest.mark.parametrize("lie", [lie for lie, _ in FRAUDS], ids=lambda lie: lie.__name__)
def test_a_false_checkpoint_is_found_and_falls(lie: Lie) -> None:
    chain = up()
    told = lie(honest(chain))
    checkpoint = post(chain, told)
    known = held_of(chain, told, checkpoint, records=Leaves.all_of(told.encoded), trace=Leaves.all_of(told.trace))
    finding = find(known)
    assert isinstance(finding, Proof) and finding.name == EXPECTED[lie.__name__], finding
    before = chain.lamports(chain.payer.pubkey())
    assert file(chain, checkpoint, finding) is CheckpointStatus.REJECTED
    assert chain.lamports(chain.payer.pubkey()) > before, (
        "half of the bond is more than the fees, and no rent stays behind"
    )
    slashed = trio.run(slashing.slash_rejected, client_of(chain), chain.payer, 1)
    assert (slashed, chain.config.pending_slashes) == ([0, 1, 2, 3], 0)


@pytest.mark.parametrize(
    "lie", [lie for lie, _ in FRAUDS] + [records_of_another, odd_entry], ids=lambda lie: lie.__name__
)
def test_whoever_has_the_bytes_alone_makes_it_fall(lie: Lie) -> None:
    """Other leaves than those under the data root are not to be had, and nobody shows them."""
    chain = up()
    told = lie(honest(chain))
    checkpoint = post(chain, told)
    finding = find(held_of(chain, told, checkpoint))
    assert finding is not None and not isinstance(finding, Unprovable)
    assert file(chain, checkpoint, finding) is CheckpointStatus.REJECTED, finding


def test_totals_that_lie_deep_go_through_a_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenging, "MAX_INLINE_SIBLINGS", 0)
    chain = up()
    told = more_payable(honest(chain))
    checkpoint = post(chain, told)
    finding = find(held_of(chain, told, checkpoint))
    assert isinstance(finding, Proof) and finding.name == "prove_totals" and finding.evidence is not None
    assert file(chain, checkpoint, finding) is CheckpointStatus.REJECTED


@pytest.mark.parametrize("lie", DEMANDED, ids=lambda lie: lie.__name__)
def test_what_nobody_authorised_is_demanded(lie: Lie) -> None:
    chain = up()
    told = lie(honest(chain))
    checkpoint = post(chain, told)
    finding = find(held_of(chain, told, checkpoint))
    index = 0 if lie is signed_for_nothing else 4
    assert isinstance(finding, Demands) and (finding.kind, finding.indexes) == (2, (index,))
    assert file(chain, checkpoint, finding) is CheckpointStatus.REJECTED


@pytest.mark.parametrize("data", [None, b"", bytes(264)], ids=["none", "empty", "another"])
def test_data_that_are_withheld_are_demanded(data: bytes | None) -> None:
    chain = up()
    told = honest(chain)
    checkpoint = post(chain, told)
    finding = find(held_of(chain, told, checkpoint, data=data))
    assert isinstance(finding, Demands) and (finding.kind, finding.indexes) == (1, (0,))
    assert file(chain, checkpoint, finding) is CheckpointStatus.REJECTED


def test_of_an_honest_batch_nothing_is_found() -> None:
    chain = up()
    told = honest(chain)
    checkpoint = post(chain, told)
    assert find(held_of(chain, told, checkpoint)) is None
    chain.advance(1)
    context = replace(told, before=told.after)
    for content in ([], [kit.withdrawal(ALICE, 8, 500)]):
        following = close(chain, context.before, content)
        checkpoint = post(chain, following)
        assert find(held_of(chain, following, checkpoint)) is None
        chain.advance(1)


# -- at random -------------------------------------------------------------------------------------------------------------------------


def flipped(data: bytes, at: int, bit: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def mutated(told: Batch, part: str, at: int, bit: int) -> tuple[Batch, dict[str, Any]]:
    """One bit of the batch's records (in the data too, or not), data or trace, or of a field of the message: the roots follow."""
    if part == "record":
        index = at % len(told.encoded)
        return told.with_record(index, flipped(told.encoded[index], at // 16, bit)), {}
    if part == "data":
        return replace(told, data=flipped(told.data, at, bit)), {}
    if part == "trace":
        index = at % len(told.trace)
        return told.with_trace(index, flipped(told.trace[index], at // 16, bit)), {}
    if part == "length":
        return replace(told, data=told.data[: at % len(told.data)]), {}
    if part == "order":
        one, other = at % len(told.encoded), at // 16 % len(told.encoded)
        changed = told.with_record(one, told.encoded[other])
        return changed.with_record(other, told.encoded[one]), {}
    if part == "payable_total":
        return told, {part: told.payable_total + at}
    parts = told.message_parts()
    root = parts[part]
    assert isinstance(root, bytes)
    return told, {part: flipped(root, at, bit)}


LONG = os.environ.get("POUW_LONG") == "1"
PARTS = ("record", "data", "trace", "length", "order", "payable_total")
ROOTS = ("results_root", "state_root", "trace_root", "data_root")


@settings(max_examples=1_000 if LONG else 12, deadline=None)
@given(st.sampled_from(PARTS + ROOTS), st.integers(0, 4_000), st.integers(0, 7), st.booleans())
def test_a_batch_changed_anywhere_is_the_same_or_falls(part: str, at: int, bit: int, knows_all: bool) -> None:
    chain = up()
    right = honest(chain)
    told, fields = mutated(right, part, at, bit)
    checkpoint = post(chain, told, **fields)
    known = {"records": Leaves.all_of(told.encoded), "trace": Leaves.all_of(told.trace)} if knows_all else {}
    finding = find(held_of(chain, told, checkpoint, **known))
    if {**told.message_parts(), **fields} == right.message_parts():
        assert finding is None
        return
    assert finding is not None and not isinstance(finding, Unprovable)
    assert file(chain, checkpoint, finding) is CheckpointStatus.REJECTED, finding


@settings(max_examples=500 if LONG else 15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((ALICE, BOB)), st.integers(1, 60_000)), max_size=40), st.integers(0, 2))
def test_no_honest_batch_is_ever_found_false(content: list[tuple[str, int]], entries: int) -> None:
    """Withdrawals of any number behind any number of inbox entries; pure, on one chain's state."""
    chain = _chain()
    nonces = {ALICE: 0, BOB: 0}
    batch: list[Record] = deposits(chain)[:entries]
    for name, lamports in content:
        if name in (ALICE, BOB)[:entries]:
            batch.append(kit.withdrawal(name, nonces[name], lamports))
            nonces[name] += 1
    told = close(chain, State.empty(), batch)
    checkpoint = replace(_posted(), **told.message_parts())
    assert find(held_of(chain, told, checkpoint)) is None


@cache
def _chain() -> Chain:
    return up()


@cache
def _posted() -> Checkpoint:
    """Whose fields beside the roots do for every batch on genesis."""
    chain = up()
    return post(chain, honest(chain))
