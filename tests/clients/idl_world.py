"""An L1 with the program on it, set up as docs/clients.md says, for clients that know the IDL only. Ours settles the epoch that they cannot,
and says what it reads, so that they can be compared.

    python -m tests.clients.idl_world        as a process for clients of another environment: one JSON object a line

It prints {"url", "folder"} once the L1 is ready, then answers each line of stdin (epoch, read, tails, examples), until stdin ends.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio
from solders.keypair import Keypair

from bench.l1_process import ROOT
from localnet.real_validator import free_ports
from settlement import dispute_instructions, idl, instructions, pda, slash_instructions, stake_instructions
from settlement.bls import SecretKey
from settlement.client import L1Client
from settlement.dispute_accounts import DemandKind
from settlement.errors import ProgramError
from settlement.keys import read_bls_secret, read_keypair
from settlement.l1_setup import advance_validator_set
from settlement.ledger import Account, State, account_key
from settlement.messages import CheckpointMessage
from settlement.money import claim
from tests.clients import idl_values
from tests.docs.markdown import blocks
from tests.process_group import ended_with_us
from tests.settling import SOL, Settling

DOCUMENT = "docs/clients.md"
URL = "http://127.0.0.1:8899"  # as the document writes it
SLOT_MS = 100
LIMIT_SECONDS = 300
BUFFER_ID = 7
COMPUTE_UNITS = 400_000
DEMAND_TRIES = 20


class SetupFailed(RuntimeError):
    """The document's commands did not get through; the message holds what they printed."""


def snippet(language: str, heading: str) -> str:
    """The document's block of that language under that heading."""
    (found,) = (one.text for one in blocks(DOCUMENT) if (one.language, one.heading) == (language, heading))
    return found


@dataclass(frozen=True)
class World:
    """`folder` is where a reader of the document stands: with `data`, and with what the snippets read of the repository."""

    url: str
    folder: Path

    def adapt(self, text: str) -> str:
        """A snippet for this L1; nothing else of it is changed."""
        assert URL in text
        return text.replace(URL, self.url)

    def epoch(self) -> None:
        """Seals the client's validator into a set, posts and finalizes an epoch that takes its inbox entries, claims half of what it owes
        and leaves a proof buffer open. Somebody delegates and unbonds. Then the validator is found to have signed two messages of one epoch,
        and slashed."""
        trio.run(self._epoch)

    async def _epoch(self) -> None:
        data = self.folder / "data"
        authority, payer = read_keypair(data / "ledger" / "upgrade-authority.json"), Keypair()
        secret = SecretKey.from_bytes(read_bls_secret(data / "bls.json"))
        async with L1Client(self.url) as client:
            for one in (authority, payer):
                await client.request_airdrop(one.pubkey(), 10 * SOL)
            await advance_validator_set(client, payer, authority)
            settling = Settling(_Settled(client, payer), secret)
            leaf = Account(bytes(Keypair().pubkey()), payable=1_000_000)
            state = State.empty().with_account(leaf)
            message = await settling.post(state.root, leaf.payable)
            await settling.finalize(message.epoch)
            siblings = list(state.proof(account_key(leaf.node))[1])
            await claim(client, payer, leaf.encode(), siblings)
            program, owner = client.program_id, payer.pubkey()
            create = instructions.create_proof_buffer(program, owner, BUFFER_ID, 64)
            write = instructions.write_proof_buffer(program, owner, BUFFER_ID, 32, bytes(range(32)))
            await client.send_and_confirm([create, write], payer)
            validator = pda.validator(program, secret.public_key)
            delegate = stake_instructions.delegate(program, owner, owner, validator, 2_000_000)
            unbond = stake_instructions.unbond(program, owner, owner, validator, 0, 1_000_000)
            await client.send_and_confirm([delegate, unbond], payer)
            config = await client.fetch_config()
            propose = dispute_instructions.propose_parameters(program, owner, authority.pubkey(), config.parameters)
            await client.send_and_confirm([propose], payer, [authority])
            await self._demand(client, payer, settling, state.root, leaf.payable)
            await self._equivocation(client, payer, secret, message)

    async def _demand(
        self, client: L1Client, payer: Keypair, settling: Settling, root: bytes, payable_total: int
    ) -> None:
        """Posts an epoch and demands its first chunk; on a slow machine the window may have closed in between, so it is tried again."""
        for _ in range(DEMAND_TRIES):
            epoch = (await settling.post(root, payable_total)).epoch
            demand = dispute_instructions.open_demand(client.program_id, payer.pubkey(), epoch, DemandKind.CHUNK, 0)
            try:
                await client.send_and_confirm([demand], payer)
            except ProgramError as error:
                if error.name != "ChallengeWindowOver":
                    raise
            else:
                return
        raise SetupFailed(f"no demand got there in time in {DEMAND_TRIES} epochs")

    async def _equivocation(
        self, client: L1Client, payer: Keypair, secret: SecretKey, message: CheckpointMessage
    ) -> None:
        domain, config = await client.domain(), await client.fetch_config()
        program, owner, version = client.program_id, payer.pubkey(), config.pinned.version
        receipts = []
        for results_root in (b"\4" * 32, b"\5" * 32):
            other = replace(message, epoch=message.epoch + 1, parent_hash=config.posted.hash, results_root=results_root)
            signature = secret.sign(digest := other.hash(domain))
            record = slash_instructions.record_receipt(program, owner, domain.genesis, version, other, 1, signature)
            await client.send_and_confirm([record], payer, compute_unit_limit=COMPUTE_UNITS)
            receipts.append(pda.receipt(program, owner, digest))
        validator = pda.validator(program, secret.public_key)
        slash = slash_instructions.slash_equivocation(
            program, owner, validator, message.epoch + 1, (receipts[0], receipts[1]), (version, version), (0, 0)
        )
        await client.send_and_confirm([slash], payer, compute_unit_limit=COMPUTE_UNITS)

    def read(self) -> dict[str, dict[str, idl_values.Plain]]:
        """By type and address, what the Python client reads of every account of the program."""
        found: dict[str, dict[str, idl_values.Plain]] = {}
        for address, data in self.data().items():
            name, value = idl_values.account(idl.committed(), data)
            found.setdefault(name, {})[address] = value
        return found

    def data(self) -> dict[str, bytes]:
        """By address, the data of every account of the program but the vaults, which hold lamports only."""
        return trio.run(self._data)

    async def _data(self) -> dict[str, bytes]:
        async with L1Client(self.url) as client:
            options = {"encoding": "base64", "commitment": "confirmed"}
            found = await client.rpc.call("getProgramAccounts", [str(client.program_id), options])
        data = {one["pubkey"]: base64.b64decode(one["account"]["data"][0]) for one in found}
        return {address: bytes for address, bytes in data.items() if bytes}


