from copy import deepcopy
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement import spec as specs
from settlement.spec import SpecError, TrainingPlan, UnsupportedKind, UnsupportedMode, draw_intervals
from tests.settlement import kit

SPEC: dict[str, Any] = {
    "version": 1,
    "kind": "training",
    "model_type": "mlp",
    "architecture": {"input_size": 64, "hidden_sizes": [128], "output_size": 10},
    "optimizer": {"type": "adam", "learning_rate": 0.001},
    "stopping_criterion": {"type": "max_epochs", "max_epochs": 50},
    "metrics": ["accuracy", "loss"],
    "dataset_info": {"sha256": "ab" * 32, "batch_size": 32, "size": 1797},
    "performance_requirements": {"gpu": False, "min_accuracy": 0.95},
    "mode": "replay",
    "seed": 1,
}


def with_(path: str, value: object) -> dict[str, Any]:
    spec = deepcopy(SPEC)
    *parents, last = path.split(".")
    holder: Any = spec
    for parent in parents:
        holder = holder[parent]
    holder[last] = value
    return spec


def paths(holder: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in holder.items():
        found += [prefix + key, *(paths(value, f"{prefix}{key}.") if isinstance(value, dict) else [])]
    return found


def test_the_protocols_own_example_is_taken() -> None:
    spec = specs.parse(SPEC)
    assert spec.architecture.hidden_sizes == (128,)
    assert spec.architecture.parameters == 65 * 128 + 129 * 10
    assert spec.optimizer == specs.Adam(0.001)
    sgd = specs.parse(with_("optimizer", {"type": "sgd", "learning_rate": 1, "momentum": 0.9}))
    assert sgd.optimizer == specs.Sgd(1.0, 0.9)


@pytest.mark.parametrize("path", paths(SPEC))
def test_every_key_is_needed_and_named_when_it_is_missing(path: str) -> None:
    spec = deepcopy(SPEC)
    *parents, last = path.split(".")
    holder = spec
    for parent in parents:
        holder = holder[parent]
    del holder[last]
    with pytest.raises(SpecError, match=last) as refused:
        specs.parse(spec)
    assert refused.value.key == ".".join([*parents, last])


@pytest.mark.parametrize("path", ["extra", "architecture.extra", "optimizer.momentum", "dataset_info.extra"])
def test_unknown_keys_are_refused_and_named(path: str) -> None:
    with pytest.raises(SpecError, match=path.split(".")[-1]):
        specs.parse(with_(path, 1))


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("version", [0, 2, "1", 1.0, True, None]),
        ("kind", [1, None]),
        ("mode", [1, None]),
        ("model_type", ["cnn", 1]),
        ("architecture", [[], "mlp", None]),
        ("architecture.input_size", [0, -1, 65_537, "64", 64.0, True, None]),
        ("architecture.hidden_sizes", [[0], [8_193], [1] * 17, ["1"], 128, None]),
        ("architecture.output_size", [0, 8_193]),
        ("optimizer", [{"type": "rmsprop", "learning_rate": 1}, {"type": "sgd", "learning_rate": 1}, None]),
        ("optimizer.learning_rate", [0, -0.1, NAN, INFINITY, "0.1", None]),
        ("stopping_criterion.type", ["accuracy"]),
        ("stopping_criterion.max_epochs", [0, 10_001, 1.5]),
        ("metrics", [[], ["accuracy"], ["loss", "accuracy"], ["accuracy", "loss", "loss"], "accuracy"]),
        ("dataset_info.sha256", ["AB" * 32, "ab" * 31, "ab" * 33, "ab" * 32 + "\n", 5]),
        ("dataset_info.batch_size", [0, 1798, 1.0]),
        ("dataset_info.size", [0, 2**26 + 1]),
        ("performance_requirements.gpu", [0, "false", None]),
        ("performance_requirements.min_accuracy", [-0.01, 1.01, NAN, "0.9", None]),
        ("seed", [-1, 2**53, 1.0, True, "1"]),
    ],
)
def test_wrong_types_and_ranges_are_refused_at_their_key(path: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(SpecError) as refused:
            specs.parse(with_(path, value))
        assert refused.value.key.split("[")[0].startswith(path.rsplit(".", 1)[0]), (value, refused.value)
        assert type(refused.value) is SpecError


def test_bounds_themselves_are_taken() -> None:
    specs.parse(with_("seed", 2**53 - 1))
    specs.parse(with_("stopping_criterion.max_epochs", 10_000))
    specs.parse(with_("architecture.hidden_sizes", [1] * 16))
    specs.parse(with_("architecture.hidden_sizes", []))
    specs.parse(with_("performance_requirements.min_accuracy", 1))
    specs.parse(with_("dataset_info.batch_size", 1797))


def test_a_model_whose_states_fit_no_blob_is_refused() -> None:
    with pytest.raises(SpecError, match=r"67,731,466 parameters, at most 5,000,000") as refused:
        specs.parse(with_("architecture.hidden_sizes", [8192, 8192]))
    assert refused.value.key == "architecture"


@pytest.mark.parametrize("mode", ["exact", "redundant", "zk", "trust me"])
def test_other_modes_are_refused_by_name(mode: str) -> None:
    with pytest.raises(UnsupportedMode, match=f'mode "{mode}" is not supported') as refused:
        specs.parse({**SPEC, "mode": mode})
    assert refused.value.mode == mode and refused.value.key == "mode"


@pytest.mark.parametrize("kind", ["inference", "zk_proof", "simulation", "mining"])
def test_other_kinds_are_refused_by_name_whatever_their_keys(kind: str) -> None:
    with pytest.raises(UnsupportedKind, match=f'kind "{kind}" is not supported'):
        specs.parse({"kind": kind, "prompt": "hello"})


@pytest.mark.parametrize("spec", [None, [], "spec", 5])
def test_a_spec_is_an_object(spec: object) -> None:
    with pytest.raises(SpecError, match="must be an object"):
        specs.parse(spec)


def test_messages_say_what_would_be_right() -> None:
    for path, right in (("model_type", '"mlp"'), ("version", "1"), ("optimizer.type", '"adam" or "sgd"')):
        with pytest.raises(SpecError, match=f"must be {right}"):
            specs.parse(with_(path, "x"))


def test_the_hash_is_of_the_canonical_json() -> None:
    shuffled = dict(reversed(SPEC.items()))
    canonical = (
        '{"architecture":{"hidden_sizes":[128],"input_size":64,"output_size":10},"dataset_info":{"batch_size":32,'
        f'"sha256":"{"ab" * 32}","size":1797}},"kind":"training","metrics":["accuracy","loss"],"mode":"replay",'
        '"model_type":"mlp","optimizer":{"learning_rate":0.001,"type":"adam"},'
        '"performance_requirements":{"gpu":false,"min_accuracy":0.95},"seed":1,'
        '"stopping_criterion":{"max_epochs":50,"type":"max_epochs"},"version":1}'
    )
    assert specs.spec_hash(SPEC) == specs.spec_hash(shuffled) == sha256(canonical.encode()).digest()
    assert specs.spec_hash(with_("optimizer.learning_rate", 1)) == specs.spec_hash(
        with_("optimizer.learning_rate", 1.0)
    )


@pytest.mark.parametrize("value", [NAN, INFINITY, 2**53, -(2**53), object()])
def test_what_has_no_canonical_json_has_no_hash(value: object) -> None:
    with pytest.raises(SpecError, match="no canonical JSON"):
        specs.spec_hash({**SPEC, "seed": value})


@pytest.mark.parametrize(
    ("rows", "epochs", "interval", "boundaries"),
    [
        (32, 1, 1, [0, 1]),
        (33, 1, 1, [0, 1, 2]),
        (32, 16, 1, list(range(17))),
        (32, 17, 2, [0, 2, 4, 6, 8, 10, 12, 14, 16, 17]),
        (1437, 50, 141, [*range(0, 2250, 141), 2250]),
    ],
)
def test_the_plan(rows: int, epochs: int, interval: int, boundaries: list[int]) -> None:
    plan = TrainingPlan.of(specs.parse(with_("stopping_criterion.max_epochs", epochs)), rows)
    assert (plan.interval_steps, list(plan.boundaries)) == (interval, boundaries)
    assert plan.total_steps == boundaries[-1] == epochs * plan.steps_per_epoch
    assert plan.intervals == len(boundaries) - 1


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_plan_covers_all_steps_in_at_most_16_intervals(rows: int, epochs: int) -> None:
    plan = TrainingPlan.of(specs.parse(with_("stopping_criterion.max_epochs", epochs)), rows)
    lengths = [b - a for a, b in zip(plan.boundaries, plan.boundaries[1:], strict=False)]
    assert sum(lengths) == plan.total_steps and 1 <= len(lengths) <= 16
    assert set(lengths[:-1]) <= {plan.interval_steps} and 0 < lengths[-1] <= plan.interval_steps


def test_a_plan_needs_rows() -> None:
    with pytest.raises(ValueError, match="train rows"):
        TrainingPlan.of(specs.parse(SPEC), 0)


@given(st.integers(1, 40), st.binary(min_size=96, max_size=96))
def test_a_draw_has_the_last_interval_and_never_all(intervals: int, signature: bytes) -> None:
    drawn = draw_intervals(signature, intervals)
    assert drawn == sorted(set(drawn)) and drawn[-1] == intervals - 1 and drawn[0] >= 0
    more = 0 if intervals <= 2 else min(intervals - 2, (intervals + 3) // 4)
    assert len(drawn) == more + 1
    assert intervals == 1 or len(drawn) < intervals


def test_a_draw_is_even_and_follows_the_signature() -> None:
    counts = [0] * 16
    for i in range(1500):
        for interval in draw_intervals(kit.filler(f"signature {i}", 96), 16):
            counts[interval] += 1
    assert counts[15] == 1500
    # 4 of 15 others each time: 400 expected, standard deviation 17.
    assert all(abs(count - 400) < 85 for count in counts[:15]), counts
    with pytest.raises(ValueError, match="96 bytes"):
        draw_intervals(bytes(95), 16)
    with pytest.raises(ValueError, match="at least one interval"):
        draw_intervals(bytes(96), 0)
