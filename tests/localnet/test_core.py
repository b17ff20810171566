"""The pure parts: blockhash queue, undo log, base58 and base64, history."""

from __future__ import annotations

import base64
import math
import re
import struct
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from localnet.base58 import b58decode, b58encode
from localnet.base64_text import b64decode
from localnet.blockhash_queue import BlockhashQueue
from localnet.history import Block, History, LandedTransaction
from localnet.reader import Reader
from localnet.undo import Unchanged, UndoLog

ADDRESSES = [Pubkey.new_unique() for _ in range(3)]


def test_a_hash_is_valid_from_its_block_for_150() -> None:
    queue = BlockhashQueue(keep_blocks=32)
    hashes = [Hash.new_unique() for _ in range(400)]
    for height, one in enumerate(hashes):
        queue.register(one, height)
    assert not queue.is_valid(hashes[300], 299)
    assert queue.is_valid(hashes[300], 300) and queue.is_valid(hashes[300], 450)
    assert not queue.is_valid(hashes[300], 451)
    assert queue.last_valid_block_height(hashes[300]) == 450
    assert not queue.is_valid(Hash.new_unique(), 399)
    # A finalized bank 32 behind still knows the oldest hash that it would accept.
    assert queue.is_valid(hashes[399 - 32 - 150], 399 - 32)
    assert queue.last_valid_block_height(hashes[399 - 32 - 151]) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from(range(3)), st.integers(0, 4)), max_size=4), max_size=12))
def test_the_undo_log_gives_every_old_state(slots: list[list[tuple[int, int]]]) -> None:
    """Against whole copies of the state, kept at the end of each slot; 0 lamports is an account that is not there."""
    log = UndoLog()
    state: dict[Pubkey, Account] = {}
    ends: list[dict[Pubkey, Account]] = [{}]
    for slot, writes in enumerate(slots, start=1):
        for index, lamports in writes:
            address = ADDRESSES[index]
            log.record(slot, address, state.get(address))
            if lamports:
                state[address] = Account(lamports, b"", Pubkey.default())
            else:
                state.pop(address, None)
        ends.append(dict(state))
    for slot, expected in enumerate(ends):
        for address in ADDRESSES:
            version = log.version_at_end_of(slot, len(slots), address)
            found = state.get(address) if isinstance(version, Unchanged) else version
            assert found == expected.get(address)


@given(st.binary(max_size=80))
def test_base58_round_trip(data: bytes) -> None:
    assert b58decode(b58encode(data)) == data


@given(st.binary(min_size=32, max_size=32))
def test_base58_is_the_one_of_public_keys(data: bytes) -> None:
    assert b58encode(data) == str(Pubkey.from_bytes(data))


@given(st.binary(max_size=80))
def test_base64_is_read(data: bytes) -> None:
    assert b64decode(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("YR==", "InvalidLastSymbol(1, 82)"),
        ("YWJ=", "InvalidLastSymbol(2, 74)"),
        ("YWJjYR==", "InvalidLastSymbol(5, 82)"),
        ("A", "InvalidLength(1)"),
        ("YWJjZ", "InvalidLength(5)"),
        ("YW", "InvalidPadding"),
        ("YW=", "InvalidPadding"),
        ("Y===", "InvalidByte(1, 61)"),
        ("====", "InvalidByte(0, 61)"),
        ("YWI==", "InvalidByte(3, 61)"),
        ("YW===", "InvalidByte(2, 61)"),
        ("YW=Z", "InvalidByte(2, 61)"),
        ("Y-Jj", "InvalidByte(1, 45)"),
        ("Y-Jj*", "InvalidByte(4, 42)"),
    ],
)
def test_base64_that_agave_refuses_is_refused_in_its_words(text: str, complaint: str) -> None:
    """As solana-test-validator 4.1.2 answers."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        b64decode(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e21, "1000000000000000000000"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "NaN"),
    ],
)
def test_a_double_is_shown_as_rust_shows_it(value: float, text: str) -> None:
    assert Reader(struct.pack("<d", value)).f64_text() == text


def block(slot: int, landed: int = 0) -> Block:
    return Block(slot, max(slot - 1, 0), slot, landed, Hash.default())


def test_without_an_archive_history_is_bounded_in_blocks_and_in_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake transaction: history looks at nothing but where it landed, its signature and its accounts."""
    monkeypatch.setattr("localnet.history.MAX_TRANSACTIONS_IN_MEMORY", 40)
    history = History(keep_slots=30, needed_slots=10)
    payer, signatures = Pubkey.new_unique(), []
    for slot in range(100):
        history.open_block(block(slot))
        for _ in range(3 if slot >= 50 else 0):
            signatures.append(Signature.new_unique())
            fake = SimpleNamespace(slot=slot, signature=signatures[-1], account_keys=(payer, Pubkey.new_unique()))
            history.add(cast(LandedTransaction, fake))
        if slot == 49:
            assert history.first_slot == 49 - 29
    # 3 a block: 40 are reached long before 30 blocks, and 10 blocks are kept whatever they hold.
    kept = [s for s in signatures if history.transaction(s)]
    assert kept == signatures[-len(kept) :] and 37 <= len(kept) <= 43
    assert [t.signature for t in history.of_address(payer)] == kept[::-1]
    assert history.block(history.first_slot - 1) is None and history.block(history.first_slot) is not None
    monkeypatch.setattr("localnet.history.MAX_TRANSACTIONS_IN_MEMORY", 1)
    history.open_block(block(100))
    assert history.first_slot == 91
