"""Judges the results that await a verdict and sends the verdicts. Downloads the blobs that the drawn intervals need, re-runs them in a child
process, and keeps what was said before it leaves, so that nobody can alter it unseen.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
import trio

from settlement import bls, messages, spec, work
from settlement.ledger import State
from settlement.records import ConsensusVote, Op, Reason, Record
from settlement.rpc_codes import Code
from settlement.sequencer_client import BadAnswer, RpcError, SequencerClient
from settlement.signing import Domain, node_id
from settlement.work import WorkEntry
from validator import claim as claims
from validator.claim import Claim, DutyError, Judgement, abstain
from validator.verdicts import Verdicts
from worker import datasets
from worker.child import Child, ChildDied, ChildError

MAX_FAILURES = 3


class Judge:
    """One validator's judging. `environment` is what the child runs in; results of another are abstained from."""

    def __init__(
        self,
        folder: Path,
        domain: Domain,
        sequencer: SequencerClient,
        secret: bls.SecretKey,
        child: Child,
        environment: Mapping[str, Any],
        verdicts: Verdicts,
    ) -> None:
        self._domain, self._sequencer, self._secret, self._child = domain, sequencer, secret, child
        self._environment_hash = work.environment_hash(environment)
        self._verdicts = verdicts
        self._datasets, self._evidence = folder / "datasets", folder / "evidence"
        self._datasets.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._evidence, ignore_errors=True)  # what a killed process left
        self._failures: dict[bytes, int] = {}
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(room="validator")

    async def judge(self, duty: Mapping[str, Any], set_index: int) -> None:
        """Gives the verdict that this duty asks for, if it has not been given; what may pass is left for the next turn."""
        try:
            claim = Claim.from_duty(duty)
        except DutyError as error:
            self._log.warning("duty", error=str(error))
            return
        disputed = claims.disputed_intervals(duty)
        known = self._verdicts.on(claim.task_id, claim.result_hash, claim.commitment)
        if known is not None and (not known.accepts or set(disputed) <= set(known.checked)):
            if not duty.get("verdictGiven"):
                await self._send(claim, known, set_index)
            return
        if self._failures.get(claim.commitment, 0) >= MAX_FAILURES:
            return
        signature = self._secret.sign(messages.sample_digest(claim.task_id, claim.commitment))
        try:
            judgement = await self._judgement(claim, duty, signature, disputed)
        except (ChildDied, ChildError) as error:
            self._failures[claim.commitment] = self._failures.get(claim.commitment, 0) + 1
            self._log.error("could not judge", task=claim.task_id.hex(), error=str(error))
            return
        self._verdicts.put(claim.task_id, claim.result_hash, claim.commitment, judgement)
        self._log.info(
            "judged",
            task=claim.task_id.hex(),
            verdict=judgement.verdict.name.lower(),
            reason=judgement.reason.name.lower(),
            checked=judgement.checked,
            detail=judgement.detail,
        )
        await self._send(claim, judgement, set_index)

    async def forget_settled(self, finalized: State) -> None:
        """Drops the judgements that no batch can need any more."""
        forgotten = await trio.to_thread.run_sync(self._verdicts.forget_settled, finalized)
        if forgotten:
            self._log.info("judgements of settled tasks forgotten", count=forgotten)

    async def _judgement(
        self, claim: Claim, duty: Mapping[str, Any], signature: bytes, disputed: Sequence[int]
    ) -> Judgement:
        if (wrong := claims.inconsistency(claim, self._domain)) is not None:
            return abstain(Reason.DATA_MISSING, wrong)
        if work.environment_hash(claim.environment) != self._environment_hash:
            return abstain(Reason.OTHER_ENVIRONMENT, f"trained in {dict(claim.environment)}")
        folder = self._evidence / claim.commitment.hex()
        try:
            dataset = await datasets.fetch(self._sequencer, spec.parse(claim.spec).dataset_info.sha256, self._datasets)
            entries = claims.decode_trace(claim, await self._sequencer.get_blob(claim.entries_hash.hex()))
            if entries is None:
                return abstain(Reason.DATA_MISSING, "the entries are not those under the work root")
            checked = claims.sample(signature, entries, disputed)
            await self._download(claim, entries, checked, folder)
            answer = await self._child.call(
                "judge", duty=dict(duty), checked=checked, dataset=str(dataset), folder=str(folder)
            )
            return Judgement.from_json(answer)
        except spec.SpecError as error:
            return abstain(Reason.DATA_MISSING, str(error))
        except BadAnswer as error:
            return abstain(Reason.DATA_MISSING, str(error))
        except RpcError as error:
            if error.code != Code.NOT_FOUND:
                raise
            return abstain(Reason.DATA_MISSING, str(error))
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))

    async def _download(self, claim: Claim, entries: Sequence[WorkEntry], checked: Sequence[int], folder: Path) -> None:
        await trio.Path(folder).mkdir(parents=True, exist_ok=True)
        needed = [claim.entries_hash, *(entries[interval].state_hash for interval in checked), claim.model_hash]
        for name in dict.fromkeys(needed):
            await self._sequencer.get_blob_to(name.hex(), folder / name.hex())

    async def _send(self, claim: Claim, judgement: Judgement, set_index: int) -> None:
        public_key = self._sequencer.public_key
        vote = ConsensusVote(
            set_index=set_index,
            verdict=judgement.verdict,
            reason=judgement.reason,
            result_hash=claim.result_hash,
            replayed=len(judgement.checked),
            intervals=judgement.intervals,
            accuracy_ppm=judgement.accuracy_ppm,
        )
        params: dict[str, Any] = {
            "taskId": claim.task_id.hex(),
            "resultHash": claim.result_hash.hex(),
            "setIndex": set_index,
            "verdict": judgement.verdict.name.lower(),
            "reason": judgement.reason.name.lower(),
            "replayed": vote.replayed,
            "intervals": vote.intervals,
            "accuracyPpm": vote.accuracy_ppm,
            "sampleSignature": self._secret.sign(messages.sample_digest(claim.task_id, claim.commitment)).hex(),
            "checkedIntervals": list(judgement.checked),
        }
        if judgement.disputed is not None:
            params["disputedInterval"] = judgement.disputed
        record = Record(Op.CONSENSUS_VOTE, 0, node_id(public_key), claim.task_id, vote)
        try:
            await self._sequencer.call_record("submitVerdict", params, record)
        except RpcError as error:
            if error.code not in (Code.ALREADY_DECIDED, Code.UNKNOWN_TASK, Code.NOT_A_VALIDATOR):
                raise
            self._log.info("verdict not wanted", task=claim.task_id.hex(), error=str(error))
