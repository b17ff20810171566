"""Who may put a record into a batch (docs/protocol.md, section 6): the ed25519 signature beside it, or the BLS signature in a
VERIFICATION_PROOF."""

from __future__ import annotations

from settlement import bls, messages, records, signing
from settlement.ledger.context import Context, validator_at
from settlement.ledger.rejection import LedgerRejection, Rejection
from settlement.ledger.state import State
from settlement.records import Record, VerificationProof
from settlement.signing import EMPTY, Authorisation, Domain


def check_authorisation(record: Record, authorisation: Authorisation, domain: Domain, base_slot: int) -> None:
    """LedgerRejection unless the record was signed by its node's key and the signature has not expired, or needs no signature and has none."""
    if not records.needs_authorisation(record):
        if authorisation != EMPTY:
            raise LedgerRejection(
                Rejection.BAD_AUTHORISATION, "this record is signed by nobody; its authorisation must be 104 zero bytes"
            )
        return
    if signing.node_id(authorisation.public_key) != record.node:
        raise LedgerRejection(
            Rejection.BAD_AUTHORISATION, f"the signer's node id is not the record's, {record.node.hex()}"
        )
    if authorisation.expiry_slot < base_slot:
        raise LedgerRejection(
            Rejection.AUTHORISATION_EXPIRED,
            f"it expired at slot {authorisation.expiry_slot}, before {base_slot}",
            base_slot=base_slot,
        )
    digest = signing.authorisation_digest(domain, authorisation.expiry_slot, records.encode(record))
    if not signing.verify(authorisation.public_key, digest, authorisation.signature):
        raise LedgerRejection(Rejection.BAD_AUTHORISATION, f"the signature is not over the digest {digest.hex()}")


def check_sample_signature(state: State, record: Record, context: Context) -> None:
    """LedgerRejection unless a VERIFICATION_PROOF holds its validator's BLS signature over the sample digest of the task as revealed in `state`."""
    proof = record.payload
    if not isinstance(proof, VerificationProof):
        raise TypeError(f"a {record.op.name} holds no sample signature")
    entry = validator_at(context, record, proof.set_index)
    task = state.task(record.task)
    if task is None:
        raise LedgerRejection(Rejection.UNKNOWN_TASK, f"there is no task {record.task.hex()}")
    digest = messages.sample_digest(record.task, task.commitment)
    try:
        signed = bls.verify(entry.bls_public_key, digest, proof.sample_signature)
    except bls.BlsError as error:
        raise LedgerRejection(Rejection.BAD_SAMPLE_SIGNATURE, str(error)) from error
    if not signed:
        raise LedgerRejection(
            Rejection.BAD_SAMPLE_SIGNATURE, f"it is not validator {proof.set_index}'s over the digest {digest.hex()}"
        )
