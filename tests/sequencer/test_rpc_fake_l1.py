"""The door over real HTTP: malformed and oversized input, slow clients, signatures, replay. L1 is a view that the test sets by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair
from solders.signature import Signature

from sequencer import auth, epoch_loop, methods_client, service
from sequencer import database as db
from sequencer.lifecycle import Status
from sequencer.node import L1View, Node
from sequencer.rows import GroupKind
from sequencer.store import StoreUnwritable
from settlement import records, signing, spec
from settlement.bls import SecretKey
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.validator_set import ValidatorSet
from tests.sequencer.chain_kit import DOMAIN, ENTRIES, Bench
from tests.sequencer.door_kit import SLOT, make_node
from tests.sequencer.kit import DATASET, SPEC, Party, verdict_params, vote_record

HEX = "ab" * 32


@dataclass
class Door:
    node: Node
    url: str
    http: httpx.AsyncClient

    async def raw(self, body: bytes | str, **options: Any) -> httpx.Response:
        return await self.http.post("/", content=body, **options)

    async def error(self, body: bytes | str) -> dict[str, Any]:
        response = await self.raw(body)
        assert response.status_code == 200
        answer = response.json()
        assert "result" not in answer
        return dict(answer["error"])

    async def call(self, method: str, params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return (await self.raw(json.dumps(body))).json()

    async def party(self, lamports: int = 0) -> Party:
        keypair = Keypair()
        if lamports:
            bench = Bench(self.node.database, self.node.chain, self.inbox)
            bench.deposit(bytes(keypair.pubkey()), lamports)
            bench.ingest()
        client = SequencerClient(self.url, keypair, attempts=1)
        return Party(keypair, await client.__aenter__())

    inbox: list[Any]


@pytest.fixture
async def door(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Door]:
    node = make_node(tmp_path, body_deadline_seconds=0.5, blob_limit_bytes=100_000, body_limit_bytes=50_000)
    port = await nursery.start(service._serve, node)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        yield Door(node, url, http, [])
    nursery.cancel_scope.cancel()
    node.database.close()


REFUSED = {
    "no json": (b"{", Code.PARSE_ERROR, "acceptable JSON"),
    "empty": (b"", Code.PARSE_ERROR, "acceptable JSON"),
    "not utf-8": (b'{"a":"\xff"}', Code.PARSE_ERROR, "utf-8"),
    "lone surrogate": (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', Code.PARSE_ERROR, "surrogate"),
    "nan": (b'{"jsonrpc":"2.0","id":1,"method":"getTask","params":{"taskId":NaN}}', Code.PARSE_ERROR, "NaN"),
    "infinity by exponent": (b'{"id":1e999}', Code.PARSE_ERROR, "beyond a double"),
    "beyond 64 bits": (b'{"id":18446744073709551616}', Code.PARSE_ERROR, "beyond 64 bits"),
    "ten thousand digits": (b'{"id":' + b"9" * 10_000 + b"}", Code.PARSE_ERROR, "beyond 64 bits"),
    "duplicate key": (b'{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"x"}', Code.PARSE_ERROR, "stands twice"),
    "deep array": (b"[" * 20_000, Code.PARSE_ERROR, "nested deeper"),
    "deep object": (b'{"a":' * 8_000, Code.PARSE_ERROR, "nested deeper"),
    "brackets in strings are not depth": (json.dumps({"a": "[" * 100}).encode(), Code.INVALID_REQUEST, "no key 'a'"),
    "empty batch": (b"[]", Code.INVALID_REQUEST, "1 to 32"),
    "huge batch": (b"[" + b"1," * 40 + b"1]", Code.INVALID_REQUEST, "1 to 32"),
    "number": (b"1", Code.INVALID_REQUEST, "object"),
    "no version": (b'{"id":1,"method":"getHealth"}', Code.INVALID_REQUEST, "2.0"),
    "method a number": (b'{"jsonrpc":"2.0","id":1,"method":1}', Code.INVALID_REQUEST, "string"),
    "id an object": (b'{"jsonrpc":"2.0","id":{},"method":"getHealth"}', Code.INVALID_REQUEST, "id must"),
    "params by position": (
        b'{"jsonrpc":"2.0","id":1,"method":"getTask","params":["x"]}',
        Code.INVALID_PARAMS,
        "by name",
    ),
    "unknown method": (b'{"jsonrpc":"2.0","id":1,"method":"mint"}', Code.METHOD_NOT_FOUND, "mint"),
    "unknown key": (
        b'{"jsonrpc":"2.0","id":1,"method":"getHealth","params":{"x":1}}',
        Code.INVALID_PARAMS,
        'params has no key "x"; it takes none',
    ),
    "missing key": (b'{"jsonrpc":"2.0","id":1,"method":"getTask"}', Code.INVALID_PARAMS, "taskId"),
    "short hex": (
        b'{"jsonrpc":"2.0","id":1,"method":"getTask","params":{"taskId":"ab"}}',
        Code.INVALID_PARAMS,
        "taskId",
    ),
    "hex with a newline": (
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getTask", "params": {"taskId": HEX + "\n"}}).encode(),
        Code.INVALID_PARAMS,
        "taskId",
    ),
    "a float for an integer": (
        b'{"jsonrpc":"2.0","id":1,"method":"getCheckpoint","params":{"epoch":1.5}}',
        Code.INVALID_PARAMS,
        "epoch",
    ),
    "negative": (
        b'{"jsonrpc":"2.0","id":1,"method":"getCheckpoint","params":{"epoch":-1}}',
        Code.INVALID_PARAMS,
        "epoch",
    ),
    "no such epoch": (
        b'{"jsonrpc":"2.0","id":1,"method":"getCheckpoint","params":{"epoch":18446744073709551615}}',
        Code.NOT_FOUND,
        "not cut yet",
    ),
    "public key of 31 bytes": (
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getBalance", "params": {"publicKey": "1" * 33}}).encode(),
        Code.INVALID_PARAMS,
        "no public key",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_malformed_input_gets_its_code_and_a_reason(door: Door, name: str) -> None:
    body, code, reason = REFUSED[name]
    error = await door.error(body)
    assert error["code"] == code, error
    assert reason in error["message"], error


async def test_a_batch_answers_each_call_and_no_notification(door: Door) -> None:
    good = {"jsonrpc": "2.0", "id": "a", "method": "getVersion"}
    silent = {"jsonrpc": "2.0", "method": "getVersion"}
    answers = (await door.raw(json.dumps([good, silent, 5, {**good, "id": 2}]))).json()
    assert [answer["id"] for answer in answers] == ["a", None, 2]
    assert answers[0]["result"]["value"]["protocol"] == 1
    assert (await door.raw(json.dumps(silent))).status_code == 204


async def test_oversized_bodies_are_refused_before_they_are_read(door: Door) -> None:
    response = await door.raw(b" " * 50_001)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == Code.INVALID_REQUEST

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000

    response = await door.http.post("/", content=endless())
    assert response.status_code == 413


async def test_compressed_bodies_are_refused(door: Door) -> None:
    response = await door.raw(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415


async def test_a_body_that_drips_meets_its_deadline(door: Door) -> None:
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" "
            await trio.sleep(0.05)

    started = trio.current_time()
    response = await door.http.post("/", content=drip())
    assert response.status_code == 408
    assert trio.current_time() - started < 3


async def test_other_paths_and_verbs(door: Door) -> None:
    assert (await door.http.get("/")).status_code == 405
    assert (await door.http.get("/nothing")).status_code == 404
    assert (await door.http.get("/health")).text == "ok"
    assert "pouw_queue_depth" in (await door.http.get("/metrics")).text
    assert (await door.http.get("/blobs/../store/CURRENT")).status_code in (400, 404)
    assert (await door.http.get("/blobs/%2e%2e%2fstore")).status_code in (400, 404)


async def test_silence_of_l1_shows_in_health(door: Door) -> None:
    assert (await door.call("getHealth", {}))["result"]["value"] == "ok"
    door.node.view = L1View(slot=SLOT, read_at=trio.current_time() - 60)
    answer = await door.call("getHealth", {})
    assert answer["error"]["code"] == Code.NODE_UNHEALTHY
    assert (await door.http.get("/health")).status_code == 503


# -- records


async def refused(code: Code, call: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await call
    assert caught.value.code == code, caught.value
    return caught.value


async def test_a_record_again_is_answered_as_the_first_time(door: Door) -> None:
    party = await door.party(10_000)
    first = await party.withdraw(100)
    groups = len(list(door.node.database.scan(db.GROUPS)))
    party.nonce -= 1
    assert await party.withdraw(100) == first
    assert len(list(door.node.database.scan(db.GROUPS))) == groups
    party.nonce -= 1
    error = await refused(Code.WRONG_NONCE, party.withdraw(101))
    assert error.data["expected"] == 1


async def test_what_the_ledger_refuses_has_its_code(door: Door) -> None:
    stranger = await door.party()
    await refused(Code.UNKNOWN_ACCOUNT, stranger.withdraw(1))
    party = await door.party(10_000)
    error = await refused(Code.INSUFFICIENT_BALANCE, party.withdraw(10_001))
    assert error.data["balanceLamports"] == 10_000
    error = await refused(Code.REJECTED_BY_LEDGER, party.withdraw(0))
    assert error.data["code"] == "ZERO_AMOUNT"
    await refused(Code.STAKE_TOO_LOW, party.register(5_000))
    assert list(door.node.database.scan(db.WORKERS)) == []
    assert door.node.state.account(signing.node_id(party.key)).nonce == 0  # type: ignore[union-attr]


async def test_a_submission_is_checked_before_it_is_taken(door: Door) -> None:
    party = await door.party(10_000)
    error = await refused(Code.BLOB_MISSING, party.submit(100))
    assert error.data["missing"] == [sha256(DATASET).hexdigest()]
    await party.client.put_blob(DATASET)
    await refused(Code.DEADLINE, party.submit(100, deadline_slots=10))

    async def send(described: Any) -> Any:
        params = {"spec": described, "feeLamports": 1, "deadlineSlot": 9_000, "nonce": 0}
        record = party.submission(params, b"\1" * 32, spec.spec_hash(SPEC))
        return await party.client.call_record("submitTask", params, record)

    error = await refused(Code.INVALID_SPEC, send({**SPEC, "seed": -1}))
    assert error.data["key"] == "seed"
    await refused(Code.UNSUPPORTED_MODE, send({**SPEC, "mode": "zk"}))
    await refused(Code.BAD_SIGNATURE, send(SPEC))
    assert len(door.node.tasks) == 0


async def test_expiry_has_a_lower_and_an_upper_bound(door: Door) -> None:
    party = await door.party(10_000)
    record = records.Record(
        records.Op.ECONOMIC_EVENT,
        0,
        signing.node_id(party.key),
        bytes(32),
        records.EconomicEvent(records.Event.WITHDRAWAL, number=0, lamports=5),
    )
    params = {"lamports": 5, "nonce": 0}
    for expiry in (SLOT + 31, SLOT + 1_025, 0):
        await refused(Code.AUTH_EXPIRED, party.client.call_record("withdraw", params, record, expiry_slot=expiry))
    for expiry in (SLOT + 32, SLOT + 1_024):
        await party.client.call_record("withdraw", params, record, expiry_slot=expiry)


def signed_call(
    party: Party, method: str, params: dict[str, Any], nonce: int, expiry: int = SLOT + 10
) -> dict[str, Any]:
    digest = signing.rpc_digest(DOMAIN, method, params, nonce, expiry)
    signature = str(Signature.from_bytes(signing.sign(party.keypair, digest)))
    return {**params, "auth": {"publicKey": party.name, "nonce": nonce, "expirySlot": expiry, "signature": signature}}


async def test_a_signed_call_cannot_be_replayed_or_moved(door: Door) -> None:
    party = await door.party(5_000_000)
    await party.register()
    params = signed_call(party, "pullTask", {}, 7)
    assert "result" in await door.call("pullTask", params)
    assert (await door.call("pullTask", params))["error"]["code"] == Code.NONCE_USED
    moved = signed_call(party, "renewLease", {"taskId": HEX, "leaseId": 1}, 8)
    for changed in ({**moved, "leaseId": 2}, {**moved, "auth": {**moved["auth"], "nonce": 9}}):
        assert (await door.call("renewLease", changed))["error"]["code"] == Code.BAD_SIGNATURE
    other = signed_call(party, "pullTask", {}, 10)
    assert (await door.call("pullTask", {"auth": {**other["auth"], "expirySlot": SLOT + 11}}))["error"]["code"] == (
        Code.BAD_SIGNATURE
    )
    late = signed_call(party, "pullTask", {}, 11, SLOT - 1)
    assert (await door.call("pullTask", late))["error"]["code"] == Code.AUTH_EXPIRED
    far = signed_call(party, "pullTask", {}, 12, SLOT + 1_025)
    assert (await door.call("pullTask", far))["error"]["code"] == Code.AUTH_EXPIRED


async def test_a_refused_call_keeps_its_nonce_and_expired_nonces_are_forgotten(door: Door) -> None:
    party = await door.party(5_000_000)
    params = signed_call(party, "pullTask", {}, 2**53 - 1)
    assert (await door.call("pullTask", params))["error"]["code"] == Code.STAKE_TOO_LOW
    await party.register()
    assert "result" in await door.call("pullTask", params)
    with door.node.database.transaction() as tx:
        assert auth.forget_expired_nonces(tx, SLOT + 10) == 0
    with door.node.database.transaction() as tx:
        assert auth.forget_expired_nonces(tx, SLOT + 11) == 1


async def test_nothing_signed_is_taken_while_l1_is_unknown(door: Door) -> None:
    party = await door.party(5_000_000)
    door.node.view = L1View()
    assert (await door.call("pullTask", signed_call(party, "pullTask", {}, 1)))["error"]["code"] == Code.NODE_UNHEALTHY


async def test_a_disk_that_refuses_means_read_only_and_no_acknowledgement(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    party = await door.party(10_000)
    state = door.node.state

    def refuse(writes: object) -> None:
        raise StoreUnwritable("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(door.node.database._store, "commit", refuse)
        await refused(Code.READ_ONLY, party.withdraw(100))
        assert (await door.call("getVersion", {}))["result"]
    assert door.node.state is state
    await party.withdraw(100)


# -- leases


async def tasks_and_worker(door: Door, count: int = 1) -> tuple[Party, list[Party], list[str]]:
    client = await door.party(1_000_000)
    await client.client.put_blob(DATASET)
    workers = [await door.party(5_000_000) for _ in range(2)]
    for worker in workers:
        await worker.register()
    return client, workers, [await client.submit(100) for _ in range(count)]


def pass_slots(door: Door, slots: int) -> None:
    door.node.view = L1View(slot=door.node.slot + slots, finalized_slot=door.node.slot, read_at=trio.current_time())
    epoch_loop.tick(door.node)


async def test_a_worker_holds_one_lease_and_pulling_again_returns_it(door: Door) -> None:
    _, (worker, other), ids = await tasks_and_worker(door, 2)
    first = await worker.pull()
    assert first["task"]["taskId"] == ids[0]
    assert (await worker.pull())["lease"] == first["lease"]
    assert (await other.pull())["task"]["taskId"] == ids[1]
    workers = await worker.client.call("getWorkers")
    assert {w["publicKey"]: w["lease"]["taskId"] for w in workers} == {worker.name: ids[0], other.name: ids[1]}
    assert [t["taskId"] for t in (await worker.client.call("getTasks", {"status": "leased"}))["tasks"]] == ids[::-1]
    page = (await worker.client.call("getTasks", {"limit": 1, "before": ids[1]}))["tasks"]
    assert [t["taskId"] for t in page] == ids[:1]


async def test_pages_of_tasks_lead_to_one_another(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one call looks at fewer tasks than it would have to for a full page, or finds none among those."""
    _, (worker, _), ids = await tasks_and_worker(door, 5)
    await worker.pull()  # the oldest is leased
    newest_first = ids[::-1]

    async def pages(**chosen: Any) -> list[list[str]]:
        found: list[list[str]] = []
        while len(found) < 9:
            page = await worker.client.call("getTasks", chosen)
            found.append([task["taskId"] for task in page["tasks"]])
            if "next" not in page:
                return found
            chosen["before"] = page["next"]
        raise AssertionError(f"no end: {found}")

    assert await pages() == [newest_first]
    assert await pages(limit=5) == [newest_first], "a full page that is the last says so"
    assert await pages(limit=2) == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    assert await pages(status="paid") == [[]]
    monkeypatch.setattr(methods_client, "MAX_TASKS_LOOKED_AT", 2)
    assert await pages(status="leased") == [[], [], newest_first[4:]]
    assert await pages(limit=100) == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    assert await pages(status="refunded") == [[], [], []]


