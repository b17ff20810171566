"""Hash to the G2 group of BLS12-381 (RFC 9380), and the hints with which the settlement program repeats it.

Solana has syscalls for additions and pairings on BLS12-381 but none that hashes to the curve, so the program hashes by
itself. Square roots and inverses are what costs there; the poster computes them here and sends them as hints, which the
program only checks by multiplication. A hint can make the program refuse, never make it hash to another point.

Numbers are Python ints below ``P``; an element of Fp2 is a pair ``(c0, c1)`` meaning c0 + c1·i with i² = -1.
"""

from __future__ import annotations

from hashlib import sha256

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
"""Modulus of the base field of BLS12-381."""

DST = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
"""Domain separation tag of the proof-of-possession suite (draft-irtf-cfrg-bls-signature), blspy's PopSchemeMPL."""

HINT_BYTES = 480
"""Two square roots of 96 bytes, two inverses of 48 and a point of 192; see :func:`hints`."""

MONTGOMERY = 2**390
"""What the inverses are multiplied by, since the program reckons in Montgomery form."""

SECOND_CANDIDATE = 0x80
"""Bit of a root's first byte: the root belongs to the second of the map's two candidates for x."""

Fp2 = tuple[int, int]
Point = tuple[Fp2, Fp2] | None  # None is the point at infinity

_A: Fp2 = (0, 240)  # E2': y² = x³ + A·x + B, the curve 3-isogenous to E2: y² = x³ + 4(1 + i); RFC 9380, 8.8.2
_B: Fp2 = (1012, 1012)
_Z: Fp2 = (P - 2, P - 1)
_X_ABSOLUTE = 0xD201000000010000  # |x| of the curve's parameter x < 0
_INVERSE_2 = (P + 1) // 2


def _add(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] + b[0]) % P, (a[1] + b[1]) % P


def _sub(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] - b[0]) % P, (a[1] - b[1]) % P


def _mul(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] * b[0] - a[1] * b[1]) % P, (a[0] * b[1] + a[1] * b[0]) % P


def _scale(a: Fp2, k: int) -> Fp2:
    return a[0] * k % P, a[1] * k % P


def _neg(a: Fp2) -> Fp2:
    return -a[0] % P, -a[1] % P


def _conjugate(a: Fp2) -> Fp2:
    return a[0], -a[1] % P


def _norm(a: Fp2) -> int:
    return (a[0] * a[0] + a[1] * a[1]) % P


def _inverse(a: Fp2) -> Fp2:
    k = pow(_norm(a), -1, P)
    return a[0] * k % P, -a[1] * k % P


