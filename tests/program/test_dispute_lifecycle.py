"""A checkpoint's bond, its way to Voided and out of the chain, and how far voids go."""

from __future__ import annotations

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import dispute_instructions as build
from settlement import idl, instructions, pda
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus
from tests.program.dispute_kit import post_liar, reject_liar, up
from tests.program.kit import SOL, Chain, refuses

BOND = LOCALNET_PROFILE.poster_bond_lamports
WINDOW = LOCALNET_PROFILE.challenge_window_slots
STRANGER = Pubkey(b"\x0b" * 32)
MAX_RANGES = 8


def set_fields(chain: Chain, address: Pubkey, name: str, **values: int | bytes) -> None:
    """Overwrites fields of an account: for what the program cannot be brought to here by its own instructions."""
    data = bytearray(chain.data(address))
    at = 8
    for field in idl.committed().types[name]["type"]["fields"]:
        kind = field["type"]
        width = {"u8": 1, "u32": 4, "u64": 8, "pubkey": 32}.get(kind) if isinstance(kind, str) else None
        width = width or (kind["array"][1] if "array" in kind and kind["array"][0] == "u8" else None)
        if field["name"] in values:
            value = values[field["name"]]
            assert width is not None
            data[at : at + width] = value if isinstance(value, bytes) else value.to_bytes(width, "little")
        if width is None:
            break
        at += width
    chain.overwrite(address, bytes(data))


def void(chain: Chain, epoch: int, poster: Pubkey | None = None) -> None:
    payer = chain.payer.pubkey()
    chain.send(build.void_checkpoint(chain.program_id, payer, epoch, poster or payer))


def close(chain: Chain, epoch: int, poster: Pubkey | None = None) -> None:
    payer = chain.payer.pubkey()
    chain.send(build.close_checkpoint(chain.program_id, payer, epoch, poster or payer))


def test_the_bond_lies_in_the_checkpoint_until_it_is_final() -> None:
    chain = up()
    before = chain.lamports(chain.payer.pubkey())
    chain.post()
    address = pda.checkpoint(chain.program_id, 1)
    rent = chain.svm.minimum_balance_for_rent_exemption(len(chain.data(address)))
    assert chain.checkpoint(1).bond_lamports == BOND
    assert chain.lamports(address) == rent + BOND
    assert before - chain.lamports(chain.payer.pubkey()) == rent + BOND + 5_002
    chain.advance(WINDOW + 1)
    with refuses("WrongPoster"):
        chain.send(instructions.finalize_checkpoint(chain.program_id, chain.payer.pubkey(), 1, STRANGER))
    chain.finalize(1)
    assert chain.checkpoint(1).bond_lamports == 0
    assert chain.lamports(address) == rent
    assert before - chain.lamports(chain.payer.pubkey()) == rent + 3 * 5_002


def test_the_poster_gets_the_bond_whoever_finalizes() -> None:
    chain = up()
    chain.post()
    chain.advance(WINDOW + 1)
    other = Keypair.from_seed(b"o" * 32)
    chain.svm.airdrop(other.pubkey(), SOL)
    before = chain.lamports(chain.payer.pubkey())
    made = instructions.finalize_checkpoint(chain.program_id, other.pubkey(), 1, chain.payer.pubkey())
    chain.send(made, payer=other)
    assert chain.lamports(chain.payer.pubkey()) == before + BOND


def test_a_void_checkpoint_gives_its_bond_back_once() -> None:
    chain = up()
    first, _ = post_liar(chain), post_liar(chain)
    with refuses("NotVoid"):
        void(chain, 2)
    reject_liar(chain, first)
    with refuses("NotPosted"):
        void(chain, 1)
    with refuses("WrongPoster"):
        void(chain, 2, STRANGER)
    before = chain.lamports(chain.payer.pubkey())
    void(chain, 2)
    assert chain.lamports(chain.payer.pubkey()) == before + BOND - 5_002
    assert chain.checkpoint(2).status is CheckpointStatus.VOIDED
    with refuses("NotPosted"):
        void(chain, 2)


