"""The IDL codec against an IDL of this file's own: every type and every refusal."""

import json
import struct

import pytest
from solders.pubkey import Pubkey

from settlement.borsh import Reader, decode, encode, fixed_size
from settlement.errors import IdlError
from settlement.idl import Idl

KEY = Pubkey(bytes(range(32)))
TYPES = {
    "Pair": {
        "name": "Pair",
        "type": {"kind": "struct", "fields": [{"name": "a", "type": "u8"}, {"name": "b", "type": "u32"}]},
    },
    "Tuple": {"name": "Tuple", "type": {"kind": "struct", "fields": ["u8", "bool"]}},
    "Empty": {"name": "Empty", "type": {"kind": "struct"}},
    "Alias": {"name": "Alias", "type": {"kind": "type", "alias": "u16"}},
    "Shape": {
        "name": "Shape",
        "type": {
            "kind": "enum",
            "variants": [
                {"name": "Point"},
                {"name": "Circle", "fields": [{"name": "radius", "type": "u16"}]},
                {"name": "Line", "fields": ["u8", "u8"]},
            ],
        },
    },
}
PAIR = {"defined": {"name": "Pair"}}
SHAPE = {"defined": {"name": "Shape"}}

EXACT = [
    ("u8", 255, b"\xff"),
    ("i8", -1, b"\xff"),
    ("u16", 0x1234, b"\x34\x12"),
    ("u32", 1, b"\1\0\0\0"),
    ("i64", -2, struct.pack("<q", -2)),
    ("u64", 2**64 - 1, b"\xff" * 8),
    ("u128", 1 << 127, b"\0" * 15 + b"\x80"),
    ("bool", True, b"\1"),
    ("pubkey", KEY, bytes(range(32))),
    ("string", "né", b"\3\0\0\0n\xc3\xa9"),
    ("bytes", b"ab", b"\2\0\0\0ab"),
    ({"array": ["u8", 3]}, b"abc", b"abc"),
    ({"array": ["u16", 2]}, [1, 2], b"\1\0\2\0"),
    ({"array": [{"array": ["u8", 2]}, 2]}, [b"ab", b"cd"], b"abcd"),
    ({"vec": "u8"}, b"xy", b"\2\0\0\0xy"),
    ({"vec": {"array": ["u8", 2]}}, [b"ab"], b"\1\0\0\0ab"),
    ({"option": "u8"}, None, b"\0"),
    ({"option": "u8"}, 7, b"\1\7"),
    (PAIR, {"a": 1, "b": 2}, b"\1\2\0\0\0"),
    ({"defined": {"name": "Tuple"}}, (1, False), b"\1\0"),
    ({"defined": {"name": "Empty"}}, {}, b""),
    ({"defined": {"name": "Alias"}}, 3, b"\3\0"),
    (SHAPE, "Point", b"\0"),
    (SHAPE, ("Circle", {"radius": 9}), b"\1\x09\0"),
    (SHAPE, ("Line", (1, 2)), b"\2\1\2"),
]


@pytest.mark.parametrize(("kind", "value", "wire"), EXACT)
def test_values_have_borsh_bytes_and_come_back(kind, value, wire):
    assert encode(kind, value, TYPES, "x") == wire
    reader = Reader(wire)
    assert decode(kind, reader, TYPES, "x") == value
    assert reader.remaining == b""


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("u8", 256, "x: 256 does not fit u8"),
        ("u64", -1, "x: -1 does not fit u64"),
        ("u8", True, "x: expected u8, got bool"),
        ("bool", 1, "x: expected bool, got int"),
        ("pubkey", bytes(32), "x: expected pubkey, got bytes"),
        ({"array": ["u8", 3]}, b"ab", "x: expected 3 items, got 2"),
        ({"array": ["u8", 3]}, [1, 2, 3], "x: expected bytes"),
        ({"array": ["u16", 1]}, 5, "x: expected a list"),
        (PAIR, {"a": 1}, "x: missing b"),
        (PAIR, {"a": 1, "b": 2, "c": 3}, "x: unknown c"),
        (PAIR, {"a": 1, "b": 2**32}, "x.b: "),
        (SHAPE, "Square", "x: 'Square' is not one of Point, Circle, Line"),
        ({"defined": {"name": "Nothing"}}, 1, "does not define type Nothing"),
        ("f128", 1, "expected f128"),
        ({"hashMap": ["u8", "u8"]}, {}, "is not supported"),
    ],
)
def test_a_value_that_does_not_fit_is_named(kind, value, says):
    with pytest.raises(IdlError) as caught:
        encode(kind, value, TYPES, "x")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "wire", "says"),
    [
        ("u64", b"\0" * 7, "x: needs 8 bytes, 7 are left"),
        ("bool", b"\2", "a bool is 0 or 1"),
        ({"option": "u8"}, b"\2", "a bool is 0 or 1"),
        ("string", b"\1\0\0\0\xff", "not UTF-8"),
        ("bytes", b"\xff\xff\xff\xff", "needs 4294967295 bytes"),
        (SHAPE, b"\3", "enum tag 3, but there are 3"),
        (PAIR, b"\1\2", "x.b: needs 4 bytes"),
    ],
)
def test_bytes_that_are_no_value_are_refused(kind, wire, says):
    with pytest.raises(IdlError) as caught:
        decode(kind, Reader(wire), TYPES, "x")
    assert says in str(caught.value)


