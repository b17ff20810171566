"""solana-py's AsyncClient and SolanaWsClient: each call through the method that says it; what they cannot say is left out.

`./run python -m tests.clients.solana_py_client RPC_URL WEBSOCKET_URL SCRIPT OUT`
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from httpx import HTTPError
from solana.exceptions import SolanaRpcException
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.core import RPCException
from solana.rpc.jsonrpc import SolanaJsonRpcError
from solana.rpc.models import DataSliceOpts, MemcmpOpts, TokenAccountOpts, TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.message import from_bytes_versioned
from solders.pubkey import Pubkey
from solders.rpc.config import RpcBlockSubscribeFilterMentions, RpcTransactionLogsFilterMentions
from solders.rpc.responses import SignatureNotification
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_status import TransactionDetails

from tests.clients.interpreter import Client, NotExpressible, main

Call = Callable[..., Any]


def key(text: Any) -> Pubkey:
    if not isinstance(text, str):
        raise NotExpressible
    return Pubkey.from_string(text)


def keys(texts: list[str]) -> list[Pubkey]:
    return [key(text) for text in texts]


def options(config: Any, *known: str) -> dict[str, Any]:
    """The configuration's fields as keyword arguments. Raises NotExpressible for a field that the method does not take."""
    if not isinstance(config, dict) or not set(config) <= {*known, "commitment"}:
        raise NotExpressible
    named = {"dataSlice": "data_slice", "maxSupportedTransactionVersion": "max_supported_transaction_version"}
    named |= {"minContextSlot": "min_context_slot", "withContext": "with_context"}
    said = {named.get(name, name): value for name, value in config.items()}
    if "data_slice" in said:
        said["data_slice"] = DataSliceOpts(**said["data_slice"])
    if "filters" in said:
        said["filters"] = [
            one["dataSize"] if "dataSize" in one else MemcmpOpts(**one["memcmp"]) for one in said["filters"]
        ]
    if said.get("encoding") == "binary":
        raise NotExpressible
    return said


def plain(method: str, *converted: Callable[[Any], Any], known: tuple[str, ...] = ()) -> Call:
    """A method that takes these parameters and perhaps a configuration."""

    def call(client: AsyncClient, *params: Any) -> Any:
        if not len(converted) <= len(params) <= len(converted) + 1:
            raise NotExpressible
        said = options(params[-1], *known) if len(params) > len(converted) else {}
        values = [convert(value) for convert, value in zip(converted, params, strict=False)]
        return getattr(client, method)(*values, **said)

    return call


def accounts(method: str, convert: Callable[[Any], Any], *known: str) -> Call:
    """A method that has a second one for jsonParsed."""

    def call(client: AsyncClient, what: Any, config: Any = None) -> Any:
        said = options(config or {}, "encoding", "dataSlice", *known)
        if said.get("encoding") == "jsonParsed":
            del said["encoding"]
            return getattr(client, f"{method}_json_parsed")(convert(what), **said)
        return getattr(client, method)(convert(what), **said)

    return call


def token_accounts(method: str) -> Call:
    def call(client: AsyncClient, of: str, by: dict[str, str], config: dict[str, Any]) -> Any:
        if len(by) != 1:
            raise NotExpressible
        name, value = next(iter(by.items()))
        wanted = TokenAccountOpts(**{{"mint": "mint", "programId": "program_id"}[name]: key(value)})
        suffix = "_json_parsed" if config["encoding"] == "jsonParsed" else ""
        return getattr(client, method + suffix)(key(of), wanted, commitment=config["commitment"])

    return call


def statuses(client: AsyncClient, signatures: Any, config: dict[str, Any] | None = None) -> Any:
    if not isinstance(signatures, list):
        raise NotExpressible
    search = bool(config and config["searchTransactionHistory"])
    return client.get_signature_statuses([Signature.from_string(text) for text in signatures], search)


def signatures_for_address(client: AsyncClient, address: str, config: dict[str, Any] | None = None) -> Any:
    said = options(config or {}, "before", "until", "limit")
    said |= {name: Signature.from_string(said[name]) for name in ("before", "until") if name in said}
    return client.get_signatures_for_address(key(address), **said)