async def test_a_workers_progress_is_shown_unverified_while_its_lease_lasts(door: Door) -> None:
    _, (worker, other), ids = await tasks_and_worker(door)
    granted = await worker.pull()
    lease = {"taskId": ids[0], "leaseId": granted["lease"]["leaseId"]}
    points = [{"step": 3, "loss": 2.5, "accuracy": 0.25}, {"step": 6, "loss": 1.5}]

    async def shown() -> Any:
        return (await other.client.call("getTask", {"taskId": ids[0]})).get("progress")

    assert await shown() is None
    await worker.client.call_signed("renewLease", {**lease, "progress": {"steps": 9, "points": points}})
    assert await shown() == {"verified": False, "steps": 9, "points": points}
    await worker.client.call_signed("renewLease", lease)
    assert await shown() == {"verified": False, "steps": 9, "points": points}, "a renewal without news keeps the last"
    too_many = {"steps": 99, "points": [{"step": step, "loss": 1.0} for step in range(17)]}
    await refused(Code.INVALID_PARAMS, worker.client.call_signed("renewLease", {**lease, "progress": too_many}))
    pass_slots(door, door.node.config.lease_slots + 1)
    assert await shown() is None, "what was said under a lease ends with it"


async def test_an_expired_lease_goes_to_another_and_the_late_result_is_refused(door: Door) -> None:
    _, (late, other), _ = await tasks_and_worker(door)
    granted = await late.pull()
    done = await late.prepare(granted)
    await done.commit()
    renewed = await late.client.call_signed("renewLease", {k: done.params[k] for k in ("taskId", "leaseId")})
    assert renewed["expirySlot"] >= granted["lease"]["expirySlot"]
    pass_slots(door, door.node.config.lease_slots + 1)
    again = await other.pull()
    assert again["task"]["taskId"] == granted["task"]["taskId"]
    assert again["lease"]["leaseId"] != granted["lease"]["leaseId"]
    await refused(Code.LEASE_LOST, done.reveal())
    await refused(Code.LEASE_LOST, done.commit())
    second = await other.prepare(again)
    await second.commit()
    assert (await second.reveal())["status"] == "revealed"
    await refused(Code.LEASE_LOST, done.reveal())


