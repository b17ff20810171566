"""`./run python -m tests.localnet.record_parsed`: shows a real solana-test-validator the bytes of vectors/agave_parsed.json
again and writes how it parses them. For when the validator's version has changed, or bytes were added with null beside.
"""

from __future__ import annotations

import base64
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bench.l1_process import L1Process, solana_test_validator

VECTORS = Path(__file__).parent / "vectors" / "agave_parsed.json"
# A transaction's wire format must fit a packet of 1232 bytes; more than 64 instructions none may have.
MAX_TRANSACTION_BYTES, MAX_INSTRUCTIONS = 1_200, 50
# A malformed one of these is refused before it lands, and two of a kind in one transaction are.
ALONE = ("ComputeBudget111111111111111111111111111111", "Ed25519SigVerify111111111111111111111111111")
ACCOUNTS_PER_CALL = 50
DEADLINE_SECONDS = 60
CONFIRMED = {"commitment": "confirmed"}


def record(vectors: dict[str, Any]) -> None:
    """Replaces what is shown, in place."""
    with tempfile.TemporaryDirectory(prefix="pouw-parsed-") as folder:
        for address, owner, data, length, _ in vectors["accounts"]:
            account = {
                "lamports": 10**10,
                "data": [base64.b64encode(bytes.fromhex(data).ljust(length, b"\0")).decode(), "base64"],
                "owner": owner,
                "executable": False,
                "rentEpoch": 0,
                "space": length,
            }
            (Path(folder) / f"{address}.json").write_text(json.dumps({"pubkey": address, "account": account}))
        with solana_test_validator("--account-dir", folder) as l1:
            version: Any = l1.call("getVersion")
            vectors["source"] = f"solana-test-validator {version['solana-core']}, encoding jsonParsed"
            _record_accounts(l1, vectors["accounts"])
            _record_instructions(l1, vectors["keys"], vectors["instructions"])


def _record_accounts(l1: L1Process, accounts: list[list[Any]]) -> None:
    for at in range(0, len(accounts), ACCOUNTS_PER_CALL):
        asked = accounts[at : at + ACCOUNTS_PER_CALL]
        addresses = [entry[0] for entry in asked]
        found: Any = l1.call("getMultipleAccounts", addresses, CONFIRMED | {"encoding": "jsonParsed"})
        for entry, account in zip(asked, found["value"], strict=True):
            entry[-1] = account["data"] if isinstance(account["data"], dict) else None


def _record_instructions(l1: L1Process, keys: list[str], entries: list[list[Any]]) -> None:
    payer = Keypair()
    l1.call("requestAirdrop", str(payer.pubkey()), 10**12)
    _wait(lambda: _value(l1.call("getBalance", str(payer.pubkey()), CONFIRMED)))
    blockhash = Hash.from_string(_value(l1.call("getLatestBlockhash", CONFIRMED))["blockhash"])
    sent = []
    for group, transaction in _transactions(payer, blockhash, keys, entries):
        options = {"encoding": "base64", "skipPreflight": True}
        sent.append((group, l1.call("sendTransaction", base64.b64encode(bytes(transaction)).decode(), options)))
    config = CONFIRMED | {"encoding": "jsonParsed", "maxSupportedTransactionVersion": 0}
    for group, signature in sent:
        found = _wait(lambda signature=signature: l1.call("getTransaction", signature, config))
        for entry, shown in zip(group, found["transaction"]["message"]["instructions"], strict=True):
            entry[-1] = shown.get("parsed")


def _transactions(
    payer: Keypair, blockhash: Hash, keys: list[str], entries: list[list[Any]]
) -> Iterator[tuple[list[list[Any]], VersionedTransaction]]:
    def sign(group: list[list[Any]]) -> VersionedTransaction:
        instructions = [
            Instruction(
                Pubkey.from_string(program),
                bytes.fromhex(data),
                [AccountMeta(Pubkey.from_string(key), False, False) for key in keys[:count]],
            )
            for program, data, count, _ in group
        ]
        return VersionedTransaction(Message.new_with_blockhash(instructions, payer.pubkey(), blockhash), [payer])

    group: list[list[Any]] = []
    for entry in entries:
        is_full = len(group) == MAX_INSTRUCTIONS or len(bytes(sign([*group, entry]))) > MAX_TRANSACTION_BYTES
        if group and (is_full or entry[0] in ALONE or group[-1][0] in ALONE):
            yield group, sign(group)
            group = []
        group.append(entry)
    yield group, sign(group)


def _value(answer: Any) -> Any:
    return answer["value"]


def _wait(ask: Any) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the validator had no answer within {DEADLINE_SECONDS} s")
        time.sleep(0.1)
    return found


def write(vectors: dict[str, Any]) -> None:
    """An entry to a line, so that a change shows as the lines it is."""
    parts = [f'"source": {json.dumps(vectors["source"])}', f'"keys": {json.dumps(vectors["keys"])}']
    for name in ("instructions", "accounts"):
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in vectors[name])
        parts.append(f'"{name}": [\n{lines}\n]')
    VECTORS.write_text("{" + ",\n".join(parts) + "}\n")


if __name__ == "__main__":
    read = json.loads(VECTORS.read_text())
    record(read)
    write(read)
