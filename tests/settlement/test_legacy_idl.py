"""scripts/legacy_idl.py: what it makes of an IDL, and what it refuses. That anchorpy reads the result is tested in tests/anchorpy."""

import hashlib
import json
import subprocess
import sys

import pytest

from scripts import legacy_idl
from scripts.legacy_idl import LegacyIdlError, camel_case, convert
from settlement import idl
from settlement.borsh import INTEGER_BYTES

SYSTEM = "11111111111111111111111111111111"


def discriminator(name: str) -> list[int]:
    return list(hashlib.sha256(name.encode()).digest()[:8])


def small(**changes):
    made = {
        "address": SYSTEM,
        "metadata": {"name": "small", "version": "0.1.0", "spec": "0.1.0"},
        "instructions": [
            {
                "name": "put_all",
                "docs": ["Puts."],
                "discriminator": discriminator("global:put_all"),
                "accounts": [
                    {"name": "the_payer", "writable": True, "signer": True},
                    {"name": "inner", "accounts": [{"name": "cell", "pda": {"seeds": []}}]},
                    {"name": "extra", "optional": True},
                    {"name": "system_program", "address": SYSTEM},
                ],
                "args": [{"name": "some_keys", "type": {"vec": "pubkey"}}],
            }
        ],
        "accounts": [{"name": "Cell", "discriminator": discriminator("account:Cell")}],
        "events": [{"name": "Put", "discriminator": discriminator("event:Put")}],
        "errors": [{"code": 6000, "name": "TooMuch", "msg": "more than there is"}, {"code": 6001, "name": "Plain"}],
        "types": [
            {"name": "Cell", "type": {"kind": "struct", "fields": [{"name": "a_b", "type": {"array": ["u8", 4]}}]}},
            {"name": "Put", "type": {"kind": "struct", "fields": [{"name": "shape", "type": defined("Shape")}]}},
            {
                "name": "Shape",
                "type": {
                    "kind": "enum",
                    "variants": [
                        {"name": "Point"},
                        {"name": "Circle", "fields": [{"name": "the_radius", "type": {"option": "u16"}}]},
                        {"name": "Line", "fields": ["u8", "pubkey"]},
                    ],
                },
            },
            {"name": "Short", "type": {"kind": "type", "alias": "u16"}},
        ],
    }
    return {**made, **changes}


def defined(name, **more):
    return {"defined": {"name": name, **more}}


def struct(*fields):
    return [*small()["types"], {"name": "New", "type": {"kind": "struct", "fields": list(fields)}}]


def test_all_of_a_small_idl():
    assert convert(small()) == {
        "version": "0.1.0",
        "name": "small",
        "instructions": [
            {
                "name": "putAll",
                "accounts": [
                    {"name": "thePayer", "isMut": True, "isSigner": True},
                    {"name": "inner", "accounts": [{"name": "cell", "isMut": False, "isSigner": False}]},
                    {"name": "extra", "isMut": False, "isSigner": False, "isOptional": True},
                    {"name": "systemProgram", "isMut": False, "isSigner": False},
                ],
                "args": [{"name": "someKeys", "type": {"vec": "publicKey"}}],
            }
        ],
        "accounts": [
            {"name": "Cell", "type": {"kind": "struct", "fields": [{"name": "aB", "type": {"array": ["u8", 4]}}]}}
        ],
        "types": [
            {
                "name": "Shape",
                "type": {
                    "kind": "enum",
                    "variants": [
                        {"name": "Point"},
                        {"name": "Circle", "fields": [{"name": "theRadius", "type": {"option": "u16"}}]},
                        {"name": "Line", "fields": ["u8", "publicKey"]},
                    ],
                },
            },
            {"name": "Short", "type": {"kind": "alias", "value": "u16"}},
        ],
        "events": [{"name": "Put", "fields": [{"name": "shape", "type": {"defined": "Shape"}, "index": False}]}],
        "errors": [
            {"code": 6000, "name": "TooMuch", "msg": "more than there is"},
            {"code": 6001, "name": "Plain", "msg": "Plain"},
        ],
        "metadata": {"address": SYSTEM},
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"accounts": [{"name": "Cell", "discriminator": [1] * 8}]}, "Cell has the discriminator 0101010101010101"),
        ({"events": [{"name": "Put", "discriminator": [1] * 8}]}, "from event:Put"),
        (
            {"instructions": [{"name": "put", "discriminator": [1], "accounts": [], "args": []}]},
            "put has the discriminator 01; clients of the old format compute",
        ),
        (
            {"types": struct({"name": "key_2", "type": "u8"})},
            "key_2 does not survive camelCase: it comes back from key2",
        ),
        ({"types": struct({"name": "sum", "type": "u256"})}, "New.sum is u256, which the old format lacks"),
        ({"types": struct("u8", "u8")}, "New is a struct whose fields have no names"),
        ({"types": struct({"name": "x", "type": defined("Box", generics=[1])})}, "New.x is of a generic type"),
        ({"types": struct({"name": "x", "type": {"generic": "T"}})}, "New.x is generic, which the old format lacks"),
    ],
)
def test_what_the_old_format_cannot_say_is_refused_by_name(changes, says):
    with pytest.raises(LegacyIdlError) as caught:
        convert(small(**changes))
    assert says in str(caught.value)


