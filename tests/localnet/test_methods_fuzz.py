"""Senseless parameters: every method answers with a result or a named error, never with a bug of its own.

A longer run: POUW_FUZZ_CALLS=200000 ./run pytest -n 0 tests/localnet/test_methods_fuzz.py
"""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from solders.keypair import Keypair

from localnet.config import LocalnetConfig
from localnet.errors import RpcError
from localnet.node import Node
from localnet.rpc import METHODS
from localnet.start import open_node

CALLS = int(os.environ.get("POUW_FUZZ_CALLS", "4000"))
START = 1_800_000_000.0
# A schedule of 432,000 slots is right, and slow to make thousands of times.
METHOD_NAMES = [name for name in METHODS if name != "getLeaderSchedule"]
# fmt: off
FIELDS = (
    "accounts", "addresses", "before", "bytes", "commitment", "dataSize", "dataSlice", "encoding", "epoch",
    "excludeNonCirculatingAccountsList", "filter", "filters", "firstSlot", "identity", "innerInstructions",
    "lastSlot", "length", "limit", "maxSupportedTransactionVersion", "memcmp", "minContextSlot", "mint", "offset",
    "preflightCommitment", "programId", "range", "recentBlockhash", "replaceRecentBlockhash", "rewards",
    "searchTransactionHistory", "sigVerify", "skipPreflight", "transactionDetails", "until", "votePubkey",
    "withContext",
)
# fmt: on
ADDRESSES = (
    "11111111111111111111111111111111",
    "BPFLoaderUpgradeab1e11111111111111111111111",
    "So11111111111111111111111111111111111111112",
    "SysvarC1ock11111111111111111111111111111111",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
    "Vote111111111111111111111111111111111111111",
)


class Generator:
    """Parameters that fit nothing, fit nearly, or fit: transactions with some bytes changed, known addresses."""

    def __init__(self, seed: int, addresses: list[str], signatures: list[str], transactions: list[str]) -> None:
        self.random = random.Random(seed)
        self.addresses, self.transactions = addresses, transactions
        self.scalars: list[Any] = [
            *(None, True, False, 0, 1, -1, 50, 2**63 - 1, 2**63, 2**64 - 1, 2**70, 1.5, "", "x", "0OIl", [], {}),
            *("processed", "confirmed", "finalized", "base64", "base58", "jsonParsed", "base64+zstd", "é🦖\x00"),
            *(*addresses, *signatures, *transactions, "A" * 2000),
        ]

    def value(self, depth: int = 0) -> Any:
        draw = self.random.random()
        if depth > 3 or draw < 0.55:
            return self.random.choice(self.scalars)
        length = self.random.randrange(4)
        if draw < 0.7:
            return [self.value(depth + 1) for _ in range(length)]
        return {self.random.choice(FIELDS): self.value(depth + 1) for _ in range(length)}

    def transaction(self) -> bytes:
        data = bytearray(base64.b64decode(self.random.choice(self.transactions)))
        for _ in range(self.random.randrange(4)):
            at = self.random.randrange(len(data))
            if self.random.random() < 0.7:
                data[at] = self.random.randrange(256)
            else:
                data = data[: at + 1]
        return bytes(data)

    def call(self) -> tuple[str, list[Any]]:
        name = self.random.choice(METHOD_NAMES)
        params = [self.value() for _ in range(self.random.randrange(5))]
        if name in ("sendTransaction", "simulateTransaction"):
            options = {"encoding": "base64", self.random.choice(FIELDS): self.value()}
            return name, [base64.b64encode(self.transaction()).decode(), options]
        if name == "getFeeForMessage":
            return name, [base64.b64encode(self.transaction()[65:]).decode()]
        if params and self.random.random() < 0.5:
            params[0] = self.random.choice(self.addresses)
        return name, params


@pytest.fixture
def node() -> Iterator[Node]:
    with open_node(LocalnetConfig(rpc_port=0), START) as opened:
        yield opened


@pytest.mark.parametrize("seed", [1, 2])
def test_no_call_fails_otherwise_than_by_a_named_error(node: Node, seed: int) -> None:
    people = [str(Keypair().pubkey()) for _ in range(3)]
    signatures = [METHODS.call(node, "requestAirdrop", [key, 10**9]) for key in people]
    now = START
    for _ in range(40):
        now += 0.4
        node.bank.advance(now)
    transactions = [METHODS.call(node, "getTransaction", [one, "base64"])["transaction"][0] for one in signatures]
    generator = Generator(seed, [*people, *ADDRESSES], signatures, transactions)
    results = refusals = 0
    for index in range(CALLS // 2):
        name, params = generator.call()
        try:
            assert msgspec.json.encode(METHODS.call(node, name, params))
            results += 1
        except RpcError as error:
            assert (msgspec.json.encode(error.to_json()) and error.code != -32603) or name == "requestAirdrop", (
                name,
                params,
                error,
            )
            refusals += 1
        if index % 50 == 0:
            now += 0.4
            node.bank.advance(now)
    assert results > CALLS // 20 and refusals > CALLS // 20