async def test_a_worker_that_lets_leases_end_leaves_the_task_to_others(door: Door) -> None:
    _, (failing, other), (task_id,) = await tasks_and_worker(door)

    async def pulled(party: Party) -> Any:
        party.client._slot = None  # it goes by the slot it last heard of, and here slots jump
        granted = await party.pull()
        return granted and granted["task"]["taskId"]

    def a_lease_passes() -> None:
        pass_slots(door, door.node.config.lease_slots + 1)

    for _ in range(2):
        assert await pulled(failing) == task_id
        a_lease_passes()
    assert await pulled(failing) is None
    assert await pulled(other) == task_id
    a_lease_passes()
    assert await pulled(failing) == task_id, "its wait of one lease is over, and nobody else asked"
    a_lease_passes()
    a_lease_passes()
    assert await pulled(failing) is None, "the second wait is of two leases"
    assert await pulled(other) == task_id


async def test_a_second_rejected_result_of_a_slashed_worker_is_slashed_of_nothing(door: Door) -> None:
    client, (worker, _), ids = await tasks_and_worker(door, 2)
    for _ in ids:
        await worker.do()
    for index, (party, secret) in enumerate((await voters(door))[:2]):
        for duty in (await party.client.call("getDuties", {"validator": party.name}))["results"]:
            params = verdict_params(duty, index, secret, **REJECTS)
            await party.client.call_record("submitVerdict", params, vote_record(party.key, params))
    assert [await status(door, task_id) for task_id in ids] == ["pending", "pending"]
    outcomes = [records.decode(group.records[-1]).payload for group in door.node.chain.open.groups[-2:]]
    assert [(one.event.name, one.lamports) for one in outcomes] == [("SLASH", 2_000_000), ("SLASH", 0)]  # type: ignore[union-attr]
    assert [len(task["rejections"]) for task in (await client.client.call("getTasks", {}))["tasks"]] == [1, 1]


