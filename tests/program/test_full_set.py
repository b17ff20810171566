"""A set of 256, made by real instructions with 256 proofs of possession, and its certificates in one transaction each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from solders.pubkey import Pubkey

from settlement import pda
from settlement.accounts import MAX_VALIDATORS
from settlement.validator_set import bitmap_to_bytes
from tests.program.kit import LARGEST_COMPUTE, STAKE, TRANSACTION_BYTES, Chain, refuses, validator


@pytest.fixture(scope="module")
def full() -> Iterator[Chain]:
    yield Chain.new().bring_up(validator(seed) for seed in range(MAX_VALIDATORS))


def test_the_set_is_full_and_sealed(full: Chain) -> None:
    held = full.set_account(1)
    assert (held.count, held.total_stake_lamports) == (MAX_VALIDATORS, MAX_VALIDATORS * STAKE)
    assert held.set_hash == held.validator_set.hash(full.domain)
    assert full.lamports(pda.stake_vault(full.program_id)) > MAX_VALIDATORS * STAKE


def test_one_more_is_refused(full: Chain) -> None:
    with refuses("RegistryFull"):
        full.register(validator(MAX_VALIDATORS))


@pytest.mark.parametrize("present", [256, 171, 172, 200])
def test_a_post_of_256_fits_one_transaction(full: Chain, present: int) -> None:
    """With payer, inbox entries and two compute-budget instructions: 1,232 bytes is what a packet holds."""
    for _ in range(2):
        full.deposit(10_000, Pubkey(b"\x05" * 32))
    full.advance(1)
    cursor = full.config.posted.inbox_cursor + 1
    message = full.message(inbox_cursor=cursor, payable_total=full.config.posted.payable_total + 1)
    signed = full.certificate(message, range(present))
    posting = full.posting(signed)
    assert len(posting.accounts) == 7 and posting.accounts[4].pubkey == pda.inbox_entry(full.program_id, cursor - 1)
    size = len(bytes(full.transaction([posting], [], full.payer)))
    assert size <= TRANSACTION_BYTES
    done = full.send(posting)
    assert done.compute_units_consumed() < LARGEST_COMPUTE // 4
    assert full.checkpoint(message.epoch).bitmap == bitmap_to_bytes((1 << present) - 1)


def test_170_of_256_are_no_quorum(full: Chain) -> None:
    full.advance(1)
    with refuses("ShortQuorum"):
        full.post(range(170))


def test_the_largest_set_advances_in_one_transaction(full: Chain) -> None:
    assert full.compute_units["advance_validator_set"] < LARGEST_COMPUTE // 2
