"""The committed vectors are what scripts/make_vectors.py makes, and what the protocol's text, written a second time, gives."""

import json
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from py_ecc.bls import G2ProofOfPossession
from solders.keypair import Keypair

from scripts import make_vectors
from settlement import certificate, messages, records, signing
from settlement.ledger import BatchError, Parent, State, batch, check_batch
from settlement.ledger.leaves import LeafKind
from settlement.messages import CheckpointMessage
from settlement.records import RecordError
from settlement.signing import Authorisation, Domain
from settlement.validator_set import SetEntry, ValidatorSet, bytes_to_bitmap
from tests.settlement import kit, naive
from tests.settlement.naive import le, tagged

DIRECTORY = Path(__file__).parent.parent / "vectors"


def load(name: str) -> Any:
    return json.loads((DIRECTORY / f"{name}.json").read_text())


def raw(*texts: str) -> bytes:
    return b"".join(bytes.fromhex(text) for text in texts)


@pytest.mark.parametrize("name", make_vectors.FILES)
def test_the_committed_file_is_what_the_script_makes(name: str) -> None:
    assert (DIRECTORY / f"{name}.json").read_text() == make_vectors.text_of(name)


def test_the_script_writes_what_is_stale_and_checks_without_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_vectors, "DIRECTORY", tmp_path)
    monkeypatch.setattr(make_vectors, "FILES", {"one": lambda: {"a": 1}, "two": lambda: {"b": 2}})
    (tmp_path / "one.json").write_text(make_vectors.text_of("one"))
    assert make_vectors.main(["--check"]) == 1
    assert capsys.readouterr().err == "tests/vectors/two.json is not what the script makes\n"
    assert not (tmp_path / "two.json").exists()
    assert make_vectors.main([]) == 0 and make_vectors.main(["--check"]) == 0
    assert capsys.readouterr() == ("wrote tests/vectors/two.json\n", "")


def test_tags() -> None:
    for name, tag in load("tags")["tags"].items():
        assert tag == sha256(b"pouw/v1/" + name.encode()).hexdigest()


def checkpoint_hash(domain: bytes, m: dict[str, str]) -> str:
    body = le(int(m["epoch"])) + le(int(m["attempt"]), 4) + le(int(m["cut_slot"])) + le(int(m["expiry_slot"]))
    body += raw(m["parent_hash"], m["results_root"], m["state_root"], m["trace_root"], m["data_root"])
    body += le(int(m["payable_total"])) + le(int(m["inbox_cursor"])) + raw(m["inbox_hash"], m["set_hash"])
    return tagged("checkpoint", domain, body).hex()