async def test_a_reveal_must_match_what_was_committed_and_uploaded(door: Door) -> None:
    _, (worker, _), _ = await tasks_and_worker(door)
    granted = await worker.pull()
    done = await worker.prepare(granted)
    await refused(Code.WRONG_COMMITMENT, done.reveal())
    await done.commit()
    assert (await done.commit())["status"] == "committed"
    other = await worker.prepare(granted)
    await refused(Code.WRONG_COMMITMENT, other.commit())
    await refused(Code.WRONG_COMMITMENT, other.reveal())
    honest = dict(done.params)
    for key, value in (
        ("workRoot", HEX),
        ("modelSha256", HEX),
        ("metrics", {"accuracy": 1.0, "loss": 0.125}),
        ("environment", {"device": "cpu"}),
    ):
        done.params = {**honest, key: value}
        await refused(Code.WRONG_COMMITMENT, done.reveal())
    done.params = {**honest, "entriesSha256": HEX}
    error = await refused(Code.BLOB_MISSING, done.reveal())
    assert error.data["missing"] == [HEX]
    done.params = {**honest, "entriesSha256": other.params["entriesSha256"]}
    await refused(Code.WRONG_COMMITMENT, done.reveal())
    done.params = honest
    assert (await done.reveal())["status"] == "revealed"
    worker.nonce -= 1
    assert (await done.reveal())["status"] == "revealed"


