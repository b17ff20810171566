"""What a client reads at each commitment, against a model that keeps whole copies of the state at the end of every slot.

`POUW_LONG=1` runs it for about an hour.
"""

from __future__ import annotations

import base64
import os
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import (
    AllocateParams,
    AssignParams,
    CreateAccountParams,
    TransferParams,
    allocate,
    assign,
    create_account,
    transfer,
)
from solders.transaction import VersionedTransaction

from localnet.bank import Bank
from localnet.config import LocalnetConfig
from localnet.node import Node
from localnet.rpc import METHODS
from localnet.start import open_node
from localnet.store import DATABASE

LAGS = {"processed": 0, "confirmed": 1, "finalized": 5}
OWNERS = [Pubkey.default(), Keypair().pubkey(), Keypair().pubkey()]
KEYS = [Keypair.from_seed(bytes([n]) * 32) for n in range(1, 6)]
ADDRESSES = {str(key.pubkey()) for key in KEYS}
FAUCET = Keypair.from_seed(bytes([99]) * 32)
SOL = 1_000_000_000
State = dict[Pubkey, Account]
LONG = os.environ.get("POUW_LONG") == "1"

keys = st.sampled_from(KEYS)
amounts = st.sampled_from([1, 5_000, SOL // 10, SOL, 3 * SOL])
# Slots that pass after a transaction; a rule of their own might be left out of a whole run (swarm testing).
then = st.sampled_from([0, 0, 1, 1, 2, 4])


class Commitments(RuleBasedStateMachine):
    @initialize(lag=st.sampled_from([1, 5]))
    def start(self, lag: int) -> None:
        svm = LiteSVM()
        svm.set_account(FAUCET.pubkey(), Account(10**15, b"", Pubkey.default()))
        self.bank = Bank(svm, blockhash_seed=bytes(32), unix_time=1_800_000_000, finalized_lag_slots=lag)
        self.node = Node(self.bank, self.bank.latest_blockhash(0), Pubkey.default(), FAUCET)
        self.lags, self.floor = LAGS | {"finalized": lag}, 0
        self.ends: dict[int, State] = {0: self.copy()}
        self.landed: list[tuple[str, int, bool]] = []
        self.count = 0

    def copy(self) -> State:
        found = {key.pubkey(): self.bank.svm.get_account(key.pubkey()) for key in KEYS}
        return {address: account for address, account in found.items() if account is not None}

    def send(self, payer: Keypair, *instructions: Instruction, also: tuple[Keypair, ...] = ()) -> None:
        message = Message.new_with_blockhash(
            list(instructions), payer.pubkey(), self.bank.latest_blockhash(self.bank.slot)
        )
        transaction = VersionedTransaction(message, list(dict.fromkeys([payer, *also])))
        outcome = self.bank.process(transaction)
        if outcome.executed:
            self.landed.append((str(transaction.signatures[0]), self.bank.slot, outcome.error is None))

    def unique(self) -> Instruction:
        """Makes two equal wishes two transactions."""
        self.count += 1
        return transfer(
            TransferParams(from_pubkey=FAUCET.pubkey(), to_pubkey=FAUCET.pubkey(), lamports=10_000 + self.count)
        )

    @rule(to=keys, lamports=amounts, then=then)
    def fund(self, to: Keypair, lamports: int, then: int) -> None:
        move = TransferParams(from_pubkey=FAUCET.pubkey(), to_pubkey=to.pubkey(), lamports=lamports)
        self.send(FAUCET, transfer(move), self.unique())
        self.pass_slots(then)

    @rule(sender=keys, to=keys, lamports=amounts, then=then)
    def pay(self, sender: Keypair, to: Keypair, lamports: int, then: int) -> None:
        """May fail, and then costs a fee all the same."""
        move = TransferParams(from_pubkey=sender.pubkey(), to_pubkey=to.pubkey(), lamports=lamports)
        self.send(sender, transfer(move), self.unique(), also=(FAUCET,))
        self.pass_slots(then)

    @rule(one=keys, then=then)
    def drain(self, one: Keypair, then: int) -> None:
        """Leaves nothing: the account is gone."""
        account = self.bank.svm.get_account(one.pubkey())
        if account is not None and account.owner == Pubkey.default() and not account.data:
            move = TransferParams(from_pubkey=one.pubkey(), to_pubkey=FAUCET.pubkey(), lamports=account.lamports)
            self.send(FAUCET, transfer(move), self.unique(), also=(one,))
        self.pass_slots(then)

    @rule(one=keys, owner=st.sampled_from(OWNERS), space=st.sampled_from([0, 16, 3_000]), then=then)
    def create(self, one: Keypair, owner: Pubkey, space: int, then: int) -> None:
        wanted = CreateAccountParams(
            from_pubkey=FAUCET.pubkey(), to_pubkey=one.pubkey(), lamports=SOL // 10, space=space, owner=owner
        )
        self.send(FAUCET, create_account(wanted), self.unique(), also=(one,))
        self.pass_slots(then)

    @rule(one=keys, owner=st.sampled_from(OWNERS[1:]), space=st.sampled_from([8, 16]), then=then)
    def hand_over(self, one: Keypair, owner: Pubkey, space: int, then: int) -> None:
        grow = allocate(AllocateParams(pubkey=one.pubkey(), space=space))
        give = assign(AssignParams(pubkey=one.pubkey(), owner=owner))
        self.send(FAUCET, grow, give, self.unique(), also=(one,))
        self.pass_slots(then)

    def pass_slots(self, slots: int) -> None:
        for _ in range(slots):
            self.ends[self.bank.slot] = self.copy()
            self.bank.advance(1_800_000_000 + self.bank.slot)

    def call(self, name: str, *params: Any) -> Any:
        return METHODS.call(self.node, name, list(params))

    @precondition(lambda self: hasattr(self, "bank"))
    @invariant()
    def every_commitment_reads_the_copy(self) -> None:
        states = self.ends | {self.bank.slot: self.copy()}
        for level, lag in self.lags.items():
            slot = max(self.floor, self.bank.slot - lag)
            config = {"commitment": level, "encoding": "base64"}
            state = states[slot]
            for key in KEYS:
                wanted = state.get(key.pubkey())
                found = self.call("getAccountInfo", str(key.pubkey()), config)
                assert found["context"]["slot"] == slot
                assert plain(found["value"]) == plain_of(wanted)
                balance = self.call("getBalance", str(key.pubkey()), {"commitment": level})["value"]
                assert balance == (wanted.lamports if wanted else 0)
            for owner in OWNERS:
                found = self.call("getProgramAccounts", str(owner), config)
                assert {f["pubkey"]: plain(f["account"]) for f in found if f["pubkey"] in ADDRESSES} == {
                    str(address): plain_of(account) for address, account in state.items() if account.owner == owner
                }

    @precondition(lambda self: hasattr(self, "bank"))
    @invariant()
    def every_signature_has_its_level(self) -> None:
        if not self.landed:
            return
        recent = self.landed[-256:]
        statuses = self.call("getSignatureStatuses", [signature for signature, _, _ in recent])["value"]
        for (signature, slot, succeeded), status in zip(recent, statuses, strict=True):
            reached = [level for level, lag in self.lags.items() if slot <= max(self.floor, self.bank.slot - lag)]
            assert status["confirmationStatus"] == reached[-1] and status["slot"] == slot
            assert (status["err"] is None) == succeeded
            for level in ("confirmed", "finalized"):
                config = {"commitment": level, "maxSupportedTransactionVersion": 0}
                found = self.call("getTransaction", signature, config) if signature == recent[-1][0] else None
                assert found is None or level in reached

    @precondition(lambda self: hasattr(self, "bank"))
    @invariant()
    def old_versions_are_bounded(self) -> None:
        kept = len(set(self.bank._undo._by_slot))
        assert kept <= self.lags["finalized"] + 1


def plain(account: dict[str, Any] | None) -> tuple[int, str, bytes] | None:
    return account and (account["lamports"], account["owner"], base64.b64decode(account["data"][0]))


def plain_of(account: Account | None) -> tuple[int, str, bytes] | None:
    return account and (account.lamports, str(account.owner), bytes(account.data))


class CommitmentsOverRestarts(Commitments):
    """The same on a ledger that is closed and opened again, or left behind as a crash leaves it, at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.runs = 0

    @initialize(lag=st.sampled_from([1, 5]))
    def start(self, lag: int) -> None:
        self.open(lag)
        self.ends = {0: self.copy()}
        self.landed, self.count = [], 0

    def open(self, lag: int) -> None:
        config = LocalnetConfig(
            ledger=self.folder / str(self.runs),
            mint=FAUCET.pubkey(),
            finalized_lag_slots=lag,
            limit_ledger_slots=10_000,
        )
        self.run = ExitStack()
        self.node = self.run.enter_context(open_node(config, 1_800_000_000))
        self.bank = self.node.bank
        self.lags, self.floor = LAGS | {"finalized": lag}, self.bank.slot - 1

    @precondition(lambda self: hasattr(self, "bank"))
    @rule(lag=st.sampled_from([1, 5]), gone=keys)
    def restart(self, lag: int, gone: Keypair) -> None:
        """Right after an account has gone that the ledger holds."""
        self.fund(gone, SOL, 1)
        self.drain(gone, 0)
        self.ends[self.bank.slot] = self.copy()
        self.run.close()
        self.open(lag)

    @precondition(lambda self: hasattr(self, "bank"))
    @rule(lag=st.sampled_from([1, 5]))
    def crash(self, lag: int) -> None:
        """The files as they lie this moment are all that is left."""
        final = max(self.floor, self.bank.slot - self.lags["finalized"])
        live = self.folder / str(self.runs)
        with closing(sqlite3.connect(live / DATABASE)) as reader:
            # While someone reads, the log is not begun anew, so the files fit each other though copied one by one.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM blocks").fetchone()
            shutil.copytree(live, self.folder / str(self.runs + 1))
        self.run.close()
        self.runs += 1
        self.open(lag)
        assert self.floor >= final
        lost = [signature for signature, slot, _ in self.landed if slot > self.floor]
        self.landed = [one for one in self.landed if one[1] <= self.floor]
        if lost:
            assert self.call("getSignatureStatuses", [lost[0]])["value"] == [None]

    def teardown(self) -> None:
        if hasattr(self, "run"):
            self.run.close()
        self.stack.close()


TestCommitments = Commitments.TestCase
TestCommitments.settings = settings(
    max_examples=5_000 if LONG else 15,
    stateful_step_count=200 if LONG else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestCommitmentsOverRestarts = CommitmentsOverRestarts.TestCase
TestCommitmentsOverRestarts.settings = settings(
    max_examples=2_000 if LONG else 6,
    stateful_step_count=100 if LONG else 25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