def test_messages() -> None:
    vectors = load("messages")
    domain = raw(vectors["genesis"], vectors["program"])
    assert vectors["genesis_parent"] == tagged("genesis", domain).hex()
    assert vectors["genesis_inbox_hash"] == tagged("inbox", domain).hex()
    assert [checkpoint_hash(domain, m) for m in vectors["checkpoints"]] == [m["hash"] for m in vectors["checkpoints"]]
    running, total = vectors["genesis_inbox_hash"], 0
    for index, entry in enumerate(vectors["inbox"]):
        payload = tagged("inbox-deposit", raw(entry["beneficiary"]))
        body = le(index) + le(int(entry["slot"])) + b"\1" + le(int(entry["lamports"])) + payload
        running, total = tagged("inbox-entry", raw(running), body).hex(), total + int(entry["lamports"])
        assert (entry["payload_hash"], entry["hash_after"], entry["sum_after"]) == (payload.hex(), running, str(total))
    (node,) = vectors["node_ids"]
    assert node["node"] == sha256(raw(node["public_key"])).hexdigest()[:40]
    (task,) = vectors["task_ids"]
    parts = raw(task["client"]), le(int(task["nonce"])), raw(task["spec_hash"])
    assert task["task_id"] == tagged("task", domain, *parts).hex()
    (task,) = vectors["inbox_tasks"]
    parts = raw(task["client"]), le(int(task["inbox_index"])), raw(task["spec_hash"])
    assert task["task_id"] == tagged("inbox-task-id", domain, *parts).hex()
    payload = inbox_task_payload(raw(task["client"]), raw(task["spec_hash"]), 1, 2, int(task["deadline_slot"]))
    assert task["payload_hash"] == payload.hex()
    (withdrawal,) = vectors["inbox_withdrawals"]
    parts = raw(withdrawal["owner"]), le(int(withdrawal["withdraw_lamports"])), raw(withdrawal["task_id"])
    assert withdrawal["payload_hash"] == tagged("inbox-withdrawal", *parts).hex()
    (strike,) = vectors["inbox_strikes"]
    parts = (
        raw(strike["challenger"]),
        le(int(strike["share_basis_points"])),
        raw(strike["task_id"], strike["result_hash"]),
    )
    assert strike["payload_hash"] == tagged("inbox-strike", *parts).hex()
    (made,) = vectors["commitments"]
    parts = raw(made["task_id"]), le(int(made["lease_id"])), raw(made["worker"], made["salt"], made["result_hash"])
    assert made["commitment"] == tagged("commitment", domain, *parts).hex()
    (result,) = vectors["results"]
    tail = raw(result["environment_hash"], result["work_root"], result["model_hash"], result["metrics_hash"])
    head = raw(result["task_id"], result["worker"]) + bytes([result["mode"]])
    assert result["result_hash"] == tagged("result", head, tail).hex()
    (sample,) = vectors["samples"]
    assert sample["digest"] == tagged("sample", raw(sample["task_id"], sample["commitment"])).hex()


def inbox_task_payload(client: bytes, spec_hash: bytes, kind: int, mode: int, deadline: int) -> bytes:
    return tagged("inbox-task", client, spec_hash, bytes([kind, mode]), le(deadline))


def test_proofs_of_possession_under_py_ecc() -> None:
    vectors = load("messages")
    domain = raw(vectors["genesis"], vectors["program"])
    for proof in vectors["proofs_of_possession"][:1]:
        digest = tagged("proof-of-possession", domain, raw(proof["authority"], proof["bls_public_key"]))
        assert digest.hex() == proof["digest"]
        assert G2ProofOfPossession.Sign(int(proof["bls_secret_key"], 16), digest).hex() == proof["proof"]


def test_validator_sets() -> None:
    vectors = load("validator_set")
    domain = raw(vectors["genesis"], vectors["program"])
    for one in vectors["sets"]:
        stakes = [int(entry["stake_lamports"]) for entry in one["entries"]]
        entries = b"".join(
            raw(entry["authority"], entry["bls_uncompressed"]) + le(stake)
            for entry, stake in zip(one["entries"], stakes, strict=True)
        )
        assert (
            one["hash"] == tagged("validator-set", domain, le(int(one["version"])), le(len(stakes), 4), entries).hex()
        )
        assert int(one["total_stake"]) == sum(stakes)
        for quorum in one["quorums"]:
            bits = "".join(f"{byte:08b}"[::-1] for byte in raw(quorum["bitmap"]))
            signed = sum(stake for stake, bit in zip(stakes, bits, strict=False) if bit == "1")
            assert int(quorum["stake"]) == signed
            assert quorum["is_quorum"] == (3 * signed >= 2 * sum(stakes))


def set_of(vector: dict[str, Any]) -> ValidatorSet:
    entries = (SetEntry.decode(raw(entry["encoded"])) for entry in vector["entries"])
    return ValidatorSet(int(vector["version"]), tuple(entries))