async def test_a_missing_state_is_named(door: Door) -> None:
    _, (worker, _), _ = await tasks_and_worker(door)
    done = await worker.prepare(await worker.pull())
    await done.commit()
    trace = door.node.blobs.read(bytes.fromhex(done.params["entriesSha256"]), 10_000)
    gone = trace[8:40]
    door.node.blobs.path(gone.hex()).unlink()
    error = await refused(Code.BLOB_MISSING, done.reveal())
    assert error.data["missing"] == [gone.hex()]


async def test_a_task_past_its_deadline_is_refunded_once_the_ledgers_time_is_past_it(door: Door) -> None:
    client, (worker, _), (task_id,) = await tasks_and_worker(door)
    await worker.pull()
    node = door.node
    bench = Bench(node.database, node.chain, door.inbox, slot=SLOT)
    bench.whole_epoch()
    pass_slots(door, 5_000)
    assert not epoch_loop.must_advance(node)
    pass_slots(door, 10)
    assert epoch_loop.must_advance(node)
    bench.slot = node.slot
    bench.whole_epoch()
    epoch_loop.tick(node)
    row = node.tasks.committed(bytes.fromhex(task_id))
    assert row is not None
    assert row.status is Status.REFUNDED
    account = await client.client.call("getBalance", {"publicKey": client.name, "commitment": "processed"})
    assert (account["balanceLamports"], account["lockedFeesLamports"]) == (1_000_000, 0)
    assert not epoch_loop.must_advance(node)
    bench.check_restart()


