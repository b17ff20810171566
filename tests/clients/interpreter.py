"""Carries the script out for a client written in Python. What differs between clients is behind `Client`; a step's meaning is here.

A step's outcome is `{"result": …}` or `{"error": …}`; a call that the client has no way to say has none.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from localnet.base58 import b58encode
from tests.clients.instructions import LOOKUP_TABLE

NOTIFICATION_SECONDS = 60
WAIT_SECONDS = 60


class NotExpressible(Exception):
    """The client's own interface has no way to say this call."""


class Client(ABC):
    @abstractmethod
    async def call(self, method: str, params: list[Any]) -> Any:
        """The result as JSON. Raises NotExpressible, or whatever the client raises for an error."""

    @abstractmethod
    async def airdrop(self, to: str, lamports: int) -> str: ...

    @abstractmethod
    async def send(self, transaction: VersionedTransaction, options: dict[str, Any]) -> str: ...

    @abstractmethod
    async def simulate(self, transaction: VersionedTransaction, options: dict[str, Any]) -> Any: ...

    @abstractmethod
    async def confirm(self, signature: str) -> None:
        """Returns once the signature is confirmed, failed or not."""

    @abstractmethod
    def subscribed(self, kind: str, params: list[Any]) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """The subscription's notifications, from when it stands."""

    @abstractmethod
    def error(self, error: Exception) -> dict[str, Any]:
        """What the caller gets to see of an error. Raises TypeError for what is no answer of the L1."""