def test_certificates() -> None:
    vectors = load("certificate")
    domain = Domain(raw(vectors["genesis"]), raw(vectors["program"]))
    assert checkpoint_hash(domain.genesis + domain.program, vectors["message"]) == vectors["hash"]
    keys = [raw(entry["bls_public_key"]) for entry in load("messages")["proofs_of_possession"]]
    message = message_of(vectors["message"])
    for one in vectors["certificates"]:
        bitmap = bytes_to_bitmap(raw(one["bitmap"]))
        made = certificate.Certificate(message, bitmap, raw(one["signature"]))
        assert certificate.verify(domain, made, set_of(vectors["set"]))
    signers = [key for index, key in enumerate(keys) if bitmap >> index & 1]
    assert G2ProofOfPossession.FastAggregateVerify(signers, raw(vectors["hash"]), raw(one["signature"]))


LAYOUTS = {
    1: "nonce:8 fee_lamports:8 deadline_slot:8 spec_hash:32 kind:1 mode:1",
    2: "nonce:8 lease_id:8 result_hash:32 salt:32",
    3: "nonce:8 public_key:32 stake_lamports:8 environment_hash:32",
    4: "set_index:2 verdict:1 reason:1 result_hash:32 replayed:4 intervals:4 accuracy_ppm:4",
    5: "iteration:8 state_hash:32 gradient_hash:32",
    6: "set_index:2 sample_signature:96",
    7: "event:1 number:8 lamports:8 inbox_index:8 slot:8 public_key:32 spec_hash:32 kind_mode:1",
    8: "epoch:8 validators:2 workers:4 active_tasks:4 stake_lamports:8 state_root:32",
}


def naive_record(vector: dict[str, Any]) -> bytes:
    packed = b""
    for item in LAYOUTS[vector["op"]].split():
        name, width = item.split(":")
        value = vector["payload"][name]
        packed += raw(value) if int(width) > 8 else naive.be(int(value), int(width))
    return naive.record(vector["op"], vector["time"], raw(vector["node"]), raw(vector["task"]), packed)


def test_records() -> None:
    vectors = load("records")
    assert {vector["op"] for vector in vectors["valid"]} == set(range(1, 9))
    assert {v["payload"]["event"] for v in vectors["valid"] if v["op"] == 7} == set(range(1, 11))
    for vector in vectors["valid"]:
        assert naive_record(vector) == raw(vector["record"])
        assert records.encode(records.decode(raw(vector["record"]))) == raw(vector["record"])
    for vector in vectors["invalid"]:
        with pytest.raises(RecordError):
            records.decode(raw(vector["record"]))


def test_authorisations() -> None:
    vectors = load("authorisations")
    domain = raw(vectors["genesis"], vectors["program"])
    for vector in vectors["records"]:
        body = bytearray(raw(vector["record"]))
        body[2:6] = body[156:160] = bytes(4)
        digest = tagged("authorisation", domain, le(int(vector["expiry_slot"])), bytes(body))
        signature = bytes(Keypair.from_seed(raw(vector["seed"])).sign_message(digest))
        parts = raw(vector["public_key"]) + le(int(vector["expiry_slot"])) + signature
        assert (vector["digest"], vector["signature"]) == (digest.hex(), signature.hex())
        assert vector["authorisation"] == parts.hex()
        assert body[6:26] == naive.node_id(raw(vector["public_key"]))
    (call,) = vectors["calls"]
    canonical = f'{{"leaseId":9,"taskId":"{"ab" * 32}"}}'.encode()
    parts = sha256(b"renewLease").digest() + sha256(canonical).digest() + le(int(call["nonce"]))
    digest = tagged("rpc", domain, parts, le(int(call["expiry_slot"])))
    assert call["digest"] == digest.hex()
    key = bytes(Keypair.from_seed(raw(call["seed"])).pubkey())
    assert signing.verify(key, digest, raw(call["signature"]))


def test_merkle_trees() -> None:
    vectors = load("merkle")
    for vector in vectors["trees"]:
        leaves = [raw(leaf) for leaf in vector["leaves"]]
        assert vector["tree"] == naive.merkle_tree(leaves).hex()
        assert vector["root"] == naive.merkle_root(vectors["root_name"], leaves).hex()
        paths = [[sibling.hex() for sibling in naive.merkle_path(i, leaves)] for i in range(len(leaves))]
        assert vector["proofs"] == paths


