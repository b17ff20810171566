"""Strikes before anything can write one: their entries are written over real ones in the SVM, the way the game of exact results will leave
them; everything after that is real. And steps of exact results before the real program."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.account import Account as L1Account
from solders.keypair import Keypair

from sequencer.l1_view import deposit_row
from settlement import dispute_instructions, evidence, idl, inbox, messages, pda, records
from settlement.accounts import CheckpointStatus, InboxEntryAccount, decode_inbox_entry
from settlement.errors import AccountInvalid
from settlement.ledger import (
    RESULT_HOLD_SLOTS,
    Context,
    Parent,
    State,
    Task,
    TaskStatus,
    apply,
    batch,
    check_batch,
)
from settlement.messages import InboxKind
from settlement.records import Event, Kind, Mode
from settlement.signing import EMPTY, node_id
from settlement.strike_accounts import decode_strike
from settlement.tags import u64le
from tests.program.dispute_kit import context_of
from tests.program.inbox_kit import Ledger, entry, escape, force_withdrawal, person, refunding, vault_holds
from tests.program.kit import Chain, refuses
from tests.program.test_transition_random import EPOCH, Court
from tests.settlement import exact_steps, kit, random_steps
from tests.settlement.steps import run, step

TASK_ID, RESULT = kit.filler("a task"), kit.filler("a result")
CONFIG_INBOX = 8 + 344
ENTRY_BYTES = 8 + 176
KIND, PAYLOAD, HASH_AFTER, NUMBER, REFERENCE = 8 + 2, 8 + 32, 8 + 96, 8 + 136, 8 + 144


def strike_by_overwriting(chain: Chain, challenger: Keypair, share: int = 1_000) -> InboxEntryAccount:
    """The next entry as the game would write it: a forced withdrawal that brings as much, turned into a strike, with Config's inbox hash."""
    index, before = chain.config.inbox.count, chain.config.inbox.hash
    force_withdrawal(chain, challenger, withdraw_lamports=0)
    address = pda.inbox_entry(chain.program_id, index)
    data = bytearray(chain.data(address))
    payload = messages.strike_payload_hash(bytes(challenger.pubkey()), share, TASK_ID, RESULT)
    data[KIND] = InboxKind.STRIKE
    data[PAYLOAD : PAYLOAD + 32] = payload
    data[NUMBER : NUMBER + 8] = u64le(share)
    data[REFERENCE : REFERENCE + 32] = TASK_ID
    written = decode_inbox_entry(address, bytes(data) + RESULT)
    hash_after = messages.next_inbox_hash(before, written.entry)
    data[HASH_AFTER : HASH_AFTER + 32] = hash_after
    assert len(data) == ENTRY_BYTES
    old = chain.svm.get_account(address)
    assert old is not None
    chain.svm.set_account(address, L1Account(old.lamports, bytes(data) + RESULT, old.owner, False, old.rent_epoch))
    config = bytearray(chain.data(pda.config(chain.program_id)))
    config[CONFIG_INBOX + 16 : CONFIG_INBOX + 48] = hash_after
    chain.overwrite(pda.config(chain.program_id), bytes(config))
    assert chain.config.inbox.hash == entry(chain, index).hash_after == hash_after
    return entry(chain, index)


def holding(chain: Chain, client: Keypair, worker: Keypair) -> Ledger:
    """A ledger whose finalized state holds a result of `worker` for `client`, with money that really is in the vault."""
    ledger = Ledger(chain)
    for owner in (client, worker):
        chain.deposit(3_000_000, owner.pubkey())
    ledger.take()
    ledger.lock_stake(worker, 2_000_000)
    pledged = replace(ledger.account(worker), pledged_stake=1_000_000)
    account, totals = ledger.account(client), ledger.state.totals
    locked = replace(account, balance=account.balance - 50_000, locked_fees=50_000)
    moved = replace(totals, balance=totals.balance - 50_000, locked=totals.locked + 50_000)
    held = Task(account.node, Kind.TRAINING, Mode.EXACT, TaskStatus.HELD, 50_000, 2**64 - 1, pledged.node)
    held = replace(held, result_hash=RESULT, verdict_epoch=1, accept_bitmap=0b1111)
    state = ledger.state.with_account(pledged).with_account(locked).with_totals(moved)
    ledger.state = state.with_task(TASK_ID, held)
    ledger.settle()
    return ledger


