"""claim and the proof buffers: what the finalized state owes is paid once, to the leaf's key, out of a vault that stays rent-exempt."""

from __future__ import annotations

from hashlib import sha256

import pytest
from solders.account import Account as L1Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import accounts, dispute_instructions, instructions, pda
from settlement.ledger import Account, State, Totals
from settlement.tags import H
from tests.program.kit import SOL, Chain, refuses

INLINE_SIBLINGS = 20


def leaf_of(account: Account) -> tuple[bytes, bytes]:
    """Key and hash of an account's leaf, written down again from docs/protocol.md, section 7."""
    key = H("account-key", sha256(account.public_key).digest()[:20])
    return key, H("state-leaf", key, H("account", account.encode()))


def root_of(account: Account, siblings: list[bytes]) -> bytes:
    """The root that these siblings, from the root down, give: any list of siblings is a path in some state."""
    key, node = leaf_of(account)
    for level in reversed(range(len(siblings))):
        bit = key[level // 8] >> (7 - level % 8) & 1
        node = H("state-node", siblings[level], node) if bit else H("state-node", node, siblings[level])
    return node


def path(length: int) -> list[bytes]:
    """Siblings as somebody grinding account ids would force them on a victim."""
    return [sha256(level.to_bytes(4, "little")).digest() for level in range(length)]


def owing(chain: Chain, account: Account, siblings: list[bytes], payable_total: int | None = None) -> None:
    """Settles a checkpoint whose state holds this account at the end of this path."""
    total = account.payable if payable_total is None else payable_total
    missing = total - chain.config.inbox.lamports
    if missing > 0:
        chain.deposit(max(missing, 10_000), Pubkey(account.public_key))
    chain.advance(1)
    chain.settle(state_root=root_of(account, siblings), payable_total=total)


def claiming(
    chain: Chain, account: Account, siblings: list[bytes], buffer: Pubkey | None = None, recipient: Pubkey | None = None
) -> Instruction:
    built = instructions.claim(chain.program_id, chain.payer.pubkey(), account.encode(), siblings, buffer)
    if recipient is None:
        return built
    metas = list(built.accounts)
    metas[3] = type(metas[3])(recipient, False, True)
    metas[4] = type(metas[4])(pda.claim(chain.program_id, bytes(recipient)), False, True)
    return type(built)(chain.program_id, bytes(built.data), metas)


def fill_buffer(chain: Chain, siblings: list[bytes], buffer_id: int = 7) -> Pubkey:
    owner, data = chain.payer.pubkey(), b"".join(siblings)
    chain.send(instructions.create_proof_buffer(chain.program_id, owner, buffer_id, len(data)))
    for offset in range(0, len(data), 800):
        part = data[offset : offset + 800]
        chain.send(instructions.write_proof_buffer(chain.program_id, owner, buffer_id, offset, part))
    return pda.proof_buffer(chain.program_id, owner, buffer_id)


def account(payable: int, seed: int = 0) -> Account:
    return Account(bytes(Keypair.from_seed(bytes([9]) + seed.to_bytes(31, "little")).pubkey()), 5, 6, 7, 8, 9, payable)


def claimed(chain: Chain, owner: Account) -> int:
    address = pda.claim(chain.program_id, owner.public_key)
    return accounts.decode_claim(address, chain.data(address)).claimed_lamports


def test_a_real_state_pays(chain: Chain) -> None:
    """A state of the ledger's own tree, not a path made up here."""
    payable = {seed: (seed + 1) * SOL for seed in range(5)}
    state = State.empty()
    for seed, lamports in payable.items():
        state = state.with_account(account(lamports, seed))
    total = sum(payable.values())
    state = state.with_totals(Totals(balance=0, locked=0, payable=total, inbox_cursor=1))
    chain.deposit(total, Pubkey(bytes(32)))
    chain.settle(state_root=state.root, payable_total=total)
    for seed, lamports in payable.items():
        owner = account(lamports, seed)
        value, siblings = state.proof(leaf_of(owner)[0])
        assert value == owner.encode()
        chain.send(claiming(chain, owner, siblings))
        assert chain.lamports(Pubkey(owner.public_key)) == lamports == claimed(chain, owner)
    assert chain.config.claimed_total == total
    assert chain.lamports(pda.vault(chain.program_id)) == chain.svm.minimum_balance_for_rent_exemption(0)


def test_a_claim_pays_what_is_new_and_nothing_twice(chain: Chain) -> None:
    owing(chain, account(3 * SOL), path(3))
    chain.send(claiming(chain, account(3 * SOL), path(3)))
    with refuses("NothingToClaim"):
        chain.send(claiming(chain, account(3 * SOL), path(3)))
    owing(chain, account(5 * SOL), path(4))
    with refuses("BadProof"):
        chain.send(claiming(chain, account(3 * SOL), path(3)))
    chain.send(claiming(chain, account(5 * SOL), path(4)))
    recipient = Pubkey(account(0).public_key)
    assert chain.lamports(recipient) == 5 * SOL == chain.config.claimed_total == claimed(chain, account(0))


def test_only_finalized_states_pay(chain: Chain) -> None:
    chain.deposit(SOL, Pubkey(account(0).public_key))
    chain.post(state_root=root_of(account(SOL), path(2)), payable_total=SOL)
    with refuses("BadProof"):
        chain.send(claiming(chain, account(SOL), path(2)))
    chain.advance(17)
    chain.finalize(1)
    chain.send(claiming(chain, account(SOL), path(2)))


@pytest.mark.parametrize("length", [0, 1, INLINE_SIBLINGS])
def test_proofs_inline(chain: Chain, length: int) -> None:
    owing(chain, account(SOL), path(length))
    chain.send(claiming(chain, account(SOL), path(length)))
    assert chain.lamports(Pubkey(account(0).public_key)) == SOL


@pytest.mark.parametrize("length", [1, 64, 256])
def test_long_proofs_from_a_buffer(chain: Chain, length: int) -> None:
    """64 siblings, as ground account ids cause, and the longest that the tree can have."""
    owing(chain, account(SOL), path(length))
    buffer = fill_buffer(chain, path(length))
    chain.send(claiming(chain, account(SOL), [], buffer))
    assert chain.lamports(Pubkey(account(0).public_key)) == SOL


def test_a_proof_comes_one_way_only(chain: Chain) -> None:
    owing(chain, account(SOL), path(2))
    buffer = fill_buffer(chain, path(2))
    with refuses("TwoProofs"):
        chain.send(claiming(chain, account(SOL), path(2), buffer))


def test_wrong_proofs(chain: Chain) -> None:
    owner = account(SOL)
    owing(chain, owner, path(3))
    first, second, third = path(3)
    for siblings in ([], [first], [first, second], [second, first, third], [first, second, third, third], path(2)):
        with refuses("BadProof"):
            chain.send(claiming(chain, owner, siblings))


def test_a_leaf_of_another_amount_or_owner(chain: Chain) -> None:
    owing(chain, account(SOL), path(3))
    for altered in (account(SOL + 1), account(SOL, 1), Account(account(0).public_key, payable=SOL)):
        with refuses("BadProof"):
            chain.send(claiming(chain, altered, path(3)))


def test_the_recipient_is_the_leafs_key(chain: Chain) -> None:
    owing(chain, account(SOL), path(1))
    with refuses("WrongRecipient"):
        chain.send(claiming(chain, account(SOL), path(1), recipient=Keypair().pubkey()))


def test_the_recipient_is_a_system_account(chain: Chain) -> None:
    owner = account(SOL)
    owing(chain, owner, path(1))
    chain.svm.set_account(Pubkey(owner.public_key), L1Account(SOL, b"data", Keypair().pubkey(), False, 0))
    with refuses("RecipientNotSystem"):
        chain.send(claiming(chain, owner, path(1)))


def test_the_payer_may_be_the_recipient(chain: Chain) -> None:
    owner = Account(bytes(chain.payer.pubkey()), payable=SOL)
    owing(chain, owner, path(1))
    chain.send(claiming(chain, owner, path(1)))
    assert claimed(chain, owner) == SOL


def test_the_treasurys_leaf_pays_the_treasury(chain: Chain) -> None:
    treasury = pda.treasury(chain.program_id)
    before = chain.lamports(treasury)
    owner = Account(bytes(treasury), payable=SOL)
    owing(chain, owner, path(1))
    chain.send(claiming(chain, owner, path(1)))
    assert chain.lamports(treasury) == before + SOL


def test_no_more_is_claimed_than_the_checkpoint_owes(chain: Chain) -> None:
    """A state that owes more in its leaves than in its total is the quorum's fault; it still cannot take others' money."""
    chain.deposit(10 * SOL, Pubkey(bytes(32)))
    owing(chain, account(2 * SOL), path(1), payable_total=SOL)
    with refuses("ClaimAboveFinalized"):
        chain.send(claiming(chain, account(2 * SOL), path(1)))


def test_the_vault_stays_rent_exempt(chain: Chain) -> None:
    owing(chain, account(SOL), path(1))
    vault = pda.vault(chain.program_id)
    held = chain.svm.get_account(vault)
    assert held is not None
    chain.svm.set_account(vault, L1Account(held.lamports - 1, b"", held.owner, False, held.rent_epoch))
    with refuses("VaultBelowRent"):
        chain.send(claiming(chain, account(SOL), path(1)))


def test_a_funded_claim_address_blocks_nothing(chain: Chain) -> None:
    owing(chain, account(SOL), path(1))
    chain.svm.airdrop(pda.claim(chain.program_id, account(0).public_key), 1)
    chain.send(claiming(chain, account(SOL), path(1)))
    assert claimed(chain, account(0)) == SOL


def test_a_claim_counts_for_its_own_account_only(chain: Chain) -> None:
    """Somebody else's Claim account, on which nothing was claimed yet, is no way to be paid twice."""
    owing(chain, account(SOL), path(1))
    built = claiming(chain, account(SOL), path(1))
    chain.send(built)
    metas = list(built.accounts)
    metas[4] = type(metas[4])(pda.claim(chain.program_id, bytes(32)), False, True)
    with refuses("InstructionErrorFieldless.InvalidSeeds"):
        chain.send(type(built)(chain.program_id, bytes(built.data), metas))


# -- buffers -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 31, 33, 8_193, 8_224])
def test_buffer_lengths(chain: Chain, length: int) -> None:
    with refuses("BadBufferLength"):
        chain.send(instructions.create_proof_buffer(chain.program_id, chain.payer.pubkey(), 1, length))


def test_a_buffer_is_made_once(chain: Chain) -> None:
    fill_buffer(chain, path(1), 3)
    with refuses("BufferExists"):
        fill_buffer(chain, path(1), 3)


@pytest.mark.parametrize(("offset", "length"), [(0, 65), (64, 1), (33, 32), (2**32 - 1, 2), (0, 0)])
def test_writes_stay_inside(chain: Chain, offset: int, length: int) -> None:
    fill_buffer(chain, path(2), 3)
    with refuses("BufferRange"):
        chain.send(instructions.write_proof_buffer(chain.program_id, chain.payer.pubkey(), 3, offset, bytes(length)))


def test_only_the_owner_writes_and_closes(chain: Chain) -> None:
    buffer = fill_buffer(chain, path(2), 3)
    stranger = Keypair()
    chain.svm.airdrop(stranger.pubkey(), SOL)
    for built in (
        instructions.write_proof_buffer(chain.program_id, stranger.pubkey(), 3, 0, b"x"),
        instructions.close_proof_buffer(chain.program_id, stranger.pubkey(), 3),
    ):
        metas = list(built.accounts)
        metas[1] = type(metas[1])(buffer, False, True)
        with refuses("NotBufferOwner"):
            chain.send(type(built)(chain.program_id, bytes(built.data), metas), payer=stranger)


def test_a_buffer_is_named_by_its_id(chain: Chain) -> None:
    buffer = fill_buffer(chain, path(2), 3)
    for built in (
        instructions.write_proof_buffer(chain.program_id, chain.payer.pubkey(), 4, 0, b"x"),
        instructions.close_proof_buffer(chain.program_id, chain.payer.pubkey(), 4),
    ):
        metas = list(built.accounts)
        metas[1] = type(metas[1])(buffer, False, True)
        with refuses("WrongAddress"):
            chain.send(type(built)(chain.program_id, bytes(built.data), metas))


def test_closing_returns_the_rent(chain: Chain) -> None:
    buffer = fill_buffer(chain, path(64), 3)
    rent = chain.lamports(buffer)
    before = chain.lamports(chain.payer.pubkey())
    done = chain.send(instructions.close_proof_buffer(chain.program_id, chain.payer.pubkey(), 3))
    assert chain.lamports(buffer) == 0
    assert chain.lamports(chain.payer.pubkey()) == before + rent - done.fee()
    fill_buffer(chain, path(2), 3)


def test_a_buffer_that_has_grown_may_hold_more_siblings_than_a_proof_may_have(chain: Chain) -> None:
    """Its length counts, not what was written: a grown buffer, meant for evidence of fraud, is no proof of a leaf."""
    owing(chain, account(SOL), path(4))
    buffer = fill_buffer(chain, path(256))
    owner = chain.payer.pubkey()
    chain.send(dispute_instructions.grow_proof_buffer(chain.program_id, owner, 7, 257 * 32))
    with refuses("ProofTooLong"):
        chain.send(claiming(chain, account(SOL), [], buffer))