def block(client: AsyncClient, slot: Any, config: Any = None) -> Any:
    known = ("encoding", "maxSupportedTransactionVersion", "transactionDetails", "rewards")
    said = options(config or {}, *known)
    if not isinstance(slot, int):
        raise NotExpressible
    if "transactionDetails" in said:
        details = {"accounts": TransactionDetails.Accounts, "signatures": TransactionDetails.Signatures}
        details["none"] = TransactionDetails.None_
        if said["transactionDetails"] not in details:
            raise NotExpressible
        said["transaction_details"] = details[said.pop("transactionDetails")]
    return client.get_block(slot, **said)


def message(text: str) -> Any:
    return from_bytes_versioned(base64.b64decode(text, validate=True))


def blocks(client: AsyncClient, start: int, end: int, config: Any) -> Any:
    raise NotExpressible  # it cannot say the commitment


CALLS: dict[str, Call] = {
    "getVersion": plain("get_version"),
    "getGenesisHash": plain("get_genesis_hash"),
    "getIdentity": plain("get_identity"),
    "getSlot": plain("get_slot"),
    "getBlockHeight": plain("get_block_height"),
    "getSlotLeader": plain("get_slot_leader"),
    "getSlotLeaders": plain("get_slot_leaders", int, int),
    "getEpochInfo": plain("get_epoch_info"),
    "getEpochSchedule": plain("get_epoch_schedule"),
    "getLatestBlockhash": plain("get_latest_blockhash"),
    "getFirstAvailableBlock": plain("get_first_available_block"),
    "minimumLedgerSlot": plain("get_minimum_ledger_slot"),
    "getTransactionCount": plain("get_transaction_count"),
    "getMinimumBalanceForRentExemption": plain("get_minimum_balance_for_rent_exemption", int),
    "getInflationGovernor": plain("get_inflation_governor"),
    "getInflationRate": plain("get_inflation_rate"),
    "getInflationReward": plain("get_inflation_reward", keys, known=("epoch",)),
    "getVoteAccounts": plain("get_vote_accounts"),
    "getClusterNodes": plain("get_cluster_nodes"),
    "getSupply": plain("get_supply"),
    "getLargestAccounts": plain("get_largest_accounts"),
    "getRecentPerformanceSamples": plain("get_recent_performance_samples", int),
    "getBalance": plain("get_balance", key),
    "getAccountInfo": accounts("get_account_info", key),
    "getMultipleAccounts": accounts("get_multiple_accounts", keys),
    "getProgramAccounts": accounts("get_program_accounts", key, "filters"),
    "getTokenAccountBalance": plain("get_token_account_balance", key),
    "getTokenSupply": plain("get_token_supply", key),
    "getTokenLargestAccounts": plain("get_token_largest_accounts", key),
    "getTokenAccountsByOwner": token_accounts("get_token_accounts_by_owner"),
    "getTokenAccountsByDelegate": token_accounts("get_token_accounts_by_delegate"),
    "requestAirdrop": plain("request_airdrop", key, int),
    "getSignatureStatuses": statuses,
    "getSignaturesForAddress": signatures_for_address,
    "getTransaction": plain(
        "get_transaction", Signature.from_string, known=("encoding", "maxSupportedTransactionVersion")
    ),
    "getFeeForMessage": plain("get_fee_for_message", message),
    "getBlock": block,
    "getBlocks": blocks,
    "getBlockTime": plain("get_block_time", int),
    "getBlockCommitment": plain("get_block_commitment", int),
    "getRecentPrioritizationFees": plain("get_recent_prioritization_fees"),
}


