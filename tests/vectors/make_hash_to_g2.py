"""Writes hash_to_g2.json and hash_to_g2_rfc9380.json, the vectors that the Python and the Rust hash to G2 share.

Points come from py_ecc, an implementation of neither. Run it as ``./run python tests/vectors/make_hash_to_g2.py``; it only
needs to run again when the layout of the hints changes.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from py_ecc.bls.hash_to_curve import hash_to_field_FQ2, hash_to_G2
from py_ecc.optimized_bls12_381 import FQ2, add, normalize
from py_ecc.optimized_bls12_381.optimized_swu import iso_map_G2, optimized_swu_G2

from settlement import hash_to_curve

HERE = Path(__file__).parent
RFC_DST = b"QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_"
RFC_MESSAGES = [  # RFC 9380, J.10.1
    b"",
    b"abc",
    b"abcdef0123456789",
    b"q128_" + b"q" * 128,
    b"a512_" + b"a" * 512,
]


def number(value: int) -> str:
    return value.to_bytes(48, "big").hex()


def element(value: FQ2) -> list[str]:
    """c0 and c1."""
    return [number(int(c)) for c in value.coeffs]


def point(value: Any) -> str:
    return "".join(c for coordinate in normalize(value) for c in reversed(element(coordinate)))


def vector(message: bytes, dst: bytes) -> dict[str, Any]:
    u = hash_to_field_FQ2(message, 2, dst, sha256)
    return {
        "message": message.hex(),
        "u": [element(x) for x in u],
        "hints": hash_to_curve.hints(message, dst).hex(),
        "point": point(hash_to_G2(message, dst, sha256)),
    }


def exceptional() -> dict[str, str]:
    """u0 = u1 = 0, which no known message hashes to: the hints, and the point of E2 that zero maps to."""
    x, y, z = optimized_swu_G2(FQ2.zero())
    root = bytes.fromhex("".join(reversed(element(y / z))))
    z_constant = FQ2([-2, -1])
    w = -z_constant / (FQ2.one() + z_constant)
    m = (w + FQ2.one()) * 253 - w * 360
    c0, c1 = (int(c) for c in (w * m).coeffs)
    inverse = number(pow(c0 * c0 + c1 * c1, -1, hash_to_curve.P) * hash_to_curve.MONTGOMERY % hash_to_curve.P)
    image = iso_map_G2(x, y, z)
    total = tuple(tuple(int(c) for c in coordinate.coeffs) for coordinate in normalize(add(image, image)))
    multiple = hash_to_curve.encode_point(hash_to_curve._clearing_multiple(total))
    return {"hints": (root + root).hex() + inverse * 2 + multiple.hex(), "image": point(image)}


def products() -> list[dict[str, str]]:
    """Products of the base field: its ends, limbs at the ends of their range, and hashed numbers."""
    p = hash_to_curve.P
    lowest, highest = (sum(limb << 30 * k for k in range(12)) for limb in (2**29, 2**29 - 1))
    ends = [0, 1, 2, p - 1, p - 2, p // 2, p // 2 + 1, 2**380, lowest, highest]
    hashed = [int.from_bytes(sha256(b"%d" % k).digest() * 2, "big") % p for k in range(20)]
    pairs = [(a, b) for a in ends for b in ends] + list(zip(hashed[::2], hashed[1::2], strict=True))
    return [{"a": number(a), "b": number(b), "ab": number(a * b % p)} for a, b in pairs]


def main() -> None:
    messages = [sha256(b"hash to G2, vector %d" % k).digest() for k in range(24)] + [bytes(32), b"\xff" * 32]
    suite = {
        "dst": hash_to_curve.DST.decode(),
        "vectors": [vector(m, hash_to_curve.DST) for m in messages],
        "exceptional": exceptional(),
        "products": products(),
    }
    rfc = {"dst": RFC_DST.decode(), "vectors": [vector(m, RFC_DST) for m in RFC_MESSAGES]}
    for name, content in (("hash_to_g2.json", suite), ("hash_to_g2_rfc9380.json", rfc)):
        (HERE / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
