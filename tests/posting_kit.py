"""The posting line over a fake L1 (tests/fake_l1.py): a real sequencer's node and poster, real validators' followers, rules and slashing
protection, and between them the calls of docs/rpc.md without HTTP. Every signature that leaves a validator is written down.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio
from solders.keypair import Keypair

from sequencer import database as db
from sequencer import epoch_loop, errors, finality, l1_view, methods_validator, poster, recovery, service
from sequencer.config import SequencerConfig
from sequencer.l1_port import ClientPort
from sequencer.methods_client import find_epoch
from sequencer.node import Node
from sequencer.params import GetProposal, SubmitAttestation
from sequencer.proposals import attestation_key
from sequencer.rows import AttestationRow, EpochRow
from sequencer.store import RocksStore
from sequencer.tasks import TaskBook
from sequencer.views import checkpoint
from settlement.client import L1Client
from settlement.messages import CheckpointMessage
from settlement.quorum import Caller, QuorumRpc
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError
from tests import fake_l1
from tests.fake_l1 import DOMAIN, PAYER, PROGRAM, World
from tests.program.kit import Validator
from validator.attesting import Attester
from validator.batches import Batches
from validator.chain import Chain
from validator.follower import Follower
from validator.slashing_protection import SlashingProtection
from validator.store import Store
from validator.verdicts import Verdicts

SLOT_SECONDS = 0.4
T = TypeVar("T")


def client_of(callers: Sequence[fake_l1.Node], patience_seconds: float = 0.0) -> L1Client:
    """A client of one node, or of all that must agree."""
    caller: Caller = callers[0] if len(callers) == 1 else QuorumRpc(callers, patience_seconds)
    return L1Client(caller, PROGRAM)


async def while_slots_pass(world: World, slots: int, step: Callable[[], Awaitable[T]]) -> T | None:
    """The step's value; None when it took longer than that many slots and was cut short. Needs a clock that jumps."""
    value: T | None = None
    async with trio.open_nursery() as nursery:

        async def tick() -> None:
            for _ in range(slots):
                await trio.sleep(SLOT_SECONDS)
                world.advance()
            nursery.cancel_scope.cancel()

        nursery.start_soon(tick)
        value = await step()
        nursery.cancel_scope.cancel()
    return value


@dataclass
class Sequencer:
    """A real node with the loops' steps to be called by hand."""

    world: World
    node: Node
    port: ClientPort

    @classmethod
    async def open(
        cls, world: World, callers: Sequence[fake_l1.Node], folder: Path, payer: Keypair = PAYER
    ) -> Sequencer:
        """`folder` must be there."""
        settings: dict[str, Any] = {"attestation_grace_seconds": 0.0, "poll_seconds": SLOT_SECONDS}
        config = SequencerConfig(url=callers[0].url, keypair=folder, data_dir=folder, **settings)
        port = ClientPort(client_of(callers), payer)
        node = await service.make_node(config, db.Database(RocksStore(folder / "store")), port)
        # Steps are run one by one, each under a clock of its own; only slots go on.
        node.now = lambda: world.time_slot * SLOT_SECONDS
        return cls(world, node, port)

    def close(self) -> None:
        self.node.database.close()

    def restart(self) -> None:
        """The node as a new process would find it."""
        self.node.chain = recovery.load(self.node.database, DOMAIN)
        self.node.tasks = TaskBook(row for _, row in self.node.database.scan(db.TASKS))
        self.node.quorum_since = self.node.suspected_fork = None

    @property
    def current(self) -> EpochRow | None:
        current = self.node.chain.position.current
        return current.row if current else None

    async def poll(self) -> None:
        await l1_view.poll(self.node, self.port)

    async def cut(self) -> EpochRow | None:
        """The epoch in flight, cut just now if there was something to cut."""
        await self.poll()
        self.node.open_since = float("-inf")
        await epoch_loop.cut_if_due(self.node, self.port)
        return self.current

    async def step(self) -> bool:
        return await poster.step(self.node, self.port)

    async def finality_step(self) -> bool:
        return await finality.step(self.node, self.port)

    def attest(self, signers: Sequence[int] = (0, 1, 2, 3)) -> None:
        """Signatures on the epoch in flight without asking validators, for tests of posting alone."""
        row = self.current
        assert row is not None
        with self.node.database.transaction() as tx:
            for index in signers:
                signature = self.world.validators[index].secret.sign(row.hash)
                tx.put(db.ATTESTATIONS, attestation_key(row, index), AttestationRow(signature=signature))

    async def certified(self) -> EpochRow:
        """An epoch of one new deposit, cut and certified."""
        self.world.deposit()
        self.world.advance(fake_l1.CONFIRMED_DEPTH)
        assert await self.cut()
        self.attest()
        assert await self.step()
        assert self.current is not None
        return self.current

    async def posted(self) -> EpochRow:
        """The same, and posted."""
        await self.certified()
        assert await while_slots_pass(self.world, 40, self.step)
        await self.poll()
        return self.node.chain.position.posted[-1].row