class Interpreter:
    def __init__(self, client: Client, script: dict[str, Any]) -> None:
        self.client = client
        self.keypairs = {name: Keypair.from_bytes(bytes.fromhex(text)) for name, text in script["keypairs"].items()}
        self.steps = script["steps"]
        self.saved: dict[str, Any] = {}
        self.outcomes: dict[str, Any] = {}

    async def run(self) -> dict[str, Any]:
        for step in self.steps:
            await self.step(step)
        return {"saved": self.saved, "outcomes": self.outcomes}

    async def step(self, step: dict[str, Any]) -> None:
        do = {
            "call": self._call,
            "airdrop": self._airdrop,
            "send": self._send,
            "simulate": self._simulate,
            "wire": self._wire,
            "message": self._message,
            "subscribe": self._subscribe,
            "lookup_table": self._lookup_table,
            "wait_slots": self._wait_slots,
        }[step["do"]]
        name = step.get("name")
        try:
            result = await do(step)
        except NotExpressible:
            return
        except Exception as error:
            if not name:
                raise
            self.outcomes[name] = {"error": self.client.error(error)}
            return
        for saved, path in step.get("save", {}).items():
            self.saved[saved] = at_path(result, path)
        if name:
            self.outcomes[name] = {"result": result}

    def fill(self, value: Any) -> Any:
        """`$name` replaced by what was saved under it."""
        if isinstance(value, str) and value.startswith("$"):
            return self.saved[value[1:]]
        if isinstance(value, list):
            return [self.fill(one) for one in value]
        if isinstance(value, dict):
            return {key: self.fill(one) for key, one in value.items()}
        return value

    async def _call(self, step: dict[str, Any]) -> Any:
        result = await self.client.call(step["method"], self.fill(step["params"]))
        if step.get("confirm"):
            await self.client.confirm(result)
        return result

    async def _airdrop(self, step: dict[str, Any]) -> str:
        return await self.client.airdrop(step["to"], step["lamports"])

    async def _send(self, step: dict[str, Any]) -> str:
        signature = await self.client.send(await self._transaction(step), step["options"])
        if step["confirm"]:
            await self.client.confirm(signature)
        return signature

    async def _simulate(self, step: dict[str, Any]) -> Any:
        return await self.client.simulate(await self._transaction(step), step["options"])

    async def _wire(self, step: dict[str, Any]) -> str:
        wire = bytes(await self._transaction(step))
        for name in step["save"]:
            self.saved[f"{name}58"] = b58encode(wire)
        return base64.b64encode(wire).decode()

    async def _message(self, step: dict[str, Any]) -> str:
        return base64.b64encode(to_bytes_versioned((await self._transaction(step)).message)).decode()

    async def _subscribe(self, step: dict[str, Any]) -> list[Any]:
        async with self.client.subscribed(step["kind"], self.fill(step["params"])) as notifications:
            for inner in step["then"]:
                await self.step(inner)
            async with asyncio.timeout(NOTIFICATION_SECONDS):
                return [await anext(notifications) for _ in range(step["count"])]

    async def _lookup_table(self, step: dict[str, Any]) -> None:
        slot = await self.client.call("getSlot", [{"commitment": "finalized"}])
        seeds = [bytes(self.keypairs[step["authority"]].pubkey()), slot.to_bytes(8, "little")]
        table, bump = Pubkey.find_program_address(seeds, Pubkey.from_string(LOOKUP_TABLE))
        self.saved["table"] = str(table)
        self.saved["tableData"] = bytes(4).hex() + slot.to_bytes(8, "little").hex() + bytes([bump]).hex()

    async def _wait_slots(self, step: dict[str, Any]) -> None:
        wanted = await self._slot() + step["count"]
        async with asyncio.timeout(WAIT_SECONDS):
            while await self._slot() < wanted:
                await asyncio.sleep(0.1)

    async def _slot(self) -> int:
        return await self.client.call("getSlot", [{"commitment": "confirmed"}])

    async def _transaction(self, step: dict[str, Any]) -> VersionedTransaction:
        blockhash = step.get("blockhash")
        if blockhash is None:
            blockhash = (await self.client.call("getLatestBlockhash", [{"commitment": "confirmed"}]))["value"][
                "blockhash"
            ]
        signers = [self.keypairs[name] for name in (step["payer"], *step["signers"])]
        built = [as_instruction(self.fill(one)) for one in step["instructions"]]
        message: Message | MessageV0
        if step["version"] == "legacy":
            message = Message.new_with_blockhash(built, signers[0].pubkey(), Hash.from_string(blockhash))
        else:
            tables = [_table(self.fill(one)) for one in step.get("tables", [])]
            message = MessageV0.try_compile(signers[0].pubkey(), built, tables, Hash.from_string(blockhash))
        signed = {pair.pubkey(): pair.sign_message(to_bytes_versioned(message)) for pair in signers}
        count = message.header.num_required_signatures
        transaction = VersionedTransaction.populate(message, [signed[key] for key in message.account_keys[:count]])
        if step.get("corrupt"):
            wire = bytearray(bytes(transaction))
            wire[1] ^= 1
            transaction = VersionedTransaction.from_bytes(bytes(wire))
        return transaction


def as_instruction(data: dict[str, Any]) -> Instruction:
    accounts = [AccountMeta(Pubkey.from_string(key), "s" in flags, "w" in flags) for key, flags in data["accounts"]]
    return Instruction(Pubkey.from_string(data["program"]), bytes.fromhex(data["data"]), accounts)


def _table(data: dict[str, Any]) -> AddressLookupTableAccount:
    return AddressLookupTableAccount(
        Pubkey.from_string(data["address"]), [Pubkey.from_string(key) for key in data["addresses"]]
    )


def at_path(value: Any, path: str) -> Any:
    for part in filter(None, path.split(".")):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def main(make: Callable[[str, str], AbstractAsyncContextManager[Client]]) -> None:
    """The command line of a client: RPC URL, WebSocket URL, the script's file, the file for what was recorded."""
    rpc_url, websocket_url, script_path, out_path = sys.argv[1:]
    script = json.loads(Path(script_path).read_text())

    async def run() -> dict[str, Any]:
        async with make(rpc_url, websocket_url) as client:
            return await Interpreter(client, script).run()

    recorded = asyncio.run(run())
    Path(out_path).write_text(json.dumps(recorded))