# -- verdicts


async def voters(door: Door) -> list[tuple[Party, SecretKey]]:
    """The set's validators, by index."""
    made = []
    for seed in range(1, 4):
        keypair = Keypair.from_seed(bytes([seed]) * 32)
        client = await SequencerClient(door.url, keypair, attempts=1).__aenter__()
        made.append((Party(keypair, client), SecretKey.from_seed(bytes([seed]) * 32)))
    return made


async def duty_of(party: Party) -> dict[str, Any]:
    duties = await party.client.call("getDuties", {"validator": party.name})
    (duty,) = duties["results"]
    return dict(duty)


async def vote(voter: tuple[Party, SecretKey], index: int, **fields: Any) -> Any:
    party, secret = voter
    duty = await duty_of(party)
    params = verdict_params(duty, index, secret, **fields)
    return await party.client.call_record("submitVerdict", params, vote_record(party.key, params))


REJECTS = {"verdict": "reject", "reason": "wrong_state", "checkedIntervals": [1, 3], "disputedInterval": 1}


async def revealed(door: Door) -> tuple[Party, Party, str, list[tuple[Party, SecretKey]]]:
    client, (worker, _), (task_id,) = await tasks_and_worker(door)
    await worker.do()
    return client, worker, task_id, await voters(door)


async def status(door: Door, task_id: str) -> str:
    return str((await door.call("getTask", {"taskId": task_id}))["result"]["value"]["status"])


async def test_a_dispute_asks_the_accepting_validators_again(door: Door) -> None:
    _, worker, task_id, (a, b, c) = await revealed(door)
    assert (await vote(a, 0))["status"] == "revealed"
    assert (await vote(c, 2, **REJECTS))["status"] == "revealed"
    assert (await vote(b, 1, checkedIntervals=[0, 3]))["status"] == "revealed"
    duty = await duty_of(a[0])
    assert (duty["disputedIntervals"], duty["verdictGiven"]) == ([1], False)
    assert (await duty_of(c[0]))["verdictGiven"] is True
    pass_slots(door, 100)
    assert await status(door, task_id) == "revealed"
    assert (await vote(a, 0))["status"] == "revealed"
    assert (await duty_of(a[0]))["verdictGiven"] is True
    assert (await vote(b, 1))["status"] == "paid"
    result = (await door.call("getTaskResult", {"taskId": task_id}))["result"]["value"]
    assert [v["verdict"] for v in result["verdicts"]].count("accept") == 2
    error = await door.call("getDuties", {"validator": worker.name})
    assert error["error"]["code"] == Code.NOT_A_VALIDATOR


