"""Forced entries: what they say is bound by hash, their money is in the vault, their fee rises with the backlog and goes to the treasury."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import inbox, messages, pda
from settlement.ledger import TaskStatus
from settlement.messages import InboxKind
from settlement.records import Kind, Mode
from tests.program.inbox_kit import (
    SPEC_HASH,
    Ledger,
    entry,
    force_task,
    force_withdrawal,
    forcing_task,
    forcing_withdrawal,
    person,
    vault_holds,
)
from tests.program.kit import Chain, refuses

FEE = 10_000


def treasury(chain: Chain) -> int:
    return chain.lamports(pda.treasury(chain.program_id))


def test_a_forced_task_stands_in_the_inbox(chain: Chain) -> None:
    client, before = person(chain, 1), treasury(chain)
    key = bytes(client.pubkey())
    force_task(chain, client, deadline_slot=5_000)
    made = entry(chain, 0)
    assert (made.index, made.slot, made.kind, made.lamports) == (0, chain.slot, InboxKind.TASK, 50_000)
    assert (made.beneficiary, made.number, made.reference, made.kind_mode) == (client.pubkey(), 5_000, SPEC_HASH, 0x12)
    assert made.payload_hash == messages.task_payload_hash(key, SPEC_HASH, Kind.TRAINING, Mode.REPLAY, 5_000)
    assert made.hash_after == messages.next_inbox_hash(messages.genesis_inbox_hash(chain.domain), made.entry)
    assert chain.config.inbox.hash == made.hash_after
    assert (chain.config.inbox.count, chain.config.inbox.lamports) == (1, 50_000)
    assert vault_holds(chain) == 50_000 and treasury(chain) == before + FEE


def test_a_forced_withdrawal_stands_in_the_inbox(chain: Chain) -> None:
    owner, before = person(chain, 1), treasury(chain)
    task = b"\x77" * 32
    force_withdrawal(chain, owner, withdraw_lamports=123, task_id=task)
    made = entry(chain, 0)
    assert (made.kind, made.lamports, made.number, made.reference) == (InboxKind.WITHDRAWAL, 10_000, 123, task)
    assert made.payload_hash == messages.withdrawal_payload_hash(bytes(owner.pubkey()), 123, task)
    assert made.hash_after == messages.next_inbox_hash(messages.genesis_inbox_hash(chain.domain), made.entry)
    assert vault_holds(chain) == 10_000 and treasury(chain) == before + FEE


def test_it_costs_its_author_what_it_brings_and_the_fee(chain: Chain) -> None:
    client = person(chain, 1)
    for built, brings in ((forcing_task(chain, client.pubkey()), 50_000),):
        before = chain.lamports(client.pubkey())
        done = chain.send(built, payer=client)
        rent = chain.lamports(pda.inbox_entry(chain.program_id, 0))
        assert before - chain.lamports(client.pubkey()) == brings + FEE + rent + done.fee()


def test_the_ledger_takes_what_l1_holds(chain: Chain) -> None:
    """The records that the entries become, from their accounts alone, through a real checkpoint: task, refund and withdrawal."""
    client, ledger = person(chain, 1), Ledger(chain)
    force_task(chain, client, deadline_slot=chain.slot + 30)
    ledger.settle()
    task_id = messages.inbox_task_id(chain.domain, bytes(client.pubkey()), 0, SPEC_HASH)
    assert ledger.account(client).locked_fees == 50_000
    chain.advance(60)
    ledger.settle()
    force_withdrawal(chain, client, task_id=task_id)
    ledger.settle()
    task = ledger.state.task(task_id)
    assert task is not None and task.status is TaskStatus.REFUNDED
    assert ledger.account(client).payable == 60_000 == chain.config.finalized.payable_total
    assert chain.config.finalized.inbox_lamports == 60_000


def test_a_record_is_made_of_no_entry_that_its_hash_does_not_bind(chain: Chain) -> None:
    from dataclasses import replace

    force_task(chain, person(chain, 1))
    made = entry(chain, 0)
    for lie in ({"number": 1}, {"reference": bytes(32)}, {"kind_mode": 0x13}, {"beneficiary": chain.payer.pubkey()}):
        with pytest.raises(ValueError, match="not what its payload hash says"):
            inbox.record_of(chain.domain, replace(made, **lie), 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of kind 5"):
        inbox.record_of(chain.domain, replace(made, kind=5), 0)
    with pytest.raises(ValueError, match="is no record"):
        inbox.record_of(chain.domain, replace(made, kind_mode=0), 0)


def test_the_fee_rises_with_the_backlog(chain: Chain) -> None:
    client, other = person(chain, 1), person(chain, 2)
    for index in range(33):
        before, fee = treasury(chain), inbox.forced_fee(chain.config)
        assert fee == FEE * (1 + index // 16)
        if index in (15, 16, 31, 32):
            force_task(chain, client)
            assert treasury(chain) == before + fee
        else:
            chain.deposit(10_000, other.pubkey())
    Ledger(chain).settle()
    assert inbox.forced_fee(chain.config) == FEE


def test_the_fee_is_limited_by_its_payer(chain: Chain) -> None:
    client = person(chain, 1)
    for index in range(16):
        chain.deposit(10_000 + index, client.pubkey())
    with refuses("FeeAboveLimit"):
        force_task(chain, client, max_fee_lamports=2 * FEE - 1)
    with refuses("FeeAboveLimit"):
        force_withdrawal(chain, client, max_fee_lamports=2 * FEE - 1)
    force_task(chain, client, max_fee_lamports=2 * FEE)
    force_withdrawal(chain, client, max_fee_lamports=2 * FEE)


@pytest.mark.parametrize("kind", [0, 5, 255])
def test_a_kind_that_no_record_holds(chain: Chain, kind: int) -> None:
    with refuses("UnknownTaskKind"):
        force_task(chain, person(chain, 1), kind=kind)


@pytest.mark.parametrize("mode", [0, 5, 16, 255])
def test_a_mode_that_no_record_holds(chain: Chain, mode: int) -> None:
    with refuses("UnknownTaskMode"):
        force_task(chain, person(chain, 1), mode=mode)


def test_every_kind_and_mode_that_a_record_holds_can_be_taken(chain: Chain) -> None:
    client, ledger = person(chain, 1), Ledger(chain)
    for kind in Kind:
        for mode in Mode:
            force_task(chain, client, kind=kind, mode=mode)
    ledger.settle()
    assert ledger.account(client).locked_fees == 100_000 and ledger.account(client).balance == 14 * 50_000


def test_a_deadline_lies_in_the_future(chain: Chain) -> None:
    with refuses("TaskDeadlinePassed"):
        force_task(chain, person(chain, 1), deadline_slot=chain.slot)
    force_task(chain, person(chain, 1), deadline_slot=chain.slot + 1)


@pytest.mark.parametrize("force", [forcing_task, forcing_withdrawal])
def test_entries_have_a_minimum(chain: Chain, force: object) -> None:
    client = person(chain, 1)
    with refuses("DepositBelowMinimum"):
        chain.send(force(chain, client.pubkey(), lamports=9_999), payer=client)  # type: ignore[operator]
    chain.send(force(chain, client.pubkey(), lamports=10_000), payer=client)  # type: ignore[operator]


@pytest.mark.parametrize("force", [forcing_task, forcing_withdrawal])
def test_an_entry_has_the_next_index(chain: Chain, force: object) -> None:
    client = person(chain, 1)
    chain.deposit(10_000, client.pubkey())
    for wrong in (0, 2):
        with refuses("WrongInboxEntry"):
            chain.send(force(chain, client.pubkey(), inbox_count=wrong), payer=client)  # type: ignore[operator]


@pytest.mark.parametrize("force", [forcing_task, forcing_withdrawal])
def test_a_sum_beyond_what_is_counted_is_refused(chain: Chain, force: object) -> None:
    client = person(chain, 1)
    for lamports in (2**62, 2**64 - 1):
        with refuses("ArithmeticOverflow"):
            chain.send(force(chain, client.pubkey(), lamports=lamports), payer=client)  # type: ignore[operator]
            chain.send(force(chain, client.pubkey(), lamports=lamports), payer=client)  # type: ignore[operator]


@pytest.mark.parametrize("force", [forcing_task, forcing_withdrawal])
def test_only_the_owner_forces(chain: Chain, force: object) -> None:
    """Whoever could force another's withdrawal would decide when that one is paid."""
    victim = person(chain, 1)
    built = force(chain, victim.pubkey())  # type: ignore[operator]
    metas = list(built.accounts)
    metas[0] = type(metas[0])(victim.pubkey(), False, True)
    with refuses("InstructionErrorFieldless.MissingRequiredSignature"):
        chain.send(type(built)(chain.program_id, bytes(built.data), metas))


