"""Hints and points that lie, sent to the real program through `register_validator`, which verifies a proof of possession: the program must
refuse every one, each for its reason. A hint may make a call fail, never make it accept another point.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

import pytest

from settlement import bls, hash_to_curve, messages
from settlement.hash_to_curve import SECOND_CANDIDATE, Fp2, P
from tests.program.kit import Chain, Validator, refuses, validator

NOT_CANONICAL, SIGN, INVERSE, ROOT = "NonCanonicalHint", "WrongHintSign", "WrongHintInverse", "WrongHintRoot"
MULTIPLE = "WrongHintMultiple"


def number(value: int) -> bytes:
    return value.to_bytes(48, "big")


def candidate(u: Fp2, second: bool) -> tuple[Fp2, Fp2]:
    """The map's candidate for x, and the denominators d·m that the inverse is of."""
    h = hash_to_curve
    v = h._mul(h._Z, h._mul(u, u))
    w = h._add(h._mul(v, v), v)
    d = h._add(v, (1, 0)) if second else w
    m = h._sub(h._scale(h._add(w, (1, 0)), 253), h._scale(d, 360))
    c = h._mul(h._neg(h._B), h._inverse(h._A))
    return h._mul(h._mul(c, h._add(w, (1, 0))), h._inverse(d)), h._mul(d, m)


def forged_candidate(digest: bytes, root: int, flags: list[bool]) -> tuple[Fp2, int]:
    """What the best liar sends for the candidate that does not exist: a root of Z·g(x), of the right sign, since g(x) has none; and the
    inverse that the program expects for the lie."""
    h = hash_to_curve
    u = h.hash_to_field(digest)
    x, denominators = candidate(u[root], not flags[root])
    assert h._sqrt(h._curve(x)) is None
    y = h._sqrt(h._mul(h._Z, h._curve(x)))
    assert y is not None
    inverse = pow(h._norm(denominators), -1, P) * h.MONTGOMERY % P
    return y if h._sign(y) == h._sign(u[root]) else h._neg(y), inverse


