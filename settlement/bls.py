"""BLS12-381 signatures: the one door to blspy, and only to its PopSchemeMPL (draft-irtf-cfrg-bls-signature, minimal
public keys: keys in G1, signatures in G2).

What is signed is always a 32-byte digest of a typed message. A proof of possession is a signature over a digest that
names key, authority and program (see ``settlement.messages``); blspy's own ``pop_prove`` binds the key alone and is not
used. Points at infinity are refused, as key and as signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_bytes

from blspy import AugSchemeMPL, G1Element, G2Element, PopSchemeMPL, PrivateKey

from settlement.hash_to_curve import P, hints

__all__ = [
    "BlsError",
    "PublicKey",
    "SecretKey",
    "aggregate",
    "aggregate_public_keys",
    "compressed_public_key",
    "fast_aggregate_verify",
    "hints",
    "uncompressed_public_key",
    "verify",
]

PUBLIC_KEY_BYTES = 48
UNCOMPRESSED_PUBLIC_KEY_BYTES = 96
SIGNATURE_BYTES = 96
DIGEST_BYTES = 32
MIN_SEED_BYTES = 32

G1_INFINITY_UNCOMPRESSED = b"\x40" + bytes(95)

_COMPRESSED = 0x80
_INFINITY = 0x40
_LARGER_Y = 0x20


class BlsError(ValueError):
    """Bytes that are no key, no signature or no digest, or that this project refuses as one."""


def _digest(digest: bytes) -> bytes:
    if len(digest) != DIGEST_BYTES:
        raise BlsError(f"BLS signs a digest of {DIGEST_BYTES} bytes, not {len(digest)} bytes")
    return bytes(digest)


def _public_key(data: bytes) -> G1Element:
    if len(data) == UNCOMPRESSED_PUBLIC_KEY_BYTES:
        data = compressed_public_key(data)
    if len(data) != PUBLIC_KEY_BYTES:
        raise BlsError(
            f"a BLS public key has {PUBLIC_KEY_BYTES} bytes (G1, compressed) or twice as many, not {len(data)}"
        )
    if data[0] & _INFINITY:
        raise BlsError("the point at infinity is no public key")
    try:
        key = G1Element.from_bytes(bytes(data))
    except (ValueError, RuntimeError) as error:
        raise BlsError(f"{data.hex()} is no public key: not a canonical point of G1 ({error})") from error
    return key


def _signature(data: bytes) -> G2Element:
    if len(data) != SIGNATURE_BYTES:
        raise BlsError(f"a BLS signature has {SIGNATURE_BYTES} bytes (G2, compressed), not {len(data)}")
    if data[0] & _INFINITY:
        raise BlsError("the point at infinity is no signature")
    try:
        signature = G2Element.from_bytes(bytes(data))
    except (ValueError, RuntimeError) as error:
        raise BlsError(f"{data.hex()} is no signature: not a canonical point of G2 ({error})") from error
    return signature


class PublicKey(bytes):
    """The 48 compressed bytes of a valid key. Raises BlsError for any others; takes 96 uncompressed ones, too."""

    def __new__(cls, data: bytes) -> PublicKey:
        return super().__new__(cls, bytes(_public_key(data)))

    def uncompressed(self) -> bytes:
        """x, y: 96 bytes big-endian, as the settlement program keeps it."""
        return uncompressed_public_key(self)


class SecretKey:
    """A BLS secret key. Its repr does not show it; :meth:`to_bytes` does."""

    __slots__ = ("_key", "public_key")

    public_key: PublicKey

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.public_key = PublicKey(bytes(key.get_g1()))

    @classmethod
    def generate(cls) -> SecretKey:
        """A new key from the operating system's randomness."""
        return cls.from_seed(token_bytes(MIN_SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> SecretKey:
        """The key that KeyGen of the BLS draft derives from ``seed``, at least 32 bytes of secret randomness."""
        if len(seed) < MIN_SEED_BYTES:
            raise BlsError(f"a BLS seed has at least {MIN_SEED_BYTES} bytes, not {len(seed)}")
        return cls(AugSchemeMPL.key_gen(bytes(seed)))

    @classmethod
    def from_bytes(cls, data: bytes) -> SecretKey:
        """The key with this scalar, 32 bytes big-endian, neither zero nor above the group's order."""
        if len(data) != 32:
            raise BlsError(f"a BLS secret key has 32 bytes, not {len(data)}")
        if not any(data):
            raise BlsError("zero is no secret key")
        try:
            return cls(PrivateKey.from_bytes(bytes(data)))
        except (ValueError, RuntimeError) as error:
            raise BlsError("this is no BLS secret key: the number is not below the group's order") from error

    def to_bytes(self) -> bytes:
        return bytes(self._key)

    def sign(self, digest: bytes) -> bytes:
        """The signature of a 32-byte digest: 96 bytes, compressed."""
        return bytes(PopSchemeMPL.sign(self._key, _digest(digest)))

    def __repr__(self) -> str:
        return f"SecretKey(public_key={self.public_key.hex()})"


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether ``public_key`` (48 bytes or, uncompressed, 96) signed ``digest``. Raises BlsError for bytes that are no key, digest or signature."""
    return bool(PopSchemeMPL.verify(_public_key(public_key), _digest(digest), _signature(signature)))


def aggregate(signatures: Sequence[bytes]) -> bytes:
    """The sum of signatures: 96 bytes, compressed. At least one; a sum at infinity is refused."""
    if not signatures:
        raise BlsError("no signatures to aggregate")
    total = bytes(PopSchemeMPL.aggregate([_signature(signature) for signature in signatures]))
    if total[0] & _INFINITY:
        raise BlsError("these signatures sum up to the point at infinity")
    return total


def aggregate_public_keys(public_keys: Sequence[bytes]) -> bytes:
    """The sum of public keys: 48 bytes, compressed. At least one; a sum at infinity is refused."""
    if not public_keys:
        raise BlsError("no public keys to aggregate")
    total = G1Element()
    for public_key in public_keys:
        total += _public_key(public_key)
    if bytes(total)[0] & _INFINITY:
        raise BlsError("these public keys sum up to the point at infinity")
    return bytes(total)


def fast_aggregate_verify(public_keys: Sequence[bytes], digest: bytes, signature: bytes) -> bool:
    """Whether all of ``public_keys`` signed ``digest`` in the aggregate ``signature``.

    Sound only for keys whose proofs of possession were verified: without one, whoever chooses a key last can cancel the
    others (a rogue key). Raises BlsError for malformed bytes and for keys that sum up to infinity.
    """
    total = G1Element.from_bytes(aggregate_public_keys(public_keys))
    return bool(PopSchemeMPL.verify(total, _digest(digest), _signature(signature)))


def uncompressed_public_key(public_key: bytes) -> bytes:
    """The 96 bytes x, y (big-endian) that the settlement program keeps, from the 48 compressed ones."""
    public_key = bytes(_public_key(public_key))
    x = int.from_bytes(bytes([public_key[0] & 0x1F]) + public_key[1:], "big")
    y = pow(x**3 + 4, (P + 1) // 4, P)  # a root exists: blspy accepted the point
    if (y > (P - 1) // 2) != bool(public_key[0] & _LARGER_Y):
        y = P - y
    return x.to_bytes(48, "big") + y.to_bytes(48, "big")


def compressed_public_key(uncompressed: bytes) -> bytes:
    """The inverse of :func:`uncompressed_public_key`. Raises BlsError unless the point is a valid key."""
    if len(uncompressed) != UNCOMPRESSED_PUBLIC_KEY_BYTES:
        raise BlsError(f"an uncompressed public key has {UNCOMPRESSED_PUBLIC_KEY_BYTES} bytes, not {len(uncompressed)}")
    if uncompressed[0] & _INFINITY:
        raise BlsError("the point at infinity is no public key")
    y = int.from_bytes(uncompressed[48:], "big")
    flags = _COMPRESSED | (_LARGER_Y if y > (P - 1) // 2 else 0)
    compressed = bytes([uncompressed[0] | flags]) + bytes(uncompressed[1:48])
    if uncompressed[0] & 0xE0 or uncompressed_public_key(compressed) != bytes(uncompressed):
        raise BlsError(f"{uncompressed.hex()} is no public key: not a canonical point of the curve")
    return compressed
