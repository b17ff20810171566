"""Methods for validators: what is to be checked, their verdicts, the proposal and their attestations."""

from __future__ import annotations

import msgspec

from sequencer import database as db
from sequencer import params as p
from sequencer import results as r
from sequencer import verification, views
from sequencer.attestation import bitmap_of
from sequencer.errors import RpcError
from sequencer.lifecycle import CheckpointStatus, Status
from sequencer.methods import Method, Read, Recorded, Signed
from sequencer.methods_client import find_epoch
from sequencer.node import Node
from sequencer.proposals import attestation_key, attestations, set_of
from sequencer.rows import AttestationRow, ResultRow, TaskRow, VerdictRow
from settlement import certificate, messages, records
from settlement.records import ConsensusVote, Op, Reason, Record, Verdict
from settlement.rpc_codes import Code
from settlement.signing import Authorisation, node_id
from settlement.validator_set import ValidatorSet


def get_duties(node: Node, params: p.GetDuties) -> r.Duties:
    """The undecided results with what the validator has to know of them, and the epoch that waits for its attestation."""
    authority = p.public_key(params.validator)
    validators = node.chain.open.context.validator_set
    index = validators.index_of(authority)
    if index is None:
        raise RpcError(
            Code.NOT_A_VALIDATOR, f"{params.validator} is not in the pinned set, version {validators.version}"
        )
    rows = [row for task_id in node.tasks.revealed if (row := node.tasks.committed(task_id)) is not None]
    duties = [
        duty for row in sorted(rows, key=lambda row: row.order) if (duty := _duty(node, row, authority)) is not None
    ]
    return r.Duties(
        set_version=validators.version,
        set_index=index,
        results=duties,
        proposal=_proposal_for(node, authority),
    )


def _duty(node: Node, row: TaskRow, authority: bytes) -> r.Duty | None:
    result = node.result_of(node.database, row)
    if result is None:
        return None
    batch = node.chain.open
    verdicts = verification.valid(node.verdicts_on(node.database, row), batch.context.validator_set, batch.base_slot)
    disputed = verification.disputed_intervals(verdicts)
    own = next((verdict for verdict in verdicts if verdict.authority == authority), None)
    return r.Duty(
        task_id=row.task_id.hex(),
        client=views.base58(row.client),
        nonce=row.nonce,
        spec=views.spec(node, row.spec_hash),
        spec_hash=row.spec_hash.hex(),
        worker=views.base58(result.worker),
        lease_id=result.lease_id,
        commitment=result.commitment.hex(),
        salt=result.salt.hex(),
        result_hash=result.result_hash.hex(),
        work_root=result.work_root.hex(),
        entries_sha256=result.entries_sha256.hex(),
        model_sha256=result.model_sha256.hex(),
        metrics=msgspec.json.decode(result.metrics_json, type=p.Metrics),
        environment=msgspec.json.decode(result.environment_json),
        disputed_intervals=sorted(disputed),
        verdict_given=own is not None and verification.covers(own, disputed),
    )


def _proposal_for(node: Node, authority: bytes) -> r.ProposalName | None:
    current = node.chain.position.current
    if current is None or current.row.status is not CheckpointStatus.ATTESTING:
        return None
    row = current.row
    index = set_of(node, row).index_of(authority)
    if index is None or node.database.get(db.ATTESTATIONS, attestation_key(row, index)) is not None:
        return None
    return r.ProposalName(epoch=row.epoch, attempt=row.attempt)


def _vote(node: Node, authority: bytes, params: p.SubmitVerdict) -> Record:
    payload = ConsensusVote(
        set_index=params.set_index,
        verdict=Verdict[params.verdict.upper()],
        reason=Reason[params.reason.upper()],
        result_hash=bytes.fromhex(params.result_hash),
        replayed=params.replayed,
        intervals=params.intervals,
        accuracy_ppm=params.accuracy_ppm,
    )
    return Record(Op.CONSENSUS_VOTE, 0, node_id(authority), bytes.fromhex(params.task_id), payload)


def submit_verdict(
    node: Node, tx: db.Transaction, record: Record, authorisation: Authorisation, params: p.SubmitVerdict
) -> r.TaskStatus:
    """Keeps the verdict, in place of an earlier one of this validator, and decides the result if that settles it."""
    authority = authorisation.public_key
    validators = node.chain.open.context.validator_set
    _check_index(validators, authority, params.set_index)
    row = node.tasks.get(tx, record.task)
    if row is None:
        raise RpcError(Code.UNKNOWN_TASK, f"there is no task {params.task_id}")
    result = node.result_of(tx, row)
    if row.status is not Status.REVEALED or result is None or result.result_hash.hex() != params.result_hash:
        raise RpcError(
            Code.ALREADY_DECIDED, f"task {params.task_id} is {row.status.value}: this result is not up for verdicts"
        )
    _check_counts(result, params)
    signature = bytes.fromhex(params.sample_signature)
    digest = messages.sample_digest(row.task_id, result.commitment)
    if not certificate.verify_attestation(digest, params.set_index, signature, validators):
        raise RpcError(
            Code.BAD_SIGNATURE,
            f"sampleSignature is not validator {params.set_index}'s over {digest.hex()}",
            {"digest": digest.hex()},
        )
    verdict = VerdictRow(
        authority=authority,
        set_index=params.set_index,
        verdict=Verdict[params.verdict.upper()],
        reason=Reason[params.reason.upper()],
        replayed=params.replayed,
        intervals=params.intervals,
        accuracy_ppm=params.accuracy_ppm,
        checked=sorted(params.checked_intervals),
        disputed=params.disputed_interval,
        record=records.encode(record),
        authorisation=authorisation.encode(),
        sample_signature=signature,
        expiry_slot=authorisation.expiry_slot,
        given_slot=node.slot,
    )
    tx.put(db.VERDICTS, row.task_id + result.commitment + authority, verdict)
    node.last_seen_slots[authority] = node.slot
    node.decide(tx, row.task_id)
    decided = node.tasks.get(tx, row.task_id)
    assert decided is not None
    return r.TaskStatus(status=decided.status)


