"""Writes tests/vectors/*.json, which hold the Python and the Rust implementation of docs/protocol.md together.

    ./run python -m scripts.make_vectors            writes them
    ./run python -m scripts.make_vectors --check    fails when a committed file differs

Bytes are hex strings, 64-bit integers decimal strings (JSON numbers lose their low bits), narrower ones numbers. Everything is
deterministic. The vectors of the hash to G2 have a script of their own beside them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from zlib import crc32

from scripts import ledger_vectors, transition_vectors
from scripts.vector_notation import DOMAIN, members, one_set, plain, record_vector
from settlement import bls, certificate, hash_to_curve, messages, records, signing, validator_set
from settlement.messages import CheckpointMessage, InboxEntry
from settlement.records import (
    ConsensusVote,
    GradientShare,
    Kind,
    Mode,
    NetworkState,
    Op,
    Reason,
    Record,
    Verdict,
)
from settlement.tags import U64_MAX, tag
from tests.settlement import kit, scenario

DIRECTORY = Path(__file__).resolve().parent.parent / "tests" / "vectors"


def make_tags() -> dict[str, Any]:
    names = "checkpoint genesis inbox inbox-entry inbox-deposit inbox-task inbox-withdrawal inbox-strike inbox-task-id"
    names += " validator-set proof-of-possession task commitment result sample authorisation rpc"
    names += " results-root trace-root data-root work-root state-node state-leaf account-key account task-key task-leaf totals-key totals"
    return {"tags": {name: tag(name).hex() for name in names.split()}}


def make_messages() -> dict[str, Any]:
    first = scenario.first().message
    hashes = {member.name: kit.filler(member.name) for member in fields(CheckpointMessage) if member.type == "bytes"}
    numbers = {"epoch": U64_MAX, "attempt": 2**32 - 1, "cut_slot": U64_MAX - 1, "expiry_slot": U64_MAX}
    largest = CheckpointMessage(**hashes, **numbers, payable_total=U64_MAX, inbox_cursor=U64_MAX)  # type: ignore[arg-type]
    smallest = CheckpointMessage(
        **dict.fromkeys(hashes, bytes(32)),
        epoch=1,
        attempt=0,
        cut_slot=1,
        expiry_slot=1,
        payable_total=0,
        inbox_cursor=0,
    )
    task = messages.task_id(kit.DOMAIN, kit.public_key("client"), 7, kit.SPEC_HASH)
    worker = kit.public_key("worker")
    commitment = messages.commitment(kit.DOMAIN, task, 9, worker, kit.SALT, kit.RESULT_HASH)
    parts = {name: kit.filler(name) for name in ("environment_hash", "work_root", "model_hash", "metrics_hash")}
    return {
        **DOMAIN,
        "genesis_parent": messages.genesis_parent(kit.DOMAIN).hex(),
        "genesis_inbox_hash": messages.genesis_inbox_hash(kit.DOMAIN).hex(),
        "checkpoints": [{**members(m), "hash": m.hash(kit.DOMAIN).hex()} for m in (first, largest, smallest)],
        "inbox": inbox(),
        "node_ids": [{"public_key": worker.hex(), "node": kit.node("worker").hex()}],
        "task_ids": [
            {
                "client": kit.public_key("client").hex(),
                "nonce": "7",
                "spec_hash": kit.SPEC_HASH.hex(),
                "task_id": task.hex(),
            }
        ],
        "inbox_tasks": [inbox_task()],
        "inbox_withdrawals": [inbox_withdrawal()],
        "inbox_strikes": [inbox_strike()],
        "commitments": [
            {
                "task_id": task.hex(),
                "lease_id": "9",
                "worker": worker.hex(),
                "salt": kit.SALT.hex(),
                "result_hash": kit.RESULT_HASH.hex(),
                "commitment": commitment.hex(),
            }
        ],
        "results": [
            {
                "task_id": task.hex(),
                "worker": worker.hex(),
                "mode": 2,
                **{name: part.hex() for name, part in parts.items()},
                "result_hash": messages.result_hash(task, worker, 2, *parts.values()).hex(),
            }
        ],
        "samples": [
            {
                "task_id": task.hex(),
                "commitment": commitment.hex(),
                "digest": messages.sample_digest(task, commitment).hex(),
            }
        ],
        "proofs_of_possession": [possession(index) for index in range(3)],
    }


def inbox() -> list[dict[str, Any]]:
    found, previous, total = [], messages.genesis_inbox_hash(kit.DOMAIN), 0
    for index, (slot, lamports) in enumerate([(11, 5_000_000), (11, 10_000), (4_000_000_000, 2**60)]):
        beneficiary = kit.public_key(f"depositor {index}")
        entry = InboxEntry(
            index, slot, messages.InboxKind.DEPOSIT, lamports, messages.deposit_payload_hash(beneficiary)
        )
        after, total = messages.next_inbox_hash(previous, entry), total + lamports
        found.append(
            {
                **members(entry),
                "beneficiary": beneficiary.hex(),
                "hash_before": previous.hex(),
                "hash_after": after.hex(),
                "sum_after": str(total),
            }
        )
        previous = after
    return found


def inbox_task() -> dict[str, Any]:
    client, deadline = kit.public_key("client"), 2**33
    task = messages.inbox_task_id(kit.DOMAIN, client, 7, kit.SPEC_HASH)
    payload_hash = messages.task_payload_hash(client, kit.SPEC_HASH, Kind.TRAINING, Mode.REPLAY, deadline)
    fields = {"client": client.hex(), "inbox_index": "7", "spec_hash": kit.SPEC_HASH.hex(), "kind": 1, "mode": 2}
    return {**fields, "deadline_slot": str(deadline), "payload_hash": payload_hash.hex(), "task_id": task.hex()}


def inbox_withdrawal() -> dict[str, Any]:
    owner, task = kit.public_key("client"), kit.task_id("client", 7)
    payload_hash = messages.withdrawal_payload_hash(owner, U64_MAX, task)
    fields = {"owner": owner.hex(), "withdraw_lamports": str(U64_MAX), "task_id": task.hex()}
    return {**fields, "payload_hash": payload_hash.hex()}


def inbox_strike() -> dict[str, Any]:
    challenger, task = kit.public_key("challenger"), kit.task_id("client", 7)
    payload_hash = messages.strike_payload_hash(challenger, 2_500, task, kit.RESULT_HASH)
    fields = {"challenger": challenger.hex(), "share_basis_points": "2500", "task_id": task.hex()}
    return {**fields, "result_hash": kit.RESULT_HASH.hex(), "payload_hash": payload_hash.hex()}


def possession(index: int) -> dict[str, Any]:
    key, authority = kit.bls_key(index), kit.public_key(f"authority {index}")
    digest = messages.proof_of_possession_digest(kit.DOMAIN, authority, key.public_key)
    return {
        "authority": authority.hex(),
        "bls_secret_key": key.to_bytes().hex(),
        "bls_public_key": key.public_key.hex(),
        "bls_uncompressed": kit.bls_uncompressed(index).hex(),
        "digest": digest.hex(),
        "proof": key.sign(digest).hex(),
        "hints": hash_to_curve.hints(digest).hex(),
    }


def make_validator_sets() -> dict[str, Any]:
    cases: list[tuple[validator_set.ValidatorSet, Iterable[int]]] = [
        (kit.validator_set(1), [0, 1]),
        (scenario.VALIDATORS, [0b001, 0b010, 0b011, 0b101, 0b110, 0b111]),
        (kit.validator_set(2**53, 1, 2**54 + 1, version=2), [0b100, 0b101]),
        (kit.validator_set(2**53, 1, 2**54 + 2, version=U64_MAX), [0b100, 0b011]),
        (kit.validator_set(*range(1, 18), version=3), [0x1FFFF, 0x1F000, 1 << 16]),
    ]
    return {**DOMAIN, "sets": [one_set(validators, bitmaps) for validators, bitmaps in cases]}


def make_certificates() -> dict[str, Any]:
    message, validators = scenario.first().message, scenario.VALIDATORS
    digest, found = message.hash(kit.DOMAIN), []
    for signers in ((0, 1, 2), (0, 2), (0, 1)):
        made = certificate.certify(
            kit.DOMAIN, message, {index: kit.bls_key(index).sign(digest) for index in signers}, validators
        )
        found.append({"bitmap": plain("bitmap", made.bitmap), "signature": made.signature.hex()})
    return {
        **DOMAIN,
        "message": members(message),
        "hash": digest.hex(),
        "hints": hash_to_curve.hints(digest).hex(),
        "set": one_set(validators, []),
        "aggregate_key": bls.aggregate_public_keys([entry.bls_public_key for entry in validators.entries]).hex(),
        "certificates": found,
    }


def make_records() -> dict[str, Any]:
    task = kit.task_id("client", 7)
    share = GradientShare(141, kit.filler("state"), kit.filler("gradient"))
    network = NetworkState(9, 256, 70_000, 80_000, 2**60, kit.filler("state root"))
    largest = ConsensusVote(2**16 - 1, Verdict.REJECT, Reason.WRONG_SEED, kit.RESULT_HASH, *[2**32 - 1] * 3)
    valid = [
        kit.submission("client", 7, 1_000_000, 5000),
        kit.submission("client", U64_MAX, U64_MAX, U64_MAX, kind=Kind.SIMULATION, mode=Mode.ZK),
        kit.result("worker", 3, task, 9),
        kit.registration("worker", 1, 2_000_000),
        kit.vote(2, task),
        kit.vote(1, task, Verdict.REJECT),
        kit.vote(0, task, Verdict.ABSTAIN),
        replace(kit.vote(0, task), payload=largest),
        Record(Op.GRADIENT_SHARE, kit.TIME, kit.node("worker"), task, share),
        kit.sample_proof(1, task, kit.sample_signature(1, task, "worker", 9)),
        kit.deposit("client", 10_000_000, 12, slot=4_000_000_000),
        kit.payment("worker", task, 1_000_000),
        kit.refund("client", task, 1_000_000),
        kit.slash("worker", task, 2_000_000),
        kit.withdrawal("client", 8, 500),
        kit.inbox_task("client", 10_000, 13, 5000, slot=4_000_000_000),
        kit.inbox_task("client", U64_MAX, U64_MAX, U64_MAX, slot=U64_MAX, kind=Kind.SIMULATION, mode=Mode.ZK),
        kit.forced_withdrawal("client", 10_000, 14, 250_000, task),
        kit.forced_withdrawal("client", 10_000, 15, U64_MAX),
        kit.strike("challenger", 10_000, 16, task),
        kit.hold("worker", task, 1_000_000),
        kit.schedule("worker", task),
        Record(Op.NETWORK_STATE, kit.TIME, bytes(20), bytes(32), network),
    ]
    return {"valid": [record_vector(record) for record in valid], "invalid": invalid_records()}


def invalid_records() -> list[dict[str, str]]:
    deposit = records.encode(kit.deposit("client", 5, 0))
    task = records.encode(kit.inbox_task("client", 5, 0))
    withdrawal = records.encode(kit.forced_withdrawal("client", 5, 0, 1))
    strike = records.encode(kit.strike("challenger", 5, 0, kit.task_id("client", 7)))
    schedule = records.encode(kit.schedule("worker", kit.task_id("client", 7)))

    def patched(index: int, byte: int, record: bytes = deposit) -> bytes:
        body = record[:index] + bytes([byte]) + record[index + 1 : 156]
        return body + crc32(body).to_bytes(4, "big")

    cases = [
        (deposit[:159], "length"),
        (deposit[:159] + bytes([deposit[159] ^ 1]), "crc"),
        (patched(0, 2), "version"),
        (patched(1, 0), "op code"),
        (patched(1, 9), "op code"),
        (patched(155, 1, records.encode(kit.submission("client"))), "padding"),
        (patched(58, 0), "event"),
        (patched(58, 11), "event"),
        (patched(66, 1), "unused number"),
        (patched(57, 1), "unused task"),
        (patched(123, 1), "unused spec hash"),
        (patched(155, 0x12), "unused kind and mode"),
        (patched(155, 0x02, task), "kind 0"),
        (patched(155, 0x52, task), "kind 5"),
        (patched(155, 0x10, task), "mode 0"),
        (patched(155, 0x15, task), "mode 5"),
        (patched(123, 1, withdrawal), "unused spec hash"),
        (patched(155, 0x12, withdrawal), "unused kind and mode"),
        (patched(155, 0x11, strike), "unused kind and mode"),
        (patched(74, 1, schedule), "unused lamports"),
        (patched(66, 1, schedule), "unused number"),
    ]
    return [{"record": data.hex(), "why": why} for data, why in cases]


def make_authorisations() -> dict[str, Any]:
    found = []
    for name, record in (
        ("client", kit.submission("client", 7, 1_000_000, 5000)),
        ("worker", kit.result("worker", 3, kit.task_id("client", 7), 9)),
        ("worker", kit.registration("worker", 1, 2_000_000)),
        ("authority 2", kit.vote(2, kit.task_id("client", 7))),
        ("client", kit.withdrawal("client", 8, 500)),
    ):
        signed = kit.authorise(record, name, expiry_slot=612)
        found.append(
            {
                "seed": kit.filler(f"keypair {name}").hex(),
                "record": records.encode(record).hex(),
                **members(signed),
                "digest": signing.authorisation_digest(kit.DOMAIN, 612, records.encode(record)).hex(),
                "authorisation": signed.encode().hex(),
            }
        )
    params = {"taskId": "ab" * 32, "leaseId": 9}
    digest = signing.rpc_digest(kit.DOMAIN, "renewLease", params, 5, 612)
    call = {
        "method": "renewLease",
        "params": params,
        "nonce": "5",
        "expiry_slot": "612",
        "seed": kit.filler("keypair worker").hex(),
        "digest": digest.hex(),
        "signature": signing.sign(kit.keypair("worker"), digest).hex(),
    }
    return {**DOMAIN, "records": found, "calls": [call]}


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "tags": make_tags,
    "messages": make_messages,
    "validator_set": make_validator_sets,
    "certificate": make_certificates,
    "records": make_records,
    "authorisations": make_authorisations,
    "merkle": ledger_vectors.make_merkle,
    "state": ledger_vectors.make_state,
    "batch": ledger_vectors.make_batches,
    "work": ledger_vectors.make_work,
    "transition": transition_vectors.make_transitions,
}


def text_of(name: str) -> str:
    """What tests/vectors/<name>.json must hold."""
    return json.dumps(FILES[name](), indent=1) + "\n"


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: ./run python -m scripts.make_vectors [--check]", file=sys.stderr)
        return 2
    stale = 0
    for name in FILES:
        path, text = DIRECTORY / f"{name}.json", text_of(name)
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if arguments:
            print(f"tests/vectors/{name}.json is not what the script makes", file=sys.stderr)
        else:
            path.write_text(text)
            print(f"wrote tests/vectors/{name}.json")
    return 1 if arguments and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
