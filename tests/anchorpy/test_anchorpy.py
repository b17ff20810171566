"""anchorpy 0.21 through the legacy IDL, against the running localnet as docs/clients.md says: it registers a validator and makes inbox
entries, and sees in every field of every account type what our own client reads."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anchorpy import Context, Idl, Program, Provider, Wallet
from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair
from solders.pubkey import Pubkey

ROOT = Path(__file__).parents[2]
IDL = json.loads((ROOT / "settlement" / "artifacts" / "settlement.json").read_text())
TYPES = {item["name"]: item["type"] for item in IDL["types"]}
URL = "http://127.0.0.1:8899"  # as docs/clients.md writes it
LIMIT_SECONDS = 120

Json = Any


class World:
    """The process of tests/clients/idl_world.py, which runs in the project's own environment."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        ready = self._next()
        self.url, self.folder = ready["url"], Path(ready["folder"])

    def ask(self, what: str) -> Json:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._next()

    def _next(self) -> Json:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the world ended; what it said stands above"
        return json.loads(line)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    # This environment is not the one that the world runs in.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | {
        "PYTHONPATH": str(ROOT)
    }
    command = [str(ROOT / "run"), "python", "-m", "tests.clients.idl_world"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield World(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # it then ends its localnet and itself


def snippet() -> str:
    (found,) = re.findall(
        r"^## anchorpy\n\n```python\n(.*?)^```$", (ROOT / "docs" / "clients.md").read_text(), re.M | re.S
    )
    return found


def test_it_does_and_sees_what_ours_does(world: World) -> None:
    code = snippet()
    assert URL in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace(URL, world.url)],
        cwd=world.folder, capture_output=True, text=True, timeout=LIMIT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "the registry has 1 validators",
        "refused: 6039 the deposit is below min_inbox_lamports",
        "Deposited: entry 0 of 2000000 lamports",
        "inbox entry 0 of 2000000 lamports",
        "task in inbox entry 1 of 3000000 lamports",
    ]
    world.ask("epoch")
    ours, tails = world.ask("read"), world.ask("tails")
    # No instruction writes a Strike so far; the examples below have one.
    assert set(ours) == {item["name"] for item in IDL["accounts"]} - {"Strike"}
    assert asyncio.run(read(world, tails)) == ours


def test_examples_of_all_there_is(world: World) -> None:
    """Every account, event and instruction of the IDL with made-up values, whether the chain has one or not."""
    examples = world.ask("examples")
    idl = legacy_idl(world)
    program = Program(idl, Pubkey.from_string(IDL["address"]), Provider.readonly(world.url))
    assert set(examples["accounts"]) == {account.name for account in idl.accounts}
    for name, one in examples["accounts"].items():
        assert (
            plain(defined(name), program.account[name].coder.accounts.decode(bytes.fromhex(one["data"])))
            == one["value"]
        )
    assert set(examples["events"]) == {event.name for event in idl.events}
    for name, one in examples["events"].items():
        event = program.coder.events.parse(bytes.fromhex(one["data"]))
        assert (event.name, plain(defined(name), event.data)) == (name, one["value"])
    assert set(examples["instructions"]) == set(program.instruction)
    for name, given in examples["instructions"].items():
        for one in given:
            check_instruction(program, name, one)
    assert {error.code: error.name for error in idl.errors} == {error["code"]: error["name"] for error in IDL["errors"]}


def legacy_idl(world: World) -> Idl:
    return Idl.from_json((world.folder / "data" / "settlement.legacy.json").read_text())


async def read(world: World, tails: dict[str, str]) -> Json:
    """By type and address, every account of the program, in the notation of tests/clients/idl_values.py."""
    idl, found = legacy_idl(world), {}
    connection = AsyncClient(world.url, "confirmed")
    provider = Provider(connection, Wallet(Keypair()))
    async with Program(idl, Pubkey.from_string(idl.metadata["address"]), provider) as program:
        for name, client in program.account.items():
            for one in await client.all():
                value = plain(defined(name), one.account)
                if name in tails:
                    data = (await connection.get_account_info(one.public_key)).value.data
                    value["tail"] = tail_of(tails[name], name, one.account, data[client.size :], program)
                found.setdefault(name, {})[str(one.public_key)] = value
    return found


