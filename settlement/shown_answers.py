"""What was shown on L1 in answer to a demand, read from L1's history: nobody else need be asked for it, and it is checked against the
checkpoint's roots. A node that keeps no history shows nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from settlement import idl, merkle, pda
from settlement.accounts import Checkpoint
from settlement.challenge_case import DATA, RESULTS, TRACE
from settlement.client import L1Client
from settlement.dispute_accounts import DemandKind
from settlement.dispute_instructions import Count, Proven
from settlement.errors import IdlError, L1RpcError
from settlement.known_leaves import Leaves, Shown

NAMES = {DemandKind.CHUNK: DATA, DemandKind.RECORD: RESULTS, DemandKind.TRACE_ENTRY: TRACE}
TRANSACTIONS = 1_000  # a page of getSignaturesForAddress, the newest first
LARGEST_BUFFER = 65_536
Call = tuple[str, dict[str, Any], list[Pubkey]]


def root_of(checkpoint: Checkpoint, kind: DemandKind) -> bytes:
    roots = {
        DemandKind.CHUNK: checkpoint.data_root,
        DemandKind.RECORD: checkpoint.results_root,
        DemandKind.TRACE_ENTRY: checkpoint.trace_root,
    }
    return roots[kind]


@dataclass(frozen=True)
class AllShown:
    """What all answers together show of the leaves under each root; None where nothing was shown."""

    records: Leaves | None
    trace: Leaves | None
    chunks: Leaves | None


async def all_shown(client: L1Client, checkpoint: Checkpoint) -> AllShown:
    """From every demand that was ever opened on the checkpoint and answered; nothing from a node without history."""
    try:
        return await _all_shown(client, checkpoint)
    except L1RpcError:
        return AllShown(None, None, None)


async def _all_shown(client: L1Client, checkpoint: Checkpoint) -> AllShown:
    address = pda.checkpoint(client.program_id, checkpoint.epoch)
    places: dict[tuple[DemandKind, int], None] = {}
    for signature in await _signatures(client, address):
        for name, args, accounts in await _calls(client, signature):
            if name == "open_demand" and address in accounts:
                places[DemandKind(args["kind"]), args["index"]] = None
    found: dict[DemandKind, Leaves] = {}
    for kind, index in places:
        answer = await answer_to(client, checkpoint, kind, index)
        if answer is None:
            continue
        count = answer if isinstance(answer, Count) else Count(answer.place.count, tree_of(answer))
        leaves = found.get(kind) or Leaves.none_of(count)
        found[kind] = leaves if isinstance(answer, Count) else leaves.with_leaf(answer)
    return AllShown(found.get(DemandKind.RECORD), found.get(DemandKind.TRACE_ENTRY), found.get(DemandKind.CHUNK))


async def answer_to(client: L1Client, checkpoint: Checkpoint, kind: DemandKind, index: int) -> Shown | Count | None:
    """The leaf that answered this demand, or the count that showed that there is none."""
    address = pda.demand(client.program_id, checkpoint.epoch, kind, index)
    for signature in await _signatures(client, address):
        for name, args, accounts in await _calls(client, signature):
            if address not in accounts:
                continue
            if name == "answer_absent":
                return Count(args["count"], args["tree"])
            if name == "answer_demand":
                spec = idl.committed().instruction(name)
                places = {account.name: accounts[at] for at, account in enumerate(spec.accounts)}
                data = await _buffer_before(client, places["buffer"], signature)
                return read_leaf(data, NAMES[kind], root_of(checkpoint, kind), index)
    return None


def read_leaf(data: bytes, name: str, root: bytes, index: int) -> Shown | None:
    """The leaf with its siblings that evidence of an answer starts with: count u64, the leaf (u32 length), siblings. None when it is not
    under the root."""
    count, length = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:12], "little")
    leaf, rest = data[12 : 12 + length], data[12 + length :]
    number = rest[0] if rest else 0
    siblings = [rest[1 + 32 * i : 33 + 32 * i] for i in range(number)]
    if len(leaf) != length or len(rest) < 1 + 32 * number:
        return None
    if not merkle.verify(name, root, leaf, index, count, siblings):
        return None
    return Shown(leaf, Proven(index, count, siblings))


def tree_of(shown: Shown) -> bytes:
    """The tree hash that the leaf and its siblings lead to."""
    node, last, value = shown.place.index, shown.place.count - 1, merkle.leaf_hash(shown.data)
    for sibling in shown.place.siblings:
        if node & 1 or node == last:
            value = merkle.node_hash(sibling, value)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = merkle.node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    return value


async def _buffer_before(client: L1Client, buffer: Pubkey, answer: str) -> bytes:
    """The bytes of a buffer when the transaction `answer` read it."""
    signatures = await _signatures(client, buffer)
    data = bytearray(LARGEST_BUFFER)
    for signature in reversed(signatures[signatures.index(answer) :] if answer in signatures else signatures):
        for name, args, accounts in await _calls(client, signature):
            if buffer not in accounts:
                continue
            if name == "create_proof_buffer":
                data = bytearray(LARGEST_BUFFER)
            elif name == "write_proof_buffer":
                part = bytes(args["bytes"])
                data[args["offset"] : args["offset"] + len(part)] = part
    return bytes(data)


async def _signatures(client: L1Client, address: Pubkey) -> list[str]:
    """Of the transactions that name the address and did not fail, the newest first."""
    options = {"limit": TRANSACTIONS, "commitment": "confirmed"}
    found = await client.rpc.call("getSignaturesForAddress", [str(address), options])
    return [one["signature"] for one in found if one["err"] is None]


async def _calls(client: L1Client, signature: str) -> Iterator[Call]:
    """The program's instructions in a transaction: name, arguments and accounts."""
    options = {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    found = await client.rpc.call("getTransaction", [signature, options])
    if found is None:
        return iter(())
    message = VersionedTransaction.from_bytes(base64.b64decode(found["transaction"][0])).message
    calls = []
    for one in message.instructions:
        if message.account_keys[one.program_id_index] != client.program_id:
            continue
        try:
            name, args = idl.committed().decode_args(bytes(one.data))
        except IdlError:
            continue
        calls.append((name, args, [message.account_keys[at] for at in bytes(one.accounts)]))
    return iter(calls)