@pytest.mark.parametrize("force", [forcing_task, forcing_withdrawal])
@pytest.mark.parametrize("place", [3, 4])
def test_the_money_goes_to_the_vault_and_the_treasury(chain: Chain, force: object, place: int) -> None:
    client, own = person(chain, 1), Keypair().pubkey()
    built = force(chain, client.pubkey())  # type: ignore[operator]
    for other in (own, pda.stake_vault(chain.program_id), pda.vault(chain.program_id), pda.treasury(chain.program_id)):
        metas = list(built.accounts)
        if metas[place].pubkey == other:
            continue
        metas[place] = type(metas[place])(other, False, True)
        with refuses("InstructionErrorFieldless.InvalidSeeds", "InstructionErrorCustom(2040)"):
            chain.send(type(built)(chain.program_id, bytes(built.data), metas), payer=client)


def test_a_checkpoint_may_not_leave_a_forced_entry_out(chain: Chain) -> None:
    """A censoring quorum: the entry is left out until it is overdue, then nothing can be posted without it."""
    client, window = person(chain, 1), chain.config.parameters.inclusion_window_slots
    chain.deposit(10_000, client.pubkey())
    Ledger(chain).settle()
    force_withdrawal(chain, client)
    entered = chain.slot
    chain.advance(window)
    assert chain.slot == entered + window
    chain.post(inbox_cursor=1)
    chain.advance(1)
    with refuses("OverdueInboxEntry"):
        chain.post(inbox_cursor=1)
    chain.post()


def test_a_funded_entry_address_blocks_nothing(chain: Chain) -> None:
    chain.svm.airdrop(pda.inbox_entry(chain.program_id, 0), 1)
    force_task(chain, person(chain, 1))
    assert chain.config.inbox.count == 1


def test_a_pubkey_of_any_kind_is_a_beneficiary(chain: Chain) -> None:
    chain.deposit(10_000, Pubkey(bytes(32)))
    assert entry(chain, 0).kind == InboxKind.DEPOSIT and entry(chain, 0).reference == bytes(32)
