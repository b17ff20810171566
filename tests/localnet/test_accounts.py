"""Account reads: encodings, slices, filters, and programs that are loaded as upgradeable."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from localnet.clock import ManualClock
from localnet.config import GenesisProgram, LocalnetConfig
from localnet.programs import (
    PROGRAM_DATA_METADATA_LENGTH,
    UPGRADEABLE_LOADER_ID,
    ProgramLoadError,
    load_upgradeable,
    program_data_address,
)
from localnet.service import StartError, serve

from .conftest import SOL, Localnet

MEMO_ID = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
CLOCK = "SysvarC1ock11111111111111111111111111111111"
NOBODY = "Nobody1111111111111111111111111111111111111"
BASE64 = {"encoding": "base64", "commitment": "processed"}


def memo_elf() -> bytes:
    """A small real program: LiteSVM ships SPL memo, whose account of the older loader is the bare ELF."""
    account = LiteSVM().get_account(MEMO_ID)
    assert account is not None
    return bytes(account.data)


async def make_accounts(localnet: Localnet, owner: Pubkey, sizes: list[int]) -> list[Pubkey]:
    payer = await localnet.funded()
    made = []
    for size in sizes:
        keypair = Keypair()
        instruction = create_account(
            CreateAccountParams(
                from_pubkey=payer.pubkey(), to_pubkey=keypair.pubkey(), lamports=SOL // 10, space=size, owner=owner
            )
        )
        transaction = await localnet.sign(payer, instruction, also=(keypair,))
        await localnet.result(
            "sendTransaction",
            base64.b64encode(bytes(transaction)).decode(),
            {"encoding": "base64", "preflightCommitment": "processed"},
        )
        made.append(keypair.pubkey())
    return made


async def test_encodings_and_slices(localnet: Localnet) -> None:
    found = (await localnet.result("getAccountInfo", CLOCK, BASE64))["value"]
    data = base64.b64decode(found["data"][0])
    assert found["data"][1] == "base64" and found["space"] == len(data) == 40
    assert int.from_bytes(data[:8], "little") == await localnet.result("getSlot", {"commitment": "processed"})
    sliced = await localnet.result("getAccountInfo", CLOCK, BASE64 | {"dataSlice": {"offset": 32, "length": 4}})
    assert base64.b64decode(sliced["value"]["data"][0]) == data[32:36] and sliced["value"]["space"] == 40
    base58 = (await localnet.result("getAccountInfo", CLOCK, BASE64 | {"encoding": "base58"}))["value"]
    assert base58["data"][1] == "base58"
    assert isinstance((await localnet.result("getAccountInfo", CLOCK))["value"]["data"], str)
    parsed = (await localnet.result("getAccountInfo", CLOCK, BASE64 | {"encoding": "jsonParsed"}))["value"]
    assert parsed["data"]["program"] == "sysvar" and parsed["data"]["parsed"]["type"] == "clock"
    error = await localnet.error("getAccountInfo", str(MEMO_ID), {"encoding": "base58"})
    assert error["code"] == -32600 and "less than 128 bytes" in error["message"]


async def test_the_clock_moves_and_old_clocks_are_readable(localnet: Localnet) -> None:
    async def clock(commitment: str) -> tuple[int, int]:
        found = await localnet.result("getAccountInfo", CLOCK, {"encoding": "base64", "commitment": commitment})
        data = base64.b64decode(found["value"]["data"][0])
        assert found["context"]["slot"] == int.from_bytes(data[:8], "little")
        return int.from_bytes(data[:8], "little"), int.from_bytes(data[32:40], "little")

    localnet.clock.advance(40)
    slot, unix_time = await clock("processed")
    assert (slot, unix_time) == (41, 1_800_000_000 + 16)
    assert await clock("confirmed") == (40, 1_800_000_000 + 15)
    assert await clock("finalized") == (9, 1_800_000_000 + 3)
    assert await localnet.result("getBlockTime", 9) == 1_800_000_000 + 3


async def test_many_accounts_in_one_call(localnet: Localnet) -> None:
    (mine,) = await make_accounts(localnet, Pubkey.from_string(NOBODY), [3])
    found = await localnet.result("getMultipleAccounts", [str(mine), str(Keypair().pubkey())], BASE64)
    assert [entry and entry["space"] for entry in found["value"]] == [3, None]
    error = await localnet.error("getMultipleAccounts", [CLOCK] * 101)
    assert error == {"code": -32602, "message": "Too many inputs provided; max 100"}


async def test_program_accounts_by_filter_and_commitment(localnet: Localnet) -> None:
    small, other, large = await make_accounts(localnet, Pubkey.from_string(NOBODY), [8, 8, 64])

    async def keys(**options: object) -> set[str]:
        return {entry["pubkey"] for entry in await localnet.result("getProgramAccounts", NOBODY, BASE64 | options)}

    assert await keys() == {str(small), str(other), str(large)}
    assert await keys(filters=[{"dataSize": 8}]) == {str(small), str(other)}
    zeros = {"memcmp": {"offset": 40, "bytes": "11111111"}}
    assert await keys(filters=[zeros]) == {str(large)}
    assert (
        await keys(filters=[{"memcmp": {"offset": 0, "bytes": base64.b64encode(b"x").decode(), "encoding": "base64"}}])
        == set()
    )
    assert await keys(commitment="finalized") == set()
    with_context = await localnet.result("getProgramAccounts", NOBODY, BASE64 | {"withContext": True})
    assert len(with_context["value"]) == 3 and with_context["context"]["apiVersion"] == "4.1.2"

    for filters, says in (
        ([{"dataSize": 1}] * 5, "Too many filters provided; max 4"),
        ([{"memcmp": {"offset": 0, "bytes": "0OIl"}}], "Base58DecodeError"),
        ([{"memcmp": {"offset": 0, "bytes": [1] * 129}}], "DataTooLarge"),
        ([{"nonsense": 1}], "expected map with a single key"),
        ([{"dataSize": 1, "memcmp": {"offset": 0, "bytes": "1"}}], "expected map with a single key"),
    ):
        error = await localnet.error("getProgramAccounts", NOBODY, {"filters": filters})
        assert error["code"] == -32602 and says in error["message"]


def test_load_upgradeable_in_a_bare_litesvm() -> None:
    svm, payer, program_id, authority = LiteSVM(), Keypair(), Keypair().pubkey(), Keypair().pubkey()
    svm.set_account(payer.pubkey(), Account(SOL, b"", Pubkey.default()))
    elf = memo_elf()
    load_upgradeable(svm, program_id, elf, authority, slot=7)

    program, program_data = svm.get_account(program_id), svm.get_account(program_data_address(program_id))
    assert program is not None and program_data is not None
    assert program.executable and program.owner == program_data.owner == UPGRADEABLE_LOADER_ID
    assert bytes(program.data) == (2).to_bytes(4, "little") + bytes(program_data_address(program_id))
    header = (3).to_bytes(4, "little") + (7).to_bytes(8, "little") + b"\x01" + bytes(authority)
    assert len(header) == PROGRAM_DATA_METADATA_LENGTH and bytes(program_data.data) == header + elf

    accounts = [AccountMeta(payer.pubkey(), True, False)]
    message = Message.new_with_blockhash(
        [Instruction(program_id, b"it runs", accounts)], payer.pubkey(), svm.latest_blockhash()
    )
    result = svm.send_transaction(VersionedTransaction(message, [payer]))
    assert isinstance(result, TransactionMetadata) and any("it runs" in line for line in result.logs())


def test_a_file_that_is_no_program_is_refused() -> None:
    with pytest.raises(ProgramLoadError, match="refuses the program"):
        load_upgradeable(LiteSVM(), Keypair().pubkey(), b"\x7fELF and no more", None, slot=0)


class TestServedProgram:
    program_id = Keypair().pubkey()
    authority = Keypair()

    @pytest.fixture
    def config(self, tmp_path: Path) -> LocalnetConfig:
        (tmp_path / "memo.so").write_bytes(memo_elf())
        program = GenesisProgram(self.program_id, tmp_path / "memo.so", self.authority.pubkey())
        return LocalnetConfig(rpc_port=0, programs=(program,))

    async def test_the_upgrade_authority_is_visible(self, localnet: Localnet) -> None:
        program = (await localnet.result("getAccountInfo", str(self.program_id), BASE64))["value"]
        assert program["executable"] and program["owner"] == str(UPGRADEABLE_LOADER_ID)
        address = Pubkey.from_bytes(base64.b64decode(program["data"][0])[4:])
        assert address == program_data_address(self.program_id)
        data = (await localnet.result("getAccountInfo", str(address), BASE64))["value"]
        assert base64.b64decode(data["data"][0])[12:45] == b"\x01" + bytes(self.authority.pubkey())

    async def test_transactions_run_it_and_may_name_its_program_data(self, localnet: Localnet) -> None:
        payer = await localnet.funded()
        instruction = Instruction(self.program_id, b"served", [AccountMeta(payer.pubkey(), True, False)])
        transaction = await localnet.sign(payer, instruction)
        options = {"encoding": "base64", "commitment": "processed"}
        found = await localnet.result("simulateTransaction", base64.b64encode(bytes(transaction)).decode(), options)
        assert found["value"]["err"] is None and any("served" in line for line in found["value"]["logs"])

    async def test_only_the_authority_may_change_it(self, localnet: Localnet) -> None:
        """The real upgradeable loader reads the authority that genesis wrote: SetAuthority (4) by another is refused."""
        payer, new = await localnet.funded(), Keypair().pubkey()

        def set_authority(current: Keypair) -> Instruction:
            keys = [
                AccountMeta(program_data_address(self.program_id), False, True),
                AccountMeta(current.pubkey(), True, False),
                AccountMeta(new, False, False),
            ]
            return Instruction(UPGRADEABLE_LOADER_ID, (4).to_bytes(4, "little"), keys)

        options = {"encoding": "base64", "preflightCommitment": "processed"}
        stranger = Keypair()
        transaction = await localnet.sign(payer, set_authority(stranger), also=(stranger,))
        error = await localnet.error("sendTransaction", base64.b64encode(bytes(transaction)).decode(), options)
        assert error["data"]["err"] == {"InstructionError": [0, "IncorrectAuthority"]}
        transaction = await localnet.sign(payer, set_authority(self.authority), also=(self.authority,))
        await localnet.result("sendTransaction", base64.b64encode(bytes(transaction)).decode(), options)
        address = str(program_data_address(self.program_id))
        for commitment, expected in (("processed", new), ("finalized", self.authority.pubkey())):
            found = await localnet.result(
                "getAccountInfo",
                address,
                {"encoding": "base64", "commitment": commitment, "dataSlice": {"offset": 13, "length": 32}},
            )
            assert base64.b64decode(found["value"]["data"][0]) == bytes(expected)


async def test_a_missing_program_file_is_named(tmp_path: Path) -> None:
    program = GenesisProgram(Keypair().pubkey(), tmp_path / "missing.so", None)
    with pytest.raises(StartError, match=r"missing\.so: No such file"):
        await serve(LocalnetConfig(rpc_port=0, programs=(program,)), clock=ManualClock())
