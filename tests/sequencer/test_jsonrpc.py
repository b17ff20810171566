"""The parser before every method: what it refuses, and that no input of a body's size keeps it busy."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sequencer import jsonrpc
from sequencer.errors import RpcError
from settlement.rpc_codes import Code

LENGTH = 300_000
CPU_SECONDS = 30  # a quadratic scan of LENGTH bytes takes many minutes, a linear one some milliseconds


@contextmanager
def bounded_cpu(seconds: float) -> Iterator[None]:
    """Fails when the block uses more processor time than this, however loaded the machine is."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"more than {seconds} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize(
    "unit",
    [
        b'\\"',
        b'"',
        b'"a',
        b"[]",
        b"\\",
        b"[[],",
        b"\\u0041",
        b"9",
        b"1e5,",
        b"[",
        b'{"a":',
        b'"a":1,',
        b"\xff",
        b" ",
        b"-",
    ],
)
@pytest.mark.parametrize("start", [b"", b'"', b"[", b'{"a":"'])
def test_no_body_keeps_the_parser_busy(start: bytes, unit: bytes) -> None:
    body = (start + unit * LENGTH)[:LENGTH]
    with bounded_cpu(CPU_SECONDS), pytest.raises(RpcError) as refused:
        jsonrpc.parse(body)
    assert refused.value.code is Code.PARSE_ERROR
    assert len(refused.value.message) < 300


def test_a_refusal_is_not_as_long_as_what_provoked_it() -> None:
    long = "k" * 10_000
    for body in (f'{{"{long}":1,"{long}":2}}', f'{{"jsonrpc":"2.0","{long}":1}}', f"[1e{'9' * 10_000}]"):
        with pytest.raises(RpcError) as refused:
            jsonrpc.request_of(jsonrpc.parse(body.encode()))
        assert len(refused.value.message) < 300


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


@given(JSON)
def test_ordinary_json_is_read_as_the_standard_library_reads_it(value: object) -> None:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if jsonrpc_depth(value) > jsonrpc.MAX_DEPTH:
        return
    assert json.dumps(jsonrpc.parse(body)) == json.dumps(value)


def jsonrpc_depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(jsonrpc_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(jsonrpc_depth, value), default=0)
    return 0


@given(st.binary(max_size=200) | st.text('[]{}",:\\u0d8e19.-+NaInfty ', max_size=60).map(str.encode))
@example(b'{"a":1}]]]')
@example(b'"\\')
@example(b"[1,2]{")
def test_any_bytes_are_json_or_a_parse_error(body: bytes) -> None:
    try:
        value = jsonrpc.parse(body)
    except RpcError as error:
        assert error.code is Code.PARSE_ERROR
        return
    assert json.loads(body) == value
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("depth", [jsonrpc.MAX_DEPTH, jsonrpc.MAX_DEPTH + 1])
def test_depth_is_counted_exactly(depth: int) -> None:
    for body in (
        b"[" * depth + b"]" * depth,
        b'{"a":' * depth + b"1" + b"}" * depth,
        b'["]]", ' * depth + b"1" + b"]" * depth,
    ):
        if depth <= jsonrpc.MAX_DEPTH:
            assert jsonrpc.parse(body) == json.loads(body)
        else:
            with pytest.raises(RpcError, match="nested deeper"):
                jsonrpc.parse(body)
