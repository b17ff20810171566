"""One script of calls, four clients, two L1s: what a Solana developer's client sees of the embedded L1 is what it sees of a real validator.

The real one's answers are in recorded.json; what differs and why is in docs/localnet.md. `-m node` adds the JavaScript clients, `-m
test_validator` records anew and compares with the file.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.l1_process import embedded
from localnet.rpc import METHODS
from tests.clients import compare, record, script
from tests.clients.running import ALL_CLIENTS, PYTHON_CLIENTS, install_node_packages, run
from tests.clients.shape import Shaper

# Fast enough for a test, and slow enough that a blockhash, which lives 150 slots, outlives a loaded machine's pauses.
SLOT_MS = "150"


@pytest.fixture
def l1() -> Iterator[Any]:
    with embedded("--slot-ms", SLOT_MS, "--quiet", "--rpc-pubsub-enable-block-subscription") as process:
        yield process


def differences(shapes: dict[str, Any]) -> list[compare.Difference]:
    return between(record.read()["clients"], shapes)


def between(real: dict[str, Any], shapes: dict[str, Any]) -> list[compare.Difference]:
    return [
        one
        for client in shapes
        for one in compare.differences(client, real[client], shapes[client])
        # The first sample is taken after a minute, which the script takes on a slow machine only.
        if not one.name.startswith("getRecentPerformanceSamples: ")
    ]


def told(found: list[compare.Difference]) -> str:
    return f"{len(found)} differences that docs/localnet.md does not explain:\n" + "\n".join(map(str, found))


def test_python_clients_see_what_they_see_of_a_real_validator(l1: Any) -> None:
    shapes = run(l1, PYTHON_CLIENTS)
    found = compare.unexplained(differences(shapes), compare.explained())
    assert not found, told(found)
    told_blocks(shapes, PYTHON_CLIENTS)


def told_blocks(shapes: dict[str, Any], clients: tuple[str, ...]) -> None:
    """The one subscription that the real validator cannot offer for comparison: each client understood a block with one transaction."""
    for client in clients:
        text = json.dumps(shapes[client]["blockSubscribe: of the payer"]["result"])
        assert '"err": null' in text and text.count('"logMessages"') == 1 and "$watched" in text, (client, text)


@pytest.mark.node
def test_all_clients_see_what_they_see_of_a_real_validator(l1: Any) -> None:
    """Also: every difference that docs/localnet.md explains is still one."""
    install_node_packages()
    shapes = run(l1, ALL_CLIENTS)
    found = differences(shapes)
    left = compare.unexplained(found, compare.explained())
    assert not left, told(left)
    assert compare.needless(found, compare.explained()) == []
    told_blocks(shapes, (*PYTHON_CLIENTS, "kit"))  # web3.js 1.x has no word for it


@pytest.mark.test_validator
def test_a_real_validator_still_answers_what_is_recorded() -> None:
    """A change shows in every recording. What shows in one and not in the next is chance: how transactions of one slot are ordered, say."""
    recorded, now = record.read(), record.record()
    again = "record anew: ./run python -m tests.clients.record"
    assert now["solana_test_validator"] == recorded["solana_test_validator"], again
    assert now["clients"].keys() == set(ALL_CLIENTS)
    found = between(recorded["clients"], now["clients"])
    if found:
        second = between(recorded["clients"], record.record()["clients"])
        found = [one for one in found if one in second]
    assert not found, f"{again}\n" + "\n".join(map(str, found))


def test_every_method_is_in_the_script() -> None:
    called = {step["method"] for step in script.flat(script.make("raw").steps) if step["do"] == "call"}
    sent = {"sendTransaction", "simulateTransaction", "requestAirdrop"}
    assert set(METHODS) - called - sent == set()


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("getBalance: after the airdrop", ("result", "value"), 1),
        ("getBalance: bad key", ("error", "code"), -32600),
        ("getAccountInfo: of a wallet", ("result", "value", "owner"), "<address>"),
        ("getTransaction: transfer, json", ("result", "meta", "logMessages"), []),
        ("getTransaction: transfer, json", ("result", "blockTime"), None),
        ("getEpochSchedule: ", ("result", "warmup"), 0),
    ],
)
def test_a_changed_answer_is_a_difference(name: str, path: tuple[str, ...], value: Any) -> None:
    real = record.read()["clients"]["raw"]
    changed = copy.deepcopy(real)
    inner = changed[name]
    for key in path[:-1]:
        inner = inner[key]
    assert inner[path[-1]] != value or type(inner[path[-1]]) is not type(value)
    inner[path[-1]] = value
    (found,) = compare.differences("raw", real, changed)
    assert (found.name, found.path) == (name, "." + ".".join(path))


def test_a_missing_field_and_a_missing_answer_are_differences() -> None:
    assert [str(d.path) for d in compare.differences("raw", {"a": {"b": 1}}, {"a": {}})] == [".b"]
    assert [d.real for d in compare.differences("raw", {}, {"a": 1})] == [compare.ABSENT]


def test_shapes_keep_constants_and_name_what_varies() -> None:
    made = script.make("raw")
    payer, other = made.address("payer"), "8sLbNZoA1cfnvMJLPfp98ZLAnFSYCFApfJKMbiXNLwxj"
    shaper = Shaper(made, {"transfer": "5" * 88})
    outcome = {"result": {"slot": 7, "value": 7, "from": payer, "to": other, "owner": "1" * 32, "log": f"by {payer}"}}
    assert shaper.of({}, outcome)["result"] == {
        "from": "$payer", "log": "by $payer", "owner": "1" * 32, "slot": "<integer>", "to": "<address>", "value": 7,
    }  # fmt: skip
    assert shaper.of({"varies": True}, outcome)["result"]["value"] == "<integer>"
    assert shaper.of({}, {"result": ["5" * 88, "AQID" * 40, "7n", 0.5]})["result"] == [
        "$transfer", "<base64 of 120 bytes>", "7n", 0.5,
    ]  # fmt: skip


def test_an_explanation_covers_what_it_names_only() -> None:
    row = compare.Explained("getVersion: *", ".result.*", "why")
    covered, other = (compare.Difference("raw", name, ".result.x", 1, 2) for name in ("getVersion: ", "getSlot: "))
    assert compare.unexplained([covered, other], [row]) == [other]
    assert compare.needless([other], [row]) == [row]
