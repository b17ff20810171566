"""The settlement program's interface as its committed IDL states it (Anchor's format since 0.30).

Names, discriminators, field orders, account flags and error codes all come from there and are written nowhere else, so a changed
program breaks tests and not users. Nothing here knows what an instruction means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from settlement.borsh import Json, Reader, decode, decode_fields, encode_fields
from settlement.errors import IdlError

ARTIFACTS = Path(__file__).parent / "artifacts"
IDL_PATH = ARTIFACTS / "settlement.json"
PROGRAM_PATH = ARTIFACTS / "settlement.so"
DISCRIMINATOR_BYTES = 8


@dataclass(frozen=True)
class AccountSpec:
    """One account of an instruction; `address` is set when the IDL fixes it (the system program)."""

    name: str
    writable: bool
    signer: bool
    optional: bool
    address: Pubkey | None
    pda: Json | None


@dataclass(frozen=True)
class InstructionSpec:
    name: str
    discriminator: bytes
    accounts: tuple[AccountSpec, ...]
    args: tuple[Json, ...]


@dataclass(frozen=True)
class ErrorSpec:
    code: int
    name: str
    message: str


class Idl:
    """One IDL. `raw` is the parsed JSON; raises IdlError when it is not of the format that Anchor writes since 0.30."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        missing = {"address", "metadata", "instructions"} - set(raw)
        if missing:
            raise IdlError(f"not an Anchor IDL of format 0.30 or later: it has no {', '.join(sorted(missing))}")
        self.raw = raw
        self.address = Pubkey.from_string(raw["address"])
        self.types: dict[str, Json] = {item["name"]: item for item in raw.get("types", [])}
        self._instructions = {item["name"]: _instruction(item) for item in raw["instructions"]}
        self._accounts = {item["name"]: bytes(item["discriminator"]) for item in raw.get("accounts", [])}
        self._events = {bytes(item["discriminator"]): item["name"] for item in raw.get("events", [])}

    @classmethod
    def load(cls, path: Path) -> Idl:
        try:
            raw = json.loads(path.read_text())
        except FileNotFoundError:
            raise IdlError(f"there is no IDL at {path}") from None
        except json.JSONDecodeError as error:
            raise IdlError(f"{path} is not JSON: {error}") from None
        return cls(raw)

    @property
    def instruction_names(self) -> tuple[str, ...]:
        return tuple(self._instructions)

    @property
    def account_names(self) -> tuple[str, ...]:
        return tuple(self._accounts)

    @cached_property
    def errors(self) -> dict[int, ErrorSpec]:
        return {
            e["code"]: ErrorSpec(e["code"], e["name"], e.get("msg") or e["name"]) for e in self.raw.get("errors", [])
        }

    def error_code(self, name: str) -> int:
        for spec in self.errors.values():
            if spec.name == name:
                return spec.code
        raise IdlError(f"the IDL has no error {name}")

    def instruction(self, name: str) -> InstructionSpec:
        if name not in self._instructions:
            raise IdlError(f"the IDL has no instruction {name}; it has {', '.join(self._instructions)}")
        return self._instructions[name]

    def build(
        self, program_id: Pubkey, name: str, args: Mapping[str, Any], accounts: Mapping[str, Pubkey]
    ) -> Instruction:
        """The instruction `name`. `accounts` names every account that the IDL does not fix, and no other; an optional one may be
        left out. Raises IdlError otherwise, or when an argument is missing, unknown or does not fit."""
        spec = self.instruction(name)
        open_accounts = {a.name for a in spec.accounts if a.address is None}
        unknown = set(accounts) - open_accounts
        missing = {a.name for a in spec.accounts if a.address is None and not a.optional} - set(accounts)
        if unknown or missing:
            problems = [f"missing account {n}" for n in sorted(missing)] + [
                f"unknown account {n}" for n in sorted(unknown)
            ]
            raise IdlError(f"{name}: {', '.join(problems)}")
        metas = []
        for account in spec.accounts:
            address = account.address or accounts.get(account.name)
            if address is None:  # Anchor's sign for an absent optional account is the program's own id
                metas.append(AccountMeta(program_id, False, False))
            else:
                metas.append(AccountMeta(address, account.signer, account.writable))
        return Instruction(program_id, self.encode_args(name, args), metas)

    def encode_args(self, name: str, args: Mapping[str, Any]) -> bytes:
        spec = self.instruction(name)
        return spec.discriminator + encode_fields(list(spec.args), args, self.types, name)

    def decode_args(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """Instruction name and arguments of instruction data; trailing bytes are an IdlError."""
        for spec in self._instructions.values():
            if data.startswith(spec.discriminator):
                reader = Reader(data[len(spec.discriminator) :])
                args = decode_fields(list(spec.args), reader, self.types, spec.name)
                if reader.remaining:
                    raise IdlError(f"{spec.name}: {len(reader.remaining)} bytes after the arguments")
                return spec.name, args
        raise IdlError(f"no instruction has the discriminator {data[:DISCRIMINATOR_BYTES].hex()}")

    def account_discriminator(self, name: str) -> bytes:
        if name not in self._accounts:
            raise IdlError(f"the IDL has no account {name}; it has {', '.join(self._accounts)}")
        return self._accounts[name]

    def decode_account(self, name: str, data: bytes) -> tuple[dict[str, Any], bytes]:
        """Fields of the account and whatever follows them (an account read in place may have a tail that the IDL does not list)."""
        discriminator = self.account_discriminator(name)
        if not data.startswith(discriminator):
            raise IdlError(f"{name}: the discriminator is {data[:8].hex()}, expected {discriminator.hex()}")
        reader = Reader(data[len(discriminator) :])
        fields = decode({"defined": {"name": name}}, reader, self.types, name)
        return fields, reader.remaining

    def decode_event(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Name and fields of the event in one `Program data:` payload; None when it is no event of this program."""
        name = self._events.get(data[:DISCRIMINATOR_BYTES])
        if name is None:
            return None
        reader = Reader(data[DISCRIMINATOR_BYTES:])
        fields = decode({"defined": {"name": name}}, reader, self.types, name)
        if reader.remaining:
            raise IdlError(f"{name}: {len(reader.remaining)} bytes after the event")
        return name, fields


def _instruction(item: Json) -> InstructionSpec:
    return InstructionSpec(
        item["name"], bytes(item["discriminator"]), tuple(_accounts(item["accounts"])), tuple(item["args"])
    )


def _accounts(items: list[Json]) -> list[AccountSpec]:
    found: list[AccountSpec] = []
    for item in items:
        if "accounts" in item:  # a composite is flattened in order, as the runtime reads it
            found += _accounts(item["accounts"])
            continue
        address = item.get("address")
        fixed = Pubkey.from_string(address) if address and "." not in address else None
        found.append(
            AccountSpec(
                item["name"],
                item.get("writable", False),
                item.get("signer", False),
                item.get("optional", False),
                fixed,
                item.get("pda"),
            )
        )
    return found


@cache
def committed() -> Idl:
    """The IDL of the committed program."""
    return Idl.load(IDL_PATH)
