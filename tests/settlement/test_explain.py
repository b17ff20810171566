"""What is said of JSON that does not fit: the key, what would be right, what was there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement import spec as specs
from settlement.explain import explain


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    step: Annotated[int, msgspec.Meta(ge=0)]
    share: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None


class Outer(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    task_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{4}\Z", description="4 lower-case hex digits")]
    status: Literal["open", "shut"] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    points: Annotated[list[Inner], msgspec.Meta(max_length=2)] = []
    pair: tuple[Literal["a"], int] | None = None
    anything: dict[str, Any] = {}
    flag: bool = False


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "params.taskId is missing; it must be 4 lower-case hex digits"),
        ({"taskId": "ABCD"}, 'params.taskId must be 4 lower-case hex digits, got "ABCD"'),
        ({"taskId": "abcd\n"}, 'params.taskId must be 4 lower-case hex digits, got "abcd\\n"'),
        ({"taskId": None}, "params.taskId must be 4 lower-case hex digits, got null"),
        ({"taskId": "é" * 100}, "(100 characters)"),
        ({"taskId": "abcd", "status": "ajar"}, 'params.status must be "open", "shut" or null, got "ajar"'),
        ({"taskId": "abcd", "limit": 11}, "params.limit must be an integer from 1 to 10, got 11"),
        ({"taskId": "abcd", "limit": 1.5}, "params.limit must be an integer from 1 to 10, got 1.5"),
        ({"taskId": "abcd", "flag": 1}, "params.flag must be true or false, got 1"),
        (
            {"taskId": "abcd", "points": {}},
            "params.points must be a list of at most 2 items, each an object with step, share",
        ),
        ({"taskId": "abcd", "points": [{"step": 1}] * 3}, "got a list of 3"),
        ({"taskId": "abcd", "points": [{"step": -1}]}, "params.points[0].step must be an integer at least 0, got -1"),
        (
            {"taskId": "abcd", "points": [{"step": 1}, {}]},
            "params.points[1].step is missing; it must be an integer at least 0",
        ),
        (
            {"taskId": "abcd", "points": [{"step": 1, "share": 1}]},
            "params.points[0].share must be a number at least 0 and below 1",
        ),
        ({"taskId": "abcd", "pair": ["b", 1]}, 'params.pair[0] must be "a", got "b"'),
        ({"taskID": "abcd"}, 'params has no key "taskID"; did you mean taskId?'),
        ({"taskId": "abcd", "colour": 1}, 'params has no key "colour"; it takes anything, flag, limit'),
        ([], "params must be an object with taskId, status, limit, points, pair, anything, flag, got a list of 0"),
    ],
)
def test_the_key_and_what_would_be_right_are_named(value: Any, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(value, Outer)
    assert said in explain(error.value, Outer, value).under("params")


SPEC_KEYS = [
    "version",
    "optimizer",
    "type",
    "metrics",
    "architecture",
    "hidden_sizes",
    "seed",
    "dataset_info",
    "a.b`[0]",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["adam", "sgd", "replay", "` - at `$.x[3]`"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(SPEC_KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([Outer, Inner, specs.TaskSpec]))
def test_whatever_is_wrong_there_is_a_sentence_for_it(value: Any, kind: Any) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        sentence = explain(error, kind, value).under("params")
        assert sentence.startswith("params")
        assert len(sentence) < 1_000
