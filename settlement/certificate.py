"""A certificate: a checkpoint message, the bitmap of who signed it, and the sum of their BLS signatures (docs/protocol.md, section 3).

Adding up keys is sound only because every key in a validator set has proved its possession to the L1 program at registration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from settlement import bls
from settlement.messages import CheckpointMessage
from settlement.signing import Domain
from settlement.tags import fixed
from settlement.validator_set import ValidatorSet, bitmap_to_bytes


class CertificateError(ValueError):
    """Signatures that cannot be added up; `set_index` is whose it was, None when it is not one validator's fault."""

    def __init__(self, message: str, set_index: int | None = None) -> None:
        super().__init__(message)
        self.set_index = set_index


@dataclass(frozen=True, slots=True)
class Certificate:
    """`bitmap` as an int (bit i is validator i), `signature` in G2, 96 bytes compressed."""

    message: CheckpointMessage
    bitmap: int
    signature: bytes

    def __post_init__(self) -> None:
        bitmap_to_bytes(self.bitmap)
        fixed("aggregate signature", self.signature, bls.SIGNATURE_BYTES)


def verify_attestation(digest: bytes, set_index: int, signature: bytes, validator_set: ValidatorSet) -> bool:
    """Whether `signature` is validator `set_index`'s over the checkpoint hash `digest`. An index beyond the set or malformed bytes are false."""
    if not 0 <= set_index < len(validator_set):
        return False
    try:
        return bls.verify(validator_set.entries[set_index].bls_public_key, digest, signature)
    except bls.BlsError:
        return False


def aggregate(digest: bytes, signatures: Mapping[int, bytes], validator_set: ValidatorSet) -> tuple[int, bytes]:
    """The bitmap and the sum of these signatures (by set index) over the checkpoint hash `digest`, each verified first.

    Whether they are a quorum is not asked. CertificateError names the validator whose signature is wrong.
    """
    bitmap = 0
    for set_index, signature in signatures.items():
        if not verify_attestation(digest, set_index, signature, validator_set):
            raise CertificateError(f"validator {set_index} did not sign {digest.hex()}", set_index)
        bitmap |= 1 << set_index
    try:
        return bitmap, bls.aggregate([signatures[index] for index in sorted(signatures)])
    except bls.BlsError as error:
        raise CertificateError(str(error)) from error


def certify(
    domain: Domain, message: CheckpointMessage, signatures: Mapping[int, bytes], validator_set: ValidatorSet
) -> Certificate:
    """The certificate of these signatures. CertificateError when one is wrong, they are no quorum, or the message is of another set."""
    if message.set_hash != validator_set.hash(domain):
        raise CertificateError("the message names another validator set")
    bitmap, signature = aggregate(message.hash(domain), signatures, validator_set)
    if not validator_set.is_quorum(bitmap):
        raise CertificateError(
            f"{validator_set.stake_of(bitmap)} of {validator_set.total_stake} lamports of stake are no quorum"
        )
    return Certificate(message, bitmap, signature)


def verify(domain: Domain, certificate: Certificate, validator_set: ValidatorSet) -> bool:
    """Whether a quorum of `validator_set`, which the message must name, signed the message. Malformed points are false, not an error."""
    if certificate.message.set_hash != validator_set.hash(domain) or certificate.bitmap >> len(validator_set):
        return False
    if not validator_set.is_quorum(certificate.bitmap):
        return False
    keys = [validator_set.entries[index].bls_public_key for index in validator_set.indices(certificate.bitmap)]
    try:
        return bls.fast_aggregate_verify(keys, certificate.message.hash(domain), certificate.signature)
    except bls.BlsError:
        return False