def json(answer: Any) -> Any:
    """An answer as it comes over the wire."""
    return msgspec.json.decode(msgspec.json.encode(answer))


@dataclass
class Door:
    """What one validator sees of the sequencer. `shown` replaces proposals by the liar's; `dies` makes the next attestation never arrive."""

    sequencer: Sequencer
    public_key: bytes
    released: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    signatures: dict[bytes, CheckpointMessage] = field(default_factory=dict)
    proposed: CheckpointMessage | None = None
    shown: CheckpointMessage | None = None
    dies: bool = False

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        node = self.sequencer.node
        try:
            if method == "getProposal":
                wanted = params if self.shown is None else {"epoch": params["epoch"]}
                found = json(methods_validator.get_proposal(node, GetProposal(**wanted)))
                if self.shown is not None:
                    found |= {**self.shown.to_json(), "hash": self.shown.hash(DOMAIN).hex()}
                self.proposed = CheckpointMessage.from_json(found)
                return found
            assert method == "getCheckpoint"
            return json(checkpoint(node, find_epoch(node, params["epoch"])))
        except errors.RpcError as error:
            raise RpcError(int(error.code), str(error), {}) from error

    async def get_blob(self, name: str, limit: int = 0) -> bytes:
        path = self.sequencer.node.blobs.path(name)
        if not path.exists():
            raise RpcError(Code.NOT_FOUND, f"there is no blob {name}", {})
        data = path.read_bytes()
        assert sha256(data).hexdigest() == name
        return data

    async def call_signed(self, method: str, params: dict[str, Any]) -> Any:
        """From here on the signature is out, whatever becomes of the call."""
        assert method == "submitAttestation"
        if self.dies:
            self.dies = False
            raise RpcError(Code.NOT_FOUND, "the line is dead", {})
        self.released.setdefault((params["epoch"], params["attempt"]), set()).add(params["hash"])
        assert self.proposed is not None and self.proposed.hash(DOMAIN).hex() == params["hash"]
        self.signatures[bytes.fromhex(params["hash"])] = self.proposed
        node = self.sequencer.node
        submitted = SubmitAttestation(
            epoch=params["epoch"], attempt=params["attempt"], hash=params["hash"], set_index=params["setIndex"],
            signature=params["signature"], auth=None,  # type: ignore[arg-type]
        )  # fmt: skip
        try:
            with node.database.transaction() as tx:
                return json(methods_validator.submit_attestation(node, tx, self.public_key, submitted))
        except errors.RpcError as error:
            raise RpcError(int(error.code), str(error), {}) from error


