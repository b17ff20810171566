"""The escape hatch: opened late enough by anybody, for good; it pays every lamport that L2 holds to whom it belongs, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from solders.account import Account as L1Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import accounts, inbox_instructions, instructions, pda
from settlement.ledger import State, account_key
from settlement.signing import node_id
from tests.program.inbox_kit import (
    Ledger,
    entry,
    escape,
    escaping,
    force_task,
    force_withdrawal,
    person,
    refunding,
    vault_holds,
)
from tests.program.kit import SOL, Chain, refuses


def opening(chain: Chain) -> None:
    chain.send(inbox_instructions.escape(chain.program_id, chain.payer.pubkey()))


def busy(chain: Chain) -> Ledger:
    """Two people with money in every pot: balance, fees locked in a task, stake, payable, of which a part was claimed."""
    ledger, first, second = Ledger(chain), person(chain, 1), person(chain, 2)
    chain.deposit(3 * SOL, first.pubkey())
    chain.deposit(2 * SOL, second.pubkey())
    force_task(chain, first, lamports=SOL)
    ledger.take()
    ledger.withdraw(first, SOL // 2)
    ledger.lock_stake(second, SOL)
    ledger.settle()
    claim(ledger, first)
    ledger.take()
    ledger.withdraw(first, SOL // 4)
    ledger.settle()
    return ledger


def claim(ledger: Ledger, owner: Keypair) -> None:
    value, siblings = ledger.finalized.proof(account_key(node_id(bytes(owner.pubkey()))))
    ledger.chain.send(instructions.claim(ledger.chain.program_id, ledger.chain.payer.pubkey(), value, siblings))


def paid(chain: Chain, owner: Keypair) -> int:
    address = pda.claim(chain.program_id, bytes(owner.pubkey()))
    return accounts.decode_claim(address, chain.data(address)).claimed_lamports


def add_entries(ledger: Ledger) -> None:
    """Entries that no checkpoint has taken yet: one of each kind."""
    chain = ledger.chain
    chain.deposit(SOL, person(chain, 3).pubkey())
    force_task(chain, person(chain, 1))
    force_withdrawal(chain, person(chain, 2))


# -- when it opens -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settled", [False, True])
def test_it_opens_in_its_first_slot_and_not_before(chain: Chain, settled: bool) -> None:
    ledger = Ledger(chain)
    chain.deposit(SOL, person(chain, 1).pubkey())
    if settled:
        ledger.settle()
    assert chain.config.finalized.epoch == (1 if settled else 0)
    last = chain.config.finalized.slot + chain.config.parameters.hatch_slots
    chain.advance(last - chain.slot)
    with refuses("HatchClosed"):
        opening(chain)
    chain.advance(1)
    opening(chain)
    assert (chain.config.escaped, chain.config.escape_slot) == (1, last + 1)


def test_a_finalized_checkpoint_keeps_it_shut(chain: Chain) -> None:
    ledger = Ledger(chain)
    chain.advance(chain.config.parameters.hatch_slots - 100)
    ledger.settle()
    chain.advance(100)
    with refuses("HatchClosed"):
        opening(chain)


def test_a_posted_checkpoint_does_not(chain: Chain) -> None:
    ledger = Ledger(chain)
    start = chain.config.finalized.slot
    chain.advance(start + chain.config.parameters.hatch_slots - chain.slot)
    ledger.post()
    opening(chain)


def test_it_is_one_way(chain: Chain) -> None:
    ledger, first = busy(chain), person(chain, 1)
    epoch = ledger.post()
    escape(chain)
    value, siblings = ledger.finalized.proof(account_key(node_id(bytes(first.pubkey()))))
    with refuses("Escaped"):
        opening(chain)
    with refuses("Escaped"):
        chain.deposit(SOL, first.pubkey())
    with refuses("Escaped"):
        force_task(chain, first)
    with refuses("Escaped"):
        force_withdrawal(chain, first)
    with refuses("Escaped"):
        chain.post()
    with refuses("Escaped"):
        chain.finalize(epoch)
    with refuses("Escaped"):
        chain.send(instructions.claim(chain.program_id, chain.payer.pubkey(), value, siblings))


def test_nothing_is_paid_by_it_before_it_is_open(chain: Chain) -> None:
    ledger = busy(chain)
    add_entries(ledger)
    with refuses("NotEscaped"):
        chain.send(escaping(chain, ledger.finalized, bytes(person(chain, 1).pubkey())))
    with refuses("NotEscaped"):
        chain.send(refunding(chain, chain.config.inbox.count - 1))


# -- it pays everything, from every state of a checkpoint ----------------------------------------------------------------------------


def nothing_posted(ledger: Ledger) -> None:
    add_entries(ledger)


def one_posted(ledger: Ledger) -> None:
    add_entries(ledger)
    ledger.post()


def one_finalized(ledger: Ledger) -> None:
    add_entries(ledger)
    ledger.settle()


def posted_on_finalized(ledger: Ledger) -> None:
    ledger.chain.deposit(SOL, person(ledger.chain, 4).pubkey())
    ledger.settle()
    add_entries(ledger)
    ledger.post()


def two_posted_on_finalized(ledger: Ledger) -> None:
    posted_on_finalized(ledger)
    add_entries(ledger)
    ledger.post()
    add_entries(ledger)


def with_status(ledger: Ledger, status: accounts.CheckpointStatus) -> None:
    """Written over, since what leads to these statuses is no part of this test: the hatch reads no Checkpoint."""
    posted_on_finalized(ledger)
    address = pda.checkpoint(ledger.chain.program_id, ledger.chain.config.highest_epoch)
    data = bytearray(ledger.chain.data(address))
    assert data[10] == accounts.CheckpointStatus.POSTED.value
    data[10] = status.value
    ledger.chain.overwrite(address, bytes(data))


def one_rejected(ledger: Ledger) -> None:
    with_status(ledger, accounts.CheckpointStatus.REJECTED)


def one_voided(ledger: Ledger) -> None:
    with_status(ledger, accounts.CheckpointStatus.VOIDED)


STATES = [
    nothing_posted,
    one_posted,
    one_finalized,
    posted_on_finalized,
    two_posted_on_finalized,
    one_rejected,
    one_voided,
]


@pytest.mark.parametrize("reach", STATES)
def test_everything_is_paid_to_the_last_lamport(chain: Chain, reach: Callable[[Ledger], None]) -> None:
    ledger = Ledger(chain)
    reach(ledger)
    entered = chain.config.inbox.lamports
    assert vault_holds(chain) == entered > 0
    escape(chain)
    ledger.pay_everyone()
    assert vault_holds(chain) == 0
    assert chain.config.claimed_total == chain.config.finalized.inbox_lamports


def test_what_was_claimed_before_is_not_paid_again(chain: Chain) -> None:
    ledger, first, second = busy(chain), person(chain, 1), person(chain, 2)
    add_entries(ledger)
    entered, claimed_before = chain.config.inbox.lamports, chain.config.claimed_total
    assert claimed_before == SOL // 2 and vault_holds(chain) == entered - claimed_before
    escape(chain)
    before = chain.lamports(first.pubkey()), chain.lamports(second.pubkey())
    ledger.pay_everyone()
    task, forced = 50_000, 10_000
    # Of 4 SOL the first had taken half a one out before.
    assert chain.lamports(first.pubkey()) - before[0] == 4 * SOL - SOL // 2 + task
    assert chain.lamports(second.pubkey()) - before[1] == 2 * SOL + forced
    assert (paid(chain, first), paid(chain, second)) == (4 * SOL, 2 * SOL)
    assert vault_holds(chain) == 0


def test_gifts_stay_and_block_nothing(chain: Chain) -> None:
    ledger = busy(chain)
    chain.svm.airdrop(pda.vault(chain.program_id), 77)
    escape(chain)
    ledger.pay_everyone()
    assert vault_holds(chain) == 77


# -- once, and to whom it belongs ----------------------------------------------------------------------------------------------------


def test_an_account_is_paid_once(chain: Chain) -> None:
    ledger, first = busy(chain), person(chain, 1)
    escape(chain)
    chain.send(escaping(chain, ledger.finalized, bytes(first.pubkey())))
    with refuses("EscapePaid"):
        chain.send(escaping(chain, ledger.finalized, bytes(first.pubkey())))


def test_an_account_without_anything_is_paid_nothing(chain: Chain) -> None:
    ledger, first = Ledger(chain), person(chain, 1)
    chain.deposit(SOL, first.pubkey())
    ledger.take()
    ledger.withdraw(first, SOL)
    ledger.settle()
    claim(ledger, first)
    escape(chain)
    with refuses("NothingToClaim"):
        chain.send(escaping(chain, ledger.finalized, bytes(first.pubkey())))


def test_an_entry_is_refunded_once(chain: Chain) -> None:
    ledger = busy(chain)
    add_entries(ledger)
    index = chain.config.inbox.count - 1
    escape(chain)
    chain.send(refunding(chain, index))
    assert entry(chain, index).refunded == 1
    with refuses("EntryRefunded"):
        chain.send(refunding(chain, index))


def test_an_entry_that_the_finalized_state_took_is_not_refunded(chain: Chain) -> None:
    ledger = busy(chain)
    add_entries(ledger)
    escape(chain)
    cursor = chain.config.finalized.inbox_cursor
    for index in range(cursor):
        with refuses("EntryTaken"):
            chain.send(refunding(chain, index))
    chain.send(refunding(chain, cursor))


def test_a_state_that_is_not_final_pays_nothing(chain: Chain) -> None:
    ledger, third = busy(chain), person(chain, 3)
    chain.deposit(SOL, third.pubkey())
    ledger.post()
    escape(chain)
    for owner in (third, person(chain, 1)):
        with refuses("BadProof"):
            chain.send(escaping(chain, ledger.state, bytes(owner.pubkey())))


def test_the_recipient_is_whom_it_belongs_to(chain: Chain) -> None:
    ledger, first, thief = busy(chain), person(chain, 1), person(chain, 9)
    chain.deposit(SOL, first.pubkey())
    index = chain.config.inbox.count - 1
    escape(chain)
    with refuses("WrongRecipient"):
        chain.send(refunding(chain, index, thief.pubkey()))
    built = escaping(chain, ledger.finalized, bytes(first.pubkey()))
    metas = list(built.accounts)
    metas[3] = type(metas[3])(thief.pubkey(), False, True)
    metas[4] = type(metas[4])(pda.claim(chain.program_id, bytes(thief.pubkey())), False, True)
    with refuses("WrongRecipient"):
        chain.send(type(built)(chain.program_id, bytes(built.data), metas))


def test_the_recipient_is_a_system_account(chain: Chain) -> None:
    ledger, first = busy(chain), person(chain, 1)
    chain.deposit(SOL, first.pubkey())
    escape(chain)
    chain.svm.set_account(first.pubkey(), L1Account(SOL, b"data", Keypair().pubkey(), False, 0))
    with refuses("RecipientNotSystem"):
        chain.send(refunding(chain, chain.config.inbox.count - 1))
    with refuses("RecipientNotSystem"):
        chain.send(escaping(chain, ledger.finalized, bytes(first.pubkey())))


def test_another_entry_or_claim_is_no_second_payment(chain: Chain) -> None:
    ledger, first, second = busy(chain), person(chain, 1), person(chain, 2)
    add_entries(ledger)
    cursor = chain.config.finalized.inbox_cursor
    escape(chain)
    built = refunding(chain, cursor)
    metas = list(built.accounts)
    metas[3] = type(metas[3])(pda.inbox_entry(chain.program_id, cursor + 1), False, True)
    with refuses("InstructionErrorFieldless.InvalidSeeds"):
        chain.send(type(built)(chain.program_id, bytes(built.data), metas))
    chain.send(escaping(chain, ledger.finalized, bytes(first.pubkey())))
    built = escaping(chain, ledger.finalized, bytes(first.pubkey()))
    metas = list(built.accounts)
    metas[4] = type(metas[4])(pda.claim(chain.program_id, bytes(second.pubkey())), False, True)
    with refuses("InstructionErrorFieldless.InvalidSeeds"):
        chain.send(type(built)(chain.program_id, bytes(built.data), metas))


def test_leaves_that_hold_more_than_was_taken_do_not_reach_the_refunds(chain: Chain) -> None:
    """A lying quorum's state gives a thief more than the inbox brought: those whose entries it had not taken lose nothing."""
    ledger, thief, honest = Ledger(chain), person(chain, 1), person(chain, 2)
    chain.deposit(SOL, thief.pubkey())
    ledger.take()
    ledger.state = ledger.state.with_account(replace(ledger.account(thief), balance=3 * SOL))
    ledger.settle()
    chain.deposit(2 * SOL, honest.pubkey())
    escape(chain)
    with refuses("EscapeAboveInbox"):
        chain.send(escaping(chain, ledger.finalized, bytes(thief.pubkey())))
    chain.send(refunding(chain, 1))
    assert vault_holds(chain) == SOL


