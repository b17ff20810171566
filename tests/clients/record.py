"""`./run python -m tests.clients.record`: runs the script on a real solana-test-validator and writes what it answered, recorded.json.

For when the script, a client's version or the validator's version has changed. The test marked `test_validator` does the same and compares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.l1_process import solana_test_validator
from tests.clients.running import ALL_CLIENTS, install_node_packages, run

RECORDED = Path(__file__).parent / "recorded.json"

Recorded = dict[str, Any]


def record() -> Recorded:
    """`version` of the validator, and by client the shapes by step."""
    install_node_packages()
    with solana_test_validator() as l1:
        version = l1.call("getVersion")
        assert isinstance(version, dict)
        return {"solana_test_validator": version["solana-core"], "clients": run(l1, ALL_CLIENTS)}


def read() -> Recorded:
    return json.loads(RECORDED.read_text())


def write(recorded: Recorded) -> None:
    """A step to a line, so that a change shows as the lines it is."""
    clients = [
        f' "{client}": {{\n'
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(shape, ensure_ascii=False)}" for name, shape in shapes.items())
        + "\n }"
        for client, shapes in recorded["clients"].items()
    ]
    version = json.dumps(recorded["solana_test_validator"])
    RECORDED.write_text(f'{{"solana_test_validator": {version}, "clients": {{\n' + ",\n".join(clients) + "\n}}\n")


if __name__ == "__main__":
    write(record())
