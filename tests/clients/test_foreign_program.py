"""A program that somebody else wrote and compiled: SPL's associated-token-account, taken from LiteSVM, under ids of our own.

Loaded by each of the two flags and deployed by transactions through the upgradeable loader, then run: it derives an address, calls the
system and the token program, and refuses what is wrong. On the embedded L1 and, with `-m test_validator`, on a real one as far as that takes it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bench.l1_process import L1Process, embedded, solana_test_validator
from settlement import idl
from tests.clients import instructions as ix
from tests.clients.interpreter import as_instruction

SOL = 1_000_000_000
CONFIRMED = {"commitment": "confirmed"}
CHUNK_BYTES = 950
STATUS_BATCH = 256
WRITES_AT_ONCE = 100
DEADLINE_SECONDS = 600
BUFFER_HEADER_BYTES = 37
PROGRAM_BYTES = 36

STARTS = [
    pytest.param(lambda *flags: embedded("--slot-ms", "100", *flags), id="embedded"),
    pytest.param(solana_test_validator, marks=pytest.mark.test_validator, id="test-validator"),
]


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    account = LiteSVM().get_account(Pubkey.from_string(ix.ASSOCIATED_TOKEN))
    assert account is not None
    path = tmp_path / "associated_token.so"
    path.write_bytes(bytes(account.data))
    return path


class Sender:
    """Sends from one funded payer and waits until it is confirmed."""

    def __init__(self, l1: L1Process) -> None:
        self.l1 = l1
        self.payer = Keypair()
        self.wait_for([str(l1.call("requestAirdrop", self.address, 20 * SOL))])

    @property
    def address(self) -> str:
        return str(self.payer.pubkey())

    def wire(self, *instructions: ix.Instruction, signers: tuple[Keypair, ...] = ()) -> str:
        latest: Any = self.l1.call("getLatestBlockhash", CONFIRMED)
        blockhash = Hash.from_string(latest["value"]["blockhash"])
        message = Message.new_with_blockhash(
            [as_instruction(one) for one in instructions], self.payer.pubkey(), blockhash
        )
        return base64.b64encode(bytes(VersionedTransaction(message, [self.payer, *signers]))).decode()

    def send(self, *instructions: ix.Instruction, signers: tuple[Keypair, ...] = ()) -> None:
        self.wait_for([self.submit(*instructions, signers=signers)])

    def submit(self, *instructions: ix.Instruction, signers: tuple[Keypair, ...] = ()) -> str:
        options = {"encoding": "base64", "preflightCommitment": "confirmed"}
        return str(self.l1.call("sendTransaction", self.wire(*instructions, signers=signers), options))

    def wait_for(self, signatures: list[str]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        left = list(signatures)
        while left:
            found: Any = self.l1.call("getSignatureStatuses", left[:STATUS_BATCH])
            assert all(one is None or one["err"] is None for one in found["value"]), found
            asked = zip(left, found["value"], strict=False)
            missing = [signature for signature, one in asked if not one or one["confirmationStatus"] == "processed"]
            left = missing + left[STATUS_BATCH:]
            assert time.monotonic() < deadline, left
            time.sleep(0.05)

    def wait_for_slots(self, count: int) -> None:
        def slot() -> int:
            found: Any = self.l1.call("getSlot", CONFIRMED)
            return found

        wanted, deadline = slot() + count, time.monotonic() + DEADLINE_SECONDS
        while slot() < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def rent(self, space: int) -> int:
        lamports: Any = self.l1.call("getMinimumBalanceForRentExemption", space)
        return lamports

    def account(self, address: str) -> Any:
        value: Any = self.l1.call("getAccountInfo", address, CONFIRMED | {"encoding": "jsonParsed"})
        return value["value"]


def run_the_program(sender: Sender, program: str) -> None:
    mint = Keypair()
    sender.send(
        ix.create_account(sender.address, str(mint.pubkey()), ix.MINT_RENT_LAMPORTS, ix.MINT_BYTES, ix.TOKEN),
        ix.initialize_mint(str(mint.pubkey()), 6, sender.address, None),
        signers=(mint,),
    )
    seeds = [bytes(Pubkey.from_string(text)) for text in (sender.address, ix.TOKEN, str(mint.pubkey()))]
    owned = str(Pubkey.find_program_address(seeds, Pubkey.from_string(program))[0])

    def create(account: str) -> ix.Instruction:
        named = [(sender.address, "ws"), (account, "w"), (sender.address, ""), (str(mint.pubkey()), "")]
        return ix.instruction(program, [*named, (ix.SYSTEM, ""), (ix.TOKEN, "")], "00")

    sender.send(create(owned))
    made = sender.account(owned)
    assert made["owner"] == ix.TOKEN and made["lamports"] == ix.TOKEN_ACCOUNT_RENT_LAMPORTS
    assert made["data"]["parsed"]["info"]["owner"] == sender.address
    sender.send(ix.mint_to(str(mint.pubkey()), owned, sender.address, 5))
    balance: Any = sender.l1.call("getTokenAccountBalance", owned, CONFIRMED)
    assert balance["value"]["amount"] == "5"
    # The real associated token account is another address: not that program's to make.
    with pytest.raises(RuntimeError, match="InvalidSeeds"):
        sender.submit(create(ix.associated_token_account(sender.address, str(mint.pubkey()))))


@pytest.mark.parametrize("start", STARTS)
def test_loaded_by_flags_it_runs(start: Callable[..., AbstractContextManager[L1Process]], elf: Path) -> None:
    fixed, upgradeable = str(Keypair().pubkey()), str(Keypair().pubkey())
    flags = ["--bpf-program", fixed, str(elf), "--upgradeable-program", upgradeable, str(elf), "none"]
    with start(*flags) as l1:
        sender = Sender(l1)
        for program in (fixed, upgradeable):
            run_the_program(sender, program)


def test_deployed_by_transactions_it_runs(elf: Path) -> None:
    with embedded("--slot-ms", "100") as l1:
        sender = Sender(l1)
        run_the_program(sender, deploy(sender, elf.read_bytes()))


@pytest.mark.test_validator
def test_a_real_validator_takes_no_deployment_of_that_age(elf: Path) -> None:
    """With all features on it takes sBPF version 3 only; docs/localnet.md says so."""
    with solana_test_validator() as l1, pytest.raises(RuntimeError, match="sbpf_version required by the executable"):
        deploy(Sender(l1), elf.read_bytes())


@pytest.mark.parametrize("start", STARTS)
def test_our_own_program_deployed_by_transactions_runs(
    start: Callable[..., AbstractContextManager[L1Process]],
) -> None:
    """Of sBPF version 3. Under an id that is not the one it was built for all it says is that."""
    with start() as l1:
        sender = Sender(l1)
        program = deploy(sender, idl.PROGRAM_PATH.read_bytes())
        deployed = sender.account(program)
        assert deployed["executable"] and deployed["data"]["program"] == "bpf-upgradeable-loader"
        with pytest.raises(RuntimeError, match=f"Program {program} invoke.*Program {program} failed"):
            sender.submit(ix.instruction(program, [], "00" * 8))


def deploy(sender: Sender, code: bytes) -> str:
    """As `solana program deploy` does: a buffer, its writes, and the deployment that takes it over. The program's address."""
    buffer, program = Keypair(), Keypair()
    at, size = str(buffer.pubkey()), BUFFER_HEADER_BYTES + len(code)
    initialize = ix.instruction(ix.UPGRADEABLE_LOADER, [(at, "w"), (sender.address, "")], ix.u32(0))
    create = ix.create_account(sender.address, at, sender.rent(size), size, ix.UPGRADEABLE_LOADER)
    sender.send(create, initialize, signers=(buffer,))
    writes = [write(at, sender.address, code, offset) for offset in range(0, len(code), CHUNK_BYTES)]
    # Not all at once: L1 tells of a signature for so many blocks only, and a program of a megabyte takes longer than that to send.
    for start in range(0, len(writes), WRITES_AT_ONCE):
        sender.wait_for([sender.submit(one) for one in writes[start : start + WRITES_AT_ONCE]])
    sender.send(*deployment(sender, at, program, len(code)), signers=(program,))
    sender.wait_for_slots(2)  # a program runs from the slot after its deployment on
    return str(program.pubkey())


def write(buffer: str, authority: str, code: bytes, offset: int) -> ix.Instruction:
    chunk = code[offset : offset + CHUNK_BYTES]
    data = ix.u32(1) + ix.u32(offset) + ix.u64(len(chunk)) + chunk.hex()
    return ix.instruction(ix.UPGRADEABLE_LOADER, [(buffer, "w"), (authority, "s")], data)


def deployment(sender: Sender, buffer: str, program: Keypair, max_length: int) -> list[ix.Instruction]:
    payer, address = sender.address, str(program.pubkey())
    loader = Pubkey.from_string(ix.UPGRADEABLE_LOADER)
    data_address = str(Pubkey.find_program_address([bytes(program.pubkey())], loader)[0])
    named = [(payer, "ws"), (data_address, "w"), (address, "w"), (buffer, "w"), (ix.RENT, ""), (ix.CLOCK, "")]
    data = ix.u32(2) + ix.u64(max_length)
    return [
        ix.create_account(payer, address, sender.rent(PROGRAM_BYTES), PROGRAM_BYTES, ix.UPGRADEABLE_LOADER),
        ix.instruction(ix.UPGRADEABLE_LOADER, [*named, (ix.SYSTEM, ""), (payer, "s")], data),
    ]
