"""The upgradeable loader's layouts, a program file, what a deployment costs: everything that needs no L1."""

from __future__ import annotations

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from localnet.programs import load_upgradeable
from settlement import idl, loader, pda
from settlement.errors import AccountInvalid, DeployError, FeatureMissing, ProgramFileError
from settlement.loader_artifact import (
    BLS12_381_SYSCALLS,
    FEATURE_PROGRAM,
    NO_OLD_SBPF,
    SBPF_V3,
    Artifact,
    check_feature,
    read_artifact,
)
from settlement.loader_plan import Cost, Held, Work, buffer_cost, check_balance, deploy_cost, upgrade_cost
from settlement.loader_writer import Writing
from settlement.transactions import MAX_TRANSACTION_BYTES

ADDRESS = Pubkey(bytes(range(32)))
KEY = Pubkey(bytes([7]) * 32)
ELF = idl.PROGRAM_PATH.read_bytes()


def rent(data_bytes: int) -> int:
    return (128 + data_bytes) * 6_960


# -- accounts


@pytest.mark.parametrize("authority", [KEY, None])
def test_program_accounts_are_read_as_the_runtime_has_them(authority: Pubkey | None) -> None:
    svm, program = LiteSVM(), idl.committed().address
    load_upgradeable(svm, program, ELF, authority, slot=9)
    held = svm.get_account(program)
    data = svm.get_account(pda.program_data(program))
    assert held is not None and data is not None
    assert loader.decode_program(program, bytes(held.data)) == pda.program_data(program)
    state = loader.decode_program_data(pda.program_data(program), bytes(data.data))
    assert (state.slot, state.authority, state.data) == (9, authority, ELF)


def test_a_buffer_with_and_without_an_authority() -> None:
    for head, authority in ((b"\1" + bytes(KEY), KEY), (bytes(33), None)):
        buffer = loader.decode_buffer(ADDRESS, b"\1\0\0\0" + head + b"code")
        assert (buffer.authority, buffer.data) == (authority, b"code")


