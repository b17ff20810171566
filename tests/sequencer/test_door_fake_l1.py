"""What strangers may make the node hold or wait for: connections, headers, bodies, slow readers, calls. Each bound is shown with and without it."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.lowlevel
from starlette.responses import JSONResponse

from sequencer import door as doors
from sequencer.connection import Connection
from sequencer.door import Door
from sequencer.limits import MAX_ADDRESSES, TokenBuckets, is_loopback, source
from settlement.rpc_codes import Code
from tests.sequencer.door_kit import Open, opened, read_all
from tests.sequencer.kit import until

VERSION = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getVersion"}).encode()
LONG = 120.0
BLOB = b"\0" * 8_000_000


def post(body: bytes, announced: int | None = None, extra: str = "") -> bytes:
    length = len(body) if announced is None else announced
    return f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{extra}\r\n".encode() + body


def answer_of(data: bytes) -> tuple[int, Any]:
    """Status and JSON of a whole HTTP answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def ask(there: Open, address: str = "127.0.0.1") -> tuple[int, Any]:
    """One call on a connection of its own."""
    async with await there.connect(address) as stream:
        await stream.send_all(post(VERSION, extra="connection: close\r\n"))
        return answer_of(await read_all(stream))


async def served(there: Open, address: str = "127.0.0.1") -> bool:
    status, answer = await ask(there, address)
    return status == 200 and answer["result"]["value"]["protocol"] == 1


def refused(answer: tuple[int, Any], status: int, code: Code = Code.RATE_LIMITED) -> str:
    assert answer[0] == status, answer
    assert answer[1]["error"]["code"] == code
    return str(answer[1]["error"]["message"])


async def none_open(there: Open) -> bool:
    return not there.door._open


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8_192, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


# -- waiting for headers


async def drip_headers(stream: trio.SocketStream, lines: int) -> bool:
    """Whether the connection still stands after so many lines, one each tenth of a second."""
    try:
        await stream.send_all(b"POST / HTTP/1.1\r\n")
        for _ in range(lines):
            await trio.sleep(0.1)
            await stream.send_all(b"a: b\r\n")
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return False
    return True


@pytest.mark.parametrize(("deadline", "lines", "stands"), [(0.5, 600, False), (LONG, 12, True)])
async def test_headers_that_drip_meet_their_deadline(tmp_path: Path, deadline: float, lines: int, stands: bool) -> None:
    async with opened(tmp_path, header_deadline_seconds=deadline) as there, await there.connect() as stream:
        assert await drip_headers(stream, lines) is stands


async def test_an_idle_connection_is_closed_after_its_last_request(tmp_path: Path) -> None:
    async with opened(tmp_path, header_deadline_seconds=0.5) as there, await there.connect() as stream:
        await stream.send_all(post(VERSION))
        status, answer = answer_of(await read_all(stream))
        assert (status, answer["result"]["value"]["protocol"]) == (200, 1)


# -- how many connections


async def idle_connections(there: Open, count: int, stack: AsyncExitStack) -> None:
    for number in range(count):
        await stack.enter_async_context(await there.connect(f"127.0.{1 + number // 100}.1"))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("evicting", [True, False])