def test_leaves_whose_sum_does_not_fit_are_refused(chain: Chain) -> None:
    ledger, thief = Ledger(chain), person(chain, 1)
    chain.deposit(SOL, thief.pubkey())
    ledger.take()
    lie = replace(ledger.account(thief), balance=2**64 - 1, locked_fees=2)
    ledger.state = ledger.state.with_account(lie)
    ledger.settle()
    escape(chain)
    with refuses("ArithmeticOverflow"):
        chain.send(escaping(chain, ledger.finalized, bytes(thief.pubkey())))


def test_the_state_before_epoch_1_pays_no_account(chain: Chain) -> None:
    chain.deposit(SOL, person(chain, 1).pubkey())
    escape(chain)
    forged = State.empty().with_account(Ledger(chain).state.account(bytes(20)) or forged_account(chain))
    with refuses("BadProof"):
        chain.send(escaping(chain, forged, bytes(person(chain, 1).pubkey())))
    chain.send(refunding(chain, 0))
    assert vault_holds(chain) == 0


def forged_account(chain: Chain) -> object:
    from settlement.ledger import Account

    return Account(bytes(person(chain, 1).pubkey()), balance=SOL)


def test_a_beneficiary_without_an_account_is_refunded(chain: Chain) -> None:
    stranger = Pubkey(bytes([5]) * 32)
    chain.deposit(SOL, stranger)
    escape(chain)
    chain.send(refunding(chain, 0))
    assert chain.lamports(stranger) == SOL
