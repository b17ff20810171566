"""docs/devnet.md pasted into a shell, from the empty folder on: devnet's URL is replaced by that of an embedded L1 which knows no program.

The build takes a compiler and minutes, so the committed program is moved to the new id instead (tests/moved_program.py);
`POUW_DEVNET_BUILD=1` builds it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from bench.l1_process import embedded
from localnet.real_validator import free_ports
from settlement import idl
from settlement.keys import read_keypair
from tests.docs.markdown import ROOT, blocks
from tests.docs.shell import logs, pasting

SLOT_MS = 100
BUILD = "./run just program-build --id $POUW_PROGRAM_ID -o data/settlement.so"


def adapted(script: str, url: str, sequencer_port: int) -> str:
    """The commands with another URL and port and, unless it is asked for, without the build; nothing else is changed."""
    changes = {
        "POUW_URL=devnet": f"POUW_URL={url}",
        BUILD: f"PYTHONPATH={ROOT} {sys.executable} -m tests.moved_program $POUW_PROGRAM_ID data/settlement.so",
        "./run ": f"{ROOT}/run ",
        "pouw sequencer run": f"pouw sequencer run --port {sequencer_port}",
    }
    if os.environ.get("POUW_DEVNET_BUILD"):
        # From the checkout, and with the compiler that is installed already.
        build = BUILD.removeprefix("./run just ").replace("data/", "$PWD/data/")
        changes[BUILD] = f"HOME={Path.home()} {ROOT}/run just --justfile {ROOT}/justfile {build}"
    for written, run in changes.items():
        assert written in script
        script = script.replace(written, run)
    return script


def test_the_whole_way(tmp_path: Path) -> None:
    script = "".join(block.text for block in blocks("docs/devnet.md") if block.language == "sh")
    script, end = script.split("kill $(jobs -p)")
    sequencer_port = free_ports(1)
    environment = {"POUW_SEQUENCER": f"http://127.0.0.1:{sequencer_port}"}
    with embedded("--slot-ms", str(SLOT_MS)) as l1, pasting(tmp_path, environment) as paste:
        code, out = paste(
            adapted(f"{script}\npids=$(jobs -p)\nkill $pids\nwait $pids || true{end}", l1.rpc_url, sequencer_port)
        )
    assert code == 0, out + logs(tmp_path / "data")

    program = read_keypair(tmp_path / "data/program.json").pubkey()
    validator = read_keypair(tmp_path / "data/validator.json").pubkey()
    deployer = read_keypair(tmp_path / "data/deployer.json").pubkey()
    assert program != idl.committed().address
    assert re.search(rf"^what +deploys {program} on {l1.rpc_url}$", out, re.MULTILINE), out
    assert re.search(r"^verified +True", out, re.MULTILINE), out
    assert re.search(rf"^upgrade authority +{deployer}", out, re.MULTILINE), out
    assert re.search(r"^challenge window slots +150 *$", out, re.MULTILINE), out
    assert re.search(
        rf"^program +{program} *$\n +epoch [1-9]\d* posted, .*; 2 inbox entries, 1 validators registered",
        out,
        re.MULTILINE,
    ), out
    assert re.search(rf"^{validator} +0\.1 +\d+ *$", out, re.MULTILINE), out