@pytest.mark.parametrize("decode", [loader.decode_buffer, loader.decode_program, loader.decode_program_data])
@pytest.mark.parametrize("data", [b"", bytes(64), b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0" + bytes(8) + b"\2" + bytes(40)])
def test_other_bytes_are_no_account_of_the_loader(decode, data: bytes) -> None:
    with pytest.raises(AccountInvalid, match=str(ADDRESS)):
        decode(ADDRESS, data)


def test_zeros_at_the_end_are_no_part_of_a_program() -> None:
    assert loader.program_hash(b"code\0\0") == loader.program_hash(b"code") != loader.program_hash(b"c\0de")
    assert loader.same_program(b"code\0", b"code" + bytes(9)) and not loader.same_program(b"code", b"code.")


def test_nobody_cannot_countersign() -> None:
    with pytest.raises(ValueError, match="needs a successor"):
        loader.set_authority(ADDRESS, KEY, None, checked=True)


@pytest.mark.parametrize(
    ("room", "elf", "more"),
    [
        (100, 100, 0),
        (100, 99, 0),
        (100, 101, loader.MIN_EXTENSION_BYTES),
        (100, 100 + 20_000, 20_000),
        (loader.MAX_PROGRAM_BYTES - 5, loader.MAX_PROGRAM_BYTES - 2, 5),
        (loader.MAX_PROGRAM_BYTES - 5, loader.MAX_PROGRAM_BYTES, 5),
    ],
)
def test_an_extension_is_large_enough_and_allowed(room: int, elf: int, more: int) -> None:
    assert loader.extension_bytes(room, elf) == more


def test_what_no_account_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="10,485,715"):
        loader.extension_bytes(1, loader.MAX_PROGRAM_BYTES + 1)


# -- chunks


@pytest.mark.parametrize("price", [0, 7])
@pytest.mark.parametrize("same", [True, False])
def test_a_chunk_fills_its_transaction(price: int, same: bool) -> None:
    payer = Keypair()
    writing = Writing(payer, payer if same else Keypair(), ADDRESS, ELF, price)
    signed = writing.sign(2**32 - 1, bytes(writing.chunk_bytes), Hash.default(), 1)
    assert len(signed.raw) == MAX_TRANSACTION_BYTES
    assert writing.chunk_bytes > 850


def test_only_what_differs_is_written() -> None:
    writing = Writing(Keypair(), Keypair(), ADDRESS, ELF)
    step = writing.chunk_bytes
    held = bytearray(ELF)
    assert writing.differing(bytes(held)) == []
    held[step] ^= 1
    held[-1] ^= 1
    assert writing.differing(bytes(held)) == [step, (len(ELF) - 1) // step * step]
    assert len(writing.differing(bytes(len(ELF)))) == sum(any(ELF[at : at + step]) for at in range(0, len(ELF), step))


def test_a_buffer_is_found_again_by_its_authority_program_and_bytes() -> None:
    seed = loader.buffer_seed(ADDRESS, b"code")
    assert len(seed) == 32
    others = {
        loader.buffer_seed(KEY, b"code"),
        loader.buffer_seed(ADDRESS, b"cod"),
        loader.buffer_seed(ADDRESS, b"code\0"),
    }
    assert len(others | {seed}) == 4
    assert loader.buffer_address(KEY, seed) == Pubkey.create_with_seed(KEY, seed, loader.LOADER)


# -- files and features


def test_the_committed_program_is_what_the_embedded_l1_and_mainnet_can_run() -> None:
    artifact = read_artifact(idl.PROGRAM_PATH)
    assert artifact.mentions(idl.committed().address) and not artifact.mentions(KEY)
    assert artifact.features == (BLS12_381_SYSCALLS, SBPF_V3)
    for feature in artifact.features:
        account = LiteSVM().get_account(feature.address)
        assert account is not None
        check_feature(feature, account.owner, bytes(account.data), "url")


def test_an_old_file_needs_a_cluster_that_still_takes_it() -> None:
    old = Artifact("old", ELF[:48] + bytes(4) + ELF[52:])
    assert old.features == (BLS12_381_SYSCALLS, NO_OLD_SBPF)
    check_feature(NO_OLD_SBPF, None, b"", "url")
    with pytest.raises(FeatureMissing, match="is active there, and the file is of such a version"):
        check_feature(NO_OLD_SBPF, FEATURE_PROGRAM, b"\1" + bytes(8), "url")


@pytest.mark.parametrize(
    ("owner", "data", "says"),
    [
        (None, b"", "is not active"),
        (SYSTEM, b"\1" + bytes(8), "is not active"),
        (FEATURE_PROGRAM, b"\1", "is not active"),
        (FEATURE_PROGRAM, bytes(9), "is to come with the next epoch"),
    ],
)
def test_a_feature_that_is_not_there(owner: Pubkey | None, data: bytes, says: str) -> None:
    with pytest.raises(FeatureMissing, match=rf"http://x cannot .*SIMD-0388.*{says} there.*nothing was spent"):
        check_feature(BLS12_381_SYSCALLS, owner, data, "http://x")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no program"),
        (b"#!/bin/sh\n" * 9, "is no program"),
        (ELF[:18] + b"\x3e\0" + ELF[20:64], "for machine 62"),
        (ELF[:64] + bytes(loader.MAX_PROGRAM_BYTES), "an account holds"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_program(tmp_path, content: bytes | None, says: str) -> None:
    path = tmp_path / "file.so"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProgramFileError, match=says):
        read_artifact(path)


# -- costs


def test_a_deployment_costs_its_rent_and_the_fees() -> None:
    work = Work(writes=10, creates=True, writer_signatures=2)
    cost = deploy_cost(Held(0, 0, 0, 0), work, rent, 1_000, 3_000, hands_over=True)
    # 10 writes, the buffer, the deployment (with the program's signature too), the change of authority
    assert cost.fee_lamports == (13 * 2 + 1) * 5_000
    assert cost.rent_lamports == rent(36) + rent(45 + 3_000)
    assert cost.needed_lamports == cost.rent_lamports + cost.fee_lamports
    # What is paid already is not paid again, and a full buffer is worth its rent.
    paid = Held(0, rent(36), 0, rent(37 + 1_000))
    again = deploy_cost(paid, Work(0, False, 2), rent, 1_000, 3_000, hands_over=False)
    assert again.needed_lamports == again.fee_lamports + rent(45 + 3_000) - rent(37 + 1_000)


def test_an_upgrade_gives_the_buffer_back() -> None:
    held = Held(0, rent(36), rent(45 + 1_000), 0)
    work = Work(writes=1, creates=True, writer_signatures=1)
    cost = upgrade_cost(held, work, rent, 900, 1_000, 0, hands_over=False)
    assert (cost.rent_lamports, cost.returned_lamports) == (0, rent(37 + 900))
    assert cost.needed_lamports == rent(37 + 900) + 3 * 5_000
    larger = upgrade_cost(held, work, rent, 2_000, 1_000, 10_240, hands_over=False)
    assert larger.rent_lamports == 10_240 * 6_960
    assert larger.returned_lamports == rent(37 + 2_000)
    assert larger.needed_lamports == rent(37 + 2_000) + 10_240 * 6_960 + 4 * 5_000


def test_a_priority_fee_is_counted_up() -> None:
    plain, dear = Work(10, True, 1), Work(10, True, 1, compute_unit_price=3, write_compute_units=3_000)
    assert dear.fees(1) - plain.fees(1) == 1  # 50,000 units at 3 micro-lamports, rounded up
    assert buffer_cost(Held(9, 0, 0, 0), plain, rent, 5).needed_lamports == rent(42) + 12 * 5_000


def test_who_cannot_pay_is_told_by_how_much() -> None:
    check_balance(Cost(0, 0, 0, 100, 50, 150), KEY)
    with pytest.raises(
        DeployError, match=rf"{KEY} has 149 lamports; 100 are needed and 50 must be left: 1 are missing"
    ):
        check_balance(Cost(0, 0, 0, 100, 50, 149), KEY)