def _check_index(validators: ValidatorSet, authority: bytes, set_index: int) -> None:
    if validators.index_of(authority) != set_index:
        raise RpcError(
            Code.NOT_A_VALIDATOR,
            f"{views.base58(authority)} is not validator {set_index} of the pinned set, version {validators.version}",
            {"setVersion": validators.version},
        )


def _check_counts(result: ResultRow, params: p.SubmitVerdict) -> None:
    checked = set(params.checked_intervals)
    wrong = None
    if params.intervals != result.intervals and (params.verdict != "abstain" or params.intervals):
        wrong = f"intervals must be {result.intervals}"
    elif len(checked) != len(params.checked_intervals) or any(i >= result.intervals for i in checked):
        wrong = f"checkedIntervals must be different numbers below {result.intervals}"
    elif len(checked) != params.replayed:
        wrong = f"replayed is {params.replayed}, checkedIntervals has {len(checked)}"
    elif params.disputed_interval is not None and (
        params.verdict != "reject" or params.disputed_interval not in checked
    ):
        wrong = "disputedInterval goes with a rejecting verdict and must be among checkedIntervals"
    elif (params.verdict == "accept") != (params.reason == "none"):
        wrong = "reason is none for accept and something else otherwise"
    elif params.verdict == "accept" and not checked:
        wrong = "an accepting verdict replays at least one interval"
    if wrong:
        raise RpcError(Code.INVALID_PARAMS, wrong)


def get_proposal(node: Node, params: p.GetProposal) -> r.Checkpoint:
    row = find_epoch(node, params.epoch)
    if params.attempt is not None and params.attempt != row.attempt:
        raise RpcError(Code.WRONG_PROPOSAL, f"epoch {row.epoch} is at attempt {row.attempt}", {"attempt": row.attempt})
    return views.checkpoint(node, row)


def get_trace(node: Node, params: p.GetTrace) -> r.Trace:
    """The state roots of an epoch that is cut and not final: what a demand for an entry of its trace is answered with."""
    row = find_epoch(node, params.epoch)
    roots = node.traces.get(row.hash)
    if not roots:
        why = "is final" if row.status is CheckpointStatus.FINALIZED else "is to be computed again: ask in a while"
        raise RpcError(Code.NOT_FOUND, f"the trace of epoch {row.epoch} is not kept: it {why}")
    return r.Trace(epoch=row.epoch, hash=row.hash.hex(), state_roots=[root.hex() for root in roots])


def submit_attestation(node: Node, tx: db.Transaction, caller: bytes, params: p.SubmitAttestation) -> r.Attested:
    """Keeps a verified BLS signature on the epoch in flight, or on one that is posted and not final: it is added on L1 late. The caller
    must be the authority of that index."""
    position = node.chain.position
    flights = (*position.in_flight, *position.posted)
    asked = (params.epoch, params.attempt, params.hash)
    row = next((f.row for f in flights if (f.row.epoch, f.row.attempt, f.row.hash.hex()) == asked), None)
    if row is None:
        now = position.current.row if position.current else None
        shown = {"epoch": now.epoch, "attempt": now.attempt, "hash": now.hash.hex()} if now else {}
        raise RpcError(
            Code.WRONG_PROPOSAL, "this is not the proposal in flight, nor one that is posted and not final", shown
        )
    validators = set_of(node, row)
    _check_index(validators, caller, params.set_index)
    signature = bytes.fromhex(params.signature)
    if not certificate.verify_attestation(row.hash, params.set_index, signature, validators):
        raise RpcError(
            Code.BAD_SIGNATURE, f"it is not validator {params.set_index}'s over {params.hash}", {"digest": params.hash}
        )
    tx.put(db.ATTESTATIONS, attestation_key(row, params.set_index), AttestationRow(signature=signature))
    node.last_seen_slots[caller] = node.slot
    signers = bitmap_of(attestations(node, tx, row))
    return r.Attested(
        signers=signers.bit_count(),
        stake_lamports=validators.stake_of(signers),
        quorum=validators.is_quorum(signers),
    )


METHODS: dict[str, Method] = {
    "getDuties": Read(p.GetDuties, get_duties, r.Duties, (Code.NOT_A_VALIDATOR,)),
    "submitVerdict": Recorded(
        p.SubmitVerdict,
        _vote,
        submit_verdict,
        r.TaskStatus,
        (Code.UNKNOWN_TASK, Code.NOT_A_VALIDATOR, Code.ALREADY_DECIDED),
        repeats=True,
    ),
    "getProposal": Read(p.GetProposal, get_proposal, r.Checkpoint, (Code.NOT_FOUND, Code.WRONG_PROPOSAL)),
    "getTrace": Read(p.GetTrace, get_trace, r.Trace, (Code.NOT_FOUND,)),
    "submitAttestation": Signed(
        p.SubmitAttestation,
        submit_attestation,
        r.Attested,
        (Code.WRONG_PROPOSAL, Code.NOT_A_VALIDATOR),
        lambda node: node.wake(),
    ),
}