def tail_of(item: str, name: str, account: Any, tail: bytes, program: Program) -> Json:
    """What stands behind an account's fields, which anchorpy hands out as bytes only."""
    if item == "bytes":
        return tail[: account.length].hex()
    size = size_of(defined(item))
    items = [
        program.coder.types.decode(item, tail[start : start + size]) for start in range(0, len(tail) - size + 1, size)
    ]
    used = items[: account.count] if name == "ValidatorSet" else [one for one in items if one.flags & 1]
    return [plain(defined(item), one) for one in used]


def check_instruction(program: Program, name: str, example: Json) -> None:
    spec = next(item for item in IDL["instructions"] if item["name"] == name)
    accounts = {
        account: Pubkey.from_string(address) if address else program.program_id
        for account, address in example["accounts"].items()
    }
    args = [native(arg["type"], example["args"][arg["name"]]) for arg in spec["args"]]
    built = program.instruction[name](*args, ctx=Context(accounts=accounts))
    assert bytes(built.data).hex() == example["data"], name
    for meta, account, expected in zip(built.accounts, spec["accounts"], example["metas"], strict=True):
        left_out = example["accounts"][account["name"]] is None
        # For one that is left out anchorpy keeps the flags that it would have; a program's id cannot be written to anyway.
        flags = [account.get("signer", False), account.get("writable", False)] if left_out else expected[1:]
        assert [str(meta.pubkey), meta.is_signer, meta.is_writable] == [expected[0], *flags], (name, account["name"])


def defined(name: str) -> Json:
    return {"defined": {"name": name}}


def is_number(kind: Json) -> bool:
    return isinstance(kind, str) and re.fullmatch(r"[ui]\d+", kind) is not None


def element(kind: Json) -> Json:
    return kind["array"][0] if "array" in kind else kind["vec"]


def plain(kind: Json, value: Any) -> Json:
    """What anchorpy decoded, in the notation of tests/clients/idl_values.py."""
    if is_number(kind) or kind == "pubkey":
        return str(value)
    if kind == "bytes":
        return bytes(value).hex()
    if isinstance(kind, str):
        return value
    if "option" in kind:
        return None if value is None else plain(kind["option"], value)
    if "defined" in kind:
        return plain_defined(TYPES[kind["defined"]["name"]], value)
    return bytes(value).hex() if element(kind) == "u8" else [plain(element(kind), one) for one in value]


def plain_defined(definition: Json, value: Any) -> Json:
    if definition["kind"] == "type":
        return plain(definition["alias"], value)
    if definition["kind"] == "struct":
        return plain_fields(definition.get("fields") or [], value)
    (variant,) = (one for one in definition["variants"] if one["name"] == type(value).__name__)
    fields = variant.get("fields")
    return {variant["name"]: plain_fields(fields, value)} if fields else variant["name"]


def plain_fields(fields: list[Json], value: Any) -> Json:
    return {field["name"]: plain(field["type"], getattr(value, field["name"])) for field in fields}


def native(kind: Json, value: Json) -> Any:
    """The notation, as anchorpy takes it."""
    if is_number(kind):
        return int(value)
    if kind == "pubkey":
        return Pubkey.from_string(value)
    if kind == "bytes" or (isinstance(kind, dict) and {"array", "vec"} & set(kind) and element(kind) == "u8"):
        return bytes.fromhex(value)
    if isinstance(kind, str):
        return value
    if "option" in kind:
        return None if value is None else native(kind["option"], value)
    if "defined" in kind:
        definition = TYPES[kind["defined"]["name"]]
        if definition["kind"] == "type":
            return native(definition["alias"], value)
        assert definition["kind"] == "struct", "no argument is an enum so far"
        return {field["name"]: native(field["type"], value[field["name"]]) for field in definition.get("fields") or []}
    return [native(element(kind), one) for one in value]


def size_of(kind: Json) -> int:
    """Bytes of a type that has only one size."""
    if is_number(kind):
        return int(kind[1:]) // 8
    if isinstance(kind, str):
        return {"pubkey": 32, "bool": 1}[kind]
    if "array" in kind:
        return size_of(kind["array"][0]) * kind["array"][1]
    return sum(size_of(field["type"]) for field in TYPES[kind["defined"]["name"]]["fields"])
