"""Points of BLS12-381 that nobody may accept: on the curve but outside the prime-order subgroup, and not on the curve at all.
Computed with py_ecc, in the compressed form of blspy (Zcash's).
"""

from __future__ import annotations

from functools import cache

from py_ecc.bls.point_compression import compress_G1, compress_G2, modular_squareroot_in_FQ2
from py_ecc.optimized_bls12_381 import FQ, FQ2, b, b2, curve_order, field_modulus, is_inf, multiply

P = field_modulus
G1_INFINITY = b"\xc0" + bytes(47)
G2_INFINITY = b"\xc0" + bytes(95)


@cache
def g1_off_subgroup() -> bytes:
    """48 bytes: the first point of E1 whose order is not the group's."""
    for x in range(1, 100):
        square = FQ(x) ** 3 + b
        y = square ** ((P + 1) // 4)
        if y * y == square and not is_inf(multiply((FQ(x), y, FQ(1)), curve_order)):
            return int(compress_G1((FQ(x), y, FQ(1)))).to_bytes(48, "big")
    raise AssertionError("no such point below x = 100")


@cache
def g2_off_subgroup() -> bytes:
    """96 bytes: the first point of E2 whose order is not the group's."""
    for x in range(1, 100):
        point = FQ2((x, 0))
        y = modular_squareroot_in_FQ2(point**3 + b2)
        if y is not None and not is_inf(multiply((point, y, FQ2.one()), curve_order)):
            return b"".join(int(part).to_bytes(48, "big") for part in compress_G2((point, y, FQ2.one())))
    raise AssertionError("no such point below x = 100")


@cache
def g1_off_curve() -> bytes:
    """48 bytes whose x belongs to no point of E1."""
    for x in range(1, 100):
        square = FQ(x) ** 3 + b
        if (square ** ((P + 1) // 4)) ** 2 != square:
            return (x | 1 << 383).to_bytes(48, "big")
    raise AssertionError("no such x below 100")


@cache
def g2_off_curve() -> bytes:
    """96 bytes whose x belongs to no point of E2."""
    for x in range(1, 100):
        if modular_squareroot_in_FQ2(FQ2((x, 0)) ** 3 + b2) is None:
            return (1 << 383).to_bytes(48, "big") + x.to_bytes(48, "big")
    raise AssertionError("no such x below 100")


def hints_above_modulus(hints: bytes) -> list[bytes]:
    """The six numbers of a hint, each in turn replaced by itself plus p: the same residue, other bytes."""
    altered = []
    for start in range(0, 288, 48):
        first = hints[start] & 0x80 if start in (0, 96) else 0
        number = int.from_bytes(bytes([hints[start] ^ first]) + hints[start + 1 : start + 48], "big") + P
        encoded = number.to_bytes(48, "big")
        altered.append(hints[:start] + bytes([encoded[0] | first]) + encoded[1:] + hints[start + 48 :])
    return altered
