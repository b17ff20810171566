from dataclasses import replace

import pytest

from settlement import bls, certificate
from settlement.certificate import Certificate, CertificateError
from settlement.signing import Domain
from tests.settlement import kit, scenario

MESSAGE = scenario.first().message
DIGEST = MESSAGE.hash(kit.DOMAIN)
VALIDATORS = scenario.VALIDATORS
SIGNATURES = {index: kit.bls_key(index).sign(DIGEST) for index in range(3)}
TWO = {index: SIGNATURES[index] for index in (0, 2)}


def test_a_quorum_makes_a_certificate() -> None:
    made = certificate.certify(kit.DOMAIN, MESSAGE, TWO, VALIDATORS)
    assert made == Certificate(MESSAGE, 0b101, bls.aggregate([SIGNATURES[0], SIGNATURES[2]]))
    assert certificate.verify(kit.DOMAIN, made, VALIDATORS)


def test_the_order_of_signatures_does_not_matter() -> None:
    backwards = dict(reversed(SIGNATURES.items()))
    assert certificate.aggregate(DIGEST, backwards, VALIDATORS) == certificate.aggregate(DIGEST, SIGNATURES, VALIDATORS)


def test_a_wrong_signature_is_named() -> None:
    for wrong in (SIGNATURES[1], bytes(96), b"\xc0" + bytes(95), b"short", kit.bls_key(2).sign(kit.filler("other"))):
        with pytest.raises(CertificateError, match="validator 2 did not sign") as error:
            certificate.aggregate(DIGEST, {**TWO, 2: wrong}, VALIDATORS)
        assert error.value.set_index == 2
    with pytest.raises(CertificateError, match="validator 3 did not sign"):
        certificate.aggregate(DIGEST, {**TWO, 3: SIGNATURES[0]}, VALIDATORS)
    with pytest.raises(CertificateError, match="no signatures"):
        certificate.aggregate(DIGEST, {}, VALIDATORS)


def test_a_short_quorum_or_another_set_makes_none() -> None:
    with pytest.raises(CertificateError, match="300 of 600 lamports of stake are no quorum"):
        certificate.certify(kit.DOMAIN, MESSAGE, {0: SIGNATURES[0]}, VALIDATORS)
    with pytest.raises(CertificateError, match="another validator set"):
        certificate.certify(kit.DOMAIN, MESSAGE, TWO, kit.validator_set(300, 200, 101))


def test_a_certificate_verifies_nothing_else() -> None:
    made = certificate.certify(kit.DOMAIN, MESSAGE, TWO, VALIDATORS)
    one = bls.aggregate([SIGNATURES[0]])
    assert not certificate.verify(kit.DOMAIN, replace(made, bitmap=0b111), VALIDATORS)
    assert not certificate.verify(kit.DOMAIN, replace(made, bitmap=0b011), VALIDATORS)
    assert not certificate.verify(kit.DOMAIN, replace(made, bitmap=0b001, signature=one), VALIDATORS), "no quorum"
    assert not certificate.verify(kit.DOMAIN, replace(made, bitmap=1 << 255), VALIDATORS)
    assert not certificate.verify(kit.DOMAIN, replace(made, signature=bytes(96)), VALIDATORS)
    assert not certificate.verify(kit.DOMAIN, replace(made, message=replace(MESSAGE, attempt=1)), VALIDATORS)
    assert not certificate.verify(kit.DOMAIN, made, kit.validator_set(300, 200, 100, version=2))
    assert not certificate.verify(Domain(kit.DOMAIN.program, kit.DOMAIN.genesis), made, VALIDATORS)


def test_a_certificate_has_a_bitmap_of_256_bits_and_a_signature_of_96_bytes() -> None:
    with pytest.raises(ValueError, match="256 bits"):
        Certificate(MESSAGE, 1 << 256, bytes(96))
    with pytest.raises(ValueError, match="96 bytes"):
        Certificate(MESSAGE, 1, bytes(95))
