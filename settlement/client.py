"""The client of L1 and of the settlement program: reads accounts at a commitment level, sends instructions and follows them.

It decides nothing: what to send and when belongs to its callers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import trio
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM_ID

from settlement import accounts, idl, pda
from settlement.accounts import (
    Checkpoint,
    Config,
    InboxEntryAccount,
    Parameters,
    ProofBuffer,
    Registry,
    SetAccount,
)
from settlement.dispute_accounts import Demand, decode_demand
from settlement.errors import AccountInvalid, AccountMissing, GenesisMismatch, NotInitialized, ProfileMismatch
from settlement.quorum import Caller, QuorumRpc, caller_of
from settlement.rpc import Commitment
from settlement.signing import Domain
from settlement.tags import u64le
from settlement.transactions import Confirmed, SignedTransaction, block_height, follow, sign

ACCOUNTS_PER_CALL = 100  # agave's MAX_MULTIPLE_ACCOUNTS
SLOT_SECONDS = 0.4
DEMAND_EPOCH_OFFSET = 16  # discriminator, version, bump, kind, five reserved bytes
BUFFER_OWNER_OFFSET = 16  # discriminator, version, bump, two reserved bytes, length
NEGATIVE_LAMPORTS = 1  # SystemError::ResultWithNegativeLamports


@dataclass(frozen=True)
class Account:
    """An account as L1 holds it."""

    lamports: int
    owner: Pubkey
    data: bytes
    executable: bool


class L1Client:
    """One program, on one node or on several that must agree (settlement/quorum.py). An async context manager under trio; safe for
    concurrent use.

    `url` is one URL, a sequence of them, or an open way to call. `commitment` is the default of all reads. `program_id` defaults to that
    of the committed build.
    """

    def __init__(
        self, url: str | Sequence[str] | Caller, program_id: Pubkey | None = None, commitment: Commitment = "confirmed"
    ) -> None:
        if isinstance(url, str):
            url = [url]
        self.rpc: Caller = caller_of(url) if isinstance(url, Sequence) else url
        self.url = self.rpc.url
        self.program_id = program_id if program_id is not None else idl.committed().address
        self.commitment: Commitment = commitment
        self._genesis_hash: bytes | None = None

    async def __aenter__(self) -> L1Client:
        await self.rpc.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.rpc.__aexit__(kind, error, trace)

    @property
    def troubles(self) -> dict[str, str | None]:
        """Where several nodes are asked: by URL, what is wrong with it, or None. The others outvote it."""
        return self.rpc.troubles if isinstance(self.rpc, QuorumRpc) else {}

    # -- the cluster

    async def get_slot(self, commitment: Commitment | None = None) -> int:
        return int(await self.rpc.call("getSlot", [{"commitment": commitment or self.commitment}]))

    async def get_block_height(self, commitment: Commitment | None = None) -> int:
        return await block_height(self.rpc, commitment or self.commitment)

    async def wait_for_slot(self, slot: int, commitment: Commitment | None = None) -> int:
        """Returns once the slot at `commitment` is at least `slot`, and what it is then."""
        while (now := await self.get_slot(commitment)) < slot:
            await trio.sleep(min(max((slot - now) * SLOT_SECONDS / 2, SLOT_SECONDS / 4), 2.0))
        return now

    async def genesis_hash(self) -> bytes:
        """The cluster's genesis hash, 32 bytes; asked for once."""
        if self._genesis_hash is None:
            self._genesis_hash = bytes(Hash.from_string(await self.rpc.call("getGenesisHash")))
        return self._genesis_hash

    async def domain(self) -> Domain:
        return Domain(await self.genesis_hash(), bytes(self.program_id))

    async def get_balance(self, address: Pubkey, commitment: Commitment | None = None) -> int:
        """Lamports; 0 for an account that does not exist."""
        answer = await self.rpc.call("getBalance", [str(address), {"commitment": commitment or self.commitment}])
        return int(answer["value"])

    async def minimum_rent(self, data_bytes: int) -> int:
        """Lamports that make an account of that size rent-exempt."""
        return int(await self.rpc.call("getMinimumBalanceForRentExemption", [data_bytes]))

    async def request_airdrop(self, address: Pubkey, lamports: int) -> None:
        """Asks a localnet's faucet and waits until the balance has grown, for 30 seconds at most."""
        before = await self.get_balance(address, "confirmed")
        await self.rpc.call("requestAirdrop", [str(address), lamports])
        with trio.fail_after(30):
            while await self.get_balance(address, "confirmed") <= before:
                await trio.sleep(SLOT_SECONDS / 4)

    # -- accounts

    async def get_accounts(
        self, addresses: Sequence[Pubkey], commitment: Commitment | None = None
    ) -> tuple[int, list[Account | None]]:
        """The accounts in order (None where there is none), 100 to a call, and the lowest slot they were read at."""
        found: list[Account | None] = []
        slots = []
        options = {"encoding": "base64", "commitment": commitment or self.commitment}
        for start in range(0, len(addresses), ACCOUNTS_PER_CALL):
            batch = [str(address) for address in addresses[start : start + ACCOUNTS_PER_CALL]]
            answer = await self.rpc.call("getMultipleAccounts", [batch, options])
            slots.append(int(answer["context"]["slot"]))
            found += [_account(value) for value in answer["value"]]
        return min(slots, default=0), found

    async def get_account(self, address: Pubkey, commitment: Commitment | None = None) -> Account | None:
        answer = await self.rpc.call(
            "getAccountInfo", [str(address), {"encoding": "base64", "commitment": commitment or self.commitment}]
        )
        return _account(answer["value"])

    async def _owned(self, address: Pubkey, commitment: Commitment | None) -> bytes | None:
        return self._data(address, await self.get_account(address, commitment))

    def _data(self, address: Pubkey, account: Account | None) -> bytes | None:
        # Anybody can send lamports to a derived address before the program creates its account there.
        if account is None or (account.owner == pda.SYSTEM_PROGRAM and not account.data):
            return None
        if account.owner != self.program_id:
            raise AccountInvalid(
                str(address), f"is owned by {account.owner}, expected the settlement program {self.program_id}"
            )
        return account.data

    async def fetch_config(self, commitment: Commitment | None = None) -> Config:
        """NotInitialized when there is none."""
        address = pda.config(self.program_id)
        data = await self._owned(address, commitment)
        if data is None:
            raise NotInitialized(str(self.program_id), self.url)
        return accounts.decode_config(address, data)

    async def check_cluster(self, parameters: Parameters | None = None, commitment: Commitment | None = None) -> Config:
        """The Config, which must be of this cluster's genesis (GenesisMismatch) and, if given, have these parameters
        (ProfileMismatch names the first that differs)."""
        config = await self.fetch_config(commitment)
        genesis = await self.genesis_hash()
        if config.genesis_hash != genesis:
            raise GenesisMismatch(config.genesis_hash, genesis)
        if parameters is not None and (difference := config.parameters.difference(parameters)):
            raise ProfileMismatch(*difference)
        return config

    async def fetch_registry(self, commitment: Commitment | None = None) -> Registry:
        address = pda.registry(self.program_id)
        data = await self._owned(address, commitment)
        if data is None:
            raise NotInitialized(str(self.program_id), self.url)
        return accounts.decode_registry(address, data)

    async def fetch_validator_set(self, version: int, commitment: Commitment | None = None) -> SetAccount | None:
        address = pda.validator_set(self.program_id, version)
        data = await self._owned(address, commitment)
        return None if data is None else accounts.decode_validator_set(address, data)

    async def fetch_checkpoint(self, epoch: int, commitment: Commitment | None = None) -> Checkpoint | None:
        address = pda.checkpoint(self.program_id, epoch)
        data = await self._owned(address, commitment)
        return None if data is None else accounts.decode_checkpoint(address, data)

    async def checkpoint_as_of(self, epoch: int, commitment: Commitment) -> tuple[int, Checkpoint | None]:
        """The checkpoint and the slot that the node had at `commitment` when it looked: both of one answer, so that an absence can
        never be dated later than it was seen."""
        address = pda.checkpoint(self.program_id, epoch)
        slot, (account,) = await self.get_accounts([address], commitment)
        data = self._data(address, account)
        return slot, None if data is None else accounts.decode_checkpoint(address, data)

    async def recent_priority_fees(self, writable: Sequence[Pubkey]) -> list[int]:
        """What transactions that write these accounts paid of late, in micro-lamports a compute unit, a block each; empty when none did."""
        found = await self.rpc.call("getRecentPrioritizationFees", [[str(address) for address in writable]])
        return [int(block["prioritizationFee"]) for block in found]

    async def fetch_inbox_entries(
        self, start: int, end: int, commitment: Commitment | None = None
    ) -> tuple[InboxEntryAccount, ...]:
        """Entries start … end − 1; AccountMissing if one is not there at that commitment."""
        addresses = [pda.inbox_entry(self.program_id, index) for index in range(start, end)]
        _, found = await self.get_accounts(addresses, commitment)
        entries = []
        for address, account in zip(addresses, found, strict=True):
            data = self._data(address, account)
            if data is None:
                raise AccountMissing(str(address), "inbox entry")
            entries.append(accounts.decode_inbox_entry(address, data))
        return tuple(entries)

    async def fetch_claimed(self, public_key: bytes, commitment: Commitment | None = None) -> int:
        """Lamports that were claimed so far for the L2 account of this ed25519 key."""
        address = pda.claim(self.program_id, public_key)
        data = await self._owned(address, commitment)
        return 0 if data is None else accounts.decode_claim(address, data).claimed_lamports

    async def fetch_proof_buffer(
        self, owner: Pubkey, buffer_id: int, commitment: Commitment | None = None
    ) -> ProofBuffer | None:
        address = pda.proof_buffer(self.program_id, owner, buffer_id)
        data = await self._owned(address, commitment)
        return None if data is None else accounts.decode_proof_buffer(address, data)

    async def fetch_checkpoints(
        self, epochs: Sequence[int], commitment: Commitment | None = None
    ) -> list[Checkpoint | None]:
        """In the order of `epochs`, 100 to a call."""
        addresses = [pda.checkpoint(self.program_id, epoch) for epoch in epochs]
        _, found = await self.get_accounts(addresses, commitment)
        owned = [(address, self._data(address, account)) for address, account in zip(addresses, found, strict=True)]
        return [None if data is None else accounts.decode_checkpoint(address, data) for address, data in owned]

    async def fetch_demands(self, epoch: int | None = None, commitment: Commitment | None = None) -> tuple[Demand, ...]:
        """The open demands of an epoch, or all, the first that has to be answered first. Asks for accounts by their content, which a public
        node may refuse (L1RpcError)."""
        filters = {0: idl.committed().account_discriminator("Demand")}
        if epoch is not None:
            filters[DEMAND_EPOCH_OFFSET] = u64le(epoch)
        found = [decode_demand(address, data) for address, data in await self._search(filters, commitment)]
        return tuple(sorted(found, key=lambda one: (one.answer_until_slot, one.epoch, one.kind, one.index)))

    async def proof_buffers_of(self, owner: Pubkey, commitment: Commitment | None = None) -> list[int]:
        """The ids of an owner's proof buffers; asks as fetch_demands does."""
        filters = {0: idl.committed().account_discriminator("ProofBuffer"), BUFFER_OWNER_OFFSET: bytes(owner)}
        found = await self._search(filters, commitment)
        return sorted(accounts.decode_proof_buffer(address, data).id for address, data in found)

    async def _search(self, patterns: Mapping[int, bytes], commitment: Commitment | None) -> list[tuple[Pubkey, bytes]]:
        """The program's accounts that hold these bytes at these offsets."""
        options = {
            "encoding": "base64",
            "commitment": commitment or self.commitment,
            "filters": [
                {"memcmp": {"offset": at, "bytes": base64.b64encode(pattern).decode(), "encoding": "base64"}}
                for at, pattern in patterns.items()
            ],
        }
        found = await self.rpc.call("getProgramAccounts", [str(self.program_id), options])
        return [(Pubkey.from_string(one["pubkey"]), base64.b64decode(one["account"]["data"][0])) for one in found]

    # -- transactions

    async def sign(
        self,
        instructions: Iterable[Instruction],
        payer: Keypair,
        signers: Iterable[Keypair] = (),
        compute_unit_limit: int | None = None,
        compute_unit_price_micro_lamports: int | None = None,
    ) -> SignedTransaction:
        """Signs over a recent confirmed blockhash; nothing is sent. Keep the result before following it, if a crash matters."""
        value = (await self.rpc.call("getLatestBlockhash", [{"commitment": "confirmed"}]))["value"]
        return sign(
            list(instructions),
            payer,
            list(signers),
            Hash.from_string(value["blockhash"]),
            int(value["lastValidBlockHeight"]),
            compute_unit_limit,
            compute_unit_price_micro_lamports,
        )

    async def confirm(
        self, signed: SignedTransaction, commitment: Commitment = "confirmed", possibly_sent: bool = False
    ) -> Confirmed:
        """Sends `signed`, again and again, until it is confirmed; see settlement.transactions.follow for the errors."""
        return await follow(self.rpc, signed, commitment, self.error_name, possibly_sent)

    async def send_and_confirm(
        self,
        instructions: Iterable[Instruction],
        payer: Keypair,
        signers: Iterable[Keypair] = (),
        commitment: Commitment = "confirmed",
        compute_unit_limit: int | None = None,
    ) -> Confirmed:
        return await self.confirm(await self.sign(instructions, payer, signers, compute_unit_limit), commitment)

    def error_name(self, program: str, code: int) -> tuple[str | None, str]:
        if program == str(SYSTEM_PROGRAM_ID) and code == NEGATIVE_LAMPORTS:
            return "ResultWithNegativeLamports", "an account has fewer lamports than it is to pay"
        spec = idl.committed().errors.get(code) if program == str(self.program_id) else None
        return (spec.name, spec.message) if spec else (None, f"program {program} raised code {code}")


def _account(value: Any) -> Account | None:
    if value is None:
        return None
    return Account(
        int(value["lamports"]),
        Pubkey.from_string(value["owner"]),
        base64.b64decode(value["data"][0]),
        bool(value["executable"]),
    )
