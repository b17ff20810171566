"""The tables of docs/settlement.md are those of the committed program's IDL."""

from __future__ import annotations

import json
import re
from typing import Any

from settlement import idl
from settlement.accounts import LOCALNET_PROFILE
from tests.docs.markdown import ROOT

IDL: dict[str, Any] = json.loads((ROOT / "settlement" / "artifacts" / "settlement.json").read_text())


def table(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, its own head left out."""
    below = (ROOT / "docs" / "settlement.md").read_text().split(f"\n## {heading}\n")[1]
    text = re.split(r"\n##+ ", below)[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_errors() -> None:
    documented = {name: (int(code), text) for code, name, text, _ in table("Errors")}
    assert documented == {error.name: (code, error.message) for code, error in idl.committed().errors.items()}


def test_parameters() -> None:
    rows = table("Parameters")
    assert {name: int(value.replace(",", "")) for name, value, _, _ in rows} == LOCALNET_PROFILE.to_mapping()
    assert all(reason for _, _, _, reason in rows)


def test_instructions_their_signers_and_arguments() -> None:
    documented = {}
    for names, signers, arguments, _ in table("Instructions"):
        for name in names.split(", "):
            documented[name] = (signers, arguments)
    instructions = {one["name"]: one for one in IDL["instructions"]}
    assert documented.keys() == instructions.keys()
    structs = {one["name"]: one["type"] for one in IDL["types"]}
    for name, (signers, arguments) in documented.items():
        for account in instructions[name]["accounts"]:
            if account.get("signer"):
                assert account["name"] in signers, name
        for argument in instructions[name]["args"]:
            defined = argument["type"].get("defined") if isinstance(argument["type"], dict) else None
            wanted = (
                [field["name"] for field in structs[defined["name"]]["fields"]]
                if argument["name"] == "args" and defined
                else [argument["name"]]
            )
            for one in wanted:
                assert re.search(rf"\b{one}\b", arguments, re.IGNORECASE), f"{name}: {one} is not in {arguments!r}"


def test_accounts_and_seeds() -> None:
    documented = {name: re.findall(r"`(\w+)`", seeds)[0] for name, seeds, _ in table("Accounts")}
    assert documented.keys() == {one["name"] for one in IDL["accounts"]} | {"Vault", "StakeVault", "Treasury"}
    used = {
        bytes(seed["value"]).decode()
        for instruction in IDL["instructions"]
        for account in instruction["accounts"]
        for seed in account.get("pda", {}).get("seeds", [])[:1]
        if seed["kind"] == "const"
    }
    assert used <= set(documented.values())