VALUE_TAGS = {"account": "account", "task": "task-leaf", "totals": "totals"}


def naive_leaves(leaves: list[dict[str, str]]) -> dict[bytes, bytes]:
    return {
        raw(leaf["key"]): naive.state_leaf(raw(leaf["key"]), tagged(VALUE_TAGS[leaf["kind"]], raw(leaf["value"])))
        for leaf in leaves
    }


def test_state_trees() -> None:
    vectors = load("state")
    keys = vectors["keys"]
    assert keys["totals"] == tagged("totals-key").hex()
    assert keys["account"]["key"] == tagged("account-key", raw(keys["account"]["node"])).hex()
    assert keys["task"]["key"] == tagged("task-key", raw(keys["task"]["task_id"])).hex()
    for state in vectors["states"]:
        leaves = naive_leaves(state["leaves"])
        assert state["root"] == naive.state_root(leaves).hex()
        for leaf in state["leaves"]:
            assert raw(*leaf["siblings"]) == b"".join(naive.state_siblings(leaves, raw(leaf["key"])))


def message_of(vector: dict[str, Any]) -> CheckpointMessage:
    hashes = ("parent_hash", "results_root", "state_root", "trace_root", "data_root", "inbox_hash", "set_hash")
    return CheckpointMessage(
        **{name: raw(value) if name in hashes else int(value) for name, value in vector.items()}  # type: ignore[arg-type]
    )


def test_batches_under_the_naive_ledger() -> None:
    vectors = load("batch")
    genesis, program = raw(vectors["genesis"]), raw(vectors["program"])
    entries = vectors["set"]["entries"]
    stakes = [int(entry["stake_lamports"]) for entry in entries]
    authorities = [raw(entry["authority"]) for entry in entries]
    ledger = naive.Ledger(genesis, program, stakes, authorities, raw(vectors["treasury"]))
    parent, inbox, cursor = tagged("genesis", genesis, program), tagged("inbox", genesis, program), 0
    for number, epoch in enumerate(vectors["epochs"], start=1):
        message, steps = epoch["message"], epoch["records"]
        trace = [ledger.root()]
        assert epoch["parent_state_root"] == trace[0].hex() and epoch["parent_inbox_hash"] == inbox.hex()
        for index, step in enumerate(steps):
            assert naive_record(step) == raw(step["record"])
            fields = {k: raw(v) if _is_hash(k) else int(v) for k, v in step["payload"].items()}
            ledger.apply(number, int(epoch["base_slot"]), step["op"], raw(step["node"]), raw(step["task"]), fields)
            assert step["state_root_after"] == ledger.root().hex()
            if index % 8 == 7 or index == len(steps) - 1:
                trace.append(ledger.root())
            if step["name"] == "ECONOMIC_EVENT" and fields["event"] in (1, 6, 7):
                key, asked = fields["public_key"], fields["number"]
                kind, payload = {
                    1: (b"\1", tagged("inbox-deposit", key)),
                    6: (b"\2", inbox_task_payload(key, fields["spec_hash"], *divmod(fields["kind_mode"], 16), asked)),
                    7: (b"\3", tagged("inbox-withdrawal", key, le(asked), raw(step["task"]))),
                }[fields["event"]]
                body = le(cursor) + le(fields["slot"]) + kind + le(fields["lamports"]) + payload
                inbox, cursor = tagged("inbox-entry", inbox, body), cursor + 1
        data = raw(*(step["record"] for step in steps), *(step["authorisation"] for step in steps))
        assert epoch["data"] == data.hex() and epoch["trace"] == [root.hex() for root in trace]
        assert message["results_root"] == naive.merkle_root("results-root", [raw(s["record"]) for s in steps]).hex()
        assert message["trace_root"] == naive.merkle_root("trace-root", trace).hex()
        chunks = [data[start : start + 1024] for start in range(0, len(data), 1024)]
        assert message["data_root"] == naive.merkle_root("data-root", chunks).hex()
        assert message["state_root"] == ledger.root().hex()
        assert (message["payable_total"], message["inbox_cursor"]) == (str(ledger.sums()[2]), str(cursor))
        assert (message["inbox_hash"], message["parent_hash"]) == (inbox.hex(), parent.hex())
        assert message["set_hash"] == vectors["set"]["hash"]
        assert naive_leaves(epoch["leaves_after"]) == ledger.leaves()
        assert epoch["hash"] == checkpoint_hash(genesis + program, message)
        parent = raw(epoch["hash"])


