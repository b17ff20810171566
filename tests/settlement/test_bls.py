"""settlement.bls against py_ecc, and what it refuses."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls import G2ProofOfPossession as Oracle
from py_ecc.bls.point_compression import decompress_G1
from py_ecc.optimized_bls12_381 import normalize

from settlement import bls
from settlement.hash_to_curve import P

DIGEST = bytes(range(32))
SECRETS = [bls.SecretKey.from_seed(bytes([k]) * 32) for k in range(1, 5)]
KEY = SECRETS[0].public_key
SIGNATURE = SECRETS[0].sign(DIGEST)
G1_INFINITY = b"\xc0" + bytes(47)
G2_INFINITY = b"\xc0" + bytes(95)


def off_subgroup_key():
    """A point of the curve outside G1's subgroup of prime order."""
    for x in count(1):
        y = pow(x**3 + 4, (P + 1) // 4, P)
        if y * y % P == (x**3 + 4) % P:
            return bytes([0x80 | (0x20 if y > P // 2 else 0)]) + x.to_bytes(47, "big")
    raise AssertionError


def test_signatures_are_those_of_the_proof_of_possession_suite():
    assert Oracle.Verify(bytes(KEY), DIGEST, SIGNATURE)
    assert Oracle.Sign(int.from_bytes(SECRETS[0].to_bytes(), "big"), DIGEST) == SIGNATURE


def test_verify_tells_keys_digests_and_signatures_apart():
    assert bls.verify(KEY, DIGEST, SIGNATURE)
    assert not bls.verify(SECRETS[1].public_key, DIGEST, SIGNATURE)
    assert not bls.verify(KEY, bytes(32), SIGNATURE)
    assert not bls.verify(KEY, DIGEST, SECRETS[1].sign(DIGEST))


def test_verify_takes_an_uncompressed_key():
    assert bls.verify(KEY.uncompressed(), DIGEST, SIGNATURE)
    assert not bls.verify(SECRETS[1].public_key.uncompressed(), DIGEST, SIGNATURE)


def test_aggregates_verify_and_subtracting_a_signer_breaks_them():
    keys = [secret.public_key for secret in SECRETS]
    total = bls.aggregate([secret.sign(DIGEST) for secret in SECRETS])
    assert bls.fast_aggregate_verify(keys, DIGEST, total)
    assert Oracle.FastAggregateVerify([bytes(key) for key in keys], DIGEST, total)
    assert bls.verify(bls.aggregate_public_keys(keys), DIGEST, total)
    assert not bls.fast_aggregate_verify(keys[1:], DIGEST, total)
    assert not bls.fast_aggregate_verify([*keys, keys[0]], DIGEST, total)


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=32, max_size=40))
def test_uncompressed_keys_are_the_points_of_py_ecc(seed):
    key = bls.SecretKey.from_seed(seed).public_key
    x, y = normalize(decompress_G1(int.from_bytes(key, "big")))
    assert key.uncompressed() == int(x).to_bytes(48, "big") + int(y).to_bytes(48, "big")
    assert bls.compressed_public_key(key.uncompressed()) == key


def test_secret_keys_come_back_from_bytes_and_stay_out_of_repr():
    secret = SECRETS[0]
    assert bls.SecretKey.from_bytes(secret.to_bytes()).public_key == secret.public_key
    assert secret.to_bytes().hex() not in repr(secret)
    assert bls.SecretKey.generate().public_key != bls.SecretKey.generate().public_key


@pytest.mark.parametrize(
    ("data", "says"),
    [(bytes(31), "32 bytes"), (bytes(32), "zero"), (b"\xff" * 32, "group's order")],
)
def test_secret_keys_out_of_range_are_refused(data, says):
    with pytest.raises(bls.BlsError, match=says):
        bls.SecretKey.from_bytes(data)


def test_short_seeds_and_digests_are_refused():
    with pytest.raises(bls.BlsError, match="at least 32 bytes"):
        bls.SecretKey.from_seed(bytes(31))
    with pytest.raises(bls.BlsError, match="digest of 32 bytes, not 31"):
        SECRETS[0].sign(bytes(31))
    with pytest.raises(bls.BlsError, match="digest of 32 bytes, not 33"):
        bls.verify(KEY, bytes(33), SIGNATURE)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (b"", "48 bytes"),
        (KEY[:47], "48 bytes"),
        (G1_INFINITY, "infinity"),
        (bytes(48), "no public key"),
        (bytes([KEY[0] & 0x7F]) + KEY[1:], "no public key"),
        ((P + 1 | 1 << 383).to_bytes(48, "big"), "no public key"),
        (off_subgroup_key(), "no public key"),
        (bls.G1_INFINITY_UNCOMPRESSED, "infinity"),
        (KEY.uncompressed()[:95] + bytes([KEY.uncompressed()[95] ^ 1]), "no public key"),
        (bytes([KEY.uncompressed()[0] | 0x20]) + KEY.uncompressed()[1:], "no public key"),
    ],
)
def test_what_is_no_key_is_refused(key, says):
    with pytest.raises(bls.BlsError, match=says):
        bls.PublicKey(key)
    with pytest.raises(bls.BlsError, match=says):
        bls.verify(key, DIGEST, SIGNATURE)
    with pytest.raises(bls.BlsError, match=says):
        bls.fast_aggregate_verify([KEY, key], DIGEST, SIGNATURE)


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (SIGNATURE[:95], "96 bytes"),
        (G2_INFINITY, "infinity"),
        (bytes(96), "no signature"),
        (SIGNATURE[:95] + bytes([SIGNATURE[95] ^ 1]), "no signature"),
        (b"\x9f" + b"\xff" * 95, "no signature"),
    ],
)
def test_what_is_no_signature_is_refused(signature, says):
    with pytest.raises(bls.BlsError, match=says):
        bls.verify(KEY, DIGEST, signature)
    with pytest.raises(bls.BlsError, match=says):
        bls.aggregate([SIGNATURE, signature])


def test_nothing_and_sums_at_infinity_are_refused():
    negated_key = bytes([KEY[0] ^ 0x20]) + KEY[1:]
    negated_signature = bytes([SIGNATURE[0] ^ 0x20]) + SIGNATURE[1:]
    with pytest.raises(bls.BlsError, match="no signatures"):
        bls.aggregate([])
    with pytest.raises(bls.BlsError, match="no public keys"):
        bls.aggregate_public_keys([])
    with pytest.raises(bls.BlsError, match="sum up to the point at infinity"):
        bls.aggregate([SIGNATURE, negated_signature])
    with pytest.raises(bls.BlsError, match="sum up to the point at infinity"):
        bls.fast_aggregate_verify([KEY, negated_key], DIGEST, SIGNATURE)


def test_a_rogue_key_forges_an_aggregate_without_a_proof_of_possession():
    """Why keys need one: the attacker's key is its own less the victim's, and its signature alone passes for both."""
    victim, attacker = SECRETS[0], SECRETS[1]
    rogue = bls.aggregate_public_keys(
        [attacker.public_key, bytes([victim.public_key[0] ^ 0x20]) + victim.public_key[1:]]
    )
    forged = attacker.sign(DIGEST)
    assert bls.fast_aggregate_verify([victim.public_key, rogue], DIGEST, forged)
    # With proofs of possession it fails: nobody can sign as the rogue key.
    assert not bls.verify(rogue, bytes(32), attacker.sign(bytes(32)))
