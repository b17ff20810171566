"""Hypothesis strategies for bytes and JSON that were good once. POUW_EXAMPLES sets how many are tried per test: 150, or a million by hand."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("POUW_EXAMPLES", "150"))
hostile = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

EDGES = [0, 1, -1, 255, 256, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 10**400]
WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(EDGES)
    | st.integers()
    | st.floats()
    | st.text(max_size=70)
    | st.sampled_from(["", "ff" * 32, "FF" * 32, "é" * 64, "0" * 64 + "\n", "ab " * 32, "1" * 5000, "nan", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """Bytes not far from good ones: some changed, cut out, put in, moved or repeated; now and then all of them others."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=max(16, min(2 * len(good), 4096))))
    data = bytearray(good)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 6)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                if at < len(data):
                    data[at] ^= 1 << draw(st.integers(0, 7))
            case 2:
                del data[at : at + draw(st.integers(0, 40))]
            case 3:
                data[at:at] = draw(st.binary(max_size=40))
            case 4:
                data[at : at + 8] = draw(
                    st.sampled_from([bytes(8), b"\xff" * 8, b"\0" * 7 + b"\x80", b"\xff" * 7 + b"\x7f"])
                )
            case 5:
                del data[at:]
            case _:
                data += data[at : at + 200]
    return bytes(data)


@st.composite
def altered(draw: st.DrawFn, good: Any) -> Any:
    """JSON not far from good JSON: one or two places of it removed, renamed or replaced by anything."""
    value = good
    for _ in range(draw(st.integers(1, 2))):
        value = draw(_altered_once(value))
    return value


@st.composite
def _altered_once(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value, key=str)))
        rest = {name: inner for name, inner in value.items() if name != key}
        match draw(st.integers(0, 5)):
            case 0:
                return rest
            case 1:
                return {**rest, draw(st.text(max_size=5)): value[key]}
            case _:
                return {**value, key: draw(_altered_once(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value) - 1))
        return (
            [*value[:at], draw(_altered_once(value[at])), *value[at + 1 :]]
            if draw(st.booleans())
            else value * draw(st.integers(0, 40))
        )
    if isinstance(value, str) and draw(st.booleans()):
        return draw(
            st.sampled_from(
                [value[:-1], value + "0", value.upper(), " " + value, value + "\n", value[:-2] + "zz", value * 2]
            )
        )
    if isinstance(value, int) and not isinstance(value, bool) and draw(st.booleans()):
        return draw(st.sampled_from([*EDGES, value + 1, -value, float(value % 2**60), str(value), bool(value)]))
    return draw(WILD)