PROGRAM = Pubkey(b"\7" * 32)
SYSTEM = "11111111111111111111111111111111"
SMALL = {
    "address": str(PROGRAM),
    "metadata": {"name": "small", "version": "0.1.0", "spec": "0.1.0"},
    "instructions": [
        {
            "name": "put",
            "discriminator": [1, 2, 3, 4, 5, 6, 7, 8],
            "accounts": [
                {"name": "payer", "writable": True, "signer": True},
                {"name": "inner", "accounts": [{"name": "cell", "writable": True}]},
                {"name": "extra", "optional": True},
                {"name": "system_program", "address": SYSTEM},
            ],
            "args": [{"name": "amount", "type": "u64"}, {"name": "label", "type": {"option": "string"}}],
        }
    ],
    "accounts": [{"name": "Cell", "discriminator": [8, 7, 6, 5, 4, 3, 2, 1]}],
    "events": [{"name": "Put", "discriminator": [9] * 8}],
    "errors": [{"code": 6000, "name": "TooMuch", "msg": "more than there is"}, {"code": 6001, "name": "Plain"}],
    "types": [
        {
            "name": "Cell",
            "serialization": "bytemuck",
            "repr": {"kind": "c"},
            "type": {
                "kind": "struct",
                "fields": [{"name": "version", "type": "u8"}, {"name": "amount", "type": "u64"}],
            },
        },
        {"name": "Put", "type": {"kind": "struct", "fields": [{"name": "amount", "type": "u64"}]}},
    ],
}


@pytest.fixture
def small() -> Idl:
    return Idl(SMALL)


def test_an_instruction_takes_flags_and_order_from_the_idl(small):
    payer, cell = Pubkey(b"\1" * 32), Pubkey(b"\2" * 32)
    built = small.build(PROGRAM, "put", {"amount": 5, "label": None}, {"payer": payer, "cell": cell})
    assert bytes(built.data) == bytes([1, 2, 3, 4, 5, 6, 7, 8]) + struct.pack("<Q", 5) + b"\0"
    assert [(m.pubkey, m.is_signer, m.is_writable) for m in built.accounts] == [
        (payer, True, True),
        (cell, False, True),
        (PROGRAM, False, False),  # the absent optional account
        (Pubkey.from_string(SYSTEM), False, False),
    ]
    assert small.decode_args(bytes(built.data)) == ("put", {"amount": 5, "label": None})


@pytest.mark.parametrize(
    ("name", "args", "accounts", "says"),
    [
        ("take", {}, {}, "no instruction take; it has put"),
        ("put", {"amount": 5, "label": None}, {"payer": KEY}, "put: missing account cell"),
        ("put", {"amount": 5, "label": None}, {"payer": KEY, "cell": KEY, "vault": KEY}, "put: unknown account vault"),
        (
            "put",
            {"amount": 5, "label": None},
            {"payer": KEY, "cell": KEY, "system_program": KEY},
            "unknown account system",
        ),
        ("put", {"amount": 5}, {"payer": KEY, "cell": KEY}, "put: missing label"),
    ],
)
def test_a_call_that_does_not_match_the_idl_is_refused(small, name, args, accounts, says):
    with pytest.raises(IdlError) as caught:
        small.build(PROGRAM, name, args, accounts)
    assert says in str(caught.value)


def test_accounts_and_events_are_told_by_their_discriminator(small):
    wire = bytes([8, 7, 6, 5, 4, 3, 2, 1]) + b"\1" + struct.pack("<Q", 3) + b"tail"
    assert small.decode_account("Cell", wire) == ({"version": 1, "amount": 3}, b"tail")
    with pytest.raises(IdlError, match="the discriminator is 00"):
        small.decode_account("Cell", b"\0" + wire[1:])
    assert small.decode_event(b"\x09" * 8 + struct.pack("<Q", 3)) == ("Put", {"amount": 3})
    assert small.decode_event(b"\x08" * 16) is None
    with pytest.raises(IdlError, match="1 bytes after the event"):
        small.decode_event(b"\x09" * 8 + bytes(9))


def test_errors_have_name_and_message(small):
    assert (small.errors[6000].name, small.errors[6000].message) == ("TooMuch", "more than there is")
    assert small.errors[6001].message == "Plain"
    assert small.error_code("TooMuch") == 6000
    with pytest.raises(IdlError, match="no error Nope"):
        small.error_code("Nope")


def test_trailing_argument_bytes_are_refused(small):
    data = small.encode_args("put", {"amount": 1, "label": "x"})
    with pytest.raises(IdlError, match="1 bytes after the arguments"):
        small.decode_args(data + b"\0")


def test_what_is_no_idl_is_refused(tmp_path):
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"version": "0.29.0", "name": "old", "instructions": []}))
    with pytest.raises(IdlError, match="it has no address, metadata"):
        Idl.load(old)
    with pytest.raises(IdlError, match="there is no IDL at"):
        Idl.load(tmp_path / "none.json")
    old.write_text("{")
    with pytest.raises(IdlError, match="is not JSON"):
        Idl.load(old)


def test_types_of_one_size_tell_it():
    nested = {"array": [PAIR, 3]}
    assert fixed_size(nested, TYPES) == 15
    assert fixed_size({"defined": {"name": "Tuple"}}, TYPES) == 2
    assert fixed_size("pubkey", TYPES) == 32
    for kind in ("string", {"vec": "u8"}, {"option": "u8"}, SHAPE):
        with pytest.raises(IdlError, match="no fixed size"):
            fixed_size(kind, TYPES)
