"""Grants: governance pays an L2 account from the treasury, as a deposit that the ledger takes like any other."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import dispute_instructions as build
from settlement import messages, pda
from settlement.messages import InboxKind
from tests.program.inbox_kit import Ledger, entry, escape, person, refunding, vault_holds
from tests.program.kit import SOL, Chain, refuses

LEAST = 10_000


def treasury(chain: Chain) -> int:
    """What the treasury holds above its rent."""
    held = chain.lamports(pda.treasury(chain.program_id))
    return held - int(chain.svm.minimum_balance_for_rent_exemption(0))


def fill_treasury(chain: Chain, lamports: int = SOL) -> None:
    chain.svm.airdrop(pda.treasury(chain.program_id), lamports)


def grant(chain: Chain, lamports: int, beneficiary: Pubkey, governance: Keypair | None = None) -> int:
    """Returns the transaction's fee."""
    governance = governance or chain.authority
    count, payer = chain.config.inbox.count, chain.payer.pubkey()
    made = build.grant(chain.program_id, payer, governance.pubkey(), count, lamports, beneficiary)
    return chain.send(made, signers=[governance]).fee()


def test_a_grant_is_a_deposit_that_the_treasury_pays(chain: Chain) -> None:
    fill_treasury(chain)
    chain.deposit(LEAST, chain.payer.pubkey())
    owner = person(chain, 1).pubkey()
    held, vault, paid = treasury(chain), vault_holds(chain), chain.lamports(chain.payer.pubkey())
    fee = grant(chain, 123_456, owner)
    made = entry(chain, 1)
    assert (made.kind, made.lamports, made.beneficiary, made.slot) == (InboxKind.DEPOSIT, 123_456, owner, chain.slot)
    assert made.payload_hash == messages.deposit_payload_hash(bytes(owner))
    assert made.hash_after == messages.next_inbox_hash(entry(chain, 0).hash_after, made.entry)
    config = chain.config
    assert (config.inbox.count, config.inbox.lamports) == (2, LEAST + 123_456)
    assert config.inbox.hash == made.hash_after
    # Conserved: the treasury has less what the vault has more; the payer paid the entry's rent and the fee alone.
    assert (treasury(chain), vault_holds(chain)) == (held - 123_456, vault + 123_456)
    assert paid - chain.lamports(chain.payer.pubkey()) == fee + chain.lamports(pda.inbox_entry(chain.program_id, 1))


def test_the_ledger_credits_it_and_the_beneficiary_is_paid(chain: Chain) -> None:
    fill_treasury(chain)
    owner, ledger = person(chain, 1), Ledger(chain)
    grant(chain, 70_000, owner.pubkey())
    ledger.take()
    assert ledger.account(owner).balance == 70_000
    ledger.withdraw(owner, 70_000)
    ledger.settle()
    assert chain.config.finalized.payable_total == 70_000 == chain.config.finalized.inbox_lamports


def test_the_treasury_gives_all_that_it_has_and_not_a_lamport_more(chain: Chain) -> None:
    fill_treasury(chain)
    owner, held = person(chain, 1).pubkey(), treasury(chain)
    with refuses("GrantAboveTreasury"):
        grant(chain, held + 1, owner)
    with refuses("ArithmeticOverflow"):
        grant(chain, 2**64 - 1, owner)
    grant(chain, held, owner)
    assert (treasury(chain), vault_holds(chain)) == (0, held)
    with refuses("GrantAboveTreasury"):
        grant(chain, LEAST, owner)


def test_only_governance_grants(chain: Chain) -> None:
    fill_treasury(chain)
    with refuses("NotGovernance"):
        grant(chain, LEAST, person(chain, 1).pubkey(), person(chain, 2))


def test_a_grant_is_no_smaller_than_a_deposit(chain: Chain) -> None:
    fill_treasury(chain)
    with refuses("DepositBelowMinimum"):
        grant(chain, LEAST - 1, person(chain, 1).pubkey())


def test_another_entry_came_first(chain: Chain) -> None:
    fill_treasury(chain)
    governance, payer = chain.authority, chain.payer.pubkey()
    made = build.grant(chain.program_id, payer, governance.pubkey(), 0, LEAST, payer)
    chain.deposit(LEAST, payer)
    with refuses("WrongInboxEntry"):
        chain.send(made, signers=[governance])


@pytest.mark.parametrize("is_taken", [False, True])
def test_after_the_escape(chain: Chain, is_taken: bool) -> None:
    """Nothing is granted any more; what was granted and not taken goes to its beneficiary, once."""
    fill_treasury(chain)
    owner = person(chain, 1)
    grant(chain, LEAST, owner.pubkey())
    if is_taken:
        Ledger(chain).settle()
    escape(chain)
    with refuses("Escaped"):
        grant(chain, LEAST, owner.pubkey())
    if is_taken:
        with refuses("EntryTaken"):
            chain.send(refunding(chain, 0))
        return
    before = chain.lamports(owner.pubkey())
    chain.send(refunding(chain, 0))
    assert (chain.lamports(owner.pubkey()), vault_holds(chain)) == (before + LEAST, 0)
    with refuses("EntryRefunded"):
        chain.send(refunding(chain, 0))