def _is_hash(name: str) -> bool:
    return name.endswith("_hash") or name in ("public_key", "salt", "sample_signature")


def test_batches_pass_a_validators_check() -> None:
    vectors = load("batch")
    domain = Domain(raw(vectors["genesis"]), raw(vectors["program"]))
    parent = Parent.genesis(domain)
    for number, epoch in enumerate(vectors["epochs"], start=1):
        context = batch.Context(domain, number, parent.cut_slot, set_of(vectors["set"]), raw(vectors["treasury"]))
        message = message_of(epoch["message"])
        roots = check_batch(parent, message, raw(epoch["data"]), context)
        reloaded = State.from_leaves(
            (raw(e["key"]), LeafKind(e["kind"]), raw(e["value"])) for e in epoch["leaves_after"]
        )
        assert reloaded.root == roots.state.root
        flipped = bytearray(raw(epoch["data"]))
        flipped[-1] ^= 1
        with pytest.raises(BatchError):
            check_batch(parent, message, bytes(flipped), context)
        parent = Parent.of(message, domain, roots.state)


def test_work() -> None:
    vectors = load("work")
    entries = []
    for entry in vectors["entries"]:
        hashes = raw(entry["state_hash"], entry["gradient_hash"], entry["batch_hash"], entry["model_hash"])
        entries.append(le(int(entry["iteration"])) + hashes + struct.pack("<d", entry["loss"]))
    assert [entry.hex() for entry in entries] == [entry["entry"] for entry in vectors["entries"]]
    assert [int(entry["iteration"]) for entry in vectors["entries"]] == vectors["boundaries"]
    assert vectors["work_root"] == naive.merkle_root("work-root", entries).hex()
    canonical = json.dumps(vectors["spec"], sort_keys=True, separators=(",", ":")).encode()
    assert vectors["spec_hash"] == sha256(canonical).hexdigest()
    assert vectors["metrics"]["hash"] == sha256(b'{"accuracy":0.9722,"loss":0.125}').hexdigest()
    assert (
        vectors["environment"]["hash"]
        == sha256(
            json.dumps(vectors["environment"]["value"], sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
    )


def test_draws() -> None:
    for vector in load("work")["draws"]:
        n, seed = vector["intervals"], sha256(raw(vector["signature"])).digest()
        others, drawn = list(range(n - 1)), []
        for i in range(0 if n <= 2 else min(n - 2, -(-n // 4))):
            r = int.from_bytes(sha256(seed + le(i, 4)).digest()[:8], "little")
            j = i + r % (n - 1 - i)
            others[i], others[j] = others[j], others[i]
            drawn.append(others[i])
        assert vector["drawn"] == [*sorted(drawn), n - 1]


def test_keys_in_the_vectors_are_those_of_the_kit() -> None:
    for vector in load("authorisations")["records"]:
        decoded = Authorisation.decode(raw(vector["authorisation"]))
        record = records.decode(raw(vector["record"]))
        assert decoded.expiry_slot == 612 and signing.node_id(decoded.public_key) == record.node
    assert load("messages")["genesis_parent"] == messages.genesis_parent(kit.DOMAIN).hex()