async def test_an_acceptance_becomes_a_payment_after_the_grace(door: Door) -> None:
    _, _, task_id, (a, b, _) = await revealed(door)
    await vote(a, 0)
    await vote(b, 1)
    assert await status(door, task_id) == "revealed"
    pass_slots(door, door.node.config.verdict_grace_slots)
    assert await status(door, task_id) == "paid"
    group = door.node.chain.open.groups[-1]
    ops = [records.decode(raw).op.name for raw in group.records]
    assert ops == ["VERIFICATION_PROOF", "CONSENSUS_VOTE"] * 2 + ["ECONOMIC_EVENT"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"intervals": 5},
        {"checkedIntervals": [4]},
        {"checkedIntervals": [3, 3]},
        {"checkedIntervals": []},
        {"reason": "wrong_state"},
        {"verdict": "reject"},
        {"disputedInterval": 3},
        {**REJECTS, "disputedInterval": 0},
        {"verdict": "maybe"},
    ],
)
async def test_a_verdict_that_contradicts_itself_is_refused(door: Door, wrong: dict[str, Any]) -> None:
    _, _, _, (a, _, _) = await revealed(door)
    party, secret = a
    params = verdict_params(await duty_of(party), 0, secret, **wrong)
    named = {**params, "verdict": "accept"} if params["verdict"] == "maybe" else params
    await refused(Code.INVALID_PARAMS, party.client.call_record("submitVerdict", params, vote_record(party.key, named)))


async def test_a_verdict_needs_its_own_index_and_sample(door: Door) -> None:
    _, worker, _, (a, b, _) = await revealed(door)
    await refused(Code.NOT_A_VALIDATOR, vote(a, 1))
    await refused(Code.NOT_A_VALIDATOR, vote(a, 200))
    copied = verdict_params(await duty_of(b[0]), 1, b[1])["sampleSignature"]
    await refused(Code.BAD_SIGNATURE, vote(a, 0, sampleSignature=copied))
    await refused(Code.BAD_SIGNATURE, vote(a, 0, sampleSignature="c0" + "00" * 95))
    await refused(Code.ALREADY_DECIDED, vote(a, 0, resultHash=HEX))
    assert worker.nonce == 2


async def test_another_pinned_set_undoes_a_decision_and_asks_for_verdicts_again(door: Door) -> None:
    _, _, task_id, (a, b, c) = await revealed(door)
    for index, voter in enumerate((a, b, c)):
        await vote(voter, index)
    assert await status(door, task_id) == "paid"
    node = door.node
    moved = ValidatorSet(2, (ENTRIES[2], ENTRIES[0], ENTRIES[1]))
    with node.database.transaction() as tx:
        node.reconcile(tx, node.chain.pin(tx, moved))
    assert await status(door, task_id) == "revealed"
    assert [group.kind for group in node.chain.open.groups][-1] == GroupKind.RESULT
    assert (await duty_of(a[0]))["verdictGiven"] is False
    for index, voter in ((1, a), (2, b), (0, c)):
        await vote(voter, index)
    assert await status(door, task_id) == "paid"
    task = (await door.call("getTask", {"taskId": task_id}))["result"]["value"]
    assert (task["accuracy"], task["replayedShare"]) == (0.97, 0.25)


async def test_another_pinned_set_undoes_a_slash_even_if_the_task_was_leased_again(door: Door) -> None:
    _, worker, task_id, (a, b, _) = await revealed(door)
    for index, voter in enumerate((a, b)):
        await vote(voter, index, **REJECTS)
    assert await status(door, task_id) == "pending"
    other = await door.party(5_000_000)
    await other.register()
    assert (await other.pull())["task"]["taskId"] == task_id
    node = door.node
    with node.database.transaction() as tx:
        node.reconcile(tx, node.chain.pin(tx, ValidatorSet(2, (ENTRIES[2], ENTRIES[0], ENTRIES[1]))))
    task = (await door.call("getTask", {"taskId": task_id}))["result"]["value"]
    assert (task["status"], task["worker"], task["rejections"]) == ("revealed", worker.name, [])
    assert await other.pull() is None
    stake = node.state.account(signing.node_id(worker.key))
    assert stake is not None
    assert stake.locked_stake == 2_000_000


