"""Writes the program's IDL (the JSON of Anchor's IDL specification 0.1.0) from the parts that the native IDL build prints.

    python3 scripts/program_idl.py [-o settlement/artifacts/settlement.json]

Runs `cargo test --features idl-build` with the rustup stable toolchain and puts the parts together: the program's instructions, accounts
and types, the types behind account headers, events, errors, and the program id of the build (POUW_PROGRAM_ID, else the localnet id).
The output depends on nothing but the source.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(r"^--- IDL begin (\w+) ---\n(.*?)\n--- IDL end \1 ---$", re.MULTILINE | re.DOTALL)


def print_parts() -> str:
    """What the IDL build prints. Raises SystemExit with cargo's own message when it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "RUSTFLAGS"}
    environment.setdefault("CARGO_TARGET_DIR", str(ROOT / "target" / "native"))
    command = ["cargo", "test", "--locked", "--lib", "--features", "idl-build", "__anchor_private_print_idl"]
    command += ["--", "--show-output", "--quiet", "--test-threads=1"]
    done = subprocess.run(
        command, cwd=ROOT / "programs" / "settlement", env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"program_idl.py: {' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def assemble(output: str) -> dict[str, Any]:
    """The IDL from the printed parts; lists that have no order of their own are sorted by name."""
    idl: dict[str, Any] = {}
    accounts: dict[str, Any] = {}
    types: dict[str, Any] = {}
    events: list[Any] = []
    for kind, text in PART.findall(output):
        if kind == "address":
            idl["address"] = text.strip()
            continue
        part = json.loads(text)
        if kind == "program":
            idl["metadata"] = part["metadata"]
            idl["instructions"] = part["instructions"]
        elif kind == "errors":
            # One enum for each part of the program, each with an offset of its own.
            idl.setdefault("errors", []).extend(part)
            continue
        elif kind == "event":
            events.append(part["event"])
        elif kind != "types":
            sys.exit(f"program_idl.py: unknown part {kind!r}")
        accounts.update((entry["name"], entry) for entry in part.get("accounts", []))
        types.update((entry["name"], entry) for entry in part["types"])
    missing = {"address", "metadata", "instructions", "errors"} - idl.keys()
    if missing or not events:
        sys.exit(f"program_idl.py: the IDL build printed no {', '.join(sorted(missing)) or 'events'}")
    return {
        "address": idl["address"],
        "metadata": idl["metadata"],
        "instructions": idl["instructions"],
        "accounts": [accounts[name] for name in sorted(accounts)],
        "events": sorted(events, key=lambda event: str(event["name"])),
        "errors": sorted(idl["errors"], key=lambda error: int(error["code"])),
        "types": [types[name] for name in sorted(types)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the settlement program's IDL.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "settlement" / "artifacts" / "settlement.json")
    output: Path = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(assemble(print_parts()), indent=2) + "\n")
    print(f"{output}: written")


if __name__ == "__main__":
    main()