def test_a_void_checkpoint_stays_void_when_its_range_is_forgotten() -> None:
    chain = up()
    first, _ = post_liar(chain), post_liar(chain)
    reject_liar(chain, first)
    chain.advance(1)
    chain.settle()
    voids = idl.committed().decode_account("Config", chain.data(pda.config(chain.program_id)))[0]["voids"]
    assert all(one["first"] == 0 for one in voids)
    with refuses("CheckpointVoid"):
        chain.finalize(2)
    void(chain, 2)
    assert chain.checkpoint(2).status is CheckpointStatus.VOIDED


def test_after_the_escape_bonds_go_back() -> None:
    chain = up()
    chain.post()
    set_fields(chain, pda.config(chain.program_id), "Config", escaped=1)
    with refuses("Escaped"):
        chain.finalize(1)
    void(chain, 1)
    assert chain.checkpoint(1).bond_lamports == 0


def test_checkpoints_are_closed_when_nothing_needs_them() -> None:
    chain = up()
    liar, _ = post_liar(chain), post_liar(chain)
    reject_liar(chain, liar)
    chain.advance(1)
    chain.settle()
    with refuses("CheckpointNeeded"):
        close(chain, 3)
    with refuses("TooYoungToClose"):
        close(chain, 1)
    chain.advance(LOCALNET_PROFILE.unbonding_slots)
    with refuses("SlashesOpen"):
        close(chain, 1)
    with refuses("CheckpointNeeded"):
        close(chain, 2)
    void(chain, 2)
    chain.advance(1)
    chain.settle()
    with refuses("RewardsOpen"):
        close(chain, 3)
    # Slashes and rewards have tests of their own: here their marks are set.
    bitmap = chain.checkpoint(1).bitmap
    set_fields(chain, pda.checkpoint(chain.program_id, 1), "Checkpoint", slashed_bitmap=bitmap)
    set_fields(chain, pda.checkpoint(chain.program_id, 3), "Checkpoint", rewarded=1)
    with refuses("WrongPoster"):
        close(chain, 1, STRANGER)
    for epoch in (1, 2, 3):
        address = pda.checkpoint(chain.program_id, epoch)
        before, rent = chain.lamports(chain.payer.pubkey()), chain.lamports(address)
        close(chain, epoch)
        assert chain.lamports(chain.payer.pubkey()) == before + rent - 5_002
        assert chain.svm.get_account(address) is None
    with refuses("CheckpointNeeded"):
        close(chain, 4)


def test_a_closed_checkpoint_is_not_posted_again() -> None:
    chain = up()
    chain.settle()
    chain.advance(LOCALNET_PROFILE.unbonding_slots)
    chain.settle()
    set_fields(chain, pda.checkpoint(chain.program_id, 1), "Checkpoint", rewarded=1)
    close(chain, 1)
    with refuses("EpochPosted"):
        chain.send(chain.posting(chain.certificate(chain.message(epoch=1))))


def test_posting_waits_while_eight_ranges_are_void() -> None:
    chain = up()
    for _ in range(MAX_RANGES):
        post_liar(chain)
        reject_liar(chain, post_liar(chain))
    chain.advance(1)
    with refuses("TooManyVoids"):
        chain.send(chain.posting(chain.certificate(chain.message())))
    # What is live still can be rejected, which makes room.
    reject_liar(chain, chain.checkpoint(13))
    chain.advance(1)
    assert chain.post().epoch == 17
    assert chain.checkpoint(17).parent_epoch == 11


def test_ranges_end_with_the_finality_of_a_later_epoch() -> None:
    chain = up()
    for _ in range(MAX_RANGES):
        post_liar(chain)
        reject_liar(chain, post_liar(chain))
    chain.advance(WINDOW + 1)
    chain.finalize(1)
    chain.finalize(3)
    assert chain.post().epoch == 17
    assert chain.checkpoint(17).parent_epoch == 15
