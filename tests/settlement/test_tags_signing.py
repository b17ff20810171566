from hashlib import sha256

import pytest

from settlement import signing
from settlement.signing import EMPTY, Authorisation, Domain, node_id
from settlement.tags import H, tag, u16le, u32le, u64le
from tests.settlement import kit, naive


def test_tags_are_as_the_protocol_says() -> None:
    assert tag("checkpoint") == sha256(b"pouw/v1/checkpoint").digest()
    assert H("x", b"a", b"bc") == sha256(sha256(b"pouw/v1/x").digest() + b"abc").digest()
    assert (u16le(258), u32le(258), u64le(258)) == (naive.le(258, 2), naive.le(258, 4), naive.le(258, 8))


@pytest.mark.parametrize("value", [-1, 2**64])
def test_integers_that_do_not_fit_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        u64le(value)


def test_a_domain_has_two_hashes_of_32_bytes() -> None:
    with pytest.raises(ValueError, match="program must be 32 bytes, got 31"):
        Domain(bytes(32), bytes(31))


def test_the_authorisation_digest_leaves_out_time_and_crc_only() -> None:
    record = bytes(range(160))
    digest = signing.authorisation_digest(kit.DOMAIN, 9, record)
    for index in range(160):
        changed = bytearray(record)
        changed[index] ^= 1
        same = signing.authorisation_digest(kit.DOMAIN, 9, bytes(changed)) == digest
        assert same == (2 <= index < 6 or index >= 156)
    assert signing.authorisation_digest(kit.DOMAIN, 10, record) != digest
    assert signing.authorisation_digest(Domain(kit.DOMAIN.program, kit.DOMAIN.genesis), 9, record) != digest


def test_the_rpc_digest_is_over_canonical_params_without_auth() -> None:
    one = signing.rpc_digest(kit.DOMAIN, "renewLease", {"taskId": "00", "leaseId": 4}, 1, 9)
    two = signing.rpc_digest(kit.DOMAIN, "renewLease", {"leaseId": 4, "auth": {"x": 1}, "taskId": "00"}, 1, 9)
    params = sha256(b'{"leaseId":4,"taskId":"00"}').digest()
    parts = (kit.DOMAIN.genesis, kit.DOMAIN.program, sha256(b"renewLease").digest(), params, naive.le(1), naive.le(9))
    assert one == two == naive.tagged("rpc", *parts)
    assert one != signing.rpc_digest(kit.DOMAIN, "renewLease", {"taskId": "00", "leaseId": 4}, 2, 9)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53])
def test_params_without_canonical_form_are_refused(value: float) -> None:
    with pytest.raises(ValueError):
        signing.rpc_digest(kit.DOMAIN, "m", {"x": value}, 1, 9)


def test_an_authorisation_round_trips_and_the_empty_one_is_zero() -> None:
    authorisation = Authorisation(kit.public_key("a"), 2**64 - 1, kit.filler("s", 64))
    assert len(authorisation.encode()) == 104
    assert Authorisation.decode(authorisation.encode()) == authorisation
    assert EMPTY.encode() == bytes(104)
    with pytest.raises(ValueError, match="104 bytes"):
        Authorisation.decode(bytes(103))


def test_signatures_bind_key_and_digest() -> None:
    digest = kit.filler("digest")
    signature = signing.sign(kit.keypair("a"), digest)
    assert signing.verify(kit.public_key("a"), digest, signature)
    assert not signing.verify(kit.public_key("b"), digest, signature)
    assert not signing.verify(kit.public_key("a"), kit.filler("other"), signature)
    assert not signing.verify(b"\xff" * 32, digest, signature), "no point of the curve"


def test_small_order_keys_sign_nothing() -> None:
    # Under the cofactored rules the neutral element as key and R, with s = 0, is a valid signature over every message.
    neutral = bytes([1]) + bytes(31)
    assert not signing.verify(neutral, kit.filler("digest"), neutral + bytes(32))


def test_the_node_id_is_20_bytes_of_the_hash() -> None:
    key = kit.public_key("a")
    assert node_id(key) == sha256(key).digest()[:20]
    with pytest.raises(ValueError, match="public key must be 32 bytes"):
        node_id(key[:31])
