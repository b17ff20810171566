"""What several nodes of L1 say together. Pure: answers in, the agreed answer and who contradicts it out.

An answer counts when a majority gives it. Of numbers that only grow (slots, heights) a majority must have reached the agreed one, so that
no minority can hurry a clock on; an account is what a majority shows, as of a slot that a majority of those has reached.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from settlement.rpc import COMMITMENTS

GROWING = frozenset({"getSlot", "getBlockHeight"})
WITH_CONTEXT = frozenset(
    {
        "getAccountInfo",
        "getMultipleAccounts",
        "getBalance",
        "getLatestBlockhash",
        "isBlockhashValid",
        "getSignatureStatuses",
    }
)
LAG_SLOTS = 150
"""How far a growing number may be from the agreed one before its node is called wrong: about agave's own health distance (128)."""


@dataclass(frozen=True)
class Agreed:
    """`dissenters` are the nodes whose answer contradicts `value`."""

    value: Any
    dissenters: frozenset[int]


def majority(nodes: int) -> int:
    """Two of three, three of four, three of five; of two, both."""
    return nodes // 2 + 1


def agree(method: str, answers: Mapping[int, Any], quorum: int) -> Agreed | None:
    """The answer to `method` that at least `quorum` of the answers (by node) support. None when there is none yet."""
    if len(answers) < quorum:
        return None
    if method in GROWING:
        return _growing({node: int(answer) for node, answer in answers.items()}, quorum)
    if method == "getSignatureStatuses":
        return _statuses(answers, quorum)
    if method == "getProgramAccounts":
        return _listed(answers, quorum)
    return _equal(answers, quorum)


def malformed(method: str, params: Sequence[Any], answer: Any) -> bool:
    """Whether an answer lacks what is compared or used here; such a one counts as none."""
    if method in GROWING:
        return not _is_number(answer)
    if method == "getProgramAccounts":
        return not isinstance(answer, list) or not all(isinstance(one, dict) and "pubkey" in one for one in answer)
    if method not in WITH_CONTEXT:
        return False
    if (
        not _has_context(answer)
        or not isinstance(answer["context"], dict)
        or not _is_number(answer["context"].get("slot"))
    ):
        return True
    value = answer["value"]
    if method == "getLatestBlockhash":
        return not (
            isinstance(value, dict)
            and isinstance(value.get("blockhash"), str)
            and _is_number(value.get("lastValidBlockHeight"))
        )
    if method == "getSignatureStatuses":
        return not isinstance(value, list) or len(value) != len(params[0]) or not all(map(_is_status, value))
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_status(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and "err" in value
        and _is_number(value.get("slot"))
        and value.get("confirmationStatus") in COMMITMENTS
    )


def reached(values: list[int], quorum: int) -> int:
    """The highest number that at least `quorum` of the values have reached."""
    return sorted(values, reverse=True)[quorum - 1]


def _growing(answers: Mapping[int, int], quorum: int) -> Agreed:
    value = reached(list(answers.values()), quorum)
    return Agreed(value, frozenset(node for node, said in answers.items() if abs(said - value) > LAG_SLOTS))


def _equal(answers: Mapping[int, Any], quorum: int) -> Agreed | None:
    groups: dict[str, list[int]] = {}
    for node, answer in answers.items():
        compared = {"value": answer["value"]} if _has_context(answer) else [answer]
        groups.setdefault(json.dumps(compared, sort_keys=True), []).append(node)
    group = max(groups.values(), key=len)
    if len(group) < quorum:
        return None
    value = answers[group[0]]
    if _has_context(value):
        value = {
            "context": {"slot": reached([int(answers[n]["context"]["slot"]) for n in group], quorum)},
            "value": value["value"],
        }
    return Agreed(value, frozenset(answers) - frozenset(group))


def _listed(answers: Mapping[int, Any], quorum: int) -> Agreed:
    """The accounts that a majority lists as they are; nodes list them in any order. Nobody contradicts: one that lags lists others."""
    lists = [{json.dumps(one, sort_keys=True): one for one in answer} for answer in answers.values()]
    everyone = {text: one for found in lists for text, one in found.items()}
    agreed = [text for text in sorted(everyone) if sum(text in found for found in lists) >= quorum]
    return Agreed([everyone[text] for text in agreed], frozenset())


def _has_context(answer: Any) -> bool:
    return isinstance(answer, dict) and {"context", "value"} <= answer.keys()


def _statuses(answers: Mapping[int, Any], quorum: int) -> Agreed:
    """Nobody contradicts: a node that has not seen a transaction yet is no liar."""
    columns = zip(*(answer["value"] for answer in answers.values()), strict=True)
    slot = reached([int(answer["context"]["slot"]) for answer in answers.values()], quorum)
    return Agreed(
        {"context": {"slot": slot}, "value": [_status(list(column), quorum) for column in columns]}, frozenset()
    )


def _status(said: list[Any], quorum: int) -> Any:
    """The transaction's status as far as a majority vouches for it: in one slot, with one outcome, at the level that a majority has reached."""
    groups: dict[str, list[Any]] = {}
    for status in said:
        if status is not None:
            groups.setdefault(json.dumps([status["slot"], status["err"]], sort_keys=True), []).append(status)
    group = max(groups.values(), key=len, default=[])
    if len(group) < quorum:
        return None
    level = reached([COMMITMENTS.index(status["confirmationStatus"]) for status in group], quorum)
    return {**group[0], "confirmationStatus": COMMITMENTS[level]}