def altered(digest: bytes, others: bytes, rng: random.Random) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    """Altered hints for `digest`, and the errors that may answer them. `others` are another message's hints."""
    hints = hash_to_curve.hints(digest)
    flags = [bool(hints[at] & SECOND_CANDIDATE) for at in (0, 96)]
    for root, at in enumerate((0, 96)):
        flag = SECOND_CANDIDATE * flags[root]
        c1, c0 = (
            int.from_bytes(hints[at : at + 48], "big") - (flag << 376),
            int.from_bytes(hints[at + 48 : at + 96], "big"),
        )

        def put(c1: int, c0: int, flag: int, at: int = at) -> bytes:
            return hints[:at] + number(c1 | flag << 376) + number(c0) + hints[at + 96 :]

        # The same root in other bytes; plus P, a number has the other parity.
        yield "c0 + P", put(c1, c0 + P, flag), (NOT_CANONICAL,)
        yield "c1 + P", put(c1 + P, c0, flag), (NOT_CANONICAL,)
        yield "both + P", put(c1 + P, c0 + P, flag), (NOT_CANONICAL,)
        yield "negated, with the parity of the true root", put(P - c1, 2 * P - c0, flag), (NOT_CANONICAL,)
        yield "both negated + P", put(2 * P - c1, 2 * P - c0, flag), (NOT_CANONICAL,)
        yield "P", put(c1, P, flag), (NOT_CANONICAL,)
        yield "P + 1", put(P + 1, c0, flag), (NOT_CANONICAL,)
        yield "P + 2", put(c1, P + 2, flag), (NOT_CANONICAL,)
        yield "bit 0x40", put(c1, c0, flag | 0x40), (NOT_CANONICAL,)
        yield "bit 0x20", put(c1, c0, flag | 0x20), (NOT_CANONICAL,)
        # The other root.
        yield "negated", put(P - c1, P - c0, flag), (SIGN,)
        # No roots at all.
        yield "conjugate", put(P - c1, c0, flag), (ROOT,)
        yield "negated conjugate", put(c1, P - c0, flag), (SIGN,)
        yield "times i", put(c0, P - c1, flag), (SIGN, ROOT)
        yield "coordinates swapped", put(c0, c1, flag), (SIGN, ROOT)
        yield "zero", put(0, 0, flag), (SIGN, ROOT)
        yield "one", put(0, 1, flag), (SIGN, ROOT)
        yield "P - 1", put(P - 1, P - 1, flag), (SIGN, ROOT)
        yield "another message's root", hints[:at] + others[at : at + 96] + hints[at + 96 :], (SIGN, ROOT, INVERSE)
        for _ in range(3):
            yield (
                "random, of the right sign",
                put(rng.randrange(P), rng.randrange(P // 2) * 2 + (c0 & 1), flag),
                (ROOT,),
            )
            bit = rng.randrange(1, 380)
            yield f"bit {bit} flipped", put(c1, c0 ^ 1 << bit, flag), (ROOT, NOT_CANONICAL)
            yield f"bit {bit} of c1 flipped", put(c1 ^ 1 << bit, c0, flag), (ROOT, NOT_CANONICAL)
        # The other candidate.
        other_flag = flag ^ SECOND_CANDIDATE
        y, inverse = forged_candidate(digest, root, flags)
        yield "flag flipped", put(c1, c0, other_flag), (INVERSE,)

        def put_inverse(altered: bytes, value: int, at: int = 192 + 48 * root) -> bytes:
            return altered[:at] + number(value) + altered[at + 48 :]

        yield "flag flipped with its inverse", put_inverse(put(c1, c0, other_flag), inverse), (ROOT,)
        yield "flag, inverse and a root of Z·g(x)", put_inverse(put(y[1], y[0], other_flag), inverse), (ROOT,)
        inverse = int.from_bytes(hints[192 + 48 * root : 240 + 48 * root], "big")
        for name, value in {
            "zero": 0,
            "one": 1,
            "negated": P - inverse,
            "doubled": 2 * inverse % P,
            "inverted back": pow(inverse, -1, P),
            "not in Montgomery form": inverse * pow(hash_to_curve.MONTGOMERY, -1, P) % P,
            "random": rng.randrange(P),
        }.items():
            yield f"inverse {name}", put_inverse(hints, value), (INVERSE,)
        for name, value in {"+ P": inverse + P, "P": P, "P + 1": P + 1, "all ones": 2**384 - 1}.items():
            yield f"inverse {name}", put_inverse(hints, value), (NOT_CANONICAL,)
    yield "inverses swapped", hints[:192] + hints[240:288] + hints[192:240] + hints[288:], (INVERSE,)
    yield "another message's inverses", hints[:192] + others[192:288] + hints[288:], (INVERSE,)
    yield "another message's hints", others, (SIGN, INVERSE, ROOT)
    yield "roots swapped", hints[96:192] + hints[:96] + hints[192:], (SIGN, INVERSE, ROOT)
    yield "nothing", bytes(480), (SIGN, INVERSE, ROOT)
    yield "all ones", b"\xff" * 480, (NOT_CANONICAL,)
    for _ in range(4):
        yield "random bytes", rng.randbytes(480), (NOT_CANONICAL, SIGN, INVERSE, ROOT)
    yield from altered_multiples(digest, others, rng)


def altered_multiples(digest: bytes, others: bytes, rng: random.Random) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    """The point that clears the cofactor, altered. Any other point of E2 leads out of G2, unless the difference lies in G2."""
    h = hash_to_curve
    hints = h.hints(digest)
    image = h._map_to_e2(digest, h.DST)
    multiple = h._clearing_multiple(image)
    assert image is not None and multiple is not None and h.encode_point(multiple) == hints[288:]
    x, y = (int.from_bytes(hints[at : at + 48], "big") for at in (288, 384))
    for name, point in {
        "infinity": None,
        "negated": h._negate(multiple),
        "doubled": h._add_points(multiple, multiple),
        "the message's point on E2": image,
        "twice that, where psi would be given infinity": h._add_points(image, image),
        "moved by that": h._add_points(multiple, image),
        "psi of it": h._psi(multiple),
        "without psi": h._add_points(h._times_x_absolute(image), image),
        "the first multiple as RFC 9380 orders it": h._add_points(multiple, h._psi(image)),
    }.items():
        yield f"multiple: {name}", hints[:288] + h.encode_point(point), (MULTIPLE,)
    for name, encoded in {
        "another message's": others[288:],
        "nothing": bytes(192),
        "all ones": b"\xff" * 192,
        "random": rng.randbytes(192),
        "x.c1 + P": number(x + P) + hints[336:],
        "y.c1 + P": hints[288:384] + number(y + P) + hints[432:],
        "marked as compressed": bytes([hints[288] | 0x80]) + hints[289:],
        "marked as infinity": bytes([hints[288] | 0x40]) + hints[289:],
        "a bit of x": hints[288:383] + bytes([hints[383] ^ 1]) + hints[384:],
        "a bit of y": hints[288:479] + bytes([hints[479] ^ 1]),
        "x and y swapped": hints[384:480] + hints[288:384],
    }.items():
        yield f"multiple: {name}", hints[:288] + encoded, (MULTIPLE,)


def proof_digest(chain: Chain, new: Validator) -> bytes:
    return messages.proof_of_possession_digest(chain.domain, bytes(new.authority.pubkey()), new.secret.public_key)


@pytest.fixture(scope="module")
def chain() -> Chain:
    """No test here changes it: every transaction is refused, but for those that prove that the same registration passes."""
    ready = Chain.new()
    ready.initialize()
    ready.grow_registry()
    return ready


@pytest.mark.parametrize("seed", range(100, 104))  # their messages have both candidates in both places
def test_altered_hints_are_refused(chain: Chain, seed: int) -> None:
    new = validator(seed)
    digest = proof_digest(chain, new)
    kinds = 0
    for name, hints, reasons in altered(digest, hash_to_curve.hints(bytes(32)), random.Random(seed)):
        assert hints != hash_to_curve.hints(digest), name
        try:
            with refuses(*reasons):
                chain.send(chain.registration(new, hints=hints), signers=[new.authority])
        except AssertionError as error:
            raise AssertionError(f"hints altered thus: {name}") from error
        kinds += 1
    assert kinds >= 110
    chain.register(new)


def test_a_multiple_moved_within_the_subgroup_changes_nothing(chain: Chain) -> None:
    """z + psi is zero on G2, so this lie leads to the same point: it must not help a wrong signature, and does not hurt a right one."""
    h, new = hash_to_curve, validator(104)
    digest = proof_digest(chain, new)
    moved = h._add_points(
        h._clearing_multiple(h._map_to_e2(digest, h.DST)), h._clear_cofactor(h._map_to_e2(bytes(32), h.DST))
    )
    hints = h.hints(digest)[:288] + h.encode_point(moved)
    with refuses("BadProofOfPossession"):
        forged = chain.registration(new, hints=hints, proof_of_possession=new.secret.sign(bytes(32)))
        chain.send(forged, signers=[new.authority])
    chain.send(chain.registration(new, hints=hints), signers=[new.authority])


def test_the_seeds_cover_both_candidates_in_both_places(chain: Chain) -> None:
    found = set()
    for seed in range(100, 104):
        hints = hash_to_curve.hints(proof_digest(chain, validator(seed)))
        found |= {(at, bool(hints[at] & SECOND_CANDIDATE)) for at in (0, 96)}
    assert len(found) == 4


def off_subgroup_g1() -> bytes:
    for x in count(1):
        y = pow(x**3 + 4, (P + 1) // 4, P)
        if y * y % P == (x**3 + 4) % P:
            return bytes([0x80 | (0x20 if y > P // 2 else 0)]) + x.to_bytes(47, "big")
    raise AssertionError


def off_subgroup_g2() -> bytes:
    for x in count(1):
        y = hash_to_curve._sqrt(((x**3 + 4) % P, 4))
        if y is not None:
            return bytes([0x80 | (0x20 if y[1] > P // 2 else 0)]) + bytes(47) + number(x)
    raise AssertionError


INFINITY_G1, INFINITY_G2 = b"\xc0" + bytes(47), b"\xc0" + bytes(95)


@pytest.mark.parametrize(
    ("name", "key", "reason"),
    [
        ("infinity", INFINITY_G1, "BlsKeyAtInfinity"),
        ("infinity with a rest", INFINITY_G1[:47] + b"\1", "BlsKeyAtInfinity"),
        ("off the subgroup", off_subgroup_g1(), "BadBlsKey"),
        ("x at P + 1", number(P + 1 | 1 << 383), "BadBlsKey"),
        ("not marked as compressed", bytes(48), "BadBlsKey"),
    ],
)
def test_points_that_are_no_keys_are_refused(chain: Chain, name: str, key: bytes, reason: str) -> None:
    new = validator(110)
    with refuses(reason):
        chain.send(chain.registration(new, bls_public_key=key), signers=[new.authority])


def test_points_that_are_no_signatures_are_refused(chain: Chain) -> None:
    new = validator(111)
    digest = proof_digest(chain, new)
    proof = new.secret.sign(digest)
    shifted = proof[:48] + number(int.from_bytes(proof[48:], "big") + P)
    flipped = bytes([proof[0] ^ 0x20]) + proof[1:]
    for forged, reason in [
        (INFINITY_G2, "SignatureAtInfinity"),
        (INFINITY_G2[:95] + b"\1", "SignatureAtInfinity"),
        (off_subgroup_g2(), "BadSignature"),
        (shifted, "BadSignature"),
        (bytes([proof[0] & 0x7F]) + proof[1:], "BadSignature"),
        (bytes(96), "BadSignature"),
        (flipped, "BadProofOfPossession"),
        (new.secret.sign(bytes(32)), "BadProofOfPossession"),
        (bls.SecretKey.from_seed(bytes(32)).sign(digest), "BadProofOfPossession"),
    ]:
        with refuses(reason):
            chain.send(chain.registration(new, proof_of_possession=forged), signers=[new.authority])
    chain.register(new)
