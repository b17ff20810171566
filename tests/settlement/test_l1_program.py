"""The client against the committed program on the embedded L1: every builder agrees with the IDL, and a deployment comes up."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import dispute_instructions as dispute
from settlement import idl, inbox_instructions, instructions, messages, pda, slash_instructions, stake_instructions
from settlement.accounts import LOCALNET_PROFILE, MAX_VALIDATORS, Checkpoint
from settlement.bls import SecretKey, uncompressed_public_key
from settlement.errors import (
    AccountInvalid,
    AccountMissing,
    GenesisMismatch,
    NotInitialized,
    ProfileMismatch,
    ProgramError,
)
from settlement.events import decode_events
from settlement.instructions import CheckpointArgs
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator, staked_entries
from settlement.messages import CheckpointMessage, genesis_inbox_hash, genesis_parent, next_inbox_hash
from settlement.money import deposit

SOL = 1_000_000_000
STAKE = 5_000_000
PROGRAM = Pubkey(b"\x05" * 32)
A, B = Pubkey(b"\x06" * 32), Pubkey(b"\x07" * 32)
ROOT = bytes(32)
POST = CheckpointArgs(3, 0, 1, 2, ROOT, ROOT, ROOT, ROOT, 0, 9, bytes(32), bytes(96), bytes(480))
MESSAGE = CheckpointMessage(3, 0, 1, 2, *[ROOT] * 5, 0, 9, ROOT, ROOT)
CHECKPOINT = Checkpoint(**{field.name: 3 for field in fields(Checkpoint)})
PLACE = dispute.Proven(4, 9, [ROOT, ROOT])

BUILT = {
    "initialize": instructions.initialize(PROGRAM, A, B, ROOT, LOCALNET_PROFILE),
    "grow_registry": instructions.grow_registry(PROGRAM, A),
    "register_validator": instructions.register_validator(PROGRAM, A, B, bytes(48), bytes(96), bytes(480), 1),
    "create_validator_set": instructions.create_validator_set(PROGRAM, A, 1),
    "grow_validator_set": instructions.grow_validator_set(PROGRAM, A, 1),
    "advance_validator_set": instructions.advance_validator_set(PROGRAM, A, 1),
    "deposit": instructions.deposit(PROGRAM, A, 4, 10, B),
    "post_checkpoint": instructions.post_checkpoint(PROGRAM, A, 2, 8, POST),
    "finalize_checkpoint": instructions.finalize_checkpoint(PROGRAM, A, 3, B),
    "create_proof_buffer": instructions.create_proof_buffer(PROGRAM, A, 7, 64),
    "write_proof_buffer": instructions.write_proof_buffer(PROGRAM, A, 7, 0, b"x"),
    "close_proof_buffer": instructions.close_proof_buffer(PROGRAM, A, 7),
    "claim": instructions.claim(PROGRAM, A, bytes(B) + bytes(48), [bytes(32)] * 3),
    "record_receipt": slash_instructions.record_receipt(PROGRAM, A, ROOT, 1, MESSAGE, 1, bytes(96)),
    "close_receipt": slash_instructions.close_receipt(PROGRAM, A, ROOT),
    "slash_equivocation": slash_instructions.slash_equivocation(PROGRAM, A, B, 3, (A, B), (1, 2), (0, 0)),
    "raise_equivocation": slash_instructions.raise_equivocation(PROGRAM, A, B, 3),
    "slash_rejected": slash_instructions.slash_rejected(PROGRAM, A, B, 3, 1, 0),
    "add_signatures": slash_instructions.add_signatures(PROGRAM, A, 3, 1, ROOT, 1, bytes(96)),
    "reward_checkpoint": slash_instructions.reward_checkpoint(PROGRAM, A, 3, 2, 1, B),
    "join_registry": stake_instructions.join_registry(PROGRAM, A, B, A),
    "leave_registry": stake_instructions.leave_registry(PROGRAM, A, B),
    "delegate": stake_instructions.delegate(PROGRAM, A, B, A, 1),
    "unbond": stake_instructions.unbond(PROGRAM, A, B, A, 2, 3),
    "withdraw_unbonded": stake_instructions.withdraw_unbonded(PROGRAM, A, B, 2, 5),
    "close_stake_position": stake_instructions.close_stake_position(PROGRAM, A, B),
    "set_commission": stake_instructions.set_commission(PROGRAM, A, B, 7),
    "heartbeat": stake_instructions.heartbeat(PROGRAM, A, B),
    "collect_rewards": stake_instructions.collect_rewards(PROGRAM, A, B),
    "withdraw_commission": stake_instructions.withdraw_commission(PROGRAM, A, B),
    "jail_validator": stake_instructions.jail_validator(PROGRAM, A, B),
    "unjail": stake_instructions.unjail(PROGRAM, A, B),
    "stall_step": stake_instructions.stall_step(PROGRAM, A, 1, 2),
    "close_validator_set": stake_instructions.close_validator_set(PROGRAM, A, 1, B, None),
    "void_checkpoint": dispute.void_checkpoint(PROGRAM, A, 3, B),
    "close_checkpoint": dispute.close_checkpoint(PROGRAM, A, 3, B),
    "prove_malformed_record": dispute.prove_malformed_record(PROGRAM, A, CHECKPOINT, bytes(160), PLACE),
    "prove_inbox": dispute.prove_inbox(PROGRAM, A, CHECKPOINT, bytes(160), PLACE, 4),
    "prove_trace": dispute.prove_trace(PROGRAM, A, CHECKPOINT, ROOT, PLACE),
    "prove_totals": dispute.prove_totals(PROGRAM, A, CHECKPOINT, ROOT, [ROOT]),
    "prove_count": dispute.prove_count(PROGRAM, A, CHECKPOINT, dispute.Count(1, ROOT)),
    "prove_data": dispute.prove_data(PROGRAM, A, CHECKPOINT, B),
    "prove_transition": dispute.prove_transition(PROGRAM, A, CHECKPOINT, B),
    "open_demand": dispute.open_demand(PROGRAM, A, 3, 1, 5),
    "answer_demand": dispute.answer_demand(PROGRAM, A, CHECKPOINT, (1, 5), B, A),
    "answer_absent": dispute.answer_absent(PROGRAM, A, CHECKPOINT, (1, 5), B, dispute.Count(1, ROOT)),
    "timeout_demand": dispute.timeout_demand(PROGRAM, A, CHECKPOINT, (1, 5), B),
    "return_demand": dispute.return_demand(PROGRAM, A, 3, (1, 5), B),
    "grow_proof_buffer": dispute.grow_proof_buffer(PROGRAM, A, 7, 96),
    "propose_parameters": dispute.propose_parameters(PROGRAM, A, B, LOCALNET_PROFILE),
    "apply_parameters": dispute.apply_parameters(PROGRAM, A, B),
    "cancel_parameters": dispute.cancel_parameters(PROGRAM, A, B),
    "pause": dispute.pause(PROGRAM, A),
    "unpause": dispute.unpause(PROGRAM, A),
    "offer_governance": dispute.offer_governance(PROGRAM, A, B),
    "accept_governance": dispute.accept_governance(PROGRAM, A),
    "grant": dispute.grant(PROGRAM, A, B, 4, 10, A),
    "inbox_task": inbox_instructions.inbox_task(
        PROGRAM, A, 4, lamports=10, spec_hash=ROOT, deadline_slot=9, max_fee_lamports=1
    ),
    "inbox_withdrawal": inbox_instructions.inbox_withdrawal(
        PROGRAM, A, 4, lamports=10, withdraw_lamports=5, max_fee_lamports=1
    ),
    "escape": inbox_instructions.escape(PROGRAM, A),
    "escape_refund": inbox_instructions.escape_refund(PROGRAM, A, 4, B),
    "escape_claim": inbox_instructions.escape_claim(PROGRAM, A, bytes(B) + bytes(48), [bytes(32)] * 3),
}


def test_every_instruction_of_the_program_has_a_builder():
    assert set(BUILT) == set(idl.committed().instruction_names)


@pytest.mark.parametrize("name", BUILT)
def test_a_builder_makes_the_instruction_of_its_name(name):
    decoded, _ = idl.committed().decode_args(bytes(BUILT[name].data))
    assert decoded == name


@pytest.mark.parametrize("name", BUILT)
def test_derived_addresses_are_those_that_the_idl_states(name):
    """The IDL gives the seeds of most derived accounts; pda.py must agree with each."""
    spec = idl.committed().instruction(name)
    _, args = idl.committed().decode_args(bytes(BUILT[name].data))
    metas = {account.name: meta for account, meta in zip(spec.accounts, BUILT[name].accounts, strict=True)}
    for account in spec.accounts:
        if account.pda is None:
            continue
        seeds = []
        for seed in account.pda["seeds"]:
            if seed["kind"] == "const":
                seeds.append(bytes(seed["value"]))
            elif seed["kind"] == "arg":
                seeds.append(args[seed["path"]].to_bytes(8, "little"))
            else:
                seeds.append(bytes(metas[seed["path"]].pubkey))
        assert metas[account.name].pubkey == Pubkey.find_program_address(seeds, PROGRAM)[0], account.name


def test_the_committed_program_carries_the_documented_id():
    assert idl.committed().address == pda.localnet_program_id()


def test_a_post_takes_the_entry_before_the_cursor_only_if_it_moves():
    names = [account.name for account in idl.committed().instruction("post_checkpoint").accounts]
    at = names.index("last_entry")
    assert BUILT["post_checkpoint"].accounts[at].pubkey == pda.inbox_entry(PROGRAM, 8)
    still = instructions.post_checkpoint(PROGRAM, A, 2, 9, POST)
    assert still.accounts[at].pubkey == PROGRAM
    assert still.accounts[names.index("next_entry")].pubkey == pda.inbox_entry(PROGRAM, 9)


# -- on the embedded L1


@pytest.mark.both_l1
async def test_a_deployment_comes_up_and_can_be_set_up_again(l1):
    client, domain = l1.client, await l1.client.domain()
    with pytest.raises(NotInitialized, match="pouw init"):
        await client.check_cluster()

    config = await ensure_initialized(client, l1.authority, l1.rich)
    assert config.parameters == LOCALNET_PROFILE
    assert config.authority == l1.authority.pubkey()
    assert config.inbox.hash == genesis_inbox_hash(domain)
    assert config.posted.hash == config.finalized.hash == genesis_parent(domain)
    assert await ensure_initialized(client, l1.authority, l1.rich) == config
    registry = await client.fetch_registry()
    assert (registry.count, registry.slots, registry.size_bytes) == (0, (), registry.full_bytes)

    secrets = [SecretKey.generate() for _ in range(3)]
    authorities = [Keypair() for _ in range(3)]
    for authority, secret in zip(authorities, secrets, strict=True):
        slot = await register_validator(client, l1.rich, authority, secret, STAKE)
        assert await register_validator(client, l1.rich, authority, secret, STAKE) == slot
    registry = await client.fetch_registry()
    assert [(s.index, s.authority, s.bls_public_key, s.stake_lamports) for s in registry.slots] == [
        (i, a.pubkey(), uncompressed_public_key(s.public_key), STAKE)
        for i, (a, s) in enumerate(zip(authorities, secrets, strict=True))
    ]
    with pytest.raises(AccountInvalid, match="another BLS key"):
        await register_validator(client, l1.rich, authorities[0], SecretKey.generate(), STAKE)

    sealed = await advance_validator_set(client, l1.rich, l1.authority)
    assert (sealed.set_version, sealed.count, sealed.total_stake_lamports) == (1, 3, 3 * STAKE)
    assert sealed.validator_set.entries == staked_entries(registry)
    assert sealed.validator_set.hash(domain) == sealed.set_hash
    assert (await client.fetch_config()).pinned.hash == sealed.set_hash
    assert (await advance_validator_set(client, l1.rich, l1.authority)).set_version == 1
    assert (await advance_validator_set(client, l1.rich, l1.authority, force=True)).set_version == 2


async def test_set_up_goes_on_where_it_was_broken_off(l1):
    client = l1.client
    genesis = await client.genesis_hash()
    payer, program = l1.rich.pubkey(), l1.program_id
    await client.send_and_confirm(
        [instructions.initialize(program, payer, l1.authority.pubkey(), genesis, LOCALNET_PROFILE)],
        l1.rich,
        [l1.authority],
    )
    await client.send_and_confirm([instructions.grow_registry(program, payer)], l1.rich)
    await ensure_initialized(client, l1.authority, l1.rich)
    await register_validator(client, l1.rich, Keypair(), SecretKey.generate(), STAKE)

    await client.send_and_confirm([instructions.create_validator_set(program, payer, 1)], l1.rich)
    await client.send_and_confirm([instructions.grow_validator_set(program, payer, 1)], l1.rich)
    half = await client.fetch_validator_set(1)
    assert half is not None
    assert not half.sealed
    sealed = await advance_validator_set(client, l1.rich, l1.authority)
    assert (sealed.set_version, sealed.size_bytes) == (1, sealed.full_bytes)
    assert sealed.full_bytes - MAX_VALIDATORS * 136 == half.full_bytes - MAX_VALIDATORS * 136 > 0


@pytest.mark.both_l1
async def test_refusals_carry_their_name_and_message(l1):
    client, stranger = l1.client, await l1.funded()
    with pytest.raises(ProgramError) as caught:
        await ensure_initialized(client, stranger, l1.rich)
    assert (caught.value.name, caught.value.landed) == ("NotUpgradeAuthority", False)
    assert "upgrade authority" in str(caught.value)

    with pytest.raises(ProgramError) as caught:
        await ensure_initialized(client, l1.authority, l1.rich, replace(LOCALNET_PROFILE, min_validators=0))
    assert caught.value.name == "BadMinValidators"

    await ensure_initialized(client, l1.authority, l1.rich)
    with pytest.raises(ProgramError) as caught:
        await register_validator(client, l1.rich, Keypair(), SecretKey.generate(), 1)
    assert caught.value.name == "StakeBelowMinimum"
    with pytest.raises(ProgramError) as caught:
        await advance_validator_set(client, l1.rich, l1.authority)
    assert caught.value.name == "TooFewValidators"


async def test_another_profile_or_cluster_is_refused_by_name(l1, monkeypatch):
    await ensure_initialized(l1.client, l1.authority, l1.rich)
    with pytest.raises(ProfileMismatch) as caught:
        await ensure_initialized(l1.client, l1.authority, l1.rich, replace(LOCALNET_PROFILE, stall_slots=1_501))
    assert (caught.value.parameter, caught.value.on_chain, caught.value.expected) == ("stall_slots", 1_500, 1_501)
    # The same chain, seen by a client that is told another genesis hash.
    monkeypatch.setattr(l1.client, "_genesis_hash", b"\x01" * 32)
    with pytest.raises(GenesisMismatch, match="01010101"):
        await l1.client.check_cluster()


async def test_deposits_stand_in_the_inbox_as_the_protocol_hashes_them(l1):
    client, domain = l1.client, await l1.client.domain()
    await ensure_initialized(client, l1.authority, l1.rich)
    depositor, beneficiary = await l1.funded(), Keypair().pubkey()
    vault_before = await client.get_balance(pda.vault(l1.program_id))
    first = await deposit(client, depositor, SOL, beneficiary)
    second = await deposit(client, depositor, 2 * SOL)
    assert (first.index, second.index) == (0, 1)
    assert await client.get_balance(pda.vault(l1.program_id)) == vault_before + 3 * SOL

    running, total = genesis_inbox_hash(domain), 0
    for entry, owner in zip(await client.fetch_inbox_entries(0, 2), (beneficiary, depositor.pubkey()), strict=True):
        assert entry.payload_hash == messages.deposit_payload_hash(bytes(owner))
        running, total = next_inbox_hash(running, entry.entry), total + entry.lamports
        assert (entry.hash_after, entry.lamports_after, entry.beneficiary) == (running, total, owner)
    config = await client.fetch_config()
    assert (config.inbox.count, config.inbox.lamports, config.inbox.hash) == (2, total, running)
    with pytest.raises(AccountMissing, match="inbox entry"):
        await client.fetch_inbox_entries(1, 3)
    with pytest.raises(ProgramError) as caught:
        await deposit(client, depositor, 9_999)
    assert caught.value.name == "DepositBelowMinimum"


async def test_a_deposit_that_was_overtaken_is_built_again(l1, monkeypatch):
    client = l1.client
    await ensure_initialized(client, l1.authority, l1.rich)
    depositor, fetch, overtaken = await l1.funded(), client.fetch_config, []

    async def fetch_then_be_overtaken(commitment=None):
        config = await fetch(commitment)
        if not overtaken:
            overtaken.append(True)
            await client.send_and_confirm([instructions.deposit(l1.program_id, l1.rich.pubkey(), 0, SOL, A)], l1.rich)
        return config

    monkeypatch.setattr(client, "fetch_config", fetch_then_be_overtaken)
    assert (await deposit(client, depositor, SOL)).index == 1
    monkeypatch.undo()
    assert (await client.fetch_config()).inbox.lamports == 2 * SOL


@pytest.mark.both_l1
async def test_events_are_read_from_the_logs(l1):
    client = l1.client
    await ensure_initialized(client, l1.authority, l1.rich)
    confirmed = await client.send_and_confirm(
        [instructions.deposit(l1.program_id, l1.rich.pubkey(), 0, SOL, A)], l1.rich
    )
    (event,) = decode_events(confirmed.logs, l1.program_id)
    assert event.name == "Deposited"
    assert event.fields == {"index": 0, "slot": confirmed.slot, "lamports": SOL, "beneficiary": A}
    assert decode_events(confirmed.logs, A) == []
    assert decode_events([line for line in confirmed.logs if "invoke" not in line], l1.program_id) == []


async def test_nothing_is_there_before_it_is(l1):
    assert await l1.client.fetch_checkpoint(1) is None
    assert await l1.client.fetch_validator_set(1) is None
    assert await l1.client.fetch_claimed(bytes(A)) == 0
    assert await l1.client.fetch_proof_buffer(A, 1) is None


async def test_an_account_of_another_program_is_not_believed(l1):
    """Somebody sends lamports to a derived address: that is no account yet, and no error."""
    await l1.client.request_airdrop(pda.checkpoint(l1.program_id, 1), SOL)
    assert await l1.client.fetch_checkpoint(1) is None
    with pytest.raises(AccountInvalid, match="is owned by"):
        await type(l1.client)._owned(l1.client, l1.program_id, "confirmed")