async def test_a_thousand_idle_connections_keep_nobody_out(
    tmp_path: Path, evicting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not evicting:
        monkeypatch.setattr(Door, "_evict_idlest", lambda *_: False)
    async with opened(tmp_path, max_connections=100, header_deadline_seconds=LONG) as there, AsyncExitStack() as stack:
        await idle_connections(there, 1_000, stack)
        async with await there.connect() as stream:
            with suppress(trio.BrokenResourceError):  # refused before it is sent
                await stream.send_all(post(VERSION, extra="connection: close\r\n"))
            answer = await read_all(stream)
        assert (b'"protocol":1' in answer) is evicting
        assert len(there.door._open) <= 100


async def busy_connections(there: Open, count: int, address: str, stack: AsyncExitStack) -> list[trio.SocketStream]:
    """Connections whose requests are under way: of each a byte of the body is missing."""
    made = []
    for _ in range(count):
        made.append(await stack.enter_async_context(await there.connect(address)))
        await made[-1].send_all(post(VERSION[:-1], len(VERSION)))

    async def all_busy() -> bool:
        return sum(one.idle_since is None for one in there.door._open) >= count

    await until("the requests to arrive", all_busy)
    return made


@pytest.mark.parametrize("limited", [True, False])
async def test_an_address_has_only_so_many_connections(tmp_path: Path, limited: bool) -> None:
    settings = {"connections_per_address": 5, "limit_loopback": limited, "body_deadline_seconds": LONG}
    async with opened(tmp_path, **settings) as there, AsyncExitStack() as stack:
        busy = await busy_connections(there, 5, "127.0.0.2", stack)
        answer = await ask(there, "127.0.0.2")
        if limited:
            assert "5 connections open" in refused(answer, 429)
        else:
            assert answer[0] == 200
        assert await served(there, "127.0.0.3")
        await busy[0].send_all(VERSION[-1:])
        assert b"200" in await busy[0].receive_some(1_000)
        await until("an idle connection, which makes room", lambda: served(there, "127.0.0.2"))


async def test_busy_connections_are_not_ended_for_new_ones(tmp_path: Path) -> None:
    async with opened(tmp_path, max_connections=3, body_deadline_seconds=LONG) as there, AsyncExitStack() as stack:
        busy = await busy_connections(there, 3, "127.0.0.2", stack)
        refused(await ask(there), 503)
        for stream in busy:
            await stream.send_all(VERSION[-1:])
            await stream.send_eof()
            assert answer_of(await read_all(stream))[0] == 200
        assert await served(there)


# -- how many calls


@pytest.mark.parametrize("limited", [True, False])
async def test_an_address_may_call_only_so_often(tmp_path: Path, limited: bool) -> None:
    settings = {"requests_per_second": 0.01, "requests_burst": 5, "limit_loopback": limited}
    async with opened(tmp_path, **settings) as there:
        answers = [await ask(there, "127.0.0.2") for _ in range(6)]
        assert [status for status, _ in answers[:5]] == [200] * 5
        if limited:
            assert "try again in 100 s" in refused(answers[5], 429)
            assert answers[5][1]["error"]["data"]["retryAfterSeconds"] == 100
        else:
            assert answers[5][0] == 200
        assert await served(there, "127.0.0.3")


async def test_a_batch_counts_as_its_calls(tmp_path: Path) -> None:
    async with opened(tmp_path, requests_per_second=0.01, requests_burst=5, limit_loopback=True) as there:
        batch = b"[" + b",".join([VERSION] * 6) + b"]"
        async with httpx.AsyncClient(base_url=there.url, trust_env=False) as http:
            answer = (await http.post("/", content=batch)).json()
            assert answer["error"]["code"] == Code.RATE_LIMITED
            assert len((await http.post("/", content=b"[" + b",".join([VERSION] * 4) + b"]")).json()) == 4


def test_a_bucket_fills_with_time_and_the_oldest_address_is_forgotten() -> None:
    buckets = TokenBuckets(per_second=2, burst=4)
    assert [buckets.take("a", 1, 10.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert buckets.take("a", 1, 10.5) == 0
    assert buckets.take("a", 4, 10.5) == 2
    assert buckets.take("a", 4, 100.0) == 0
    for number in range(MAX_ADDRESSES + 10):
        buckets.take(str(number), 1, 200.0)
    assert len(buckets) == MAX_ADDRESSES


def test_addresses_count_as_what_one_customer_has() -> None:
    assert source("2001:db8::1") == source("2001:db8::ffff") != source("2001:db8:0:1::1")
    assert source("::ffff:10.0.0.1") == source("10.0.0.1") == "10.0.0.1"
    assert source("fe80::1%eth0") == "fe80::/64"
    assert [is_loopback(host) for host in ("127.9.9.9", "::1", "::ffff:127.0.0.1", "10.0.0.1", "x")] == [True] * 3 + [
        False
    ] * 2


# -- bodies and answers


async def slow_to_refuse(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers after a while without having read the body."""
    await trio.sleep(0.5)
    await JSONResponse({"error": {"code": Code.INVALID_REQUEST, "message": "no"}}, 413)(scope, receive, send)


@pytest.mark.parametrize("dropping", [True, False])
async def test_a_connection_ends_whose_body_nobody_reads(
    tmp_path: Path, dropping: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without somebody who takes what still comes, the connection stays for ever: its queue is full, and so nobody is told of its end."""

    async def nobody(receive: Any) -> None:
        pass

    if not dropping:
        monkeypatch.setattr(doors, "_drop", nobody)
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 20_000
    async with opened(tmp_path, slow_to_refuse) as there:
        async with await there.connect() as stream:
            await stream.send_all(chunked)
            with trio.move_on_after(LONG if dropping else 2.0) as waited:
                refused(answer_of(await read_all(stream)), 413, Code.INVALID_REQUEST)
            assert waited.cancelled_caught is not dropping
        if dropping:
            await until("the connection's end", lambda: none_open(there))
        else:
            await trio.sleep(1.5)
            assert there.door._open


async def test_a_body_too_long_is_refused_with_a_reason_while_it_is_still_sent(tmp_path: Path) -> None:
    async with opened(tmp_path) as there, await there.connect() as stream, trio.open_nursery() as nursery:

        async def pump() -> None:
            try:
                while True:
                    await stream.send_all(b" " * 50_000)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        await stream.send_all(post(b"", 10**12))
        nursery.start_soon(pump)
        assert "longer than" in refused(answer_of(await read_all(stream)), 413, Code.INVALID_REQUEST)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("patience", [0.3, LONG])
async def test_a_reader_that_is_too_slow_is_cut(tmp_path: Path, patience: float) -> None:
    settings = {"response_patience_seconds": patience, "response_bytes_per_second": 1e9}
    async with opened(tmp_path, **settings) as there:
        name = there.node.blobs.write(BLOB).hex()
        async with await there.connect(receive_buffer_bytes=4096) as stream:
            await stream.send_all(f"GET /blobs/{name} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            assert await stream.receive_some(1)  # from now on the connection is known to the door
            if patience == LONG:
                await trio.sleep(1)
                assert there.door._open
            else:
                await stream.receive_some(1)  # it is being answered
                await until("the connection's end", lambda: none_open(there))
                assert len(await read_all(stream)) < len(BLOB)


async def test_an_answer_before_the_body_came_says_that_the_connection_ends(tmp_path: Path) -> None:
    """Nobody reads the body of a request to no page."""
    async with opened(tmp_path) as there, await there.connect() as stream:
        await stream.send_all(b"POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
        answer = await read_all(stream)
        assert answer.startswith(b"HTTP/1.1 404") and b"connection: close" in answer.lower()


async def test_a_body_that_was_read_leaves_the_connection_open(tmp_path: Path) -> None:
    async with opened(tmp_path) as there, await there.connect() as stream:
        for _ in range(3):
            await stream.send_all(post(VERSION))
            answer = b""
            while b"jsonrpc" not in answer.partition(b"\r\n\r\n")[2]:
                answer += await stream.receive_some(4096)
            assert answer.startswith(b"HTTP/1.1 200") and b"connection:" not in answer.lower()


def hold_up_the_loop(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_reader_on_a_busy_loop_is_not_called_slow(tmp_path: Path) -> None:
    """Each answer waits for its turn behind what else the node does; the reader, that took all at once, has no part in it."""
    async with opened(tmp_path, response_patience_seconds=0.05, response_bytes_per_second=1e9) as there:

        async def busy() -> None:
            while True:
                hold_up_the_loop(0.01)
                await trio.lowlevel.checkpoint()

        async with (
            trio.open_nursery() as nursery,
            httpx.AsyncClient(base_url=there.url, trust_env=False, timeout=LONG) as http,
        ):
            nursery.start_soon(busy)
            addresses = set()
            for _ in range(30):
                answer = await http.get("/health")
                addresses.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            assert len(addresses) == 1, "one connection served all"
            nursery.cancel_scope.cancel()


async def test_a_reader_that_keeps_up_gets_everything(tmp_path: Path) -> None:
    async with opened(tmp_path, response_patience_seconds=5, response_bytes_per_second=1e6) as there:
        name = there.node.blobs.write(BLOB).hex()
        async with httpx.AsyncClient(base_url=there.url, trust_env=False, timeout=LONG) as http:
            assert (await http.get(f"/blobs/{name}")).content == BLOB


async def test_bodies_together_have_a_bound(tmp_path: Path) -> None:
    async with (
        opened(tmp_path, bodies_limit_bytes=100_000, body_deadline_seconds=LONG) as there,
        AsyncExitStack() as stack,
    ):
        half = await stack.enter_async_context(await there.connect())
        await half.send_all(post(b" " * 60_000, 90_000))

        async def arrived() -> bool:
            return bool(there.door._open) and all(one.idle_since is None for one in there.door._open)

        await until("the first body", arrived)
        async with await there.connect() as other:
            await other.send_all(post(b" " * 60_000))
            answer = answer_of(await read_all(other))
        assert answer[0] in (503, 200)
        await half.send_all(b" " * 30_000)
        assert b"HTTP/1.1" in await half.receive_some(1_000)
        assert await served(there)


async def test_a_batch_whose_answers_grow_too_long_is_cut_short(tmp_path: Path) -> None:
    async with opened(tmp_path, answer_limit_bytes=1024) as there:
        calls = [{"jsonrpc": "2.0", "id": n, "method": "getVersion"} for n in range(20)]
        async with httpx.AsyncClient(base_url=there.url, trust_env=False) as http:
            answers = (await http.post("/", content=json.dumps(calls))).json()
        assert [answer["id"] for answer in answers] == list(range(20))
        kinds = ["result" in answer for answer in answers]
        assert kinds == sorted(kinds, reverse=True)
        assert 1 <= sum(kinds) < 20
        assert answers[-1]["error"]["code"] == Code.INVALID_REQUEST


# -- what is no HTTP/1.1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 100,
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 20_000,
    ],
)
async def test_what_is_no_http_is_told_so(tmp_path: Path, garbage: bytes) -> None:
    async with opened(tmp_path) as there:
        async with await there.connect() as stream:
            await stream.send_all(garbage)
            status, answer = answer_of(await read_all(stream))
            assert status in (400, 431)
            assert answer["error"]["code"] == Code.INVALID_REQUEST
        assert await served(there)


UPGRADES = {
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "h2c": b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: %%%\r\n\r\n",
    "websocket": b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n",
}


@pytest.mark.parametrize("name", UPGRADES)
async def test_no_other_protocol_is_spoken(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path) as there:
        async with await there.connect() as stream:
            await stream.send_all(UPGRADES[name])
            await stream.send_eof()
            assert (await read_all(stream)).startswith(b"HTTP/1.1 ")
        assert await served(there)


async def test_who_has_sent_all_and_closed_its_half_still_gets_the_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as there, await there.connect() as stream:
        await stream.send_all(post(VERSION))
        await stream.send_eof()
        assert answer_of(await read_all(stream))[0] == 200


async def test_requests_one_after_the_other_and_all_at_once_on_one_connection(tmp_path: Path) -> None:
    async with opened(tmp_path) as there, await there.connect() as stream:
        await stream.send_all(post(VERSION) * 20)
        await stream.send_eof()
        assert (await read_all(stream)).count(b'"protocol":1') == 20


async def test_a_failure_in_one_connection_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as there:
        with monkeypatch.context() as patch:

            async def fail(connection: Connection) -> None:
                raise ValueError("a fault of ours")

            patch.setattr(Connection, "run", fail)
            async with await there.connect() as stream:
                await stream.send_all(post(VERSION))
                assert await read_all(stream) == b""
                await until("its end", lambda: none_open(there))
        assert await served(there)
