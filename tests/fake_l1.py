"""An L1 that forks, lags, lies and drops, for tests: the real program in a LiteSVM, a chain of slots around it that can be taken back, and
nodes that answer like a Solana RPC node (`settlement.quorum.Caller`), each with its own lag and its own lies. Nothing passes by itself: a
test advances the slots.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from types import TracebackType
from typing import Any

import trio
from solders.account import Account
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

from localnet.programs import load_upgradeable
from settlement import accounts, idl, instructions, pda
from settlement.errors import L1Unreachable
from settlement.rpc import RpcFailure
from settlement.signing import Domain
from settlement.transactions import sign
from tests.program.kit import GENESIS, SOL, START_SLOT, Chain, Validator, error_name, validator

CONFIRMED_DEPTH, FINALIZED_DEPTH = 2, 32
BLOCKHASH_BLOCKS = 150
SIZE = 4
PROGRAM = idl.committed().address
DOMAIN = Domain(GENESIS, bytes(PROGRAM))
PAYER, SECOND_PAYER = Keypair.from_seed(b"p" * 32), Keypair.from_seed(b"q" * 32)
Accounts = dict[Pubkey, Account]
ABSENT = Account(0, b"", Pubkey.default(), False, 0)


@dataclass(frozen=True)
class Status:
    slot: int
    err: Any
    code_logs: tuple[str, ...]
    units: int


@dataclass(frozen=True)
class Block:
    slot: int
    blockhash: str
    accounts: Accounts


@dataclass
class World:
    """The cluster as it really is. `blocks` is the chain from the genesis of the test on; block i has height i."""

    svm: LiteSVM
    validators: list[Validator]
    blocks: list[Block]
    time_slot: int
    final_height: int = 0
    sent: dict[str, VersionedTransaction] = field(default_factory=dict)
    pool: dict[str, VersionedTransaction] = field(default_factory=dict)
    statuses: dict[str, Status] = field(default_factory=dict)
    heights: dict[str, int] = field(default_factory=dict)
    landed: list[tuple[int, str]] = field(default_factory=list)
    prices: list[int] = field(default_factory=list)
    minimum_price: int = 0

    @classmethod
    def new(cls) -> World:
        """Initialised, `SIZE` validators registered and sealed; 40 blocks old, so that all of that is final."""
        svm, base = _base()
        for address, _ in svm.get_program_accounts(PROGRAM):
            if address not in base:
                svm.set_account(address, ABSENT)
        for address, account in base.items():
            svm.set_account(address, account)
        svm.warp_to_slot(START_SLOT)
        world = cls(svm, [validator(seed) for seed in range(SIZE)], [], START_SLOT)
        world._append(base)
        world.advance(FINALIZED_DEPTH + 8)
        return world

    # -- time and forks

    def depth_of(self, slot: int) -> int:
        """How many blocks a fork must take back to undo that slot."""
        return sum(block.slot >= slot for block in self.blocks)

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def at(self, commitment: str, behind: int = 0) -> Block:
        height = self.final_height
        if commitment != "finalized":
            height = max(self.height - {"processed": 0, "confirmed": CONFIRMED_DEPTH}[commitment], height)
        return self.blocks[max(height - behind, 0)]

    def slot(self, commitment: str = "processed") -> int:
        return self.at(commitment).slot

    def advance(self, count: int = 1) -> None:
        """As many blocks; those in the pool land in the first."""
        for _ in range(count):
            self.time_slot += 1
            self.svm.warp_to_slot(self.time_slot)
            executed = [signature for signature in list(self.pool) if self._execute(signature)]
            self._append(self._snapshot() if executed else self.blocks[-1].accounts)

    def fork(self, depth: int, *, bring_back: bool = False) -> None:
        """Takes the last `depth` blocks back, fewer when that reaches what is final. Their transactions are lost, or back in the pool."""
        depth = min(depth, self.height - self.final_height)
        kept = self.blocks[self.height - depth]
        lost = {signature for signature, status in self.statuses.items() if status.slot > kept.slot}
        if bring_back:
            self.pool.update({signature: self.sent[signature] for signature in lost})
        for signature in lost:
            del self.statuses[signature]
        del self.blocks[len(self.blocks) - depth :]
        for address in self._snapshot().keys() - kept.accounts.keys():
            self.svm.set_account(address, ABSENT)
        for address, account in kept.accounts.items():
            self.svm.set_account(address, account)
        self.landed = [one for one in self.landed if one[0] <= kept.slot]
        self.heights = {h: i for h, i in self.heights.items() if i <= self.height}
        self.advance()

    def _append(self, found: Accounts) -> None:
        seed = sha256(self.time_slot.to_bytes(8, "little") + len(self.blocks).to_bytes(8, "little"))
        blockhash = str(Hash(seed.digest()))
        self.blocks.append(Block(self.time_slot, blockhash, found))
        self.heights[blockhash] = self.height
        self.final_height = max(self.final_height, self.height - FINALIZED_DEPTH)

    def _snapshot(self) -> Accounts:
        found = dict(self.svm.get_program_accounts(PROGRAM))
        for address in (PAYER.pubkey(), SECOND_PAYER.pubkey(), pda.vault(PROGRAM), pda.treasury(PROGRAM)):
            account = self.svm.get_account(address)
            if account is not None:
                found[address] = account
        return {address: account for address, account in found.items() if account.lamports}

    # -- transactions

    def submit(self, raw: bytes) -> str:
        transaction = VersionedTransaction.from_bytes(raw)
        signature = str(transaction.signatures[0])
        self.sent[signature] = transaction
        if signature not in self.statuses:
            self.pool[signature] = transaction
        return signature

    def valid(self, blockhash: str, block: Block | None = None) -> bool:
        height = self.heights.get(blockhash)
        now = self.height if block is None else self.heights[block.blockhash]
        return height is not None and height <= now <= height + BLOCKHASH_BLOCKS

    def _execute(self, signature: str) -> bool:
        transaction = self.pool[signature]
        if not self.valid(str(transaction.message.recent_blockhash)):
            del self.pool[signature]
            return False
        if price_of(transaction) < self.minimum_price:
            return False  # crowded out: it waits
        del self.pool[signature]
        done = self.svm.send_transaction(transaction)
        if isinstance(done, FailedTransactionMetadata):
            inner = done.err()
            err = (
                {"InstructionError": [inner.index, {"Custom": inner.err.code}]}
                if hasattr(getattr(inner, "err", None), "code")
                else str(inner)
            )
            self.statuses[signature] = Status(self.time_slot, err, tuple(done.meta().logs()), 0)
        else:
            units = done.compute_units_consumed()
            self.statuses[signature] = Status(self.time_slot, None, tuple(done.logs()), units)
            self.landed.append((self.time_slot, signature))
        return True

    def do(self, instruction: Instruction, *signers: Keypair) -> None:
        """Executes one instruction in the next block; AssertionError when the program refuses it."""
        signed = sign([instruction], PAYER, signers, Hash.from_string(self.blocks[-1].blockhash), 0, 1_400_000)
        signature = self.submit(signed.raw)
        crowded, self.minimum_price = self.minimum_price, 0
        self.advance()
        self.minimum_price = crowded
        assert self.statuses[signature].err is None, self.statuses[signature]

    def deposit(self, lamports: int = 1_000_000, key: bytes = b"a" * 32) -> None:
        count = self.config("processed").inbox.count
        self.do(instructions.deposit(PROGRAM, PAYER.pubkey(), count, lamports, Pubkey(key)))

    # -- what a test wants to know

    def config(self, commitment: str = "confirmed") -> accounts.Config:
        address = pda.config(PROGRAM)
        return accounts.decode_config(address, bytes(self.at(commitment).accounts[address].data))

    def checkpoint(self, epoch: int, commitment: str = "confirmed") -> accounts.Checkpoint | None:
        address = pda.checkpoint(PROGRAM, epoch)
        account = self.at(commitment).accounts.get(address)
        return None if account is None else accounts.decode_checkpoint(address, bytes(account.data))


@cache
def _base() -> tuple[LiteSVM, Accounts]:
    authority = Keypair.from_seed(b"a" * 32)
    svm = LiteSVM().with_blockhash_check(False).with_transaction_history(0)
    load_upgradeable(svm, PROGRAM, idl.PROGRAM_PATH.read_bytes(), authority.pubkey(), 0)
    svm.airdrop(PAYER.pubkey(), 100_000 * SOL)
    svm.airdrop(SECOND_PAYER.pubkey(), 1_000 * SOL)
    svm.airdrop(authority.pubkey(), 1_000 * SOL)
    svm.warp_to_slot(START_SLOT)
    Chain(PROGRAM, svm, authority, PAYER).bring_up(validator(seed) for seed in range(SIZE))
    world = World(svm, [], [], START_SLOT)
    return svm, world._snapshot()


def price_of(transaction: VersionedTransaction) -> int:
    """Micro-lamports a compute unit: instruction 3 of the compute-budget program."""
    for instruction in transaction.message.instructions:
        data = bytes(instruction.data)
        if len(data) == 9 and data[0] == 3:
            return int.from_bytes(data[1:], "little")
    return 0


Lie = Callable[[str, Sequence[Any], Any], Any]


@dataclass
class Node:
    """One RPC node. `behind`: how many blocks it lags. `lie(method, params, answer)` may change any answer. `silent`: gives none.
    `drops`: takes transactions and forgets them. `calls` counts by method."""

    world: World
    url: str
    behind: int = 0
    lie: Lie | None = None
    silent: bool = False
    drops: bool = False
    calls: list[tuple[str, Sequence[Any]]] = field(default_factory=list)

    async def __aenter__(self) -> Node:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def call(self, method: str, params: Sequence[Any] = (), attempts: int = 6) -> Any:
        await trio.lowlevel.checkpoint()
        self.calls.append((method, params))
        if self.silent:
            raise L1Unreachable(self.url, method, attempts, "silent")
        answer = getattr(self, f"_{method}")(*params)
        return self.lie(method, params, answer) if self.lie else answer

    def _block(self, options: Any) -> Block:
        return self.world.at((options or {}).get("commitment", "finalized"), self.behind)

    def _with_context(self, options: Any, value: Any) -> Any:
        return {"context": {"slot": self._block(options).slot}, "value": value}

    def _getGenesisHash(self) -> Any:
        return str(Hash(GENESIS))

    def _getSlot(self, options: Any = None) -> Any:
        return self._block(options).slot

    def _getBlockHeight(self, options: Any = None) -> Any:
        return self.world.heights[self._block(options).blockhash]

    def _getAccountInfo(self, address: str, options: Any) -> Any:
        return self._with_context(options, self._shown(Pubkey.from_string(address), options))

    def _getMultipleAccounts(self, addresses: Iterable[str], options: Any) -> Any:
        return self._with_context(options, [self._shown(Pubkey.from_string(one), options) for one in addresses])

    def _shown(self, address: Pubkey, options: Any) -> Any:
        account = self._block(options).accounts.get(address)
        if account is None:
            return None
        data = base64.b64encode(bytes(account.data)).decode()
        return {
            "lamports": account.lamports,
            "owner": str(account.owner),
            "data": [data, "base64"],
            "executable": False,
        }

    def _getProgramAccounts(self, program: str, options: Any) -> Any:
        patterns = [
            (one["memcmp"]["offset"], base64.b64decode(one["memcmp"]["bytes"])) for one in options.get("filters", ())
        ]
        found = []
        for address, account in self._block(options).accounts.items():
            data = bytes(account.data)
            if str(account.owner) == program and all(data[at:].startswith(pattern) for at, pattern in patterns):
                found.append({"pubkey": str(address), "account": self._shown(address, options)})
        return found

    def _getLatestBlockhash(self, options: Any) -> Any:
        block = self._block(options)
        last = self.world.heights[block.blockhash] + BLOCKHASH_BLOCKS
        return self._with_context(options, {"blockhash": block.blockhash, "lastValidBlockHeight": last})

    def _isBlockhashValid(self, blockhash: str, options: Any) -> Any:
        return self._with_context(options, self.world.valid(blockhash, self._block(options)))

    def _getSignatureStatuses(self, signatures: Iterable[str], options: Any) -> Any:
        return self._with_context({"commitment": "processed"}, [self._status(one) for one in signatures])

    def _status(self, signature: str) -> Any:
        status = self.world.statuses.get(signature)
        if status is None or status.slot > self.world.at("processed", self.behind).slot:
            return None
        levels = [
            level
            for level in ("processed", "confirmed", "finalized")
            if status.slot <= self.world.at(level, self.behind).slot
        ]
        return {"slot": status.slot, "err": status.err, "confirmationStatus": levels[-1]}

    def _getTransaction(self, signature: str, options: Any) -> Any:
        status = self.world.statuses.get(signature)
        if status is None:
            return None
        meta = {"err": status.err, "computeUnitsConsumed": status.units, "logMessages": list(status.code_logs)}
        return {"slot": status.slot, "meta": meta}

    def _getRecentPrioritizationFees(self, addresses: Any) -> Any:
        return [{"slot": 0, "prioritizationFee": price} for price in self.world.prices]

    def _sendTransaction(self, raw: str, options: Any) -> Any:
        data = base64.b64decode(raw)
        transaction = VersionedTransaction.from_bytes(data)
        signature = str(transaction.signatures[0])
        if not options["skipPreflight"] and signature not in self.world.statuses:
            done = self.world.svm.simulate_transaction(transaction)
            if isinstance(done, FailedTransactionMetadata):
                inner = done.err()
                custom = hasattr(inner.err, "code")
                cause: Any = {"Custom": inner.err.code} if custom else str(inner.err).rpartition(".")[2]
                err = {"InstructionError": [inner.index, cause]}
                message = f"Transaction simulation failed: {error_name(done)}"
                raise RpcFailure("sendTransaction", -32002, message, {"err": err, "logs": done.meta().logs()})
        return signature if self.drops else self.world.submit(data)


def nodes(world: World, count: int = 3) -> list[Node]:
    return [Node(world, f"http://node-{index}") for index in range(count)]
