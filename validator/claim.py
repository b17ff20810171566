"""What a worker claims, what a validator judges of it, and all checks that need no training. Pure, and without torch.

A rejection costs the worker its stake, so it is given only for what the worker itself signed: the result hash, and whatever hashes to it.
When what the sequencer handed over does not hash to it, or is not there, the verdict is an abstention (docs/protocol.md, section 9).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

from settlement import messages, spec, work
from settlement.records import Mode, Reason, Verdict
from settlement.signing import Domain
from settlement.tags import from_hex
from settlement.work import WorkEntry


class DutyError(ValueError):
    """The sequencer sent something that is no duty of docs/rpc.md; the message names the key."""


@dataclass(frozen=True)
class Claim:
    """A result as revealed. Keys, ids and hashes 32 bytes; `client_nonce` is that of the task's submission."""

    task_id: bytes
    client: bytes
    client_nonce: int
    spec: Mapping[str, Any]
    worker: bytes
    lease_id: int
    commitment: bytes
    salt: bytes
    result_hash: bytes
    work_root: bytes
    entries_hash: bytes
    model_hash: bytes
    accuracy: float
    loss: float
    environment: Mapping[str, Any]

    @classmethod
    def from_duty(cls, duty: Mapping[str, Any]) -> "Claim":
        """The claim in a duty of docs/rpc.md."""
        try:
            return cls(
                task_id=_hash(duty, "taskId"),
                client=bytes(Pubkey.from_string(duty["client"])),
                client_nonce=_integer(duty, "nonce"),
                spec=_object(duty, "spec"),
                worker=bytes(Pubkey.from_string(duty["worker"])),
                lease_id=_integer(duty, "leaseId"),
                commitment=_hash(duty, "commitment"),
                salt=_hash(duty, "salt"),
                result_hash=_hash(duty, "resultHash"),
                work_root=_hash(duty, "workRoot"),
                entries_hash=_hash(duty, "entriesSha256"),
                model_hash=_hash(duty, "modelSha256"),
                accuracy=_number(_object(duty, "metrics"), "accuracy"),
                loss=_number(_object(duty, "metrics"), "loss"),
                environment=_object(duty, "environment"),
            )
        except KeyError as error:
            raise DutyError(f"the duty has no {error.args[0]}") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise DutyError(f"the duty is malformed: {error}") from error


def _hash(duty: Mapping[str, Any], key: str) -> bytes:
    return from_hex(key, duty[key], 32)


def _integer(duty: Mapping[str, Any], key: str) -> int:
    value = duty[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise ValueError(f"{key} is {value!r}, must be an unsigned integer")
    return value


def _number(metrics: Mapping[str, Any], key: str) -> float:
    value = metrics[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"metrics.{key} is {value!r}, must be a finite number")
    return float(value)


def _object(duty: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = duty[key]
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not an object")
    return value


@dataclass(frozen=True)
class Duties:
    """What getDuties said: each result to judge as it was sent, and the (epoch, attempt) to attest."""

    set_index: int
    results: tuple[Mapping[str, Any], ...]
    proposal: tuple[int, int] | None

    @classmethod
    def from_json(cls, value: object) -> "Duties":
        """DutyError names the key that is missing or malformed."""
        try:
            if not isinstance(value, dict):
                raise ValueError(f"an object was expected, got {type(value).__name__}")
            results, proposal = value["results"], value["proposal"]
            if not isinstance(results, list) or not all(isinstance(duty, dict) for duty in results):
                raise ValueError("results is no list of objects")
            if proposal is not None:
                proposal = _object(value, "proposal")
                proposal = (_integer(proposal, "epoch"), _integer(proposal, "attempt"))
            return cls(_integer(value, "setIndex"), tuple(results), proposal)
        except KeyError as error:
            raise DutyError(f"the duties have no {error.args[0]}") from error
        except ValueError as error:
            raise DutyError(f"the duties are malformed: {error}") from error


def disputed_intervals(duty: Mapping[str, Any]) -> list[int]:
    """The intervals that another validator is said to dispute; what is no number among them is passed over."""
    given = duty.get("disputedIntervals")
    return [one for one in given if type(one) is int] if isinstance(given, list) else []


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason; `checked` are the intervals re-run, of `intervals` in all; `disputed` is the one found wrong."""

    verdict: Verdict
    reason: Reason = Reason.NONE
    checked: tuple[int, ...] = ()
    intervals: int = 0
    accuracy_ppm: int = 0
    disputed: int | None = None
    detail: str = ""

    @property
    def accepts(self) -> bool:
        return self.verdict is Verdict.ACCEPT

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "verdict": self.verdict.value, "reason": self.reason.value, "checked": list(self.checked)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Judgement":
        fields = dict(value)
        return cls(Verdict(fields.pop("verdict")), Reason(fields.pop("reason")), tuple(fields.pop("checked")), **fields)


def abstain(reason: Reason, detail: str) -> Judgement:
    return Judgement(Verdict.ABSTAIN, reason, detail=detail)


def inconsistency(claim: Claim, domain: Domain) -> str | None:
    """What in the claim does not follow from the hashes that client and worker signed; None when all does. Needs no blob."""
    try:
        return _inconsistency(claim, domain)
    except ValueError as error:  # RFC 8785 has no form for what stands in the spec, the environment or the metrics
        return f"what has no canonical JSON cannot have been hashed: {error}"


def _inconsistency(claim: Claim, domain: Domain) -> str | None:
    spec_hash = spec.spec_hash(claim.spec)
    # Of a task that came through the inbox the number is its entry's index.
    makers = (messages.task_id, messages.inbox_task_id)
    if all(make(domain, claim.client, claim.client_nonce, spec_hash) != claim.task_id for make in makers):
        return "client, nonce and spec do not hash to the task id"
    result = messages.result_hash(
        claim.task_id,
        claim.worker,
        Mode.REPLAY,
        work.environment_hash(claim.environment),
        claim.work_root,
        claim.model_hash,
        work.metrics_hash(claim.accuracy, claim.loss),
    )
    if result != claim.result_hash:
        return "worker, environment, work root, model and metrics do not hash to the result"
    committed = messages.commitment(domain, claim.task_id, claim.lease_id, claim.worker, claim.salt, claim.result_hash)
    if committed != claim.commitment:
        return "the commitment is not of this task, lease, worker, salt and result"
    return None


def decode_trace(claim: Claim, data: bytes) -> list[WorkEntry] | None:
    """The entries in the blob, None when they are not those under the claim's work root."""
    if not data or len(data) % work.WORK_ENTRY_BYTES:
        return None
    entries = work.decode_entries(data)
    return entries if work.work_root(entries) == claim.work_root else None


def sample(sample_signature: bytes, entries: Sequence[WorkEntry], disputed: Sequence[int]) -> list[int]:
    """The intervals to re-run: those drawn by the validator's signature, and those that another validator disputes."""
    intervals = len(entries) - 1
    if not 1 <= intervals <= spec.MAX_INTERVALS:
        return []  # a trace that no plan has: judged wrong without re-running anything
    return sorted({*spec.draw_intervals(sample_signature, intervals), *(j for j in disputed if 0 <= j < intervals)})
