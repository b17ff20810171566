"""The IDL is the contract: our client and Anchor's own, each against the running localnet as docs/clients.md says, see the same in every
field of every account type. anchorpy, which needs an environment of its own, is tested in tests/anchorpy the same way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from settlement import accounts, dispute_accounts, idl, slash_accounts, stake_accounts, strike_accounts
from tests.clients import idl_values
from tests.clients.idl_world import World, snippet, world
from tests.clients.running import FOLDER, install_node_packages

LIMIT_SECONDS = 120
TYPED = (accounts, dispute_accounts, slash_accounts, stake_accounts, strike_accounts)
NOT_WRITTEN_YET = {"Strike"}
"""Types that no instruction makes so far. The examples have them too."""
DECODERS = {"EquivocationTally": "tally"}  # named otherwise than their types


@pytest.fixture
def here() -> Iterator[World]:
    with world() as started:
        yield started


def run(here: World, *command: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=here.folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_read(here: World, seen: dict[str, Any]) -> None:
    """Every account type of the IDL is there, and every field is what our client reads."""
    ours = here.read()
    assert set(ours) == set(idl.committed().account_names) - NOT_WRITTEN_YET, (
        "an account type that the story in idl_world.py does not make"
    )
    assert seen == ours


def check_typed(name: str, address: str, data: bytes, value: dict[str, Any]) -> None:
    """The dataclass of settlement.accounts says what the IDL says, of all fields that both have."""
    named = f"decode_{DECODERS.get(name) or re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()}"
    decoder = next((getattr(module, named) for module in TYPED if hasattr(module, named)), None)
    assert decoder is not None, f"no {named} in settlement.*accounts"
    check_fields(decoder(Pubkey.from_string(address), data), value)


def check_fields(typed: Any, value: dict[str, Any]) -> None:
    common = [field.name for field in fields(typed) if field.name in value]
    assert common
    for name in common:
        read = getattr(typed, name)
        if is_dataclass(read):
            check_fields(read, value[name])
        else:
            assert idl_values.plain(int(read) if isinstance(read, bool) else read) == value[name], name


def test_ours(here: World) -> None:
    code = here.adapt(snippet("python", "Python"))
    assert run(here, sys.executable, "-c", code).splitlines() == [
        "validator in slot 0 with 5000000 lamports",
        "refused: 6039 DepositBelowMinimum",
        "inbox entry 0 of 2000000 lamports",
        "task in inbox entry 1 of 3000000 lamports",
    ]
    here.epoch()
    check_read(here, read := here.read())
    for address, data in here.data().items():
        (name,) = (name for name, found in read.items() if address in found)
        check_typed(name, address, data, read[name][address])


@pytest.mark.node
def test_anchors_own(here: World) -> None:
    install_node_packages()
    (here.folder / "node_modules").symlink_to(FOLDER / "node_modules")
    (here.folder / "snippet.mjs").write_text(here.adapt(snippet("js", "TypeScript")))
    assert run(here, "node", "snippet.mjs").splitlines() == [
        "the registry has 1 validators",
        "refused: 6039 DepositBelowMinimum",
        "deposited: entry 0 of 2000000 lamports",
        "inbox entry 0 of 2000000 lamports",
        "task in inbox entry 1 of 3000000 lamports",
    ]
    here.epoch()
    client = ["node", FOLDER / "anchor_client.mjs", idl.IDL_PATH, here.url]
    check_read(here, json.loads(run(here, *client, stdin=json.dumps({"read": idl_values.TAILS}))))
    examples = idl_values.examples(idl.committed())
    worked = json.loads(run(here, *client, stdin=json.dumps({"examples": examples})))
    assert worked == idl_values.answers(examples)


def test_examples_are_ours_too() -> None:
    """The examples hold what settlement/'s decoders and builders make of them, every type of the IDL among them."""
    ours, examples = idl.committed(), idl_values.examples(idl.committed())
    for name, one in examples["accounts"].items():
        values, tail = ours.decode_account(name, bytes.fromhex(one["data"]))
        assert (idl_values.plain(values), tail) == (one["value"], b"")
    for name, one in examples["events"].items():
        assert ours.decode_event(bytes.fromhex(one["data"])) is not None
        decoded_name, values = ours.decode_event(bytes.fromhex(one["data"]))
        assert (decoded_name, idl_values.plain(values)) == (name, one["value"])
    for name, given in examples["instructions"].items():
        for one in given:
            decoded_name, args = ours.decode_args(bytes.fromhex(one["data"]))
            assert (decoded_name, idl_values.plain(args)) == (name, one["args"])