async def test_an_attestation_is_for_the_proposal_in_flight_by_its_own_validator(door: Door) -> None:
    a, b, _ = await voters(door)
    await door.party(10_000)

    async def attest(voter: tuple[Party, SecretKey], index: int, **fields: Any) -> Any:
        proposal = {"epoch": 1, "attempt": 0, "hash": HEX, "setIndex": index, "signature": "80" + "00" * 95}
        return await voter[0].client.call_signed("submitAttestation", {**proposal, **fields})

    await refused(Code.WRONG_PROPOSAL, attest(a, 0))
    row = Bench(door.node.database, door.node.chain, door.inbox, slot=SLOT).cut().row
    assert (await a[0].client.call("getDuties", {"validator": a[0].name}))["proposal"] == {"epoch": 1, "attempt": 0}
    right = {"hash": row.hash.hex(), "signature": a[1].sign(row.hash).hex()}
    await refused(Code.WRONG_PROPOSAL, attest(a, 0, **{**right, "attempt": 1}))
    await refused(Code.WRONG_PROPOSAL, attest(a, 0, **{**right, "hash": HEX}))
    await refused(Code.NOT_A_VALIDATOR, attest(b, 0, **right))
    await refused(Code.BAD_SIGNATURE, attest(b, 1, **right))
    assert await attest(a, 0, **right) == {"signers": 1, "stakeLamports": 1_000_000, "quorum": False}
    assert await attest(a, 0, **right) == {"signers": 1, "stakeLamports": 1_000_000, "quorum": False}
    assert (await a[0].client.call("getDuties", {"validator": a[0].name}))["proposal"] is None
    second = {**right, "signature": b[1].sign(row.hash).hex()}
    assert (await attest(b, 1, **second))["quorum"] is True
    seen = await a[0].client.call("getValidators")
    assert [v["lastSeenSlot"] for v in seen] == [SLOT, SLOT, 0]
    assert len(seen[0]["blsPublicKey"]) == 96
    await refused(Code.WRONG_PROPOSAL, a[0].client.call("getProposal", {"epoch": 1, "attempt": 3}))


# -- blobs


async def test_a_blob_needs_an_account_a_length_and_its_hash(door: Door) -> None:
    stranger, party = await door.party(), await door.party(1_000)
    await refused(Code.UNKNOWN_ACCOUNT, stranger.client.put_blob(b"x"))
    name = await party.client.put_blob(b"bytes")
    assert await party.client.get_blob(name) == b"bytes"
    assert await party.client.put_blob(b"bytes") == name
    await refused(Code.NOT_FOUND, party.client.get_blob(HEX))
    await refused(Code.INVALID_REQUEST, party.client.put_blob(b"z" * 100_001))

    def header(params: dict[str, Any], nonce: int) -> dict[str, str]:
        auth_object = signed_call(party, "putBlob", params, nonce)["auth"]
        return {"Authorization": "Pouw " + base64.urlsafe_b64encode(json.dumps(auth_object).encode()).decode()}

    wrong = header({"sha256": HEX, "bytes": 5}, 1)
    response = await door.http.put(f"/blobs/{HEX}", content=b"other", headers=wrong)
    assert response.status_code == 400
    assert "sha256" in response.json()["error"]["message"]
    again = await door.http.put(f"/blobs/{HEX}", content=b"other", headers=wrong)
    assert again.json()["error"]["code"] == Code.NONCE_USED
    lied = header({"sha256": HEX, "bytes": 6}, 2)
    response = await door.http.put(f"/blobs/{HEX}", content=b"other", headers=lied)
    assert response.json()["error"]["code"] == Code.BAD_SIGNATURE
    response = await door.http.put(f"/blobs/{HEX}", content=b"other")
    assert response.status_code == 401
    response = await door.http.put(f"/blobs/{HEX}", content=b"x", headers={"Authorization": "Pouw %%%"})
    assert response.status_code == 401
    assert not door.node.blobs.has(bytes.fromhex(HEX))
    assert list((door.node.config.data_dir / "blobs" / "incoming").iterdir()) == []