def test_the_ledger_takes_a_strike_that_l1_holds(chain: Chain) -> None:
    """Through a real checkpoint: the fee is the client's again, the stake goes to challenger and treasury, every lamport can be had."""
    client, worker, challenger = (person(chain, seed) for seed in (1, 2, 3))
    ledger = holding(chain, client, worker)
    strike_by_overwriting(chain, challenger)
    ledger.settle()
    task = ledger.state.task(TASK_ID)
    assert task is not None and task.status is TaskStatus.STRUCK
    shown = ledger.account(client), ledger.account(worker), ledger.account(challenger)
    assert [account.balance for account in shown] == [3_000_000, 1_000_000, 10_000]
    assert (shown[0].locked_fees, shown[1].locked_stake, shown[1].pledged_stake) == (0, 1_000_000, 0)
    assert shown[2].payable == 100_000
    treasury = ledger.state.account(node_id(ledger.context.treasury))
    assert treasury is not None and treasury.payable == 900_000
    assert chain.config.finalized.payable_total == 1_000_000
    escape(chain)
    ledger.pay_everyone()
    assert vault_holds(chain) == 0


def test_a_held_result_is_no_obstacle_to_the_escape(chain: Chain) -> None:
    """Nothing is held on L1: the client has the fee, the worker its whole stake, the challenger what an entry that was not taken brought."""
    client, worker, challenger = (person(chain, seed) for seed in (1, 2, 3))
    ledger = holding(chain, client, worker)
    strike_by_overwriting(chain, challenger)
    escape(chain)
    before = {owner.pubkey(): chain.lamports(owner.pubkey()) for owner in (client, worker, challenger)}
    ledger.pay_everyone()
    paid = [chain.lamports(owner) - lamports for owner, lamports in before.items()]
    assert paid == [3_000_000, 3_000_000, 10_000] and vault_holds(chain) == 0
    assert entry(chain, 2).refunded == 1
    with refuses("EntryRefunded"):
        chain.send(refunding(chain, 2))


def test_sequencer_and_validator_take_a_strike_that_was_written_over_an_entry(chain: Chain) -> None:
    written = strike_by_overwriting(chain, person(chain, 3))
    row = deposit_row(chain.domain, written, messages.genesis_inbox_hash(chain.domain), 1_790_000_000)
    assert row is not None and row.kind == InboxKind.STRIKE
    record = records.decode(row.record)
    assert record == inbox.record_of(chain.domain, written, 1_790_000_000)
    event = records.inbox_event(record)
    assert event is not None and event.event is Event.STRIKE
    assert (record.task, event.spec_hash, event.number, event.lamports) == (TASK_ID, RESULT, 1_000, 10_000)
    assert record.node == node_id(bytes(written.beneficiary))
    context = context_of(chain)
    parent = Parent.genesis(chain.domain)
    roots = batch.close(parent.state, [record], [EMPTY], context)
    chain.advance(1)
    told = chain.message(
        results_root=roots.results_root,
        trace_root=roots.trace_root,
        data_root=roots.data_root,
        state_root=roots.state.root,
        inbox_cursor=1,
    )
    assert told.inbox_hash == written.hash_after
    assert check_batch(parent, told, roots.data, context).state.root == roots.state.root


def test_a_strike_is_made_of_no_entry_that_its_hash_does_not_bind(chain: Chain) -> None:
    written = strike_by_overwriting(chain, person(chain, 3))
    for lie in ({"number": 1}, {"reference": bytes(32)}, {"result_hash": bytes(32)}):
        with pytest.raises(ValueError, match="not what its payload hash says"):
            inbox.record_of(chain.domain, replace(written, **lie), 0)  # type: ignore[arg-type]
    address = pda.inbox_entry(chain.program_id, 0)
    with pytest.raises(AccountInvalid, match="result hash of 32 bytes, not 31"):
        decode_inbox_entry(address, chain.data(address)[:-1])


