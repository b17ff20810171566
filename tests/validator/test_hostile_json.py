"""What a lying sequencer or a spoiled file hands a validator: understood, or refused by the error that is documented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from solders.pubkey import Pubkey

from settlement import messages, spec, work
from settlement.records import Mode
from settlement.signing import Domain
from tests.hostile import WILD, altered, hostile, mutated
from tests.settlement.test_spec import SPEC
from validator import claim as claims
from validator.claim import Claim, Duties, DutyError
from validator.slashing_protection import SlashingProtection
from validator.votes import ProtectionError

DOMAIN = Domain(b"g" * 32, b"p" * 32)
ENVIRONMENT = {"torch": "2.9", "device": "cpu", "threads": 1}
ENTRIES = [work.WorkEntry(i, bytes([i]) * 32, b"g" * 32, b"b" * 32, b"m" * 32, 0.5) for i in range(3)]
TRACE = b"".join(entry.encode() for entry in ENTRIES)


def duty() -> dict[str, Any]:
    """One whose hashes all follow from each other."""
    client, worker, salt = b"c" * 32, b"w" * 32, b"s" * 32
    task_id = messages.task_id(DOMAIN, client, 3, spec.spec_hash(SPEC))
    root = work.work_root(ENTRIES)
    result = messages.result_hash(
        task_id, worker, Mode.REPLAY, work.environment_hash(ENVIRONMENT), root, b"m" * 32, work.metrics_hash(0.5, 1.5)
    )
    return {
        "taskId": task_id.hex(),
        "client": str(Pubkey(client)),
        "nonce": 3,
        "spec": SPEC,
        "specHash": spec.spec_hash(SPEC).hex(),
        "worker": str(Pubkey(worker)),
        "leaseId": 1,
        "commitment": messages.commitment(DOMAIN, task_id, 1, worker, salt, result).hex(),
        "salt": salt.hex(),
        "resultHash": result.hex(),
        "workRoot": root.hex(),
        "entriesSha256": "ab" * 32,
        "modelSha256": (b"m" * 32).hex(),
        "metrics": {"accuracy": 0.5, "loss": 1.5},
        "environment": ENVIRONMENT,
        "disputedIntervals": [1],
        "verdictGiven": False,
    }


BOUND = {
    "taskId",
    "client",
    "nonce",
    "spec",
    "worker",
    "leaseId",
    "commitment",
    "salt",
    "resultHash",
    "workRoot",
    "modelSha256",
}


def test_the_duty_itself_is_consistent() -> None:
    assert claims.inconsistency(Claim.from_duty(duty()), DOMAIN) is None


@hostile
@given(altered(duty()) | WILD)
def test_a_duty_is_a_claim_or_refused_and_no_lie_in_it_is_believed(given_json: Any) -> None:
    try:
        claim = Claim.from_duty(given_json)
    except DutyError:
        return
    if claims.inconsistency(claim, DOMAIN) is None:
        assert {key: given_json[key] for key in BOUND} == {key: duty()[key] for key in BOUND}
    assert all(type(one) is int for one in claims.disputed_intervals(given_json))


@hostile
@given(altered({"setVersion": 1, "setIndex": 0, "results": [duty()], "proposal": {"epoch": 1, "attempt": 0}}) | WILD)
def test_duties_are_understood_or_refused(given_json: Any) -> None:
    try:
        duties = Duties.from_json(given_json)
    except DutyError:
        return
    assert duties.set_index >= 0
    assert all(isinstance(one, dict) for one in duties.results)
    assert duties.proposal is None or min(duties.proposal) >= 0


@hostile
@given(mutated(TRACE))
def test_a_trace_is_the_one_under_the_work_root_or_none(data: bytes) -> None:
    entries = claims.decode_trace(Claim.from_duty(duty()), data)
    assert entries == (ENTRIES if data == TRACE else None)


# -- slashing protection

KEY = b"k" * 48


def interchange(folder: Path) -> dict[str, Any]:
    with SlashingProtection(folder / "from.sqlite", DOMAIN, KEY) as protection:
        protection.record(1, 0, b"d" * 32, 100)
        protection.record(2, 1, b"e" * 32, 200)
        return protection.export()


def test_an_interchange_is_taken_whole_or_refused_whole(tmp_path: Path) -> None:
    good = interchange(tmp_path)

    @hostile
    @given(altered(good) | WILD)
    def takes(given_json: Any) -> None:
        with SlashingProtection(tmp_path / "to.sqlite", DOMAIN, KEY) as protection:
            try:
                before = protection.export()
                try:
                    protection.import_(given_json)
                except ProtectionError:
                    assert protection.export() == before
            finally:
                protection.close()
                (tmp_path / "to.sqlite").unlink()

    takes()