def test_names_go_to_camel_case_and_back():
    assert [camel_case(name) for name in ("a", "genesis_hash", "a_b_c", "u64le")] == [
        "a",
        "genesisHash",
        "aBC",
        "u64le",
    ]
    for name in ("_a", "a__b", "Ab", "a_", "a_1"):
        with pytest.raises(LegacyIdlError):
            camel_case(name)


def test_the_committed_idl_converts_by_the_documented_command(tmp_path):
    path = tmp_path / "legacy.json"
    command = [sys.executable, "-I", legacy_idl.__file__, "-o", str(path)]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""
    assert json.loads(path.read_text()) == convert(idl.committed().raw)


def test_a_refusal_of_the_command_is_one_line(tmp_path):
    path = tmp_path / "idl.json"
    path.write_text(json.dumps(small(accounts=[{"name": "Cell", "discriminator": [0] * 8}])))
    done = subprocess.run([sys.executable, legacy_idl.__file__, str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("legacy_idl.py: Cell has the discriminator 0000000000000000; ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read "),
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"{}", "it lacks 'types'"),
    ],
)
def test_what_is_no_idl_is_one_line_too(tmp_path, monkeypatch, content, words):
    path = tmp_path / "idl.json"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["legacy_idl.py", str(path)])
    with pytest.raises(SystemExit) as ended:
        legacy_idl.main()
    assert str(path) in ended.value.code and words in ended.value.code


def alignment(kind, types) -> tuple[int, int]:
    """Size and alignment of a type as `repr(C)` lays it out. AssertionError where that has padding."""
    if isinstance(kind, str):
        size = {**INTEGER_BYTES, "pubkey": 32}[kind]
        return size, 1 if kind == "pubkey" else size
    if "array" in kind:
        size, align = alignment(kind["array"][0], types)
        return size * kind["array"][1], align
    offset, widest, name = 0, 1, kind["defined"]["name"]
    for field in types[name]["type"]["fields"]:
        size, align = alignment(field["type"], types)
        assert offset % align == 0, f"{name}: padding before {field['name']}"
        offset, widest = offset + size, max(widest, align)
    assert offset % widest == 0, f"{name}: padding at its end"
    return offset, widest


def test_accounts_read_in_place_have_the_bytes_that_borsh_would_write():
    """No client of the old format knows `bytemuck`; without padding the two are the same."""
    types = idl.committed().types
    in_place = [name for name, item in types.items() if item.get("serialization") == "bytemuck"]
    assert set(in_place) >= set(idl.committed().account_names)
    for name in in_place:
        alignment(defined(name), types)