@pytest.mark.parametrize("lie", ["share", "result", "kind", "none"])
def test_a_batch_that_says_something_else_of_a_strike_falls(chain: Chain, lie: str) -> None:
    """prove_inbox knows the kind: it takes the right record, and no other."""
    written = strike_by_overwriting(chain, person(chain, 3))
    record = inbox.record_of(chain.domain, written, 0)
    payload = record.payload
    changed = {
        "share": lambda: replace(payload, number=1),  # type: ignore[arg-type]
        "result": lambda: replace(payload, spec_hash=kit.filler("other")),  # type: ignore[arg-type]
        "kind": lambda: replace(payload, event=Event.FORCED_WITHDRAWAL, spec_hash=bytes(32)),  # type: ignore[arg-type]
        "none": lambda: payload,
    }[lie]()
    told = replace(record, payload=changed)
    roots = batch.close(State.empty(), [told], [EMPTY], context_of(chain))
    chain.advance(1)
    checkpoint = chain.checkpoint(
        chain.post(results_root=roots.results_root, state_root=roots.state.root, inbox_cursor=1).epoch
    )
    encoded = [records.encode(told)]
    payer, place = chain.payer.pubkey(), evidence.prove(encoded, 0)
    proof = dispute_instructions.prove_inbox(chain.program_id, payer, checkpoint, encoded[0], place, 0)
    if lie == "none":
        with refuses("NoFraud"):
            chain.send(proof)
    else:
        chain.send(proof)
        assert chain.checkpoint(checkpoint.epoch).status is CheckpointStatus.REJECTED


def test_the_strike_account_is_decoded_by_its_idl(chain: Chain) -> None:
    discriminator = next(one for one in idl.committed().raw["accounts"] if one["name"] == "Strike")["discriminator"]
    challenger = Keypair.from_seed(b"c" * 32).pubkey()
    head = bytes([1, 250, 0, 0]) + kit.node("worker") + TASK_ID + RESULT
    data = bytes(discriminator) + head + u64le(4) + bytes(challenger) + u64le(1_000) + u64le(5) + u64le(77)
    found = decode_strike(pda.strike(chain.program_id, TASK_ID, 4), data)
    assert (found.task_id, found.result_hash, found.epoch, found.worker) == (TASK_ID, RESULT, 4, kit.node("worker"))
    assert (found.challenger, found.share_basis_points, found.inbox_index, found.slot) == (challenger, 1_000, 5, 77)
    assert pda.strike(chain.program_id, TASK_ID, 4) != pda.strike(chain.program_id, TASK_ID, 5)


@pytest.fixture
def court(monkeypatch: pytest.MonkeyPatch) -> Court:
    made = Court()
    monkeypatch.setattr(kit, "DOMAIN", made.chain.domain)
    return made


def held(context: Context) -> State:
    """As exact_steps.held(), in the court's own context, one epoch earlier."""
    task_id = kit.task_id("client", 0)
    made = (
        kit.deposit("client", 10_000_000, 0),
        kit.deposit("worker", 10_000_000, 1),
        kit.registration("worker", stake=2_000_000),
        kit.submission("client", mode=Mode.EXACT),
        kit.result("worker", 1, task_id),
        *(kit.vote(index, task_id) for index in range(3)),
        kit.hold("worker", task_id),
    )
    return run(State.empty(), *made, context=replace(context, epoch=EPOCH - 1))


def test_the_program_judges_releases_and_strikes(court: Court) -> None:
    context = replace(context_of(court.chain), epoch=EPOCH, base_slot=0, validator_set=random_steps.VALIDATORS)
    state, task_id = held(context), kit.task_id("client", 0)
    scheduled = run(state, kit.schedule("worker", task_id), context=replace(context, base_slot=0))
    payment, strike = kit.payment("worker", task_id), kit.strike("challenger", 7, 2, task_id)
    late = replace(context, base_slot=RESULT_HOLD_SLOTS)
    early = replace(context, base_slot=RESULT_HOLD_SLOTS - 1)
    assert court.outcome(step("a release in its slot", scheduled, payment, context=late)) == "NoFraud"
    assert court.outcome(step("a release one slot early", scheduled, payment, context=early)) == ""
    assert court.outcome(step("a payment of what is held", state, payment, context=late)) == ""
    assert court.outcome(step("a release slot", state, kit.schedule("worker", task_id), context=context)) == "NoFraud"
    honest = step("a strike", state, strike, context=context)
    assert court.outcome(honest) == "NoFraud"
    credit = replace(strike, payload=replace(strike.payload, spec_hash=kit.filler("other")))
    spared = replace(honest, name="a strike that only credits", after=apply(state, credit, context).root)
    assert court.outcome(spared) == ""
    struck = run(state, strike, context=context)
    assert court.outcome(step("a payment of what is struck", struck, payment, context=late)) == ""


def test_the_step_of_eight_strikes_fits_the_program(court: Court) -> None:
    """34 leaves: heap and stack of the real machine hold them."""
    context = replace(context_of(court.chain), epoch=EPOCH, base_slot=0, validator_set=random_steps.VALIDATORS)
    crowd = exact_steps.crowd(context)
    assert court.outcome(crowd) == "NoFraud"
    assert court.outcome(replace(crowd, after=crowd.before)) == ""
