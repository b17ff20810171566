"""Hash to G2 against RFC 9380's vectors, blspy and py_ecc, and the hints against an independent reading of their rules."""

import json
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from blspy import PopSchemeMPL, PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls.hash_to_curve import hash_to_field_FQ2, hash_to_G2
from py_ecc.optimized_bls12_381 import FQ2, add, double, eq, field_modulus, is_inf, multiply, neg, normalize
from py_ecc.optimized_bls12_381.constants import ISO_3_A, ISO_3_B, ISO_3_Z
from py_ecc.optimized_bls12_381.optimized_swu import iso_map_G2, optimized_swu_G2

from settlement import hash_to_curve

VECTORS = Path(__file__).parents[1] / "vectors"
SUITE = json.loads((VECTORS / "hash_to_g2.json").read_text())
RFC = json.loads((VECTORS / "hash_to_g2_rfc9380.json").read_text())
ALL = [(file["dst"].encode(), vector) for file in (SUITE, RFC) for vector in file["vectors"]]
digests = st.binary(min_size=32, max_size=32)

# py_ecc raises it for the whole process, to where deeply nested JSON in another test overflows the C stack instead of being refused.
sys.setrecursionlimit(10_000)


def by_py_ecc(message, dst):
    x, y = normalize(hash_to_G2(message, dst, sha256))
    return b"".join(int(c).to_bytes(48, "big") for coordinate in (x, y) for c in reversed(coordinate.coeffs))


def test_the_suite_is_the_proof_of_possession_scheme_s():
    assert SUITE["dst"].encode() == hash_to_curve.DST == b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
    assert field_modulus == hash_to_curve.P


def test_the_first_vector_is_that_of_the_rfc():
    # RFC 9380, J.10.1, the empty message: P.x and u[0], typed from the document.
    vector = RFC["vectors"][0]
    assert RFC["dst"] == "QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_"
    assert vector["point"][96:192] == (
        "0141ebfbdca40eb85b87142e130ab689c673cf60f1a3e98d69335266f30d9b8d4ac44c1038e9dcdd5393faf5c41fb78a"
    )
    assert vector["u"][0][0] == (
        "03dbc2cce174e91ba93cbb08f26b917f98194a2ea08d1cce75b2b9cc9f21689d80bd79b594a613d0a68eb807dfdc1cf8"
    )


@pytest.mark.parametrize(
    ("dst", "vector"), ALL, ids=lambda value: value["message"][:16] if isinstance(value, dict) else ""
)
def test_vectors(dst, vector):
    message = bytes.fromhex(vector["message"])
    u = [[c.to_bytes(48, "big").hex() for c in element] for element in hash_to_curve.hash_to_field(message, dst)]
    assert u == vector["u"]
    assert hash_to_curve.hash_to_g2(message, dst).hex() == vector["point"]
    assert hash_to_curve.hints(message, dst).hex() == vector["hints"]


@settings(max_examples=5, deadline=None)
@given(st.binary(max_size=200), st.binary(min_size=1, max_size=60))
def test_any_message_under_any_tag_as_py_ecc_hashes_it(message, dst):
    assert hash_to_curve.hash_to_g2(message, dst) == by_py_ecc(message, dst)


@settings(max_examples=50, deadline=None)
@given(digests)
def test_any_digest_as_blspy_hashes_it(digest):
    # The secret key one signs with the hash itself.
    one = PrivateKey.from_bytes((1).to_bytes(32, "big"))
    signature = bytes(PopSchemeMPL.sign(one, digest))
    assert hash_to_curve.hash_to_g2(digest)[:96] == bytes([signature[0] & 0x1F]) + signature[1:]


@settings(max_examples=50, deadline=None)
@given(digests)
def test_hints_prove_the_map(digest):
    """Each root is of the RFC's sign over the first candidate for x that has one; each inverse is that of its norm."""
    hints = hash_to_curve.hints(digest)
    assert len(hints) == hash_to_curve.HINT_BYTES == 480
    for index, u in enumerate(hash_to_field_FQ2(digest, 2, hash_to_curve.DST, sha256)):
        root = bytearray(hints[96 * index : 96 * index + 96])
        second = bool(root[0] & hash_to_curve.SECOND_CANDIDATE)
        root[0] &= ~hash_to_curve.SECOND_CANDIDATE & 0xFF
        c1, c0 = int.from_bytes(root[:48], "big"), int.from_bytes(root[48:], "big")
        assert c0 < field_modulus and c1 < field_modulus
        y, v = FQ2([c0, c1]), ISO_3_Z * u**2
        x = -ISO_3_B / ISO_3_A * (FQ2.one() + FQ2.one() / (v**2 + v))
        if second:
            x *= v
        assert y**2 == x**3 + ISO_3_A * x + ISO_3_B
        assert y.sgn0 == u.sgn0
        d = v + FQ2.one() if second else v**2 + v
        assert x * d == -ISO_3_B / ISO_3_A * (v**2 + v + FQ2.one())
        denominator = d * ((v**2 + v + FQ2.one()) * 253 - d * 360)
        norm = sum(int(c) ** 2 for c in denominator.coeffs)
        inverse = int.from_bytes(hints[192 + 48 * index : 240 + 48 * index], "big")
        assert inverse < field_modulus and norm * inverse % field_modulus == hash_to_curve.MONTGOMERY % field_modulus


@settings(max_examples=3, deadline=None)
@given(digests)
def test_the_hinted_point_clears_the_cofactor(digest):
    """b = z·P + P - 2ψ(P) by py_ecc's points: z·b + ψ(b - 2P) - P + 4ψ²(P) is the hash, and z + ψ kills it, as all of G2."""

    def decode(encoded):
        x1, x0, y1, y0 = (int.from_bytes(encoded[at : at + 48], "big") for at in range(0, 192, 48))
        return FQ2([x0, x1]), FQ2([y0, y1]), FQ2.one()

    def psi(point):
        x, y = (FQ2([c.coeffs[0], -c.coeffs[1]]) for c in normalize(point))
        return x / FQ2([1, 1]) ** ((field_modulus - 1) // 3), y / FQ2([1, 1]) ** ((field_modulus - 1) // 2), FQ2.one()

    z = 0xD201000000010000
    images = [iso_map_G2(*optimized_swu_G2(u)) for u in hash_to_field_FQ2(digest, 2, hash_to_curve.DST, sha256)]
    p = add(*images)
    b = decode(hash_to_curve.hints(digest)[288:])
    assert eq(b, add(add(multiply(p, z), p), neg(double(psi(p)))))
    result = add(add(multiply(b, z), psi(add(b, neg(double(p))))), add(neg(p), multiply(psi(psi(p)), 4)))
    assert eq(result, hash_to_G2(digest, hash_to_curve.DST, sha256))
    assert is_inf(add(multiply(result, z), psi(result)))


def test_expand_message_has_bounds():
    assert len(hash_to_curve.expand_message_xmd(b"m", b"tag", 255 * 32)) == 8160
    with pytest.raises(ValueError, match="at most 8160 bytes"):
        hash_to_curve.expand_message_xmd(b"m", b"tag", 255 * 32 + 1)
    with pytest.raises(ValueError, match="tag of at most 255"):
        hash_to_curve.expand_message_xmd(b"m", bytes(256), 32)


def test_infinity_is_encoded_as_zcash_does():
    assert hash_to_curve.encode_point(None) == b"\x40" + bytes(191)
