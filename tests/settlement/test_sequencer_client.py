"""The sequencer's client over real sockets, against a fake sequencer that answers, drops, and lies as each test says."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from settlement import records, signing
from settlement.sequencer_client import (
    BadAnswer,
    RpcError,
    SequencerClient,
    SequencerUnreachable,
    WrongChain,
)
from tests.settlement import kit

KEYPAIR = kit.keypair("client")
DROP = object()
VERSION = {
    "pouw": "0.1.0",
    "protocol": 1,
    "genesisHash": str(Hash(kit.DOMAIN.genesis)),
    "programId": str(Pubkey(kit.DOMAIN.program)),
    "l1Url": "http://127.0.0.1:8899",
}
SLOT = 5000


class FakeSequencer:
    """Answers `getVersion` and `getEpochInfo`; every other request is answered by the next of `answers`: DROP, (status, body) or a callable."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.slots: list[int] = []
        self.url = ""

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The JSON-RPC requests other than the two that a client asks by itself."""
        bodies = [json.loads(body) for verb, _, _, body in self.requests if verb == "POST"]
        return [body for body in bodies if body["method"] not in ("getVersion", "getEpochInfo")]

    async def handle(self, stream: trio.SocketStream) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                if not (chunk := await stream.receive_some()):
                    return
                buffer += chunk
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            verb, path, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            while len(buffer) < length:
                buffer += await stream.receive_some()
            body, buffer = buffer[:length], buffer[length:]
            self.requests.append((verb, path, headers, body))
            answer = self.answer(verb, body)
            if answer is DROP:
                return
            status, content, *extra = answer
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", *extra]
            await stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    def answer(self, verb: str, body: bytes) -> Any:
        if verb == "POST":
            method = json.loads(body)["method"]
            if method == "getVersion":
                return value(VERSION)
            if method == "getEpochInfo":
                slot = self.slots.pop(0) if self.slots else SLOT
                return result({"context": {"slot": slot, "epoch": 3}, "value": {"epoch": 3, "slot": slot}})
        answer = self.answers.pop(0)
        return answer(body) if callable(answer) else answer


def result(content: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": content}).encode()


def value(content: Any) -> tuple[int, bytes]:
    return result({"context": {"slot": SLOT, "epoch": 3}, "value": content})


def error(code: int, message: str, data: Mapping[str, Any] | None = None, status: int = 200) -> tuple[int, bytes]:
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message, **({"data": data} if data else {})}}
    return status, json.dumps(body).encode()


@asynccontextmanager
async def client_of(fake: FakeSequencer, **options: Any) -> AsyncIterator[SequencerClient]:
    async with trio.open_nursery() as nursery:

        async def quietly(stream: trio.SocketStream) -> None:
            try:
                await fake.handle(stream)
            except trio.BrokenResourceError:
                await stream.aclose()  # the client hung up, as some tests want it to

        listeners = await nursery.start(partial(trio.serve_tcp, quietly, 0, host="127.0.0.1"))
        fake.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with SequencerClient(fake.url, **{"keypair": KEYPAIR, "attempts": 3, **options}) as client:
            yield client
        nursery.cancel_scope.cancel()


async def test_a_read_gives_the_value_without_its_context() -> None:
    fake = FakeSequencer(value([1, 2]), result("ok"))
    async with client_of(fake, keypair=None) as client:
        assert await client.call("getTasks", {"limit": 2}) == [1, 2]
        assert await client.call("getHealth") == "ok"
    assert fake.calls[0] == {"jsonrpc": "2.0", "id": 1, "method": "getTasks", "params": {"limit": 2}}
    assert fake.calls[1]["params"] == {}


async def test_an_error_object_becomes_an_rpc_error() -> None:
    async with client_of(
        FakeSequencer(error(-33004, "the nonce is 4", {"expected": 4}), error(-32601, "no"))
    ) as client:
        with pytest.raises(RpcError, match=r"the nonce is 4 \(code -33004\)") as refused:
            await client.call("withdraw")
        assert (refused.value.code, refused.value.data) == (-33004, {"expected": 4})
        with pytest.raises(RpcError) as unknown:
            await client.call("nothing")
        assert unknown.value.data == {}


async def test_a_signed_call_carries_a_signature_over_its_digest() -> None:
    fake = FakeSequencer(value(None))
    params = {"taskId": "ab" * 32, "leaseId": 9}
    async with client_of(fake) as client:
        assert await client.call_signed("renewLease", params) is None
    sent = fake.calls[0]["params"]
    auth = sent.pop("auth")
    assert sent == params and auth.keys() == {"publicKey", "nonce", "expirySlot", "signature"}
    assert SLOT + 32 < auth["expirySlot"] <= SLOT + 1024
    digest = signing.rpc_digest(kit.DOMAIN, "renewLease", params, auth["nonce"], auth["expirySlot"])
    assert auth["publicKey"] == str(KEYPAIR.pubkey())
    assert signing.verify(bytes(KEYPAIR.pubkey()), digest, bytes(Signature.from_string(auth["signature"])))


async def test_a_record_call_carries_the_authorisation_of_the_record() -> None:
    fake = FakeSequencer(result({"status": "pending"}), result({"status": "pending"}))
    record = kit.withdrawal("client", 4, 500)
    async with client_of(fake) as client:
        answer = await client.call_record("withdraw", {"lamports": 500, "nonce": 4}, record)
        await client.call_record("withdraw", {"lamports": 500, "nonce": 4}, record, expiry_slot=SLOT + 40)
    assert answer == {"status": "pending"}
    auth = fake.calls[0]["params"]["auth"]
    assert auth.keys() == {"publicKey", "expirySlot", "signature"} and SLOT + 32 < auth["expirySlot"] <= SLOT + 1024
    digest = signing.authorisation_digest(kit.DOMAIN, auth["expirySlot"], records.encode(record))
    assert signing.verify(bytes(KEYPAIR.pubkey()), digest, bytes(Signature.from_string(auth["signature"])))
    assert fake.calls[1]["params"]["auth"]["expirySlot"] == SLOT + 40


@pytest.mark.parametrize("name", ["genesis", "program"])
async def test_another_chain_is_refused_before_anything_is_signed(name: str) -> None:
    fake = FakeSequencer()
    async with client_of(fake, **{name: kit.filler("another")}) as client:
        with pytest.raises(WrongChain, match=f"serves {name}"):
            await client.call_signed("pullTask")
        with pytest.raises(WrongChain, match=f"serves {name}"):
            await client.call_record("withdraw", {}, kit.withdrawal("client", 0, 1))
        with pytest.raises(WrongChain):
            await client.put_blob(b"x")
    assert fake.calls == [] and all(verb == "POST" for verb, _, _, _ in fake.requests)


async def test_the_expected_chain_is_asked_for_once() -> None:
    fake = FakeSequencer(value(1), value(2))
    async with client_of(fake, genesis=kit.DOMAIN.genesis, program=kit.DOMAIN.program) as client:
        assert await client.domain() == kit.DOMAIN
        await client.call_signed("pullTask")
        await client.call_signed("pullTask")
    assert sum(b"getVersion" in body for _, _, _, body in fake.requests) == 1


async def test_dropped_connections_are_retried_and_a_signed_call_is_signed_anew() -> None:
    fake = FakeSequencer(DROP, (503, b"busy"), value(7))
    async with client_of(fake) as client:
        assert await client.call_signed("pullTask") == 7
    auths = [call["params"]["auth"] for call in fake.calls]
    assert len(auths) == 3 and len({auth["nonce"] for auth in auths}) == 3
    fake = FakeSequencer(DROP, value(8))
    async with client_of(fake) as client:
        assert await client.call_record("withdraw", {}, kit.withdrawal("client", 0, 1)) == 8
    assert fake.calls[0] == fake.calls[1], "the same record again"


async def test_a_rate_limit_is_waited_out() -> None:
    async with client_of(FakeSequencer(error(-33020, "slow down"), value(3))) as client:
        assert await client.call("getTasks") == 3


async def test_a_sequencer_that_has_not_heard_from_l1_is_waited_for() -> None:
    """Just after its start it has no slot to judge signatures by; a signature made for slot 0 would have expired."""
    fake = FakeSequencer(error(-32005, "L1 has not answered yet"), value(4))
    async with client_of(fake) as client:
        assert await client.call_signed("pullTask") == 4
    auths = [call["params"]["auth"] for call in fake.calls]
    assert len(auths) == 2 and auths[0]["nonce"] != auths[1]["nonce"]
    async with client_of(FakeSequencer(*[error(-32005, "L1 is silent")] * 3)) as client:
        with pytest.raises(RpcError, match="L1 is silent"):
            await client.call("getTasks")


async def test_health_is_answered_at_once() -> None:
    fake = FakeSequencer(error(-32005, "L1 is silent"), value("ok"))
    async with client_of(fake) as client:
        with pytest.raises(RpcError, match="L1 is silent"):
            await client.call("getHealth")
    assert len(fake.calls) == 1


async def test_slot_zero_is_no_slot() -> None:
    fake = FakeSequencer()
    fake.slots = [0, 0, 77]
    async with client_of(fake) as client:
        assert await client.slot() == 77


async def test_attempts_are_bounded() -> None:
    fake = FakeSequencer(DROP, DROP, DROP, value(1))
    async with client_of(fake) as client:
        with pytest.raises(SequencerUnreachable, match="did not answer getTasks in 3 attempts") as gave_up:
            await client.call("getTasks")
    assert gave_up.value.url == fake.url and len(fake.calls) == 3


async def test_nobody_there() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with SequencerClient(f"http://127.0.0.1:{port}", attempts=2) as client:
        with pytest.raises(SequencerUnreachable, match="ConnectError"):
            await client.call("getHealth")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, b"<html>"), "no JSON"),
        ((200, b'{"result": NaN}'), "no JSON"),
        ((200, b"[]"), "no object"),
        ((200, b"{}"), "neither result nor error"),
        ((200, b'{"error": "bad"}'), "without code and message"),
        ((200, b" " * (16 * 2**20 + 1)), "more than 16777216 bytes"),
        ((200, b"{}", "Content-Encoding: gzip"), "not asked for"),
    ],
)
async def test_answers_that_are_no_answers(answer: Any, message: str) -> None:
    async with client_of(FakeSequencer(answer)) as client:
        with pytest.raises(BadAnswer, match=message):
            await client.call("getTasks")


async def test_without_a_keypair_nothing_is_signed() -> None:
    async with client_of(FakeSequencer(), keypair=None) as client:
        with pytest.raises(ValueError, match="no keypair"):
            await client.call_signed("pullTask")


BLOB = kit.filler("blob", 3 * 2**20 + 5)
NAME = sha256(BLOB).hexdigest()


@pytest.mark.parametrize("from_file", [False, True])
async def test_a_blob_is_uploaded_under_its_hash_with_its_length_and_auth(tmp_path: Path, from_file: bool) -> None:
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    fake = FakeSequencer(DROP, (201, b""))
    async with client_of(fake) as client:
        assert await client.put_blob(path if from_file else BLOB) == NAME
    puts = [request for request in fake.requests if request[0] == "PUT"]
    assert len(puts) == 2
    for _, target, headers, body in puts:
        assert target == f"/blobs/{NAME}" and body == BLOB and headers["content-length"] == str(len(BLOB))
        scheme, _, text = headers["authorization"].partition(" ")
        auth = json.loads(base64.urlsafe_b64decode(text))
        params = {"sha256": NAME, "bytes": len(BLOB)}
        digest = signing.rpc_digest(kit.DOMAIN, "putBlob", params, auth["nonce"], auth["expirySlot"])
        assert scheme == "Pouw"
        assert signing.verify(bytes(KEYPAIR.pubkey()), digest, bytes(Signature.from_string(auth["signature"])))


async def test_a_refused_upload_says_why(tmp_path: Path) -> None:
    async with client_of(FakeSequencer(error(-33005, "deposit first", status=403), (418, b"no"))) as client:
        with pytest.raises(RpcError, match="deposit first") as refused:
            await client.put_blob(b"x")
        assert refused.value.code == -33005
        with pytest.raises(BadAnswer, match="HTTP status 418: no"):
            await client.put_blob(b"x")
        huge = tmp_path / "huge"
        with huge.open("wb") as file:
            file.truncate(64 * 2**20 + 1)
        with pytest.raises(ValueError, match="at most 67108864 bytes"):
            await client.put_blob(huge)


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


Get = Callable[[SequencerClient, Path], Any]


async def to_memory(client: SequencerClient, path: Path) -> None:
    await trio.Path(path).write_bytes(await client.get_blob(NAME, max_bytes=len(BLOB)))


async def to_file(client: SequencerClient, path: Path) -> None:
    await client.get_blob_to(NAME, path, max_bytes=len(BLOB))


@pytest.mark.parametrize("get", [to_memory, to_file])
async def test_a_blob_is_fetched_and_its_hash_checked(tmp_path: Path, get: Get) -> None:
    path = tmp_path / "blob"
    async with client_of(FakeSequencer(DROP, (200, BLOB))) as client:
        await get(client, path)
    assert path.read_bytes() == BLOB and names_in(tmp_path) == ["blob"]


@pytest.mark.parametrize("get", [to_memory, to_file])
@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((200, BLOB[:-1] + b"?"), BadAnswer, "came with sha256"),
        ((200, BLOB + b"?"), BadAnswer, "more than"),
        (error(-33016, f"there is no blob {NAME}", status=404), RpcError, "there is no blob"),
    ],
)
async def test_a_wrong_blob_leaves_nothing(
    tmp_path: Path, get: Get, answer: Any, kind: type[Exception], message: str
) -> None:
    async with client_of(FakeSequencer(answer)) as client:
        with pytest.raises(kind, match=message):
            await get(client, tmp_path / "blob")
    assert names_in(tmp_path) == []


async def test_a_blobs_name_is_a_hash() -> None:
    async with client_of(FakeSequencer()) as client:
        with pytest.raises(ValueError, match="lower-case hex"):
            await client.get_blob("../etc/passwd")
