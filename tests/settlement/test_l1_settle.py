"""Money through L1 and back by our client: deposit, a certified checkpoint, its finalization, claims inline and through a buffer."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair

from settlement import instructions, pda
from settlement.accounts import CheckpointStatus
from settlement.errors import ProgramError, TransactionTooLarge
from settlement.ledger.leaves import Account, LeafKind, account_key
from settlement.ledger.state import verify_proof
from settlement.money import claim
from settlement.tags import H
from tests.settling import SOL, Settling, begin


def state_root(leaf: Account, siblings: list[bytes]) -> bytes:
    """The root that these siblings (from the root down) lead to, by docs/protocol.md, section 7."""
    key = account_key(leaf.node)
    value = H("state-leaf", key, H("account", leaf.encode()))
    for depth in reversed(range(len(siblings))):
        right = key[depth // 8] >> (7 - depth % 8) & 1
        value = H("state-node", siblings[depth], value) if right else H("state-node", value, siblings[depth])
    assert verify_proof(value, key, LeafKind.ACCOUNT, leaf.encode(), siblings)
    return value


@pytest.fixture
async def settling(l1) -> Settling:
    return await begin(l1)


@pytest.mark.both_l1
async def test_what_the_finalized_state_owes_is_paid_once(settling):
    client, payer, owed = settling.l1.client, settling.l1.rich, Keypair().pubkey()
    short = [bytes([i]) * 32 for i in range(3)]
    leaf = Account(bytes(owed), balance=5, payable=SOL // 4)
    message = await settling.post(state_root(leaf, short), SOL // 4)
    with pytest.raises(ProgramError) as caught:
        await claim(client, payer, leaf.encode(), short)
    assert caught.value.name == "BadProof", "a posted state is not yet money"
    await settling.finalize(message.epoch)
    config = await client.fetch_config()
    assert (config.finalized.epoch, config.finalized.state_root) == (message.epoch, message.state_root)
    stored = await client.fetch_checkpoint(message.epoch)
    assert stored.hash == message.hash(await client.domain())
    assert (stored.status, stored.results_root, stored.poster) == (
        CheckpointStatus.FINALIZED,
        message.results_root,
        payer.pubkey(),
    )

    done = await claim(client, payer, leaf.encode(), short)
    assert (done.public_key, done.lamports, done.claimed_total_lamports) == (owed, SOL // 4, SOL // 4)
    assert await client.get_balance(owed) == SOL // 4
    assert await client.fetch_claimed(bytes(owed)) == SOL // 4
    with pytest.raises(ProgramError) as caught:
        await claim(client, payer, leaf.encode(), short)
    assert caught.value.name == "NothingToClaim"

    # The next epoch owes more, and the proof has 64 siblings: too many for a transaction, so they go through a buffer.
    long = [bytes([i]) * 32 for i in range(64)]
    leaf = Account(bytes(owed), balance=5, payable=SOL)
    await settling.finalize((await settling.post(state_root(leaf, long), SOL)).epoch)
    with pytest.raises(TransactionTooLarge):
        await client.sign([instructions.claim(client.program_id, payer.pubkey(), leaf.encode(), long)], payer)

    # A first run that was broken off after the buffer's first part.
    first_part = b"".join(long)[:896]
    buffer_id = _buffer_id(leaf.encode(), long)
    await client.send_and_confirm(
        [instructions.create_proof_buffer(client.program_id, payer.pubkey(), buffer_id, 64 * 32)], payer
    )
    await client.send_and_confirm(
        [instructions.write_proof_buffer(client.program_id, payer.pubkey(), buffer_id, 0, first_part)], payer
    )
    found = await client.fetch_proof_buffer(payer.pubkey(), buffer_id)
    assert (found.length, found.data[:896], found.data[896:]) == (2_048, first_part, bytes(1_152))

    done = await claim(client, payer, leaf.encode(), long)
    assert (done.lamports, done.claimed_total_lamports) == (SOL - SOL // 4, SOL)
    assert await client.get_balance(owed) == SOL
    assert await client.fetch_proof_buffer(payer.pubkey(), buffer_id) is None
    assert await client.get_balance(pda.proof_buffer(client.program_id, payer.pubkey(), buffer_id)) == 0


def _buffer_id(value: bytes, siblings: list[bytes]) -> int:
    from hashlib import sha256

    return int.from_bytes(sha256(value + b"".join(siblings)).digest()[:8], "little")


async def test_a_buffer_does_not_stay_behind_a_refused_claim(settling):
    client, payer = settling.l1.client, settling.l1.rich
    long = [bytes([i]) * 32 for i in range(64)]
    leaf = Account(bytes(Keypair().pubkey()), payable=1)
    with pytest.raises(ProgramError) as caught:
        await claim(client, payer, leaf.encode(), long)
    assert caught.value.name == "BadProof"
    assert await client.fetch_proof_buffer(payer.pubkey(), _buffer_id(leaf.encode(), long)) is None