@dataclass
class HonestValidator:
    """A real validator without judging: follower, attester, and its databases in `folder`."""

    world: World
    key: Validator
    callers: Sequence[fake_l1.Node]
    door: Door
    folder: Path
    protection: SlashingProtection = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.open()

    @property
    def path(self) -> Path:
        return self.folder / "protection.sqlite"

    def open(self) -> None:
        self.protection = SlashingProtection(self.path, DOMAIN, bytes(self.key.secret.public_key))
        self.verdicts = Verdicts(self.folder / "verdicts.sqlite")
        self.store = Store(self.folder / "state", DOMAIN)
        l1 = client_of(self.callers)
        self.batches = Batches(self.folder / "batches")
        chain = Chain(self.store.load(), DOMAIN)
        self.follower = Follower(l1, self.door, DOMAIN, self.store, chain, self.batches)  # type: ignore[arg-type]
        self.attester = Attester(
            l1,
            self.door,
            DOMAIN,
            self.key.secret,
            self.follower,
            self.protection,
            self.verdicts,  # type: ignore[arg-type]
        )

    def close(self) -> None:
        self.protection.close()
        self.verdicts.close()
        self.store.close()

    def restart(self) -> None:
        self.close()
        self.open()

    async def round(self, epoch: int, attempt: int, shown: CheckpointMessage | None = None) -> str | None:
        """One turn for a proposal; why it did not sign, None when it did."""
        self.door.shown = shown
        self.attester._refused = None
        config = await self.follower.follow()
        await self.attester.attest(epoch, attempt, config)
        return self.attester._refused

    def backup(self) -> Path:
        """A copy of the database as it is now."""
        self.protection.close()
        copy = self.folder / "backup.sqlite"
        shutil.copy(self.path, copy)
        self.protection = SlashingProtection(self.path, DOMAIN, bytes(self.key.secret.public_key))
        self.attester._protection = self.protection
        return copy

    def restore(self, interchange: dict[str, Any] | None) -> None:
        """Goes on with the backup instead of the database, after an import unless there is none."""
        self.close()
        shutil.copy(self.folder / "backup.sqlite", self.path)
        self.open()
        if interchange is not None:
            self.protection.import_(interchange)


@dataclass
class Line:
    """One sequencer and three honest validators of four; the fourth signs whatever it is shown."""

    world: World
    nodes: list[fake_l1.Node]
    sequencer: Sequencer
    honest: list[HonestValidator]

    @classmethod
    async def open(cls, folder: Path, urls: int = 3) -> Line:
        world = World.new()
        nodes = fake_l1.nodes(world, urls)
        sequencer = await Sequencer.open(world, nodes, folder)
        honest = [
            HonestValidator(world, key, nodes, Door(sequencer, bytes(key.authority.pubkey())), folder / str(index))
            for index, key in enumerate(world.validators[:-1])
        ]
        return cls(world, nodes, sequencer, honest)

    def close(self) -> None:
        for one in self.honest:
            one.close()
        self.sequencer.close()

    async def attest_all(self) -> list[str | None]:
        """All validators are shown the proposal in flight; why each refused."""
        row = self.sequencer.current
        assert row is not None
        return [await one.round(row.epoch, row.attempt) for one in self.honest]

    async def epoch(self) -> EpochRow:
        """A whole epoch of a new deposit, with real attestations, to its confirmed post."""
        self.world.deposit()
        self.world.advance(fake_l1.CONFIRMED_DEPTH)
        return await self.epoch_of_what_is_there()

    async def epoch_of_what_is_there(self) -> EpochRow:
        assert await self.sequencer.cut()
        assert await self.attest_all() == [None] * len(self.honest)
        assert await self.sequencer.step()
        assert await while_slots_pass(self.world, 40, self.sequencer.step)
        return self.sequencer.node.chain.position.posted[-1].row

    def another(self, row: EpochRow, **changes: Any) -> CheckpointMessage:
        """Another message over the same records that is valid by all rules but one vote per attempt."""
        return replace(row.message, **({"expiry_slot": row.expiry_slot - 1} | changes))
