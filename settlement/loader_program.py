"""A program of the upgradeable loader as L1 has it, its buffers, and who may upgrade it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import loader, pda
from settlement.client import Account, L1Client
from settlement.errors import AccountInvalid, DeployError
from settlement.loader_artifact import Artifact
from settlement.transactions import Confirmed


@dataclass(frozen=True)
class Keys:
    """`authority` is, or becomes, the program's upgrade authority and writes the buffer; `payer` pays, and gets back what is left."""

    payer: Keypair
    authority: Keypair


@dataclass(frozen=True)
class Program:
    """A program as L1 has it. `room_bytes`: what an upgrade may fill without an extension."""

    program_id: Pubkey
    program_data: Pubkey
    authority: Pubkey | None
    slot: int
    code: bytes
    lamports: int

    @property
    def room_bytes(self) -> int:
        return len(self.code)

    @property
    def program_bytes(self) -> int:
        return len(self.code.rstrip(b"\0"))

    @property
    def hash(self) -> bytes:
        return loader.program_hash(self.code)

    def holds(self, artifact: Artifact) -> bool:
        return loader.same_program(artifact.elf, self.code)


async def fetch_program(client: L1Client) -> Program | None:
    """The client's program; None when there is none. AccountInvalid for what is no upgradeable program, DeployError for a closed one."""
    address, data_address = client.program_id, pda.program_data(client.program_id)
    _, (program, program_data) = await client.get_accounts([address, data_address])
    return program_from(address, program, program_data)


def program_from(address: Pubkey, program: Account | None, program_data: Account | None) -> Program | None:
    """None when there is none yet. AccountInvalid for what is no upgradeable program, DeployError for a closed one."""
    data_address = pda.program_data(address)
    if program is None or (program.owner == pda.SYSTEM_PROGRAM and not program.data):
        return None
    if program.owner != loader.LOADER:
        raise AccountInvalid(
            str(address), f"is owned by {program.owner}, and no program of the upgradeable loader {loader.LOADER}"
        )
    if loader.decode_program(address, program.data) != data_address:
        raise AccountInvalid(str(address), f"names another ProgramData account than {data_address}")
    if program_data is None or program_data.owner != loader.LOADER or len(program_data.data) < 5:
        raise DeployError(f"program {address} was closed; an id is never used again: make another key file")
    state = loader.decode_program_data(data_address, program_data.data)
    return Program(address, data_address, state.authority, state.slot, state.data, program_data.lamports)


async def close_buffer(client: L1Client, buffer: Pubkey, keys: Keys, recipient: Pubkey) -> int:
    """The lamports that it held, which are `recipient`'s now. DeployError when there is none, or it is another's."""
    account = await client.get_account(buffer)
    if account is None or account.owner != loader.LOADER:
        raise DeployError(f"there is no buffer {buffer} on {client.url}; `pouw program show --buffers` lists yours")
    authority = loader.decode_buffer(buffer, account.data).authority
    if authority != keys.authority.pubkey():
        raise DeployError(f"the buffer {buffer} is {authority or 'nobody'}'s, not {keys.authority.pubkey()}'s")
    close = loader.close_buffer(buffer, recipient, keys.authority.pubkey())
    await client.send_and_confirm([close], keys.payer, [keys.authority])
    return account.lamports


async def buffers_of(client: L1Client, authority: Pubkey) -> list[tuple[Pubkey, int, int]]:
    """All buffers of an authority: address, lamports, bytes of the program in it. Asks for all accounts of the loader, which a public
    node may refuse (L1RpcError)."""
    header = (1).to_bytes(4, "little") + b"\x01" + bytes(authority)
    options = {
        "encoding": "base64",
        "commitment": client.commitment,
        "dataSlice": {"offset": 0, "length": 0},
        "filters": [{"memcmp": {"offset": 0, "bytes": base64.b64encode(header).decode(), "encoding": "base64"}}],
    }
    found = await client.rpc.call("getProgramAccounts", [str(loader.LOADER), options])
    return sorted(_listed(one) for one in found)


def _listed(one: Any) -> tuple[Pubkey, int, int]:
    account = one["account"]
    return (
        Pubkey.from_string(one["pubkey"]),
        int(account["lamports"]),
        int(account["space"]) - loader.BUFFER_HEADER_BYTES,
    )


async def change_authority(
    client: L1Client, keys: Keys, successor: Pubkey | None, successor_key: Keypair | None = None
) -> Confirmed:
    """Hands the program to `successor`, None for nobody, ever. With `successor_key` it signs too, which proves that the key exists."""
    program = await fetch_program(client)
    if program is None:
        raise DeployError(f"there is no program {client.program_id} on {client.url}")
    if program.authority != keys.authority.pubkey():
        held = "nobody: it is final" if program.authority is None else str(program.authority)
        raise DeployError(
            f"the upgrade authority of {client.program_id} is {held}, not {keys.authority.pubkey()}: name its key file with --keypair"
        )
    also = [] if successor_key is None else [successor_key]
    change = loader.set_authority(program.program_data, keys.authority.pubkey(), successor, checked=bool(also))
    return await client.send_and_confirm([change], keys.payer, [keys.authority, *also])