class SolanaPyClient(Client):
    def __init__(self, client: AsyncClient, websocket_url: str) -> None:
        self._client = client
        self._websocket_url = websocket_url

    async def call(self, method: str, params: list[Any]) -> Any:
        if method not in CALLS:
            if method == "sendTransaction" and len(params) == 2 and params[1].get("encoding") == "base64":
                return await self._send_text(*params)
            raise NotExpressible
        return self._answer(await CALLS[method](self._client, *params))

    async def _send_text(self, text: str, config: dict[str, Any]) -> str:
        if set(config) - {"encoding", "preflightCommitment", "skipPreflight"}:
            raise NotExpressible
        return await self._send(base64.b64decode(text, validate=True), config)

    @staticmethod
    def _answer(response: Any) -> Any:
        """What the typed response holds, in the JSON that it gives of itself."""
        return json.loads(response.to_json())["result"]

    async def airdrop(self, to: str, lamports: int) -> str:
        signature = (await self._client.request_airdrop(key(to), lamports)).value
        await self._client.confirm_transaction(signature, Confirmed, sleep_seconds=0.1)
        return str(signature)

    async def send(self, transaction: VersionedTransaction, options: dict[str, Any]) -> str:
        return await self._send(bytes(transaction), options)

    async def _send(self, wire: bytes, config: dict[str, Any]) -> str:
        opts = TxOpts(
            skip_preflight=config.get("skipPreflight", False),
            preflight_commitment=config.get("preflightCommitment", "finalized"),
        )
        return self._answer(await self._client.send_raw_transaction(wire, opts))

    async def simulate(self, transaction: VersionedTransaction, config: dict[str, Any]) -> Any:
        known = {"sigVerify": "sig_verify", "replaceRecentBlockhash": "replace_recent_blockhash"}
        known |= {"innerInstructions": "inner_instructions", "commitment": "commitment"}
        said = {known[name]: value for name, value in config.items() if name in known}
        if "accounts" in config:
            said["accounts_addresses"] = keys(config["accounts"]["addresses"])
            said["accounts_encoding"] = config["accounts"]["encoding"]
        return self._answer(await self._client.simulate_transaction(transaction, **said))

    async def confirm(self, signature: str) -> None:
        await self._client.confirm_transaction(Signature.from_string(signature), Confirmed, sleep_seconds=0.1)

    @asynccontextmanager
    async def subscribed(self, kind: str, params: list[Any]) -> AsyncIterator[AsyncIterator[Any]]:
        async with SolanaWsClient(self._websocket_url, request_timeout=60) as socket:
            subscription = await _subscribe(socket, kind, params)
            last: list[Any] = []

            async def notifications() -> AsyncIterator[Any]:
                async for told in socket:
                    last.append(told)
                    yield json.loads(told.to_json())

            yield notifications()
            if not (last and isinstance(last[-1], SignatureNotification)):
                await socket.unsubscribe(subscription)

    def error(self, error: Exception) -> dict[str, Any]:
        if isinstance(error, RPCException):
            told = error.args[0]
            return {"class": "RPCException", "of": type(told).__name__, "error": json.loads(told.to_json())}
        if isinstance(error, SolanaJsonRpcError):
            return {"class": "SolanaJsonRpcError", "code": error.code, "message": error.message, "data": error.data}
        if isinstance(error, (SolanaRpcException, HTTPError, OSError, TimeoutError, AssertionError)):
            raise error
        return {"class": type(error).__name__, "message": str(error)}


async def _subscribe(socket: SolanaWsClient, kind: str, params: list[Any]) -> Any:
    if kind in ("slot", "root"):
        return await getattr(socket, f"{kind}_subscribe")()
    first, config = params[0], params[1] if len(params) > 1 else {}
    said = options(config, "encoding", "filters", "maxSupportedTransactionVersion", "showRewards")
    if kind == "account":
        return await socket.account_subscribe(pubkey=key(first), **said)
    if kind == "program":
        return await socket.program_subscribe(program_id=key(first), **said)
    if kind == "signature":
        return await socket.signature_subscribe(signature=Signature.from_string(first), **said)
    if kind == "logs" and isinstance(first, dict) and len(first["mentions"]) == 1:
        mentions = RpcTransactionLogsFilterMentions(key(first["mentions"][0]))
        return await socket.logs_subscribe(filter_=mentions, **said)
    if kind == "block":
        said["show_rewards"] = said.pop("showRewards")
        about = RpcBlockSubscribeFilterMentions(key(first["mentionsAccountOrProgram"]))
        return await socket.block_subscribe(filter_=about, **said)
    raise NotExpressible


@asynccontextmanager
async def make(rpc_url: str, websocket_url: str) -> AsyncIterator[SolanaPyClient]:
    async with AsyncClient(rpc_url, commitment=Confirmed, timeout=60) as client:
        yield SolanaPyClient(client, websocket_url)


if __name__ == "__main__":
    main(make)
