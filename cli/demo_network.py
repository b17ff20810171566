"""A whole network on this machine: L1, sequencer, validators and workers, each a process of its own on free ports.

The demo runs on it, and so do the tests that kill its processes: every one can be ended and started again over its own data folder.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cli.demo_processes import Child, Supervisor
from localnet import real_validator
from settlement import idl, instructions, l1_setup
from settlement.accounts import LOCALNET_PROFILE, Parameters
from settlement.bls import SecretKey
from settlement.client import L1Client
from settlement.errors import L1Error, NotInitialized
from settlement.keys import read_keypair, write_bls_key, write_keypair
from settlement.sequencer_client import SequencerClient, SequencerError

L1Kind = Literal["embedded", "test-validator", "url"]
ARTIFACT = Path(idl.__file__).parent / "artifacts" / "settlement.so"
EMBEDDED_SLOT_MS = 200  # half a cluster's, so that windows and finality, counted in slots, take half the time
START_SECONDS = 60.0
AIRDROP_LAMPORTS = 100_000_000_000
VALIDATOR_STAKE_LAMPORTS = 1_000_000_000
WORKER_STAKE_LAMPORTS = 2_000_000


class NetworkError(Exception):
    """The network cannot be brought up; the message says what is wrong and what would be right."""


@dataclass
class Node:
    """A process of ours with its key; `arguments` start it again over the same data."""

    name: str
    keypair: Keypair
    arguments: list[str]
    child: Child | None = None


@dataclass
class Network:
    """`folder` holds keys, data and logs of everything. `url` is L1's when it is not ours to start.

    `settings` is what a room (sequencer, validator, worker) is configured with beyond what this class knows.
    """

    folder: Path
    l1_kind: L1Kind = "embedded"
    url: str = ""
    authority_path: Path | None = None
    epoch_seconds: float = 4.0
    slot_ms: int = EMBEDDED_SLOT_MS
    parameters: Parameters = LOCALNET_PROFILE
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    supervisor: Supervisor = field(init=False)
    payer: Keypair = field(default_factory=Keypair)
    client_keypair: Keypair = field(default_factory=Keypair)
    sequencer_url: str = ""
    program_id: Pubkey = field(default_factory=lambda: idl.committed().address)
    nodes: dict[str, Node] = field(default_factory=dict)
    bls: dict[str, SecretKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("logs", "keys", "ledger", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.supervisor = Supervisor(self.folder / "logs", self.folder / "tmp")

    def l1(self) -> L1Client:
        return L1Client(self.url, self.program_id)

    def sequencer(self, keypair: Keypair | None = None) -> SequencerClient:
        return SequencerClient(self.sequencer_url, keypair)

    # -- L1

    async def start_l1(self) -> None:
        """Starts L1 with the committed program as upgradeable, or finds the one at `url`; returns when it is healthy."""
        if self.l1_kind != "url":
            self.authority_path = self.folder / "ledger" / "upgrade-authority.json"
            authority = Keypair()
            write_keypair(self.authority_path, authority)
            port = real_validator.free_ports(real_validator.PORTS)
            self.url = f"http://127.0.0.1:{port}"
            ledger = self.folder / "ledger" / "l1"
            program = ["--upgradeable-program", str(self.program_id), str(ARTIFACT), str(authority.pubkey())]
            if self.l1_kind == "embedded":
                where = ["--ledger", str(ledger), "--rpc-port", str(port), "--bind-address", "127.0.0.1"]
                slots = ["--slot-ms", str(self.slot_ms), "--quiet"]
                self.supervisor.start_python("l1", "-m", "localnet", *where, *program, *slots)
            else:
                try:
                    command = real_validator.command(ledger, port, *program)
                except real_validator.ValidatorMissing as error:
                    raise NetworkError(f"{error}; or use --l1 embedded") from error
                self.supervisor.start("l1", command)
        await self._until_healthy()
        if self.l1_kind == "url":
            async with self.l1() as client:
                await self._refuse_unfit(client)

    async def _refuse_unfit(self, client: L1Client) -> None:
        """Looks, before anything is sent or started, whether a program that somebody else runs will do."""
        try:
            config = await client.check_cluster(self.parameters)
            registered = (await client.fetch_registry()).slots
        except NotInitialized:
            self._authority()
            return
        if config.highest_epoch:
            raise NetworkError(
                f"the program at {self.url} has checkpoints up to epoch {config.highest_epoch} already, whose records only their sequencer has: "
                "the demo needs a fresh one"
            )
        if registered:
            raise NetworkError(
                f"the program at {self.url} has validators that are not the demo's: give it an L1 of its own"
            )
        self._authority()

    async def _until_healthy(self) -> None:
        last = "its slots do not move"
        with trio.move_on_after(START_SECONDS):
            while True:
                self.supervisor.check()
                try:
                    async with self.l1() as client:
                        # A program deployed in slot 0 can be called from slot 1 on.
                        if await client.get_slot("confirmed") >= 2:
                            return
                except L1Error as error:
                    last = str(error)
                await trio.sleep(0.2)
        raise NetworkError(f"no L1 answered at {self.url} within {START_SECONDS:.0f} s: {last}")

    async def set_up(self, validators: int) -> None:
        """Money for everybody, the program initialised, the prepared validators registered, their set sealed."""
        async with self.l1() as client:
            await client.request_airdrop(self.payer.pubkey(), AIRDROP_LAMPORTS)
            await l1_setup.ensure_initialized(client, self._authority(), self.payer, self.parameters)
            async with trio.open_nursery() as nursery:
                for index in range(validators):
                    nursery.start_soon(self._register, client, f"validator-{index}")
            sealed = await l1_setup.advance_validator_set(client, self.payer, self._authority())
            ours = {bytes(self.nodes[f"validator-{index}"].keypair.pubkey()) for index in range(validators)}
            if {entry.authority for entry in sealed.validator_set.entries} != ours:
                raise NetworkError(f"somebody else registered validators at {self.url} while the demo did")

    def _authority(self) -> Keypair:
        if self.authority_path is None:
            raise NetworkError(
                f"the program at {self.url} needs its upgrade authority to be initialised and for its first validator set: "
                "pass --authority KEYPAIR"
            )
        return read_keypair(self.authority_path)

    async def _register(self, client: L1Client, name: str) -> None:
        authority, secret = self.nodes[name].keypair, self.bls[name]
        await l1_setup.register_validator(client, self.payer, authority, secret, VALIDATOR_STAKE_LAMPORTS)

    async def deposit(self, amounts: Mapping[Pubkey, int]) -> None:
        """Deposits lamports for each beneficiary, all in one transaction."""
        async with self.l1() as client:
            count = (await client.fetch_config("confirmed")).inbox.count
            deposits = [
                instructions.deposit(self.program_id, self.payer.pubkey(), count + place, lamports, beneficiary)
                for place, (beneficiary, lamports) in enumerate(amounts.items())
            ]
            await client.send_and_confirm(deposits, self.payer)

    # -- L2

    async def prepare_sequencer(self) -> None:
        """Its port, key and configuration, and the lamports it posts with."""
        port = real_validator.free_ports(1)
        self.sequencer_url = f"http://127.0.0.1:{port}"
        self._prepare("sequencer", Keypair(), {"port": port, "epoch_seconds": self.epoch_seconds})
        async with self.l1() as client:
            await client.request_airdrop(self.nodes["sequencer"].keypair.pubkey(), AIRDROP_LAMPORTS)

    async def start_sequencer(self, environment: dict[str, str] | None = None) -> None:
        """Returns when it answers."""
        self.start("sequencer", environment)
        with trio.move_on_after(START_SECONDS):
            async with self.sequencer() as client:
                while True:
                    self.supervisor.check()
                    try:
                        await client.call("getVersion")
                        return
                    except SequencerError:
                        await trio.sleep(0.2)
        raise NetworkError(f"the sequencer did not answer within {START_SECONDS:.0f} s")

    def prepare_validator(self, index: int) -> str:
        """Makes its keys and configuration; `set_up` registers it on L1."""
        name = f"validator-{index}"
        keys = self.folder / "keys" / f"{name}.bls.json"
        secret = self.bls[name] = SecretKey.generate()
        write_bls_key(keys, secret.to_bytes(), secret.public_key)
        self._prepare(name, Keypair(), {"sequencer": self.sequencer_url, "bls_keypair": str(keys)})
        return name

    def prepare_worker(self, index: int, module: list[str] | None = None) -> str:
        """`module`: what to run in place of `pouw worker run`; it is given `--config`."""
        name = f"worker-{index}"
        settings = {"sequencer": self.sequencer_url, "stake_lamports": WORKER_STAKE_LAMPORTS}
        self._prepare(name, Keypair(), settings, module)
        return name

    def _prepare(self, name: str, keypair: Keypair, settings: dict[str, Any], module: list[str] | None = None) -> None:
        key = self.folder / "keys" / f"{name}.json"
        write_keypair(key, keypair)
        everything = {
            "url": self.url,
            "keypair": str(key),
            "data_dir": str(self.folder / name),
            "program_id": str(self.program_id),
            **settings,
            **self.settings.get(name.partition("-")[0], {}),
        }
        config = self.folder / f"{name}.toml"
        # JSON's strings and numbers are TOML's.
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in everything.items()))
        command = module or ["-m", "cli.main", name.partition("-")[0], "run"]
        self.nodes[name] = Node(name, keypair, [*command, "--config", str(config)])

    def start(self, name: str, environment: dict[str, str] | None = None) -> Child:
        node = self.nodes[name]
        node.child = self.supervisor.start_python(name, *node.arguments, environment=environment)
        return node.child

    async def kill(self, name: str) -> None:
        """kill -9 of its whole process group; `start` runs it again over the same data."""
        await self.supervisor.kill(self._child(name))

    async def ended(self, name: str) -> int:
        """Waits until it ends by itself and returns its exit code, minus the signal's number when a signal ended it."""
        child = self._child(name)
        while child.process.poll() is None:
            await trio.sleep(0.02)
        await self.supervisor.kill(child)
        return int(child.process.returncode)

    def _child(self, name: str) -> Child:
        child = self.nodes[name].child
        if child is None:
            raise NetworkError(f"{name} was never started")
        return child

    @property
    def names(self) -> dict[str, str]:
        """Public key → name, for output."""
        return {str(node.keypair.pubkey()): name for name, node in self.nodes.items()}

    async def end(self) -> None:
        await self.supervisor.end_all()


def liar_module() -> list[str]:
    return ["-m", "cli.demo_liar"]