def _sqrt(a: Fp2) -> Fp2 | None:
    """A square root of ``a``, or None if it has none; the complex method, for P ≡ 3 (mod 4)."""
    norm_root = pow(_norm(a), (P + 1) // 4, P)
    if norm_root * norm_root % P != _norm(a):
        return None
    for sign in (1, -1):
        half = (a[0] + sign * norm_root) * _INVERSE_2 % P
        c0 = pow(half, (P + 1) // 4, P)
        if c0 * c0 % P != half:
            continue
        root = (0, pow(-a[0] % P, (P + 1) // 4, P)) if c0 == 0 else (c0, a[1] * pow(2 * c0, -1, P) % P)
        if _mul(root, root) == a:
            return root
    return None


def _sign(a: Fp2) -> int:
    """sgn0 of RFC 9380, 4.1, for extension degree 2."""
    return a[0] & 1 if a[0] else a[1] & 1


def expand_message_xmd(message: bytes, dst: bytes, length: int) -> bytes:
    """``length`` uniform bytes by SHA-256 (RFC 9380, 5.3.1). Raises ValueError beyond its bounds."""
    blocks = -(-length // 32)
    if blocks > 255 or len(dst) > 255:
        raise ValueError(
            f"expand_message_xmd gives at most 8160 bytes under a tag of at most 255, not {length} and {len(dst)}"
        )
    dst_prime = dst + bytes([len(dst)])
    first = sha256(bytes(64) + message + length.to_bytes(2, "big") + b"\0" + dst_prime).digest()
    out = [sha256(first + b"\1" + dst_prime).digest()]
    for index in range(2, blocks + 1):
        mixed = bytes(a ^ b for a, b in zip(first, out[-1], strict=True))
        out.append(sha256(mixed + bytes([index]) + dst_prime).digest())
    return b"".join(out)[:length]


def hash_to_field(message: bytes, dst: bytes = DST) -> tuple[Fp2, Fp2]:
    """The two field elements u0, u1 that ``message`` hashes to (RFC 9380, 5.2)."""
    uniform = expand_message_xmd(message, dst, 256)
    e = [int.from_bytes(uniform[k : k + 64], "big") % P for k in range(0, 256, 64)]
    return (e[0], e[1]), (e[2], e[3])


def _map(u: Fp2) -> tuple[Fp2, Fp2, bool]:
    """Simplified SWU (RFC 9380, 6.6.2): a point (x, y) of E2', and whether x is the second candidate."""
    v = _mul(_Z, _mul(u, u))
    w = _add(_mul(v, v), v)
    c = _mul(_neg(_B), _inverse(_A))
    x = _mul(c, _add((1, 0), _inverse(w))) if w != (0, 0) else _mul(_neg(c), _inverse(_Z))
    y = _sqrt(_curve(x))
    second = y is None
    if y is None:
        x = _mul(v, x)
        y = _sqrt(_curve(x))
        assert y is not None  # Z is no square: exactly one of the two candidates is on the curve
    return x, y if _sign(y) == _sign(u) else _neg(y), second


def _curve(x: Fp2) -> Fp2:
    return _add(_mul(_add(_mul(x, x), _A), x), _B)


def _isogeny(x: Fp2, y: Fp2) -> Point:
    """The 3-isogeny E2' → E2 (RFC 9380, 8.8.2 and E.3), in Vélu's form around its kernel's x = -6 + 6i."""
    s = _add(x, (6, P - 6))
    if s == (0, 0):
        return None
    w = _inverse(s)
    w2 = _mul(w, w)
    x_out = _add(_add(x, _mul((0, 48), w)), _mul((16, 16), w2))
    slope = _sub(_sub((1, 0), _mul((0, 48), w2)), _mul((32, 32), _mul(w2, w)))
    return _scale(x_out, pow(9, -1, P)), _scale(_mul(y, slope), -pow(27, -1, P))


def _add_points(a: Point, b: Point) -> Point:
    """Affine addition on E2, doubling and infinity included."""
    if a is None or b is None:
        return b if a is None else a
    (x1, y1), (x2, y2) = a, b
    if x1 == x2:
        if y1 != y2 or y1 == (0, 0):
            return None
        slope = _mul(_scale(_mul(x1, x1), 3), _inverse(_scale(y1, 2)))
    else:
        slope = _mul(_sub(y2, y1), _inverse(_sub(x2, x1)))
    x = _sub(_sub(_mul(slope, slope), x1), x2)
    return x, _sub(_mul(slope, _sub(x1, x)), y1)


def _negate(a: Point) -> Point:
    return None if a is None else (a[0], _neg(a[1]))


def _times_x_absolute(a: Point) -> Point:
    out: Point = a
    for bit in bin(_X_ABSOLUTE)[3:]:
        out = _add_points(out, out)
        if bit == "1":
            out = _add_points(out, a)
    return out


def _power(a: Fp2, exponent: int) -> Fp2:
    out: Fp2 = (1, 0)
    for bit in bin(exponent)[2:]:
        out = _mul(out, out)
        if bit == "1":
            out = _mul(out, a)
    return out


_PSI_X = _inverse(_power((1, 1), (P - 1) // 3))
_PSI_Y = _inverse(_power((1, 1), (P - 1) // 2))


def _psi(a: Point) -> Point:
    """The untwist-Frobenius-twist endomorphism of E2 (RFC 9380, G.3)."""
    return None if a is None else (_mul(_conjugate(a[0]), _PSI_X), _mul(_conjugate(a[1]), _PSI_Y))


def _clearing_multiple(a: Point) -> Point:
    """b = z·a + a - 2ψa with z = -x > 0, from which one more multiplication by z clears the cofactor."""
    psi = _psi(a)
    return _add_points(_add_points(_times_x_absolute(a), a), _negate(_add_points(psi, psi)))


def _clear_cofactor(a: Point) -> Point:
    """h_eff·a = z·b + ψ(b - 2a) - a + 4ψ²a with b as above: Budroni and Pintore's z(z·a + a - ψa) - a - ψa + 2ψ²a (RFC 9380, G.3),
    ordered so that what it does to b, z + ψ, is zero on G2. So a wrong b can only lead out of G2."""
    b, twice = _clearing_multiple(a), _add_points(a, a)
    out = _add_points(_times_x_absolute(b), _psi(_add_points(b, _negate(twice))))
    return _add_points(_add_points(out, _negate(a)), _psi(_psi(_add_points(twice, twice))))


def encode_point(a: Point) -> bytes:
    """192 bytes, uncompressed, as Zcash and the IETF order them: x.c1, x.c0, y.c1, y.c0, each 48 bytes big-endian."""
    if a is None:
        return b"\x40" + bytes(191)
    return b"".join(c.to_bytes(48, "big") for coordinate in a for c in reversed(coordinate))


def _map_to_e2(message: bytes, dst: bytes) -> Point:
    """The sum of the images of both field elements: on E2, not yet in G2."""
    return _add_points(*(_isogeny(*_map(u)[:2]) for u in hash_to_field(message, dst)))


def hash_to_g2(message: bytes, dst: bytes = DST) -> bytes:
    """The point of G2 that ``message`` hashes to under ``dst`` (RFC 9380, 3): 192 bytes as in :func:`encode_point`."""
    return encode_point(_clear_cofactor(_map_to_e2(message, dst)))


def hints(message: bytes, dst: bytes = DST) -> bytes:
    """What the settlement program needs to repeat :func:`hash_to_g2`: ``HINT_BYTES`` bytes.

    For u0 and then u1, the y of the mapped point on E2' (c1, c0, each 48 bytes big-endian), with ``SECOND_CANDIDATE``
    set in its first byte where x is the second candidate. Then for each the inverse of the norm of d·m, times
    ``MONTGOMERY`` (48 bytes big-endian), where with V = Zu² and W = V² + V the candidates are x = c·(W + 1)/d, c = -B/A,
    d = W for the first and V + 1 for the second, and m = 253(W + 1) - 360d is what the isogeny divides by. Then, with P
    the sum of both points' images on E2, the point z·P + P - 2ψ(P) (192 bytes, :func:`encode_point`).

    Raises ValueError for a message whose image meets the isogeny's kernel; none is known, and none can be found.
    """
    roots, inverses, images = bytearray(), bytearray(), []
    for u in hash_to_field(message, dst):
        x, y, second = _map(u)
        v = _mul(_Z, _mul(u, u))
        # RFC 9380's exceptional case x = B/(Z·A), for u = 0, is the first candidate at W = -Z/(1 + Z).
        w = _add(_mul(v, v), v) if v != (0, 0) else _mul(_neg(_Z), _inverse(_add((1, 0), _Z)))
        d = _add(v, (1, 0)) if second else w
        m = _sub(_scale(_add(w, (1, 0)), 253), _scale(d, 360))
        norm = _norm(_mul(d, m))
        if norm == 0:
            raise ValueError(f"no hints exist for the message {message.hex()}: it maps into the kernel of the isogeny")
        root = bytearray(y[1].to_bytes(48, "big") + y[0].to_bytes(48, "big"))
        root[0] |= SECOND_CANDIDATE * second
        roots += root
        inverses += (pow(norm, -1, P) * MONTGOMERY % P).to_bytes(48, "big")
        images.append(_isogeny(x, y))
    return bytes(roots + inverses) + encode_point(_clearing_multiple(_add_points(*images)))
