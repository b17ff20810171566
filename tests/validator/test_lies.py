"""Every lie that keeps its hashes consistent is found by re-running the work, and none is accepted; the honest result is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from settlement import bls, messages, spec, work
from settlement.records import Mode, Reason, Verdict
from settlement.signing import Domain
from settlement.work import WorkEntry
from tests import liars
from tests.worker.specs import small_dataset, small_spec
from validator import claim as claims
from validator.claim import Claim, Judgement
from validator.replay import Bench, judge, judge_files
from worker import determinism, executor
from worker.job import Job, Trained

CPU = torch.device("cpu")
DOMAIN = Domain(b"g" * 32, b"p" * 32)
CLIENT, WORKER, OTHER = b"c" * 32, b"w" * 32, b"o" * 32
ENVIRONMENT = {"torch": "x", "device": "cpu"}
SECRETS = [bls.SecretKey.from_seed(bytes([i]) * 32) for i in range(12)]

Lie = Callable[[Job, Any], Awaitable[Trained]]


@pytest.fixture(autouse=True, scope="module")
def deterministic() -> None:
    determinism.configure(threads=1)


@dataclass(frozen=True)
class Revealed:
    """What the sequencer would hand to validators: the claim, its trace, and all blobs."""

    claim: Claim
    entries: tuple[WorkEntry, ...]
    blobs: dict[bytes, bytes]
    bench: Bench

    def verdict(self, secret: bls.SecretKey, *disputed: int) -> Judgement:
        wrong = claims.inconsistency(self.claim, DOMAIN)
        assert wrong is None, wrong
        signature = secret.sign(messages.sample_digest(self.claim.task_id, self.claim.commitment))
        checked = claims.sample(signature, self.entries, disputed)
        return judge(self.claim, self.entries, checked, self.bench, self.blobs.get)


def claim_of(trained: Trained, raw: dict[str, Any], worker: bytes = WORKER) -> Claim:
    task_id = messages.task_id(DOMAIN, CLIENT, 3, spec.spec_hash(raw))
    result = messages.result_hash(
        task_id,
        worker,
        Mode.REPLAY,
        work.environment_hash(ENVIRONMENT),
        trained.work_root,
        trained.model_hash,
        work.metrics_hash(trained.accuracy, trained.loss),
    )
    salt = b"s" * 32
    return Claim(
        task_id,
        CLIENT,
        3,
        raw,
        worker,
        7,
        messages.commitment(DOMAIN, task_id, 7, worker, salt, result),
        salt,
        result,
        trained.work_root,
        sha256(trained.entries_blob).digest(),
        trained.model_hash,
        trained.accuracy,
        trained.loss,
        ENVIRONMENT,
    )


async def reveal(folder: Path, lie: Lie | None = None, **changes: Any) -> Revealed:
    raw, blob = small_spec(max_epochs=20, **changes)
    dataset = folder / "dataset"
    dataset.write_bytes(blob)

    async def honest(job: Job) -> Trained:
        return executor.train(job.spec, str(job.dataset), str(job.folder), CPU)

    job = Job(b"t" * 32, raw, dataset, folder / "files")
    trained = await (lie(job, honest) if lie else honest(job))
    blobs = {name: path.read_bytes() for name, path in trained.files.items()}
    bench = Bench(spec.parse(raw), small_dataset(), CPU)
    return Revealed(claim_of(trained, raw), trained.entries, blobs, bench)


async def test_an_honest_result_is_accepted_by_everyone(tmp_path: Path) -> None:
    revealed = await reveal(tmp_path)
    for secret in SECRETS[:3]:
        verdict = revealed.verdict(secret)
        assert (verdict.verdict, verdict.reason) == (Verdict.ACCEPT, Reason.NONE), verdict
        assert verdict.intervals == len(revealed.entries) - 1
        assert 0 < len(verdict.checked) < verdict.intervals
        assert verdict.checked[-1] == verdict.intervals - 1
        assert verdict.accuracy_ppm == round(revealed.claim.accuracy * 1_000_000)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (liars.last_state, Reason.WRONG_STATE),
        (liars.hash_not_weights, Reason.WRONG_RESULT),
        (liars.false_accuracy, Reason.WRONG_METRICS),
        (liars.other_seed, Reason.WRONG_SEED),
    ],
)
async def test_a_lie_is_rejected_by_every_validator(tmp_path: Path, lie: Lie, reason: Reason) -> None:
    revealed = await reveal(tmp_path, lie)
    for secret in SECRETS[:4]:
        verdict = revealed.verdict(secret)
        assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, reason), verdict


async def test_a_middle_state_is_caught_by_whoever_drew_it_and_then_by_all(tmp_path: Path) -> None:
    revealed = await reveal(tmp_path, liars.middle_state)
    middle = len(revealed.entries) // 2
    verdicts = {secret.to_bytes(): revealed.verdict(secret) for secret in SECRETS}
    assert {verdict.verdict for verdict in verdicts.values()} == {Verdict.ACCEPT, Verdict.REJECT}
    for verdict in verdicts.values():
        # Both the interval that ends in the altered state and the one that starts from it are wrong.
        drew_it = bool({middle - 1, middle} & set(verdict.checked))
        assert (verdict.verdict is Verdict.REJECT) == drew_it
    disputed = next(v.disputed for v in verdicts.values() if v.verdict is Verdict.REJECT)
    assert disputed in (middle - 1, middle)
    for secret in SECRETS:
        again = revealed.verdict(secret, disputed)
        assert (again.verdict, again.reason) == (Verdict.REJECT, Reason.WRONG_STATE)
        assert disputed in again.checked


async def test_a_false_dispute_does_not_turn_an_acceptance(tmp_path: Path) -> None:
    revealed = await reveal(tmp_path)
    for interval in range(len(revealed.entries) - 1):
        verdict = revealed.verdict(SECRETS[0], interval)
        assert verdict.verdict is Verdict.ACCEPT and interval in verdict.checked


@pytest.mark.parametrize("field", ["gradient_hash", "batch_hash", "model_hash", "loss"])
async def test_every_field_of_an_entry_is_compared(tmp_path: Path, field: str) -> None:
    async def lie(job: Job, honest: Any) -> Trained:
        trained = await honest(job)
        last = trained.entries[-1]
        value: Any = last.loss + 1e-12 if field == "loss" else b"\1" * 32
        changed = replace(trained, entries=(*trained.entries[:-1], replace(last, **{field: value})))
        return replace(changed, model_hash=b"\1" * 32) if field == "model_hash" else changed

    revealed = await reveal(tmp_path, lie)
    verdict = revealed.verdict(SECRETS[0])
    assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, Reason.WRONG_WORK_ROOT)
    assert verdict.disputed == verdict.intervals - 1


async def test_a_trace_of_another_plan_is_rejected(tmp_path: Path) -> None:
    async def skip(job: Job, honest: Any) -> Trained:
        trained = await honest(job)
        return replace(trained, entries=(trained.entries[0], trained.entries[-1]))

    async def pad(job: Job, honest: Any) -> Trained:
        trained = await honest(job)
        return replace(trained, entries=trained.entries * 2)

    for number, lie in enumerate((skip, pad)):
        folder = tmp_path / str(number)
        folder.mkdir()
        revealed = await reveal(folder, lie)
        verdict = revealed.verdict(SECRETS[0])
        assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, Reason.WRONG_WORK_ROOT)
        assert verdict.intervals == len(revealed.entries) - 1


async def test_below_min_accuracy_is_not_paid(tmp_path: Path) -> None:
    revealed = await reveal(tmp_path, min_accuracy=1.0, optimizer={"type": "adam", "learning_rate": 1e-9})
    verdict = revealed.verdict(SECRETS[0])
    assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, Reason.BELOW_MIN_ACCURACY)


async def test_a_state_that_is_no_state_is_rejected_and_not_run(tmp_path: Path) -> None:
    async def lie(job: Job, honest: Any) -> Trained:
        trained = await honest(job)
        bomb = job.folder / "bomb"
        bomb.write_bytes((2**40).to_bytes(8, "little") + b"{}" * 8)
        name = sha256(bomb.read_bytes()).digest()
        entries = [replace(entry, state_hash=name) if i > 0 else entry for i, entry in enumerate(trained.entries)]
        return replace(trained, entries=tuple(entries), files={**trained.files, name: bomb})

    revealed = await reveal(tmp_path, lie)
    verdict = revealed.verdict(SECRETS[0])
    assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, Reason.WRONG_STATE)


async def test_what_is_missing_is_abstained_from(tmp_path: Path) -> None:
    """The worker loses its pay, but a sequencer that withholds a blob cannot take its stake."""
    revealed = await reveal(tmp_path)
    full = revealed.verdict(SECRETS[0])
    for name in (revealed.entries[full.checked[-1]].state_hash, revealed.claim.model_hash):
        blobs = {other: blob for other, blob in revealed.blobs.items() if other != name}
        verdict = replace(revealed, blobs=blobs).verdict(SECRETS[0])
        assert (verdict.verdict, verdict.reason) == (Verdict.ABSTAIN, Reason.DATA_MISSING)


async def test_somebody_elses_commitment_or_result_is_never_accepted(tmp_path: Path) -> None:
    """A copied commitment binds the other worker's key: no salt of the copier's leads to it, and the copied result binds that key too."""
    honest = (await reveal(tmp_path)).claim
    copied_commitment = replace(honest, worker=OTHER, result_hash=honest.result_hash)
    assert "do not hash to the result" in str(claims.inconsistency(copied_commitment, DOMAIN))
    own_result = claim_of_copy(honest)
    assert claims.inconsistency(own_result, DOMAIN) is None
    stolen = replace(own_result, commitment=honest.commitment)
    assert "the commitment is not of this task, lease, worker" in str(claims.inconsistency(stolen, DOMAIN))


def claim_of_copy(honest: Claim) -> Claim:
    result = messages.result_hash(
        honest.task_id,
        OTHER,
        Mode.REPLAY,
        work.environment_hash(honest.environment),
        honest.work_root,
        honest.model_hash,
        work.metrics_hash(honest.accuracy, honest.loss),
    )
    commitment = messages.commitment(DOMAIN, honest.task_id, honest.lease_id, OTHER, honest.salt, result)
    return replace(honest, worker=OTHER, result_hash=result, commitment=commitment)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"client_nonce": 4}, "task id"),
        ({"client": OTHER}, "task id"),
        ({"spec": {"another": "spec"}}, "task id"),
        ({"task_id": OTHER}, "task id"),
        ({"model_hash": OTHER}, "do not hash to the result"),
        ({"work_root": OTHER}, "do not hash to the result"),
        ({"accuracy": 0.123}, "do not hash to the result"),
        ({"environment": {"torch": "y"}}, "do not hash to the result"),
        ({"salt": OTHER}, "commitment"),
        ({"lease_id": 8}, "commitment"),
    ],
)
async def test_whatever_a_lying_sequencer_changes_shows(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    honest = (await reveal(tmp_path)).claim
    assert claims.inconsistency(honest, DOMAIN) is None
    assert message in str(claims.inconsistency(replace(honest, **changes), DOMAIN))


async def test_judging_from_files_trusts_no_name(tmp_path: Path) -> None:
    """The child reads blobs by name and hashes them again: a file that was swapped counts as missing."""
    revealed = await reveal(tmp_path)
    claim, folder = revealed.claim, tmp_path / "evidence"
    folder.mkdir()
    entries = b"".join(entry.encode() for entry in revealed.entries)
    for name, blob in {**revealed.blobs, claim.entries_hash: entries}.items():
        (folder / name.hex()).write_bytes(blob)
    duty = duty_of(claim)
    checked = [0, len(revealed.entries) - 2]
    good = judge_files(duty, checked, tmp_path / "dataset", folder, CPU)
    assert good.accepts and good.checked == tuple(checked)
    assert Judgement.from_json(good.to_json()) == good
    first = folder / revealed.entries[0].state_hash.hex()
    first.write_bytes(first.read_bytes()[:-1] + bytes([first.read_bytes()[-1] ^ 1]))
    assert judge_files(duty, checked, tmp_path / "dataset", folder, CPU).reason is Reason.DATA_MISSING
    (folder / claim.entries_hash.hex()).write_bytes(entries[:-144])
    assert judge_files(duty, checked, tmp_path / "dataset", folder, CPU).reason is Reason.DATA_MISSING
    (tmp_path / "dataset").write_bytes(b"no dataset")
    assert judge_files(duty, checked, tmp_path / "dataset", folder, CPU).reason is Reason.DATA_MISSING


def duty_of(claim: Claim) -> dict[str, Any]:
    from solders.pubkey import Pubkey

    return {
        "taskId": claim.task_id.hex(),
        "client": str(Pubkey(claim.client)),
        "nonce": claim.client_nonce,
        "spec": dict(claim.spec),
        "specHash": spec.spec_hash(claim.spec).hex(),
        "worker": str(Pubkey(claim.worker)),
        "leaseId": claim.lease_id,
        "commitment": claim.commitment.hex(),
        "salt": claim.salt.hex(),
        "resultHash": claim.result_hash.hex(),
        "workRoot": claim.work_root.hex(),
        "entriesSha256": claim.entries_hash.hex(),
        "modelSha256": claim.model_hash.hex(),
        "metrics": {"accuracy": claim.accuracy, "loss": claim.loss},
        "environment": dict(claim.environment),
        "disputedIntervals": [],
        "verdictGiven": False,
    }


async def test_a_duty_decodes_and_a_malformed_one_is_named(tmp_path: Path) -> None:
    claim = (await reveal(tmp_path)).claim
    duty = duty_of(claim)
    assert Claim.from_duty(duty) == claim
    for key in ("taskId", "nonce", "salt", "metrics"):
        with pytest.raises(claims.DutyError, match=key):
            Claim.from_duty({name: value for name, value in duty.items() if name != key})
    for change in ({"salt": "00"}, {"leaseId": -1}, {"spec": []}, {"client": "nobody"}, {"metrics": {"loss": 1}}):
        with pytest.raises(claims.DutyError):
            Claim.from_duty({**duty, **change})