@dataclass(frozen=True)
class _Settled:
    """What Settling needs of an L1."""

    client: L1Client
    rich: Keypair


@contextmanager
def world() -> Iterator[World]:
    """Raises SetupFailed."""
    with tempfile.TemporaryDirectory(prefix="pouw-idl-") as name:
        folder, port = Path(name), free_ports(2)
        (folder / "settlement").symlink_to(ROOT / "settlement")
        (folder / "scripts").symlink_to(ROOT / "scripts")
        url = f"http://127.0.0.1:{port}"
        script = snippet("sh", "An L1 to try it on")
        for written, run in {
            "./localnet.sh": f"{ROOT}/localnet.sh --embedded --rpc-port {port} --slot-ms {SLOT_MS}",
            "./run ": f"{ROOT}/run ",
        }.items():
            assert written in script
            script = script.replace(written, run)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("POUW_")}
        # The environment that runs this is the one that ./run would make or take.
        environment |= {"POUW_URL": url, "POUW_VENV": sys.prefix, "HOME": name}
        command = ["bash", "-e", "-u", "-o", "pipefail", "-c", script]
        log = folder / "setup.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        with ended_with_us(process):
            if process.wait(LIMIT_SECONDS):
                raise SetupFailed(f"the commands of {DOCUMENT} failed:\n{log.read_text()}")
            yield World(url, folder)


def main() -> None:
    with world() as here:
        print(json.dumps({"url": here.url, "folder": str(here.folder)}), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(here, line.strip())), flush=True)


def answer(here: World, asked: str) -> Any:
    if asked == "epoch":
        return here.epoch()
    if asked == "read":
        return here.read()
    if asked == "examples":
        return idl_values.examples(idl.committed())
    if asked == "tails":
        return idl_values.TAILS
    raise ValueError(f"asked for {asked!r}")


if __name__ == "__main__":
    main()
